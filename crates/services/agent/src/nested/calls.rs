//! The calls about nested containers, answered as Mesos does.
#![allow(clippy::result_large_err, reason = "a refusal is a whole response, moved once")]

use std::sync::Arc;

use agent_core::Agent;
use base::ContainerId;
use http_kit::mesos::{bad_request, refusal};
use http_kit::{Response, StatusCode, respond};
use mesos_proto::v1;
use mesos_proto::v1::agent::{Call, call};

use super::launch::{LaunchError, Wanted, launch};
use super::{Container, Nested, is_nested, root_of, sandbox};
use crate::http::{Api, not_recovered};
use crate::sandbox::{own_user, user_of};
use crate::sessions::{SessionId, text};

/// Whether [`answer`] is for this call.
pub(crate) fn is_launch(call: &Call) -> bool {
    match call.r#type() {
        call::Type::LaunchNestedContainer => true,
        call::Type::LaunchContainer => {
            let id = call.launch_container.as_ref().map(|launch| &launch.container_id);
            id.is_some_and(|id| id.parent.is_some())
        }
        _ => false,
    }
}

/// The outermost container of the one that a call is about; None for a call about something else.
pub(crate) fn named(call: &Call) -> Option<String> {
    use call::Type;
    let id = match call.r#type() {
        Type::LaunchNestedContainer => &call.launch_nested_container.as_ref()?.container_id,
        Type::LaunchContainer => &call.launch_container.as_ref()?.container_id,
        Type::LaunchNestedContainerSession => &call.launch_nested_container_session.as_ref()?.container_id,
        Type::WaitNestedContainer => &call.wait_nested_container.as_ref()?.container_id,
        Type::WaitContainer => &call.wait_container.as_ref()?.container_id,
        Type::KillNestedContainer => &call.kill_nested_container.as_ref()?.container_id,
        Type::KillContainer => &call.kill_container.as_ref()?.container_id,
        Type::RemoveNestedContainer => &call.remove_nested_container.as_ref()?.container_id,
        Type::RemoveContainer => &call.remove_container.as_ref()?.container_id,
        Type::AttachContainerOutput => &call.attach_container_output.as_ref()?.container_id,
        Type::AttachContainerInput => call.attach_container_input.as_ref()?.container_id.as_ref()?,
        _ => return None,
    };
    let mut outermost = id;
    while let Some(parent) = &outermost.parent {
        outermost = parent;
    }
    Some(outermost.value.clone())
}

/// Whom a call wants something to run as, if it says so.
pub(crate) fn user_named(call: &Call) -> Option<String> {
    use call::Type;
    let command = match call.r#type() {
        Type::LaunchNestedContainer => call.launch_nested_container.as_ref()?.command.as_ref(),
        Type::LaunchContainer => call.launch_container.as_ref()?.command.as_ref(),
        Type::LaunchNestedContainerSession => call.launch_nested_container_session.as_ref()?.command.as_ref(),
        _ => None,
    };
    own_user(command?).map(str::to_owned)
}

/// Whether an executor may start something in its container as this user: as its own, and as those that its
/// tasks, which the master let through, run as.
pub(crate) fn may_be(agent: &Agent, root: &ContainerId, user: &str) -> bool {
    let Some(executor) = agent.executor_in(root) else { return false };
    let framework = agent.frameworks().find(|framework| framework.id() == *executor.framework_id());
    let own = framework.map(|framework| user_of(framework.info(), executor.info().command.as_ref()));
    let mut tasks = executor.queued().chain(executor.launched());
    own.as_deref() == Some(user) || tasks.any(|run| run.task.user.as_deref() == Some(user))
}

/// Launches a container in another one.
pub(crate) async fn answer(api: &Arc<Api>, call: Call) -> Result<Response, Response> {
    let (id, command, container, resources) = match (call.launch_nested_container, call.launch_container) {
        (Some(launch), _) if call.r#type == Some(call::Type::LaunchNestedContainer as i32) => {
            (launch.container_id, launch.command, launch.container, Vec::new())
        }
        (_, Some(launch)) => (launch.container_id, launch.command, launch.container, launch.resources),
        _ => return Err(bad_request("Expecting a container to launch")),
    };
    let id = SessionId::of(&id).ok_or_else(|| bad_request("Expecting a container with a parent"))?;
    let wanted = Wanted { id, command: command.unwrap_or_default(), container, resources };
    let api = Arc::clone(api);
    // In a task of its own: this future is dropped when the client closes its connection.
    let launched = tokio::spawn(async move { Box::pin(launch(&api, wanted)).await }).await;
    match launched {
        Ok(Ok(())) => Ok(respond::status(StatusCode::OK)),
        Ok(Err(LaunchError::Exists)) => Ok(respond::status(StatusCode::ACCEPTED)),
        Ok(Err(error @ LaunchError::Refused(_))) => Err(bad_request(error.to_string())),
        Ok(Err(LaunchError::Stopping)) | Err(_) => Err(not_recovered()),
    }
}

/// The container that a call names, if it is one that was launched in another and not removed.
pub(crate) fn find(nested: &Nested, id: &v1::ContainerId) -> Option<Arc<Container>> {
    id.parent.as_ref()?;
    nested.get(&ContainerId::from(text(id)))
}

impl Container {
    /// How it ended, as wait(2) gives it, once it has.
    pub(crate) async fn wait(&self) -> Option<i32> {
        self.termination().await.status
    }
}

/// Sends a signal, SIGKILL without one, to the program of a container.
pub(crate) fn kill(
    nested: &Nested,
    container: &Container,
    signal: Option<i32>,
) -> Result<Response, Response> {
    if container.pid().is_none() && !container.is_over() {
        // It is just being launched (Mesos destroys it, too).
        container.asked_to_end.send_replace(true);
        return Ok(respond::status(StatusCode::OK));
    }
    let sent = match container.is_over() {
        true => Ok(false),
        false => nested.containers.signal(&container.id, signal.unwrap_or(super::SIGKILL)),
    };
    match sent {
        Ok(true) => Ok(respond::status(StatusCode::OK)),
        Ok(false) => {
            let text = format!("Container '{}' cannot be found (or is already killed)", container.id);
            Err(refusal(StatusCode::NOT_FOUND, text))
        }
        Err(error) => {
            let why = match error.kind() {
                std::io::ErrorKind::InvalidInput => "Invalid argument".to_owned(),
                _ => error.to_string(),
            };
            let text = format!("Unable to send signal to container: {why}");
            Err(refusal(StatusCode::INTERNAL_SERVER_ERROR, text))
        }
    }
}

/// Forgets a container that is over, with its sandbox and all that was in it.
pub(crate) async fn remove(api: &Arc<Api>, id: &v1::ContainerId) -> Result<Response, Response> {
    let id = ContainerId::from(text(id));
    let root = root_of(&id);
    let is_known = api.mailbox.read(move |agent| agent.executor_in(&root).is_some()).await;
    let failed = |text: String| refusal(StatusCode::INTERNAL_SERVER_ERROR, text);
    if !is_known.map_err(|_| not_recovered())? {
        return Err(failed("Unknown root container".to_owned()));
    }
    let Some(container) = api.nested.get(&id).filter(|_| is_nested(&id)) else {
        return Ok(respond::status(StatusCode::OK));
    };
    if !container.is_over() {
        return Err(failed("Nested container has not terminated yet".to_owned()));
    }
    let path = container.sandbox.clone();
    let removed = tokio::task::spawn_blocking(move || sandbox::remove(&path)).await;
    if let Err(error) = removed.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        return Err(failed(format!("Failed to remove the sandbox directory: {error}")));
    }
    api.nested.forget(&id);
    Ok(respond::status(StatusCode::OK))
}
