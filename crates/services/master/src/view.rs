//! What can be looked at, and how a look at it is rendered.

use master_core::Master;
use runtime::Clock;

use crate::identity::Identity;
use crate::{metrics, operator_views, v0};
use api_mesos::Encoding;

/// How many tasks `/tasks` lists without a limit. Mesos: TASK_LIMIT.
const TASK_LIMIT: usize = 100;

/// One document. Equal views of the same state are equal bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum View {
    /// `/state`
    State,
    /// `/state-summary`
    StateSummary,
    /// `/slaves`, of one agent if its id is given
    Slaves(Option<String>),
    /// `/frameworks`, of one framework if its id is given
    Frameworks(Option<String>),
    /// `/tasks`
    Tasks(TaskQuery),
    /// `/roles`
    Roles,
    /// `/maintenance/schedule`
    MaintenanceSchedule,
    /// `/maintenance/status`
    MaintenanceStatus,
    /// `/metrics/snapshot`
    Metrics,
    /// The answer to a call of the operator API that reads.
    Operator(OperatorView, Encoding),
}

/// Which part of the state an operator's call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OperatorView {
    /// GET_STATE
    State,
    /// GET_AGENTS
    Agents,
    /// GET_FRAMEWORKS
    Frameworks,
    /// GET_EXECUTORS
    Executors,
    /// GET_TASKS
    Tasks,
    /// GET_ROLES
    Roles,
    /// GET_MAINTENANCE_SCHEDULE
    MaintenanceSchedule,
    /// GET_MAINTENANCE_STATUS
    MaintenanceStatus,
    /// GET_OPERATIONS
    Operations,
    /// GET_METRICS
    Metrics,
}

/// Which tasks `/tasks` lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskQuery {
    /// Of this framework only.
    pub(crate) framework_id: Option<String>,
    /// With this id only.
    pub(crate) task_id: Option<String>,
    /// The oldest first.
    pub(crate) ascending: bool,
    /// So many are skipped.
    pub(crate) offset: usize,
    /// At most so many are listed.
    pub(crate) limit: usize,
}

impl Default for TaskQuery {
    fn default() -> Self {
        TaskQuery { framework_id: None, task_id: None, ascending: false, offset: 0, limit: TASK_LIMIT }
    }
}

impl View {
    /// Whether the document stays the same as long as the state does; others depend on the time.
    pub(crate) fn holds_until_something_changes(&self) -> bool {
        !matches!(self, View::Metrics | View::Operator(OperatorView::Metrics, _))
    }
}

/// All that a document may be about.
pub(crate) struct Scene<'m> {
    pub(crate) master: &'m Master,
    pub(crate) identity: &'m Identity,
    /// How many operators follow the event stream.
    pub(crate) operators: usize,
    /// How many documents were served without rendering them.
    pub(crate) reused_documents: u64,
    /// How many writes wait for the registry.
    pub(crate) queued_writes: usize,
}

impl Scene<'_> {
    /// The bytes of a document.
    pub(crate) fn render(&self, view: &View) -> Vec<u8> {
        let (master, identity) = (self.master, self.identity);
        match view {
            View::State => v0::state(master, identity),
            View::StateSummary => v0::state_summary(master, identity),
            View::Slaves(only) => v0::slaves(master, only.as_deref()),
            View::Frameworks(only) => v0::frameworks(master, only.as_deref()),
            View::Tasks(query) => v0::tasks(master, query),
            View::Roles => v0::roles(master),
            View::MaintenanceSchedule => v0::maintenance_schedule(master),
            View::MaintenanceStatus => v0::maintenance_status(master),
            View::Metrics => metrics::document_of(&self.metrics()),
            View::Operator(OperatorView::Metrics, encoding) => {
                operator_views::metrics(&self.metrics(), *encoding)
            }
            View::Operator(part, encoding) => operator_views::response(master, *part, *encoding),
        }
    }

    fn metrics(&self) -> master_core::Metrics {
        let now = Clock::now();
        let mut all = self.master.metrics(now);
        all.insert("master/uptime_secs".to_owned(), now.wall.since(self.identity.start_time).as_secs_f64());
        all.insert("master/elected".to_owned(), 1.0);
        all.insert("master/operator_event_stream_subscribers".to_owned(), self.operators as f64);
        all.insert("master/http_cache_hits".to_owned(), self.reused_documents as f64);
        all.insert("registrar/queued_operations".to_owned(), self.queued_writes as f64);
        metrics::add_system(&mut all);
        all
    }
}
