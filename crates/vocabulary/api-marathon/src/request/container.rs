//! Containers, with the old forms of what belongs to networks.

use crate::container::{
    Container, DockerContainer, DockerParameter, Engine, HostVolume, IpcInfo, IpcMode, LinuxInfo,
    PortMapping, ReadMode, Seccomp,
};
use crate::read::{At, Reader};
use crate::update::{DockerNetwork, GivenContainer};

use super::{Refused, labels, network, network_protocol, port, port_name, refuse};

pub(super) fn container(reader: &mut Reader, at: &At<'_>, refused: &mut Refused) -> Option<GivenContainer> {
    reader.object(at)?;
    let engines = [("DOCKER", Engine::Docker), ("MESOS", Engine::Mesos)];
    let engine =
        at.member("type").map_or(Some(Engine::Docker), |at| reader.one_of(&at, "EngineType", &engines));
    let docker = at.member("docker").map_or(Some(None), |at| docker(reader, &at, engine, refused).map(Some));
    let linux_info =
        at.member("linuxInfo").map_or(Some(None), |at| linux_info(reader, &at, refused).map(Some));
    let volumes = at.member("volumes").map_or(Some(Vec::new()), |at| {
        let volumes = reader.list(&at, |reader, at| volume(reader, at, refused))?;
        Some(volumes.into_iter().flatten().collect())
    });
    let port_mappings = mappings(reader, at);
    let old = docker?;
    let (docker, network, docker_mappings) = match old {
        Some(Docker { docker, network, port_mappings }) => (Some(docker), network, port_mappings),
        None => (None, None, None),
    };
    Some(GivenContainer {
        container: Container {
            engine: engine?,
            docker,
            linux_info: linux_info?,
            volumes: volumes?,
            port_mappings: port_mappings?,
        },
        network,
        docker_mappings,
    })
}

/// `docker` with its deprecated fields.
struct Docker {
    docker: DockerContainer,
    network: Option<DockerNetwork>,
    port_mappings: Option<Vec<PortMapping>>,
}

fn docker(reader: &mut Reader, at: &At<'_>, engine: Option<Engine>, refused: &mut Refused) -> Option<Docker> {
    reader.object(at)?;
    let image = match at.member("image") {
        Some(at) => reader.non_empty_string(&at),
        None => {
            reader.missing(at, "image");
            None
        }
    };
    let mut flag = |name| at.member(name).map_or(Some(false), |at| reader.boolean(&at));
    let (force_pull_image, privileged) = (flag("forcePullImage"), flag("privileged"));
    let parameters =
        at.member("parameters").map_or(Some(Vec::new()), |at| reader.list(&at, docker_parameter));
    let networks = DockerNetwork::ALL.map(|network| (network.as_str(), network));
    let network = at
        .member("network")
        .map_or(Some(None), |at| reader.one_of(&at, "DockerNetwork", &networks).map(Some));
    let port_mappings = mappings(reader, at);
    refuse(at, "credential", refused);
    match at.member("pullConfig") {
        Some(config) if engine == Some(Engine::Docker) => {
            refused.push((config.path, "pullConfig is not supported with Docker containerizer".to_owned()));
        }
        _ => drop(refuse(at, "pullConfig", refused)),
    }
    let docker = DockerContainer {
        force_pull_image: force_pull_image?,
        image: image?,
        parameters: parameters?,
        privileged: privileged?,
    };
    Some(Docker { docker, network: network?, port_mappings: port_mappings? })
}

fn docker_parameter(reader: &mut Reader, at: &At<'_>) -> Option<DockerParameter> {
    reader.object(at)?;
    let mut text = |name, read: fn(&mut Reader, &At<'_>) -> Option<String>| match at.member(name) {
        Some(at) => read(reader, &at),
        None => {
            reader.missing(at, name);
            None
        }
    };
    let (key, value) = (text("key", Reader::non_empty_string), text("value", Reader::string));
    Some(DockerParameter { key: key?, value: value? })
}

/// The member `portMappings`, of the container or, in the old form, of `docker`.
fn mappings(reader: &mut Reader, of: &At<'_>) -> Option<Option<Vec<PortMapping>>> {
    of.member("portMappings").map_or(Some(None), |at| reader.list(&at, mapping).map(Some))
}

fn mapping(reader: &mut Reader, at: &At<'_>) -> Option<PortMapping> {
    reader.object(at)?;
    let container_port = at.member("containerPort").map_or(Some(0), |at| port(reader, &at));
    let host_port = at.member("hostPort").map_or(Some(None), |at| port(reader, &at).map(Some));
    let labels = labels(reader, at);
    let name = at.member("name").map_or(Some(None), |at| port_name(reader, &at).map(Some));
    let protocol = network_protocol(reader, at);
    let service_port = at.member("servicePort").map_or(Some(0), |at| port(reader, &at));
    let network_names =
        at.member("networkNames").map_or(Some(Vec::new()), |at| reader.list(&at, network::network_name));
    Some(PortMapping {
        container_port: container_port?,
        host_port: host_port?,
        labels: labels?,
        name: name?,
        protocol: protocol?,
        service_port: service_port?,
        network_names: network_names?,
    })
}

/// A host volume; `Some(None)` for one of another kind, which is refused.
fn volume(reader: &mut Reader, at: &At<'_>, refused: &mut Refused) -> Option<Option<HostVolume>> {
    reader.object(at)?;
    let others = ["persistent", "external", "secret"];
    if others.into_iter().filter(|other| refuse(at, other, refused)).count() > 0 {
        return Some(None);
    }
    let mut path = |name| match at.member(name) {
        Some(at) => reader.non_empty_string(&at),
        None => {
            reader.missing(at, name);
            None
        }
    };
    let (container_path, host_path) = (path("containerPath"), path("hostPath"));
    let modes = [("RO", ReadMode::Ro), ("RW", ReadMode::Rw)];
    let mode = match at.member("mode") {
        Some(at) => reader.one_of(&at, "ReadMode", &modes),
        None => {
            reader.missing(at, "mode");
            None
        }
    };
    Some(Some(HostVolume { container_path: container_path?, host_path: host_path?, mode: mode? }))
}

fn linux_info(reader: &mut Reader, at: &At<'_>, refused: &mut Refused) -> Option<LinuxInfo> {
    reader.object(at)?;
    let seccomp = at.member("seccomp").map_or(Some(None), |at| seccomp(reader, &at, refused).map(Some));
    let ipc_info = at.member("ipcInfo").map_or(Some(None), |at| ipc_info(reader, &at, refused).map(Some));
    Some(LinuxInfo { seccomp: seccomp?, ipc_info: ipc_info? })
}

fn seccomp(reader: &mut Reader, at: &At<'_>, refused: &mut Refused) -> Option<Seccomp> {
    reader.object(at)?;
    refuse(at, "profileName", refused);
    let unconfined = at.member("unconfined").map_or(Some(false), |at| reader.boolean(&at))?;
    Some(Seccomp { unconfined })
}

fn ipc_info(reader: &mut Reader, at: &At<'_>, refused: &mut Refused) -> Option<IpcInfo> {
    reader.object(at)?;
    let modes = [("PRIVATE", Some(IpcMode::Private)), ("SHARE_PARENT", None)];
    let mode = match at.member("mode") {
        Some(at) => {
            let mode = reader.one_of(&at, "IPCMode", &modes);
            if mode == Some(None) {
                let why = "sharing memory with the agent is not supported; supported is PRIVATE";
                refused.push((at.path, why.to_owned()));
            }
            mode
        }
        None => {
            reader.missing(at, "mode");
            None
        }
    };
    let shm_size = at.member("shmSize").map_or(Some(None), |at| reader.int(&at).map(Some));
    Some(IpcInfo { mode: mode?.unwrap_or_default(), shm_size: shm_size? })
}
