//! Bodies: whole, streamed by us, or streamed by the peer.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot};

use crate::pool::PooledBody;
use crate::server::DrainingBody;

/// Bytes of a refused body that are taken off the connection, and how long that may take.
const MAX_DISCARDED: u64 = 16 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// The body of a request or response.
///
/// Streams carry one HTTP chunk per frame and exert backpressure: a reader that stops reading stops
/// the writer.
pub struct Body {
    kind: Kind,
    /// Dropped when the last frame has been read, which tells whoever waits for that.
    end: Option<oneshot::Sender<()>>,
}

enum Kind {
    /// Nothing, or bytes not read yet.
    Full(Option<Bytes>),
    Channel(Channel),
    Incoming(Incoming),
    Pooled(Box<PooledBody>),
    Draining(Box<DrainingBody>),
}

struct Channel {
    frames: mpsc::Receiver<Bytes>,
    aborted: Arc<OnceLock<String>>,
}

/// A stream broke before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection that the body came through failed or ended early.
    #[error("the connection broke while its body was read")]
    Connection(#[source] hyper::Error),
    /// The side that produced the body gave up, with its reason.
    #[error("the body was aborted: {0}")]
    Aborted(String),
    /// The server is shutting down and ends long streams.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// A body could not be read as a whole.
#[derive(Debug, thiserror::Error)]
pub enum ReadBodyError {
    /// It is longer than the reader allows.
    #[error("the body is longer than the {limit} bytes allowed")]
    TooLarge {
        /// The reader's limit in bytes.
        limit: usize,
    },
    /// The readers of all bodies together hold too many bytes.
    #[error("too many bytes of other requests are being read")]
    Busy,
    /// It did not end in the time the reader allows.
    #[error("the body did not end within {0:?}")]
    Timeout(Duration),
    /// It broke.
    #[error("the body broke before its end")]
    Broken(#[from] BodyError),
}

impl Body {
    fn of(kind: Kind) -> Self {
        Body { kind, end: None }
    }

    /// The body, which drops `end` when its last frame has been read (or when it is dropped).
    pub(crate) fn with_end(self, end: oneshot::Sender<()>) -> Self {
        Body { kind: self.kind, end: Some(end) }
    }

    /// No bytes.
    pub fn empty() -> Self {
        Body::of(Kind::Full(None))
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Body::of(Kind::Full((!bytes.is_empty()).then_some(bytes)))
    }

    /// A stream and the sender that feeds it. At most `capacity` frames (at least 1) wait in it.
    ///
    /// Dropping the sender ends the stream as complete; [`BodySender::abort`] ends it as broken.
    pub fn channel(capacity: usize) -> (BodySender, Self) {
        let (sender, frames) = mpsc::channel(capacity.max(1));
        let aborted = Arc::new(OnceLock::new());
        let body = Body::of(Kind::Channel(Channel { frames, aborted: Arc::clone(&aborted) }));
        (BodySender { frames: sender, aborted }, body)
    }

    pub(crate) fn incoming(incoming: Incoming) -> Self {
        if incoming.is_end_stream() { Body::empty() } else { Body::of(Kind::Incoming(incoming)) }
    }

    pub(crate) fn pooled(body: PooledBody) -> Self {
        Body::of(Kind::Pooled(Box::new(body)))
    }

    pub(crate) fn draining(body: DrainingBody) -> Self {
        Body::of(Kind::Draining(Box::new(body)))
    }

    /// A second body with the same bytes, when the whole is in memory.
    pub(crate) fn replay(&self) -> Option<Body> {
        match &self.kind {
            Kind::Full(bytes) => Some(Body::of(Kind::Full(bytes.clone()))),
            _ => None,
        }
    }

    /// Whether the whole body is in memory, and so can be sent a second time.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.kind, Kind::Full(_))
    }

    /// The bytes, if the whole body is in memory and nobody waits for its end; else the body again.
    pub(crate) fn into_whole(self) -> Result<Bytes, Body> {
        match self {
            Body { kind: Kind::Full(bytes), end: None } => Ok(bytes.unwrap_or_default()),
            other => Err(other),
        }
    }

    /// Whether nothing (more) will come.
    pub fn is_empty(&self) -> bool {
        HttpBody::is_end_stream(self)
    }

    /// The next piece; `None` at the end. Pieces are as the peer's packets fell, not its chunks.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await?;
            match frame.map(Frame::into_data) {
                Ok(Ok(bytes)) if bytes.is_empty() => {}
                Ok(Ok(bytes)) => return Some(Ok(bytes)),
                Ok(Err(_trailers)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads to the end, at most `limit` bytes. What is longer is refused, but taken off the connection as far as that
    /// is cheap.
    pub async fn read(self, limit: usize) -> Result<Bytes, ReadBodyError> {
        self.read_counted(limit, |_| true).await
    }

    /// [`Body::read_within`] that takes what it holds out of a budget, and gives up when that is empty.
    pub async fn read_from(
        self,
        budget: &Budget,
        limit: usize,
        timeout: Duration,
    ) -> Result<(Bytes, Reserved), ReadBodyError> {
        let mut reserved = Reserved { budget: budget.clone(), bytes: 0 };
        let reading = self.read_counted(limit, |held| reserved.grow(held));
        let read = tokio::time::timeout(timeout, reading).await;
        Ok((read.map_err(|_| ReadBodyError::Timeout(timeout))??, reserved))
    }

    /// `may_hold` is asked before more than one piece is held, with the bytes so far.
    async fn read_counted(
        mut self,
        limit: usize,
        mut may_hold: impl FnMut(usize) -> bool,
    ) -> Result<Bytes, ReadBodyError> {
        if usize::try_from(self.size_hint().lower()).map_or(true, |length| length > limit) {
            return Err(self.refuse(limit).await);
        }
        let first = match self.next().await {
            None => return Ok(Bytes::new()),
            Some(first) => first?,
        };
        if first.len() > limit {
            return Err(self.refuse(limit).await);
        }
        // Most bodies are one piece: those are handed on without a copy.
        let Some(second) = self.next().await else { return Ok(first) };
        let capacity = limit.min(2 * first.len() + self.hinted_capacity());
        if !may_hold(capacity) {
            return Err(ReadBodyError::Busy);
        }
        let mut whole = BytesMut::with_capacity(capacity);
        whole.extend_from_slice(&first);
        let mut piece = second?;
        loop {
            if whole.len() + piece.len() > limit {
                return Err(self.refuse(limit).await);
            }
            if !may_hold(whole.len() + piece.len()) {
                return Err(ReadBodyError::Busy);
            }
            whole.extend_from_slice(&piece);
            match self.next().await {
                None => return Ok(whole.freeze()),
                Some(next) => piece = next?,
            }
        }
    }

    /// Discards what is left of a body that is too long. Who still sends when the connection is closed gets a reset,
    /// and with it loses the answer that says why.
    async fn refuse(mut self, limit: usize) -> ReadBodyError {
        let mut room = MAX_DISCARDED;
        let discard = async {
            while room > 0
                && self.size_hint().lower() <= room
                && let Some(Ok(piece)) = self.next().await
            {
                room = room.saturating_sub(piece.len() as u64);
            }
        };
        // Whether all of it came does not matter: the refusal is the same.
        let _ = tokio::time::timeout(DISCARD_TIMEOUT, discard).await;
        ReadBodyError::TooLarge { limit }
    }

    /// [`Body::read`] that gives up after `timeout`.
    pub async fn read_within(self, limit: usize, timeout: Duration) -> Result<Bytes, ReadBodyError> {
        tokio::time::timeout(timeout, self.read(limit)).await.map_err(|_| ReadBodyError::Timeout(timeout))?
    }

    /// Bytes known to be still to come, as far as it is wise to reserve for a promise.
    fn hinted_capacity(&self) -> usize {
        const WISE: u64 = 1 << 20;
        usize::try_from(self.size_hint().lower().min(WISE)).unwrap_or(0)
    }
}

/// How many bytes of bodies may be held at once by all who read from it. Clones are the same budget.
#[derive(Clone, Debug)]
pub struct Budget {
    left: Arc<AtomicUsize>,
}

/// What a body holds of a budget; given back when it is dropped.
#[derive(Debug)]
pub struct Reserved {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// Each body may hold so many bytes without asking: calls that are usual always get through.
    const FREE: usize = 16 << 10;

    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Budget { left: Arc::new(AtomicUsize::new(bytes)) }
    }
}

impl Reserved {
    /// Reserves what `held` bytes need; false if there is not so much left.
    fn grow(&mut self, held: usize) -> bool {
        let more = held.saturating_sub(Budget::FREE).saturating_sub(self.bytes);
        let left = &self.budget.left;
        let taken =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(more)).is_ok();
        if taken {
            self.bytes += more;
        }
        taken
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

impl Default for Body {
    fn default() -> Self {
        Body::empty()
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Body::full(bytes)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Full(bytes) => return write!(f, "Body({} bytes)", bytes.as_ref().map_or(0, Bytes::len)),
            Kind::Channel(_) => "channel",
            Kind::Incoming(_) => "incoming",
            Kind::Pooled(_) => "pooled",
            Kind::Draining(_) => "draining",
        };
        write!(f, "Body({kind})")
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.get_mut();
        let frame = match &mut body.kind {
            Kind::Full(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Kind::Channel(channel) => ready!(channel.poll_frame(cx)),
            Kind::Incoming(incoming) => {
                let frame = ready!(Pin::new(incoming).poll_frame(cx));
                frame.map(|frame| frame.map_err(BodyError::Connection))
            }
            Kind::Pooled(body) => ready!(body.poll_frame(cx)),
            Kind::Draining(body) => ready!(body.poll_frame(cx)),
        };
        if frame.is_none() {
            body.end = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(bytes) => bytes.is_none(),
            Kind::Channel(_) => false,
            Kind::Incoming(incoming) => incoming.is_end_stream(),
            Kind::Pooled(body) => body.is_end_stream(),
            Kind::Draining(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Channel(_) | Kind::Draining(_) => SizeHint::default(),
            Kind::Incoming(incoming) => incoming.size_hint(),
            Kind::Pooled(body) => body.size_hint(),
        }
    }
}

impl Channel {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match ready!(self.frames.poll_recv(cx)) {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => match self.aborted.get() {
                Some(reason) => Poll::Ready(Some(Err(BodyError::Aborted(reason.clone())))),
                None => Poll::Ready(None),
            },
        }
    }
}

/// The writing end of [`Body::channel`].
#[derive(Debug)]
pub struct BodySender {
    frames: mpsc::Sender<Bytes>,
    aborted: Arc<OnceLock<String>>,
}

/// Nobody reads the stream any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reader of the body is gone")]
pub struct SendBodyError;

/// A frame was not taken at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrySendBodyError {
    /// The reader is slower than the writer; the frame comes back.
    #[error("the reader of the body lags behind")]
    Full(Bytes),
    /// Nobody reads the stream any more.
    #[error("the reader of the body is gone")]
    Gone,
}

impl BodySender {
    /// Sends one frame, waiting while the stream is full. An empty frame is nothing.
    pub async fn send(&self, frame: impl Into<Bytes>) -> Result<(), SendBodyError> {
        let frame = frame.into();
        if frame.is_empty() {
            return Ok(());
        }
        self.frames.send(frame).await.map_err(|_| SendBodyError)
    }

    /// Sends one frame if there is room for it now.
    pub fn try_send(&self, frame: impl Into<Bytes>) -> Result<(), TrySendBodyError> {
        let frame = frame.into();
        if frame.is_empty() {
            return Ok(());
        }
        self.frames.try_send(frame).map_err(|error| match error {
            mpsc::error::TrySendError::Full(frame) => TrySendBodyError::Full(frame),
            mpsc::error::TrySendError::Closed(_) => TrySendBodyError::Gone,
        })
    }

    /// Resolves when nobody reads the stream any more: the peer closed its connection.
    pub async fn closed(&self) {
        self.frames.closed().await;
    }

    /// Whether nobody reads the stream any more.
    pub fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }

    /// Ends the stream as broken: the peer sees its connection close without the end of the body.
    pub fn abort(self, reason: impl Into<String>) {
        // Only this sender sets the slot, once, as it is consumed here.
        let _ = self.aborted.set(reason.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(body: Body, limit: usize, expect: Result<&str, &str>) {
        let read = body.read(limit).await.map_err(|error| error.to_string());
        match (read, expect) {
            (Ok(bytes), Ok(text)) => assert_eq!(bytes, text.as_bytes()),
            (Err(error), Err(text)) => assert_eq!(error, text),
            (found, wanted) => panic!("found {found:?}, wanted {wanted:?}"),
        }
    }

    fn stream(frames: &[&'static str], abort: Option<&str>) -> Body {
        let (sender, body) = Body::channel(8);
        for frame in frames {
            sender.try_send(Bytes::from_static(frame.as_bytes())).unwrap();
        }
        if let Some(reason) = abort {
            sender.abort(reason);
        }
        body
    }

    #[tokio::test]
    async fn reads_whole_bodies_within_the_limit() {
        check(Body::empty(), 0, Ok("")).await;
        check(Body::full("abc"), 3, Ok("abc")).await;
        check(Body::full("abcd"), 3, Err("the body is longer than the 3 bytes allowed")).await;
        check(stream(&[], None), 3, Ok("")).await;
        check(stream(&["a", "", "bc"], None), 3, Ok("abc")).await;
        check(stream(&["ab", "cd"], None), 3, Err("the body is longer than the 3 bytes allowed")).await;
        check(stream(&["abcd"], None), 3, Err("the body is longer than the 3 bytes allowed")).await;
        check(stream(&["ab"], Some("disk full")), 3, Err("the body broke before its end")).await;
    }

    #[tokio::test]
    async fn a_full_channel_gives_the_frame_back_and_a_dropped_body_is_gone() {
        let (sender, body) = Body::channel(1);
        assert_eq!(sender.try_send("a"), Ok(()));
        assert_eq!(sender.try_send("b"), Err(TrySendBodyError::Full(Bytes::from("b"))));
        drop(body);
        sender.closed().await;
        assert_eq!(sender.try_send("c"), Err(TrySendBodyError::Gone));
        assert_eq!(sender.send("c").await, Err(SendBodyError));
    }

    #[test]
    fn bodies_can_be_shared_and_sent() {
        fn check<T: Send + Sync>() {}
        check::<Body>();
        check::<BodySender>();
    }

    #[tokio::test]
    async fn reading_gives_up_in_time() {
        let (_sender, body) = Body::channel(1);
        let error = body.read_within(10, Duration::from_millis(1)).await.unwrap_err();
        assert!(matches!(error, ReadBodyError::Timeout(_)), "{error}");
    }

    #[tokio::test]
    async fn bodies_share_a_budget_and_give_it_back() {
        const PIECE: usize = 40 << 10;
        let (budget, patience) = (Budget::new(100 << 10), Duration::from_secs(60));
        let read = async |pieces: usize| {
            let (sender, body) = Body::channel(pieces);
            for _ in 0..pieces {
                sender.send(vec![0; PIECE]).await.unwrap();
            }
            drop(sender);
            body.read_from(&budget, 1 << 20, patience).await
        };
        let (first, held) = read(2).await.unwrap();
        assert_eq!(first.len(), 2 * PIECE);
        assert!(matches!(read(2).await, Err(ReadBodyError::Busy)));
        assert!(read(1).await.is_ok(), "what is one piece is not held a second time");
        drop(held);
        assert!(read(2).await.is_ok());
        assert_eq!(budget.left.load(Ordering::Relaxed), 100 << 10);
    }
}
