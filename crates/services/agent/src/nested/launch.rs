//! What is started as a nested container, and as whom.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_core::{Agent, ContainerPlan, ExecutorState, NetworkPlan};
use base::{ContainerId, with_causes};
use containers::ContainerSpec;
use mesos_proto::v1::environment::variable;
use mesos_proto::v1::{CommandInfo, ContainerInfo, Resource, container_info};
use resources::Resources;

use super::store::{Amounts, Record};
use super::{Nested, Refused, root_of, sandbox, sandbox_below};
use crate::fetching::fetch_uris;
use crate::http::Api;
use crate::sandbox::{Owner, find_user, own_user, sandbox_path, user_of};
use crate::sessions::SessionId;
use crate::sessions::program;
use crate::spec::confine;

/// What programs are looked up by without a `PATH` of their own (Mesos: `os::host_default_path`).
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A container that is to be.
pub(super) struct Wanted {
    pub(super) id: SessionId,
    pub(super) command: CommandInfo,
    pub(super) container: Option<ContainerInfo>,
    pub(super) resources: Vec<Resource>,
}

/// Why no container came of a launch.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    /// The agent is stopping.
    #[error("the agent is stopping")]
    Stopping,
    /// It runs or ran already (Mesos: `ALREADY_LAUNCHED`).
    #[error("the container was launched already")]
    Exists,
    /// It cannot be launched.
    #[error("{0}")]
    Refused(String),
}

impl From<Refused> for LaunchError {
    fn from(refused: Refused) -> LaunchError {
        match refused {
            Refused::Exists => LaunchError::Exists,
            Refused::Stopping => LaunchError::Stopping,
            other => LaunchError::Refused(other.to_string()),
        }
    }
}

/// What the agent knows of the outermost container.
struct Root {
    sandbox: PathBuf,
    user: String,
}

/// Starts a container. To be driven to its end also when nobody waits for that any more.
pub(super) async fn launch(api: &Arc<Api>, wanted: Wanted) -> Result<(), LaunchError> {
    let container_id = ContainerId::from(wanted.id.to_string());
    let (root_id, dir) = (root_of(&container_id), api.config.dir.clone());
    let root = api.mailbox.read(move |agent| find(agent, &root_id, &dir)).await;
    let root = root.map_err(|_| LaunchError::Stopping)?;
    let root = root.ok_or_else(|| Refused::NoParent(wanted.id.parent.clone()))?;
    let plan = plan(wanted.container.as_ref()).map_err(LaunchError::Refused)?;
    let user = user(&api.nested, &wanted, &root);
    let owner = find_user(&user, own_user(&wanted.command).is_some())
        .map_err(|error| LaunchError::Refused(error.to_string()))?
        .map(|user| (user.uid, user.gid));
    let path = sandbox_below(&root.sandbox, &container_id);
    let record = Record {
        container_id: container_id.to_string(),
        user: Some(user.clone()).filter(|user| host::is_root() && !user.is_empty()),
        sandbox: path.clone(),
        resources: amounts(&wanted.resources),
        termination: None,
    };
    let mut spec = spec(&wanted, &container_id, &path, &plan).map_err(LaunchError::Refused)?;
    spec.user.clone_from(&record.user);
    let claimed = api.nested.claim(&wanted.id.parent, &record)?;
    let failed =
        |why: String| LaunchError::Refused(format!("Failed to launch container {container_id}: {why}"));
    api.nested.store.write(&record).map_err(|error| failed(format!("cannot record it: {error}")))?;
    let made = make_sandbox(root.sandbox.clone(), container_id.clone(), owner).await;
    let directory = made.map_err(|error| {
        let path = path.display();
        LaunchError::Refused(format!("Failed to create nested sandbox '{path}': {error}"))
    })?;
    let inside = sandbox::path_of(&directory);
    tokio::select! {
        fetched = fetch_uris(&api.provider, &wanted.command, &inside, owner) => fetched.map_err(failed)?,
        () = claimed.container.asked() => return Err(failed("it was ended before it was started".to_owned())),
    }
    let mut launched = api.containers.launch(spec.clone(), |_| Ok(())).await;
    if matches!(launched, Err(containers::LaunchError::Exists(_))) {
        // An earlier run of the agent left it, and nobody knows of it.
        api.nested.destroy(&container_id).await;
        launched = api.containers.launch(spec, |_| Ok(())).await;
    }
    let launched = launched.map_err(|error| failed(with_causes(&error)))?;
    claimed.run(launched.process);
    Ok(())
}

async fn make_sandbox(root: PathBuf, id: ContainerId, owner: Option<Owner>) -> std::io::Result<OwnedFd> {
    let made = tokio::task::spawn_blocking(move || sandbox::make(&root, &id, owner)).await;
    made.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

fn find(agent: &Agent, container_id: &ContainerId, dir: &Path) -> Option<Root> {
    let executor = agent.executor_in(container_id)?;
    if executor.state() == ExecutorState::Terminated || executor.process().is_none() {
        return None;
    }
    let framework = agent.frameworks().find(|framework| framework.id() == *executor.framework_id())?;
    let user = user_of(framework.info(), executor.info().command.as_ref());
    Some(Root { sandbox: sandbox_path(dir, agent.id()?, executor.run()), user })
}

/// The command's own user, else that of the container it is in.
fn user(nested: &Nested, wanted: &Wanted, root: &Root) -> String {
    if let Some(own) = own_user(&wanted.command) {
        return own.to_owned();
    }
    let of_parent = nested.get(&wanted.id.parent).and_then(|parent| parent.user().map(str::to_owned));
    of_parent.unwrap_or_else(|| root.user.clone())
}

/// What of a container's description can be done for one in another one.
fn plan(info: Option<&ContainerInfo>) -> Result<ContainerPlan, String> {
    if info.is_some_and(|info| info.r#type() != container_info::Type::Mesos) {
        return Err("The provided ContainerInfo is not supported".to_owned());
    }
    let linux = info.and_then(|info| info.linux_info.as_ref());
    if linux.is_some_and(|linux| linux.share_cgroups == Some(false)) {
        return Err(unsupported("linux_info.share_cgroups", "false"));
    }
    let plan = ContainerPlan::of(info, "container")?;
    if let Some(image) = &plan.image {
        return Err(unsupported("mesos.image", &image.name));
    }
    if let Some(volume) = plan.volumes.first() {
        return Err(unsupported("volumes", &volume.target));
    }
    if plan.network != NetworkPlan::Host {
        return Err(unsupported("network_infos", "a network of its own"));
    }
    Ok(plan)
}

fn unsupported(field: &str, found: &str) -> String {
    format!("Nested container uses 'container.{field}' ({found}), which this agent does not support")
}

fn spec(
    wanted: &Wanted,
    container_id: &ContainerId,
    sandbox: &Path,
    plan: &ContainerPlan,
) -> Result<ContainerSpec, String> {
    let (program, argv) = program(&wanted.command)?;
    let mut spec = ContainerSpec::new(container_id.clone(), program, argv, sandbox);
    spec.parent = Some(wanted.id.parent.clone());
    spec.supervise = true;
    spec.env = environment(&wanted.command, sandbox);
    confine(&mut spec, plan);
    Ok(spec)
}

fn environment(command: &CommandInfo, sandbox: &Path) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> =
        vec![("PATH".into(), PATH.into()), ("MESOS_SANDBOX".into(), sandbox.display().to_string())];
    let asked = command.environment.iter().flat_map(|environment| &environment.variables);
    for variable in asked.filter(|variable| variable.r#type() != variable::Type::Secret) {
        all.retain(|(known, _)| *known != variable.name);
        all.push((variable.name.clone(), variable.value().to_owned()));
    }
    all
}

fn amounts(wire: &[Resource]) -> Amounts {
    let Ok(all) = Resources::from_wire(wire) else { return Amounts::default() };
    let (cpus, mem) = (all.cpus().to_f64(), all.mem().to_f64());
    Amounts {
        cpus: (cpus > 0.0).then_some(cpus),
        mem_bytes: (mem > 0.0).then_some((mem * f64::from(1 << 20)) as u64),
    }
}
