use mesos_proto::v1::task_status::Reason;
use mesos_proto::v1::{TaskState, TaskStatus};
use serde::{Deserialize, Serialize};

/// What is wanted of an instance.
///
/// Marathon: `Goal` (without `Stopped`, which only instances with volumes have).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    /// It shall run; if its task ends, the next one is launched.
    Running,
    /// Its task shall end, and then it is forgotten.
    Decommissioned,
}

/// The state of an instance.
///
/// Marathon: `Condition`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Condition {
    /// It waits for an offer; Mesos knows nothing of it.
    Scheduled,
    /// An offer was taken for it, and Mesos has not told anything yet.
    Provisioned,
    Staging,
    Starting,
    Running,
    /// It is going away.
    Killing,
    /// Its agent is away, and it may come back.
    Unreachable,
    /// Its agent is away for so long that another instance takes its place.
    UnreachableInactive,
    Error,
    Failed,
    Finished,
    Killed,
    Gone,
    Dropped,
    Unknown,
}

impl Condition {
    /// What a status says. A lost task may come back if only its agent is away.
    ///
    /// Marathon: `TaskCondition`, `TaskConditionMapping`.
    pub(crate) fn of(status: &TaskStatus) -> Condition {
        match status.state() {
            TaskState::TaskStaging => Condition::Staging,
            TaskState::TaskStarting => Condition::Starting,
            TaskState::TaskRunning => Condition::Running,
            TaskState::TaskKilling => Condition::Killing,
            TaskState::TaskFinished => Condition::Finished,
            TaskState::TaskFailed => Condition::Failed,
            TaskState::TaskKilled => Condition::Killed,
            TaskState::TaskError => Condition::Error,
            TaskState::TaskUnreachable => Condition::Unreachable,
            TaskState::TaskDropped => Condition::Dropped,
            TaskState::TaskGone | TaskState::TaskGoneByOperator => Condition::Gone,
            TaskState::TaskUnknown => Condition::Unknown,
            TaskState::TaskLost => match status.reason() {
                Reason::AgentDisconnected | Reason::AgentRemoved if status.reason.is_some() => {
                    Condition::Unreachable
                }
                Reason::Reconciliation if status.reason.is_some() => Condition::Unknown,
                _ => Condition::Gone,
            },
        }
    }

    /// Whether the task has ended for good.
    pub fn is_terminal(self) -> bool {
        self >= Condition::Error
    }

    /// Whether the agent is away.
    pub fn is_unreachable(self) -> bool {
        matches!(self, Condition::Unreachable | Condition::UnreachableInactive)
    }

    /// Whether the task was launched and does not run yet.
    pub(crate) fn is_on_the_way(self) -> bool {
        matches!(self, Condition::Provisioned | Condition::Staging | Condition::Starting)
    }

    /// Whether this end of a task delays the next launch.
    ///
    /// Marathon: `NotifyRateLimiterStep.limitWorthy`; `Unknown` is left out because a restart of the master tells it.
    pub(crate) fn delays_launches(self) -> bool {
        matches!(
            self,
            Condition::Dropped | Condition::Error | Condition::Failed | Condition::Gone | Condition::Finished
        )
    }

    /// The name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Condition::Scheduled => "Scheduled",
            Condition::Provisioned => "Provisioned",
            Condition::Staging => "Staging",
            Condition::Starting => "Starting",
            Condition::Running => "Running",
            Condition::Killing => "Killing",
            Condition::Unreachable => "Unreachable",
            Condition::UnreachableInactive => "UnreachableInactive",
            Condition::Error => "Error",
            Condition::Failed => "Failed",
            Condition::Finished => "Finished",
            Condition::Killed => "Killed",
            Condition::Gone => "Gone",
            Condition::Dropped => "Dropped",
            Condition::Unknown => "Unknown",
        }
    }

    /// The state that the API shows for a task in this condition.
    ///
    /// Marathon: `Condition.toMesosTaskStateOrStaging`.
    pub fn task_state(self) -> &'static str {
        match self {
            Condition::Scheduled | Condition::Provisioned | Condition::Staging => "TASK_STAGING",
            Condition::Starting => "TASK_STARTING",
            Condition::Running => "TASK_RUNNING",
            Condition::Killing => "TASK_KILLING",
            Condition::Unreachable | Condition::UnreachableInactive => "TASK_UNREACHABLE",
            Condition::Error => "TASK_ERROR",
            Condition::Failed => "TASK_FAILED",
            Condition::Finished => "TASK_FINISHED",
            Condition::Killed => "TASK_KILLED",
            Condition::Gone => "TASK_GONE",
            Condition::Dropped => "TASK_DROPPED",
            Condition::Unknown => "TASK_UNKNOWN",
        }
    }
}
