//! Listening, limits on what a peer may do to us, and a bounded end.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tracing::{Instrument, debug, error, warn};

use crate::address::Listener;
use crate::body::{Body, BodyError};
use crate::stream::Stream;
use crate::{Request, Response};

/// A boxed future, as [`Handler`] returns it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How long `accept` pauses when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A stream of unknown length that stays silent this long during shutdown is ended.
const STREAM_SILENCE: Duration = Duration::from_millis(100);

/// Answers requests.
///
/// The future is dropped, unfinished, when the client closes its connection: work that must not
/// stop half way belongs into a task or an actor of the service.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request, peer: Peer) -> BoxFuture<'_, Response>;
}

impl<F, Answer> Handler for F
where
    F: Fn(Request, Peer) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Response> + Send + 'static,
{
    fn handle(&self, request: Request, peer: Peer) -> BoxFuture<'_, Response> {
        Box::pin(self(request, peer))
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP client.
    Tcp {
        /// The client's address.
        remote: SocketAddr,
        /// The address of ours that it connected to.
        local: SocketAddr,
    },
    /// A process on this machine, through a Unix socket. The kernel vouches for the ids.
    Unix {
        /// The user it runs as.
        uid: u32,
        /// Its process id, as this process's pid namespace sees it.
        pid: Option<i32>,
    },
}

impl Peer {
    /// The client's IP address, if it came by TCP.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Tcp { remote, .. } => Some(remote.ip()),
            Peer::Unix { .. } => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp { remote, .. } => write!(f, "{remote}"),
            Peer::Unix { uid, pid: Some(pid) } => write!(f, "unix(uid {uid}, pid {pid})"),
            Peer::Unix { uid, pid: None } => write!(f, "unix(uid {uid})"),
        }
    }
}

/// Limits of a server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// How long a request's head may take to arrive, and how long a kept-alive connection may idle.
    pub head_timeout: Duration,
    /// The largest request head in bytes; a larger one is answered with 431.
    pub max_head_bytes: usize,
    /// How many header fields a request may have.
    pub max_headers: usize,
    /// How many connections are served at once; further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// How long requests may go on after shutdown was requested.
    pub drain: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            head_timeout: Duration::from_secs(30),
            max_head_bytes: 64 * 1024,
            max_headers: 128,
            max_connections: 10_000,
            drain: Duration::from_secs(2),
        }
    }
}

/// [`serve_with`] the default limits.
pub async fn serve(
    listener: Listener,
    handler: Arc<dyn Handler>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    serve_with(listener, handler, ServerConfig::default(), shutdown).await;
}

/// Serves connections until `shutdown` resolves, then ends them within [`ServerConfig::drain`].
///
/// At shutdown the listener closes first; idle connections close; running requests may finish
/// within the drain time; response streams of unknown length (events, RecordIO) are broken off as
/// soon as they fall silent, without the mark of a complete body, so that nobody mistakes the rest
/// for the whole. Upgraded connections are not the server's any more: their owner ends them.
/// Dropping the future closes everything at once.
pub async fn serve_with(
    listener: Listener,
    handler: Arc<dyn Handler>,
    config: ServerConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let address = listener.address().clone();
    let slots = Arc::new(Semaphore::new(config.max_connections.max(1)));
    // Dropped together with this future, so that connections end with it.
    let mut connections = JoinSet::new();
    let (stop, stopping) = watch::channel(false);
    let server = Arc::new(Server { handler, config, builder: builder(), stopping });
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, peer, slot)) => {
                let server = Arc::clone(&server);
                let serve = async move {
                    server.serve(stream, peer).await;
                    drop(slot);
                };
                connections.spawn(serve.in_current_span());
            }
            Err(error) if is_connection_error(&error) => debug!(%address, %error, "a client left at accept"),
            Err(error) => {
                warn!(%address, %error, "cannot accept connections, trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    // Receivers are the connections; without any there is nobody to tell.
    let _ = stop.send(true);
    let drain = server.config.drain;
    let ended = timeout(drain, async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    });
    if ended.await.is_err() {
        debug!(%address, left = connections.len(), "closing connections that did not end in time");
        connections.shutdown().await;
    }
}

/// Takes a slot before the connection, so that those over the limit wait unaccepted.
async fn accept(
    listener: &Listener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(Stream, Peer, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, slot))
}

/// Errors of one connection that `accept` passes on; they say nothing about the next one.
fn is_connection_error(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | NotConnected)
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(failure) = ended
        && failure.is_panic()
    {
        error!(%failure, "a request handler panicked; its connection is closed");
    }
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // As Mesos and Marathon write their headers: not every client of theirs ignores case.
    builder.timer(TokioTimer::new()).title_case_headers(true);
    builder
}

struct Server {
    handler: Arc<dyn Handler>,
    config: ServerConfig,
    builder: http1::Builder,
    stopping: watch::Receiver<bool>,
}

impl Server {
    async fn serve(self: Arc<Self>, stream: Stream, peer: Peer) {
        let mut stopping = self.stopping.clone();
        let service = service_fn({
            let server = Arc::clone(&self);
            move |request: http::Request<Incoming>| {
                let server = Arc::clone(&server);
                async move { Ok::<_, Infallible>(server.answer(request, peer).await) }
            }
        });
        let mut builder = self.builder.clone();
        builder
            .header_read_timeout(self.config.head_timeout)
            .max_header_size(self.config.max_head_bytes)
            .max_buf_size(self.config.max_head_bytes.max(MIN_BUFFER))
            .max_headers(self.config.max_headers);
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = stop_of(&mut stopping) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%peer, %error, "a connection ended early");
        }
    }

    async fn answer(&self, request: http::Request<Incoming>, peer: Peer) -> Response {
        let response = self.handler.handle(request.map(Body::incoming), peer).await;
        let unknown_length = response.body().size_hint().exact().is_none()
            && !response.headers().contains_key(http::header::CONTENT_LENGTH);
        if unknown_length && response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            response.map(|body| Body::draining(DrainingBody::new(body, self.stopping.clone())))
        } else {
            response
        }
    }
}

/// Waits for the server to stop.
async fn stop_of(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server is gone altogether, which is as much of a stop.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// The least that hyper takes for a connection's buffer.
const MIN_BUFFER: usize = 8192;

/// A response stream of unknown length that breaks off when the server stops and it falls silent.
pub(crate) struct DrainingBody {
    body: Body,
    stop: Stop,
}

enum Stop {
    Awaited(Pin<Box<dyn Future<Output = ()> + Send + Sync>>),
    Silence(Pin<Box<Sleep>>),
}

impl DrainingBody {
    fn new(body: Body, mut stopping: watch::Receiver<bool>) -> Self {
        let stop = Stop::Awaited(Box::pin(async move { stop_of(&mut stopping).await }));
        DrainingBody { body, stop }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            if let Stop::Silence(silence) = &mut self.stop {
                silence.as_mut().reset(tokio::time::Instant::now() + STREAM_SILENCE);
            }
            return Poll::Ready(frame);
        }
        if let Stop::Awaited(stop) = &mut self.stop
            && stop.as_mut().poll(cx).is_ready()
        {
            self.stop = Stop::Silence(Box::pin(sleep(STREAM_SILENCE)));
        }
        match &mut self.stop {
            Stop::Awaited(_) => Poll::Pending,
            Stop::Silence(silence) => silence.as_mut().poll(cx).map(|()| Some(Err(BodyError::ShuttingDown))),
        }
    }
}
