//! What a container is to be, read from its description. What this agent cannot do is refused by name:
//! a field must never be ignored silently.

mod network;
mod volume;

use api_mesos::docker_parameters::DockerParameters;
use mesos_proto::v1::container_info::{self, DockerInfo};
use mesos_proto::v1::linux_info::IpcMode;
use mesos_proto::v1::r_limit_info::{RLimit, r_limit};
use mesos_proto::v1::{CapabilityInfo, ContainerInfo, Image, LinuxInfo, image, secret};

pub use network::{NetworkPlan, PortMapping, Protocol};
pub use volume::{VolumePlan, VolumeSource};

/// What a container is to be. Both container types come to the same: there is no docker daemon.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerPlan {
    /// The image whose files it sees; without one it sees the host's.
    pub image: Option<ImagePlan>,
    /// What of the network it sees.
    pub network: NetworkPlan,
    /// Mounts, in the order they are to be made.
    pub volumes: Vec<VolumePlan>,
    /// Its host name.
    pub hostname: Option<String>,
    /// Whether it may do what root on the host may.
    pub privileged: bool,
    /// The capabilities that root in it has, by name; None for the usual ones. Options of docker may add
    /// to them and take from them.
    pub capabilities: Option<Vec<&'static str>>,
    /// Whether system calls are not filtered.
    pub seccomp_unconfined: bool,
    /// The size of `/dev/shm` in bytes.
    pub shm_bytes: Option<u64>,
    /// Limits of each of its processes.
    pub rlimits: Vec<RLimit>,
    /// What `docker.parameters` ask for; volumes and limits among them come after the ones above.
    pub docker: DockerParameters,
}

/// Which image, and how to get it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImagePlan {
    /// As the user wrote it.
    pub name: String,
    /// Whether to ask its origin even if it is here.
    pub force_pull: bool,
    /// A docker `config.json` with the credentials for it.
    pub docker_config: Option<Vec<u8>>,
}

impl ContainerPlan {
    /// Reads what a task or executor says of its container; `field` is where it says it.
    ///
    /// # Errors
    /// What of it cannot be done here, for the user.
    pub(crate) fn of(info: Option<&ContainerInfo>, field: &str) -> Result<ContainerPlan, String> {
        let plan = ContainerPlan::of_nested(info, field)?;
        match plan.volumes.iter().any(|volume| matches!(volume.source, VolumeSource::ParentSandbox(_))) {
            true => Err(unsupported(&format!("{field}.volumes.source.sandbox_path.type"), "PARENT")),
            false => Ok(plan),
        }
    }

    /// The same of a container that is going to be in another one.
    ///
    /// # Errors
    /// What of it cannot be done here, for the user.
    pub fn of_nested(info: Option<&ContainerInfo>, field: &str) -> Result<ContainerPlan, String> {
        let Some(info) = info else { return Ok(ContainerPlan::default()) };
        if info.tty_info.is_some() {
            return Err(unsupported(&format!("{field}.tty_info"), "a terminal"));
        }
        let docker = info.docker.as_ref().filter(|_| info.r#type() == container_info::Type::Docker);
        if docker.is_none() && info.r#type() == container_info::Type::Docker {
            return Err(format!("Task's '{field}' is of type DOCKER and has no 'docker'"));
        }
        let parameters = docker_parameters(docker, field)?;
        let linux = info.linux_info.as_ref();
        check_linux(linux, field)?;
        Ok(ContainerPlan {
            image: image(info, docker, field)?,
            network: network::of(info, docker, field)?,
            volumes: volume::of(info, &parameters, field)?,
            hostname: parameters.hostname.clone().or_else(|| info.hostname.clone()),
            privileged: parameters.privileged.unwrap_or_else(|| docker.is_some_and(DockerInfo::privileged)),
            capabilities: linux.and_then(capabilities),
            seccomp_unconfined: parameters.seccomp_unconfined
                || linux.and_then(|linux| linux.seccomp.as_ref()).is_some_and(|seccomp| seccomp.unconfined()),
            shm_bytes: parameters
                .shm_bytes
                .or_else(|| linux.and_then(|linux| linux.shm_size).map(|mib| u64::from(mib) << 20)),
            rlimits: rlimits(info, &parameters, field)?,
            docker: parameters,
        })
    }

    /// Whether it needs more than a process on the host's files and network.
    pub fn needs_isolation(&self) -> Option<&'static str> {
        if self.image.is_some() {
            Some("an image")
        } else if self.network != NetworkPlan::Host {
            Some("a network of its own")
        } else if !self.volumes.is_empty() {
            Some("volumes")
        } else if self.privileged || self.capabilities.is_some() {
            Some("other privileges")
        } else {
            None
        }
    }
}

/// The text for what this agent cannot do.
pub(crate) fn unsupported(field: &str, found: &str) -> String {
    format!("Task uses '{field}' ({found}), which this agent does not support")
}

fn docker_parameters(docker: Option<&DockerInfo>, field: &str) -> Result<DockerParameters, String> {
    let parameters = docker.iter().flat_map(|docker| &docker.parameters);
    let pairs = parameters.map(|parameter| (&*parameter.key, &*parameter.value));
    DockerParameters::parse(pairs).map_err(|error| format!("Task's '{field}.docker.parameters': {error}"))
}

fn image(
    info: &ContainerInfo,
    docker: Option<&DockerInfo>,
    field: &str,
) -> Result<Option<ImagePlan>, String> {
    if let Some(docker) = docker {
        let field = format!("{field}.docker.image");
        let force_pull = docker.force_pull_image();
        return named(&docker.image, force_pull, None, &field).map(Some);
    }
    let Some(image) = info.mesos.as_ref().and_then(|mesos| mesos.image.as_ref()) else { return Ok(None) };
    of_message(image, &format!("{field}.mesos.image")).map(Some)
}

fn of_message(image: &Image, field: &str) -> Result<ImagePlan, String> {
    let docker = match image.r#type() {
        image::Type::Appc => return Err(unsupported(&format!("{field}.type"), "APPC")),
        image::Type::Docker => image.docker.as_ref(),
    };
    let Some(docker) = docker else {
        return Err(format!("Task's '{field}' is of type DOCKER and has no 'docker'"));
    };
    let config = match &docker.config {
        None => None,
        Some(secret) if secret.r#type() == secret::Type::Value => {
            secret.value.as_ref().map(|value| value.data.clone())
        }
        Some(_) => return Err(unsupported(&format!("{field}.docker.config"), "a reference to a secret")),
    };
    named(&docker.name, !image.cached(), config, &format!("{field}.docker.name"))
}

fn named(
    name: &str,
    force_pull: bool,
    docker_config: Option<Vec<u8>>,
    field: &str,
) -> Result<ImagePlan, String> {
    let name = name.trim();
    match name.is_empty() {
        true => Err(format!("Task's '{field}' is empty")),
        false => Ok(ImagePlan { name: name.to_owned(), force_pull, docker_config }),
    }
}

fn check_linux(linux: Option<&LinuxInfo>, field: &str) -> Result<(), String> {
    let Some(linux) = linux else { return Ok(()) };
    let field = |name: &str| format!("{field}.linux_info.{name}");
    if linux.share_pid_namespace() {
        return Err(unsupported(&field("share_pid_namespace"), "true"));
    }
    if linux.ipc_mode() == IpcMode::ShareParent {
        return Err(unsupported(&field("ipc_mode"), "SHARE_PARENT"));
    }
    if let Some(profile) = linux.seccomp.as_ref().and_then(|seccomp| seccomp.profile_name.as_ref()) {
        return Err(unsupported(&field("seccomp.profile_name"), profile));
    }
    Ok(())
}

/// What is effective is what counts: nothing here gains a capability later that it did not begin with.
fn capabilities(linux: &LinuxInfo) -> Option<Vec<&'static str>> {
    #[allow(deprecated, reason = "frameworks use it")]
    let old = linux.capability_info.as_ref();
    let set: &CapabilityInfo =
        linux.effective_capabilities.as_ref().or(linux.bounding_capabilities.as_ref()).or(old)?;
    Some(set.capabilities().map(|capability| capability.as_str_name()).collect())
}

fn rlimits(info: &ContainerInfo, parameters: &DockerParameters, field: &str) -> Result<Vec<RLimit>, String> {
    let own = info.rlimit_info.iter().flat_map(|limits| &limits.rlimits);
    let all: Vec<RLimit> = own.chain(&parameters.rlimits).copied().collect();
    for limit in &all {
        let field = format!("{field}.rlimit_info");
        let name = limit.r#type().as_str_name();
        match (limit.soft, limit.hard) {
            _ if limit.r#type() == r_limit::Type::Unknown => {
                return Err(unsupported(&field, "a limit of an unknown type"));
            }
            (Some(soft), Some(hard)) if soft > hard => {
                return Err(format!("Task's '{field}' has {name} with a soft limit above its hard one"));
            }
            (Some(_), None) | (None, Some(_)) => {
                return Err(format!("Task's '{field}' has {name} with only one of 'soft' and 'hard'"));
            }
            _ => {}
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
