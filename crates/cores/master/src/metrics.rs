use std::collections::BTreeMap;

use base::Now;
use mesos_proto::v1::offer::operation;
use mesos_proto::v1::scheduler::{call, event};
use mesos_proto::v1::{TaskState, TaskStatus, task_status};
use resources::{Resources, Scalar};

use crate::framework::Framework;
use crate::master::Master;

/// Numbers by their names in `/metrics/snapshot`.
pub type Metrics = BTreeMap<String, f64>;

/// What is counted for a framework since it first subscribed with this master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameworkMetrics {
    /// Calls by type.
    pub calls: Counts<call::Type>,
    /// Events by type.
    pub events: Counts<event::Type>,
    /// Operations in accepted offers by type.
    pub operations: Counts<operation::Type>,
    /// Tasks that ended, by state.
    pub terminal_tasks: Counts<TaskState>,
    /// Offers made to it.
    pub offers_sent: u64,
    /// Offers it used.
    pub offers_accepted: u64,
    /// Offers it did not want.
    pub offers_declined: u64,
    /// Offers that were taken back.
    pub offers_rescinded: u64,
}

/// How often each of a few things happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts<K: Ord>(BTreeMap<K, u64>);

impl<K: Ord> Default for Counts<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Copy> Counts<K> {
    /// How often `what` happened.
    pub fn of(&self, what: K) -> u64 {
        self.0.get(&what).copied().unwrap_or(0)
    }

    /// How often anything happened.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn count(&mut self, what: K) {
        *self.0.entry(what).or_default() += 1;
    }
}

/// The master's own counters since its start; names as in `/metrics/snapshot`, without `master/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counters(BTreeMap<&'static str, u64>);

impl Default for Counters {
    fn default() -> Self {
        Self(COUNTERS.iter().map(|name| (*name, 0)).collect())
    }
}

impl Counters {
    /// Counts one more of `name`, one of [`COUNTERS`].
    pub(crate) fn count(&mut self, name: &'static str) {
        *self.0.get_mut(name).expect("what is counted is listed") += 1;
    }
}

/// How tasks ended, by state, source and reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskReasons(BTreeMap<String, u64>);

impl TaskReasons {
    pub(crate) fn count(&mut self, status: &TaskStatus) {
        let state = TaskState::try_from(status.state).ok();
        let source = status.source.and_then(|source| task_status::Source::try_from(source).ok());
        let reason = status.reason.and_then(|reason| task_status::Reason::try_from(reason).ok());
        let (Some(state), Some(source), Some(reason)) = (state, source, reason) else { return };
        let name = format!("{}/{}/{}", state.as_str_name(), source.as_str_name(), reason.as_str_name());
        // The metrics speak the language of the v0 API.
        *self.0.entry(name.to_lowercase().replace("agent", "slave")).or_default() += 1;
    }
}

/// All that is counted, so that what never happened is told as zero.
const COUNTERS: [&str; 62] = [
    "dropped_messages",
    "invalid_executor_to_framework_messages",
    "invalid_framework_to_executor_messages",
    "invalid_operation_status_update_acknowledgements",
    "invalid_operation_status_updates",
    "invalid_status_update_acknowledgements",
    "invalid_status_updates",
    "messages_authenticate",
    "messages_deactivate_framework",
    "messages_decline_offers",
    "messages_executor_to_framework",
    "messages_exited_executor",
    "messages_framework_to_executor",
    "messages_kill_task",
    "messages_launch_tasks",
    "messages_operation_status_update",
    "messages_operation_status_update_acknowledgement",
    "messages_reconcile_operations",
    "messages_reconcile_tasks",
    "messages_register_framework",
    "messages_register_slave",
    "messages_reregister_framework",
    "messages_reregister_slave",
    "messages_resource_request",
    "messages_revive_offers",
    "messages_status_update",
    "messages_status_update_acknowledgement",
    "messages_suppress_offers",
    "messages_unregister_framework",
    "messages_unregister_slave",
    "messages_update_slave",
    "recovery_slave_removals",
    "slave_registrations",
    "slave_removals",
    "slave_removals/reason_registered",
    "slave_removals/reason_unhealthy",
    "slave_removals/reason_unregistered",
    "slave_reregistrations",
    "slave_shutdowns_canceled",
    "slave_shutdowns_completed",
    "slave_shutdowns_scheduled",
    "slave_unreachable_canceled",
    "slave_unreachable_completed",
    "slave_unreachable_scheduled",
    "tasks_dropped",
    "tasks_error",
    "tasks_failed",
    "tasks_finished",
    "tasks_gone",
    "tasks_gone_by_operator",
    "tasks_killed",
    "tasks_lost",
    "valid_executor_to_framework_messages",
    "valid_framework_to_executor_messages",
    "valid_operation_status_update_acknowledgements",
    "valid_operation_status_updates",
    "valid_status_update_acknowledgements",
    "valid_status_updates",
    "operations/total",
    "operations/pending",
    "operations/finished",
    "operations/error",
];

/// States of tasks that are not over, by their names in the metrics.
const ACTIVE: [(TaskState, &str); 4] = [
    (TaskState::TaskStaging, "staging"),
    (TaskState::TaskStarting, "starting"),
    (TaskState::TaskRunning, "running"),
    (TaskState::TaskKilling, "killing"),
];

const TERMINAL: [TaskState; 8] = [
    TaskState::TaskDropped,
    TaskState::TaskError,
    TaskState::TaskFailed,
    TaskState::TaskFinished,
    TaskState::TaskGone,
    TaskState::TaskGoneByOperator,
    TaskState::TaskKilled,
    TaskState::TaskLost,
];

impl Master {
    /// The numbers of `/metrics/snapshot` that the master knows: `master/*`, the frameworks', the
    /// allocator's. Those of the process and the machine are the service's.
    pub fn metrics(&self, now: Now) -> Metrics {
        let mut all = Metrics::new();
        let mut put = |name: String, value: f64| {
            all.insert(name, value);
        };
        put("master/elected".to_owned(), 1.0);
        put("master/uptime_secs".to_owned(), now.mono.since(self.started).as_secs_f64());
        for (name, count) in &self.counters.0 {
            put(format!("master/{name}"), *count as f64);
        }
        for (name, count) in &self.task_reasons.0 {
            put(format!("master/{name}"), *count as f64);
        }
        self.cluster_metrics(&mut put);
        self.resource_metrics(&mut put);
        for framework in self.frameworks.values() {
            framework_metrics(framework, &mut put);
        }
        for (role, share) in self.allocator.roles() {
            put(format!("allocator/mesos/roles/{role}/shares/dominant"), share);
            let filters = self.allocator.active_filters(role) as f64;
            put(format!("allocator/mesos/offer_filters/roles/{role}/active"), filters);
        }
        all
    }

    fn cluster_metrics(&self, put: &mut impl FnMut(String, f64)) {
        let mut count = |name: &str, count: usize| put(format!("master/{name}"), count as f64);
        let agents = || self.agents.values();
        count("slaves_active", agents().filter(|agent| agent.active).count());
        count("slaves_inactive", agents().filter(|agent| !agent.active).count());
        count("slaves_connected", agents().filter(|agent| agent.is_connected()).count());
        count("slaves_disconnected", agents().filter(|agent| !agent.is_connected()).count());
        count("slaves_unreachable", self.unreachable_agents.len());
        let frameworks = || self.frameworks.values();
        count("frameworks_active", frameworks().filter(|framework| framework.active).count());
        count("frameworks_inactive", frameworks().filter(|framework| !framework.active).count());
        count("frameworks_connected", frameworks().filter(|framework| framework.is_connected()).count());
        count("frameworks_disconnected", frameworks().filter(|framework| !framework.is_connected()).count());
        count("outstanding_offers", self.offers.len());
        for (state, name) in ACTIVE {
            let tasks = frameworks().flat_map(|framework| framework.tasks.values());
            count(&format!("tasks_{name}"), tasks.filter(|task| task.state() == state).count());
        }
        count("tasks_unreachable", frameworks().map(|framework| framework.unreachable_tasks.len()).sum());
    }

    fn resource_metrics(&self, put: &mut impl FnMut(String, f64)) {
        let (mut total, mut used, mut offered) = (Resources::new(), Resources::new(), Resources::new());
        for agent in self.agents.values() {
            total += &agent.total;
            used += &agent.used_resources();
            offered += &agent.offered;
        }
        for name in ["cpus", "disk", "gpus", "mem"] {
            let kinds = [
                ("", total.non_revocable(), used.non_revocable()),
                ("_revocable", total.revocable(), used.revocable()),
            ];
            for (kind, total, used) in kinds {
                let (total, used) = (total.scalar(name).to_f64(), used.scalar(name).to_f64());
                put(format!("master/{name}{kind}_total"), total);
                put(format!("master/{name}{kind}_used"), used);
                put(format!("master/{name}{kind}_percent"), if total > 0.0 { used / total } else { 0.0 });
            }
        }
        for name in ["cpus", "disk", "mem"] {
            let sum: Scalar = used.scalar(name).plus(offered.scalar(name));
            put(format!("allocator/mesos/resources/{name}/total"), total.scalar(name).to_f64());
            put(format!("allocator/mesos/resources/{name}/offered_or_allocated"), sum.to_f64());
        }
    }
}

/// Mesos: src/master/metrics.cpp, `FrameworkMetrics`; the name is escaped as there.
fn framework_metrics(framework: &Framework, put: &mut impl FnMut(String, f64)) {
    let name = framework.info.name.replace('%', "%25").replace('/', "%2F").replace(' ', "%20");
    let prefix = format!("master/frameworks/{name}/{}", framework.id);
    let mut put = |name: String, value: f64| put(format!("{prefix}/{name}"), value);
    let metrics = &framework.metrics;
    put("subscribed".to_owned(), f64::from(u8::from(framework.is_connected())));
    put("calls".to_owned(), metrics.calls.total() as f64);
    for kind in (1..=17).filter_map(|kind| call::Type::try_from(kind).ok()) {
        let name = kind.as_str_name().to_lowercase();
        put(format!("calls/{name}"), metrics.calls.of(kind) as f64);
    }
    put("events".to_owned(), metrics.events.total() as f64);
    for kind in (1..=11).filter_map(|kind| event::Type::try_from(kind).ok()) {
        let name = kind.as_str_name().to_lowercase();
        put(format!("events/{name}"), metrics.events.of(kind) as f64);
    }
    put("operations".to_owned(), metrics.operations.total() as f64);
    for kind in (1..=14).filter_map(|kind| operation::Type::try_from(kind).ok()) {
        let name = kind.as_str_name().to_lowercase();
        put(format!("operations/{name}"), metrics.operations.of(kind) as f64);
    }
    put("offers/sent".to_owned(), metrics.offers_sent as f64);
    put("offers/accepted".to_owned(), metrics.offers_accepted as f64);
    put("offers/declined".to_owned(), metrics.offers_declined as f64);
    put("offers/rescinded".to_owned(), metrics.offers_rescinded as f64);
    for (state, name) in ACTIVE {
        let count = framework.tasks.values().filter(|task| task.state() == state).count();
        put(format!("tasks/active/task_{name}"), count as f64);
    }
    put("tasks/active/task_unreachable".to_owned(), framework.unreachable_tasks.len() as f64);
    put("tasks/active/task_unknown".to_owned(), 0.0);
    for state in TERMINAL {
        let name = state.as_str_name().to_lowercase();
        put(format!("tasks/terminal/{name}"), metrics.terminal_tasks.of(state) as f64);
    }
    for role in framework.roles() {
        let suppressed = framework.suppressed_roles.contains(&role);
        put(format!("roles/{role}/suppressed"), f64::from(u8::from(suppressed)));
    }
}
