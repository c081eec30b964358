//! The life of one command task: what to do when, without doing it (Mesos: src/launcher/executor.cpp,
//! `CommandExecutor`).

#[cfg(test)]
mod tests;

use std::time::Duration;

use base::{Mono, Now, Rng};
use mesos_proto::v1::task_status::{Reason, Source};
use mesos_proto::v1::{ExecutorId, KillPolicy, TaskInfo, TaskState, TaskStatus};

use crate::checks::{Checker, Outcome, Verdict, empty_status};
use crate::updates::Updates;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// The agent knows us; whether the framework wants to hear of TASK_KILLING.
    Subscribed {
        killing_state: bool,
    },
    Launch(Box<TaskInfo>),
    /// The command runs, or why it does not.
    Started(Result<(), String>),
    Kill(Option<KillPolicy>),
    /// The agent wants the executor to end.
    Shutdown,
    Acknowledged(Vec<u8>),
    /// The command ended and everything it left behind is gone.
    Ended(End),
    /// A probe is done.
    Probed(Which, Outcome),
    /// Time went on.
    Tick,
}

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exited(i32),
    Signaled { signal: i32, core_dumped: bool },
}

/// Which of a task's two checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Health,
    Check,
}

/// Something to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    /// Run the command of [`Task::info`].
    Start,
    /// Ask the command and all it started to end.
    Terminate,
    /// End them.
    KillAll,
    Probe(Which),
    /// Say something in the sandbox's `stderr`.
    Log(String),
    /// Nothing is left to do: leave with this exit status.
    Exit(u8),
}

/// Mesos' default grace period of a kill.
const DEFAULT_KILL_GRACE: Duration = Duration::from_secs(3);
/// What of the shutdown grace period is left to the agent for itself.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(1);
/// How long a subscribed executor waits for the acknowledgement of its task's end.
const TERMINAL_ACKNOWLEDGEMENT: Duration = Duration::from_secs(60);

/// The state machine of the executor's one task.
pub(crate) struct Task {
    executor_id: ExecutorId,
    shutdown_grace: Duration,
    rng: Rng,
    info: Option<TaskInfo>,
    /// Whether any update of the task was acknowledged: until then a subscription tells the task itself.
    known_to_agent: bool,
    phase: Phase,
    killing_state: bool,
    killed: Option<Killed>,
    completion_due: Option<Mono>,
    last_status: Option<TaskStatus>,
    terminal_uuid: Option<Vec<u8>>,
    exit_due: Option<Mono>,
    pub(crate) updates: Updates,
    health: Option<Checker>,
    check: Option<Checker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No task was launched.
    Idle,
    Starting,
    Running,
    /// The terminal update is made.
    Ended,
}

#[derive(Debug)]
struct Killed {
    because: Because,
    began: Mono,
    /// `None` once everything was killed.
    escalation_due: Option<Mono>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Because {
    Asked,
    /// With what the check found.
    Unhealthy(String),
    MaxCompletionTime,
}

impl Task {
    pub(crate) fn new(executor_id: &str, shutdown_grace: Duration, rng: Rng) -> Task {
        Task {
            executor_id: ExecutorId { value: executor_id.to_owned() },
            shutdown_grace,
            rng,
            info: None,
            known_to_agent: false,
            phase: Phase::Idle,
            killing_state: false,
            killed: None,
            completion_due: None,
            last_status: None,
            terminal_uuid: None,
            exit_due: None,
            updates: Updates::default(),
            health: None,
            check: None,
        }
    }

    /// The task, once launched.
    pub(crate) fn info(&self) -> Option<&TaskInfo> {
        self.info.as_ref()
    }

    /// The task, if the agent may not know it.
    pub(crate) fn unacknowledged(&self) -> Option<&TaskInfo> {
        self.info.as_ref().filter(|_| !self.known_to_agent)
    }

    /// The checker that a probe is made for.
    pub(crate) fn checker(&self, which: Which) -> Option<&Checker> {
        match which {
            Which::Health => self.health.as_ref(),
            Which::Check => self.check.as_ref(),
        }
    }

    /// Takes what happened and says what to do.
    pub(crate) fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Subscribed { killing_state } => {
                self.killing_state = killing_state;
                if self.phase == Phase::Ended {
                    self.exit_due = Some(now.mono + TERMINAL_ACKNOWLEDGEMENT);
                }
            }
            Input::Launch(info) => self.launch(now, *info, out),
            Input::Started(result) => self.started(now, result),
            Input::Kill(policy) => {
                let grace = self.kill_grace(policy.as_ref());
                self.kill(now, grace, Because::Asked, out);
            }
            Input::Shutdown => self.shut_down(now, out),
            Input::Acknowledged(uuid) => {
                if self.updates.acknowledge(&uuid).is_some() {
                    self.known_to_agent = true;
                }
                if self.terminal_uuid.as_ref() == Some(&uuid) {
                    out.push(Effect::Exit(0));
                }
            }
            Input::Ended(end) => self.ended(now, end),
            Input::Probed(which, outcome) => self.probed(now, which, outcome, out),
            Input::Tick => self.tick(now, out),
        }
    }

    /// When [`Input::Tick`] is due at the latest.
    pub(crate) fn next_due(&self) -> Option<Mono> {
        let escalation = self.killed.as_ref().and_then(|killed| killed.escalation_due);
        let checks = [&self.health, &self.check].into_iter().flatten().filter_map(|checker| checker.due);
        [escalation, self.completion_due, self.exit_due].into_iter().flatten().chain(checks).min()
    }

    fn launch(&mut self, now: Now, info: TaskInfo, out: &mut Vec<Effect>) {
        if let Some(running) = &self.info {
            // The same task again is the agent repeating itself; another one is an error.
            if running.task_id != info.task_id {
                let message = "Attempted to run multiple tasks using a \"command\" executor";
                let mut status = self.status(now, TaskState::TaskFailed, None, Some(message.into()));
                status.task_id = info.task_id;
                self.updates.add(status);
            }
            return;
        }
        if self.phase == Phase::Ended {
            return;
        }
        self.info = Some(info);
        self.phase = Phase::Starting;
        self.tell(now, TaskState::TaskStarting, None, None);
        out.push(Effect::Start);
    }

    fn started(&mut self, now: Now, result: Result<(), String>) {
        if let Err(why) = result {
            self.finish(now, TaskState::TaskFailed, Some(Reason::CommandExecutorFailed), why);
            return;
        }
        self.phase = Phase::Running;
        let Some(info) = &self.info else { return };
        let max = info.max_completion_time.as_ref().map_or(0, |duration| duration.nanoseconds);
        self.completion_due =
            u64::try_from(max).ok().filter(|max| *max > 0).map(|max| now.mono + Duration::from_nanos(max));
        self.health = info.health_check.as_ref().and_then(|health| Checker::of_health(now.mono, health));
        self.check = info.check.as_ref().and_then(|check| Checker::of_check(now.mono, check));
        self.tell(now, TaskState::TaskRunning, None, None);
    }

    /// The grace period of a kill: the request's, else the task's, else Mesos' default.
    fn kill_grace(&self, policy: Option<&KillPolicy>) -> Duration {
        let launched_with = self.info.as_ref().and_then(|info| info.kill_policy.as_ref());
        let grace = |policy: &KillPolicy| policy.grace_period.as_ref().map(|grace| grace.nanoseconds);
        let grace = policy.and_then(grace).or_else(|| launched_with.and_then(grace));
        grace.map_or(DEFAULT_KILL_GRACE, |nanos| Duration::from_nanos(nanos.max(0) as u64))
    }

    fn shut_down(&mut self, now: Now, out: &mut Vec<Effect>) {
        let grace = self.shutdown_grace.saturating_sub(SHUTDOWN_MARGIN);
        self.kill(now, grace, Because::Asked, out);
    }

    /// Asks the task to end within `grace`. A repeated kill can only shorten the time that is left.
    fn kill(&mut self, now: Now, grace: Duration, because: Because, out: &mut Vec<Effect>) {
        match self.phase {
            // Without a task there is nothing to wait for.
            Phase::Idle => {
                self.phase = Phase::Ended;
                out.push(Effect::Exit(0));
                return;
            }
            Phase::Ended => return,
            Phase::Starting | Phase::Running => {}
        }
        self.completion_due = None;
        if let Some(killed) = &mut self.killed {
            let due = killed.began + grace;
            if killed.escalation_due.is_some_and(|before| due < before) {
                killed.escalation_due = Some(due.max(now.mono));
            }
            return;
        }
        if self.killing_state && because != Because::MaxCompletionTime {
            self.tell(now, TaskState::TaskKilling, None, None);
        }
        for checker in [&mut self.health, &mut self.check].into_iter().flatten() {
            checker.stop();
        }
        self.killed = Some(Killed { because, began: now.mono, escalation_due: Some(now.mono + grace) });
        out.push(Effect::Terminate);
    }

    fn ended(&mut self, now: Now, end: End) {
        let because = self.killed.as_ref().map(|killed| &killed.because);
        let (state, reason) = match (because, end) {
            (Some(Because::MaxCompletionTime), _) => {
                (TaskState::TaskFailed, Some(Reason::MaxCompletionTimeReached))
            }
            (Some(_), _) => (TaskState::TaskKilled, None),
            (None, End::Exited(0)) => (TaskState::TaskFinished, None),
            (None, _) => (TaskState::TaskFailed, None),
        };
        self.finish(now, state, reason, describe(end));
    }

    fn finish(&mut self, now: Now, state: TaskState, reason: Option<Reason>, message: String) {
        self.phase = Phase::Ended;
        (self.health, self.check, self.completion_due) = (None, None, None);
        let killed = self.killed.take();
        let unhealthy = killed.and_then(|killed| match killed.because {
            Because::Unhealthy(why) => Some(why),
            Because::Asked | Because::MaxCompletionTime => None,
        });
        // Mesos tells only the signal, which leaves nobody knowing why it was sent.
        let message = match &unhealthy {
            Some(why) => format!("{message}: killed because of its {why}"),
            None => message,
        };
        let mut status = self.status(now, state, reason, Some(message));
        status.healthy = unhealthy.map(|_| false);
        self.terminal_uuid.clone_from(&status.uuid);
        self.exit_due = Some(now.mono + TERMINAL_ACKNOWLEDGEMENT);
        self.add(status);
    }

    /// The agent is away: an ended task's report is kept for as long as the agent may come back.
    pub(crate) fn disconnected(&mut self) {
        self.exit_due = None;
    }

    fn probed(&mut self, now: Now, which: Which, outcome: Outcome, out: &mut Vec<Effect>) {
        let checker = match which {
            Which::Health => self.health.as_mut(),
            Which::Check => self.check.as_mut(),
        };
        let Some(checker) = checker else { return };
        let name = checker.name();
        match checker.take(now.mono, outcome) {
            Verdict::Silent => {}
            Verdict::Healthy => self.tell_again(now, Reason::TaskHealthCheckStatusUpdated, |status| {
                status.healthy = Some(true);
                status.message = None;
            }),
            Verdict::Unhealthy { why, kill } => {
                let why = format!("{name} failed: {why}");
                out.push(Effect::Log(why.clone()));
                // Mesos gives no message here, and so nobody far from the log learns the reason.
                self.tell_again(now, Reason::TaskHealthCheckStatusUpdated, |status| {
                    status.healthy = Some(false);
                    status.message = Some(why.clone());
                });
                if kill {
                    let grace = self.kill_grace(None);
                    self.kill(now, grace, Because::Unhealthy(why), out);
                }
            }
            Verdict::Changed(check_status) => {
                self.tell_again(now, Reason::TaskCheckStatusUpdated, |status| {
                    status.check_status = Some(check_status);
                });
            }
        }
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Effect>) {
        let reached = |due: Option<Mono>| due.is_some_and(|due| due <= now.mono);
        if reached(self.exit_due) {
            // The agent is there but does not acknowledge: something is wrong with it.
            self.exit_due = None;
            out.push(Effect::Exit(1));
        }
        if reached(self.completion_due) {
            self.kill(now, Duration::ZERO, Because::MaxCompletionTime, out);
        }
        if let Some(killed) = &mut self.killed
            && reached(killed.escalation_due)
        {
            killed.escalation_due = None;
            out.push(Effect::KillAll);
        }
        let checks = [(Which::Health, &mut self.health), (Which::Check, &mut self.check)];
        for (which, checker) in checks {
            let Some(checker) = checker else { continue };
            if reached(checker.due) {
                checker.due = None;
                out.push(Effect::Probe(which));
            }
        }
    }

    fn tell(&mut self, now: Now, state: TaskState, reason: Option<Reason>, message: Option<String>) {
        let status = self.status(now, state, reason, message);
        self.add(status);
    }

    /// Tells the last status once more with something changed, so that whatever it said stays said.
    fn tell_again(&mut self, now: Now, reason: Reason, change: impl FnOnce(&mut TaskStatus)) {
        let Some(mut status) = self.last_status.clone() else { return };
        status.uuid = Some(self.rng.uuid_bytes().to_vec());
        status.timestamp = Some(now.wall.as_secs_f64());
        status.reason = Some(reason as i32);
        change(&mut status);
        self.add(status);
    }

    fn add(&mut self, status: TaskStatus) {
        self.last_status = Some(status.clone());
        self.updates.add(status);
    }

    /// A status from scratch; a checked task always has a check status.
    fn status(
        &mut self,
        now: Now,
        state: TaskState,
        reason: Option<Reason>,
        message: Option<String>,
    ) -> TaskStatus {
        let info = self.info.as_ref();
        TaskStatus {
            task_id: info.map(|info| info.task_id.clone()).unwrap_or_default(),
            state: state as i32,
            message,
            source: Some(Source::Executor as i32),
            reason: reason.map(|reason| reason as i32),
            executor_id: Some(self.executor_id.clone()),
            timestamp: Some(now.wall.as_secs_f64()),
            uuid: Some(self.rng.uuid_bytes().to_vec()),
            check_status: info.and_then(|info| Some(empty_status(info.check.as_ref()?.r#type()))),
            ..Default::default()
        }
    }
}

/// The end in Mesos' words (`WSTRINGIFY`).
fn describe(end: End) -> String {
    match end {
        End::Exited(status) => format!("Command exited with status {status}"),
        End::Signaled { signal, core_dumped } => {
            let dumped = if core_dumped { " (core dumped)" } else { "" };
            format!("Command terminated with signal {}{dumped}", signal_name(signal))
        }
    }
}

/// A signal in the words of the C library (`strsignal`), which Mesos prints.
fn signal_name(signal: i32) -> String {
    const NAMES: [&str; 31] = [
        "Hangup",
        "Interrupt",
        "Quit",
        "Illegal instruction",
        "Trace/breakpoint trap",
        "Aborted",
        "Bus error",
        "Floating point exception",
        "Killed",
        "User defined signal 1",
        "Segmentation fault",
        "User defined signal 2",
        "Broken pipe",
        "Alarm clock",
        "Terminated",
        "Stack fault",
        "Child exited",
        "Continued",
        "Stopped (signal)",
        "Stopped",
        "Stopped (tty input)",
        "Stopped (tty output)",
        "Urgent I/O condition",
        "CPU time limit exceeded",
        "File size limit exceeded",
        "Virtual timer expired",
        "Profiling timer expired",
        "Window changed",
        "I/O possible",
        "Power failure",
        "Bad system call",
    ];
    let name = usize::try_from(signal).ok().and_then(|signal| NAMES.get(signal.checked_sub(1)?));
    match name {
        Some(name) => (*name).to_owned(),
        // The C library keeps the first two real-time signals for itself.
        None if (34..=64).contains(&signal) => format!("Real-time signal {}", signal - 34),
        None => format!("Unknown signal {signal}"),
    }
}
