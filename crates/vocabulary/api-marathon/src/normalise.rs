//! From the forms that a request may have to the one that is kept and shown.

use crate::app::{AppDefinition, PortDefinition};
use crate::artifact::Artifact;
use crate::container::{Container, Engine, PortMapping};
use crate::health::{HealthCheck, Protocol};
use crate::network::{MESOS_BRIDGE, Network, NetworkMode};
use crate::problems::Problems;
use crate::update::{AppUpdate, DockerNetwork, GivenContainer, IpAddress};

/// The given fields that have old forms, in the new ones. What was not given is `None`.
#[derive(Debug, Default)]
pub(crate) struct Translated {
    pub(crate) container: Option<Container>,
    pub(crate) networks: Option<Vec<Network>>,
    pub(crate) port_definitions: Option<Vec<PortDefinition>>,
    pub(crate) fetch: Option<Vec<Artifact>>,
}

/// Translates old forms, noting where old and new ones contradict each other.
///
/// Marathon: `AppNormalization.forDeprecated`, `AppNormalization.forDeprecatedUpdates`.
pub(crate) fn translate(update: &AppUpdate, problems: &mut Problems) -> Translated {
    let old_ports =
        || update.ports.as_ref().map(|ports| ports.iter().map(|port| plain_port(*port)).collect());
    Translated {
        container: container(update, problems),
        networks: networks(update, problems),
        port_definitions: update.port_definitions.clone().or_else(old_ports),
        fetch: artifacts(update),
    }
}

/// Marathon: `AppNormalization.Artifacts`.
fn artifacts(update: &AppUpdate) -> Option<Vec<Artifact>> {
    let uris = update.uris.as_ref().filter(|uris| !uris.is_empty());
    match (uris, &update.fetch) {
        (Some(uris), None) => Some(uris.iter().map(|uri| Artifact::of_uri(uri)).collect()),
        (Some(uris), Some(fetch)) if fetch.is_empty() => {
            Some(uris.iter().map(|uri| Artifact::of_uri(uri)).collect())
        }
        (_, fetch) => fetch.clone(),
    }
}

/// Marathon: `AppNormalization.migrateDockerPortMappings`, `AppNormalization.migrateIpDiscovery`.
fn container(update: &AppUpdate, problems: &mut Problems) -> Option<Container> {
    let given = match (&update.container, &update.ip_address) {
        (Some(given), _) => given.clone(),
        (None, Some(_)) => GivenContainer::default(),
        (None, None) => return None,
    };
    let GivenContainer { mut container, docker_mappings, .. } = given;
    match (&container.port_mappings, docker_mappings) {
        (Some(_), Some(old)) if !old.is_empty() => {
            problems.add("/", "cannot specify both portMappings and docker.portMappings");
        }
        (None, Some(old)) => container.port_mappings = Some(old),
        _ => {}
    }
    let discovered = update.ip_address.iter().flat_map(|address| &address.ports).cloned();
    let discovered: Vec<PortMapping> = discovered.collect();
    if container.engine == Engine::Mesos && !discovered.is_empty() {
        if container.port_mappings.is_some() {
            let why = "container.portMappings and ipAddress.discovery.ports must not both be set";
            problems.add("/", why);
        }
        container.port_mappings = Some(discovered);
    }
    Some(container)
}

/// Marathon: `AppNormalization.NetworkTranslation`. Giving both forms is a problem of its own.
fn networks(update: &AppUpdate, problems: &mut Problems) -> Option<Vec<Network>> {
    let docker = update.container.as_ref().and_then(|container| container.network);
    let named = |address: &IpAddress, mode| Network {
        name: address.network_name.clone().filter(|_| mode == NetworkMode::Container),
        mode,
        labels: address.labels.clone(),
    };
    let network = match (&update.ip_address, docker) {
        (None, None) => return update.networks.clone(),
        (_, Some(DockerNetwork::None)) => {
            problems.add("/container/docker/network", "unsupported docker network type NONE");
            return None;
        }
        (_, Some(DockerNetwork::Host)) => Network::of(NetworkMode::Host),
        (Some(address), Some(DockerNetwork::Bridge)) => named(address, NetworkMode::Bridge),
        (Some(address), Some(DockerNetwork::User)) => named(address, NetworkMode::Container),
        (None, Some(DockerNetwork::Bridge)) => Network::of(NetworkMode::Bridge),
        (None, Some(DockerNetwork::User)) => Network::of(NetworkMode::Container),
        (Some(address), None) if address.network_name.as_deref() == Some(MESOS_BRIDGE) => {
            named(address, NetworkMode::Bridge)
        }
        (Some(address), None) => named(address, NetworkMode::Container),
    };
    Some(vec![network])
}

/// Fills in what follows from the networks: port definitions on the host's, port mappings on others; and the port that
/// health checks are about. On the host's network Marathon says the port only of apps whose ports were given in the new
/// form, which is `new_ports`.
///
/// Marathon: the rest of `AppNormalization.forDeprecated`, and `AppNormalization.forPostValidation`.
pub(crate) fn settle(app: &mut AppDefinition, new_ports: bool) {
    if app.is_on_host_network() {
        if app.networks.is_empty() {
            app.networks = vec![Network::of(NetworkMode::Host)];
        }
        // Marathon, too, drops mappings that have nothing to map.
        if let Some(container) = &mut app.container {
            container.port_mappings = None;
        }
        app.port_definitions.get_or_insert_with(|| vec![default_port()]);
        if new_ports {
            default_port_index(&mut app.health_checks);
        }
        return;
    }
    let definitions = app.port_definitions.take().unwrap_or_default().len();
    // One mapping for each old port, but only where a container was described.
    let wanted = if app.container.is_some() { definitions } else { 0 };
    let container = app.container.get_or_insert_with(Container::default);
    let mappings = container.port_mappings.get_or_insert_with(|| vec![default_mapping()]);
    if mappings.len() < wanted {
        mappings.resize_with(wanted, PortMapping::default);
    }
    for mapping in mappings {
        mapping.host_port.get_or_insert(0);
    }
    app.require_ports = false;
    default_port_index(&mut app.health_checks);
}

/// Marathon: `Apps.DefaultPortDefinitions`.
fn default_port() -> PortDefinition {
    PortDefinition { name: Some("default".to_owned()), ..plain_port(0) }
}

/// Marathon: `Apps.DefaultPortMappings`.
fn default_mapping() -> PortMapping {
    PortMapping { name: Some("default".to_owned()), ..PortMapping::default() }
}

fn plain_port(port: u16) -> PortDefinition {
    PortDefinition { port, labels: Default::default(), name: None, protocol: "tcp".to_owned() }
}

/// Marathon: `AppNormalization.normalizeHealthChecks`.
pub(crate) fn default_port_index(checks: &mut [HealthCheck]) {
    for check in checks {
        if check.protocol != Protocol::Command && check.port.is_none() && check.port_index.is_none() {
            check.port_index = Some(0);
        }
    }
}
