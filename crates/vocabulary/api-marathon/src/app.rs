use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use base::Wall;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::artifact::Artifact;
use crate::container::{Container, DockerContainer, PortMapping};
use crate::health::HealthCheck;
use crate::id::AppId;
use crate::iso;
use crate::network::{Network, NetworkMode};

/// An app in canonical form: every default filled in, every old form of a field translated into the new one.
///
/// Its JSON is what `GET /v2/apps` shows of the definition (fields in Marathon's order) and what the store keeps;
/// reading that JSON back gives an equal value. Requests are not read with `Deserialize` but by
/// [`crate::AppUpdate`], which reports every problem with Marathon's words.
///
/// Marathon: `AppDefinition`, RAML type `App`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppDefinition {
    /// Its path.
    pub id: AppId,
    /// Roles whose resources its tasks may take; `None` leaves it to Marathon's own setting.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accepted_resource_roles: Option<BTreeSet<String>>,
    /// Argument vector; empty if `cmd` is given.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub args: Vec<String>,
    /// Factor by which the delay before the next launch grows with each failure, at least 1.
    pub backoff_factor: f64,
    /// Delay before the next launch after the first failure.
    pub backoff_seconds: u32,
    /// Command line for `/bin/sh -c`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cmd: Option<String>,
    /// Where instances may be placed.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub constraints: Vec<Constraint>,
    /// Container settings, if any were given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container: Option<Container>,
    /// Cpus of one instance, in cores.
    pub cpus: f64,
    /// Apps and groups that are started before this one.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub dependencies: BTreeSet<AppId>,
    /// Disk of one instance, in MB.
    pub disk: f64,
    /// Environment of the tasks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub env: BTreeMap<String, String>,
    /// `""` or `//cmd`: the command executor.
    pub executor: String,
    /// What is fetched into the sandbox before a task starts.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub fetch: Vec<Artifact>,
    /// How health is found out.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub health_checks: Vec<HealthCheck>,
    /// How many instances are wanted.
    pub instances: u32,
    /// Labels of the app, given on to its tasks.
    pub labels: BTreeMap<String, String>,
    /// Upper bound of the delay before the next launch.
    pub max_launch_delay_seconds: u32,
    /// Memory of one instance, in MB.
    pub mem: f64,
    /// GPUs of one instance.
    pub gpus: u32,
    /// Networks of the tasks: the host's, or a bridge of the agent's.
    pub networks: Vec<Network>,
    /// Ports that each task gets on the host's network; on others, where the container's port mappings say it, `None`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port_definitions: Option<Vec<PortDefinition>>,
    /// Whether a task's host ports must be exactly the service ports.
    pub require_ports: bool,
    /// How long a task may take to end after SIGTERM; `None` leaves it to the agent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub task_kill_grace_period_seconds: Option<u32>,
    /// How instances are exchanged when the app changes.
    pub upgrade_strategy: UpgradeStrategy,
    /// User that the tasks run as; `None` leaves it to the framework.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user: Option<String>,
    /// When this definition came to be; its identity among the app's versions. Whole milliseconds.
    #[serde(with = "iso")]
    pub version: Wall,
    /// What the last changes were; absent for an app never changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version_info: Option<VersionInfo>,
    /// Which instances go first when there are too many.
    pub kill_selection: KillSelection,
    /// What happens to instances whose agent is lost.
    pub unreachable_strategy: UnreachableStrategy,
    /// Whether tasks get a terminal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tty: Option<bool>,
    /// Role that the app's resources are taken as.
    pub role: String,
}

/// Times of the last changes to an app.
///
/// Marathon: `VersionInfo.FullVersionInfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// Version of the last change of nothing but the number of instances.
    #[serde(with = "iso")]
    pub last_scaling_at: Wall,
    /// Version of the last other change, a restart included: tasks of older definitions are outdated.
    #[serde(with = "iso")]
    pub last_config_change_at: Wall,
}

/// How many instances may be missing and how many may be too many while an app is upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStrategy {
    /// Share of the instances that may be started beyond the wanted number, 0 to 1.
    pub maximum_over_capacity: f64,
    /// Share of the instances that must stay healthy, 0 to 1.
    pub minimum_health_capacity: f64,
}

impl Default for UpgradeStrategy {
    fn default() -> Self {
        UpgradeStrategy { maximum_over_capacity: 1.0, minimum_health_capacity: 1.0 }
    }
}

/// Which of too many instances are killed first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum KillSelection {
    #[default]
    YoungestFirst,
    OldestFirst,
}

/// What happens to an instance that became unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreachableStrategy {
    /// It is never given up.
    Disabled,
    /// It is replaced, and later forgotten.
    Enabled {
        /// Seconds after which another instance is started in its place.
        inactive_after_seconds: u64,
        /// Seconds after which it is forgotten, and killed should it come back; not less than the other.
        expunge_after_seconds: u64,
    },
}

impl Default for UnreachableStrategy {
    fn default() -> Self {
        UnreachableStrategy::Enabled { inactive_after_seconds: 0, expunge_after_seconds: 0 }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UnreachableEnabled {
    inactive_after_seconds: u64,
    expunge_after_seconds: u64,
}

impl Serialize for UnreachableStrategy {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match *self {
            UnreachableStrategy::Disabled => out.serialize_str("disabled"),
            UnreachableStrategy::Enabled { inactive_after_seconds, expunge_after_seconds } => {
                UnreachableEnabled { inactive_after_seconds, expunge_after_seconds }.serialize(out)
            }
        }
    }
}

impl<'de> Deserialize<'de> for UnreachableStrategy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Enabled(UnreachableEnabled),
            Word(String),
        }
        match Form::deserialize(from)? {
            Form::Enabled(UnreachableEnabled { inactive_after_seconds, expunge_after_seconds }) => {
                Ok(UnreachableStrategy::Enabled { inactive_after_seconds, expunge_after_seconds })
            }
            Form::Word(word) if word == "disabled" => Ok(UnreachableStrategy::Disabled),
            Form::Word(word) => Err(D::Error::custom(format!("'{word}' is not 'disabled'"))),
        }
    }
}

/// A port of every task of the app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortDefinition {
    /// The service port; with `requirePorts` also the host port. 0 lets Marathon choose.
    pub port: u16,
    /// Labels of the port, in the task's discovery information.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub labels: BTreeMap<String, String>,
    /// Its name, unique in the app.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// `tcp`, `udp` or `udp,tcp`.
    pub protocol: String,
}

/// A port of every task, whichever list of the definition it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppPort<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// `tcp`, `udp` or `udp,tcp`.
    pub protocol: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// The port that load balancers offer it at; 0 if none was assigned yet.
    pub service_port: u16,
    /// The host port that it must have; `None` lets Marathon choose.
    pub host_port: Option<u16>,
    /// The port that the task listens on, if that is another one than the host port.
    pub container_port: Option<u16>,
    /// The number that it goes by in the definition, for the variable `PORT_<number>`; 0 if by none.
    pub declared: u16,
}

impl<'a> AppPort<'a> {
    fn of_definition(definition: &'a PortDefinition, require: bool) -> AppPort<'a> {
        AppPort {
            name: definition.name.as_deref(),
            protocol: &definition.protocol,
            labels: &definition.labels,
            service_port: definition.port,
            host_port: Some(definition.port).filter(|port| require && *port != 0),
            container_port: None,
            declared: definition.port,
        }
    }

    fn of_mapping(mapping: &'a PortMapping) -> AppPort<'a> {
        AppPort {
            name: mapping.name.as_deref(),
            protocol: &mapping.protocol,
            labels: &mapping.labels,
            service_port: mapping.service_port,
            host_port: mapping.host_port.filter(|port| *port != 0),
            container_port: Some(mapping.container_port).filter(|port| *port != 0),
            declared: mapping.container_port,
        }
    }
}

/// A rule for the placement of instances, in JSON an array `[field, operator]` or `[field, operator, value]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Constraint {
    /// `hostname`, or the name of an agent's attribute.
    pub field: String,
    /// What is demanded of the field's value.
    pub operator: Operator,
    /// Argument of the operator.
    pub value: Option<String>,
}

/// Operators of constraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Operator {
    Unique,
    Cluster,
    GroupBy,
    Like,
    Unlike,
    MaxPer,
    Is,
}

impl Operator {
    /// Every operator.
    pub const ALL: [Operator; 7] = [
        Operator::Unique,
        Operator::Cluster,
        Operator::GroupBy,
        Operator::Like,
        Operator::Unlike,
        Operator::MaxPer,
        Operator::Is,
    ];

    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Operator::Unique => "UNIQUE",
            Operator::Cluster => "CLUSTER",
            Operator::GroupBy => "GROUP_BY",
            Operator::Like => "LIKE",
            Operator::Unlike => "UNLIKE",
            Operator::MaxPer => "MAX_PER",
            Operator::Is => "IS",
        }
    }

    /// The operator of this name, upper or lower case.
    pub fn parse(name: &str) -> Option<Operator> {
        Operator::ALL.into_iter().find(|operator| operator.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Constraint {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Some(value) => (&self.field, self.operator.as_str(), value).serialize(out),
            None => (&self.field, self.operator.as_str()).serialize(out),
        }
    }
}

impl<'de> Deserialize<'de> for Constraint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let parts = Vec::<String>::deserialize(from)?;
        let mut parts = parts.into_iter();
        let (field, operator, value) = (parts.next(), parts.next(), parts.next());
        match (field, operator.as_deref().and_then(Operator::parse), parts.next()) {
            (Some(field), Some(operator), None) => Ok(Constraint { field, operator, value }),
            _ => Err(D::Error::custom("a constraint is [field, operator] or [field, operator, value]")),
        }
    }
}

impl AppDefinition {
    /// An app with Marathon's defaults and nothing to run: no `cmd`, no ports.
    pub fn empty(id: AppId, role: &str) -> AppDefinition {
        AppDefinition {
            id,
            accepted_resource_roles: None,
            args: Vec::new(),
            backoff_factor: 1.15,
            backoff_seconds: 1,
            cmd: None,
            constraints: Vec::new(),
            container: None,
            cpus: 1.0,
            dependencies: BTreeSet::new(),
            disk: 0.0,
            env: BTreeMap::new(),
            executor: String::new(),
            fetch: Vec::new(),
            health_checks: Vec::new(),
            instances: 1,
            labels: BTreeMap::new(),
            max_launch_delay_seconds: 300,
            mem: 128.0,
            gpus: 0,
            networks: vec![Network::of(NetworkMode::Host)],
            port_definitions: Some(Vec::new()),
            require_ports: false,
            task_kill_grace_period_seconds: None,
            upgrade_strategy: UpgradeStrategy::default(),
            user: None,
            version: Wall(0),
            version_info: None,
            kill_selection: KillSelection::default(),
            unreachable_strategy: UnreachableStrategy::default(),
            tty: None,
            role: role.to_owned(),
        }
    }

    /// Whether `other` runs differently: whether running tasks of this definition are outdated by it.
    /// The number of instances and the version do not count.
    ///
    /// Marathon: `AppDefinition.isUpgrade`.
    pub fn is_upgrade(&self, other: &AppDefinition) -> bool {
        let same_but_for_scale = AppDefinition {
            instances: other.instances,
            version: other.version,
            version_info: other.version_info,
            ..self.clone()
        };
        same_but_for_scale != *other
    }

    /// Whether `other` differs by nothing but the number of instances.
    pub fn is_only_scale_change(&self, other: &AppDefinition) -> bool {
        self.instances != other.instances && !self.is_upgrade(other)
    }

    /// The version whose tasks are up to date: that of the last change other than scaling.
    pub fn config_version(&self) -> Wall {
        self.version_info.map_or(self.version, |info| info.last_config_change_at)
    }

    /// Whether there may never be more than one instance, not even during an upgrade.
    ///
    /// Marathon: label `MARATHON_SINGLE_INSTANCE_APP`.
    pub fn is_single_instance(&self) -> bool {
        self.labels.get("MARATHON_SINGLE_INSTANCE_APP").is_some_and(|value| value == "true")
    }

    /// Whether tasks have the network of their agent, and not one of their own.
    pub fn is_on_host_network(&self) -> bool {
        self.networks.iter().all(|network| network.mode == NetworkMode::Host)
    }

    /// The image that tasks run in.
    pub fn image(&self) -> Option<&DockerContainer> {
        self.container.as_ref()?.docker.as_ref()
    }

    /// The ports of each task, in order: the port definitions, or the port mappings of its container.
    ///
    /// Marathon: `AppDefinition.hostPorts`, `AppDefinition.servicePorts`.
    pub fn ports(&self) -> impl Iterator<Item = AppPort<'_>> {
        let definitions = self.port_definitions.iter().flatten();
        let definitions =
            definitions.map(|definition| AppPort::of_definition(definition, self.require_ports));
        definitions.chain(self.port_mappings().iter().map(AppPort::of_mapping))
    }

    fn port_mappings(&self) -> &[PortMapping] {
        self.container.as_ref().and_then(|container| container.port_mappings.as_deref()).unwrap_or_default()
    }

    /// The service ports, one for each port; 0 where none was assigned yet.
    pub fn service_ports(&self) -> impl Iterator<Item = u16> {
        self.ports().map(|port| port.service_port)
    }

    /// The service ports, to be assigned.
    pub fn service_ports_mut(&mut self) -> impl Iterator<Item = &mut u16> {
        let container = self.container.iter_mut();
        let mappings = container.filter_map(|container| container.port_mappings.as_mut()).flatten();
        let definitions = self.port_definitions.iter_mut().flatten();
        definitions
            .map(|definition| &mut definition.port)
            .chain(mappings.map(|mapping| &mut mapping.service_port))
    }

    /// [`Self::backoff_seconds`] as a duration.
    pub fn backoff(&self) -> Duration {
        Duration::from_secs(self.backoff_seconds.into())
    }

    /// [`Self::max_launch_delay_seconds`] as a duration.
    pub fn max_launch_delay(&self) -> Duration {
        Duration::from_secs(self.max_launch_delay_seconds.into())
    }

    /// [`Self::task_kill_grace_period_seconds`] as a duration.
    pub fn task_kill_grace_period(&self) -> Option<Duration> {
        self.task_kill_grace_period_seconds.map(|seconds| Duration::from_secs(seconds.into()))
    }
}
