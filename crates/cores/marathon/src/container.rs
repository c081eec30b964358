use api_marathon::{
    AppDefinition, AppPort, Container, DockerContainer, Engine, LinuxInfo, MESOS_BRIDGE, Network,
    NetworkMode, ReadMode,
};
use base::TaskId;
use mesos_proto::v1::{self, container_info, container_info::docker_info, image, network_info};

use crate::task::labels;

/// The container of a task; `None` if its app asks for nothing that a plain process has not got. `ports` are the host
/// ports, one for each port of the app.
///
/// Marathon: `TaskBuilder.computeContainerInfo`, `ContainerSerializer.toMesos`. There a terminal needs a container.
pub(crate) fn info(app: &AppDefinition, task: &TaskId, ports: &[u16]) -> Option<v1::ContainerInfo> {
    let tty_info = (app.tty == Some(true)).then(v1::TtyInfo::default);
    let Some(container) = &app.container else {
        return tty_info.map(|tty| v1::ContainerInfo { tty_info: Some(tty), ..plain() });
    };
    let volumes = container.volumes.iter().map(|volume| v1::Volume {
        container_path: volume.container_path.clone(),
        host_path: Some(volume.host_path.clone()),
        mode: match volume.mode {
            ReadMode::Ro => v1::volume::Mode::Ro,
            ReadMode::Rw => v1::volume::Mode::Rw,
        } as i32,
        ..v1::Volume::default()
    });
    let of_engine = match (container.engine, &container.docker) {
        (Engine::Docker, Some(docker)) => v1::ContainerInfo {
            r#type: container_info::Type::Docker as i32,
            docker: Some(docker_info(app, docker, task, ports)),
            ..v1::ContainerInfo::default()
        },
        (_, docker) => v1::ContainerInfo {
            mesos: Some(container_info::MesosInfo { image: docker.as_ref().map(mesos_image) }),
            network_infos: app
                .networks
                .iter()
                .filter_map(|network| network_info(app, network, ports))
                .collect(),
            linux_info: linux_info(container),
            ..plain()
        },
    };
    Some(v1::ContainerInfo { volumes: volumes.collect(), tty_info, ..of_engine })
}

fn plain() -> v1::ContainerInfo {
    v1::ContainerInfo {
        r#type: container_info::Type::Mesos as i32,
        mesos: Some(container_info::MesosInfo::default()),
        ..v1::ContainerInfo::default()
    }
}

/// The port that a task listens on: a container port of 0 is the same as the host port.
pub(crate) fn inner_port(port: &AppPort<'_>, host_port: u16) -> u16 {
    port.container_port.unwrap_or(host_port)
}

/// Every mapping of a host port, once for each of its protocols.
fn mapped<'a>(
    app: &'a AppDefinition,
    ports: &'a [u16],
) -> impl Iterator<Item = (u32, u32, Option<String>)> + 'a {
    app.ports().zip(ports).flat_map(|(port, host_port)| {
        let (outer, inner) = (u32::from(*host_port), u32::from(inner_port(&port, *host_port)));
        port.protocol.split(',').map(move |protocol| (outer, inner, Some(protocol.to_owned())))
    })
}

/// Marathon: `DockerSerializer.toMesos`.
fn docker_info(
    app: &AppDefinition,
    docker: &DockerContainer,
    task: &TaskId,
    ports: &[u16],
) -> container_info::DockerInfo {
    let is_bridged = !app.is_on_host_network();
    let network = if is_bridged { docker_info::Network::Bridge } else { docker_info::Network::Host };
    let mapping = |(host_port, container_port, protocol)| docker_info::PortMapping {
        host_port,
        container_port,
        protocol,
    };
    let own = v1::Parameter { key: "label".to_owned(), value: format!("MESOS_TASK_ID={task}") };
    let given = docker
        .parameters
        .iter()
        .map(|parameter| v1::Parameter { key: parameter.key.clone(), value: parameter.value.clone() });
    container_info::DockerInfo {
        image: docker.image.clone(),
        network: Some(network as i32),
        port_mappings: mapped(app, ports).filter(|_| is_bridged).map(mapping).collect(),
        privileged: Some(docker.privileged),
        parameters: given.chain([own]).collect(),
        force_pull_image: Some(docker.force_pull_image),
        ..container_info::DockerInfo::default()
    }
}

/// Marathon: `MesosDockerSerializer.toMesos`.
fn mesos_image(docker: &DockerContainer) -> v1::Image {
    v1::Image {
        r#type: image::Type::Docker as i32,
        docker: Some(image::Docker { name: docker.image.clone(), ..image::Docker::default() }),
        cached: Some(!docker.force_pull_image),
        ..v1::Image::default()
    }
}

/// What a container's own network is; `None` on the host's. Mesos' port mapper knows no mapping of two protocols, so
/// that, unlike in Marathon, each gets a mapping of its own.
fn network_info(app: &AppDefinition, network: &Network, ports: &[u16]) -> Option<v1::NetworkInfo> {
    let name = match network.mode {
        NetworkMode::Host => return None,
        NetworkMode::Bridge => MESOS_BRIDGE.to_owned(),
        NetworkMode::Container => network.name.clone()?,
    };
    let mapping = |(host_port, container_port, protocol)| network_info::PortMapping {
        host_port,
        container_port,
        protocol,
    };
    Some(v1::NetworkInfo {
        ip_addresses: vec![network_info::IpAddress::default()],
        name: Some(name),
        labels: labels(&network.labels),
        port_mappings: mapped(app, ports).map(mapping).collect(),
        ..v1::NetworkInfo::default()
    })
}

/// Marathon: `LinuxInfoSerializer.toMesos`.
fn linux_info(container: &Container) -> Option<v1::LinuxInfo> {
    let LinuxInfo { seccomp, ipc_info } = container.linux_info.as_ref()?;
    Some(v1::LinuxInfo {
        seccomp: seccomp.map(|seccomp| v1::SeccompInfo {
            unconfined: Some(seccomp.unconfined),
            ..v1::SeccompInfo::default()
        }),
        ipc_mode: ipc_info.map(|_| v1::linux_info::IpcMode::Private as i32),
        shm_size: ipc_info.and_then(|info| info.shm_size),
        ..v1::LinuxInfo::default()
    })
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
