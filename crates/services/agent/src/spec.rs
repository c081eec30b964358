//! From what a container is to be to what is asked of the `containers` adapter.

use std::path::{Path, PathBuf};

use agent_core::{ContainerPlan, Launch, NetworkPlan, VolumePlan, VolumeSource};
use base::ContainerId;
use containers::{
    Capability, ContainerSpec, Mount, MountSource, Network, Rlimit, RlimitResource, RootFs, Seccomp,
};
use mesos_proto::v1::r_limit_info::RLimit;
use mesos_proto::v1::r_limit_info::r_limit::Type;

use crate::Config;
use crate::environment::{Effective, View, environment, nested_environment};
use crate::limits::limits;
use crate::private::NameFiles;
use crate::program::{command_executor, custom_executor};
use crate::sandbox::user_of;

/// What containers with an image see of their agent and of their sandbox
/// (Mesos: `--sandbox_directory`).
pub(crate) const SANDBOX: &str = "/mnt/mesos/sandbox";
const AGENT: &str = "/mnt/mesos/agent";

/// An image that is here, as far as a container needs it.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    /// Lowest first.
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) config: Effective,
    /// Paths that the image does not want in its layers.
    pub(crate) volumes: Vec<String>,
}

/// Everything that a container is made of.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a Config,
    pub(crate) launch: &'a Launch,
    /// Where the agent listens.
    pub(crate) address: &'a str,
    /// On the host.
    pub(crate) sandbox: &'a Path,
    /// The container's own directory on the host, if it needs one.
    pub(crate) private: Option<&'a Path>,
    pub(crate) root: Option<&'a Root>,
    pub(crate) names: Option<&'a NameFiles>,
    pub(crate) hostname: Option<&'a str>,
    /// What one in another container is in.
    pub(crate) outer: Option<&'a Outer>,
}

/// Where a container is that is in another one.
#[derive(Clone, Debug)]
pub(crate) struct Outer {
    /// The one it is in.
    pub(crate) parent: ContainerId,
    /// The outermost container's sandbox, on the host.
    pub(crate) sandbox: PathBuf,
    /// Where in that the container's own is.
    pub(crate) own: PathBuf,
    /// Where in that its parent's is; empty if that is the outermost.
    pub(crate) of_parent: PathBuf,
}

impl Outer {
    fn within(&self, path: PathBuf, target: PathBuf) -> Mount {
        let source = MountSource::Within { directory: self.sandbox.clone(), path };
        Mount { source, target, read_only: false }
    }
}

impl Parts<'_> {
    /// What is to be started.
    ///
    /// # Errors
    /// What of it cannot be, for the task's user.
    pub(crate) fn spec(&self) -> Result<ContainerSpec, String> {
        let (launch, plan) = (self.launch, &self.launch.plan);
        let socket = self.config.socket_path();
        let inside = PathBuf::from(AGENT).join(socket.file_name().unwrap_or_default());
        let view = match self.root {
            Some(_) => View { sandbox: Path::new(SANDBOX), socket: &inside },
            None => View { sandbox: self.sandbox, socket: &socket },
        };
        let image = self.root.map(|root| &root.config);
        let command = launch.executor.command.clone().unwrap_or_default();
        let (program, argv) = match &launch.task {
            Some(_) => command_executor(&self.config.executor),
            None => custom_executor(&command, image),
        };
        let container_id = launch.run.container_id.clone();
        let mut spec = ContainerSpec {
            env: environment(self.config, launch, image, self.sandbox, view, self.address),
            // The command executor starts the task as its user itself.
            user: launch.task.is_none().then(|| self.user()).filter(|_| host::is_root()),
            limits: limits(self.config, launch).map_err(|error| error.to_string())?,
            ..ContainerSpec::new(container_id, program, argv, self.sandbox)
        };
        spec.working_directory = self.working_directory(view);
        confine(&mut spec, plan);
        spec.hostname = self.hostname.map(str::to_owned);
        if plan.network != NetworkPlan::Host {
            spec.network = Network::Own;
        }
        if let (Some(root), Some(private)) = (self.root, self.private) {
            spec.root = Some(RootFs {
                layers: root.layers.clone(),
                upper_dir: private.join("fs"),
                read_only: plan.docker.read_only,
            });
            spec.seccomp = if plan.seccomp_unconfined { Seccomp::Off } else { Seccomp::Default };
        }
        if plan.privileged {
            spec.make_privileged();
        }
        spec.mounts = self.mounts(view)?;
        if let Some(outer) = self.outer {
            spec.parent = Some(outer.parent.clone());
            spec.supervise = true;
            spec.env = nested_environment(&command, image, view);
        }
        Ok(spec)
    }

    /// Whom a custom executor runs as.
    fn user(&self) -> String {
        let command = self.launch.executor.command.as_ref();
        let of_task = user_of(&self.launch.framework, command);
        let named = command.and_then(|command| command.user.as_ref()).is_some_and(|user| !user.is_empty());
        let of_image = self.root.map(|root| root.config.user.clone()).filter(|user| !user.is_empty());
        of_image.filter(|_| !named).unwrap_or(of_task)
    }

    /// The executor of a command task starts in the sandbox; it knows itself where the task is to start.
    fn working_directory(&self, view: View<'_>) -> PathBuf {
        let of_image = self.root.filter(|_| self.launch.task.is_none()).map(|root| &root.config.working_dir);
        match of_image {
            Some(dir) if !dir.is_empty() => dir.into(),
            _ => view.sandbox.to_owned(),
        }
    }

    fn mounts(&self, view: View<'_>) -> Result<Vec<Mount>, String> {
        let mut all = Vec::new();
        if self.root.is_some() {
            all.push(self.of_sandbox("", SANDBOX.into()));
            // The directory and not the socket: another run of the agent makes it anew.
            all.push(Mount::bind(self.config.socket_dir(), AGENT).read_only());
        }
        if let Some(names) = self.names {
            for name in NameFiles::ALL {
                let target = Path::new("/etc").join(name);
                // On the host's files only what is there can be mounted over.
                if self.root.is_some() || target.exists() {
                    all.push(Mount::bind(names.path(name), target));
                }
            }
        }
        let wanted = &self.launch.plan.volumes;
        for volume in self.image_volumes(wanted)? {
            all.push(volume);
        }
        for volume in wanted {
            all.push(self.volume(volume, view)?);
        }
        Ok(all)
    }

    fn volume(&self, volume: &VolumePlan, view: View<'_>) -> Result<Mount, String> {
        let target = view.sandbox.join(&volume.target);
        let mount = match &volume.source {
            VolumeSource::Host(path) => {
                // By its meaning a link is what it leads to.
                std::fs::metadata(path).map_err(|error| {
                    let target = &volume.target;
                    format!("cannot mount the host's {path} at {target}: {}", missing(&error))
                })?;
                Mount::bind(path, target)
            }
            VolumeSource::Sandbox(path) => self.of_sandbox(path, target),
            VolumeSource::ParentSandbox(path) => match self.outer {
                Some(outer) => outer.within(outer.of_parent.join(path), target),
                None => return Err(format!("cannot mount {path} of a sandbox of no container")),
            },
            VolumeSource::Memory(bytes) => {
                let source = MountSource::Tmpfs { bytes: *bytes, mode: 0o1777 };
                Mount { source, target, read_only: false }
            }
        };
        let exists = self.root.is_some() || mount.target.exists();
        match exists {
            true if volume.read_only => Ok(mount.read_only()),
            true => Ok(mount),
            false => Err(format!(
                "cannot mount anything at {}: it does not exist on this agent, and without an image it has to",
                volume.target
            )),
        }
    }

    /// Something of the container's sandbox.
    fn of_sandbox(&self, path: &str, target: PathBuf) -> Mount {
        match self.outer {
            // No slash at the end of one that is all of it.
            Some(outer) if path.is_empty() => outer.within(outer.own.clone(), target),
            Some(outer) => outer.within(outer.own.join(path), target),
            None if path.is_empty() => Mount::bind(self.sandbox, target),
            None => Mount::bind(self.sandbox.join(path), target),
        }
    }

    /// A directory of its own for each path that the image declares, has nothing at, and gets nothing
    /// mounted at.
    fn image_volumes(&self, wanted: &[VolumePlan]) -> Result<Vec<Mount>, String> {
        let (Some(root), Some(private)) = (self.root, self.private) else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for (number, path) in root.volumes.iter().enumerate() {
            let is_free = |layer: &PathBuf| !layer.join(path.trim_start_matches('/')).exists();
            let plain = path.starts_with('/') && !path.split('/').any(|part| part == "..");
            let is_taken = wanted.iter().any(|volume| volume.target == *path);
            if !plain || is_taken || !(root.layers.iter().all(is_free) || self.launch.plan.docker.read_only) {
                continue;
            }
            let dir = private.join(format!("volume-{number}"));
            std::fs::create_dir(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
            all.push(Mount::bind(dir, path));
        }
        Ok(all)
    }
}

/// What a container's plan says of the bounds of its processes.
pub(crate) fn confine(spec: &mut ContainerSpec, plan: &ContainerPlan) {
    spec.rlimits = plan.rlimits.iter().filter_map(rlimit).collect();
    spec.shm_bytes = plan.shm_bytes;
    spec.no_new_privileges = plan.docker.no_new_privileges;
    spec.oom_score_adjustment = plan.docker.oom_score_adjustment.unwrap_or(0);
    spec.capabilities = capabilities(plan);
}

fn missing(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist on this agent".to_owned(),
        _ => error.to_string(),
    }
}

/// Docker's, or those that are named; then what its options take and give.
fn capabilities(plan: &ContainerPlan) -> Vec<Capability> {
    let named = |name: &str| Capability::ALL.iter().copied().find(|known| known.name() == name);
    let mut all: Vec<Capability> = match &plan.capabilities {
        None => Capability::DOCKER_DEFAULT.to_vec(),
        Some(names) => names.iter().filter_map(|name| named(name)).collect(),
    };
    for name in &plan.docker.drop_capabilities {
        all.retain(|capability| name != "ALL" && capability.name() != name);
    }
    for name in &plan.docker.add_capabilities {
        match name.as_str() {
            "ALL" => all.extend(Capability::ALL),
            name => all.extend(named(name)),
        }
    }
    all.sort();
    all.dedup();
    all
}

fn rlimit(limit: &RLimit) -> Option<Rlimit> {
    let resource = match limit.r#type() {
        Type::Unknown => return None,
        Type::RlmtAs => RlimitResource::As,
        Type::RlmtCore => RlimitResource::Core,
        Type::RlmtCpu => RlimitResource::Cpu,
        Type::RlmtData => RlimitResource::Data,
        Type::RlmtFsize => RlimitResource::Fsize,
        Type::RlmtLocks => RlimitResource::Locks,
        Type::RlmtMemlock => RlimitResource::Memlock,
        Type::RlmtMsgqueue => RlimitResource::Msgqueue,
        Type::RlmtNice => RlimitResource::Nice,
        Type::RlmtNofile => RlimitResource::Nofile,
        Type::RlmtNproc => RlimitResource::Nproc,
        Type::RlmtRss => RlimitResource::Rss,
        Type::RlmtRtprio => RlimitResource::Rtprio,
        Type::RlmtRttime => RlimitResource::Rttime,
        Type::RlmtSigpending => RlimitResource::Sigpending,
        Type::RlmtStack => RlimitResource::Stack,
    };
    // The message has the largest number for no limit.
    let bound = |value: Option<u64>| value.filter(|value| *value != u64::MAX);
    Some(Rlimit { resource, soft: bound(limit.soft), hard: bound(limit.hard) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_taken_and_given() {
        let check =
            |named: Option<Vec<&'static str>>, drop: &[&str], add: &[&str], expected: &[Capability]| {
                let mut plan = ContainerPlan { capabilities: named, ..Default::default() };
                plan.docker.drop_capabilities = drop.iter().map(|name| (*name).to_owned()).collect();
                plan.docker.add_capabilities = add.iter().map(|name| (*name).to_owned()).collect();
                assert_eq!(capabilities(&plan), expected, "{drop:?} {add:?}");
            };
        let mut usual = Capability::DOCKER_DEFAULT.to_vec();
        usual.sort();
        check(None, &[], &[], &usual);
        check(None, &["ALL"], &["NET_ADMIN"], &[Capability::NetAdmin]);
        check(Some(vec!["KILL", "CHOWN"]), &["KILL"], &[], &[Capability::Chown]);
        check(None, &["ALL"], &["ALL"], Capability::ALL);
        check(Some(vec![]), &[], &[], &[]);
    }

    #[test]
    fn limits_of_processes_keep_their_meaning() {
        let limit = |soft, hard| RLimit { r#type: Some(Type::RlmtNofile as i32), soft, hard };
        let check = |wire: RLimit, soft, hard| {
            let found = rlimit(&wire).unwrap();
            assert_eq!((found.resource, found.soft, found.hard), (RlimitResource::Nofile, soft, hard));
        };
        check(limit(Some(1), Some(2)), Some(1), Some(2));
        check(limit(None, None), None, None);
        check(limit(Some(1), Some(u64::MAX)), Some(1), None);
        assert_eq!(rlimit(&RLimit::default()), None);
    }
}
