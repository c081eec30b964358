//! Runs components in the foreground of a terminal or unit until a signal comes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use runtime::{Backoff, State, StateChange, Supervisor, Termination};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};

use crate::readiness::Master;
use crate::{Error, Part, console};

/// How long components have to end when they are told to.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long it may take to be ready before that is given up.
const READY_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the master may take to tell how many tasks there are.
const TELL_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the master is asked while its cluster comes up.
const POLL: Duration = Duration::from_millis(20);

/// How long it may take to be ready without a word, and how often then what is waited for is said.
const WORD: Duration = Duration::from_secs(2);

/// What is to be reached, and what is then said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Goal {
    /// The master to ask, if there is something to be asked.
    pub(crate) master: Option<Master>,
    /// The agents that must be registered with it.
    pub(crate) agents: Vec<SocketAddr>,
    /// Whether they must have been offered, too.
    pub(crate) offered: bool,
    /// Where the user goes then.
    pub(crate) url: String,
}

/// How a foreground run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The tasks that had not ended then, if the master could tell.
    pub(crate) tasks: Option<u64>,
}

/// Components and what they are to reach.
#[derive(Debug)]
pub(crate) struct Foreground {
    parts: Vec<Part>,
    goal: Goal,
}

impl Foreground {
    pub(crate) fn new(parts: Vec<Part>, goal: Goal) -> Foreground {
        Foreground { parts, goal }
    }

    /// Runs until a signal comes, and says `farewell` then.
    pub(crate) async fn run(self, farewell: &str) -> Result<(), Error> {
        self.run_until_signal(false).await?;
        console::say(farewell);
        Ok(())
    }

    /// Runs until a signal comes. The tasks of the cluster are counted then if `counts`.
    pub(crate) async fn run_until_signal(self, counts: bool) -> Result<Ended, Error> {
        let Foreground { parts, goal } = self;
        let mut signals = Termination::listen().map_err(Error::Signals)?;
        let (mut supervisor, mut changes) = Supervisor::new(Backoff::default(), 256);
        let mut starting = BTreeMap::new();
        for part in parts {
            starting.insert(part.component.name().clone(), part.url);
            supervisor.start(part.component);
        }
        let mut progress = Progress { starting, ..Progress::default() };
        let mut word = interval_at(Instant::now() + WORD, WORD);
        word.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Kept from turn to turn: an answer may take longer than a turn.
        let mut asked = pin!(missing(&goal));
        let deadline = Instant::now() + READY_TIMEOUT;
        let mut ready = false;
        let signal = loop {
            tokio::select! {
                signal = signals.received() => break Some(signal),
                Some(change) = changes.recv() => progress.note(change),
                missing = &mut asked, if !ready && progress.starting.is_empty() => {
                    asked.set(self::missing(&goal));
                    match missing {
                        None => {
                            ready = true;
                            console::say(&format!("READY {}", goal.url));
                            if let Err(error) = runtime::tell_ready() {
                                console::note(&format!("The service manager could not be told: {error}"));
                            }
                        }
                        Some(missing) => progress.missing = missing,
                    }
                }
                _ = word.tick(), if !ready => progress.say_what_is_waited_for(),
                () = sleep_until(deadline), if !ready => break None,
            }
        };
        let Some(signal) = signal else {
            supervisor.stop(STOP_GRACE).await;
            return Err(Error::NotReady { seconds: READY_TIMEOUT.as_secs(), missing: progress.to_string() });
        };
        tracing::info!(signal, "stopping");
        let tasks = match &goal.master {
            Some(master) if counts => timeout(TELL_TIMEOUT, master.tasks()).await.ok().and_then(Result::ok),
            _ => None,
        };
        tokio::select! {
            late = supervisor.stop(STOP_GRACE) => {
                for component in late {
                    console::note(&format!("{component} did not stop in time and was cut off"));
                }
            }
            // Who asks twice means at once.
            _ = signals.received() => {}
        }
        Ok(Ended { tasks })
    }
}

/// What the master says is missing, asked at a bounded rate.
async fn missing(goal: &Goal) -> Option<String> {
    let missing = goal.master.as_ref()?.missing(&goal.agents, goal.offered).await;
    if missing.is_some() {
        sleep(POLL).await;
    }
    missing
}

/// What was told so far.
#[derive(Default)]
struct Progress {
    /// Components that did not answer yet, with their URLs.
    starting: BTreeMap<Arc<str>, String>,
    /// What the master said last.
    missing: String,
    /// The last failure of each component that failed while starting.
    failures: BTreeMap<Arc<str>, String>,
    /// What was said to be waited for.
    waited_for: String,
}

impl Progress {
    fn note(&mut self, change: StateChange) {
        let StateChange { component, state } = change;
        match state {
            State::Ready => {
                if let Some(url) = self.starting.remove(&component) {
                    console::say(&format!("{component:<27} {url}"));
                } else if self.failures.remove(&component).is_some() {
                    console::note(&format!("{component} answers again"));
                }
            }
            State::Failed { reason, restart_in } => {
                let wait = restart_in.as_millis();
                console::note(&format!("{component} failed: {reason}; started again in {wait} ms"));
                self.failures.insert(component, reason);
            }
            State::Starting | State::Stopped => {}
        }
    }

    fn say_what_is_waited_for(&mut self) {
        if let Some(line) = self.waiting() {
            console::note(&line);
        }
    }

    /// What is waited for, unless that was said already.
    fn waiting(&mut self) -> Option<String> {
        let reason = match self.to_string() {
            reason if reason.is_empty() => "the master did not answer yet".to_owned(),
            reason => reason,
        };
        if reason == self.waited_for {
            return None;
        }
        self.waited_for.clone_from(&reason);
        Some(format!("waiting: {reason}, trying again"))
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.starting.is_empty() {
            return f.write_str(&self.missing);
        }
        for (at, component) in self.starting.keys().enumerate() {
            write!(f, "{}{component} does not answer", if at > 0 { ", " } else { "" })?;
            if let Some(reason) = self.failures.get(component) {
                write!(f, " ({reason})")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_said_when_it_changes() {
        let mut progress = Progress::default();
        let component: Arc<str> = Arc::from("marathon");
        progress.starting.insert(component.clone(), String::new());
        let check = |progress: &mut Progress, line: &str| {
            assert_eq!(progress.waiting().as_deref(), Some(line));
            assert_eq!(progress.waiting(), None);
        };
        check(&mut progress, "waiting: marathon does not answer, trying again");
        progress.failures.insert(component.clone(), "no port".to_owned());
        check(&mut progress, "waiting: marathon does not answer (no port), trying again");
        progress.starting.clear();
        check(&mut progress, "waiting: the master did not answer yet, trying again");
        progress.missing = "agent 127.0.0.2 is not registered yet".to_owned();
        check(&mut progress, "waiting: agent 127.0.0.2 is not registered yet, trying again");
    }
}
