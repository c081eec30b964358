use base::{AgentId, FrameworkId, OfferId};

/// What the passing of time can bring about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A connected framework gets a HEARTBEAT.
    Heartbeat(FrameworkId),
    /// A disconnected framework has had its failover timeout.
    RemoveFramework(FrameworkId),
    /// An offer is not answered.
    RescindOffer(OfferId),
    /// An inverse offer is not answered.
    RescindInverseOffer(OfferId),
    /// It is an agent's turn to be given up.
    GiveUp(AgentId),
    /// The registry is swept of what is too old.
    CollectRegistry,
    /// Frameworks may be asked again to leave agents.
    InverseOffers,
    /// A disconnected agent does not come back, or one of the registry after a failover of the master.
    AgentUnreachable(AgentId),
}
