use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent_link::{Body, Frame, UNACKNOWLEDGED, encode};
use http_kit::outbox::{self, Outbox, Unsent, outbox};
use tokio::io::{AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::time::{Instant, timeout};

use crate::{ACK_EVERY, Lost, Pulse, Received};

/// What waits goes with one write, until that has so many bytes.
const LONGEST_WRITE: usize = 256 * 1024;

/// The way to the other side, without waiting. Dropping it closes the connection after what was sent.
#[derive(Debug)]
pub struct Sender(Outbox<Body>);

/// What was put into the [`Sender`] and is not sent yet.
#[derive(Debug)]
pub struct Queue(Unsent<Body>);

/// A queue of at most [`outbox::LIMIT`] bytes.
pub fn queue() -> (Sender, Queue) {
    let (sender, unsent) = outbox(outbox::LIMIT);
    (Sender(sender), Queue(unsent))
}

impl Sender {
    /// Sends one frame.
    ///
    /// # Errors
    /// The link is over or too much waits; then this must be dropped, for the frame is lost.
    pub fn send(&self, body: Body) -> Result<(), outbox::Lost> {
        let bytes = body.encoded_len();
        self.0.put(body, bytes)
    }

    /// How many bytes wait to be sent.
    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }
}

/// The frames that go.
#[derive(Debug)]
pub struct Outgoing<C> {
    write: WriteHalf<C>,
    seq: u64,
    received: Arc<Received>,
}

impl<C: AsyncWrite> Outgoing<C> {
    pub(crate) fn new(write: WriteHalf<C>, received: Arc<Received>) -> Self {
        Outgoing { write, seq: 0, received }
    }

    /// Sends one frame and waits until the connection took it.
    ///
    /// # Errors
    /// The link is over; also when the connection does not take the frame within `limit`.
    pub async fn send(&mut self, body: Body, limit: Duration) -> Result<(), Lost> {
        let mut bytes = Vec::new();
        self.append(body, self.received.seq.load(Ordering::Acquire), &mut bytes);
        self.write(&bytes, limit).await
    }

    /// Closes this direction, within `limit`. The other side may be gone by then.
    pub async fn close(&mut self, limit: Duration) {
        let _ = timeout(limit, self.write.shutdown()).await;
    }

    /// Sends what is queued, acknowledgements, and heartbeats between, until the queue's sender is
    /// dropped or the other side does not read.
    pub async fn run(&mut self, queue: &mut Queue, pulse: Pulse) -> Lost {
        let mut acknowledged = 0;
        let mut bytes = Vec::new();
        let mut beat = Instant::now() + pulse.heartbeat;
        loop {
            let window = self.received.ack.load(Ordering::Acquire) + UNACKNOWLEDGED;
            let first = tokio::select! {
                body = queue.0.next(), if self.seq < window => match body {
                    Some(body) => Some(body),
                    None => {
                        self.close(pulse.silence).await;
                        return Lost::Closed;
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
                None => bytes = encode(&Frame { seq: 0, ack: acknowledged, body: None }),
                Some(first) => {
                    self.append(first, acknowledged, &mut bytes);
                    while self.seq < window && bytes.len() < LONGEST_WRITE {
                        let Some(body) = queue.0.try_next() else { break };
                        self.append(body, acknowledged, &mut bytes);
                    }
                }
            }
            match self.write(&bytes, pulse.silence).await {
                Ok(()) => beat = Instant::now() + pulse.heartbeat,
                Err(lost) => return lost,
            }
        }
    }

    fn append(&mut self, body: Body, ack: u64, bytes: &mut Vec<u8>) {
        self.seq += 1;
        bytes.extend_from_slice(&encode(&Frame { seq: self.seq, ack, body: Some(body) }));
    }

    async fn write(&mut self, bytes: &[u8], limit: Duration) -> Result<(), Lost> {
        match timeout(limit, self.write.write_all(bytes)).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(Lost::Stuck(limit)),
        }
    }
}
