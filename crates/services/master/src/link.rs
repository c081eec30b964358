//! The agents' connections: frames in, frames out, and the notice when one falls silent.
//!
//! A link knows nothing of what its frames mean. It hands the first one, the Hello, to the event loop
//! together with the way back, then every further one in order, and at last that it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_link::{Body, Decoder, Frame, Hello, Refused};
use http_kit::upgrade::{Upgrade, Upgraded};
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::event_loop::{Inbox, Message};
use crate::outbox::{self, Lost, Outbox, Unsent, outbox};

/// How many bytes are read at once. Every link holds so many, and most are silent most of the time.
const PIECE: usize = 4 * 1024;
/// How long a new connection may take to say Hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// What an agent may say of itself, in bytes: it becomes a record of the registry.
const LONGEST_DESCRIPTION: usize = store::limit::VALUE / 2;
/// After so many frames of the agent it is told that they were received, if nothing else is sent.
const ACK_EVERY: u64 = agent_link::UNACKNOWLEDGED / 4;

/// What a link tells the event loop.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// The agent is there. Nothing was answered yet.
    Hello(Box<Hello>, LinkSender),
    /// The agent says something; after the Hello, in its order.
    Frame(Box<Body>),
    /// The connection is over. Comes once after a Hello, and nothing after it.
    Lost(LostLink),
}

/// Why a link is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LostLink {
    /// The agent closed it, or this side did.
    #[error("the connection was closed")]
    Closed,
    /// Nothing came for too long.
    #[error("nothing was heard for {0:?}")]
    Silent(Duration),
    /// The agent takes what it is sent too slowly.
    #[error("the agent did not read for {0:?}")]
    Stuck(Duration),
    /// The bytes were no frames, or not in their order.
    #[error("{0}")]
    Protocol(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] std::io::Error),
}

/// The way to one agent. Dropping it closes the connection after what was sent.
#[derive(Debug)]
pub(crate) struct LinkSender(Outbox<Body>);

impl LinkSender {
    /// Sends one frame. When it cannot be sent the link must be dropped.
    pub(crate) fn send(&self, body: Body) -> Result<(), Lost> {
        let bytes = body.encoded_len();
        self.0.put(body, bytes)
    }
}

/// How a link keeps itself alive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    /// This side sends something at least this often.
    pub(crate) heartbeat: Duration,
    /// After this much silence the other side is dead.
    pub(crate) silence: Duration,
}

/// Serves one upgraded connection to its end. The loop is told of the events, in order.
pub(crate) async fn serve(upgrade: Upgrade, pulse: Pulse, inbox: Inbox) {
    let conn = inbox.conn();
    let tell = async |event| inbox.tell(Message::Link { conn, event }).await;
    let connection = match timeout(HELLO_TIMEOUT, upgrade.connection()).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%error, "an agent's connection was not upgraded"),
        Err(_) => return,
    };
    let (read, mut write) = tokio::io::split(connection);
    let mut incoming = Incoming {
        read,
        decoder: Decoder::default(),
        piece: vec![0; PIECE],
        seq: 0,
        received: Arc::default(),
    };
    let hello = match timeout(HELLO_TIMEOUT, incoming.next(pulse.silence)).await {
        Ok(Ok(Body::Hello(hello))) => hello,
        Ok(Ok(_)) => return refuse(&mut write, "the first frame of an agent is Hello").await,
        Ok(Err(error)) => return tracing::debug!(%error, "a connection ended before its Hello"),
        Err(_) => return,
    };
    if agent_link::negotiate(&hello).is_none() {
        let reason = format!(
            "the agent speaks versions {} to {}, this master {} to {}",
            hello.min_version,
            hello.max_version,
            agent_link::MIN_VERSION,
            agent_link::MAX_VERSION
        );
        return refuse(&mut write, &reason).await;
    }
    if hello.agent.as_ref().is_some_and(|agent| agent.encoded_len() > LONGEST_DESCRIPTION) {
        let reason = format!("an agent's description may have {LONGEST_DESCRIPTION} bytes");
        return refuse(&mut write, &reason).await;
    }
    let (sender, queue) = outbox(outbox::LIMIT);
    let mut outgoing = Outgoing { write, queue, seq: 0, received: incoming.received.clone() };
    tell(LinkEvent::Hello(Box::new(hello), LinkSender(sender))).await;
    let lost = tokio::select! {
        lost = outgoing.run(pulse) => lost,
        lost = async {
            loop {
                match incoming.next(pulse.silence).await {
                    Ok(body) => tell(LinkEvent::Frame(Box::new(body))).await,
                    Err(lost) => break lost,
                }
            }
        } => lost,
    };
    tell(LinkEvent::Lost(lost)).await;
}

async fn refuse(write: &mut WriteHalf<Upgraded>, reason: &str) {
    let refused = Refused { reason: reason.to_owned(), permanent: true };
    let bytes = agent_link::encode(&Frame { seq: 1, ack: 1, body: Some(Body::Refused(refused)) });
    // The agent may be gone by now, and then it needs no reason.
    let _ = timeout(HELLO_TIMEOUT, write.write_all(&bytes)).await;
    let _ = timeout(HELLO_TIMEOUT, write.shutdown()).await;
}

/// What both directions know of what the agent sent and received.
#[derive(Debug, Default)]
struct Received {
    /// The highest seq that came from the agent.
    seq: AtomicU64,
    /// The highest of our seqs that the agent received.
    ack: AtomicU64,
    /// The writer has reason to look.
    changed: Notify,
}

struct Incoming {
    read: ReadHalf<Upgraded>,
    decoder: Decoder,
    piece: Vec<u8>,
    seq: u64,
    received: Arc<Received>,
}

impl Incoming {
    /// The next frame with a body. Frames without one only prove life and acknowledge.
    async fn next(&mut self, silence: Duration) -> Result<Body, LostLink> {
        loop {
            while let Some(frame) =
                self.decoder.next_frame().map_err(|e| LostLink::Protocol(e.to_string()))?
            {
                if frame.ack > self.received.ack.fetch_max(frame.ack, Ordering::AcqRel) {
                    self.received.changed.notify_one();
                }
                let Some(body) = frame.body else { continue };
                if frame.seq != self.seq + 1 {
                    let text = format!("frame {} came after frame {}", frame.seq, self.seq);
                    return Err(LostLink::Protocol(text));
                }
                self.seq = frame.seq;
                self.received.seq.store(frame.seq, Ordering::Release);
                if frame.seq.is_multiple_of(ACK_EVERY) {
                    self.received.changed.notify_one();
                }
                return Ok(body);
            }
            match timeout(silence, self.read.read(&mut self.piece)).await {
                Err(_) => return Err(LostLink::Silent(silence)),
                Ok(Ok(0)) => return Err(LostLink::Closed),
                Ok(Ok(count)) => self.decoder.push(&self.piece[..count]),
                Ok(Err(error)) => return Err(error.into()),
            }
        }
    }
}

struct Outgoing {
    write: WriteHalf<Upgraded>,
    queue: Unsent<Body>,
    seq: u64,
    received: Arc<Received>,
}

impl Outgoing {
    /// Sends what is queued and the heartbeats between, until the queue's sender is dropped or the
    /// agent does not read.
    async fn run(&mut self, pulse: Pulse) -> LostLink {
        let mut acknowledged = 0;
        let mut bytes = Vec::new();
        let mut beat = Instant::now() + pulse.heartbeat;
        loop {
            let window = self.received.ack.load(Ordering::Acquire) + agent_link::UNACKNOWLEDGED;
            let first = tokio::select! {
                body = self.queue.next(), if self.seq < window => match body {
                    Some(body) => Some(body),
                    None => {
                        let _ = timeout(pulse.silence, self.write.shutdown()).await;
                        return LostLink::Closed;
                    }
                },
                () = tokio::time::sleep_until(beat) => None,
                () = self.received.changed.notified() => {
                    let unsaid = self.received.seq.load(Ordering::Acquire) - acknowledged;
                    if unsaid < ACK_EVERY {
                        continue;
                    }
                    None
                }
            };
            bytes.clear();
            acknowledged = self.received.seq.load(Ordering::Acquire);
            match first {
                None => bytes = agent_link::encode(&Frame { seq: 0, ack: acknowledged, body: None }),
                Some(first) => {
                    self.append(first, acknowledged, &mut bytes);
                    // What is waiting behind it goes with the same write.
                    while self.seq < window && bytes.len() < 256 * 1024 {
                        let Some(body) = self.queue.try_next() else { break };
                        self.append(body, acknowledged, &mut bytes);
                    }
                }
            }
            match timeout(pulse.silence, self.write.write_all(&bytes)).await {
                Ok(Ok(())) => beat = Instant::now() + pulse.heartbeat,
                Ok(Err(error)) => return error.into(),
                Err(_) => return LostLink::Stuck(pulse.silence),
            }
        }
    }

    fn append(&mut self, body: Body, ack: u64, bytes: &mut Vec<u8>) {
        self.seq += 1;
        bytes.extend_from_slice(&agent_link::encode(&Frame { seq: self.seq, ack, body: Some(body) }));
    }
}
