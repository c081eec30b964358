//! The refusal of requests that a foreign web page sent.
//!
//! Without a token anybody who can open a connection may run code here, and a browser opens
//! connections for every page it shows. Three things betray such a request: an `Origin` that is not
//! ours; (when the page's own name was made to resolve to our address) a `Host` that is not ours; and
//! for a script element, which sends no `Origin` and may read a document that comes as a script
//! (JSONP), `Sec-Fetch-Site` together with a `Referer` that is not ours. Programs send none of these
//! and are not hindered.
//!
//! Home has many ports, and anybody's page may stand on one of them: a task's own, a server under
//! development. Such a page may look (an answer without CORS headers stays closed to it), but it may
//! change nothing: a request of another origin that is no plain read passes only with a content type
//! for which a browser asks first (CORS preflight), and that is granted to nobody here.
//!
//! [`HostPolicy::check`] is a pure decision; [`guarded`] puts it before a handler. WebSocket
//! upgrades, which no browser rule restrains, are requests like any other here.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use base::Auth;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, ORIGIN, REFERER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use crate::respond;
use crate::server::{BoxFuture, Handler, Peer};
use crate::{Request, Response};

/// Which hosts are home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPolicy {
    names: BTreeSet<String>,
    domains: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

/// The content types that a page sends elsewhere only after a preflight, which nobody here answers as
/// a page would need it. `Content-Type` may name more after a `;`.
const PREFLIGHTED: [&str; 2] = ["application/json", "application/x-protobuf"];

/// A request from outside, with the reason in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{header} '{found}' is refused: allowed are {allowed}")]
pub struct Foreign {
    /// What betrayed it: the header `Host`, `Origin` or `Referer`, or a method together with the
    /// `Origin`.
    pub header: Cow<'static, str>,
    /// Its value.
    pub found: String,
    /// What would have been allowed.
    pub allowed: String,
}

impl Foreign {
    /// The 403 that says so.
    pub fn response(&self) -> Response {
        respond::text(StatusCode::FORBIDDEN, format!("{self}\n"))
    }
}

impl HostPolicy {
    /// Home are IP literals and `localhost` only.
    pub fn new() -> Self {
        HostPolicy::default()
    }

    /// [`HostPolicy::new`] with the name that this machine has now.
    pub fn of_this_machine() -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        HostPolicy::new().name(name.trim())
    }

    /// Adds a host name. An empty one is nothing.
    pub fn name(mut self, name: &str) -> Self {
        if !name.is_empty() {
            self.names.insert(normal(name).to_owned());
        }
        self
    }

    /// Adds a domain: it and every name below it are home (`mesos` allows `leader.mesos`).
    pub fn domain(mut self, domain: &str) -> Self {
        let domain = normal(domain).trim_start_matches('.').to_owned();
        if !domain.is_empty() {
            self.domains.insert(domain);
        }
        self
    }

    /// Adds an address that pages may come from, beside loopback and the address the request is for.
    pub fn address(mut self, address: IpAddr) -> Self {
        self.addresses.insert(address);
        self
    }

    /// Whether a request may pass.
    ///
    /// `Host` may be an IP literal, since no page can give itself one as a name. `Origin` may be an
    /// IP literal only if it is a loopback or configured address or the one in `Host`: anybody can
    /// serve a page from a bare address. Missing headers are fine, `Origin: null` (a sandboxed page
    /// or a local file) is not.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Foreign> {
        // A target in absolute form overrides `Host`, so it must be as good.
        if let Some(authority) = uri.authority() {
            self.check_host(authority.as_str())?;
        }
        for host in headers.get_all(HOST) {
            self.check_host(&String::from_utf8_lossy(host.as_bytes()))?;
        }
        for origin in headers.get_all(ORIGIN) {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            if !self.is_home_origin(&origin, headers) {
                return Err(self.foreign("Origin", &origin));
            }
        }
        self.check_embedding(headers)
    }

    /// Refuses what a page of another site embeds, such as a script. Following a link is no embedding, and
    /// what asks by script says its `Origin`.
    fn check_embedding(&self, headers: &HeaderMap) -> Result<(), Foreign> {
        let is = |name, value: &str| headers.get(name).is_some_and(|found| found == value);
        if !is("sec-fetch-site", "cross-site") || !is("sec-fetch-mode", "no-cors") {
            return Ok(());
        }
        let referer = headers.get(REFERER).map(HeaderValue::as_bytes).unwrap_or_default();
        let referer = String::from_utf8_lossy(referer);
        // Its origin: what comes before the path.
        let end = referer.match_indices('/').nth(2).map_or(referer.len(), |(at, _)| at);
        match self.is_home_origin(&referer[..end], headers) {
            true => Ok(()),
            false => Err(self.foreign("Referer", &referer)),
        }
    }

    /// [`HostPolicy::check`], and what another origin of home may do: read, or send what a browser
    /// asks leave for.
    pub fn check_request(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Foreign> {
        self.check(uri, headers)?;
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) || is_preflighted(headers) {
            return Ok(());
        }
        let host = headers.get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
        // A target in absolute form overrides `Host`.
        let own = uri.authority().map(|authority| authority.as_str()).or(host.as_deref()).unwrap_or_default();
        let mut origins =
            headers.get_all(ORIGIN).iter().map(|origin| String::from_utf8_lossy(origin.as_bytes()));
        match origins.find(|origin| !is_same_authority(origin, own)) {
            None => Ok(()),
            Some(origin) => Err(Foreign {
                header: Cow::Owned(format!("a {method} of another origin: Origin")),
                found: printable(&origin),
                allowed: format!(
                    "this server's own pages (host and port '{}') and the content types {}",
                    printable(own),
                    PREFLIGHTED.join(" and "),
                ),
            }),
        }
    }

    fn check_host(&self, authority: &str) -> Result<(), Foreign> {
        match host_of(authority) {
            Some(Host::Address(_)) => Ok(()),
            Some(Host::Name(name)) if self.is_home_name(&name) => Ok(()),
            _ => Err(self.foreign("Host", authority)),
        }
    }

    fn is_home_origin(&self, origin: &str, headers: &HeaderMap) -> bool {
        let Some((_scheme, authority)) = origin.split_once("://") else { return false };
        match host_of(authority) {
            None => false,
            Some(Host::Name(name)) => self.is_home_name(&name),
            Some(Host::Address(address)) => {
                let own = headers.get(HOST).and_then(|host| host_of(host.to_str().ok()?));
                address.is_loopback()
                    || self.addresses.contains(&address)
                    || own == Some(Host::Address(address))
            }
        }
    }

    fn is_home_name(&self, name: &str) -> bool {
        let below = |domain: &String| {
            name.strip_suffix(domain.as_str()).is_some_and(|head| head.is_empty() || head.ends_with('.'))
        };
        // Browsers resolve *.localhost to loopback without asking DNS (RFC 6761).
        name == "localhost"
            || name.ends_with(".localhost")
            || self.names.contains(name)
            || self.domains.iter().any(below)
    }

    fn foreign(&self, header: &'static str, found: &str) -> Foreign {
        let mut allowed = match header {
            "Host" => String::from("IP addresses, localhost"),
            _ => String::from("this address, loopback addresses, localhost"),
        };
        for name in &self.names {
            allowed = allowed + ", " + name;
        }
        for domain in &self.domains {
            allowed = allowed + ", " + domain + " and names below it";
        }
        Foreign { header: Cow::Borrowed(header), found: printable(found), allowed }
    }
}

/// What may be said back of a header.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}

/// Whether a browser sends this content type to another origin only with that one's leave. Of several
/// headers each must be such a one.
fn is_preflighted(headers: &HeaderMap) -> bool {
    let media_type = |value: &HeaderValue| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let essence = value.split(';').next().unwrap_or_default().trim();
        PREFLIGHTED.iter().any(|known| known.eq_ignore_ascii_case(essence))
    };
    headers.contains_key(CONTENT_TYPE) && headers.get_all(CONTENT_TYPE).iter().all(media_type)
}

/// Whether a page of `origin` belongs to the server that is called `own`, `host[:port]`. Who is called
/// by no port is called by its scheme's, and that is the page's scheme: behind somebody who ends TLS
/// we do not know our own.
fn is_same_authority(origin: &str, own: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default = match scheme.to_ascii_lowercase().as_str() {
        "https" => 443,
        "http" => 80,
        _ => return false,
    };
    let place = |authority: &str| Some((host_of(authority)?, port_of(authority).unwrap_or(default)));
    place(authority).is_some_and(|page| Some(page) == place(own))
}

/// The port in an authority that [`host_of`] understands.
fn port_of(authority: &str) -> Option<u16> {
    let (host, port) = authority.rsplit_once(':')?;
    match host.starts_with('[') && !host.ends_with(']') {
        true => None,
        false => port.parse().ok(),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
}

/// The host in `host[:port]`; `None` if it is neither an address nor a name.
fn host_of(authority: &str) -> Option<Host> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            (
                Host::Address(IpAddr::V6(address.parse().ok()?)),
                after.strip_prefix(':').or(after.is_empty().then_some("")),
            )
        }
        None => {
            let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
            let host = match host.parse() {
                Ok(address) => Host::Address(IpAddr::V4(address)),
                Err(_) => Host::Name(normal(host)),
            };
            (host, Some(port))
        }
    };
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
    };
    let valid = port?.bytes().all(|byte| byte.is_ascii_digit())
        && match &host {
            Host::Address(_) => true,
            Host::Name(name) => is_name(name),
        };
    valid.then_some(host)
}

/// Names are compared in lower case and without the root's dot.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Puts the policy before a handler: foreign requests get their 403 and never reach it. What comes
/// through a Unix socket passes: no browser connects to one.
pub fn guarded(policy: Arc<HostPolicy>, handler: Arc<dyn Handler>) -> Arc<dyn Handler> {
    Arc::new(Guarded { policy, handler })
}

/// Puts the check of the cluster's token before a handler: who does not show it gets 401 and never
/// reaches it. What comes through a Unix socket passes: who may is the file's affair.
pub fn authorized(auth: Auth, handler: Arc<dyn Handler>) -> Arc<dyn Handler> {
    match auth.is_on() {
        true => Arc::new(Authorized { auth, handler }),
        false => handler,
    }
}

struct Authorized {
    auth: Auth,
    handler: Arc<dyn Handler>,
}

impl Handler for Authorized {
    fn handle(&self, request: Request, peer: Peer) -> BoxFuture<'_, Response> {
        let text = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let allowed = match peer {
            Peer::Tcp { .. } => self.auth.allows(text(AUTHORIZATION), text(COOKIE)),
            Peer::Unix { .. } => true,
        };
        if allowed {
            return self.handler.handle(request, peer);
        }
        Box::pin(std::future::ready(token_expected()))
    }
}

/// The 401 to a request that should have shown the cluster's token.
pub fn token_expected() -> Response {
    let reason = "Expecting 'Authorization: token=<the cluster\'s token>'";
    let mut response = crate::respond::text(StatusCode::UNAUTHORIZED, reason);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("oauthjwt"));
    response
}

struct Guarded {
    policy: Arc<HostPolicy>,
    handler: Arc<dyn Handler>,
}

impl Handler for Guarded {
    fn handle(&self, request: Request, peer: Peer) -> BoxFuture<'_, Response> {
        let checked = match peer {
            Peer::Tcp { .. } => self.policy.check_request(request.method(), request.uri(), request.headers()),
            Peer::Unix { .. } => Ok(()),
        };
        match checked {
            Ok(()) => self.handler.handle(request, peer),
            Err(foreign) => {
                tracing::warn!(%peer, %foreign, "a foreign request");
                Box::pin(std::future::ready(foreign.response()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expect` is empty for a request that may pass, else the beginning of the refusal.
    fn check(host: Option<&str>, origin: Option<&str>, expect: &str) {
        let policy = HostPolicy::new()
            .name("Box.example.")
            .domain(".mesos")
            .domain("thisdcos.directory")
            .address([10, 0, 0, 9].into());
        let mut headers = HeaderMap::new();
        for (name, value) in [(HOST, host), (ORIGIN, origin)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        let found = policy.check(&Uri::from_static("/x"), &headers);
        let found = found.err().map_or(String::new(), |foreign| foreign.to_string());
        assert!(
            if expect.is_empty() { found.is_empty() } else { found.starts_with(expect) },
            "{host:?} {origin:?}: {found}"
        );
    }

    #[test]
    fn hosts() {
        for home in [
            "127.0.0.1",
            "127.0.0.1:80",
            "10.1.2.3:5050",
            "[::1]",
            "[::1]:80",
            "localhost",
            "LocalHost:8080",
            "a.localhost",
            "box.example",
            "BOX.example.:80",
            "mesos",
            "leader.mesos:5050",
            "a.b.thisdcos.directory",
        ] {
            check(Some(home), None, "");
        }
        check(None, None, "");
        for foreign in [
            "evil.example",
            "evil.example:80",
            "notmesos",
            "mesos.evil.example",
            "localhost.evil.example",
            "",
            "127.0.0.1.evil.example",
            "[::1",
            "[::1]x",
            "[evil]",
            "127.0.0.1:80:80",
            "a b",
            "user@localhost",
            "sub.box.example",
        ] {
            check(
                Some(foreign),
                None,
                &format!("Host '{foreign}' is refused: allowed are IP addresses, localhost"),
            );
        }
    }

    #[test]
    fn origins() {
        for home in [
            "http://localhost:8000",
            "https://127.0.7.1",
            "http://[::1]:1",
            "http://10.0.0.1:81",
            "http://10.0.0.9",
            "http://leader.mesos",
            "http://box.example",
        ] {
            check(Some("10.0.0.1:80"), Some(home), "");
        }
        for foreign in
            ["http://evil.example", "null", "", "http://10.0.0.2", "http://localhost.evil.example", "file://"]
        {
            check(
                Some("10.0.0.1:80"),
                Some(foreign),
                &format!("Origin '{foreign}' is refused: allowed are this"),
            );
        }
        check(None, Some("http://10.0.0.1"), "Origin");
    }

    #[test]
    fn pages_of_other_sites_embed_nothing() {
        let check = |site: &str, mode: &str, referer: Option<&str>, expect: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "127.0.0.2:5051".parse().unwrap());
            headers.insert("sec-fetch-site", site.parse().unwrap());
            headers.insert("sec-fetch-mode", mode.parse().unwrap());
            if let Some(referer) = referer {
                headers.insert(REFERER, referer.parse().unwrap());
            }
            let passes = HostPolicy::new().check(&Uri::from_static("/state?jsonp=f"), &headers);
            assert_eq!(passes.is_ok(), expect, "{site} {mode} {referer:?}");
        };
        check("cross-site", "no-cors", None, false);
        check("cross-site", "no-cors", Some("https://evil.example/"), false);
        check("cross-site", "no-cors", Some("https://evil.example/http://localhost/"), false);
        check("cross-site", "no-cors", Some("http://127.0.0.1:5050/a/b"), true);
        check("cross-site", "no-cors", Some("http://localhost"), true);
        check("same-origin", "no-cors", None, true);
        check("none", "navigate", None, true);
        check("cross-site", "navigate", Some("https://search.example/"), true);
    }

    #[test]
    fn pages_of_other_ports_write_nothing() {
        let policy = HostPolicy::new().domain("mesos");
        let check = |method: Method, host: &str, origin: &str, content_type: &str, expect: bool| {
            let mut headers = HeaderMap::new();
            for (name, value) in [(HOST, host), (ORIGIN, origin), (CONTENT_TYPE, content_type)] {
                if !value.is_empty() {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            let found = policy.check_request(&method, &Uri::from_static("/x"), &headers);
            assert_eq!(found.is_ok(), expect, "{method} {host} {origin} {content_type}: {found:?}");
        };
        let (own, page) = ("127.0.0.1:8080", "http://127.0.0.2:31000");
        for read in [Method::GET, Method::HEAD, Method::OPTIONS] {
            check(read, own, page, "", true);
        }
        for write in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            for other in [page, "http://localhost:3000", "http://127.0.0.1", "http://127.0.0.1:8081"] {
                for simple in ["", "text/plain", "text/plain; application/json", "multipart/form-data"] {
                    check(write.clone(), own, other, simple, false);
                }
                check(write.clone(), own, other, "application/json", true);
                check(write.clone(), own, other, "Application/JSON; charset=utf-8", true);
                check(write.clone(), own, other, "application/x-protobuf", true);
            }
            check(write.clone(), own, "http://127.0.0.1:8080", "text/plain", true);
            check(write.clone(), own, "", "text/plain", true);
        }
        // One authority in several spellings.
        let same = |host: &str, origin: &str, expect| check(Method::POST, host, origin, "", expect);
        same("localhost", "http://LocalHost:80", true);
        same("localhost:80", "http://localhost", true);
        same("localhost:443", "https://localhost", true);
        same("localhost", "https://localhost", true);
        same("Leader.mesos.:80", "http://leader.mesos", true);
        same("[::1]", "http://[::1]:80", true);
        same("[::1]:8080", "http://[::1]:8080", true);
        same("[::1]:8080", "http://[::1]", false);
        same("localhost", "http://localhost:8080", false);
        same("localhost:80", "https://localhost", false);
        same("localhost:8080", "http://127.0.0.1:8080", false);
        same("", "http://localhost", false);
    }

    #[test]
    fn a_refused_write_reads_well() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "127.0.0.1:8080".parse().unwrap());
        headers.insert(ORIGIN, "http://localhost:3000".parse().unwrap());
        let check = |headers: &HeaderMap| {
            HostPolicy::new().check_request(&Method::POST, &Uri::from_static("/x"), headers)
        };
        assert_eq!(
            check(&headers).unwrap_err().to_string(),
            "a POST of another origin: Origin 'http://localhost:3000' is refused: allowed are this server's own \
             pages (host and port '127.0.0.1:8080') and the content types application/json and \
             application/x-protobuf"
        );
        // One good content type beside another is not good.
        headers.append(CONTENT_TYPE, "application/json".parse().unwrap());
        assert_eq!(check(&headers), Ok(()));
        headers.append(CONTENT_TYPE, "text/plain".parse().unwrap());
        assert!(check(&headers).is_err());
    }

    #[tokio::test]
    async fn unix_sockets_are_beyond_the_reach_of_pages() {
        let ok = |_request: Request, _peer| async { respond::status(StatusCode::OK) };
        let handler = guarded(Arc::new(HostPolicy::new()), Arc::new(ok));
        let local = ([127, 0, 0, 1], 1).into();
        let peers = [
            (Peer::Unix { uid: 0, pid: None }, StatusCode::OK),
            (Peer::Tcp { remote: local, local }, StatusCode::FORBIDDEN),
        ];
        for (peer, status) in peers {
            let mut request = Request::default();
            request.headers_mut().insert(HOST, "agent.sock".parse().unwrap());
            assert_eq!(handler.handle(request, peer).await.status(), status);
        }
    }

    #[test]
    fn every_host_counts_and_the_target_too() {
        let policy = HostPolicy::new();
        let mut headers = HeaderMap::new();
        headers.append(HOST, "localhost".parse().unwrap());
        assert_eq!(policy.check(&Uri::from_static("http://127.0.0.1/"), &headers), Ok(()));
        assert_eq!(policy.check(&Uri::from_static("http://evil/"), &headers).unwrap_err().found, "evil");
        headers.append(HOST, "evil".parse().unwrap());
        assert_eq!(policy.check(&Uri::from_static("/"), &headers).unwrap_err().found, "evil");
    }
}
