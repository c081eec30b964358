//! What the agent answers over HTTP. Routes exist with and without the prefix `/slave(1)`, the name of
//! the agent's process in Mesos.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use api_mesos::{Authentication, Query, Unproved, logging, version};
use base::Mono;
use containers::Containers;
use http_kit::guard::token_expected;
use http_kit::mesos::{bad_request, document, not_found, refusal, unauthorized};
use http_kit::{
    BoxFuture, Bytes, Handler, HeaderMap, HeaderName, HeaderValue, Method, Peer, Request, Response,
    StatusCode, header, mesos, respond,
};

use tokio::sync::Semaphore;

use crate::files::Files;
use crate::mailbox::Mailbox;
use crate::nested::Nested;
use crate::provision::Provider;
use crate::sessions::Sessions;
use crate::{Config, executor_api, files, forward, images_api, metrics, operator, state, usage};

/// The longest body that any call may have.
const LONGEST_BODY: usize = 4 << 20;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// What answering takes.
pub(crate) struct Api {
    pub(crate) config: Arc<Config>,
    pub(crate) authentication: Authentication,
    pub(crate) containers: Containers,
    pub(crate) provider: Arc<Provider>,
    pub(crate) mailbox: Mailbox,
    pub(crate) files: Files,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) nested: Arc<Nested>,
    /// Connections that may still be forwarded to tasks.
    pub(crate) forwards: Arc<Semaphore>,
    /// Where the agent listens, as `ip:port`.
    pub(crate) address: String,
    /// Seconds since the epoch.
    pub(crate) start_time: f64,
    /// The same moment on the other clock.
    pub(crate) started: Mono,
    /// How long reading the records took, in seconds.
    pub(crate) recovery_time: f64,
    /// Records that could not be read at the start.
    pub(crate) recovery_errors: u64,
    /// Tries to end a container that failed.
    pub(crate) destroy_errors: Arc<AtomicU64>,
    /// The number of the next connection of an executor.
    pub(crate) connections: AtomicU64,
}

/// The endpoint on TCP.
pub(crate) struct Endpoint(pub(crate) Arc<Api>);

impl Handler for Endpoint {
    fn handle(&self, request: Request, peer: Peer) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            let decoded = http_kit::target::decode(request.uri().path());
            match refused(&self.0.authentication, local_path(&decoded), request.headers()) {
                Some(refused) => refused,
                None => route(&self.0, request, peer).await,
            }
        })
    }
}

/// The endpoint on the Unix socket, for executors only.
pub(crate) struct ExecutorEndpoint(pub(crate) Arc<Api>);

impl Handler for ExecutorEndpoint {
    fn handle(&self, request: Request, peer: Peer) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            match local_path(request.uri().path()) {
                "/api/v1/executor" => executor_api::answer(&self.0, request, &peer).await,
                "/api/v1" => match peer {
                    Peer::Unix { uid, .. } => {
                        operator::answer(&self.0, request, operator::Caller::Local { uid }).await
                    }
                    _ => not_found(),
                },
                _ => not_found(),
            }
        })
    }
}

/// Documents. Mesos: READONLY_HTTP_AUTHENTICATION_REALM.
pub(crate) const READONLY: &str = "mesos-agent-readonly";
/// What changes something. Mesos: READWRITE_HTTP_AUTHENTICATION_REALM.
pub(crate) const READWRITE: &str = "mesos-agent-readwrite";

/// The realm in which callers have to prove who they are, if that is asked for. Mesos: Slave::initialize.
fn realm(path: &str) -> Option<&'static str> {
    match path {
        "/" | "/help" | "/health" | "/version" | "/system/stats.json" | "/api/v1/executor" => None,
        "/api/v1" | "/dcos/port-forward" | "/logging/toggle" => Some(READWRITE),
        _ if logging::profiler(path).is_some() => Some(READWRITE),
        _ if images_api::is_about_images(path) => Some(READWRITE),
        _ => Some(READONLY),
    }
}

/// The answer to who has to prove who they are and does not.
fn refused(authentication: &Authentication, path: &str, headers: &HeaderMap) -> Option<Response> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (authorization, cookie) = (text(header::AUTHORIZATION), text(header::COOKIE));
    match authentication.principal(realm(path), authorization, cookie) {
        Ok(_) => None,
        Err(Unproved::Token) => Some(token_expected()),
        Err(Unproved::Basic(realm)) => Some(unauthorized("Basic", realm)),
    }
}

/// The path without the prefix and without a slash at its end.
fn local_path(path: &str) -> &str {
    let path = path.strip_prefix("/slave(1)").unwrap_or(path);
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    if path.is_empty() { "/" } else { path }
}

async fn route(api: &Arc<Api>, request: Request, peer: Peer) -> Response {
    // Clients write the prefix with and without escapes.
    let decoded = http_kit::target::decode(request.uri().path()).into_owned();
    let path = local_path(&decoded).to_owned();
    match &*path {
        "/api/v1/executor" => return executor_api::answer(api, request, &peer).await,
        "/api/v1" => return operator::answer(api, request, operator::Caller::Operator).await,
        "/dcos/port-forward" => return forward::answer(api, request).await,
        _ => {}
    }
    let query = match Query::parse(request.uri().query().unwrap_or_default()) {
        Ok(query) => query,
        Err(reason) => return bad_request(reason),
    };
    if images_api::is_about_images(&path) {
        return images_api::answer(api, &path, &query, request).await;
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads {
        return match is_known(&path) {
            true => respond::method_not_allowed(request.method(), &[Method::GET, Method::HEAD]),
            false => not_found(),
        };
    }
    let jsonp = match query.jsonp() {
        Ok(jsonp) => jsonp,
        Err(reason) => return bad_request(reason),
    };
    match &*path {
        "/health" => respond::status(StatusCode::OK),
        "/version" => document(version::document_of_version(), jsonp),
        "/flags" => document(state::flags(api), jsonp),
        "/state" | "/state.json" => answer(state::state(api).await, jsonp),
        "/containers" | "/monitor/statistics" | "/monitor/statistics.json" => {
            match usage::Selection::of(&query) {
                Ok(only) => answer(usage::containers(api, path == "/containers", only).await, jsonp),
                Err(text) => bad_request(text),
            }
        }
        "/logging/toggle" => match logging::toggle(&query) {
            Ok(None) => refusal(StatusCode::OK, format!("{}\n", api.config.logging.level())),
            Ok(Some((level, duration))) => {
                api.config.logging.set(level, duration);
                respond::status(StatusCode::OK)
            }
            Err(reason) => bad_request(reason),
        },
        "/metrics/snapshot" => match logging::timeout(&query) {
            Ok(_) => answer(metrics::snapshot(api).await, jsonp),
            Err(reason) => bad_request(reason),
        },
        "/system/stats.json" => document(metrics::system(), jsonp),
        "/files/browse" | "/files/browse.json" => files::browse(api, &query).await,
        "/files/read" | "/files/read.json" => files::read(api, &query).await,
        "/files/download" | "/files/download.json" => files::download(api, &query).await,
        "/files/debug" | "/files/debug.json" => files::debug(api, &query).await,
        path => match logging::profiler(path) {
            Some(Ok(state)) => document(state, jsonp),
            Some(Err(reason)) => bad_request(reason),
            None => not_found(),
        },
    }
}

fn is_known(path: &str) -> bool {
    matches!(
        path,
        "/health" | "/version" | "/flags" | "/state" | "/state.json" | "/containers" | "/metrics/snapshot"
    ) || path.starts_with("/files/")
        || path.starts_with("/monitor/")
}

fn answer(document_or_stopping: Result<Vec<u8>, crate::mailbox::Stopping>, jsonp: Option<&str>) -> Response {
    match document_or_stopping {
        Ok(body) => document(body, jsonp),
        Err(_) => not_recovered(),
    }
}

/// 503 until the event loop runs, and again when it ends.
pub(crate) fn not_recovered() -> Response {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "Agent has not finished recovery")
}

/// A header's value, if it is there and text.
pub(crate) fn header_text(request: &Request, name: HeaderName) -> Option<String> {
    Some(request.headers().get(name)?.to_str().ok()?.to_owned())
}

/// The whole body.
///
/// # Errors
/// The answer that says why not.
pub(crate) async fn read_body(request: Request) -> Result<Bytes, Response> {
    mesos::read_body(request, LONGEST_BODY, BODY_TIMEOUT).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_found_under_both_names() {
        let check = |path, local| assert_eq!(local_path(path), local, "{path}");
        check("/slave(1)/state", "/state");
        check("/state", "/state");
        check("/state/", "/state");
        check("/slave(1)", "/");
        check("/", "/");
        check("/api/v1/", "/api/v1");
    }
}
