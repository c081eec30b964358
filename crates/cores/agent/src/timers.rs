use std::collections::BTreeSet;

use base::{ContainerId, FrameworkId, Mono, TaskId};

/// What is to be looked at when its time comes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The executor should have subscribed by now.
    Register(ContainerId),
    /// How far the container's preparation is should be told by now.
    Progress(ContainerId),
    /// All recovered executors should have subscribed again by now.
    Reregister,
    /// The executor was told to end and should have.
    Destroy(ContainerId),
    /// A command task is over, so its executor should be too.
    Linger(ContainerId),
    /// The end of the operation that was sent last was not acknowledged.
    RetryOperation(Vec<u8>),
    /// The update sent last was not acknowledged.
    Retry(FrameworkId, TaskId),
}

/// Timers in the order they are due.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Mono, Timer)>,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Mono, timer: Timer) {
        self.due.insert((at, timer));
    }

    pub(crate) fn cancel(&mut self, at: Mono, timer: Timer) {
        self.due.remove(&(at, timer));
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due at `now`.
    pub(crate) fn pop(&mut self, now: Mono) -> Option<(Mono, Timer)> {
        if self.next()? > now {
            return None;
        }
        self.due.pop_first()
    }
}
