//! Requests to the cluster.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http_kit::{Address, Body, ClientConfig, HeaderValue, Method, Request, Response, Timeouts, Uri, header};
use serde_json::Value;

use crate::context::{Cluster, Source};
use crate::{Answer, Error, output};

/// How long a connection may take to be opened. dcos-cli: `DialTimeout`.
const CONNECT: Duration = Duration::from_secs(10);
/// The largest answer that is read whole.
const LIMIT: usize = 256 << 20;

/// A client of one cluster. Paths are below the cluster's URL and start with a slash.
#[derive(Debug)]
pub(crate) struct Client {
    http: http_kit::Client,
    address: Address,
    /// What the URL has before the path: nothing, mostly.
    prefix: String,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    verbosity: u8,
    cluster: Cluster,
}

impl Client {
    /// A client of that cluster.
    pub(crate) fn new(cluster: &Cluster, verbosity: u8) -> Result<Client, Error> {
        let wrong = |problem: &str| {
            Error::new(format!("'{}' is no URL of a cluster: {problem}", cluster.url))
                .hint("Allowed is one like http://127.0.0.1 or https://dcos.example.com; `dcos cluster setup <url>` takes it.")
        };
        let uri: Uri = cluster.url.parse().map_err(|_| wrong("it cannot be read"))?;
        let host = uri.host().ok_or_else(|| wrong("it has no host"))?;
        let port = match (uri.scheme_str(), uri.port_u16()) {
            (Some("http"), port) => port.unwrap_or(80),
            (Some("https"), _) => return Err(wrong("https is not supported by this build")),
            _ => return Err(wrong("it has no scheme")),
        };
        let ip = address(host).ok_or_else(|| wrong("its host is neither an IP address nor localhost"))?;
        let authority = uri.authority().expect("it has a host").as_str();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let authorization = cluster.token.as_ref().map(|token| {
            let mut value = HeaderValue::from_str(&format!("token={token}")).map_err(|_| {
                Error::new("the token has characters that no token has").hint("Run `dcos auth login`.")
            })?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        });
        Ok(Client {
            http: http_kit::Client::new(ClientConfig::default()),
            address: Address::Tcp(SocketAddr::new(ip, port)),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            host: HeaderValue::from_str(host).map_err(|_| wrong("its host cannot be read"))?,
            authorization: authorization.transpose()?,
            timeout: cluster.timeout,
            verbosity,
            cluster: cluster.clone(),
        })
    }

    /// The cluster it speaks with.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// `GET`, whatever the status of the answer.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Error> {
        self.request(Method::GET, path, None).await
    }

    /// `POST` of JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer, Error> {
        self.request(Method::POST, path, Some(body)).await
    }

    /// `PUT` of JSON.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<Answer, Error> {
        self.request(Method::PUT, path, Some(body)).await
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, path: &str) -> Result<Answer, Error> {
        self.request(Method::DELETE, path, None).await
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
        let asked = format!("{} {}", request.method(), request.uri());
        let (head, body) = self.send(request).await?.into_parts();
        let body = body.read_within(LIMIT, self.timeout).await;
        let body = body.map_err(|error| self.broke(&asked, &error))?;
        if self.verbosity > 1 {
            output::say(&String::from_utf8_lossy(&body));
        }
        Ok(Answer { asked, status: head.status, headers: head.headers, body })
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
        let timeouts = Timeouts { connect: CONNECT, response_head: Some(self.timeout) };
        let sent = self.http.send(&self.address, request, timeouts).await;
        let response = sent.map_err(|error| self.unreachable(&error))?;
        if self.verbosity > 0 {
            output::say(&format!("{asked}: {}", response.status()));
        }
        Ok(response)
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        let reason = chain(error);
        let what = format!("the cluster at {} does not answer: {reason}", self.cluster.url);
        Error::new(what).hint(match &self.cluster.source {
            Source::Local { dir } => format!("Is it still running? Start it again with: dcos up --dir {}", dir.display()),
            Source::Environment => "It is named by DCOS_URL; unset that to use the attached cluster, or one of this machine.".to_owned(),
            Source::Configured => "`dcos cluster list` shows the clusters that are set up, `dcos cluster attach` changes to another one, and `dcos up` starts one on this machine.".to_owned(),
        })
    }

    fn broke(&self, asked: &str, error: &(dyn std::error::Error + 'static)) -> Error {
        let what = format!("the answer to {asked} broke off: {}", chain(error));
        Error::new(what)
            .hint("Try it again; `core.timeout` (dcos config set) says how long an answer may take.")
    }
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
