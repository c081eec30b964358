//! The frames that an agent and a master exchange over their one connection.
//!
//! The agent asks the master for `/api/v1/agent` with `Upgrade: dcos-agent-link`. From then on both
//! sides send frames: four bytes of length, big-endian, then that many bytes of a [`Frame`]. The
//! agent's first frame is a [`Hello`], the master's a [`Welcome`] or a [`Refused`]. Frames with a body
//! are counted and acknowledged, so that either side can bound what the other has not read yet.
//! A lost connection loses frames: the next [`Hello`] tells everything again, and the master compares.
//!
//! Deliberately absent: sockets, timers, and what the frames make their receivers do.

mod framing;

pub use framing::{Decoder, FrameError, encode};
pub use messages::frame::Body;
pub use messages::*;

#[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]
mod messages {
    include!("generated/dcos.agent_link.rs");
}

/// The path on the master where the connection is asked for.
pub const PATH: &str = "/api/v1/agent";
/// The protocol named in the `Upgrade` header of request and answer.
pub const UPGRADE: &str = "dcos-agent-link";
/// The oldest protocol version this code speaks.
pub const MIN_VERSION: u32 = 1;
/// The newest protocol version this code speaks.
pub const MAX_VERSION: u32 = 2;
/// From this version on an agent knows operations on resources, draining, and totals that change.
pub const OPERATIONS_VERSION: u32 = 2;
/// The longest frame in bytes that either side takes. A `Hello` of an agent with ten thousand tasks
/// fits.
pub const LONGEST_FRAME: usize = 64 << 20;
/// How many frames with a body may be on the way unacknowledged before a side stops sending.
pub const UNACKNOWLEDGED: u64 = 1024;

/// The version both sides speak from here on, or `None` if the ranges do not meet.
pub fn negotiate(hello: &Hello) -> Option<u32> {
    let version = hello.max_version.min(MAX_VERSION);
    (version >= hello.min_version.max(MIN_VERSION)).then_some(version)
}
