//! Requests to other components, over kept connections.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base::Auth;
use bytes::Bytes;
use http::header::Entry;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tracing::debug;

use crate::address::Address;
use crate::body::{Body, ReadBodyError};
use crate::pool::{Connection, Pool, PooledBody};
use crate::stream::Stream;
use crate::{Request, Response};

/// Limits of a client.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Idle connections kept for one address.
    pub max_idle_per_address: usize,
    /// Idle connections kept altogether.
    pub max_idle: usize,
    /// How long a connection is kept idle. Less than what servers allow, so that the server seldom
    /// closes a connection that we are about to use.
    pub idle_timeout: Duration,
    /// The largest response head in bytes.
    pub max_head_bytes: usize,
    /// How many header fields a response may have.
    pub max_headers: usize,
    /// What requests say that carry no `Authorization` of their own. Only for clients that talk to
    /// components of the cluster alone.
    pub authorization: Option<HeaderValue>,
}

impl ClientConfig {
    /// The usual limits, for a client that shows the cluster's token if there is one.
    pub fn showing(auth: &Auth) -> Self {
        auth.authorization().map_or_else(ClientConfig::default, |text| ClientConfig::saying(&text))
    }

    /// The usual limits, for a client that says this in `Authorization`; it has no control characters.
    pub fn saying(authorization: &str) -> Self {
        let mut value = HeaderValue::from_str(authorization).expect("secrets have no control characters");
        value.set_sensitive(true);
        ClientConfig { authorization: Some(value), ..ClientConfig::default() }
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            max_idle_per_address: 64,
            max_idle: 1024,
            idle_timeout: Duration::from_secs(15),
            max_head_bytes: 64 * 1024,
            max_headers: 128,
            authorization: None,
        }
    }
}

/// How long the steps of one call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Opening a connection.
    pub connect: Duration,
    /// From the moment the whole request is handed over until the head of the response is there.
    /// `None` waits as long as the connection lives.
    pub response_head: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect: Duration::from_secs(5), response_head: Some(Duration::from_secs(30)) }
    }
}

/// What went wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No connection: refused, unreachable, no such socket.
    Connect,
    /// No connection in time.
    ConnectTimeout,
    /// Connected, but no response head in time.
    HeadTimeout,
    /// The connection closed before a response head came.
    Closed,
    /// What came is not HTTP, or more than is allowed.
    Protocol,
    /// The body of the request broke: its producer gave up.
    RequestBody,
    /// The body of the response broke, was too long, or took too long ([`Client::fetch`] only).
    ResponseBody,
}

/// A call that brought no response.
#[derive(Debug)]
pub struct ClientError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// Whether any byte of the request may have reached the other side. When false, sending it again
    /// is always safe.
    pub sent: bool,
    /// Whom the call was for.
    pub address: Address,
    /// Whether the connection had carried other requests before: one that closed without an answer
    /// may then have been closed for its idleness.
    pub was_kept: bool,
    /// The request, when none of it was sent, its headers as they would have gone out.
    pub unsent: Option<Box<Request>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ErrorKind::Connect => "cannot connect to",
            ErrorKind::ConnectTimeout => "connecting took too long to",
            ErrorKind::HeadTimeout => "no answer in time from",
            ErrorKind::Closed => "connection closed without an answer by",
            ErrorKind::Protocol => "no valid HTTP from",
            ErrorKind::RequestBody => "the body of the request broke off on its way to",
            ErrorKind::ResponseBody => "the body of the response could not be read from",
        };
        write!(f, "{what} {}", self.address)
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

/// An HTTP client. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    pool: Arc<Pool>,
    builder: http1::Builder,
    authorization: Option<HeaderValue>,
}

impl Default for Client {
    fn default() -> Self {
        Client::new(ClientConfig::default())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// The whole of a response.
pub type Fetched = http::Response<Bytes>;

impl Client {
    /// A client with these limits.
    pub fn new(config: ClientConfig) -> Self {
        let mut builder = http1::Builder::new();
        builder
            .max_header_size(config.max_head_bytes)
            .max_headers(config.max_headers)
            .max_buf_size(config.max_head_bytes.max(MIN_BUFFER));
        let pool = Pool::new(config.max_idle_per_address, config.max_idle, config.idle_timeout);
        Client { pool, builder, authorization: config.authorization }
    }

    /// Sends a request and returns when the head of the response is there; its body streams.
    ///
    /// Of the request's URI only path and query are used. Without a `Host` header the address is
    /// named. A request that met a kept connection at the moment its server closed it is sent once
    /// more on a new one if none of it was sent, or if its method is idempotent and its body in
    /// memory. For an upgrade set the headers with [`crate::upgrade::offer`] and take the connection
    /// with [`crate::upgrade::take_response`].
    pub async fn send(
        &self,
        address: &Address,
        request: Request,
        timeouts: Timeouts,
    ) -> Result<Response, ClientError> {
        let Some(connection) = self.pool.take(address).await else {
            return self.send_on_new(address, request, timeouts).await;
        };
        let spare = copy(&request);
        let error = match self.exchange(address, connection, request, timeouts, true).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        match (error.kind, error.unsent, spare) {
            (_, Some(unsent), _) => self.send_on_new(address, *unsent, timeouts).await,
            (ErrorKind::Closed, None, Some(spare)) => self.send_on_new(address, spare, timeouts).await,
            (_, unsent, _) => Err(ClientError { unsent, ..error }),
        }
    }

    /// [`Client::send`] without a second try; what is safe to try again, the error tells.
    pub async fn send_once(
        &self,
        address: &Address,
        request: Request,
        timeouts: Timeouts,
    ) -> Result<Response, ClientError> {
        match self.pool.take(address).await {
            Some(connection) => self.exchange(address, connection, request, timeouts, true).await,
            None => self.send_on_new(address, request, timeouts).await,
        }
    }

    /// [`Client::send_once`] over a new connection.
    pub async fn send_on_new(
        &self,
        address: &Address,
        request: Request,
        timeouts: Timeouts,
    ) -> Result<Response, ClientError> {
        match self.connect(address, timeouts.connect).await {
            Ok(connection) => self.exchange(address, connection, request, timeouts, false).await,
            Err(error) => Err(ClientError { unsent: Some(Box::new(request)), ..error }),
        }
    }

    /// [`Client::send`], then reads the whole body: at most `limit` bytes within `body_timeout`.
    pub async fn fetch(
        &self,
        address: &Address,
        request: Request,
        timeouts: Timeouts,
        limit: usize,
        body_timeout: Duration,
    ) -> Result<Fetched, ClientError> {
        let (head, body) = self.send(address, request, timeouts).await?.into_parts();
        let body =
            body.read_within(limit, body_timeout).await.map_err(|source: ReadBodyError| ClientError {
                kind: ErrorKind::ResponseBody,
                sent: true,
                address: address.clone(),
                was_kept: false,
                unsent: None,
                source: Some(source.into()),
            })?;
        Ok(Fetched::from_parts(head, body))
    }

    async fn connect(&self, address: &Address, limit: Duration) -> Result<Connection, ClientError> {
        let fail = |kind, source| ClientError {
            kind,
            sent: false,
            address: address.clone(),
            was_kept: false,
            unsent: None,
            source,
        };
        let stream = match timeout(limit, Stream::connect(address)).await {
            Err(_) => return Err(fail(ErrorKind::ConnectTimeout, None)),
            Ok(Err(error)) => return Err(fail(ErrorKind::Connect, Some(error.into()))),
            Ok(Ok(stream)) => stream,
        };
        let handshake = self.builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| fail(ErrorKind::Connect, Some(error.into())))?;
        let address = address.clone();
        // Ends when the server closes, or when its `Connection` and response body are dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                debug!(%address, %error, "a client connection ended early");
            }
        });
        Ok(sender)
    }

    async fn exchange(
        &self,
        address: &Address,
        mut connection: Connection,
        mut request: Request,
        timeouts: Timeouts,
        was_kept: bool,
    ) -> Result<Response, ClientError> {
        prepare(&mut request, address);
        if let (Some(authorization), Entry::Vacant(vacant)) =
            (&self.authorization, request.headers_mut().entry(header::AUTHORIZATION))
        {
            vacant.insert(authorization.clone());
        }
        let fail = |kind, unsent: Option<Request>, source| ClientError {
            kind,
            sent: unsent.is_none(),
            address: address.clone(),
            was_kept,
            unsent: unsent.map(Box::new),
            source,
        };
        let (request, handed_over) = observed(request);
        let deadline = async {
            match timeouts.response_head {
                None => std::future::pending().await,
                Some(limit) => {
                    handed_over.await;
                    tokio::time::sleep(limit).await;
                }
            }
        };
        let answered = tokio::select! {
            answered = connection.try_send_request(request) => answered,
            () = deadline => return Err(fail(ErrorKind::HeadTimeout, None, None)),
        };
        let response = answered.map_err(|mut error| {
            let unsent = error.take_message();
            let source = error.into_error();
            fail(kind_of(&source), unsent, Some(source.into()))
        })?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(switching(response));
        }
        Ok(response.map(|incoming| {
            if incoming.is_end_stream() {
                self.pool.put(address.clone(), connection);
                Body::empty()
            } else {
                Body::pooled(PooledBody::new(incoming, Arc::clone(&self.pool), address.clone(), connection))
            }
        }))
    }
}

/// Sends one request over a connection that the caller made, such as one under TLS or through a proxy, and returns
/// when the head of the response is there. The connection serves nothing else and ends with the response's body.
///
/// The request's body may stream and go on while the response comes; for an upgrade see [`Client::send`]. The time for
/// the head of the response begins when the whole request is handed over. The request goes out as it is, with `http::Uri` as its target; the caller gives its `Host`. `address` only names
/// the server in errors.
pub async fn send_over<S>(
    stream: S,
    address: &Address,
    request: Request,
    response_head: Duration,
) -> Result<Response, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let fail = |kind, sent, source| ClientError {
        kind,
        sent,
        address: address.clone(),
        was_kept: false,
        unsent: None,
        source,
    };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(DOWNLOAD_BUFFER);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) =
        handshake.map_err(|error| fail(ErrorKind::Connect, false, Some(error.into())))?;
    // Ends when the server closes, or when the response's body is dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(%error, "a connection ended early");
        }
    });
    let (request, handed_over) = observed(request);
    let deadline = async {
        handed_over.await;
        tokio::time::sleep(response_head).await;
    };
    let answered = tokio::select! {
        answered = sender.send_request(request) => answered,
        () = deadline => return Err(fail(ErrorKind::HeadTimeout, true, None)),
    };
    let response = answered.map_err(|error| fail(kind_of(&error), true, Some(error.into())))?;
    Ok(match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => switching(response),
        _ => response.map(Body::incoming),
    })
}

/// A response after which the connection is no HTTP any more.
fn switching(mut response: http::Response<Incoming>) -> Response {
    let on_upgrade = hyper::upgrade::on(&mut response);
    let mut response = response.map(|_| Body::empty());
    response.extensions_mut().insert(on_upgrade);
    response
}

/// How much of a download one read may take.
const DOWNLOAD_BUFFER: usize = 1 << 20;
/// The least that hyper takes for a connection's buffer.
const MIN_BUFFER: usize = 8192;

fn kind_of(error: &hyper::Error) -> ErrorKind {
    if error.is_user() || error.is_body_write_aborted() {
        ErrorKind::RequestBody
    } else if error.is_parse() || error.is_parse_too_large() {
        ErrorKind::Protocol
    } else {
        ErrorKind::Closed
    }
}

/// Puts the request into the form that goes over a connection to `address`.
fn prepare(request: &mut Request, address: &Address) {
    if !request.headers().contains_key(header::HOST) {
        let host = match (request.uri().authority(), address) {
            (Some(authority), _) => HeaderValue::from_str(authority.as_str()),
            (None, Address::Tcp(address)) => HeaderValue::from_str(&address.to_string()),
            (None, Address::Unix(_)) => Ok(HeaderValue::from_static("localhost")),
        };
        request.headers_mut().insert(header::HOST, host.expect("addresses have no control characters"));
    }
    if request.uri().authority().is_some() {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    *request.version_mut() = http::Version::HTTP_11;
}

/// The same request again, if sending it twice does no more than sending it once: its method is
/// idempotent and its body in memory. Its extensions are left out.
pub fn copy(request: &Request) -> Option<Request> {
    let idempotent = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        || matches!(*request.method(), Method::PUT | Method::DELETE);
    let body = request.body().replay().filter(|_| idempotent)?;
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// The request, and a future that resolves when its body has been handed over to the connection.
fn observed(request: Request) -> (Request, impl Future<Output = ()>) {
    if request.body().is_in_memory() {
        return (request, futures_util::future::Either::Left(std::future::ready(())));
    }
    let (done, ended) = tokio::sync::oneshot::channel::<()>();
    let request = request.map(|body| body.with_end(done));
    let ended = async {
        // The sender is dropped with the body.
        let _ = ended.await;
    };
    (request, futures_util::future::Either::Right(ended))
}
