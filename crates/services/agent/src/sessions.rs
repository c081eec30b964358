//! Containers in containers: processes that somebody starts in a running container to look around in it
//! (Mesos: DEBUG containers and their I/O switchboard).
//!
//! A session belongs to the connection that launched it. It ends when that connection does, when its
//! container ends, and when the agent does: nothing of it is recorded that an agent would take up again.

mod calls;
mod id;
mod input;
mod launch;
mod output;
mod session;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::ContainerId;
use containers::{Containers, Exit};
use tokio::time::Instant;

pub(crate) use calls::{answer, answer_stream, is_about_sessions};
pub(crate) use id::{SessionId, invalid, text};
pub(crate) use launch::program;
use session::Session;

use base::with_causes;

/// Sessions that one container and one agent may have at a time.
const MOST_OF_CONTAINER: usize = 32;
const MOST: usize = 256;
/// How long it is remembered how a session ended, and of how many. Clients ask right after the end.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
const MOST_REMEMBERED: usize = 1024;
/// How long sessions may take to end when the agent does.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries to end what does not end.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// All sessions of an agent.
pub(crate) struct Sessions {
    containers: Containers,
    all: Mutex<BTreeMap<SessionId, State>>,
}

#[derive(Clone)]
enum State {
    Launching,
    Running(Arc<Session>),
    Over { exit: Exit, at: Instant },
}

/// Why a session is not even tried.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("a session of this name exists")]
    Exists,
    #[error("container {parent} has {MOST_OF_CONTAINER} sessions already, and no more are allowed")]
    ManyInContainer { parent: ContainerId },
    #[error("this agent has {MOST} sessions already, and no more are allowed")]
    Many,
}

impl Sessions {
    pub(crate) fn new(containers: Containers) -> Sessions {
        Sessions { containers, all: Mutex::default() }
    }

    /// Ends what earlier runs of the agent left of sessions in this container.
    pub(crate) async fn clear(containers: &Containers, container_id: &ContainerId) {
        let left = containers.sessions(container_id).unwrap_or_else(|error| {
            tracing::warn!(%container_id, %error, "cannot find out which sessions were left");
            Vec::new()
        });
        for session in left {
            end_for_good(containers, container_id, &session).await;
        }
    }

    /// Asks all sessions to end, and waits for it a while.
    pub(crate) async fn end_all(&self) {
        let running: Vec<_> = self.lock().values().filter_map(State::running).collect();
        let ended = async {
            running.iter().for_each(|session| session.end());
            for session in &running {
                session.over().await;
            }
        };
        if tokio::time::timeout(END_PATIENCE, ended).await.is_err() {
            tracing::warn!("sessions are left that did not end in time");
        }
    }

    fn find(&self, id: &SessionId) -> Option<State> {
        self.lock().get(id).cloned()
    }

    /// Takes the name for a session that is going to be launched.
    fn reserve(self: &Arc<Self>, id: SessionId) -> Result<Reserved, Refused> {
        let mut all = self.lock();
        forget_old(&mut all);
        if all.contains_key(&id) {
            return Err(Refused::Exists);
        }
        let current = || all.iter().filter(|(_, state)| state.is_current());
        if current().count() >= MOST {
            return Err(Refused::Many);
        }
        if current().filter(|(other, _)| other.parent == id.parent).count() >= MOST_OF_CONTAINER {
            return Err(Refused::ManyInContainer { parent: id.parent });
        }
        all.insert(id.clone(), State::Launching);
        drop(all);
        Ok(Reserved { sessions: Arc::clone(self), id, is_started: false })
    }

    /// Forgets how a session ended; false if it is still going on.
    fn remove(&self, id: &SessionId) -> bool {
        let mut all = self.lock();
        match all.get(id) {
            Some(state) if state.is_current() => false,
            _ => {
                all.remove(id);
                true
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SessionId, State>> {
        // Nothing panics while it is held.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn running(&self) -> Option<Arc<Session>> {
        match self {
            State::Running(session) => Some(Arc::clone(session)),
            _ => None,
        }
    }

    fn is_current(&self) -> bool {
        !matches!(self, State::Over { .. })
    }

    fn ended_at(&self) -> Option<Instant> {
        match self {
            State::Over { at, .. } => Some(*at),
            _ => None,
        }
    }
}

fn forget_old(all: &mut BTreeMap<SessionId, State>) {
    all.retain(|_, state| state.ended_at().is_none_or(|at| at.elapsed() < REMEMBERED_FOR));
    let mut over: Vec<_> =
        all.iter().filter_map(|(id, state)| Some((state.ended_at()?, id.clone()))).collect();
    if over.len() >= MOST_REMEMBERED {
        over.sort();
        over[..=over.len() - MOST_REMEMBERED].iter().for_each(|(_, id)| drop(all.remove(id)));
    }
}

/// A name that is taken. Dropping it without a session gives it back.
struct Reserved {
    sessions: Arc<Sessions>,
    id: SessionId,
    is_started: bool,
}

impl Reserved {
    /// The session runs from here on, in a task of its own, until it is over.
    fn run(mut self, entered: containers::Entered) -> Arc<Session> {
        self.is_started = true;
        let (session, outputs, ending) = Session::new(self.id.clone(), entered);
        self.sessions.lock().insert(self.id.clone(), State::Running(Arc::clone(&session)));
        let (sessions, running) = (Arc::clone(&self.sessions), Arc::clone(&session));
        tokio::spawn(async move {
            let id = &running.id;
            let end = end_for_good(&sessions.containers, &id.parent, &id.value);
            let exit = running.run(outputs, ending, end).await;
            let over = State::Over { exit, at: Instant::now() };
            sessions.lock().insert(id.clone(), over);
            running.finish(exit);
        });
        session
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.is_started {
            self.sessions.lock().remove(&self.id);
        }
    }
}

async fn end_for_good(containers: &Containers, container_id: &ContainerId, session_id: &str) {
    let mut pause = SHORTEST_PAUSE;
    while let Err(error) = containers.end_session(container_id, session_id).await {
        tracing::warn!(%container_id, session_id, error = with_causes(&error), "a session does not end, trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
