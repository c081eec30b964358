//! HTTP by hand: requests are bytes, answers are taken apart without being put right.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long one read may wait before the clock is looked at.
const TICK: Duration = Duration::from_millis(20);
/// What an answer may hold at most.
const MAX_ANSWER: usize = 64 << 20;

/// An answer as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Like `HTTP/1.1 200 OK`; empty if nothing came.
    pub(crate) status_line: String,
    /// In their order, names as they came.
    pub(crate) headers: Vec<(String, String)>,
    /// Without chunks' frames.
    pub(crate) body: Vec<u8>,
    /// Whether all of the body is there.
    pub(crate) complete: bool,
}

impl Answer {
    /// The value of the first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The status code; 0 if there is none.
    pub(crate) fn status(&self) -> u16 {
        self.status_line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// Whether its body is a stream of records.
    pub(crate) fn is_stream(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }
}

/// Takes the first answer off `bytes`; gives it back with what is left. `None` without a whole head.
pub(crate) fn parse(bytes: &[u8], to_head: bool) -> Option<(Answer, &[u8])> {
    let end = find(bytes, b"\r\n\r\n")?;
    let head = latin1(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer { status_line, headers, body: Vec::new(), complete: true };
    let rest = &bytes[end + 4..];
    if to_head || matches!(answer.status(), 100..=199 | 204 | 304) {
        return Some((answer, rest));
    }
    if answer.is_stream() {
        let (body, used, complete) = dechunk(rest);
        (answer.body, answer.complete) = (body, complete);
        return Some((answer, &rest[used..]));
    }
    let length = answer.header("content-length").and_then(|value| value.parse::<usize>().ok());
    let used = length.unwrap_or(rest.len()).min(rest.len());
    answer.complete = length == Some(used);
    answer.body = rest[..used].to_vec();
    Some((answer, &rest[used..]))
}

/// What the chunks at the start of `bytes` hold, how many bytes they take, and whether the last one is there.
fn dechunk(bytes: &[u8]) -> (Vec<u8>, usize, bool) {
    let (mut body, mut at) = (Vec::new(), 0);
    while let Some(line) = find(&bytes[at..], b"\r\n") {
        let size = latin1(&bytes[at..at + line]);
        let Ok(size) = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16) else {
            break;
        };
        let start = at + line + 2;
        let Some(chunk) = start.checked_add(size).and_then(|end| bytes.get(start..end)) else {
            // A recording may end within a chunk.
            body.extend_from_slice(&bytes[start..]);
            return (body, bytes.len(), false);
        };
        body.extend_from_slice(chunk);
        at = (start + size + 2).min(bytes.len());
        if size == 0 {
            return (body, at, true);
        }
    }
    (body, at, false)
}

/// The records at the start of a RecordIO body, and how many bytes they take.
pub(crate) fn records(bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(line) = find(&bytes[at..], b"\n") {
        let Ok(size) = latin1(&bytes[at..at + line]).trim().parse::<usize>() else { break };
        let start = at + line + 1;
        let Some(record) = start.checked_add(size).and_then(|end| bytes.get(start..end)) else { break };
        found.push(record);
        at = start + size;
    }
    (found, at)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Every byte as the character of that number.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// A connection with one request on it, whose answer arrives.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// All that came.
    pub(crate) bytes: Vec<u8>,
    /// Whether the server ended the connection.
    pub(crate) closed: bool,
    to_head: bool,
    started: Instant,
}

impl Connection {
    /// Connects and sends `request`.
    pub(crate) fn send(to: SocketAddr, request: &[u8]) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        stream.write_all(request)?;
        let to_head = request.starts_with(b"HEAD ");
        Ok(Self { stream, bytes: Vec::new(), closed: false, to_head, started: Instant::now() })
    }

    /// Takes what has come, waiting for one tick at most.
    pub(crate) fn pump(&mut self) {
        if self.closed || self.bytes.len() > MAX_ANSWER {
            return;
        }
        let mut buffer = [0; 1 << 16];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.closed = true,
            Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
            Err(error) if is_timeout(&error) => {}
            Err(_) => self.closed = true,
        }
    }

    /// Reads for that long, or until the answer is whole.
    pub(crate) fn answer_within(&mut self, patience: Duration) -> Answer {
        let end = Instant::now() + patience;
        loop {
            self.pump();
            let whole = self.answer().is_some_and(|answer| answer.complete);
            if whole || self.closed || Instant::now() >= end {
                return self.answer().unwrap_or_default();
            }
        }
    }

    /// Reads for that long whatever comes.
    pub(crate) fn read_for(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        while !self.closed && Instant::now() < end {
            self.pump();
        }
    }

    /// What came until now.
    pub(crate) fn answer(&self) -> Option<Answer> {
        parse(&self.bytes, self.to_head).map(|(answer, _)| answer)
    }

    /// Since the request was sent.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_one_after_the_other() {
        let bytes =
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 Not Found\r\nA: b\r\n\r\nxyz";
        let (first, rest) = parse(bytes, false).expect("a whole head");
        assert_eq!((first.status(), first.body.as_slice(), first.complete), (200, &b"ok"[..], true));
        let (second, rest) = parse(rest, false).expect("a whole head");
        assert_eq!((second.status(), second.header("a"), second.complete), (404, Some("b"), false));
        assert_eq!((second.body.as_slice(), rest), (&b"xyz"[..], &b""[..]));
    }

    #[test]
    fn chunks_that_are_cut_off_give_what_is_there() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n1\na\r\n9\r\n3\nb";
        let (answer, _) = parse(bytes, false).expect("a whole head");
        assert_eq!((answer.body.as_slice(), answer.complete), (&b"1\na3\nb"[..], false));
        assert_eq!(records(&answer.body), (vec![&b"a"[..]], 3));
    }
}
