use base::{AgentId, FrameworkId, TaskId};
use mesos_proto::v1::{self, TaskState};
use resources::Resources;

/// A task as the master knows it.
#[derive(Clone, Debug)]
pub struct Task {
    /// What operators see: description, newest state, and the last status of each run of equal states.
    pub info: v1::Task,
    /// What it was launched with, allocated to a role.
    pub resources: Resources,
    /// Whether the resources are still its own: until it is terminal.
    pub(crate) holds_resources: bool,
}

impl Task {
    /// The task's id.
    pub fn id(&self) -> TaskId {
        TaskId::from(self.info.task_id.value.as_str())
    }

    /// The agent it runs on.
    pub fn agent_id(&self) -> AgentId {
        AgentId::from(self.info.agent_id.value.as_str())
    }

    /// The framework it belongs to.
    pub fn framework_id(&self) -> FrameworkId {
        FrameworkId::from(self.info.framework_id.value.as_str())
    }

    /// The newest state. An unknown number is a state of a newer version and reads as `TASK_UNKNOWN`.
    pub fn state(&self) -> TaskState {
        TaskState::try_from(self.info.state).unwrap_or(TaskState::TaskUnknown)
    }

    /// Whether it will never run again.
    pub fn is_terminal(&self) -> bool {
        is_terminal(self.state())
    }
}

/// Whether a task in `state` will never run again. Mesos: `protobuf::isTerminalState`.
pub fn is_terminal(state: TaskState) -> bool {
    use TaskState::*;
    matches!(
        state,
        TaskFinished
            | TaskFailed
            | TaskKilled
            | TaskLost
            | TaskError
            | TaskDropped
            | TaskGone
            | TaskGoneByOperator
    )
}
