use agent_link::frame::Body;
use base::Principal;
use mesos_proto::v1::{master, scheduler};

/// One HTTP exchange or connection, named by the service. Never reused. A request that becomes a
/// stream of events (SUBSCRIBE) keeps its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Everything that can happen to a master.
#[derive(Clone, Debug)]
pub enum Input {
    /// A call on `/api/v1/scheduler`, decoded and whole (the member that its type asks for is there).
    /// Exactly one [`Effect::Reply`](crate::Effect::Reply) follows.
    SchedulerCall {
        /// The request; for SUBSCRIBE the stream that may come of it.
        conn: ConnId,
        /// What was called.
        call: Box<scheduler::Call>,
        /// The request's `Mesos-Stream-Id`. For SUBSCRIBE, the id that the new stream gets.
        stream_id: Option<String>,
        /// Who the caller has proved to be.
        principal: Option<Principal>,
    },
    /// A framework's stream of events broke or was too slow.
    SchedulerClosed {
        /// The stream.
        conn: ConnId,
    },
    /// A call on `/api/v1` that changes something, decoded and whole; the forms of the v0 endpoints are
    /// made into the same message. Exactly one [`Effect::Reply`](crate::Effect::Reply) follows, maybe later.
    /// Calls that only read are answered by the service.
    OperatorCall {
        /// The request.
        conn: ConnId,
        /// What is to be done.
        call: Box<master::Call>,
        /// Who the caller has proved to be.
        principal: Option<Principal>,
    },
    /// An agent said something. The first frame of a connection is its `Hello`.
    AgentFrame {
        /// The agent's connection.
        conn: ConnId,
        /// What it said.
        body: Box<Body>,
    },
    /// An agent's connection is gone.
    AgentClosed {
        /// The agent's connection.
        conn: ConnId,
        /// Whether it was closed because the agent had been silent for [`Config::agent_silence`]: then
        /// the agent is unreachable at once, otherwise it has that time to come back.
        ///
        /// [`Config::agent_silence`]: crate::Config::agent_silence
        silent: bool,
    },
    /// What [`Effect::Persist`](crate::Effect::Persist) asked for is durable.
    Persisted {
        /// The number of that effect. All lower ones are durable, too.
        seq: u64,
    },
    /// [`Master::next_deadline`](crate::Master::next_deadline) has passed.
    Timer,
}
