//! Requests to the cluster.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http_kit::{Address, Body, ClientConfig, HeaderValue, Method, Request, Response, Timeouts, Uri, header};
use serde_json::Value;

use web_client::{Call, Config, Url, WebClient};

use crate::context::{Cluster, Source, Tls};
use crate::{Answer, Error, output};

/// How long a connection may take to be opened. dcos-cli: `DialTimeout`.
const CONNECT: Duration = Duration::from_secs(10);
/// The largest answer that is read whole.
const LIMIT: usize = 256 << 20;
/// The largest answer that says what is wrong.
const REFUSAL: usize = 1 << 20;

/// How long a stream over TLS may pause: those that follow something are silent for long.
const PAUSE: Duration = Duration::from_secs(24 * 3600);

/// A client of one cluster. Paths are below the cluster's URL and start with a slash.
#[derive(Debug)]
pub(crate) struct Client {
    transport: Transport,
    /// What the URL has before the path: nothing, mostly.
    prefix: String,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    verbosity: u8,
    cluster: Cluster,
}

/// How requests get to the cluster.
enum Transport {
    /// Over HTTP to an address that needs no name service, over kept connections.
    Plain(http_kit::Client, Address),
    /// To a host with a name, by a proxy, or over TLS.
    Web(WebClient, Url),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Transport::Plain(_, address) => write!(f, "Plain({address})"),
            Transport::Web(_, url) => write!(f, "Web({url})"),
        }
    }
}

impl Client {
    /// A client of that cluster.
    pub(crate) fn new(cluster: &Cluster, verbosity: u8) -> Result<Client, Error> {
        let wrong = |problem: &str| {
            Error::new(format!("'{}' is no URL of a cluster: {problem}", cluster.url)).hint(
                "Allowed is one like http://127.0.0.1 or https://dcos.example.com; `dcos cluster setup <url>` takes it.",
            )
        };
        let url: Url = cluster.url.parse().map_err(|error| wrong(&format!("{error}")))?;
        let host = url.authority();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let authorization = cluster.token.as_ref().map(|token| {
            let mut value = HeaderValue::from_str(&format!("token={token}")).map_err(|_| {
                Error::new("the token has characters that no token has").hint("Run `dcos auth login`.")
            })?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        });
        let transport = match address(url.host()).filter(|_| !url.is_https()) {
            Some(ip) => Transport::Plain(
                http_kit::Client::new(ClientConfig::default()),
                Address::Tcp(SocketAddr::new(ip, url.port())),
            ),
            None => Transport::Web(web(cluster)?, url.clone()),
        };
        Ok(Client {
            transport,
            prefix: url.path().trim_end_matches('/').to_owned(),
            host: HeaderValue::from_str(host).map_err(|_| wrong("its host cannot be read"))?,
            authorization: authorization.transpose()?,
            timeout: cluster.timeout,
            verbosity,
            cluster: cluster.clone(),
        })
    }

    /// `GET`, whatever the status of the answer.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Error> {
        self.request(Method::GET, path, None).await
    }

    /// `POST` of JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer, Error> {
        self.request(Method::POST, path, Some(body)).await
    }

    /// Sends JSON, or nothing, and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// No answer came.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let mut request = Request::new(body.map_or_else(Body::empty, |body| Body::full(body.to_string())));
        if body.is_some() {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        *request.method_mut() = method;
        *request.uri_mut() = uri(path)?;
        self.exchange(request, LIMIT).await
    }

    /// Sends a request, whose URI is a path below the cluster's URL, and reads the whole answer of at most
    /// `limit` bytes, whatever its status.
    ///
    /// # Errors
    /// No answer came.
    pub(crate) async fn exchange(&self, request: Request, limit: usize) -> Result<Answer, Error> {
        let asked = format!("{} {}", request.method(), request.uri());
        let response = self.send(request).await?;
        self.read(asked, response, limit).await
    }

    /// What the cluster said as an error, in an answer whose head is there.
    pub(crate) async fn refusal(&self, asked: &str, response: Response) -> Error {
        match self.read(asked.to_owned(), response, REFUSAL).await {
            Ok(answer) => answer.refusal(),
            Err(error) => error,
        }
    }

    async fn read(&self, asked: String, response: Response, limit: usize) -> Result<Answer, Error> {
        let (head, body) = response.into_parts();
        let body = body.read_within(limit, self.timeout).await;
        let body = body.map_err(|error| self.broke(&asked, &chain(&error)))?;
        if self.verbosity > 1 {
            output::say(&String::from_utf8_lossy(&body));
        }
        Ok(Answer { asked, status: head.status, body })
    }

    /// Sends a request, whose URI is a path below the cluster's URL. Returns when the head of the
    /// answer is there, whatever its status; its body streams.
    ///
    /// # Errors
    /// No answer came.
    pub(crate) async fn send(&self, mut request: Request) -> Result<Response, Error> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let asked = format!("{} {path}", request.method());
        *request.uri_mut() = uri(&format!("{}{path}", self.prefix))?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        if let Some(authorization) = &self.authorization {
            headers.entry(header::AUTHORIZATION).or_insert_with(|| authorization.clone());
        }
        if self.verbosity > 0 {
            output::say(&format!("{asked} ({})", self.cluster.url));
        }
        let response = match &self.transport {
            Transport::Plain(client, address) => {
                let timeouts = Timeouts { connect: CONNECT, response_head: Some(self.timeout) };
                let sent = client.send(address, request, timeouts).await;
                sent.map_err(|error| self.unreachable(&chain(&error)))?
            }
            Transport::Web(client, url) => self.send_web(client, url, request).await?,
        };
        if self.verbosity > 0 {
            output::say(&format!("{asked}: {}", response.status()));
        }
        Ok(response)
    }

    async fn send_web(&self, client: &WebClient, url: &Url, request: Request) -> Result<Response, Error> {
        if !request.body().is_in_memory() || request.headers().contains_key(header::UPGRADE) {
            return self.stream_web(client, url, request).await;
        }
        let (head, body) = request.into_parts();
        let body = body.read(LIMIT).await.expect("it is in memory, and shorter than a command line");
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = url.join(path).map_err(|error| Error::new(error.to_string()))?;
        let asked = format!("{url}: ");
        let call = Call { method: head.method, url, headers: head.headers, body };
        let answer = client.send(call).await.map_err(|error| {
            let reason = error.to_string();
            self.unreachable(reason.strip_prefix(&asked).unwrap_or(&reason))
        })?;
        let (sender, body) = Body::channel(4);
        let mut response = Response::new(body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        let mut download = answer.body;
        tokio::spawn(async move {
            while let Some(piece) = download.next().await {
                let sent = match piece {
                    Ok(bytes) => sender.send(bytes).await,
                    Err(error) => return sender.abort(error.to_string()),
                };
                if sent.is_err() {
                    return;
                }
            }
        });
        Ok(response)
    }

    /// What goes on while the answer comes has a connection of its own, and no redirects.
    async fn stream_web(&self, client: &WebClient, url: &Url, request: Request) -> Result<Response, Error> {
        let connection = client.connect(url).await.map_err(|error| {
            let reason = error.to_string();
            self.unreachable(reason.strip_prefix(&format!("{url}: ")).unwrap_or(&reason))
        })?;
        // Only for the error's text, of which the cause alone is shown.
        let somewhere = Address::Tcp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), url.port()));
        let sent = http_kit::send_over(connection, &somewhere, request, self.timeout).await;
        sent.map_err(|error| {
            let cause = std::error::Error::source(&error).map(chain);
            self.unreachable(&cause.unwrap_or_else(|| "no answer in time".to_owned()))
        })
    }

    fn unreachable(&self, reason: &str) -> Error {
        let what = format!("the cluster at {} does not answer: {reason}", self.cluster.url);
        Error::new(what).hint(match &self.cluster.source {
            Source::Local { dir } => format!("Is it still running? Start it again with: dcos up --dir {}", dir.display()),
            Source::Environment => "It is named by DCOS_URL; unset that to use the attached cluster, or one of this machine.".to_owned(),
            Source::Configured => "`dcos cluster list` shows the clusters that are set up, `dcos cluster attach` changes to another one, and `dcos up` starts one on this machine.".to_owned(),
        })
    }

    fn broke(&self, asked: &str, reason: &str) -> Error {
        let what = format!("the answer to {asked} of {} broke off: {reason}", self.cluster.url);
        Error::new(what)
            .hint("Try it again; `core.timeout` (dcos config set) says how long an answer may take.")
    }
}

/// A client for a cluster that is not reached by an address alone.
fn web(cluster: &Cluster) -> Result<WebClient, Error> {
    let mut config = Config::from_environment();
    config.connect_timeout = CONNECT;
    config.head_timeout = cluster.timeout;
    config.stall_timeout = PAUSE;
    config.user_agent = concat!("dcos-cli/", env!("CARGO_PKG_VERSION")).to_owned();
    match &cluster.tls {
        Tls::System => {}
        Tls::Bundle(path) => config.extra_roots.push(path.clone()),
        Tls::Unchecked if !cluster.url.starts_with("https://") => {}
        Tls::Unchecked => {
            return Err(Error::new("core.ssl_verify is false, and certificates are always checked here").hint(
                "Name the file with the cluster's CA certificate: dcos config set core.ssl_verify <file>. The cluster serves it at /ca/dcos-ca.crt.",
            ));
        }
    }
    Ok(WebClient::new(config))
}

/// The IP address of a host that needs no name service.
fn address(host: &str) -> Option<IpAddr> {
    match host {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => host.trim_start_matches('[').trim_end_matches(']').parse().ok(),
    }
}

fn uri(path: &str) -> Result<Uri, Error> {
    path.parse().map_err(|_| Error::new(format!("'{path}' is no path of a URL")))
}

/// An error with its causes.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
