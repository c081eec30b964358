//! Recordings: folders of JSON files, one file an exchange.
//!
//! What a file is shows its contents alone: `request`/`response` of one exchange, `response.events` or
//! `response.records` of a stream, `request_raw`/`response_raw` of bytes on a connection. Text files with
//! a head and lines of JSON are what an executor saw.

use std::path::{Path, PathBuf};

use regex_lite::Regex;
use serde_json::Value;

use crate::http::{Answer, parse};

/// Why recordings cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A folder or file cannot be read.
    #[error("read {}: {source}", .path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// There is nothing.
    #[error("{} holds no recordings", .0.display())]
    Empty(PathBuf),
}

/// One event of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Milliseconds after the request.
    pub(crate) at: f64,
    /// The event.
    pub(crate) event: Value,
}

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// One request by its parts.
    Parts {
        /// The method.
        method: String,
        /// The path, with its query.
        path: String,
        /// In their order, `Host` among them.
        headers: Vec<(String, String)>,
        /// The body.
        body: Option<Vec<u8>>,
    },
    /// Bytes on a connection.
    Raw(Vec<u8>),
    /// Nothing: an executor that was started.
    Executor,
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// One answer.
    Whole(Answer),
    /// The head of an answer and the events that followed, as long as somebody listened.
    Stream {
        /// Without its body.
        head: Answer,
        /// The events.
        events: Vec<Event>,
    },
    /// All that came on a connection, cut off somewhere.
    Raw {
        /// The bytes.
        bytes: Vec<u8>,
        /// Whether the server ended the connection.
        closed: bool,
    },
}

/// One recorded exchange.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    /// The file's path in the folder, without its ending.
    pub(crate) name: String,
    /// What was asked.
    pub(crate) request: Request,
    /// What was answered.
    pub(crate) reply: Reply,
    /// Milliseconds that the answer was listened to.
    pub(crate) elapsed: f64,
    /// Seconds since midnight of the answer's `Date`.
    pub(crate) second: Option<u32>,
    /// The id of the master that was recorded, if it shows.
    pub(crate) master: Option<String>,
}

impl Recording {
    /// The host and port that the request names.
    pub(crate) fn host(&self) -> Option<&str> {
        match &self.request {
            Request::Parts { headers, .. } => header(headers, "host"),
            _ => None,
        }
    }

    /// What was answered first.
    pub(crate) fn head(&self) -> Option<Answer> {
        match &self.reply {
            Reply::Whole(answer) => Some(answer.clone()),
            Reply::Stream { head, .. } => Some(head.clone()),
            Reply::Raw { bytes, .. } => parse(bytes, false).map(|(answer, _)| answer),
        }
    }

    /// All that was answered, as text.
    pub(crate) fn reply_text(&self) -> String {
        match &self.reply {
            Reply::Whole(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
            Reply::Stream { events, .. } => events.iter().map(|event| event.event.to_string()).collect(),
            Reply::Raw { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    /// The last part of its name.
    pub(crate) fn file(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }
}

/// The value of a header.
pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// In the order of their names.
    pub(crate) recordings: Vec<Recording>,
    /// Files that are no recordings.
    pub(crate) others: Vec<String>,
}

impl Book {
    /// Reads a folder and the folders in it.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let mut book = Self::default();
        let mut folders = vec![folder.to_owned()];
        while let Some(path) = folders.pop() {
            let fail = |source| Error::Read { path: path.clone(), source };
            for entry in std::fs::read_dir(&path).map_err(fail)? {
                let path = entry.map_err(fail)?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    book.take(folder, &path)?;
                }
            }
        }
        book.recordings.sort_by(|a, b| a.name.cmp(&b.name));
        book.others.sort();
        if book.recordings.is_empty() {
            return Err(Error::Empty(folder.to_owned()));
        }
        Ok(book)
    }

    fn take(&mut self, folder: &Path, path: &Path) -> Result<(), Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let text = String::from_utf8_lossy(&bytes);
        let relative = path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned();
        let name = relative.rsplit_once('.').map_or(relative.as_str(), |(name, _)| name).to_owned();
        let recording = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => serde_json::from_str(&text).ok().and_then(|value| exchange(&name, &value)),
            Some("txt") => as_seen(&name, &text),
            _ => None,
        };
        match recording {
            Some(mut recording) => {
                recording.master = master_of(&text);
                self.recordings.push(recording);
            }
            None => self.others.push(relative),
        }
        Ok(())
    }
}

fn exchange(name: &str, value: &Value) -> Option<Recording> {
    let (request, reply) = match value.get("request_raw") {
        Some(raw) => (Request::Raw(from_latin1(raw.as_str()?)), raw_reply(value)),
        None => (parts(value.get("request")?)?, reply(value.get("response")?)?),
    };
    let elapsed = value.get("elapsed_ms").and_then(Value::as_f64);
    let last = match &reply {
        Reply::Stream { events, .. } => events.last().map_or(0.0, |event| event.at),
        _ => 0.0,
    };
    let mut recording = Recording {
        name: name.to_owned(),
        request,
        reply,
        elapsed: elapsed.unwrap_or(last),
        second: None,
        master: None,
    };
    recording.second = recording.head().and_then(|head| second_of(head.header("date")?));
    Some(recording)
}

fn parts(request: &Value) -> Option<Request> {
    let text = |key: &str| request.get(key)?.as_str().map(str::to_owned);
    Some(Request::Parts {
        method: text("method")?,
        path: text("path")?,
        headers: headers(request),
        body: text("body").map(|body| from_escaped(&body)),
    })
}

fn headers(of: &Value) -> Vec<(String, String)> {
    let lines = of.get("headers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let pair = |line: &Value| Some((line.get(0)?.as_str()?.to_owned(), line.get(1)?.as_str()?.to_owned()));
    lines.iter().filter_map(pair).collect()
}

fn reply(response: &Value) -> Option<Reply> {
    let text = |key: &str| response.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut answer = Answer {
        status_line: text("status_line").to_owned(),
        headers: headers(response),
        body: from_escaped(text("body")),
        complete: true,
    };
    if let Some(events) = response.get("events").and_then(Value::as_array) {
        let event = |event: &Value| {
            Some(Event { at: event.get("t_ms")?.as_f64()?, event: event.get("event")?.clone() })
        };
        return Some(Reply::Stream { head: answer, events: events.iter().filter_map(event).collect() });
    }
    // One that was refused has no records although somebody was ready to listen.
    if let Some(records) = response.get("records").and_then(Value::as_array).filter(|_| answer.is_stream()) {
        let events = records.iter().map(|event| Event { at: 0.0, event: event.clone() }).collect();
        answer.body.clear();
        return Some(Reply::Stream { head: answer, events });
    }
    Some(Reply::Whole(answer))
}

fn raw_reply(value: &Value) -> Reply {
    let bytes = value.get("response_raw").and_then(Value::as_str).map(from_latin1).unwrap_or_default();
    let closed = value.get("server_closed").is_some_and(|closed| closed != &Value::Bool(false));
    Reply::Raw { bytes, closed }
}

/// What an executor saw: the head of an answer, then lines of JSON.
fn as_seen(name: &str, text: &str) -> Option<Recording> {
    let mut lines = text.lines().map(str::trim);
    let status_line = lines.next().filter(|line| line.starts_with("HTTP/"))?.to_owned();
    let mut head = Answer { status_line, complete: true, ..Answer::default() };
    let mut events = Vec::new();
    for line in lines {
        match serde_json::from_str(line) {
            Ok(event @ Value::Object(_)) => events.push(Event { at: 0.0, event }),
            _ => head
                .headers
                .extend(line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()))),
        }
    }
    let second = head.header("date").and_then(second_of);
    let (name, reply) = (name.to_owned(), Reply::Stream { head, events });
    Some(Recording { name, request: Request::Executor, reply, elapsed: 0.0, second, master: None })
}

/// The bytes of a text that has a character for each.
fn from_latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap_or(b'?')).collect()
}

/// The bytes of a text in which those that are no UTF-8 are written as `\xff`.
fn from_escaped(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let escaped = bytes[at..].strip_prefix(b"\\x").and_then(|rest| rest.get(..2));
        let byte = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match byte.filter(|&byte| byte >= 0x80) {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

fn second_of(date: &str) -> Option<u32> {
    let clock = date.split(' ').find(|word| word.matches(':').count() == 2)?;
    let mut parts = clock.split(':').map_while(|part| part.parse::<u32>().ok());
    Some(parts.next()? * 3600 + parts.next()? * 60 + parts.next()?)
}

/// The id of a master is the first part of the ids that it gives.
fn master_of(text: &str) -> Option<String> {
    let shape = Regex::new(
        r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})-(?:S[0-9]+|O[0-9]+|[0-9]{4})\b",
    );
    Some(shape.expect("it is constant").captures(text)?[1].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_come_back() {
        assert_eq!(from_escaped("a\\xff\\x7fé"), b"a\xff\\x7f\xc3\xa9");
        assert_eq!(from_latin1("a\u{ff}"), b"a\xff");
    }

    #[test]
    fn what_an_executor_saw_is_a_stream() {
        let seen = as_seen(
            "a/b",
            "HTTP/1.1 200 OK\nDate: Sun, 22 Nov 2026 11:14:47 GMT\n{\"type\": \"SHUTDOWN\"}\n",
        );
        let recording = seen.expect("it is one");
        assert_eq!(recording.second, Some(11 * 3600 + 14 * 60 + 47));
        assert!(matches!(&recording.reply, Reply::Stream { events, .. } if events.len() == 1));
        assert!(as_seen("a/b", "F1122 a crash\n").is_none());
    }
}
