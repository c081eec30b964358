use mesos_proto::v1::container_info::DockerInfo;
use mesos_proto::v1::container_info::docker_info::Network;
use mesos_proto::v1::{ContainerInfo, NetworkInfo};

use super::unsupported;

/// The names of the one container network that every agent has: Mesos' and docker's.
const BRIDGE: [&str; 2] = ["mesos-bridge", "bridge"];

/// What of the network a container sees.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum NetworkPlan {
    /// All that the host has.
    #[default]
    Host,
    /// An address of its own behind the agent's bridge.
    Bridge {
        /// As the task says it, to be told with the address in its status; None for a container of type
        /// DOCKER, which does not name it.
        info: Option<Box<NetworkInfo>>,
        /// Ports of the host that lead to it.
        port_mappings: Vec<PortMapping>,
    },
    /// Only itself.
    None,
}

/// A port of the host that leads to one of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortMapping {
    /// On the host.
    pub host_port: u16,
    /// In the container.
    pub container_port: u16,
    /// Of both.
    pub protocol: Protocol,
}

/// What a port is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // the names say it
pub enum Protocol {
    Tcp,
    Udp,
}

impl NetworkPlan {
    /// The ports of the host that lead to the container.
    pub fn port_mappings(&self) -> &[PortMapping] {
        match self {
            NetworkPlan::Bridge { port_mappings, .. } => port_mappings,
            NetworkPlan::Host | NetworkPlan::None => &[],
        }
    }
}

pub(super) fn of(
    info: &ContainerInfo,
    docker: Option<&DockerInfo>,
    field: &str,
) -> Result<NetworkPlan, String> {
    let named = named(info, field)?;
    let Some(docker) = docker else {
        return match named {
            None => Ok(NetworkPlan::Host),
            Some(network) => {
                let ports = network.port_mappings.iter();
                let ports = ports.map(|port| (port.host_port, port.container_port, port.protocol.as_deref()));
                let port_mappings = mappings(ports, &format!("{field}.network_infos.port_mappings"))?;
                Ok(NetworkPlan::Bridge { info: Some(Box::new(network.clone())), port_mappings })
            }
        };
    };
    let ports = docker.port_mappings.iter();
    let ports = ports.map(|port| (port.host_port, port.container_port, port.protocol.as_deref()));
    let port_field = format!("{field}.docker.port_mappings");
    let port_mappings = mappings(ports, &port_field)?;
    let alone = |plan| match port_mappings.is_empty() {
        true => Ok(plan),
        false => Err(format!(
            "Task's '{port_field}': port mappings are only supported for the network BRIDGE and the \
             network 'mesos-bridge'"
        )),
    };
    match (docker.network(), named) {
        (Network::Host, _) => alone(NetworkPlan::Host),
        (Network::None, _) => alone(NetworkPlan::None),
        (Network::Bridge, _) | (Network::User, Some(_)) => {
            Ok(NetworkPlan::Bridge { info: None, port_mappings: port_mappings.clone() })
        }
        (Network::User, None) => {
            Err(format!("Task's '{field}.docker.network' is USER, and '{field}.network_infos' names none"))
        }
    }
}

/// The network that is named, if one is.
fn named<'a>(info: &'a ContainerInfo, field: &str) -> Result<Option<&'a NetworkInfo>, String> {
    let field = |name: &str| format!("{field}.network_infos{name}");
    if info.network_infos.len() > 1 {
        return Err(unsupported(&field(""), "more than one network"));
    }
    let Some(network) = info.network_infos.first() else { return Ok(None) };
    if let Some(address) = network.ip_addresses.iter().find_map(|address| address.ip_address.as_ref()) {
        return Err(unsupported(&field(".ip_addresses"), address));
    }
    match network.name.as_deref() {
        Some(name) if BRIDGE.contains(&name) => Ok(Some(network)),
        Some(name) => Err(unsupported(&field(".name"), name)),
        None if network.port_mappings.is_empty() => Ok(None),
        None => Err(format!("Task's '{}' are of a network without a name", field(".port_mappings"))),
    }
}

fn mappings<'a>(
    ports: impl Iterator<Item = (u32, u32, Option<&'a str>)>,
    field: &str,
) -> Result<Vec<PortMapping>, String> {
    let mut all: Vec<PortMapping> = Vec::new();
    for (host_port, container_port, protocol) in ports {
        let port = |name: &str, number: u32| {
            u16::try_from(number)
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| format!("Task's '{field}': {name} is {number}; allowed is 1 to 65535"))
        };
        let protocol = match protocol.map(str::to_ascii_lowercase).as_deref() {
            None | Some("tcp") => Protocol::Tcp,
            Some("udp") => Protocol::Udp,
            Some(other) => {
                return Err(format!("Task's '{field}': protocol is '{other}'; allowed are tcp and udp"));
            }
        };
        let mapping = PortMapping {
            host_port: port("host_port", host_port)?,
            container_port: port("container_port", container_port)?,
            protocol,
        };
        let twice =
            all.iter().any(|known| (known.host_port, known.protocol) == (mapping.host_port, protocol));
        if twice {
            return Err(format!("Task's '{field}': host_port {host_port} leads to two ports"));
        }
        all.push(mapping);
    }
    Ok(all)
}
