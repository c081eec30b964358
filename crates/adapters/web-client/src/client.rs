use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_kit::{
    Address, Body, ErrorKind, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header,
    send_over,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::call::{Answer, Call};
use crate::config::Config;
use crate::connection::Connection;
use crate::download::Download;
use crate::error::Error;
use crate::names::Names;
use crate::proxy::proxy_for;
use crate::tls::Tls;
use crate::url::{Url, hidden};
use base::with_causes;

/// Asks servers outside. Clones share what was read of the system's configuration.
#[derive(Clone)]
pub struct WebClient {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    names: Names,
    tls: Tls,
}

impl WebClient {
    /// A client; nothing is read or opened before the first call.
    pub fn new(config: Config) -> WebClient {
        WebClient { shared: Arc::new(Shared { config, names: Names::default(), tls: Tls::default() }) }
    }

    /// The client's limits.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Opens a connection to the server of `url`, by name, proxy and under TLS as it demands, for who speaks HTTP over
    /// it in another way than by [`WebClient::send`] ([`http_kit::send_over`]).
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn connect(&self, url: &Url) -> Result<Connection, Error> {
        let shared = &self.shared;
        let stream = match proxy_for(&shared.config, url) {
            None => shared.open(url, url).await?,
            Some(proxy) => shared.open_by_proxy(url, &proxy_url(proxy, url)?).await?,
        };
        Ok(match url.is_https() {
            true => Connection(Box::new(shared.secure(stream, url).await?)),
            false => Connection(Box::new(stream)),
        })
    }

    /// Sends the call, follows redirects, and returns when the head of an answer is there, of whatever status.
    ///
    /// # Errors
    /// When no answer came; the server's own refusals are answers.
    pub async fn send(&self, call: Call) -> Result<Answer, Error> {
        let limit = self.shared.config.max_redirects;
        let first = call.url.clone();
        let mut call = call;
        for _ in 0..=limit {
            let (answer, location) = self.shared.send_one(&call).await?;
            let Some(location) = location else { return Ok(answer) };
            call = redirected(call, answer.status, &location)?;
        }
        Err(Error::Redirects { url: first, limit })
    }
}

impl Shared {
    /// One request and its answer; with where to go instead, if the answer says so.
    async fn send_one(&self, call: &Call) -> Result<(Answer, Option<String>), Error> {
        let response = match proxy_for(&self.config, &call.url) {
            None => self.ask_directly(call).await?,
            Some(proxy) => self.ask_by_proxy(call, proxy).await?,
        };
        let (head, body) = response.into_parts();
        let length = head.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        let length = length.filter(|_| call.method != Method::HEAD);
        let body = Download::new(body, call.url.clone(), self.config.stall_timeout, length);
        let answer = Answer { status: head.status, headers: head.headers, url: call.url.clone(), body };
        let moved = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
        let location = answer.header(header::LOCATION).filter(|_| moved).map(str::to_owned);
        Ok((answer, location))
    }

    async fn ask_directly(&self, call: &Call) -> Result<Response, Error> {
        let url = &call.url;
        let stream = self.open(url, url).await?;
        let request = self.request(call, url.target())?;
        if url.is_https() {
            let stream = self.secure(stream, url).await?;
            self.exchange(stream, request, url).await
        } else {
            self.exchange(stream, request, url).await
        }
    }

    async fn ask_by_proxy(&self, call: &Call, proxy: &str) -> Result<Response, Error> {
        let url = &call.url;
        let proxy = proxy_url(proxy, url)?;
        if url.is_https() {
            let stream = self.open_by_proxy(url, &proxy).await?;
            let request = self.request(call, url.target())?;
            let stream = self.secure(stream, url).await?;
            return self.exchange(stream, request, url).await;
        }
        let stream = self.open(&proxy, url).await?;
        let mut request = self.request(call, &format!("http://{}{}", url.authority(), url.target()))?;
        if let Some(authorization) = proxy.authorization() {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization);
        }
        self.exchange(stream, request, url).await
    }

    /// A way through the proxy to the server of `url`.
    async fn open_by_proxy(&self, url: &Url, proxy: &Url) -> Result<TcpStream, Error> {
        let mut stream = self.open(proxy, url).await?;
        let opened = timeout(self.config.head_timeout, tunnel(&mut stream, url, proxy)).await;
        let opened = opened.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        opened.map_err(|why| Error::Proxy { url: url.clone(), proxy: proxy.to_string(), why })?;
        Ok(stream)
    }

    /// A connection to the server of `to`; `about` is what the user asked for.
    async fn open(&self, to: &Url, about: &Url) -> Result<TcpStream, Error> {
        let within = self.config.connect_timeout;
        let host = to.host();
        let addresses = self.names.resolve(host, within).await.map_err(|why| Error::Name {
            url: about.clone(),
            host: host.to_owned(),
            why,
        })?;
        let mut failure = (String::new(), String::new());
        for address in addresses.into_iter().map(|ip| SocketAddr::new(ip, to.port())) {
            let why = match timeout(within, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // A hint only.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} s", within.as_secs()),
            };
            // The first address is the one that was meant to work.
            if failure.0.is_empty() {
                failure = (address.to_string(), why);
            }
        }
        let (address, why) = failure;
        Err(Error::Connect { url: about.clone(), address, why })
    }

    async fn secure(
        &self,
        stream: TcpStream,
        url: &Url,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, Error> {
        let within = self.config.connect_timeout;
        let agreed = timeout(within, self.tls.connect(stream, url, &self.config.extra_roots)).await;
        agreed.unwrap_or_else(|_| {
            let why = format!("no agreement within {} s", within.as_secs());
            Err(Error::Tls { url: url.clone(), host: url.host().to_owned(), why })
        })
    }

    fn request(&self, call: &Call, target: &str) -> Result<Request, Error> {
        let malformed = || Error::Url(crate::ParseUrlError::Form(call.url.to_string()));
        let mut request = Request::new(Body::full(call.body.clone()));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = target.parse().map_err(|_| malformed())?;
        *request.headers_mut() = call.headers.clone();
        let headers = request.headers_mut();
        headers.insert(header::HOST, HeaderValue::from_str(call.url.authority()).map_err(|_| malformed())?);
        add(headers, header::USER_AGENT, HeaderValue::from_str(&self.config.user_agent).ok());
        add(headers, header::ACCEPT, Some(HeaderValue::from_static("*/*")));
        add(headers, header::AUTHORIZATION, call.url.authorization());
        Ok(request)
    }

    async fn exchange<S>(&self, stream: S, request: Request, url: &Url) -> Result<Response, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let after: Duration = self.config.head_timeout;
        // Only for the errors of `http-kit`, which are told by their cause alone.
        let nobody = Address::Tcp(SocketAddr::from(([0, 0, 0, 0], url.port())));
        send_over(stream, &nobody, request, after).await.map_err(|error| match error.kind {
            ErrorKind::HeadTimeout => Error::NoAnswer { url: url.clone(), after },
            _ => {
                let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), with_causes);
                Error::Closed { url: url.clone(), why }
            }
        })
    }
}

fn proxy_url(proxy: &str, url: &Url) -> Result<Url, Error> {
    let failed = |why: String, proxy: String| Error::Proxy { url: url.clone(), proxy, why };
    let text = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    let proxy: Url = text.parse().map_err(|error| failed(format!("{error}"), "setting".into()))?;
    match proxy.is_https() {
        true => Err(failed("only http:// proxies are supported".into(), proxy.to_string())),
        false => Ok(proxy),
    }
}

fn add(headers: &mut HeaderMap, name: http_kit::HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.entry(name).or_insert(value);
    }
}

/// The call that a redirect asks for instead (RFC 9110, 15.4).
fn redirected(call: Call, status: StatusCode, location: &str) -> Result<Call, Error> {
    let refuse = |why| Error::Redirect { url: call.url.clone(), location: hidden(location), why };
    let to = call.url.join(location).map_err(|_| refuse("it is no http or https URL"))?;
    if call.url.is_https() && !to.is_https() {
        return Err(refuse("it leads from https to http"));
    }
    let mut next = call.clone();
    let is_away = !call.url.is_same_origin(&to);
    if is_away {
        next.headers.remove(header::AUTHORIZATION);
        next.headers.remove(header::COOKIE);
    }
    let becomes_get = status == StatusCode::SEE_OTHER || call.method == Method::POST;
    if becomes_get && !matches!(status.as_u16(), 307 | 308) && call.method != Method::HEAD {
        next.method = Method::GET;
        next.body = http_kit::Bytes::new();
        next.headers.remove(header::CONTENT_TYPE);
    }
    // It may be a secret, such as the login that buys a token.
    if is_away && !next.body.is_empty() {
        return Err(refuse("it leads to another server, which the request's body is not for"));
    }
    next.url = if is_away { to } else { to.with_credentials_of(&call.url) };
    Ok(next)
}

/// The most that a proxy may say before the way is open.
const TUNNEL_ANSWER_LIMIT: usize = 16 << 10;

/// Asks the proxy at the other end to open a way to the server of `url`.
async fn tunnel(stream: &mut TcpStream, url: &Url, proxy: &Url) -> Result<(), String> {
    let host = if url.host().contains(':') { format!("[{}]", url.host()) } else { url.host().to_owned() };
    let authority = format!("{host}:{}", url.port());
    let mut text = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(authorization) = proxy.authorization() {
        let value = authorization.to_str().map_err(|error| error.to_string())?;
        text.push_str(&format!("Proxy-Authorization: {value}\r\n"));
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= TUNNEL_ANSWER_LIMIT {
            return Err("its answer is too long".to_owned());
        }
        // One by one: what comes after the head is the server's already.
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(error) => return Err(error.to_string()),
        }
    }
    let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    match line.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(()),
        _ => Err(format!("it answered '{line}'")),
    }
}
