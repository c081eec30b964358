//! The calls about sessions, answered as Mesos does.
#![allow(clippy::result_large_err, reason = "a refusal is a whole response, moved once")]

use std::sync::Arc;
use std::time::Duration;

use api_mesos::Encoding;
use base::ContainerId;
use http_kit::mesos::{bad_request, not_found, refusal};
use http_kit::{Body, HeaderValue, Response, StatusCode, header, respond};
use mesos_proto::v1;
use mesos_proto::v1::agent::{Call, Response as Answer, call, response};

use super::State;
use super::id::{SessionId, text};
use super::input::{self, Records};
use super::launch::{self, LaunchError};
use super::session::Session;
use crate::http::{Api, not_recovered};
use crate::lifecycle::wait_status;
use crate::media::{MESSAGE_CONTENT_TYPE, Media, RECORDIO};
use crate::nested;
use crate::operator::{self, Caller, encode};

/// Between two looks at a launch that is on its way.
const LAUNCH_PAUSE: Duration = Duration::from_millis(20);

/// Whether [`answer`] is for this call.
pub(crate) fn is_about_sessions(call: &Call) -> bool {
    use call::Type;
    nested::is_launch(call)
        || matches!(
            call.r#type(),
            Type::LaunchNestedContainerSession
                | Type::LaunchNestedContainer
                | Type::AttachContainerOutput
                | Type::WaitNestedContainer
                | Type::WaitContainer
                | Type::KillNestedContainer
                | Type::KillContainer
                | Type::RemoveNestedContainer
                | Type::RemoveContainer
        )
}

/// Answers a call that is the whole of its request.
pub(crate) async fn answer(api: &Arc<Api>, call: Call, accept: Media) -> Result<Response, Response> {
    if nested::is_launch(&call) {
        return nested::answer(api, call).await;
    }
    match call.r#type() {
        call::Type::LaunchNestedContainerSession => {
            let launch = call.launch_nested_container_session.unwrap_or_default();
            launch_session(api, launch, accept).await
        }
        call::Type::AttachContainerOutput => {
            let attach = call.attach_container_output.unwrap_or_default();
            let session = attached(api, &attach.container_id).await?;
            let body = session.attach(encoding(accept), false).ok_or_else(too_many_readers)?;
            Ok(stream(body, accept))
        }
        call::Type::WaitNestedContainer => {
            let id = call.wait_nested_container.unwrap_or_default().container_id;
            let exit = wait(api, &id).await?;
            let found = response::WaitNestedContainer { exit_status: exit, ..Default::default() };
            Ok(encode(
                &Answer {
                    r#type: Some(response::Type::WaitNestedContainer as i32),
                    wait_nested_container: Some(found),
                    ..Default::default()
                },
                encoding(accept),
            ))
        }
        call::Type::WaitContainer => {
            let id = call.wait_container.unwrap_or_default().container_id;
            let exit = wait(api, &id).await?;
            let found = response::WaitContainer { exit_status: exit, ..Default::default() };
            Ok(encode(
                &Answer {
                    r#type: Some(response::Type::WaitContainer as i32),
                    wait_container: Some(found),
                    ..Default::default()
                },
                encoding(accept),
            ))
        }
        call::Type::KillNestedContainer => {
            let kill = call.kill_nested_container.unwrap_or_default();
            kill_one(api, &kill.container_id, kill.signal)
        }
        call::Type::KillContainer => {
            let kill = call.kill_container.unwrap_or_default();
            kill_one(api, &kill.container_id, kill.signal)
        }
        call::Type::RemoveNestedContainer => {
            remove(api, &call.remove_nested_container.unwrap_or_default().container_id).await
        }
        call::Type::RemoveContainer => {
            remove(api, &call.remove_container.unwrap_or_default().container_id).await
        }
        _ => Err(not_found()),
    }
}

/// Answers a request that is a stream of records.
pub(crate) async fn answer_stream(
    api: &Arc<Api>,
    body: Body,
    encoding: Encoding,
    accept: Media,
    caller: Caller,
) -> Result<Response, Response> {
    let mut records = Records::new(body, encoding);
    let answered = match session_of(api, &mut records, accept, caller).await {
        Ok(session) => return Ok(input::attach(&session, records).await),
        Err(refused) => refused,
    };
    records.discard().await;
    Err(answered)
}

async fn session_of(
    api: &Arc<Api>,
    records: &mut Records,
    accept: Media,
    caller: Caller,
) -> Result<Arc<Session>, Response> {
    let first = records.first().await?;
    operator::validate(&first)?;
    let kind = first.r#type();
    if kind != call::Type::AttachContainerInput {
        let text =
            format!("Streaming 'Content-Type' {RECORDIO} is not supported for {} call", kind.as_str_name());
        return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    operator::takes_answer(kind, accept)?;
    operator::permit(api, &first, caller).await?;
    let attach = first.attach_container_input.unwrap_or_default();
    attached(api, &attach.container_id.unwrap_or_default()).await
}

/// Launches a session and answers with its output. If whoever asked has gone away meanwhile, the session
/// ends.
async fn launch_session(
    api: &Arc<Api>,
    launch: call::LaunchNestedContainerSession,
    accept: Media,
) -> Result<Response, Response> {
    let (api, encoding) = (Arc::clone(api), encoding(accept));
    // In a task of its own: this future is dropped when the client closes its connection, and then nobody
    // would know of a process that is just being started.
    let launched = tokio::spawn(async move {
        let session = launch::launch(&api, launch).await?;
        // Dropping the body, here or where it is awaited, ends the session.
        Ok(session.attach(encoding, true))
    });
    match launched.await {
        Ok(Ok(Some(body))) => Ok(stream(body, accept)),
        Ok(Ok(None)) => Err(too_many_readers()),
        Ok(Err(LaunchError::Exists)) => Err(respond::status(StatusCode::ACCEPTED)),
        Ok(Err(error @ LaunchError::Refused(_))) => Err(bad_request(error.to_string())),
        Ok(Err(LaunchError::Stopping)) | Err(_) => Err(not_recovered()),
    }
}

fn encoding(media: Media) -> Encoding {
    let (Media::Whole(encoding) | Media::Records(encoding)) = media;
    encoding
}

fn stream(body: Body, accept: Media) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    match accept {
        Media::Whole(encoding) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(encoding.media_type()));
        }
        Media::Records(encoding) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(RECORDIO));
            headers.insert(MESSAGE_CONTENT_TYPE, HeaderValue::from_static(encoding.media_type()));
        }
    }
    response
}

fn too_many_readers() -> Response {
    refusal(StatusCode::TOO_MANY_REQUESTS, "too many are attached to this session's output already")
}

fn cannot_be_found(id: &v1::ContainerId) -> Response {
    refusal(StatusCode::NOT_FOUND, format!("Container {} cannot be found", text(id)))
}

/// The running session that is attached to (Mesos: `MesosContainerizer::attach`).
async fn attached(api: &Arc<Api>, id: &v1::ContainerId) -> Result<Arc<Session>, Response> {
    let session_id = SessionId::of(id);
    let state = session_id.as_ref().and_then(|session_id| api.sessions.find(session_id));
    if let Some(session) = state.and_then(|state| state.running()).filter(|session| !session.is_over()) {
        return Ok(session);
    }
    let container =
        session_id.as_ref().map_or_else(|| ContainerId::from(id.value.clone()), |id| id.parent.clone());
    if nested::find(&api.nested, id).is_some_and(|nested| nested.pid().is_some()) {
        let text = "I/O switchboard server was disabled for this container";
        return Err(refusal(StatusCode::INTERNAL_SERVER_ERROR, text));
    }
    let is_known = api.mailbox.read(move |agent| agent.executor_in(&container).is_some()).await;
    if !is_known.map_err(|_| not_recovered())? {
        return Err(cannot_be_found(id));
    }
    let why = match session_id {
        Some(session) => format!("Unknown container {session}: it does not run, or does not run any more"),
        None => "I/O switchboard server was disabled for this container".to_owned(),
    };
    Err(refusal(StatusCode::INTERNAL_SERVER_ERROR, why))
}

/// How a container in a container ended, as wait(2) gives it.
async fn wait(api: &Api, id: &v1::ContainerId) -> Result<Option<i32>, Response> {
    if let Some(container) = nested::find(&api.nested, id) {
        return Ok(container.wait().await);
    }
    let sessions = &api.sessions;
    let session_id = SessionId::of(id).ok_or_else(|| cannot_be_found(id))?;
    loop {
        match sessions.find(&session_id) {
            None => return Err(cannot_be_found(id)),
            Some(State::Over { exit, .. }) => return Ok(wait_status(exit)),
            Some(State::Running(session)) => return Ok(wait_status(session.exit().await)),
            // A launch takes milliseconds, and has its own timeout.
            Some(State::Launching) => tokio::time::sleep(LAUNCH_PAUSE).await,
        }
    }
}

fn kill_one(api: &Api, id: &v1::ContainerId, signal: Option<i32>) -> Result<Response, Response> {
    if let Some(container) = nested::find(&api.nested, id) {
        return nested::kill(&api.nested, &container, signal);
    }
    let running = SessionId::of(id).and_then(|id| api.sessions.find(&id)).and_then(|state| state.running());
    let Some(session) = running.filter(|session| !session.is_over()) else {
        let text = format!("Container '{}' cannot be found (or is already killed)", text(id));
        return Err(refusal(StatusCode::NOT_FOUND, text));
    };
    match signal {
        None => session.end(),
        Some(signal) => session.signal(signal).map_err(|why| bad_request(format!("'signal': {why}")))?,
    }
    Ok(respond::status(StatusCode::OK))
}

async fn remove(api: &Arc<Api>, id: &v1::ContainerId) -> Result<Response, Response> {
    if SessionId::of(id).is_none_or(|id| api.sessions.remove(&id)) {
        return nested::remove(api, id).await;
    }
    Err(refusal(StatusCode::INTERNAL_SERVER_ERROR, "Nested container has not terminated yet"))
}
