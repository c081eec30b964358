//! The HTTP side of the master: routes, checks of a request's form, and answers. What a call does is
//! decided in the event loop.

mod answers;
mod checks;
mod operator;
mod routes;
mod scheduler;
mod v0;

use std::sync::Arc;
use std::time::Duration;

use api_mesos::Encoding;
use http_kit::{
    BoxFuture, Handler, Method, Peer, ReadBodyError, Request, Response, StatusCode, header, respond,
};
use prost::{Message, Name};
use tracing::Instrument;

use crate::event_loop::{Inbox, Unavailable};
use crate::identity::Identity;
use answers::{bad_request, not_found, refusal};
use routes::{Endpoint, endpoint};

/// The longest body of a call. An ACCEPT that launches a thousand tasks has about a megabyte.
const LONGEST_BODY: usize = 64 << 20;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers every request to the master.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) inbox: Inbox,
    pub(crate) identity: Arc<Identity>,
    pub(crate) pulse: link::Pulse,
    pub(crate) heartbeat_interval: Duration,
}

impl Handler for Api {
    fn handle(&self, request: Request, _peer: Peer) -> BoxFuture<'_, Response> {
        Box::pin(self.answer(request))
    }
}

impl Api {
    async fn answer(&self, request: Request) -> Response {
        let Some(endpoint) = endpoint(request.uri().path()) else { return not_found() };
        let answered = match endpoint {
            Endpoint::Scheduler => self.scheduler(request).await,
            Endpoint::Operator => self.operator(request).await,
            Endpoint::AgentLink => Ok(self.agent_link(request)),
            Endpoint::Teardown => self.teardown(request).await,
            Endpoint::BelowRedirect => Err(not_found()),
            Endpoint::Redirect => Ok(self.redirect()),
            Endpoint::Health => Ok(respond::status(StatusCode::OK)),
            Endpoint::Root => Ok(v0::index()),
            Endpoint::Help => Ok(v0::help()),
            document => self.document(document, &request).await,
        };
        answered.unwrap_or_else(|refusal| refusal)
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
        return Err(answers::only_post(request.method()));
    }
    let Some(content_type) = request.headers().get(header::CONTENT_TYPE) else {
        return Err(bad_request("Expecting 'Content-Type' to be present"));
    };
    let Some(encoding) = content_type.to_str().ok().and_then(Encoding::of_content_type) else {
        let reason = "Expecting 'Content-Type' of application/json or application/x-protobuf";
        return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    };
    let body = read_body(request).await?;
    match encoding {
        Encoding::Protobuf => mesos_proto::binary::decode_checked(&body)
            .map_err(|_| bad_request("Failed to parse body into Call protobuf")),
        Encoding::Json => {
            mesos_proto::json::from_json(&body).map_err(|error| bad_request(json_error(&error)))
        }
    }
}

async fn read_body(request: Request) -> Result<http_kit::Bytes, Response> {
    request.into_body().read_within(LONGEST_BODY, BODY_TIMEOUT).await.map_err(|error| {
        let status = match &error {
            ReadBodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ReadBodyError::Timeout(_) => StatusCode::REQUEST_TIMEOUT,
            ReadBodyError::Broken(_) => StatusCode::BAD_REQUEST,
        };
        refusal(status, error.to_string())
    })
}

/// Mesos reads the text first and makes a message of it then; its errors say which of both failed.
fn json_error(error: &mesos_proto::DecodeError) -> String {
    match error {
        mesos_proto::DecodeError::Syntax { .. } => format!("Failed to parse body into JSON: {error}"),
        other => format!("Failed to convert JSON into Call protobuf: {other}"),
    }
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
