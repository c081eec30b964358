//! The streams of events to schedulers and operators.
//!
//! The event loop never waits for a reader: an event is put into the stream's bounded queue or, if
//! that is full, the stream is cut off. Heartbeats and the watch over the connection are a small
//! task's work.

use std::sync::Arc;
use std::time::Duration;

use http_kit::{Body, BodySender, Bytes};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

/// How many events may wait for a reader. One that is further behind is cut off and subscribes anew.
const BACKLOG: usize = 1024;

/// The loop's end of one stream.
#[derive(Debug)]
pub(crate) struct EventStream {
    sender: Arc<BodySender>,
    ending: oneshot::Sender<Ending>,
}

/// How a stream ends.
#[derive(Debug)]
enum Ending {
    /// As a body that is complete.
    Complete,
    /// In the middle, with the reason for the log.
    Cut(&'static str),
}

/// The stream cannot take the event: its reader is gone or lags too far behind.
#[derive(Debug)]
pub(crate) struct Lost;

impl EventStream {
    /// A stream and the body that carries it. `closed` is awaited once its reader is gone, unless the
    /// loop ended the stream before. A `heartbeat` is sent after each of its periods.
    pub(crate) fn open(
        heartbeat: Option<(Bytes, Duration)>,
        closed: impl Future<Output = ()> + Send + 'static,
    ) -> (EventStream, Body) {
        let (sender, body) = Body::channel(BACKLOG);
        let sender = Arc::new(sender);
        let (ending, ended) = oneshot::channel();
        tokio::spawn(watch(sender.clone(), heartbeat, ended, closed));
        (EventStream { sender, ending }, body)
    }

    /// Sends one frame now.
    pub(crate) fn send(&self, frame: Bytes) -> Result<(), Lost> {
        self.sender.try_send(frame).map_err(|_| Lost)
    }

    /// Ends the stream after what was sent, as a body that is complete.
    pub(crate) fn end(self) {
        self.finish(Ending::Complete);
    }

    /// Breaks the stream off, so that its reader does not take the rest for the whole.
    pub(crate) fn cut(self, reason: &'static str) {
        self.finish(Ending::Cut(reason));
    }

    fn finish(self, ending: Ending) {
        // The watcher must find itself the only owner.
        drop(self.sender);
        // No watcher, no stream: its reader is gone already.
        let _ = self.ending.send(ending);
    }
}

async fn watch(
    sender: Arc<BodySender>,
    heartbeat: Option<(Bytes, Duration)>,
    mut ended: oneshot::Receiver<Ending>,
    closed: impl Future<Output = ()>,
) {
    let mut beat = Instant::now();
    loop {
        let (frame, period) = heartbeat.clone().unwrap_or_default();
        beat += period;
        tokio::select! {
            ending = &mut ended => {
                let reason = match ending {
                    Ok(Ending::Complete) => return,
                    Ok(Ending::Cut(reason)) => reason,
                    // The loop is gone, which is no end that anybody decided on.
                    Err(_) => "the master is stopping",
                };
                if let Some(sender) = Arc::into_inner(sender) {
                    sender.abort(reason);
                }
                return;
            }
            () = sender.closed() => return closed.await,
            () = sleep_until(beat), if heartbeat.is_some() => {
                // A full stream has events that nobody read yet: they prove as much as a heartbeat.
                let _ = sender.try_send(frame);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> (EventStream, Body, oneshot::Receiver<()>) {
        let (tell, told) = oneshot::channel();
        let (stream, body) =
            EventStream::open(Some((Bytes::from_static(b"beat"), Duration::from_secs(15))), async {
                let _ = tell.send(());
            });
        (stream, body, told)
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
    async fn a_reader_that_lags_is_cut_off() {
        let (stream, mut body, _told) = stream();
        while stream.send(Bytes::from_static(b"event")).is_ok() {}
        stream.cut("too slow");
        let mut read = 0;
        let error = loop {
            match body.next().await.expect("an error before the end") {
                Ok(_) => read += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((read, error.to_string()), (BACKLOG, "the body was aborted: too slow".to_owned()));
    }

    #[tokio::test]
    async fn a_stream_that_is_dropped_breaks_off() {
        let (stream, mut body, _told) = stream();
        drop(stream);
        let error = body.next().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the body was aborted: the master is stopping");
    }

    #[tokio::test]
    async fn a_reader_that_leaves_is_told_of() {
        let (stream, body, told) = stream();
        drop(body);
        told.await.unwrap();
        assert!(stream.send(Bytes::from_static(b"event")).is_err());
    }
}
