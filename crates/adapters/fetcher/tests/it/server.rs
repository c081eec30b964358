//! Servers that answer as the test says, byte by byte, and note what they were asked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a server does with a request.
pub(crate) enum Answer {
    /// Say this and close.
    Close(Vec<u8>),
    /// Say this and keep the connection open.
    Hold(Vec<u8>),
    /// Say this after a while.
    Late(Duration, Vec<u8>),
    /// Say the first, then for ever the second, a piece every so often.
    Drip(Vec<u8>, Vec<u8>, Duration),
}

/// A request's head.
pub(crate) struct Head {
    pub(crate) path: String,
    text: String,
}

impl Head {
    /// A header's value, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.text.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        found.next().map_or("", |(_, value)| value.trim())
    }

    /// Where the range begins that is asked for.
    pub(crate) fn first_byte(&self) -> Option<usize> {
        self.header("range").strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// A whole response; each header ends with a line break.
pub(crate) fn response(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A response that promises `length` bytes and brings those of `body`.
pub(crate) fn promise(status: &str, headers: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Listens until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

/// An address of this test's own: the port of a server that has gone is not another test's next one.
pub(crate) fn own_ip() -> std::net::IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    [127, 64, high, low.max(1)].into()
}

impl Server {
    /// `answer` gets the request and how many came before it.
    pub(crate) async fn start(answer: impl Fn(&Head, usize) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind((own_ip(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, requests) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let (counter, notes) = (Arc::clone(&requests), Arc::clone(&asked));
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, counter, notes) =
                    (Arc::clone(&answer), Arc::clone(&counter), Arc::clone(&notes));
                serving.spawn(async move { converse(stream, &*answer, &counter, &notes).await });
            }
        });
        Server { address, requests, asked, _tasks: tasks }
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// The ranges that were asked for, in order.
    pub(crate) fn ranges(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn converse(
    mut stream: TcpStream,
    answer: &(impl Fn(&Head, usize) -> Answer + ?Sized),
    counter: &AtomicUsize,
    asked: &Mutex<Vec<String>>,
) {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => return,
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let head = Head { path, text };
    asked.lock().unwrap().push(head.header("range").to_owned());
    let number = counter.fetch_add(1, Ordering::SeqCst);
    let mut hold = false;
    let bytes = match answer(&head, number) {
        Answer::Close(bytes) => bytes,
        Answer::Hold(bytes) => {
            hold = true;
            bytes
        }
        Answer::Late(after, bytes) => {
            tokio::time::sleep(after).await;
            bytes
        }
        Answer::Drip(first, piece, pause) => {
            let _ = stream.write_all(&first).await;
            while stream.write_all(&piece).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
            return;
        }
    };
    let _ = stream.write_all(&bytes).await;
    if hold {
        // Until the client goes away.
        let _ = stream.read(&mut [0; 1]).await;
    }
    let _ = stream.shutdown().await;
}
