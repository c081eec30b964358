use std::collections::BTreeSet;

use api_marathon::AppId;
use base::Mono;

use crate::id::InstanceId;

/// What is looked at again at some time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The app's delay after failures is over.
    Backoff(AppId),
    /// A kill is due, first or again.
    Kill(InstanceId),
    /// A launched task should be known to run by now.
    Launch(InstanceId),
    /// The instance has been unreachable for long enough for something.
    Unreachable(InstanceId),
    /// All tasks are compared with the master's.
    Reconcile,
}

/// Timers in the order in which they fire. One that is no longer meant still fires: who is woken looks whether there
/// is something to do.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Mono, Timer)>);

impl Timers {
    pub(crate) fn set(&mut self, at: Mono, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Mono) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, timer)| timer)
    }
}
