//! Networks, in either form.

use crate::container::PortMapping;
use crate::id::is_segment;
use crate::network::{Network, NetworkMode};
use crate::read::{At, Reader};
use crate::update::IpAddress;

use super::{labels, network_protocol, port, port_name};

/// Marathon: RAML type `Name`.
const MAX_NAME: usize = 63;

pub(super) fn network(reader: &mut Reader, at: &At<'_>) -> Option<Network> {
    reader.object(at)?;
    let modes = [
        ("container", NetworkMode::Container),
        ("container/bridge", NetworkMode::Bridge),
        ("host", NetworkMode::Host),
    ];
    let name = at.member("name").map_or(Some(None), |at| network_name(reader, &at).map(Some));
    let mode = at
        .member("mode")
        .map_or(Some(NetworkMode::Container), |at| reader.one_of(&at, "NetworkMode", &modes));
    let labels = labels(reader, at);
    Some(Network { name: name?, mode: mode?, labels: labels? })
}

/// Marathon: RAML types `NetworkName` and `Name`; the first allows underscores, which here both do.
pub(super) fn network_name(reader: &mut Reader, at: &At<'_>) -> Option<String> {
    let name = reader.non_empty_string(at)?;
    if name.contains('.') || name.len() > MAX_NAME || !is_segment(&name.replace('_', "-")) {
        let explanation = format!(
            "found '{name}', allowed are at most {MAX_NAME} lower-case letters, digits and inner dashes"
        );
        reader.problems.explain(&at.path, "error.pattern", explanation);
        return None;
    }
    Some(name)
}

/// The old form of networks by name. `groups` means nothing, as in Marathon.
pub(super) fn ip_address(reader: &mut Reader, at: &At<'_>) -> Option<IpAddress> {
    reader.object(at)?;
    let network_name =
        at.member("networkName").map_or(Some(None), |at| reader.non_empty_string(&at).map(Some));
    let labels = labels(reader, at);
    let discovery = at.member("discovery");
    if let Some(discovery) = &discovery {
        reader.object(discovery)?;
    }
    let ports = discovery.as_ref().and_then(|discovery| discovery.member("ports"));
    let ports = ports.map_or(Some(Vec::new()), |at| reader.list(&at, discovery_port));
    Some(IpAddress {
        network_name: network_name?,
        labels: labels?,
        has_discovery: discovery.is_some(),
        ports: ports?,
    })
}

/// Marathon: RAML type `IpDiscoveryPort`, `AppNormalization.migrateIpDiscovery`.
fn discovery_port(reader: &mut Reader, at: &At<'_>) -> Option<PortMapping> {
    reader.object(at)?;
    let number = at.member("number").map_or(Some(0), |at| port(reader, &at));
    let name = match at.member("name") {
        Some(at) => port_name(reader, &at),
        None => {
            reader.missing(at, "name");
            None
        }
    };
    let (protocol, labels) = (network_protocol(reader, at), labels(reader, at));
    Some(PortMapping {
        container_port: number?,
        name: Some(name?),
        protocol: protocol?,
        labels: labels?,
        ..PortMapping::default()
    })
}
