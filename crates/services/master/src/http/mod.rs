//! The HTTP side of the master: routes, checks of a request's form, and answers. What a call does is
//! decided in the event loop.

mod checks;
mod local;
mod operator;
pub(crate) mod routes;
mod scheduler;
mod v0;
mod v0_maintenance;
mod v0_resources;

use std::sync::Arc;
use std::time::Duration;

use api_mesos::{Authentication, Encoding, Unproved};
use base::Principal;
use http_kit::guard::token_expected;
use http_kit::mesos::{self, bad_request, not_found, refusal, unauthorized};
use http_kit::{
    BoxFuture, Budget, Bytes, Handler, HeaderMap, HeaderValue, Method, Peer, Request, Reserved, Response,
    StatusCode, header, respond,
};
use prost::{Message, Name};
use runtime::Logging;
use tracing::Instrument;

use crate::event_loop::{Inbox, Unavailable};
use crate::identity::Identity;
use crate::rate_limits::RateLimits;
use routes::{Endpoint, endpoint};

/// The longest body of a call. An ACCEPT that launches a thousand tasks has about a megabyte.
const LONGEST_BODY: usize = 64 << 20;
/// What the bodies of all requests that are read at once may hold together.
pub(crate) const ALL_BODIES: usize = 512 << 20;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers every request to the master.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) inbox: Inbox,
    pub(crate) authentication: Arc<Authentication>,
    pub(crate) logging: Logging,
    pub(crate) identity: Arc<Identity>,
    pub(crate) pulse: link::Pulse,
    pub(crate) heartbeat_interval: Duration,
    /// What the bodies of all requests together may hold.
    pub(crate) bodies: Budget,
    pub(crate) rate_limits: Arc<RateLimits>,
    /// Who sent the request that is answered, where that was proved.
    pub(crate) principal: Option<Principal>,
}

impl Handler for Api {
    fn handle(&self, request: Request, _peer: Peer) -> BoxFuture<'_, Response> {
        Box::pin(self.answer(request))
    }
}

impl Api {
    async fn answer(&self, mut request: Request) -> Response {
        request.extensions_mut().insert(self.bodies.clone());
        let endpoint = endpoint(request.uri().path());
        let answered = match self.proved(endpoint.and_then(Endpoint::realm), request.headers()) {
            Ok(None) => self.dispatch(endpoint, request).await,
            Ok(principal) => Api { principal, ..self.clone() }.dispatch(endpoint, request).await,
            Err(Unproved::Token) => Err(token_expected()),
            Err(Unproved::Basic(realm)) => Err(unauthorized("Basic", realm)),
        };
        answered.unwrap_or_else(|refusal| refusal)
    }

    async fn dispatch(&self, endpoint: Option<Endpoint>, request: Request) -> Result<Response, Response> {
        let endpoint = endpoint.ok_or_else(not_found)?;
        match endpoint {
            Endpoint::Scheduler => self.scheduler(request).await,
            Endpoint::Operator => self.operator(request).await,
            Endpoint::AgentLink => Ok(self.agent_link(request)),
            Endpoint::Teardown => self.teardown(request).await,
            Endpoint::MaintenanceSchedule => self.maintenance_schedule(request).await,
            Endpoint::MaintenanceStatus => self.maintenance_status(request).await,
            Endpoint::MachineDown => self.machine_down(request).await,
            Endpoint::MachineUp => self.machine_up(request).await,
            Endpoint::Reserve => self.reserve(request).await,
            Endpoint::Unreserve => self.unreserve(request).await,
            Endpoint::BelowRedirect => Err(not_found()),
            Endpoint::Redirect => Ok(self.redirect()),
            Endpoint::Logging => self.toggle_logging(&request),
            Endpoint::SystemStats | Endpoint::Profiler | Endpoint::Files => self.local(endpoint, &request),
            Endpoint::Health => Ok(respond::status(StatusCode::OK)),
            Endpoint::Root => Ok(v0::index()),
            Endpoint::Help => Ok(v0::help()),
            document => self.document(document, &request).await,
        }
    }

    /// Who sends a request, as far as it has to say.
    fn proved(
        &self,
        realm: Option<&'static str>,
        headers: &HeaderMap,
    ) -> Result<Option<Principal>, Unproved> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        self.authentication
            .principal(realm, text(header::AUTHORIZATION), text(header::COOKIE))
            .map(|name| name.map(Principal::named))
    }

    /// The leading master, which is this one.
    fn redirect(&self) -> Response {
        let location = format!("//{}:{}", self.identity.hostname, self.identity.address.port());
        respond::redirect(StatusCode::TEMPORARY_REDIRECT, &location)
    }

    /// An agent asks for its link.
    fn agent_link(&self, mut request: Request) -> Response {
        let Some(upgrade) = http_kit::upgrade::take(&mut request, agent_link::UPGRADE) else {
            let reason = format!("Expecting an upgrade to '{}'", agent_link::UPGRADE);
            return refusal(StatusCode::UPGRADE_REQUIRED, reason);
        };
        let (inbox, pulse) = (self.inbox.clone(), self.pulse);
        tokio::spawn(crate::links::serve(upgrade, pulse, inbox).in_current_span());
        http_kit::upgrade::accept(agent_link::UPGRADE)
    }
}

/// The loop is gone or too busy to listen.
impl From<Unavailable> for Response {
    fn from(_: Unavailable) -> Response {
        refusal(StatusCode::SERVICE_UNAVAILABLE, "The master is too busy or stopping")
    }
}

/// The call in a request's body, with Mesos' checks of its form in Mesos' order: method, content type,
/// syntax. Mesos: Master::Http::api, Master::Http::scheduler.
async fn read_call<M: Message + Name + Default>(request: Request) -> Result<M, Response> {
    if request.method() != Method::POST {
        return Err(mesos::only_post(request.method()));
    }
    let Some(content_type) = request.headers().get(header::CONTENT_TYPE) else {
        return Err(bad_request("Expecting 'Content-Type' to be present"));
    };
    let Some(encoding) = content_type.to_str().ok().and_then(Encoding::of_content_type) else {
        let reason = "Expecting 'Content-Type' of application/json or application/x-protobuf";
        return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    };
    let (body, _held) = read_reserved(request).await?;
    encoding.decode_call(&body).map_err(bad_request)
}

async fn read_body(request: Request) -> Result<Bytes, Response> {
    read_reserved(request).await.map(|(body, _)| body)
}

/// A request's body, which counts for the budget of all bodies until it is let go.
async fn read_reserved(request: Request) -> Result<(Bytes, Reserved), Response> {
    let budget = request.extensions().get().cloned().unwrap_or_else(|| Budget::new(LONGEST_BODY));
    mesos::read_body_from(&budget, request, LONGEST_BODY, BODY_TIMEOUT).await
}

/// The encoding that the client takes for an answer.
#[allow(clippy::result_large_err, reason = "a refusal is a whole response, moved once")]
fn answer_encoding(accept: Option<&header::HeaderValue>) -> Result<Encoding, Response> {
    let accept = accept.map(|accept| accept.to_str().unwrap_or(""));
    Encoding::for_answer(accept).ok_or_else(|| {
        let reason = "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'";
        refusal(StatusCode::NOT_ACCEPTABLE, reason)
    })
}
