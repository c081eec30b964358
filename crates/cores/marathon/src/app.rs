use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_marathon::{AppDefinition, TaskFailure};
use base::Wall;

use crate::backoff::Backoff;
use crate::condition::Goal;
use crate::id::InstanceId;
use crate::instance::{Instance, Placement};
use crate::queue::Waiting;

/// Everything about one app, also while it is being deleted.
#[derive(Debug, Default)]
pub(crate) struct App {
    /// The wanted definition; `None` while what is left of a deleted app is being ended.
    pub(crate) current: Option<Arc<AppDefinition>>,
    /// The kept versions, the current one among them.
    pub(crate) versions: BTreeMap<Wall, Arc<AppDefinition>>,
    pub(crate) instances: BTreeMap<InstanceId, Instance>,
    /// The instances that wait for an offer.
    pub(crate) scheduled: BTreeSet<InstanceId>,
    pub(crate) backoff: Option<Backoff>,
    /// Present exactly while something is scheduled.
    pub(crate) waiting: Option<Waiting>,
    /// Whether offers were asked for since something new had to be launched.
    pub(crate) announced: bool,
    pub(crate) failure: Option<TaskFailure>,
    /// The deployment that changes, and so locks, the app.
    pub(crate) deployment: Option<String>,
}

impl App {
    /// Whether an instance runs the same configuration as `wanted`.
    pub(crate) fn is_current(&self, instance: &Instance, wanted: &AppDefinition) -> bool {
        self.versions
            .get(&instance.version)
            .is_some_and(|definition| definition.config_version() == wanted.config_version())
    }

    /// Whether some task runs, and shall run, another configuration than `wanted`.
    pub(crate) fn is_mixed(&self, wanted: &AppDefinition) -> bool {
        self.instances.values().any(|instance| {
            instance.goal == Goal::Running
                && instance.placement.is_some()
                && !self.is_current(instance, wanted)
        })
    }

    /// Where the instances of `wanted`'s configuration are: what constraints compare with.
    pub(crate) fn placements(&self, wanted: &AppDefinition) -> Vec<&Placement> {
        self.instances
            .values()
            .filter(|instance| self.is_current(instance, wanted))
            .filter_map(|instance| instance.placement.as_ref())
            .collect()
    }
}
