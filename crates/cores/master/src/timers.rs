use std::collections::BTreeSet;

use base::{AgentId, FrameworkId, Mono, OfferId};

/// What the passing of time can bring about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A connected framework gets a HEARTBEAT.
    Heartbeat(FrameworkId),
    /// A disconnected framework has had its failover timeout.
    RemoveFramework(FrameworkId),
    /// An offer is not answered.
    RescindOffer(OfferId),
    /// A disconnected agent does not come back, or one of the registry after a failover of the master.
    AgentUnreachable(AgentId),
}

/// Pending timers in the order of their times. Whoever is concerned keeps the time, too: a timer whose time
/// is not the one kept there is void, so nothing has to be cancelled.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Mono, Timer)>);

impl Timers {
    pub(crate) fn set(&mut self, at: Mono, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Mono) -> Option<(Mono, Timer)> {
        if self.next()? <= now { self.0.pop_first() } else { None }
    }
}
