//! What is started as a nested container, and as whom.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_core::{Agent, ContainerPlan, ExecutorState, Launch, NetworkPlan, Run, VolumeSource};
use base::{AgentId, ContainerId, with_causes};
use containers::{ContainerSpec, Containers, ProcessIdentity};
use mesos_proto::v1::environment::variable;
use mesos_proto::v1::{CommandInfo, ContainerInfo, ExecutorInfo, FrameworkInfo, Resource, container_info};
use resources::Resources;

use super::store::{Amounts, Record};
use super::{Claimed, Refused, root_of, sandbox, sandbox_below};
use crate::http::Api;
use crate::sandbox::{Held, Owner, find_user, own_user, sandbox_path, user_of};
use crate::sessions::{SessionId, program};
use crate::spec::Outer;

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
    agent_id: AgentId,
    run: Run,
    /// Its user is the one that the container runs as.
    framework: FrameworkInfo,
}

/// Starts a container. To be driven to its end also when nobody waits for that any more.
pub(super) async fn launch(api: &Arc<Api>, wanted: Wanted) -> Result<(), LaunchError> {
    let container_id = ContainerId::from(wanted.id.to_string());
    let (root_id, dir) = (root_of(&container_id), api.config.dir.clone());
    let root = api.mailbox.read(move |agent| find(agent, &root_id, &dir)).await;
    let root = root.map_err(|_| LaunchError::Stopping)?;
    let mut root = root.ok_or_else(|| Refused::NoParent(wanted.id.parent.clone()))?;
    let plan = plan(&wanted).map_err(LaunchError::Refused)?;
    // Without one of its own it runs as the container that it is in does.
    if let Some(user) = api.nested.get(&wanted.id.parent).and_then(|parent| parent.user()) {
        root.framework.user = user;
    }
    let user = user_of(&root.framework, Some(&wanted.command));
    let owner = match plan.image {
        None => find_user(&user, own_user(&wanted.command).is_some())
            .map_err(|error| LaunchError::Refused(error.to_string()))?
            .map(|user| (user.uid, user.gid)),
        // Whom an image knows is known when the image is here.
        Some(_) => None,
    };
    let below = |id: &ContainerId| sandbox_below(Path::new(""), id);
    let outer = Outer {
        own: below(&container_id),
        of_parent: below(&wanted.id.parent),
        parent: wanted.id.parent.clone(),
        sandbox: root.sandbox.clone(),
    };
    let record = Record {
        container_id: container_id.to_string(),
        user: Some(user).filter(|user| host::is_root() && !user.is_empty()),
        sandbox: root.sandbox.join(&outer.own),
        resources: amounts(&wanted.resources),
        termination: None,
    };
    let claimed = api.nested.claim(&wanted.id.parent, &record)?;
    let made = Made { root, plan, outer, owner };
    let prepared = tokio::select! {
        prepared = made.prepare(api, &claimed, wanted, record) => prepared,
        () = claimed.container.asked() => Err("it was ended before it was started".to_owned()),
    };
    let failed = |why: String| format!("Failed to launch container {container_id}: {why}");
    let launched = match prepared {
        Ok(spec) => start(&api.containers, spec).await.map_err(|error| failed(with_causes(&error))),
        Err(why) => Err(failed(why)),
    };
    match launched {
        Ok(process) => {
            claimed.run(process);
            Ok(())
        }
        Err(why) => {
            api.nested.destroy(&container_id).await;
            Err(LaunchError::Refused(why))
        }
    }
}

async fn start(
    containers: &Containers,
    spec: ContainerSpec,
) -> Result<ProcessIdentity, containers::LaunchError> {
    let launched = match containers.launch(spec.clone(), |_| Ok(())).await {
        // An earlier run of the agent left it, and nobody knows of it.
        Err(containers::LaunchError::Exists(id)) if containers.destroy(&id).await.is_ok() => {
            containers.launch(spec, |_| Ok(())).await
        }
        launched => launched,
    };
    launched.map(|launched| launched.process)
}

/// What a container is made of.
struct Made {
    root: Root,
    plan: ContainerPlan,
    outer: Outer,
    owner: Option<Owner>,
}

impl Made {
    /// # Errors
    /// What could not be done, for the task's user.
    async fn prepare(
        self,
        api: &Api,
        claimed: &Claimed,
        wanted: Wanted,
        mut record: Record,
    ) -> Result<ContainerSpec, String> {
        let id = claimed.container.id.clone();
        let write = |record: &Record| {
            let written = api.nested.store.write(record);
            written.map_err(|error| format!("cannot record it: {error}"))
        };
        write(&record)?;
        let directory = self.make_sandbox(&id).await.map_err(|error| {
            format!("Failed to create nested sandbox '{}': {error}", record.sandbox.display())
        })?;
        self.make_shared().map_err(|error| format!("cannot make a volume: {error}"))?;
        let launch = Launch {
            agent_id: self.root.agent_id,
            run: Run { container_id: id.clone(), ..self.root.run },
            framework: self.root.framework,
            executor: ExecutorInfo { command: Some(wanted.command), ..ExecutorInfo::default() },
            task: None,
            plan: self.plan,
            resources: Vec::new(),
        };
        let inside = Held::open(directory);
        let spec = api.provider.provide_nested(&launch, &self.outer, &inside, self.owner).await?;
        // An image may say another one.
        if record.user != spec.user {
            record.user.clone_from(&spec.user);
            claimed.container.set_user(spec.user.clone());
            write(&record)?;
        }
        Ok(spec)
    }

    async fn make_sandbox(&self, id: &ContainerId) -> io::Result<OwnedFd> {
        let (root, id, owner) = (self.root.sandbox.clone(), id.clone(), self.owner);
        let made = tokio::task::spawn_blocking(move || sandbox::make(&root, &id, owner)).await;
        made.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Makes the directories of the parent's sandbox that are going to be seen.
    fn make_shared(&self) -> io::Result<()> {
        for volume in &self.plan.volumes {
            if let VolumeSource::ParentSandbox(path) = &volume.source {
                sandbox::make_shared(&self.root.sandbox, &self.outer.of_parent.join(path), self.owner)?;
            }
        }
        Ok(())
    }
}

fn find(agent: &Agent, container_id: &ContainerId, dir: &Path) -> Option<Root> {
    let executor = agent.executor_in(container_id)?;
    if executor.state() == ExecutorState::Terminated || executor.process().is_none() {
        return None;
    }
    let framework = agent.frameworks().find(|framework| framework.id() == *executor.framework_id())?;
    let user = user_of(framework.info(), executor.info().command.as_ref());
    let agent_id = agent.id()?.clone();
    Some(Root {
        sandbox: sandbox_path(dir, &agent_id, executor.run()),
        run: executor.run().clone(),
        framework: FrameworkInfo { user, ..framework.info().clone() },
        agent_id,
    })
}

/// What of a container's description can be done for one in another one.
fn plan(wanted: &Wanted) -> Result<ContainerPlan, String> {
    let info = wanted.container.as_ref();
    if info.is_some_and(|info| info.r#type() != container_info::Type::Mesos) {
        return Err("The provided ContainerInfo is not supported".to_owned());
    }
    let linux = info.and_then(|info| info.linux_info.as_ref());
    if linux.is_some_and(|linux| linux.share_cgroups == Some(false)) {
        return Err(unsupported("container.linux_info.share_cgroups", "false"));
    }
    let plan = ContainerPlan::of_nested(info, "container")?;
    if plan.network != NetworkPlan::Host {
        return Err(unsupported("container.network_infos", "a network of its own"));
    }
    if plan.image.is_none() {
        // An image may say what the command leaves out.
        program(&wanted.command)?;
    }
    let mut variables = wanted.command.environment.iter().flat_map(|environment| &environment.variables);
    match variables.find(|variable| variable.r#type() == variable::Type::Secret) {
        Some(secret) => Err(unsupported("command.environment", &format!("the secret {}", secret.name))),
        None => Ok(plan),
    }
}

fn unsupported(field: &str, found: &str) -> String {
    format!("Nested container uses '{field}' ({found}), which this agent does not support")
}

fn amounts(wire: &[Resource]) -> Amounts {
    let Ok(all) = Resources::from_wire(wire) else { return Amounts::default() };
    let (cpus, mem) = (all.cpus().to_f64(), all.mem().to_f64());
    Amounts {
        cpus: (cpus > 0.0).then_some(cpus),
        mem_bytes: (mem > 0.0).then_some((mem * f64::from(1 << 20)) as u64),
    }
}
