use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Name of the bridge network in `TaskInfo`, and in the old field `ipAddress`.
///
/// Marathon: `--mesos_bridge_name`.
pub const MESOS_BRIDGE: &str = "mesos-bridge";

/// A network that tasks join.
///
/// Marathon: RAML type `Network`, in its order of fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Name of a container network.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Which kind.
    pub mode: NetworkMode,
    /// Labels of the task's network information.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub labels: BTreeMap<String, String>,
}

/// Kinds of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NetworkMode {
    /// The agent's own network.
    #[serde(rename = "host")]
    Host,
    /// A network of the agent's containers, with ports of the agent leading into it.
    #[serde(rename = "container/bridge")]
    Bridge,
    /// A network by name. Read, and refused until there are such.
    #[serde(rename = "container")]
    Container,
}

impl Network {
    /// A network of this kind without name and labels.
    pub fn of(mode: NetworkMode) -> Network {
        Network { name: None, mode, labels: BTreeMap::new() }
    }
}
