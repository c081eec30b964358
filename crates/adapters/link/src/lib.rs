//! The frames of the agent link over a connection, the same on both of its ends: their order, their
//! acknowledgement, the window of those that are not acknowledged, heartbeats, and the notice when the
//! other side falls silent or does not read.
//!
//! [`split`] a connection, say and hear the first frames by [`Outgoing::send`] and [`Incoming::next`],
//! then let [`Outgoing::run`] send what is put into a [`queue`] beside a loop over `next`.
//!
//! Deliberately absent: how the connection is made, made again and refused, which frame comes first,
//! and what any of them means.

mod incoming;
mod outgoing;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use agent_link::FrameError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

pub use incoming::Incoming;
pub use outgoing::{Outgoing, Queue, Sender, queue};

/// After so many frames of the other side it is told that they were received, if nothing else is sent.
const ACK_EVERY: u64 = agent_link::UNACKNOWLEDGED / 4;

/// How a link keeps itself alive.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    /// This side sends something at least this often.
    pub heartbeat: Duration,
    /// After this much silence the other side is dead.
    pub silence: Duration,
}

/// Why a link is over.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The other side closed it, or this side did.
    #[error("the connection was closed")]
    Closed,
    /// Nothing came for too long.
    #[error("nothing was heard for {0:?}")]
    Silent(Duration),
    /// The other side takes what it is sent too slowly.
    #[error("the other side did not read for {0:?}")]
    Stuck(Duration),
    /// The bytes were no frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame is missing, or came again.
    #[error("frame {seq} came after frame {after}")]
    Order {
        /// The number of the frame that came.
        seq: u64,
        /// The number of the last frame before it.
        after: u64,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
}

/// What both directions know of what the other side sent and received.
#[derive(Debug, Default)]
struct Received {
    /// The highest seq that came from the other side.
    seq: AtomicU64,
    /// The highest of our seqs that the other side received.
    ack: AtomicU64,
    /// The writer has reason to look.
    changed: Notify,
}

/// The two directions of a connection that no frame went over yet.
pub fn split<C: AsyncRead + AsyncWrite>(connection: C) -> (Incoming<C>, Outgoing<C>) {
    let (read, write) = tokio::io::split(connection);
    let received = Arc::<Received>::default();
    (Incoming::new(read, Arc::clone(&received)), Outgoing::new(write, received))
}

#[cfg(test)]
mod tests;
