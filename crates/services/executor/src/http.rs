//! As much of HTTP/1.1 as an executor says and hears: requests it writes, responses it reads as they come.

/// A POST to the agent's executor API. `token` goes along as a bearer token.
pub(crate) fn post(path: &str, token: Option<&str>, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-protobuf\r\n\
         Content-Type: application/x-protobuf\r\nContent-Length: {}\r\n",
        body.len()
    );
    if let Some(token) = token {
        request.push_str("Authorization: Bearer ");
        request.push_str(token);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    request
}

/// A GET for a health check; the server is asked to close after its answer.
pub(crate) fn get(path: &str, host: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nConnection: close\r\n\r\n").into_bytes()
}

/// What a response consists of, in the order it arrives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The final status code; informational responses are skipped.
    Status(u16),
    /// A piece of the body.
    Data(Vec<u8>),
    /// The body is complete.
    End,
}

/// Why bytes are no HTTP response.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("the response's head is longer than {HEAD_LIMIT} bytes")]
    HeadTooLong,
    #[error("not an HTTP response: {0:?}")]
    Malformed(String),
}

/// Longest head, and longest line inside a chunked body.
const HEAD_LIMIT: usize = 16 << 10;

/// Takes the bytes of one connection as they come and gives back its responses' parts.
#[derive(Debug, Default)]
pub(crate) struct ResponseReader {
    buffer: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// So many bytes of body are to come.
    Length(usize),
    /// The body goes on until the connection closes.
    UntilClose,
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailer,
}

impl ResponseReader {
    /// Takes what arrived.
    pub(crate) fn push(&mut self, arrived: &[u8], parts: &mut Vec<Part>) -> Result<(), HttpError> {
        self.buffer.extend_from_slice(arrived);
        while self.step(parts)? {}
        if self.buffer.is_empty() && self.buffer.capacity() > HEAD_LIMIT {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// One step; false when more bytes are needed.
    fn step(&mut self, parts: &mut Vec<Part>) -> Result<bool, HttpError> {
        match self.state {
            State::Head => self.head(parts),
            State::UntilClose => Ok(self.body(usize::MAX, parts).is_some()),
            State::Length(0) => {
                parts.push(Part::End);
                self.state = State::Head;
                Ok(!self.buffer.is_empty())
            }
            State::Length(left) => {
                let Some(taken) = self.body(left, parts) else { return Ok(false) };
                self.state = State::Length(left - taken);
                Ok(true)
            }
            State::ChunkSize => {
                let Some(line) = self.line()? else { return Ok(false) };
                let digits = line.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(digits, 16);
                let size = size.map_err(|_| HttpError::Malformed(line.clone()))?;
                self.state = if size == 0 { State::Trailer } else { State::Chunk(size) };
                Ok(true)
            }
            State::Chunk(left) => {
                let Some(taken) = self.body(left, parts) else { return Ok(false) };
                self.state = if taken == left { State::ChunkEnd } else { State::Chunk(left - taken) };
                Ok(true)
            }
            State::ChunkEnd => {
                let Some(line) = self.line()? else { return Ok(false) };
                if !line.is_empty() {
                    return Err(HttpError::Malformed(line));
                }
                self.state = State::ChunkSize;
                Ok(true)
            }
            State::Trailer => {
                let Some(line) = self.line()? else { return Ok(false) };
                if line.is_empty() {
                    parts.push(Part::End);
                    self.state = State::Head;
                }
                Ok(true)
            }
        }
    }

    fn head(&mut self, parts: &mut Vec<Part>) -> Result<bool, HttpError> {
        let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            return if self.buffer.len() > HEAD_LIMIT { Err(HttpError::HeadTooLong) } else { Ok(false) };
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head);
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default();
        let malformed = || HttpError::Malformed(first.chars().take(80).collect());
        let rest = first.strip_prefix("HTTP/1.").ok_or_else(malformed)?;
        let status =
            rest.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok()).ok_or_else(malformed)?;
        if (100..200).contains(&status) {
            return Ok(true);
        }
        parts.push(Part::Status(status));
        self.state = framing(status, lines).ok_or_else(malformed)?;
        Ok(true)
    }

    /// Moves at most `limit` body bytes out; `None` if there are none yet.
    fn body(&mut self, limit: usize, parts: &mut Vec<Part>) -> Option<usize> {
        let taken = self.buffer.len().min(limit);
        if taken == 0 {
            return None;
        }
        parts.push(Part::Data(self.buffer.drain(..taken).collect()));
        Some(taken)
    }

    fn line(&mut self) -> Result<Option<String>, HttpError> {
        let Some(end) = self.buffer.windows(2).position(|bytes| bytes == b"\r\n") else {
            return if self.buffer.len() > HEAD_LIMIT { Err(HttpError::HeadTooLong) } else { Ok(None) };
        };
        let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
        Ok(Some(String::from_utf8_lossy(&line).into_owned()))
    }
}

fn framing<'a>(status: u16, headers: impl Iterator<Item = &'a str>) -> Option<State> {
    if status == 204 || status == 304 {
        return Some(State::Length(0));
    }
    let mut state = State::UntilClose;
    for (name, value) in headers.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            return Some(State::ChunkSize);
        }
        if name.eq_ignore_ascii_case("content-length") {
            state = State::Length(value.parse().ok()?);
        }
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the stream in pieces of every size and joins neighbouring pieces of body.
    fn check(stream: &[u8], expect: &[Part]) {
        for pieces_of in 1..=stream.len() {
            let (mut reader, mut parts) = (ResponseReader::default(), Vec::new());
            for piece in stream.chunks(pieces_of) {
                reader.push(piece, &mut parts).unwrap();
            }
            let mut joined: Vec<Part> = Vec::new();
            for part in parts {
                match (joined.last_mut(), part) {
                    (Some(Part::Data(before)), Part::Data(more)) => before.extend(more),
                    (_, part) => joined.push(part),
                }
            }
            assert_eq!(joined, expect, "in pieces of {pieces_of}");
        }
    }

    fn data(text: &str) -> Part {
        Part::Data(text.into())
    }

    #[test]
    fn responses_come_out_however_they_arrive() {
        use Part::{End, Status};
        check(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            &[Status(200), data("abcde"), End],
        );
        check(
            b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\nHTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nno",
            &[Status(202), End, Status(400), data("no"), End],
        );
        check(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nrest", &[Status(200), data("rest")]);
        check(b"HTTP/1.1 204 No Content\r\n\r\n", &[Status(204), End]);
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for stream in [
            &b"SSH-2.0-x\r\n\r\n"[..],
            b"HTTP/1.1 x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
            &vec![b'x'; HEAD_LIMIT + 1],
        ] {
            let mut reader = ResponseReader::default();
            assert!(reader.push(stream, &mut Vec::new()).is_err(), "{}", String::from_utf8_lossy(stream));
        }
    }
}
