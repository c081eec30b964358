//! Server-sent events (`text/event-stream`), as Marathon's `/v2/events` speaks them.

use bytes::{Bytes, BytesMut};

/// The media type of an event stream.
pub const CONTENT_TYPE: &str = "text/event-stream";

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The value of `event:`; empty when absent, which browsers read as `message`.
    pub event: String,
    /// The lines of `data:`, joined with line feeds.
    pub data: String,
    /// The value of `id:`, if the event has one.
    pub id: Option<String>,
}

impl Event {
    /// An event of this name with this data.
    pub fn new(event: impl Into<String>, data: impl Into<String>) -> Self {
        Event { event: event.into(), data: data.into(), id: None }
    }

    /// The bytes of the event. Line breaks in `event` and `id` would change its meaning and are left out.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.event.len() + self.data.len() + 32);
        let mut field = |name: &str, value: &str| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\n");
        };
        if let Some(id) = &self.id {
            field("id", &id.replace(['\r', '\n'], ""));
        }
        if !self.event.is_empty() {
            field("event", &self.event.replace(['\r', '\n'], ""));
        }
        for line in self.data.replace("\r\n", "\n").split(['\n', '\r']) {
            field("data", line);
        }
        out.extend_from_slice(b"\n");
        out.freeze()
    }
}

/// An empty line, which readers skip: keeps a quiet connection alive.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b"\n");

/// An event is longer than the reader allows. The stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than the {limit} bytes allowed")]
pub struct EventTooLarge {
    /// The reader's limit in bytes.
    pub limit: usize,
}

/// Reads events out of a stream that arrives in pieces of any size.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    /// The last byte was a carriage return: a line feed right behind it belongs to it.
    after_return: bool,
    first_line: bool,
}

impl Decoder {
    /// A decoder that refuses events of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Decoder {
            limit,
            line: Vec::new(),
            event: Event::default(),
            has_data: false,
            after_return: false,
            first_line: true,
        }
    }

    /// Takes the next piece and appends the events that it completes to `out`.
    pub fn push(&mut self, mut piece: &[u8], out: &mut Vec<Event>) -> Result<(), EventTooLarge> {
        if std::mem::take(&mut self.after_return) && piece.first() == Some(&b'\n') {
            piece = &piece[1..];
        }
        while let Some(end) = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.extend(&piece[..end])?;
            let is_return = piece[end] == b'\r';
            piece = &piece[end + 1..];
            if is_return {
                match piece.first() {
                    Some(b'\n') => piece = &piece[1..],
                    Some(_) => {}
                    None => self.after_return = true,
                }
            }
            self.end_line(out);
        }
        self.extend(piece)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), EventTooLarge> {
        if self.line.len() + bytes.len() + self.event.data.len() > self.limit {
            return Err(EventTooLarge { limit: self.limit });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, out: &mut Vec<Event>) {
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&bytes);
        let line = match std::mem::take(&mut self.first_line) {
            true => line.strip_prefix('\u{feff}').unwrap_or(&line),
            false => &line,
        };
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) {
                out.push(event);
            }
        } else {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            self.field(name, value.strip_prefix(' ').unwrap_or(value));
        }
        // The next line uses the same memory.
        self.line = bytes;
        self.line.clear();
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "event" => self.event.event = value.to_owned(),
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // A comment (empty name), `retry`, or a field of a later version.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(stream: &str, expect: &[Event]) {
        for size in 1..=stream.len().max(1) {
            let (mut decoder, mut events) = (Decoder::new(1000), Vec::new());
            for piece in stream.as_bytes().chunks(size) {
                decoder.push(piece, &mut events).unwrap();
            }
            assert_eq!(events, expect, "{stream:?} in pieces of {size}");
        }
    }

    #[test]
    fn reads_what_the_standard_says() {
        let event = |event: &str, data: &str| Event::new(event, data);
        check("", &[]);
        check("\n\n", &[]);
        check(": comment\n\nretry: 5\n\n", &[]);
        check("data: a\n\n", &[event("", "a")]);
        check("data:a\ndata: b\ndata:  c\n\n", &[event("", "a\nb\n c")]);
        check("event: x\r\ndata: {}\r\n\r\nevent: y\rdata\r\r", &[event("x", "{}"), event("y", "")]);
        check("\u{feff}id: 7\ndata: ü\n\n", &[Event { id: Some("7".into()), ..event("", "ü") }]);
        check("event: without data\n\ndata: a\n\ndata: unfinished\n", &[event("", "a")]);
    }

    #[test]
    fn refuses_events_over_the_limit() {
        for stream in ["data: 0123456789", "data: 01\ndata: 23\ndata: 45\n"] {
            let (mut decoder, mut events) = (Decoder::new(9), Vec::new());
            assert_eq!(decoder.push(stream.as_bytes(), &mut events), Err(EventTooLarge { limit: 9 }));
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(name in "[a-z_]{0,8}", data in "[ -~\nü]{0,40}", id in prop::option::of("[0-9]{0,3}")) {
            let event = Event { event: name, data, id };
            let (mut decoder, mut events) = (Decoder::new(1000), Vec::new());
            decoder.push(&event.encode(), &mut events).unwrap();
            prop_assert_eq!(events, vec![event]);
        }
    }
}
