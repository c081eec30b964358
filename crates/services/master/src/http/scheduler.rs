//! `/api/v1/scheduler`.

use base::Rng;
use http_kit::mesos::{bad_request, refusal};
use http_kit::{HeaderValue, Request, Response, StatusCode, header, respond};
use master_core::{Input, Reply};
use mesos_proto::v1::scheduler::{Call, call};
use tokio::sync::oneshot;

use super::{Api, answer_encoding, checks, read_call};
use crate::event_loop::Message;
use crate::event_stream::EventStream;

/// Ties a framework's calls to its stream of events.
const STREAM_ID: &str = "Mesos-Stream-Id";

impl Api {
    /// Mesos: Master::Http::scheduler. The checks that need the framework are the core's.
    pub(super) async fn scheduler(&self, request: Request) -> Result<Response, Response> {
        let accept = request.headers().get(header::ACCEPT).cloned();
        let stream_id =
            request.headers().get(STREAM_ID).map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
        let call: Call = read_call(request).await?;
        checks::scheduler_call(&call)
            .map_err(|error| bad_request(format!("Failed to validate scheduler::Call: {error}")))?;
        match call.r#type() {
            call::Type::Unknown => Err(respond::status(StatusCode::NOT_IMPLEMENTED)),
            call::Type::Subscribe => self.subscribe(call, accept, stream_id).await,
            kind => {
                if kind == call::Type::ReconcileOperations {
                    answer_encoding(accept.as_ref())?;
                }
                let principal = self.principal.as_ref().and_then(|principal| principal.name());
                self.rate_limits
                    .admit(principal)
                    .await
                    .map_err(|dropped| refusal(StatusCode::SERVICE_UNAVAILABLE, dropped.to_string()))?;
                let conn = self.inbox.conn();
                let input = Input::SchedulerCall {
                    conn,
                    call: Box::new(call),
                    stream_id,
                    principal: self.principal.clone(),
                };
                let (reply, answer) = oneshot::channel();
                self.inbox.send(Message::Call { input, conn, stream: None, reply }).await?;
                Ok(answer_to(answer.await.map_err(|_| crate::event_loop::Unavailable)?))
            }
        }
    }

    async fn subscribe(
        &self,
        call: Call,
        accept: Option<HeaderValue>,
        stream_id: Option<String>,
    ) -> Result<Response, Response> {
        let encoding = answer_encoding(accept.as_ref())?;
        if stream_id.is_some() {
            return Err(bad_request("Subscribe calls should not include the 'Mesos-Stream-Id' header"));
        }
        let stream_id = Rng::seeded(runtime::entropy()).uuid();
        let (conn, inbox) = (self.inbox.conn(), self.inbox.clone());
        let closed = async move { inbox.tell(Message::StreamClosed { conn }).await };
        let (stream, body) = EventStream::open(None, closed);
        let input = Input::SchedulerCall {
            conn,
            call: Box::new(call),
            stream_id: Some(stream_id.clone()),
            principal: self.principal.clone(),
        };
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Message::Call { input, conn, stream: Some((stream, encoding)), reply }).await?;
        match answer.await.map_err(|_| crate::event_loop::Unavailable)? {
            Reply::Streaming => {
                let mut response = Response::new(body);
                let headers = response.headers_mut();
                let id = HeaderValue::from_str(&stream_id).expect("a UUID is a header value");
                headers.insert(STREAM_ID, id);
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(encoding.media_type()));
                Ok(response)
            }
            refused => Ok(answer_to(refused)),
        }
    }
}

/// The core's answer as a response without a stream.
pub(super) fn answer_to(reply: Reply) -> Response {
    match reply {
        Reply::Ok | Reply::Streaming => respond::status(StatusCode::OK),
        Reply::Accepted => respond::status(StatusCode::ACCEPTED),
        Reply::BadRequest(reason) => bad_request(reason),
        Reply::Forbidden(reason) => refusal(StatusCode::FORBIDDEN, reason),
        Reply::NotFound(reason) => refusal(StatusCode::NOT_FOUND, reason),
        Reply::Conflict(reason) => refusal(StatusCode::CONFLICT, reason),
        Reply::NotImplemented(reason) => refusal(StatusCode::NOT_IMPLEMENTED, reason),
        Reply::Unavailable(reason) => refusal(StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}
