use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent_link::{Body, Decoder};
use tokio::io::{AsyncRead, AsyncReadExt, ReadHalf};
use tokio::time::timeout;

use crate::{ACK_EVERY, Lost, Received};

/// How many bytes are read at once. Every link holds so many, and most are silent most of the time.
const PIECE: usize = 4 * 1024;

/// The frames that come.
#[derive(Debug)]
pub struct Incoming<C> {
    read: ReadHalf<C>,
    decoder: Decoder,
    piece: Box<[u8]>,
    seq: u64,
    received: Arc<Received>,
}

impl<C: AsyncRead> Incoming<C> {
    pub(crate) fn new(read: ReadHalf<C>, received: Arc<Received>) -> Self {
        let piece = vec![0; PIECE].into_boxed_slice();
        Incoming { read, decoder: Decoder::default(), piece, seq: 0, received }
    }

    /// The next frame with a body. Frames without one only prove life and acknowledge. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    /// The link is over; also when nothing at all came for `silence`.
    pub async fn next(&mut self, silence: Duration) -> Result<Body, Lost> {
        loop {
            while let Some(frame) = self.decoder.next_frame()? {
                if frame.ack > self.received.ack.fetch_max(frame.ack, Ordering::AcqRel) {
                    self.received.changed.notify_one();
                }
                let Some(body) = frame.body else { continue };
                if frame.seq != self.seq + 1 {
                    return Err(Lost::Order { seq: frame.seq, after: self.seq });
                }
                self.seq = frame.seq;
                self.received.seq.store(frame.seq, Ordering::Release);
                if frame.seq.is_multiple_of(ACK_EVERY) {
                    self.received.changed.notify_one();
                }
                return Ok(body);
            }
            match timeout(silence, self.read.read(&mut self.piece)).await {
                Err(_) => return Err(Lost::Silent(silence)),
                Ok(Ok(0)) => return Err(Lost::Closed),
                Ok(Ok(count)) => self.decoder.push(&self.piece[..count]),
                Ok(Err(error)) => return Err(error.into()),
            }
        }
    }
}
