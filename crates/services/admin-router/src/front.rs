//! Carries the table's decisions out.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_kit::header::{ACCEPT, AUTHORIZATION, COOKIE, HOST, LOCATION, WWW_AUTHENTICATE};
use http_kit::proxy::{Forwarded, give_back};
use http_kit::{
    Address, BoxFuture, Client, ClientError, ErrorKind, Handler, HeaderMap, HeaderName, HeaderValue, Method,
    Peer, Request, Response, StatusCode, Timeouts, Uri, respond,
};
use router_core::{Answer, COOKIES, Decision, Head, Table, Upstream};
use runtime::Shutdown;
use tokio::sync::watch;
use tracing::debug;

use crate::freshness::Freshness;
use crate::packages::PackagesFront;
use crate::shunned::Shunned;

/// How long opening a connection to an upstream may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request to a service, none of whose instances takes it, waits for other instances. A
/// table is about 50 ms behind the cluster; a task that was just replaced answers no more.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a request for a service that is not known to be there waits for news of it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The handler of Admin Router's port.
pub(crate) struct Front {
    tables: watch::Receiver<Arc<Table>>,
    /// Of what Marathon says, where it is followed.
    freshness: Option<Arc<Freshness>>,
    client: Client,
    timeouts: Timeouts,
    shutdown: Shutdown,
    shunned: Shunned,
    packages: PackagesFront,
    /// Where the next request begins among the instances of its service.
    turn: AtomicUsize,
}

impl Handler for Front {
    fn handle(&self, request: Request, peer: Peer) -> BoxFuture<'_, Response> {
        Box::pin(self.answer(request, peer))
    }
}

/// What of a request decides where it goes, kept for deciding a second time.
struct Asked {
    method: Method,
    uri: Uri,
    headers: [Option<HeaderValue>; 4],
}

impl Asked {
    const NAMES: [HeaderName; 4] = [ACCEPT, AUTHORIZATION, COOKIE, HOST];

    fn of(request: &Request) -> Self {
        let headers = Self::NAMES.map(|name| request.headers().get(name).cloned());
        Asked { method: request.method().clone(), uri: request.uri().clone(), headers }
    }

    fn route(&self, table: &Table) -> Decision {
        let [accept, authorization, cookie, _] = self.headers.each_ref().map(text);
        table.route(&Head {
            method: self.method.as_str(),
            path: self.uri.path(),
            query: self.uri.query(),
            accept,
            authorization,
            cookie,
        })
    }

    fn host(&self) -> Option<&str> {
        text(&self.headers[3])
    }
}

fn text(value: &Option<HeaderValue>) -> Option<&str> {
    value.as_ref()?.to_str().ok()
}

/// A request that no instance answered.
struct Undelivered {
    error: ClientError,
    tried: usize,
}

impl Front {
    pub(crate) fn new(
        tables: watch::Receiver<Arc<Table>>,
        freshness: Option<Arc<Freshness>>,
        client: Client,
        answer_timeout: Duration,
        packages: PackagesFront,
        shutdown: Shutdown,
    ) -> Self {
        let timeouts = Timeouts { connect: CONNECT_TIMEOUT, response_head: Some(answer_timeout) };
        Front {
            tables,
            freshness,
            client,
            timeouts,
            shutdown,
            shunned: Shunned::default(),
            packages,
            turn: AtomicUsize::new(0),
        }
    }

    async fn answer(&self, request: Request, peer: Peer) -> Response {
        let asked = Asked::of(&request);
        let mut decision = asked.route(&self.tables.borrow());
        if let Decision::Answer(Answer { status: 404 | 503, .. }) = decision
            && request.uri().path().starts_with("/service/")
            && let Some(freshness) = &self.freshness
        {
            // Marathon may know of the service since just now: a deployment that a client saw end is in effect.
            freshness.renew(LOOK_AGAIN).await;
            decision = asked.route(&self.tables.borrow());
        }
        match decision {
            Decision::Forward(upstream) => self.forward(&asked, request, peer, upstream).await,
            Decision::Packages { path_and_query } => {
                let Forwarded { mut request, .. } = Forwarded::from(request);
                announce(request.headers_mut(), peer);
                hide_credentials(request.headers_mut(), &self.tables.borrow());
                self.packages.ask(request, &path_and_query).await
            }
            Decision::ActivePackages => self.packages.active().await,
            Decision::Redirect { status, location } => respond::redirect(status_of(status), &location),
            Decision::Answer(answer) => answered(answer),
            Decision::Unauthorized(answer) => {
                let mut response = answered(answer);
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("oauthjwt"));
                response
            }
        }
    }

    async fn forward(&self, asked: &Asked, request: Request, peer: Peer, upstream: Upstream) -> Response {
        let name = upstream.name.clone();
        let Forwarded { mut request, upgrade } = Forwarded::from(request);
        announce(request.headers_mut(), peer);
        if upstream.is_service {
            hide_credentials(request.headers_mut(), &self.tables.borrow());
        }
        match self.deliver(asked, request, upstream).await {
            Ok((mut response, address, upstream)) => {
                rewrite_location(&mut response, &upstream, address, asked.host());
                let shutdown = self.shutdown.clone();
                give_back(response, upgrade, async move { shutdown.requested().await })
            }
            Err(undelivered) => failed(&name, &undelivered),
        }
    }

    /// Sends the request to one instance after the other, as long as sending it again is safe, and
    /// then to those that a new table names.
    async fn deliver(
        &self,
        asked: &Asked,
        mut request: Request,
        mut upstream: Upstream,
    ) -> Result<(Response, SocketAddr, Upstream), Undelivered> {
        let mut tables = self.tables.clone();
        let until = tokio::time::Instant::now() + PATIENCE;
        let mut tried: Vec<SocketAddr> = Vec::new();
        loop {
            *request.uri_mut() = match upstream.path_and_query.parse() {
                Ok(uri) => uri,
                // A part of a valid target is one, too: this is for the compiler.
                Err(_) => Uri::from_static("/"),
            };
            let mut last = None;
            for address in self.in_turn(&upstream, &tried) {
                match self.send(address, request).await {
                    Ok(response) => return Ok((response, address, upstream)),
                    Err(Failed { error, again: None }) => {
                        return Err(Undelivered { error, tried: tried.len() + 1 });
                    }
                    Err(Failed { error, again: Some(again) }) => {
                        debug!(%address, %error, upstream = upstream.name, "an instance did not take a request");
                        self.shunned.add(address, Instant::now());
                        tried.push(address);
                        request = *again;
                        last = Some(error);
                    }
                }
            }
            let next = match upstream.is_service {
                true => next_upstream(asked, &mut tables, &tried, until).await,
                false => None,
            };
            match (next, last) {
                (Some(next), _) => upstream = next,
                (None, Some(error)) => return Err(Undelivered { error, tried: tried.len() }),
                (None, None) => unreachable!("an upstream has an address that was not tried"),
            }
        }
    }

    /// The addresses that were not tried yet, each request beginning with another one.
    fn in_turn(&self, upstream: &Upstream, tried: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut addresses = upstream.addresses.to_vec();
        if addresses.len() > 1 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len();
            addresses.rotate_left(turn);
            addresses.retain(|address| !tried.contains(address));
            self.shunned.sort(&mut addresses, Instant::now());
        }
        addresses
    }

    /// Sends the request to one instance; a kept connection that turns out closed is no reason to
    /// give the instance up.
    async fn send(&self, address: SocketAddr, request: Request) -> Result<Response, Failed> {
        let address = Address::Tcp(address);
        let spare = http_kit::copy(&request);
        let failed = match self.client.send_once(&address, request, self.timeouts).await {
            Ok(response) => return Ok(response),
            Err(error) => Failed::of(error, spare),
        };
        match failed {
            Failed { error, again: Some(again) } if error.was_kept => {
                let spare = http_kit::copy(&again);
                let sent = self.client.send_on_new(&address, *again, self.timeouts).await;
                sent.map_err(|error| Failed::of(error, spare))
            }
            failed => Err(failed),
        }
    }
}

/// A call that brought no response, with the request if it may be sent again.
struct Failed {
    error: ClientError,
    again: Option<Box<Request>>,
}

impl Failed {
    fn of(mut error: ClientError, spare: Option<Request>) -> Self {
        let again = match (error.unsent.take(), error.kind) {
            (Some(unsent), _) => Some(unsent),
            // An instance that was stopped closes its connections without an answer.
            (None, ErrorKind::Closed) => spare.map(Box::new),
            (None, _) => None,
        };
        Failed { error, again }
    }
}

/// Waits for a table in which the request has an instance that was not tried.
async fn next_upstream(
    asked: &Asked,
    tables: &mut watch::Receiver<Arc<Table>>,
    tried: &[SocketAddr],
    until: tokio::time::Instant,
) -> Option<Upstream> {
    loop {
        // The newest first: it may be newer than the one that the request was routed by.
        let table = Arc::clone(&tables.borrow_and_update());
        if let Decision::Forward(upstream) = asked.route(&table)
            && upstream.addresses.iter().any(|address| !tried.contains(address))
        {
            return Some(upstream);
        }
        // An error means that the router is ending.
        tokio::time::timeout_at(until, tables.changed()).await.ok()?.ok()?;
    }
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn answered(answer: Answer) -> Response {
    respond::bytes(status_of(answer.status), answer.content_type, answer.body)
}

/// Tells the upstream who asks, as DC/OS does.
fn announce(headers: &mut HeaderMap, peer: Peer) {
    let Some(ip) = peer.ip().map(|ip: IpAddr| ip.to_string()) else { return };
    let before: Vec<&str> =
        headers.get_all(&X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    let chain = before.into_iter().chain([ip.as_str()]).collect::<Vec<_>>().join(", ");
    for (name, value) in [(X_FORWARDED_FOR, chain.as_str()), (X_REAL_IP, &ip), (X_FORWARDED_PROTO, "http")] {
        headers
            .insert(name, HeaderValue::from_str(value).expect("addresses and header text are header text"));
    }
    if let Some(host) = headers.get(HOST).cloned() {
        headers.insert(X_FORWARDED_HOST, host);
    }
}

/// Takes away what opens the cluster: a service gets its own cookies and nothing of ours.
fn hide_credentials(headers: &mut HeaderMap, table: &Table) {
    if table.asks_for_token() {
        headers.remove(AUTHORIZATION);
    }
    // By bytes: a cookie that is no text must not carry ours along.
    let is_ours = |cookie: &[u8]| {
        let name = cookie.split(|byte| *byte == b'=').next().unwrap_or(cookie).trim_ascii();
        COOKIES.iter().any(|ours| name == ours.as_bytes())
    };
    let cookies: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    let cookies = cookies.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let kept: Vec<&[u8]> = cookies.map(<[u8]>::trim_ascii).filter(|cookie| !is_ours(cookie)).collect();
    match HeaderValue::from_bytes(&kept.join(&b"; "[..])) {
        Ok(cookies) if !kept.is_empty() => headers.insert(COOKIE, cookies),
        _ => headers.remove(COOKIE),
    };
}

fn rewrite_location(response: &mut Response, upstream: &Upstream, address: SocketAddr, host: Option<&str>) {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let rewritten = location.and_then(|location| upstream.location(location, address, host));
    if let Some(location) = rewritten.and_then(|location| HeaderValue::from_str(&location).ok()) {
        response.headers_mut().insert(LOCATION, location);
    }
}

/// 502 or 504, as nginx answers in DC/OS, with what happened in words.
fn failed(name: &str, undelivered: &Undelivered) -> Response {
    let Undelivered { error, tried } = undelivered;
    let (status, title) = match error.kind {
        ErrorKind::HeadTimeout | ErrorKind::ConnectTimeout => {
            (StatusCode::GATEWAY_TIMEOUT, "504 Gateway Timeout")
        }
        ErrorKind::RequestBody => (StatusCode::BAD_REQUEST, "400 Bad Request"),
        ErrorKind::Connect | ErrorKind::Closed | ErrorKind::Protocol | ErrorKind::ResponseBody => {
            (StatusCode::BAD_GATEWAY, "502 Bad Gateway")
        }
    };
    let tried = if *tried > 1 { format!(" (the last of {tried} instances tried)") } else { String::new() };
    respond::text(status, format!("{title}: {name}: {error}{tried}\n"))
}

#[cfg(test)]
mod tests {
    use router_core::{Auth, Role, Site, Version};

    use super::*;

    #[test]
    fn services_keep_their_own_cookies_and_credentials() {
        let check =
            |token: Option<&str>, cookies: &[&[u8]], expect: Option<&[u8]>, keeps_authorization: bool| {
                let version = ["1", "open", "", ""].map(str::to_owned);
                let [version, variant, image_commit, bootstrap_id] = version;
                let site = Site {
                    ip: [127, 0, 0, 1].into(),
                    port: 80,
                    role: Role::Agent,
                    version: Version { version, variant, image_commit, bootstrap_id },
                    cluster_id: String::new(),
                    auth: Auth::new(token.map(str::to_owned)),
                };
                let mut headers = HeaderMap::new();
                headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic x"));
                for cookie in cookies {
                    headers.append(COOKIE, HeaderValue::from_bytes(cookie).unwrap());
                }
                hide_credentials(&mut headers, &Table::build(&Arc::new(site), None, None));
                assert_eq!(headers.get(COOKIE).map(HeaderValue::as_bytes), expect, "{cookies:?}");
                assert_eq!(headers.contains_key(AUTHORIZATION), keeps_authorization);
            };
        check(None, &[], None, true);
        check(Some("t"), &[b"a=b"], Some(b"a=b"), false);
        check(None, &[b"dcos-acs-auth-cookie=t"], None, true);
        check(None, &[b"a=\xff; dcos-acs-auth-cookie = t;c"], Some(b"a=\xff; c"), true);
        check(None, &[b"a=b", b"dcos-acs-info-cookie=i;c=d"], Some(b"a=b; c=d"), true);
        check(None, &[b"dcos-acs-auth-cookie2=t"], Some(b"dcos-acs-auth-cookie2=t"), true);
    }
}
