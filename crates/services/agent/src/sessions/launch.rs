//! What is started for a session, and as whom.

use std::path::PathBuf;
use std::sync::Arc;

use agent_core::{Agent, ExecutorState};
use base::ContainerId;
use containers::{EnterSpec, WindowSize};
use mesos_proto::v1::agent::call::LaunchNestedContainerSession;
use mesos_proto::v1::environment::variable;
use mesos_proto::v1::{CommandInfo, container_info};

use super::Refused;
use serde::Deserialize;

use super::id::SessionId;
use super::session::{Session, window};
use crate::http::Api;
use crate::nested::Container;
use base::with_causes;

/// A terminal's size until its client says another one.
const USUAL_WINDOW: WindowSize = WindowSize { rows: 24, columns: 80 };
/// What the executor is told of the task's image.
const IMAGE_CONFIG: &str = "DCOS_IMAGE_CONFIG";
/// Variables that are between agent and executor alone.
const INTERNAL: [&str; 3] = [IMAGE_CONFIG, "MESOS_EXECUTOR_AUTHENTICATION_TOKEN", "MESOS_DOMAIN_SOCKET"];

/// Why no session came of a launch.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    /// The agent is stopping.
    #[error("the agent is stopping")]
    Stopping,
    /// The session runs or ran already (Mesos: `ALREADY_LAUNCHED`).
    #[error("a session of this name exists")]
    Exists,
    /// The call cannot be carried out.
    #[error("{0}")]
    Refused(String),
}

/// What the agent knows of the container that is entered.
struct Parent {
    /// Its first process.
    pid: Option<u32>,
    of_task: Option<String>,
    of_framework: String,
}

impl Parent {
    /// None if it does not run.
    fn of_nested(nested: &Container) -> Option<Parent> {
        Some(Parent { pid: Some(nested.pid()?), of_task: nested.user(), of_framework: String::new() })
    }
}

/// Starts a session's process.
pub(super) async fn launch(
    api: &Arc<Api>,
    launch: LaunchNestedContainerSession,
) -> Result<Arc<Session>, LaunchError> {
    let refused = |text: String| LaunchError::Refused(text);
    let Some(id) = SessionId::of(&launch.container_id) else {
        return Err(refused("Expecting a container with a parent".to_owned()));
    };
    let parent_id = id.parent.clone();
    let parent = match api.nested.get(&parent_id) {
        Some(nested) => Parent::of_nested(&nested),
        None => {
            let found = api.mailbox.read(move |agent| find(agent, &parent_id)).await;
            found.map_err(|_| LaunchError::Stopping)?
        }
    };
    let parent = parent.ok_or_else(|| refused(format!("Parent container {} does not exist", id.parent)))?;
    let reserved = api.sessions.reserve(id.clone()).map_err(|error| match error {
        Refused::Exists => LaunchError::Exists,
        other => refused(other.to_string()),
    })?;
    let spec = spec(api, &id, &parent, &launch).map_err(refused)?;
    match api.containers.enter(spec).await {
        Ok(entered) => Ok(reserved.run(entered)),
        Err(error) => Err(refused(format!("Failed to launch container {id}: {}", with_causes(&error)))),
    }
}

fn find(agent: &Agent, container_id: &ContainerId) -> Option<Parent> {
    let executor = agent.executor_in(container_id)?;
    if executor.state() == ExecutorState::Terminated {
        return None;
    }
    let framework = agent.frameworks().find(|framework| framework.id() == *executor.framework_id())?;
    let command = executor.info().command.as_ref();
    Some(Parent {
        pid: executor.process().map(|process| process.pid),
        of_task: command.and_then(|command| command.user.clone()),
        of_framework: framework.info().user.clone(),
    })
}

fn spec(
    api: &Api,
    id: &SessionId,
    parent: &Parent,
    launch: &LaunchNestedContainerSession,
) -> Result<EnterSpec, String> {
    let container = launch.container.as_ref();
    if let Some(container) = container
        && (container.r#type() != container_info::Type::Mesos || container.mesos.is_some())
    {
        return Err("The provided ContainerInfo is not supported".to_owned());
    }
    let command = launch.command.clone().unwrap_or_default();
    let (program, argv) = program(&command)?;
    let own = api.containers.environment(&id.parent).unwrap_or_default();
    let image = Image::of(&own);
    let terminal = container.and_then(|container| container.tty_info.as_ref());
    Ok(EnterSpec {
        container_id: id.parent.clone(),
        session_id: id.value.clone(),
        program,
        argv,
        env: environment(own, parent, &command),
        working_directory: Some(image.working_dir.clone()).filter(|dir| !dir.as_os_str().is_empty()),
        user: user(&command, parent, &image.user)?,
        terminal: terminal.map(|terminal| terminal.window_size.map_or(USUAL_WINDOW, window)),
    })
}

/// What is executed.
///
/// # Errors
/// What the command lacks.
pub(crate) fn program(command: &CommandInfo) -> Result<(PathBuf, Vec<String>), String> {
    let value = command.value.clone().filter(|value| !value.is_empty());
    if command.shell() {
        let value = value.ok_or("'command.value' must be set: a shell needs something to run")?;
        return Ok(("/bin/sh".into(), vec!["sh".to_owned(), "-c".to_owned(), value]));
    }
    let value = value.ok_or("'command.value' must be set: it names the program to run")?;
    // As in Mesos the arguments begin with the name that the program sees as its own.
    let argv = if command.arguments.is_empty() { vec![value.clone()] } else { command.arguments.clone() };
    Ok((value.into(), argv))
}

/// What the task's image says of those who run in it; nothing without an image.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Image {
    user: String,
    working_dir: PathBuf,
}

impl Image {
    fn of(environment: &[(String, String)]) -> Image {
        let told = environment.iter().find(|(name, _)| name == IMAGE_CONFIG);
        told.and_then(|(_, value)| serde_json::from_str(value).ok()).unwrap_or_default()
    }
}

/// The session's own user, else the task's, else the image's, else the framework's.
fn user(command: &CommandInfo, parent: &Parent, of_image: &str) -> Result<Option<String>, String> {
    let named = |user: &&str| !user.is_empty();
    let own = command.user.as_deref().filter(named);
    if host::is_root() {
        let of_task = parent.of_task.as_deref().filter(named);
        let user = own.or(of_task).or(Some(of_image).filter(named)).unwrap_or(&parent.of_framework);
        return Ok(Some(user.to_owned()).filter(|user| !user.is_empty()));
    }
    let agent = host::User::current().name;
    match own {
        Some(user) if user != agent => Err(format!(
            "the agent does not run as root and cannot run a session as user '{user}', only as '{agent}'"
        )),
        _ => Ok(None),
    }
}

/// What the task itself sees, with what the session asks for on top of it.
fn environment(
    mut all: Vec<(String, String)>,
    parent: &Parent,
    command: &CommandInfo,
) -> Vec<(String, String)> {
    // The executor adds to its own environment when it starts the task, and that is its first child.
    let task = parent.pid.and_then(host::oldest_child).and_then(host::environment);
    let asked = command.environment.iter().flat_map(|environment| &environment.variables);
    let asked = asked
        .filter(|variable| variable.r#type() != variable::Type::Secret)
        .map(|variable| (variable.name.clone(), variable.value().to_owned()));
    for (name, value) in task.into_iter().flatten().chain(asked) {
        all.retain(|(known, _)| *known != name);
        all.push((name, value));
    }
    all.retain(|(name, _)| !INTERNAL.contains(&name.as_str()));
    all
}
