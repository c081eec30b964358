//! The event stream: who listens to `/v2/events`, and how events reach them.

use std::collections::BTreeSet;
use std::time::Duration;

use api_marathon::{Event, EventKind};
use base::Wall;
use http_kit::{Body, BodySender, Bytes, sse};

/// Events that may wait for one slow reader; then it is cut off, and knows that it has missed something.
const BACKLOG: usize = 1024;
/// Readers at the same time.
const MAX_SUBSCRIBERS: usize = 512;
/// How often a quiet stream is given an empty line.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Everybody who listens.
#[derive(Default)]
pub(crate) struct Hub {
    subscribers: Vec<Subscriber>,
}

struct Subscriber {
    remote_address: String,
    /// Empty: all.
    event_types: BTreeSet<String>,
    sender: BodySender,
}

/// No more readers are taken.
#[derive(Debug, thiserror::Error)]
#[error("{MAX_SUBSCRIBERS} event streams are open, and no more are allowed")]
pub(crate) struct Full;

impl Hub {
    /// Adds a reader, who is the first to learn of it: its stream begins with `event_stream_attached`.
    pub(crate) fn attach(
        &mut self,
        remote_address: String,
        event_types: BTreeSet<String>,
        now: Wall,
    ) -> Result<Body, Full> {
        self.drop_gone(now);
        if self.subscribers.len() >= MAX_SUBSCRIBERS {
            return Err(Full);
        }
        let (sender, body) = Body::channel(BACKLOG);
        self.subscribers.push(Subscriber { remote_address: remote_address.clone(), event_types, sender });
        self.publish(&Event::new(EventKind::EventStreamAttached { remote_address }, now));
        Ok(body)
    }

    /// How many listen.
    pub(crate) fn len(&self) -> usize {
        self.subscribers.len()
    }

    /// Tells everybody who wants to know.
    pub(crate) fn publish(&mut self, event: &Event) {
        let wanted = |subscriber: &Subscriber| {
            subscriber.event_types.is_empty() || subscriber.event_types.contains(event.event_type)
        };
        if !self.subscribers.iter().any(wanted) {
            return;
        }
        let json = serde_json::to_string(event).expect("events have string keys and cannot fail");
        let bytes = sse::Event::new(event.event_type, json).encode();
        self.send(&bytes, event.timestamp, wanted);
    }

    /// Keeps quiet streams alive, and notices who is gone.
    pub(crate) fn keep_alive(&mut self, now: Wall) {
        self.send(&sse::KEEP_ALIVE, now, |_| true);
    }

    fn send(&mut self, bytes: &Bytes, now: Wall, wanted: impl Fn(&Subscriber) -> bool) {
        let mut detached = Vec::new();
        let mut kept = Vec::with_capacity(self.subscribers.len());
        for subscriber in self.subscribers.drain(..) {
            if !wanted(&subscriber) || subscriber.sender.try_send(bytes.clone()).is_ok() {
                kept.push(subscriber);
                continue;
            }
            if !subscriber.sender.is_closed() {
                tracing::warn!(
                    reader = subscriber.remote_address,
                    "an event stream is read too slowly and is cut off"
                );
            }
            detached.push(subscriber.remote_address);
            subscriber.sender.abort("events were read too slowly");
        }
        self.subscribers = kept;
        self.tell_detached(detached, now);
    }

    fn drop_gone(&mut self, now: Wall) {
        let (gone, kept) = self.subscribers.drain(..).partition::<Vec<_>, _>(|one| one.sender.is_closed());
        self.subscribers = kept;
        self.tell_detached(gone.into_iter().map(|one| one.remote_address).collect(), now);
    }

    fn tell_detached(&mut self, gone: Vec<String>, now: Wall) {
        for remote_address in gone {
            self.publish(&Event::new(EventKind::EventStreamDetached { remote_address }, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happened() -> Event {
        Event::new(EventKind::SchedulerDisconnected {}, Wall(0))
    }

    async fn next(body: &mut Body) -> String {
        String::from_utf8(body.next().await.expect("more").expect("whole").to_vec()).expect("text")
    }

    #[tokio::test]
    async fn a_reader_gets_what_it_asked_for() {
        let mut hub = Hub::default();
        let mut all = hub.attach("a".to_owned(), BTreeSet::new(), Wall(0)).unwrap();
        assert!(
            next(&mut all).await.starts_with("event: event_stream_attached\ndata: {\"remoteAddress\":\"a\",")
        );
        let only = BTreeSet::from(["scheduler_disconnected_event".to_owned()]);
        let mut some = hub.attach("b".to_owned(), only, Wall(0)).unwrap();
        hub.publish(&happened());
        assert!(next(&mut some).await.starts_with("event: scheduler_disconnected_event\n"));
        assert!(next(&mut all).await.contains("\"b\""));
        drop(some);
        hub.keep_alive(Wall(0));
        assert!(next(&mut all).await.starts_with("event: scheduler_disconnected_event\n"));
        assert_eq!(next(&mut all).await, "\n");
        assert!(next(&mut all).await.starts_with("event: event_stream_detached\n"));
        assert_eq!(hub.len(), 1);
    }

    #[tokio::test]
    async fn who_reads_too_slowly_is_cut_off_and_sees_it() {
        let mut hub = Hub::default();
        let mut body = hub.attach("a".to_owned(), BTreeSet::new(), Wall(0)).unwrap();
        for _ in 0..BACKLOG {
            hub.publish(&happened());
        }
        assert_eq!(hub.len(), 0);
        let mut read = 0;
        while let Some(piece) = body.next().await {
            match piece {
                Ok(_) => read += 1,
                Err(error) => {
                    assert_eq!(error.to_string(), "the body was aborted: events were read too slowly");
                    break;
                }
            }
        }
        assert_eq!(read, BACKLOG, "what was sent before is there");
    }
}
