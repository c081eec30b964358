//! Containers and networks.

use std::collections::BTreeSet;

use api_mesos::docker_parameters::DockerParameters;

use crate::app::AppDefinition;
use crate::container::{Container, DockerContainer, Engine, PortMapping};
use crate::network::{Network, NetworkMode};
use crate::problems::Problems;
use crate::update::AppUpdate;

use super::all_unique;

const NAMES_UNIQUE: &str = "Port names must be unique.";
const EMPTY: &str = "must be empty";

/// Marathon: `AppValidation.validOldContainerAPI`.
pub(super) fn old_forms(problems: &mut Problems, update: &AppUpdate) {
    let Some(given) = &update.container else { return };
    if given.container.engine == Engine::Mesos {
        problems.check(given.network.is_none(), "/container/docker/network", EMPTY);
        problems.check(given.docker_mappings.is_none(), "/container/docker/portMappings", EMPTY);
    }
    let names = given.docker_mappings.iter().flatten().filter_map(|mapping| mapping.name.as_ref());
    problems.check(all_unique(names), "/container/docker/portMappings", NAMES_UNIQUE);
}

/// Marathon: `AppValidation.validateOldAppAPI`.
pub(super) fn old_networks(problems: &mut Problems, update: &AppUpdate) {
    let has_networks = update.networks.as_ref().is_some_and(|networks| !networks.is_empty());
    let docker_network = update.container.as_ref().is_some_and(|given| given.network.is_some());
    problems.check(
        !(docker_network && has_networks),
        "/",
        "must not specify both container.docker.network and networks",
    );
    let Some(address) = &update.ip_address else { return };
    let is_docker = update.container.as_ref().is_some_and(|given| given.container.engine == Engine::Docker);
    problems.check(
        !(is_docker && address.has_discovery),
        "/ipAddress",
        "ipAddress/discovery is not allowed for Docker containers",
    );
    problems.check(!has_networks, "/", "must not specify both networks and ipAddress");
    let has_ports = update.ports.as_ref().is_some_and(|ports| !ports.is_empty())
        || update.port_definitions.as_ref().is_some_and(|definitions| !definitions.is_empty());
    problems.check(!has_ports, "/", "cannot specify both an IP address and port");
}

/// Marathon: `AppValidation.validContainer`.
pub(super) fn container(problems: &mut Problems, app: &AppDefinition) {
    let Some(container) = &app.container else { return };
    match (&container.docker, container.engine) {
        (None, Engine::Docker) => problems.add("/container/docker", "not defined"),
        (None, Engine::Mesos) => {}
        (Some(docker), engine) => image(problems, docker, engine),
    }
    mappings(problems, container.port_mappings.as_deref().unwrap_or_default(), &app.networks);
    volumes(problems, container);
    linux_info(problems, container);
}

fn image(problems: &mut Problems, docker: &DockerContainer, engine: Engine) {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
    problems.check(
        docker.image.chars().all(is_plain),
        "/container/docker/image",
        "must not contain spaces or control characters",
    );
    if engine == Engine::Mesos {
        problems.check(docker.parameters.is_empty(), "/container/docker/parameters", EMPTY);
        // Marathon drops it without a word.
        let why = "only supported with container type DOCKER; supported with type MESOS is false";
        problems.check(!docker.privileged, "/container/docker/privileged", why);
        return;
    }
    for (index, parameter) in docker.parameters.iter().enumerate() {
        if let Err(error) = DockerParameters::parse([(parameter.key.as_str(), parameter.value.as_str())]) {
            problems.add(format!("/container/docker/parameters({index})"), error.to_string());
        }
    }
}

/// Marathon: `AppValidation.portMappingsValidator`.
fn mappings(problems: &mut Problems, mappings: &[PortMapping], networks: &[Network]) {
    let names = mappings.iter().filter_map(|mapping| mapping.name.as_ref());
    problems.check(all_unique(names), "/container/portMappings", NAMES_UNIQUE);
    let networks: BTreeSet<&str> = networks.iter().filter_map(|network| network.name.as_deref()).collect();
    for (index, mapping) in mappings.iter().enumerate() {
        for (inner, name) in mapping.network_names.iter().enumerate() {
            let known: Vec<&str> = networks.iter().copied().collect();
            problems.check(
                networks.contains(name.as_str()),
                format!("/container/portMappings({index})/networkNames({inner})"),
                format!("is not one of ({})", known.join(",")),
            );
        }
    }
    host_ports(problems, mappings);
}

/// Marathon leaves it to Mesos, where such a task never fits into an offer.
fn host_ports(problems: &mut Problems, mappings: &[PortMapping]) {
    let mut taken = BTreeSet::new();
    for (index, mapping) in mappings.iter().enumerate() {
        let Some(port) = mapping.host_port.filter(|port| *port != 0) else { continue };
        problems.check(
            taken.insert(port),
            format!("/container/portMappings({index})/hostPort"),
            format!("found {port}, which another mapping has; for both protocols of a port write 'udp,tcp'"),
        );
    }
}

fn volumes(problems: &mut Problems, container: &Container) {
    let mut paths = BTreeSet::new();
    for (index, volume) in container.volumes.iter().enumerate() {
        let at = format!("/container/volumes({index})");
        for (name, path) in [("containerPath", &volume.container_path), ("hostPath", &volume.host_path)] {
            let leaves = path.split('/').any(|part| part == "..");
            problems.check(
                !leaves && !path.contains('\0'),
                format!("{at}/{name}"),
                format!("found '{path}', allowed are paths without '..'"),
            );
        }
        problems.check(
            !volume.container_path.chars().all(|c| matches!(c, '/' | '.')),
            format!("{at}/containerPath"),
            format!("found '{}', allowed are paths below the root and the sandbox", volume.container_path),
        );
        problems.check(
            paths.insert(volume.container_path.trim_end_matches('/')),
            format!("{at}/containerPath"),
            format!("found '{}', where another volume is", volume.container_path),
        );
    }
}

/// Marathon: `LinuxInfo.validLinuxInfoForContainerState`. There it is dropped of containers of type DOCKER.
fn linux_info(problems: &mut Problems, container: &Container) {
    let Some(info) = &container.linux_info else { return };
    let why = "only supported with container type MESOS; type DOCKER has docker.parameters";
    problems.check(container.engine == Engine::Mesos, "/container/linuxInfo", why);
    problems.check(
        info.seccomp.is_none_or(|seccomp| seccomp.unconfined),
        "/container/linuxInfo/seccomp",
        "Seccomp unconfined must be true when Profile is NOT defined",
    );
}

/// Marathon: `NetworkValidation.ramlNetworksValidator`, `NetworkValidation.defaultNetworkNameValidator`.
pub(super) fn networks(problems: &mut Problems, app: &AppDefinition) {
    let path = "/networks";
    let of = |mode| app.networks.iter().filter(move |network| network.mode == mode);
    let is_plain = |network: &Network| network.name.is_none() && network.labels.is_empty();
    problems.check(of(NetworkMode::Host).all(is_plain), path, "Host networks may not have names or labels");
    problems.check(
        of(NetworkMode::Bridge).all(|network| network.name.is_none()),
        path,
        "Bridge networks may not have names",
    );
    let names = app.networks.iter().filter_map(|network| network.name.as_ref());
    let unnamed = of(NetworkMode::Container).filter(|network| network.name.is_none()).count();
    problems.check(all_unique(names) && unnamed < 2, path, "Duplicate networks are not allowed");
    let counts =
        [NetworkMode::Host, NetworkMode::Bridge, NetworkMode::Container].map(|mode| of(mode).count());
    problems.check(
        matches!(counts, [0 | 1, 0, 0] | [0, 1, 0] | [0, 0, _]),
        path,
        "May specify a single host network, single bridge network, or else 1-to-n container networks",
    );
    problems.check(unnamed == 0, path, "Network name must be specified when container network is selected.");
    for (index, network) in app.networks.iter().enumerate() {
        if let (NetworkMode::Container, Some(name)) = (network.mode, &network.name) {
            problems.add(
                format!("/networks({index})/mode"),
                format!("found 'container' (network '{name}'), which is not supported yet; supported are 'host' and 'container/bridge'"),
            );
        }
    }
}
