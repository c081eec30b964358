use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use base::{FrameworkId, Mono, OfferId, TaskId, Wall};
use mesos_proto::v1::framework_info::capability;
use mesos_proto::v1::{self, FrameworkInfo};

use crate::input::ConnId;
use crate::metrics::FrameworkMetrics;
use crate::task::Task;

/// A framework: subscribed, disconnected, known only through agents, or completed.
#[derive(Clone, Debug)]
pub struct Framework {
    /// Its id.
    pub id: FrameworkId,
    /// What it said of itself; the id is filled in.
    pub info: Arc<FrameworkInfo>,
    /// Its stream of events.
    pub stream: Option<Stream>,
    /// Whether it is offered resources: while it is connected.
    pub active: bool,
    /// Whether it is known only through agents that came back after a failover of the master.
    pub recovered: bool,
    /// When it first subscribed; for a recovered one, when an agent first told of it.
    pub registered: Wall,
    /// When it last subscribed.
    pub reregistered: Wall,
    /// When it was removed.
    pub unregistered: Option<Wall>,
    /// Tasks that run, or whose last update it has not acknowledged yet.
    pub tasks: BTreeMap<TaskId, Task>,
    /// Tasks on agents that are unreachable; bounded.
    pub unreachable_tasks: BTreeMap<TaskId, Task>,
    /// Tasks that are over, the oldest first; bounded.
    pub completed_tasks: VecDeque<Arc<Task>>,
    /// Its outstanding offers.
    pub offers: BTreeSet<OfferId>,
    /// The roles whose offers it suppressed.
    pub suppressed_roles: BTreeSet<String>,
    /// What is counted for it.
    pub metrics: FrameworkMetrics,
    /// When it is removed if it does not come back.
    pub(crate) removed_at: Option<Mono>,
}

/// The stream of events of a connected framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The SUBSCRIBE request it came of.
    pub conn: ConnId,
    /// Its `Mesos-Stream-Id`.
    pub id: String,
    /// When the next HEARTBEAT is due.
    pub(crate) heartbeat_at: Mono,
}

impl Framework {
    /// Whether it has a stream of events.
    pub fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// The roles it wants resources for.
    pub fn roles(&self) -> BTreeSet<String> {
        roles(&self.info)
    }

    /// Adds a task that is over to the history, which holds so many.
    pub(crate) fn complete(&mut self, task: Task, limit: usize) {
        self.completed_tasks.push_back(Arc::new(task));
        while self.completed_tasks.len() > limit {
            self.completed_tasks.pop_front();
        }
    }

    /// Whether it said that it has `capability`.
    pub fn has_capability(&self, capability: capability::Type) -> bool {
        has_capability(&self.info, capability)
    }
}

/// The roles a framework wants resources for: `roles` if it is MULTI_ROLE, else `role`, `*` if unset.
/// Mesos: `protobuf::framework::getRoles`.
pub fn roles(info: &FrameworkInfo) -> BTreeSet<String> {
    if has_capability(info, capability::Type::MultiRole) {
        info.roles.iter().cloned().collect()
    } else {
        #[allow(deprecated, reason = "frameworks without MULTI_ROLE use it")]
        let role = info.role.clone();
        BTreeSet::from([role.unwrap_or_else(|| "*".to_owned())])
    }
}

/// Whether the framework said that it has `capability`.
pub fn has_capability(info: &FrameworkInfo, capability: capability::Type) -> bool {
    info.capabilities.iter().any(|have| have.r#type == Some(capability.into()))
}

/// An offer that has not been answered.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Its id.
    pub id: OfferId,
    /// Whom it was made to.
    pub framework_id: FrameworkId,
    /// Whose resources it offers.
    pub agent_id: base::AgentId,
    /// The role it is made to.
    pub role: Arc<str>,
    /// What is offered, allocated to the role.
    pub resources: resources::Resources,
    /// The offer as it was sent.
    pub message: Arc<v1::Offer>,
    /// When it is taken back.
    pub(crate) rescinded_at: Option<Mono>,
}
