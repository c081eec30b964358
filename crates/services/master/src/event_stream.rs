//! The streams of events to schedulers and operators.
//!
//! The event loop never waits for a reader: an event is put into the stream's outbox or, if that is
//! full, the stream is cut off. Feeding the connection, heartbeats and the watch over it are a small
//! task's work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_kit::outbox::{self, Lost, Outbox, Unsent, outbox};
use http_kit::{Body, BodySender, Bytes};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How many events are handed to the connection before it has sent them.
const AHEAD: usize = 16;

/// The loop's end of one stream. Dropping it breaks the stream off after what was sent, as something
/// that nobody decided on.
#[derive(Debug)]
pub(crate) struct EventStream {
    frames: Outbox<Bytes>,
    complete: Arc<AtomicBool>,
    cut: Arc<Cut>,
}

/// The order to break a stream off at once.
#[derive(Debug, Default)]
struct Cut {
    given: Notify,
    reason: OnceLock<&'static str>,
}

impl EventStream {
    /// A stream and the body that carries it. `closed` is awaited once its reader is gone, unless the
    /// loop ended the stream before. A heartbeat is sent after each of its periods.
    pub(crate) fn open(
        heartbeat: Option<(Bytes, Duration)>,
        closed: impl Future<Output = ()> + Send + 'static,
    ) -> (EventStream, Body) {
        let (sender, body) = Body::channel(AHEAD);
        let (frames, unsent) = outbox(outbox::LIMIT);
        let cut = Arc::<Cut>::default();
        let complete = Arc::new(AtomicBool::new(false));
        let feeder = Feeder { sender, unsent, complete: complete.clone(), cut: cut.clone() };
        tokio::spawn(async move {
            if feeder.run(heartbeat).await == Ended::ByReader {
                closed.await;
            }
        });
        (EventStream { frames, complete, cut }, body)
    }

    /// Sends one frame.
    pub(crate) fn send(&self, frame: Bytes) -> Result<(), Lost> {
        let bytes = frame.len();
        self.frames.put(frame, bytes)
    }

    /// Ends the stream after what was sent, as a body that is complete.
    pub(crate) fn end(self) {
        self.complete.store(true, Ordering::Release);
    }

    /// Breaks the stream off at once, so that its reader does not take the rest for the whole.
    pub(crate) fn cut(self, reason: &'static str) {
        // Nobody else sets it: this is the stream's only owner, and it ends here.
        let _ = self.cut.reason.set(reason);
        self.cut.given.notify_one();
    }
}

#[derive(PartialEq, Eq)]
enum Ended {
    ByLoop,
    ByReader,
}

struct Feeder {
    sender: BodySender,
    unsent: Unsent<Bytes>,
    complete: Arc<AtomicBool>,
    cut: Arc<Cut>,
}

impl Feeder {
    async fn run(mut self, heartbeat: Option<(Bytes, Duration)>) -> Ended {
        let (beat, period) = heartbeat.clone().unwrap_or_default();
        let mut due = Instant::now() + period;
        loop {
            let frame = tokio::select! {
                biased;
                () = self.cut.given.notified() => return self.abort(),
                frame = self.unsent.next() => frame,
                () = self.sender.closed() => return Ended::ByReader,
                () = sleep_until(due), if heartbeat.is_some() => {
                    due += period;
                    Some(beat.clone())
                }
            };
            let Some(frame) = frame else {
                if !self.complete.load(Ordering::Acquire) {
                    return self.abort();
                }
                return Ended::ByLoop;
            };
            let sent = tokio::select! {
                sent = self.sender.send(frame) => sent,
                () = self.cut.given.notified() => return self.abort(),
            };
            if sent.is_err() {
                return Ended::ByReader;
            }
        }
    }

    fn abort(self) -> Ended {
        self.sender.abort(self.cut.reason.get().copied().unwrap_or("the master is stopping"));
        Ended::ByLoop
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn stream() -> (EventStream, Body, oneshot::Receiver<()>) {
        let (tell, told) = oneshot::channel();
        let heartbeat = Some((Bytes::from_static(b"beat"), Duration::from_secs(15)));
        let (stream, body) = EventStream::open(heartbeat, async {
            let _ = tell.send(());
        });
        (stream, body, told)
    }

    /// Reads to the end; the error's text if it is none.
    async fn rest(body: &mut Body) -> (usize, Option<String>) {
        let mut read = 0;
        while let Some(frame) = body.next().await {
            match frame {
                Ok(_) => read += 1,
                Err(error) => return (read, Some(error.to_string())),
            }
        }
        (read, None)
    }

    #[tokio::test(start_paused = true)]
    async fn events_and_heartbeats_come_in_order_and_the_end_is_complete() {
        let (stream, mut body, _told) = stream();
        stream.send(Bytes::from_static(b"one")).unwrap();
        assert_eq!(body.next().await.unwrap().unwrap(), "one");
        let before = Instant::now();
        assert_eq!(body.next().await.unwrap().unwrap(), "beat");
        assert_eq!(before.elapsed().as_secs(), 15);
        stream.send(Bytes::from_static(b"two")).unwrap();
        stream.end();
        assert_eq!(body.next().await.unwrap().unwrap(), "two");
        assert!(body.next().await.is_none());
    }

    #[tokio::test]
    async fn a_burst_is_taken_and_a_reader_that_lags_is_cut_off() {
        let (stream, mut body, _told) = stream();
        for _ in 0..10_000 {
            stream.send(Bytes::from_static(b"event")).unwrap();
        }
        let large = Bytes::from(vec![0; outbox::LIMIT / 4]);
        while stream.send(large.clone()).is_ok() {}
        stream.cut("too slow");
        let (read, error) = rest(&mut body).await;
        assert!(read <= AHEAD + 1, "{read} events after the cut");
        assert_eq!(error.as_deref(), Some("the body was aborted: too slow"));
    }

    #[tokio::test]
    async fn a_stream_that_is_dropped_breaks_off() {
        let (stream, mut body, _told) = stream();
        stream.send(Bytes::from_static(b"event")).unwrap();
        drop(stream);
        let error = "the body was aborted: the master is stopping".to_owned();
        assert_eq!(rest(&mut body).await, (1, Some(error)));
    }

    #[tokio::test]
    async fn a_reader_that_leaves_is_told_of() {
        let (stream, body, told) = stream();
        drop(body);
        told.await.unwrap();
        assert!(stream.send(Bytes::from_static(b"event")).is_err());
    }
}
