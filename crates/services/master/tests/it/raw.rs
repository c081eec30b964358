//! A client that writes and reads bytes, so that what is compared is what is on the wire.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long any answer may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An answer read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let found = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

/// The bytes of a request with a Host and, if there is a body, a Content-Length.
pub(crate) fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("Host: {to}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// One exchange on a connection of its own.
pub(crate) async fn exchange(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut stream = Stream::open(to, &request(to, method, path, headers, body)).await;
    let (status, headers) = (stream.status, stream.headers.clone());
    let body = if method == "HEAD" { Vec::new() } else { stream.rest().await };
    Reply { status, headers, body: String::from_utf8(body).expect("a UTF-8 body") }
}

pub(crate) async fn get(to: SocketAddr, path: &str) -> Reply {
    exchange(to, "GET", path, &[], b"").await
}

/// A POST of JSON that wants JSON.
pub(crate) async fn post(to: SocketAddr, path: &str, body: &str) -> Reply {
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
    exchange(to, "POST", path, &headers, body.as_bytes()).await
}

/// An answer that is read as it comes.
pub(crate) struct Stream {
    socket: TcpStream,
    buffer: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

impl Stream {
    /// Sends `request` and reads the head of the answer.
    pub(crate) async fn open(to: SocketAddr, request: &[u8]) -> Stream {
        let mut socket = TcpStream::connect(to).await.expect("the master accepts");
        socket.write_all(request).await.unwrap();
        let mut stream = Stream { socket, buffer: Vec::new(), status: 0, headers: Vec::new() };
        let end = loop {
            if let Some(end) = find(&stream.buffer, b"\r\n\r\n") {
                break end;
            }
            assert!(stream.fill().await, "the connection ended before a head");
        };
        let head = String::from_utf8(stream.buffer[..end].to_vec()).unwrap();
        stream.buffer.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        stream.status = status.parse().unwrap();
        let split =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        stream.headers = lines.filter_map(split).collect();
        stream
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    async fn fill(&mut self) -> bool {
        let mut piece = vec![0; 16 * 1024];
        let read = tokio::time::timeout(PATIENCE, self.socket.read(&mut piece)).await;
        let count = read.expect("bytes in time").unwrap_or(0);
        self.buffer.extend_from_slice(&piece[..count]);
        count > 0
    }

    /// The next chunk of a chunked body; None at its end, whether it was a proper one or a cut.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(line) = find(&self.buffer, b"\r\n") {
                let size = std::str::from_utf8(&self.buffer[..line]).unwrap();
                let size = usize::from_str_radix(size, 16).expect("a chunk size");
                if self.buffer.len() >= line + 2 + size + 2 {
                    let chunk = self.buffer[line + 2..line + 2 + size].to_vec();
                    self.buffer.drain(..line + 2 + size + 2);
                    return (size > 0).then_some(chunk);
                }
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// The next record of a RecordIO stream in JSON, which must be one chunk.
    pub(crate) async fn record(&mut self) -> Option<serde_json::Value> {
        let chunk = self.chunk().await?;
        let line = find(&chunk, b"\n").expect("a record's length");
        let length: usize = std::str::from_utf8(&chunk[..line]).unwrap().parse().unwrap();
        assert_eq!(length, chunk.len() - line - 1, "one chunk is one record");
        Some(serde_json::from_slice(&chunk[line + 1..]).unwrap())
    }

    /// The body from here to its end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        if self.header("transfer-encoding") == Some("chunked") {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk().await {
                body.extend_from_slice(&chunk);
            }
            return body;
        }
        let length: usize = self.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.buffer.len() < length && self.fill().await {}
        self.buffer.drain(..length).collect()
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
