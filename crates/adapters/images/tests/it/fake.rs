//! A registry of the test's own, well behaved but for what the test makes of it.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::kit::Built;

/// A request's first line and headers.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        let line = self.headers.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        });
        line.unwrap_or_default()
    }

    /// The first byte that is asked for.
    pub(crate) fn from(&self) -> usize {
        let range = self.header("range").strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
        range.map_or(0, |first| first.parse().unwrap())
    }
}

/// What a server does about a request.
pub(crate) enum Reply {
    /// These bytes, then the connection is closed.
    Close(Vec<u8>),
    /// These bytes, then nothing more.
    Hang(Vec<u8>),
}

/// A response with headers (each ending in CRLF) and body.
pub(crate) fn response(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    Reply::Close([head.as_bytes(), body].concat())
}

pub(crate) struct Server {
    /// `127.x.y.z:port`.
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

/// An address of this test's own: the port of a server that has gone is not another test's next one.
pub(crate) fn own_ip() -> std::net::IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    [127, 65, high, low.max(1)].into()
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        Server::on(&own_ip().to_string(), answer).await
    }

    pub(crate) async fn on(ip: &str, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (answer, seen) = (Arc::new(answer), requests.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, seen) = (answer.clone(), seen.clone());
                tokio::spawn(async move {
                    // The client may go whenever it likes.
                    let _ = converse(stream, &*answer, &seen).await;
                });
            }
        });
        Server { address, requests, task }
    }

    /// A registry with one image, of any name and tag; `odd` may answer instead.
    pub(crate) async fn registry(
        image: Built,
        odd: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> Server {
        Server::start(move |request| odd(request).unwrap_or_else(|| serve(&image, request))).await
    }

    /// What was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// How often a path with this word was asked for.
    pub(crate) fn asked(&self, word: &str) -> usize {
        self.requests().iter().filter(|request| request.path.contains(word)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(
    mut stream: TcpStream,
    answer: &(impl Fn(&Request) -> Reply + ?Sized),
    seen: &Mutex<Vec<Request>>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let (line, headers) = text.split_once("\r\n").unwrap_or_default();
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request = Request { method, path, headers: headers.to_owned(), body: String::new() };
    let mut body = vec![0; request.header("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    seen.lock().unwrap().push(request.clone());
    match answer(&request) {
        Reply::Close(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        }
        Reply::Hang(bytes) => {
            stream.write_all(&bytes).await?;
            // Until the client goes.
            let gone = tokio::time::timeout(Duration::from_secs(60), stream.read_u8()).await;
            gone.unwrap_or(Ok(0)).map(drop)
        }
    }
}

/// What a good registry answers.
pub(crate) fn serve(image: &Built, request: &Request) -> Reply {
    let last = request.path.rsplit('/').next().unwrap_or_default();
    if request.path.contains("/manifests/") {
        return response("200 OK", &format!("Content-Type: {}\r\n", image.kind), &image.manifest);
    }
    match image.blobs.get(last) {
        None => response("404 Not Found", "", "{}"),
        Some(blob) if request.from() > 0 => {
            let (from, length) = (request.from(), blob.len());
            let range = format!("Content-Range: bytes {from}-{}/{length}\r\n", length - 1);
            response("206 Partial Content", &range, &blob[from..])
        }
        Some(blob) => response("200 OK", "", blob),
    }
}
