//! The v1 executor API, on the Unix socket and on TCP alike (Mesos: `Http::executor`).

use std::sync::atomic::Ordering;

use agent_core::{Agent, ConnectionId, Executor, Input, MemoryReport, Refusal};
use api_mesos::Encoding;
use base::{ExecutorId, FrameworkId, TaskId};
use http_kit::mesos::{bad_request, only_post, refusal};
use http_kit::{Method, Peer, Request, Response, StatusCode, header, respond};
use mesos_proto::v1::executor::{Call, call};
use mesos_proto::v1::task_status::Source;
use mesos_proto::v1::{TaskState, TaskStatus};

use crate::executor_stream::ExecutorStream;
use crate::http::{Api, header_text, read_body};
use crate::lifecycle::memory_report;
use crate::mailbox::Command;
use crate::sandbox;

/// Answers one call.
pub(crate) async fn answer(api: &Api, request: Request, peer: &Peer) -> Response {
    match call(api, request, peer).await {
        Ok(response) | Err(response) => response,
    }
}

async fn call(api: &Api, request: Request, peer: &Peer) -> Result<Response, Response> {
    if request.method() != Method::POST {
        return Err(only_post(request.method()));
    }
    let content_type = header_text(&request, header::CONTENT_TYPE)
        .ok_or_else(|| bad_request("Expecting 'Content-Type' to be present"))?;
    let encoding = Encoding::of_content_type(&content_type).ok_or_else(|| {
        let text = "Expecting 'Content-Type' of application/json or application/x-protobuf";
        refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    })?;
    let accept = header_text(&request, header::ACCEPT);
    let body = read_body(request).await?;
    let call: Call = encoding.decode_call(&body).map_err(bad_request)?;
    if let Some(what) = invalid(&call) {
        return Err(bad_request(format!("Failed to validate Executor::Call: {what}")));
    }
    if call.r#type() == call::Type::Heartbeat {
        return Ok(respond::status(StatusCode::ACCEPTED));
    }
    let answer_encoding = Encoding::for_answer(accept.as_deref());
    let subscribes = call.r#type() == call::Type::Subscribe;
    if subscribes && answer_encoding.is_none() {
        let text = "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'";
        return Err(refusal(StatusCode::NOT_ACCEPTABLE, text));
    }
    let framework_id = FrameworkId::new(&call.framework_id.value);
    let executor_id = ExecutorId::new(&call.executor_id.value);
    admit(api, &framework_id, &executor_id, subscribes).await?;
    check_user(api, &framework_id, &executor_id, peer).await?;
    carry_out(api, call, framework_id, executor_id, answer_encoding.unwrap_or(Encoding::Json)).await
}

/// Mesos: `common::validation::validateExecutorCall`.
fn invalid(call: &Call) -> Option<String> {
    if call.r#type.is_none() {
        return Some("Expecting 'type' to be present".to_owned());
    }
    let absent = match call.r#type() {
        call::Type::Subscribe if call.subscribe.is_none() => "subscribe",
        call::Type::Message if call.message.is_none() => "message",
        call::Type::Update => match &call.update {
            None => "update",
            Some(update) => return invalid_status(&update.status, call),
        },
        _ => return None,
    };
    Some(format!("Expecting '{absent}' to be present"))
}

fn invalid_status(status: &TaskStatus, call: &Call) -> Option<String> {
    let (executor_id, framework_id) = (&call.executor_id.value, &call.framework_id.value);
    let uuid = match &status.uuid {
        None => return Some("Expecting 'uuid' to be present".to_owned()),
        Some(uuid) => uuid,
    };
    if uuid.len() != 16 {
        return Some("Not a valid UUID".to_owned());
    }
    if let Some(other) = status.executor_id.as_ref().filter(|id| id.value != *executor_id) {
        let other = &other.value;
        return Some(format!(
            "ExecutorID in Call: {executor_id} does not match ExecutorID in TaskStatus: {other}"
        ));
    }
    if status.source() != Source::Executor {
        return Some(format!(
            "Received Call from executor {executor_id} of framework {framework_id} with invalid source, \
             expecting 'SOURCE_EXECUTOR'"
        ));
    }
    (status.state() == TaskState::TaskStaging).then(|| {
        format!(
            "Received TASK_STAGING from executor {executor_id} of framework {framework_id} which is not allowed"
        )
    })
}

async fn admit(
    api: &Api,
    framework_id: &FrameworkId,
    executor_id: &ExecutorId,
    subscribes: bool,
) -> Result<(), Response> {
    let (framework_id, executor_id) = (framework_id.clone(), executor_id.clone());
    let admitted = api.mailbox.read(move |agent| agent.admit(&framework_id, &executor_id, subscribes)).await;
    let refused = match admitted {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(refused)) => refused,
        Err(_) => Refusal::Recovering,
    };
    Err(refusal(
        match refused {
            Refusal::Recovering => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::UnknownFramework | Refusal::UnknownExecutor => StatusCode::BAD_REQUEST,
            Refusal::NotSubscribed => StatusCode::FORBIDDEN,
        },
        refused.text(),
    ))
}

/// Everybody can connect to the Unix socket, because tasks of all users do; but only the user an executor
/// runs as may speak for it. Who comes over TCP has no user.
async fn check_user(
    api: &Api,
    framework_id: &FrameworkId,
    executor_id: &ExecutorId,
    peer: &Peer,
) -> Result<(), Response> {
    let Peer::Unix { uid, .. } = *peer else { return Ok(()) };
    let (framework_id, executor_id) = (framework_id.clone(), executor_id.clone());
    check_user_of(api, uid, move |agent| agent.executor(&framework_id, &executor_id)).await
}

/// Whether a process of this user may do what the agent itself may.
pub(crate) fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Only the user an executor runs as, besides root and the agent's own, may speak for it.
pub(crate) async fn check_user_of(
    api: &Api,
    uid: u32,
    find: impl FnOnce(&Agent) -> Option<&Executor> + Send + 'static,
) -> Result<(), Response> {
    if is_trusted(uid) {
        return Ok(());
    }
    let user = api.mailbox.read(move |agent| {
        let executor = find(agent).filter(|executor| !executor.is_for_command())?;
        let framework = agent.frameworks().find(|framework| framework.id() == *executor.framework_id())?;
        let command = executor.info().command.as_ref();
        let pid = executor.process().map(|process| process.pid);
        Some((sandbox::user_of(framework.info(), command), pid))
    });
    let known = user.await.ok().flatten();
    // An image may know other users than the host.
    let is_it = known.is_some_and(|(name, pid)| match pid.and_then(owner_of) {
        Some(owner) => owner == uid,
        None => host::User::by_name(&name).is_some_and(|user| user.uid == uid),
    });
    match is_it {
        true => Ok(()),
        false => Err(refusal(StatusCode::FORBIDDEN, "The executor runs as another user")),
    }
}

/// The user that a process runs as.
fn owner_of(pid: u32) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    Some(std::fs::metadata(format!("/proc/{pid}")).ok()?.uid())
}

async fn carry_out(
    api: &Api,
    call: Call,
    framework_id: FrameworkId,
    executor_id: ExecutorId,
    encoding: Encoding,
) -> Result<Response, Response> {
    let stopping = |_| refusal(StatusCode::SERVICE_UNAVAILABLE, Refusal::Recovering.text());
    let input = match call.r#type() {
        call::Type::Subscribe => {
            let subscribe = call.subscribe.unwrap_or_default();
            let updates: Vec<TaskStatus> =
                subscribe.unacknowledged_updates.into_iter().map(|update| update.status).collect();
            let memory = memory(api, &framework_id, &executor_id, updates.iter()).await;
            let connection = ConnectionId(api.connections.fetch_add(1, Ordering::Relaxed));
            let input = Input::Subscribe {
                connection,
                framework_id,
                executor_id,
                unacknowledged_updates: updates,
                unacknowledged_tasks: subscribe
                    .unacknowledged_tasks
                    .iter()
                    .map(|task| TaskId::new(&task.task_id.value))
                    .collect(),
                memory,
            };
            let (stream, body) = ExecutorStream::open(connection, encoding, api.mailbox.clone());
            api.mailbox.send(Command::Subscribe(input, stream)).await.map_err(stopping)?;
            let mut response = Response::new(body);
            let content_type = http_kit::HeaderValue::from_static(encoding.media_type());
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            return Ok(response);
        }
        call::Type::Update => {
            let status = call.update.map(|update| update.status).unwrap_or_default();
            let memory = memory(api, &framework_id, &executor_id, std::iter::once(&status)).await;
            Input::Update { framework_id, executor_id, status: Box::new(status), memory }
        }
        call::Type::Message => {
            let data = call.message.map(|message| message.data).unwrap_or_default();
            Input::ExecutorMessage { framework_id, executor_id, data }
        }
        call::Type::Heartbeat | call::Type::Unknown => {
            return Err(refusal(StatusCode::NOT_IMPLEMENTED, String::new()));
        }
    };
    api.mailbox.tell(input).await.map_err(stopping)?;
    Ok(respond::status(StatusCode::ACCEPTED))
}

/// Looks at the container's memory if one of the statuses may be explained by it.
async fn memory(
    api: &Api,
    framework_id: &FrameworkId,
    executor_id: &ExecutorId,
    mut statuses: impl Iterator<Item = &TaskStatus>,
) -> Option<MemoryReport> {
    if !statuses.any(|status| status.state() == TaskState::TaskFailed) {
        return None;
    }
    let (framework_id, executor_id) = (framework_id.clone(), executor_id.clone());
    let container_id = api
        .mailbox
        .read(move |agent| {
            agent.executor(&framework_id, &executor_id).map(|executor| executor.container_id().clone())
        })
        .await;
    api.containers.usage(&container_id.ok()??).ok().map(memory_report)
}
