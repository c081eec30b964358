//! `/api/v1`, and `/teardown` that does the same as one of its calls.

use std::time::Duration;

use api_mesos::{Encoding, Query};
use http_kit::mesos::{bad_request, only_post, refusal};
use http_kit::{HeaderValue, Method, Request, Response, StatusCode, header, respond};
use master_core::Input;
use mesos_proto::v1::master::call::Teardown;
use mesos_proto::v1::master::response::{
    GetFlags, GetHealth, GetLoggingLevel, GetMaster, GetVersion, Type as Answer,
};
use mesos_proto::v1::master::{Call, Response as Facts, call};
use mesos_proto::v1::{Flag, FrameworkId};
use tokio::sync::oneshot;

use super::scheduler::answer_to;
use super::{Api, answer_encoding, checks, read_body, read_call};
use crate::event_loop::{Message, Unavailable, operator_heartbeat};
use crate::event_stream::EventStream;
use crate::operator_views::encode_as;
use crate::view::{OperatorView, View};
use api_mesos::version::version_info;

impl Api {
    /// Mesos: Master::Http::api.
    pub(super) async fn operator(&self, request: Request) -> Result<Response, Response> {
        let accept = request.headers().get(header::ACCEPT).cloned();
        let call: Call = read_call(request).await?;
        let kind = checks::operator_call(&call)
            .map_err(|error| bad_request(format!("Failed to validate master::Call: {error}")))?;
        let encoding = answer_encoding(accept.as_ref())?;
        use call::Type;
        match kind {
            Type::GetHealth | Type::GetVersion | Type::GetFlags | Type::GetMaster | Type::GetLoggingLevel => {
                Ok(encoded(encode_as(&self.fact(kind), encoding), encoding))
            }
            Type::GetState => self.part(OperatorView::State, encoding).await,
            Type::GetAgents => self.part(OperatorView::Agents, encoding).await,
            Type::GetFrameworks => self.part(OperatorView::Frameworks, encoding).await,
            Type::GetExecutors => self.part(OperatorView::Executors, encoding).await,
            Type::GetTasks => self.part(OperatorView::Tasks, encoding).await,
            Type::GetRoles => self.part(OperatorView::Roles, encoding).await,
            Type::GetMaintenanceSchedule => self.part(OperatorView::MaintenanceSchedule, encoding).await,
            Type::GetMaintenanceStatus => self.part(OperatorView::MaintenanceStatus, encoding).await,
            Type::GetOperations => self.part(OperatorView::Operations, encoding).await,
            Type::GetMetrics => self.part(OperatorView::Metrics, encoding).await,
            Type::SetLoggingLevel => {
                let set = call.set_logging_level.unwrap_or_default();
                self.logging.set(set.level, duration(set.duration.nanoseconds));
                Ok(respond::status(StatusCode::OK))
            }
            Type::Subscribe => self.follow(encoding).await,
            // Files of the master are its log, which goes to standard error here.
            Type::ListFiles | Type::ReadFile => Err(refusal(StatusCode::NOT_FOUND, "")),
            Type::Unknown => Err(respond::status(StatusCode::NOT_IMPLEMENTED)),
            // All others change something, or are refused by the core.
            _ => self.change(call).await,
        }
    }

    /// What does not change while this master runs.
    fn fact(&self, kind: call::Type) -> Facts {
        let mut answer = Facts::default();
        match kind {
            call::Type::GetVersion => {
                answer.r#type = Some(Answer::GetVersion as i32);
                answer.get_version = Some(GetVersion { version_info: version_info() });
            }
            call::Type::GetFlags => {
                let flag = |(name, value): &(&str, String)| Flag {
                    name: (*name).to_owned(),
                    value: Some(value.clone()),
                };
                answer.r#type = Some(Answer::GetFlags as i32);
                answer.get_flags = Some(GetFlags { flags: self.identity.flags.iter().map(flag).collect() });
            }
            call::Type::GetMaster => {
                answer.r#type = Some(Answer::GetMaster as i32);
                answer.get_master = Some(GetMaster {
                    master_info: Some(self.identity.info.clone()),
                    start_time: Some(self.identity.start_time.as_secs_f64()),
                    elected_time: Some(self.identity.elected_time.as_secs_f64()),
                });
            }
            call::Type::GetLoggingLevel => {
                answer.r#type = Some(Answer::GetLoggingLevel as i32);
                answer.get_logging_level = Some(GetLoggingLevel { level: self.logging.level() });
            }
            _ => {
                answer.r#type = Some(Answer::GetHealth as i32);
                answer.get_health = Some(GetHealth { healthy: true });
            }
        }
        answer
    }

    async fn part(&self, part: OperatorView, encoding: Encoding) -> Result<Response, Response> {
        Ok(encoded(self.inbox.read(View::Operator(part, encoding)).await?, encoding))
    }

    /// Has the core do what a call asks for.
    pub(super) async fn change(&self, call: Call) -> Result<Response, Response> {
        let conn = self.inbox.conn();
        let (reply, answer) = oneshot::channel();
        let input = Input::OperatorCall { conn, call: Box::new(call), principal: self.principal.clone() };
        self.inbox.send(Message::Call { input, conn, stream: None, reply }).await?;
        Ok(answer_to(answer.await.map_err(|_| Unavailable)?))
    }

    /// Mesos: Master::Http::subscribe.
    async fn follow(&self, encoding: Encoding) -> Result<Response, Response> {
        let (conn, inbox) = (self.inbox.conn(), self.inbox.clone());
        let closed = async move { inbox.tell(Message::StreamClosed { conn }).await };
        let heartbeat = (operator_heartbeat(encoding), self.heartbeat_interval);
        let (stream, body) = EventStream::open(Some(heartbeat), closed);
        self.inbox.send(Message::Follow { conn, encoding, stream }).await?;
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(encoding.media_type()));
        Ok(response)
    }

    /// `/teardown` with `frameworkId=..` as a form. Mesos: Master::Http::teardown.
    pub(super) async fn teardown(&self, request: Request) -> Result<Response, Response> {
        if request.method() != Method::POST {
            return Err(only_post(request.method()));
        }
        let body = read_body(request).await?;
        let query = Query::parse(&String::from_utf8_lossy(&body))
            .map_err(|error| bad_request(format!("Unable to decode query string: {error}")))?;
        let Some(id) = query.get("frameworkId") else {
            return Err(bad_request("Missing 'frameworkId' query parameter in the request body"));
        };
        let framework_id = FrameworkId { value: id.to_owned() };
        self.change(Call {
            r#type: Some(call::Type::Teardown.into()),
            teardown: Some(Teardown { framework_id }),
            ..Call::default()
        })
        .await
    }
}

/// A level that was asked for a negative time is over at once.
fn duration(nanoseconds: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

fn encoded(body: impl Into<http_kit::Bytes>, encoding: Encoding) -> Response {
    respond::bytes(StatusCode::OK, encoding.media_type(), body)
}
