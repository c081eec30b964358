use std::sync::Arc;

use agent_link::frame::Body;
use mesos_proto::v1::{master, scheduler};

use crate::input::ConnId;
use crate::registry::RegistryOp;

/// What the service has to do, in the order given. Nothing here waits for a [`Effect::Persist`] before
/// it: what depends on durability is only said after [`Input::Persisted`](crate::Input::Persisted).
#[derive(Clone, Debug)]
pub enum Effect {
    /// Answers a call.
    Reply {
        /// The request.
        conn: ConnId,
        /// The answer.
        reply: Reply,
    },
    /// Sends an event to a framework.
    Send {
        /// The framework's stream.
        conn: ConnId,
        /// The event.
        event: Box<scheduler::Event>,
    },
    /// Sends a frame to an agent.
    ToAgent {
        /// The agent's connection.
        conn: ConnId,
        /// The frame's body.
        body: Box<Body>,
    },
    /// Ends a framework's stream or an agent's connection after what was sent to it. The service does not
    /// report it as closed.
    Close {
        /// The stream or connection.
        conn: ConnId,
    },
    /// Writes to the registry, all or nothing, then says [`Input::Persisted`](crate::Input::Persisted).
    /// Batches are written in order. A master that cannot write must stop.
    Persist {
        /// Counts up by one.
        seq: u64,
        /// What to write.
        ops: Vec<RegistryOp>,
    },
    /// The master must not go on: what it would do next needs somebody to look at it first.
    Stop {
        /// Why.
        reason: String,
    },
    /// An event for the operators that are subscribed to the master.
    Publish {
        /// The event.
        event: Arc<master::Event>,
    },
}

/// The answer to a call: status and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// 200 without a body.
    Ok,
    /// 202 without a body.
    Accepted,
    /// 200, and the response becomes the stream of events with the `Mesos-Stream-Id` of the input.
    Streaming,
    /// 400 with a text.
    BadRequest(String),
    /// 403 with a text.
    Forbidden(String),
    /// 404 with a text.
    NotFound(String),
    /// 409 with a text: what is asked for clashes with what there is.
    Conflict(String),
    /// 501 with a text.
    NotImplemented(String),
    /// 503 with a text.
    Unavailable(String),
}
