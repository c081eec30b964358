//! What the tests share: servers on free ports that end with the test.

use std::sync::Arc;
use std::time::Duration;

use http_kit::{
    Address, Body, Client, Handler, Listener, Peer, Request, Response, ServerConfig, Timeouts, serve_with,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
pub(crate) struct Server {
    pub(crate) address: Address,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// An address of this test's own: the port of a server that has gone is not another test's next one.
pub(crate) fn own_ip() -> std::net::IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    [127, 63, high, low.max(1)].into()
}

impl Server {
    pub(crate) async fn start<F, Answer>(handler: F) -> Self
    where
        F: Fn(Request, Peer) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Response> + Send + 'static,
    {
        Server::start_with(ServerConfig::default(), Arc::new(handler)).await
    }

    pub(crate) async fn start_with(config: ServerConfig, handler: Arc<dyn Handler>) -> Self {
        Server::on(&Address::Tcp((own_ip(), 0).into()), config, handler).await
    }

    pub(crate) async fn on(address: &Address, config: ServerConfig, handler: Arc<dyn Handler>) -> Self {
        let listener = Listener::bind(address).await.unwrap();
        let address = listener.address().clone();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve_with(listener, handler, config, shutdown));
        Server { address, stop: Some(stop), task }
    }

    /// Requests shutdown without waiting for it.
    pub(crate) fn request_stop(&mut self) {
        self.stop.take();
    }

    /// Requests shutdown and waits for its end.
    pub(crate) async fn stop(mut self) {
        self.request_stop();
        tokio::time::timeout(PATIENCE, self.task).await.expect("the server ends").unwrap();
    }
}

pub(crate) fn get(path: &str) -> Request {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().unwrap();
    request
}

pub(crate) fn post(path: &str, body: Body) -> Request {
    let mut request = Request::new(body);
    *request.uri_mut() = path.parse().unwrap();
    *request.method_mut() = http_kit::Method::POST;
    request
}

/// Status and body of a call.
pub(crate) async fn call(client: &Client, address: &Address, request: Request) -> (u16, String) {
    let response = client.fetch(address, request, Timeouts::default(), 1 << 20, PATIENCE).await.unwrap();
    (response.status().as_u16(), String::from_utf8(response.into_body().to_vec()).unwrap())
}

/// A raw connection to a server.
pub(crate) async fn connect(address: &Address) -> TcpStream {
    let Address::Tcp(address) = address else { panic!("{address} is not TCP") };
    TcpStream::connect(address).await.unwrap()
}

/// Writes bytes and reads until the other side closes.
pub(crate) async fn exchange(address: &Address, bytes: &str) -> String {
    let mut stream = connect(address).await;
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it closes").unwrap();
    String::from_utf8(answer).unwrap()
}

/// Reads until what was read ends with `end`.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut found = Vec::new();
    let read = async {
        while !found.ends_with(end.as_bytes()) {
            found.push(stream.read_u8().await.unwrap());
        }
    };
    let timely = tokio::time::timeout(PATIENCE, read).await.is_ok();
    let found = String::from_utf8(found).unwrap();
    assert!(timely, "no {end:?} came after {found:?}");
    found
}
