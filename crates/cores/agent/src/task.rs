use std::sync::Arc;

use base::{AgentId, ExecutorId, FrameworkId, TaskId};
use mesos_proto::v1::task_status::Source;
use mesos_proto::v1::{self, KillPolicy, Task, TaskInfo, TaskState, TaskStatus};

use crate::is_terminal;

/// Statuses of a task that are remembered for the operator; the oldest give way.
const MAX_STATUSES: usize = 30;

/// A task in its executor.
#[derive(Debug)]
pub struct TaskRun {
    /// The task as the master and the operator see it.
    pub task: Task,
    /// As launched; kept until the executor told of the task, because until then it may be needed again.
    pub(crate) info: Option<Box<TaskInfo>>,
    /// The tasks that came with it, itself among them, in their order; none if it came alone.
    pub(crate) group: Arc<[TaskId]>,
    /// Whether the executor was sent the task.
    pub(crate) delivered: bool,
    /// The last request to kill it. Sent again when the executor subscribes again.
    pub(crate) kill: Option<Option<KillPolicy>>,
}

impl TaskRun {
    pub(crate) fn new(
        info: TaskInfo,
        framework_id: &FrameworkId,
        executor_id: Option<&ExecutorId>,
        agent_id: &AgentId,
        user: Option<&str>,
        group: Arc<[TaskId]>,
    ) -> TaskRun {
        let task = Task {
            name: info.name.clone(),
            task_id: info.task_id.clone(),
            framework_id: v1::FrameworkId { value: framework_id.to_string() },
            executor_id: executor_id.map(|id| v1::ExecutorId { value: id.to_string() }),
            agent_id: v1::AgentId { value: agent_id.to_string() },
            state: TaskState::TaskStaging as i32,
            resources: info.resources.clone(),
            labels: info.labels.clone(),
            discovery: info.discovery.clone(),
            container: info.container.clone(),
            health_check: info.health_check.clone(),
            kill_policy: info.kill_policy,
            limits: info.limits.clone(),
            user: info.command.as_ref().and_then(|command| command.user.clone()).or(user.map(str::to_owned)),
            ..Default::default()
        };
        TaskRun { task, info: Some(Box::new(info)), group, delivered: false, kill: None }
    }

    /// The task's id.
    pub fn id(&self) -> TaskId {
        TaskId::new(&self.task.task_id.value)
    }

    /// As launched, while the executor has not told of the task yet.
    pub fn info(&self) -> Option<&TaskInfo> {
        self.info.as_deref()
    }

    /// Whether it waits for its executor to subscribe (Mesos: queued).
    pub fn is_queued(&self) -> bool {
        !self.delivered && !self.is_over()
    }

    /// Whether its last state is a terminal one.
    pub fn is_over(&self) -> bool {
        is_terminal(self.task.state())
    }

    /// Takes over a status (Mesos: `Executor::updateTaskState`).
    pub(crate) fn apply(&mut self, status: &TaskStatus) {
        self.task.state = status.state;
        // The agent's own word on the way to the executor changes nothing about what that one is to get.
        let by_executor = by_executor(status);
        self.delivered |= by_executor;
        if by_executor || self.is_over() {
            self.info = None;
        }
        let statuses = &mut self.task.statuses;
        match statuses.last_mut() {
            Some(last) if last.state == status.state => *last = status.clone(),
            _ => {
                if statuses.len() >= MAX_STATUSES {
                    statuses.remove(0);
                }
                statuses.push(status.clone());
            }
        }
        // Mesos keeps no data in what the operator sees: it may be large.
        if let Some(last) = statuses.last_mut() {
            last.data = None;
        }
    }
}

/// Whether the executor said so, and so has the task.
pub(crate) fn by_executor(status: &TaskStatus) -> bool {
    status.source() == Source::Executor
}
