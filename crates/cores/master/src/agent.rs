use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{AgentId, ExecutorId, FrameworkId, Mono, OfferId, TaskId, Wall};
use mesos_proto::v1::{self, AgentInfo, ExecutorInfo};
use resources::Resources;

use crate::draining::Deactivation;
use crate::input::ConnId;

/// A registered agent.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// What it said of itself; the id is filled in.
    pub info: Arc<AgentInfo>,
    /// Its version.
    pub version: String,
    /// What it can do beyond the base of its version.
    pub capabilities: Vec<String>,
    /// The boot of the kernel it runs on.
    pub boot_id: String,
    /// Its connection; `None` while it is disconnected.
    pub conn: Option<ConnId>,
    /// Whether its resources are offered: while it is connected and no operator took it out of use.
    pub active: bool,
    /// When it first registered with this master.
    pub registered: Wall,
    /// When it last came back.
    pub reregistered: Option<Wall>,
    /// All it has, allocated to nobody.
    pub total: Resources,
    /// What its tasks and executors use, by framework, allocated to roles.
    pub used: BTreeMap<FrameworkId, Resources>,
    /// What is offered of it, allocated to roles.
    pub offered: Resources,
    /// Its outstanding offers.
    pub offers: BTreeSet<OfferId>,
    /// The tasks that run on it, or whose last update is not acknowledged yet.
    pub tasks: BTreeSet<(FrameworkId, TaskId)>,
    /// Executors that frameworks brought along. Those of command tasks are not among them, as in Mesos.
    pub executors: BTreeMap<FrameworkId, BTreeMap<ExecutorId, Executor>>,
    /// What operators decided about it if it is not to be offered.
    pub deactivation: Option<Arc<Deactivation>>,
    /// Operations on its resources that are under way or whose ends are not acknowledged, by uuid.
    pub operations: BTreeMap<Vec<u8>, Box<v1::Operation>>,
    /// The version of the agent link that it speaks.
    pub(crate) link_version: u32,
    /// Tasks that were to be killed; said again when it comes back with them.
    pub(crate) killed_tasks: BTreeSet<(FrameworkId, TaskId)>,
    /// When it is unreachable if it does not come back.
    pub(crate) unreachable_at: Option<Mono>,
}

/// An executor that a framework brought along.
#[derive(Clone, Debug)]
pub struct Executor {
    /// What it is.
    pub info: Arc<ExecutorInfo>,
    /// What it uses beside its tasks, allocated to a role.
    pub resources: Resources,
}

impl Agent {
    /// What all frameworks use of it.
    pub fn used_resources(&self) -> Resources {
        self.used.values().fold(Resources::new(), |sum, used| sum + used)
    }

    /// Whether it has anything of a framework.
    pub(crate) fn has_framework(&self, id: &FrameworkId) -> bool {
        let from = (id.clone(), TaskId::from(""));
        self.used.contains_key(id)
            || self.executors.contains_key(id)
            || self.tasks.range(from..).next().is_some_and(|(framework, _)| framework == id)
    }

    /// Counts `resources` of a framework as used no more.
    pub(crate) fn release(&mut self, framework: &FrameworkId, resources: &Resources) {
        if let Some(used) = self.used.get_mut(framework) {
            // An agent may tell of tasks that have the same port: it is given back only once.
            used.subtract_available(resources);
            if used.is_empty() {
                self.used.remove(framework);
            }
        }
    }

    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        self.conn.is_some()
    }
}

/// An agent of the registry that has not come back since this master started.
#[derive(Clone, Debug)]
pub struct RecoveredAgent {
    /// What it said of itself when it was admitted.
    pub info: Arc<AgentInfo>,
    /// When it is unreachable if it does not come back.
    pub(crate) unreachable_at: Mono,
}

/// An agent that was silent for too long.
#[derive(Clone, Debug)]
pub struct UnreachableAgent {
    /// What it said of itself.
    pub info: Arc<AgentInfo>,
    /// Since when.
    pub since: Wall,
}
