//! What is written down of a container when it is made, for those who enter or end it later, perhaps after
//! the agent was restarted.

use std::path::PathBuf;

use base::ContainerId;
use serde::{Deserialize, Serialize};

use crate::capability::Capability;
use crate::spec::{ContainerSpec, Namespaces, Network, Rlimit, Seccomp};

/// One container's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) confinement: Confinement,
    #[serde(default)]
    pub(crate) namespaces: Namespaces,
    #[serde(default)]
    pub(crate) network: Network,
    /// Where the container's own root keeps what it writes; `None`: it sees the host's file system.
    #[serde(default)]
    pub(crate) upper_dir: Option<PathBuf>,
    /// The container whose cgroups it is in, other than its own.
    #[serde(default)]
    pub(crate) group_of: Option<ContainerId>,
    /// Where its init started.
    pub(crate) working_directory: PathBuf,
}

/// What a process of the container may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confinement {
    pub(crate) capabilities: Vec<Capability>,
    #[serde(default)]
    pub(crate) no_new_privileges: bool,
    #[serde(default)]
    pub(crate) seccomp: Seccomp,
    #[serde(default)]
    pub(crate) rlimits: Vec<Rlimit>,
}

impl Record {
    pub(crate) fn of(spec: &ContainerSpec) -> Record {
        Record {
            confinement: Confinement::of(spec),
            namespaces: spec.namespaces,
            network: spec.network,
            upper_dir: spec.root.as_ref().map(|root| root.upper_dir.clone()),
            group_of: None,
            working_directory: spec.working_directory.clone(),
        }
    }
}

impl Confinement {
    pub(crate) fn of(spec: &ContainerSpec) -> Confinement {
        Confinement {
            capabilities: spec.capabilities.clone(),
            no_new_privileges: spec.no_new_privileges,
            seccomp: spec.seccomp,
            rlimits: spec.rlimits.clone(),
        }
    }
}
