//! What a session's process writes, on its way to whoever is attached.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api_mesos::Encoding;
use http_kit::{Body, BodySender, Bytes};
use mesos_proto::v1::DurationInfo;
use mesos_proto::v1::agent::{ProcessIo, process_io};
use mesos_proto::{binary, json, recordio};

/// Records that may wait for a reader: with it the process waits.
const BACKLOG: usize = 4;
/// How long a reader that only watches may hold the process up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many may be attached to one session's output.
const MOST: usize = 8;
/// How often readers hear that the session is there (Mesos: `DEFAULT_IO_SWITCHBOARD_HEARTBEAT_INTERVAL`).
pub(super) const HEARTBEAT: Duration = Duration::from_secs(30);

/// One reader.
#[derive(Clone)]
struct Reader {
    sender: Arc<BodySender>,
    encoding: Encoding,
    /// Whether the session is this reader's: then nobody but the reader decides how fast it reads.
    owns: bool,
}

/// All readers of one session.
#[derive(Default)]
pub(super) struct Readers(Mutex<Vec<Reader>>);

impl Readers {
    /// Adds a reader, and gives back what carries the output to it and who sees it go. None when there are
    /// too many.
    pub(super) fn attach(&self, encoding: Encoding, owns: bool) -> Option<(Body, Arc<BodySender>)> {
        let mut readers = self.lock();
        readers.retain(|reader| !reader.sender.is_closed());
        if readers.len() >= MOST {
            return None;
        }
        let (sender, body) = Body::channel(BACKLOG);
        let sender = Arc::new(sender);
        readers.push(Reader { sender: Arc::clone(&sender), encoding, owns });
        Some((body, sender))
    }

    /// Sends a piece of output to all readers and waits until all have room for more.
    pub(super) async fn write(&self, from: process_io::data::Type, piece: &[u8]) {
        let message = ProcessIo {
            r#type: Some(process_io::Type::Data as i32),
            data: Some(process_io::Data { r#type: Some(from as i32), data: Some(piece.to_vec()) }),
            control: None,
        };
        self.send(&message).await;
    }

    /// Tells those who have room that the session is there. For the others the output does.
    pub(super) fn beat(&self) {
        let interval = DurationInfo { nanoseconds: i64::try_from(HEARTBEAT.as_nanos()).unwrap_or(i64::MAX) };
        let heartbeat = process_io::control::Heartbeat { interval: Some(interval) };
        let control = process_io::Control {
            r#type: Some(process_io::control::Type::Heartbeat as i32),
            tty_info: None,
            heartbeat: Some(heartbeat),
        };
        let message =
            ProcessIo { r#type: Some(process_io::Type::Control as i32), data: None, control: Some(control) };
        for reader in self.lock().iter() {
            // One that is full or gone is noticed by what is written next.
            let _ = reader.sender.try_send(record(&message, reader.encoding));
        }
    }

    /// Ends all streams, as complete, after what was sent.
    pub(super) fn close(&self) {
        self.lock().clear();
    }

    async fn send(&self, message: &ProcessIo) {
        let readers = self.lock().clone();
        let mut records: Vec<(Encoding, Bytes)> = Vec::new();
        for reader in readers {
            let known = records.iter().find(|(encoding, _)| *encoding == reader.encoding);
            let frame = match known {
                Some((_, frame)) => frame.clone(),
                None => {
                    let frame = record(message, reader.encoding);
                    records.push((reader.encoding, frame.clone()));
                    frame
                }
            };
            let sending = reader.sender.send(frame);
            let sent = match reader.owns {
                true => sending.await.is_ok(),
                false => tokio::time::timeout(PATIENCE, sending).await.is_ok_and(|sent| sent.is_ok()),
            };
            if !sent {
                self.lock().retain(|other| !Arc::ptr_eq(&other.sender, &reader.sender));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Reader>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn record(message: &ProcessIo, encoding: Encoding) -> Bytes {
    let message = match encoding {
        Encoding::Json => json::to_json(message).into_bytes(),
        Encoding::Protobuf => binary::encode(message),
    };
    recordio::frame(&message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_reader_gets_its_own_encoding() {
        let readers = Readers::default();
        let (json, _json) = readers.attach(Encoding::Json, true).unwrap();
        let (protobuf, _protobuf) = readers.attach(Encoding::Protobuf, false).unwrap();
        readers.write(process_io::data::Type::Stdout, b"in-session\n").await;
        readers.close();
        drop((_json, _protobuf));
        let expect = "66\n{\"type\":\"DATA\",\"data\":{\"type\":\"STDOUT\",\"data\":\"aW4tc2Vzc2lvbgo=\"}}";
        assert_eq!(json.read(1 << 10).await.unwrap(), expect);
        let expect = b"17\n\x08\x01\x12\x0d\x08\x02\x12\x0bin-session\n";
        let found = protobuf.read(1 << 10).await.unwrap();
        assert!(found.ends_with(&expect[10..]), "{found:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_only_watches_and_reads_nothing_is_left_behind() {
        let readers = Readers::default();
        let (_watching, watcher) = readers.attach(Encoding::Json, false).unwrap();
        let (gone, _) = readers.attach(Encoding::Json, true).unwrap();
        drop(gone);
        for _ in 0..=BACKLOG {
            readers.write(process_io::data::Type::Stderr, b"x").await;
        }
        assert_eq!(Arc::strong_count(&watcher), 1, "it is not written to any more");
    }

    #[tokio::test]
    async fn readers_are_counted() {
        let readers = Readers::default();
        let all: Vec<_> = (0..MOST).map(|_| readers.attach(Encoding::Json, false).unwrap()).collect();
        assert!(readers.attach(Encoding::Json, false).is_none());
        drop(all);
        assert!(readers.attach(Encoding::Json, false).is_some());
    }
}
