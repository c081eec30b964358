use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a task's container is made of.
///
/// Both engines run on the agent's own containerizer; they differ in what they may ask for. Marathon: RAML type
/// `Container`, in its order of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Whose rules apply.
    #[serde(rename = "type")]
    pub engine: Engine,
    /// The image; without one the container has the agent's files.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub docker: Option<DockerContainer>,
    /// How far the kernel shuts the container off.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub linux_info: Option<LinuxInfo>,
    /// Files of the agent that the container sees.
    #[serde(default)]
    pub volumes: Vec<HostVolume>,
    /// Ports of the container that the agent's ports lead to; `None` where the container has the agent's network.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port_mappings: Option<Vec<PortMapping>>,
}

/// Kinds of containerizers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum Engine {
    #[default]
    Mesos,
    Docker,
}

impl Engine {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Engine::Mesos => "MESOS",
            Engine::Docker => "DOCKER",
        }
    }
}

/// An image and what goes with it.
///
/// Marathon: RAML type `DockerContainer`, without its deprecated fields, which are read and translated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerContainer {
    /// Whether the registry is asked even if the agent has the image.
    #[serde(default)]
    pub force_pull_image: bool,
    /// Name of the image.
    pub image: String,
    /// Options of `docker run`; only [`Engine::Docker`] has them.
    #[serde(default)]
    pub parameters: Vec<DockerParameter>,
    /// Whether the container may do what the agent may; only [`Engine::Docker`] has it.
    #[serde(default)]
    pub privileged: bool,
}

/// An option of `docker run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DockerParameter {
    /// Its name, without dashes.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A port of the container and how it is reached from outside.
///
/// Marathon: RAML type `ContainerPortMapping`, in its order of fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// The port that the task listens on; 0 means the same as the host port.
    pub container_port: u16,
    /// The agent's port; 0 lets Marathon choose. On a bridge network it is always there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host_port: Option<u16>,
    /// Labels of the port, in the task's discovery information.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its name, unique in the app.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// `tcp`, `udp` or `udp,tcp`.
    pub protocol: String,
    /// The port that load balancers offer it at; 0 lets Marathon choose.
    pub service_port: u16,
    /// Container networks that it is for, of which there are none yet.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub network_names: Vec<String>,
}

impl Default for PortMapping {
    fn default() -> Self {
        PortMapping {
            container_port: 0,
            host_port: None,
            labels: BTreeMap::new(),
            name: None,
            protocol: "tcp".to_owned(),
            service_port: 0,
            network_names: Vec::new(),
        }
    }
}

/// A file or directory of the agent, or of the sandbox if its path is relative.
///
/// Marathon: RAML type `AppHostVolume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostVolume {
    /// Where it is in the container.
    pub container_path: String,
    /// Where it is on the agent.
    pub host_path: String,
    /// What the task may do with it.
    pub mode: ReadMode,
}

/// What a task may do with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ReadMode {
    /// Read it.
    Ro,
    /// Read and write it.
    Rw,
}

/// How far the kernel shuts a container off.
///
/// Marathon: RAML type `LinuxInfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinuxInfo {
    /// Which system calls it may make.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seccomp: Option<Seccomp>,
    /// Its shared memory.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ipc_info: Option<IpcInfo>,
}

/// Which system calls a container may make: those of the default profile, or all. Profiles by name are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seccomp {
    /// Whether it may make all.
    pub unconfined: bool,
}

/// The shared memory of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpcInfo {
    /// With whom it is shared.
    pub mode: IpcMode,
    /// Size of `/dev/shm` in MiB; `None` leaves it to the agent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shm_size: Option<u32>,
}

/// With whom a container shares memory: with nobody. What it could share with, its parent, is the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum IpcMode {
    #[default]
    Private,
}
