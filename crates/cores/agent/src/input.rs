use std::collections::BTreeMap;

use base::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId};
use mesos_proto::v1::{
    DrainConfig, ExecutorInfo, FrameworkInfo, KillPolicy, NetworkInfo, TaskInfo, TaskStatus, offer,
};

/// One connection of an executor to the agent, numbered by the service and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Which process a container's first one is: the pid alone may be somebody else's later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// The process id in the agent's pid namespace.
    pub pid: u32,
    /// When it started, in the kernel's clock ticks since boot.
    pub start_time: u64,
}

/// What a container's memory cgroup tells about processes killed for want of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryReport {
    /// Processes the kernel killed because the limit was reached.
    pub oom_kills: u64,
    /// The limit in bytes.
    pub limit: u64,
    /// The most that was used, in bytes.
    pub max_usage: u64,
    /// The text of `memory.stat`; may be empty.
    pub statistics: String,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Termination {
    /// The first process's status as wait(2) gives it; None when nobody could wait for it.
    pub status: Option<i32>,
    /// What its cgroup told last, where there was one.
    pub memory: Option<MemoryReport>,
    /// What went wrong beyond that, for the users of its tasks.
    pub message: Option<String>,
}

/// What happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time passed; see [`crate::Agent::next_timer`].
    Tick,

    /// The first input after [`crate::Agent::recover`]: the containers whose process is proved to live.
    ContainersFound {
        /// By id, with the process that was found.
        alive: BTreeMap<ContainerId, Process>,
    },
    /// The master answered Hello with Welcome.
    Registered {
        /// The agent's id, the same as before if it had one.
        agent_id: AgentId,
    },
    /// The connection to the master is gone.
    Disconnected,

    /// The master wants a task run.
    RunTask {
        /// With its id.
        framework: Box<FrameworkInfo>,
        /// With or without an executor of its own.
        task: Box<TaskInfo>,
    },
    /// The master wants a group of tasks run, all or none.
    RunTaskGroup {
        /// With its id.
        framework: Box<FrameworkInfo>,
        /// The executor that all share.
        executor: Box<ExecutorInfo>,
        /// The tasks of the group.
        tasks: Vec<TaskInfo>,
    },
    /// The master wants a task ended.
    KillTask {
        /// The task's framework.
        framework_id: FrameworkId,
        /// The task.
        task_id: TaskId,
        /// Overrides the task's own.
        kill_policy: Option<KillPolicy>,
    },
    /// The framework has the update for good.
    AcknowledgeUpdate {
        /// The task's framework.
        framework_id: FrameworkId,
        /// The task.
        task_id: TaskId,
        /// Of the update.
        uuid: Vec<u8>,
    },
    /// A message of the framework for its executor; delivered at most once.
    FrameworkMessage {
        /// Who sent it.
        framework_id: FrameworkId,
        /// Whom it is for.
        executor_id: ExecutorId,
        /// Opaque.
        data: Vec<u8>,
    },
    /// The framework or the operator wants an executor ended.
    ShutdownExecutor {
        /// Whose it is.
        framework_id: FrameworkId,
        /// Which.
        executor_id: ExecutorId,
    },
    /// The framework is gone for good.
    ShutdownFramework {
        /// Which.
        framework_id: FrameworkId,
    },
    /// The framework subscribed again with a changed description.
    UpdateFramework {
        /// With its id.
        framework: Box<FrameworkInfo>,
    },
    /// The agent's resources are to change.
    ApplyOperation {
        /// Whose operation it is; an operator's if `None`.
        framework_id: Option<FrameworkId>,
        /// Names the operation.
        uuid: Vec<u8>,
        /// What is to be done.
        operation: Box<offer::Operation>,
    },
    /// The sender of an operation knows for good how it ended.
    AcknowledgeOperation {
        /// The operation.
        uuid: Vec<u8>,
        /// Of the status.
        status_uuid: Vec<u8>,
    },
    /// Everything is to end, with the executors' grace periods.
    ShutdownAll,
    /// The operator wants every task ended and none begun.
    Drain {
        /// How.
        config: DrainConfig,
    },
    /// The operator lets the agent run tasks again.
    Undrain,

    /// An executor subscribed; [`crate::Agent::admit`] let it in.
    Subscribe {
        /// Where its events go from now on.
        connection: ConnectionId,
        /// Its framework.
        framework_id: FrameworkId,
        /// Which executor.
        executor_id: ExecutorId,
        /// Updates that it sent and saw no acknowledgement for.
        unacknowledged_updates: Vec<TaskStatus>,
        /// Tasks that it got and has no acknowledged update for.
        unacknowledged_tasks: Vec<TaskId>,
        /// As in [`Input::Update`], for the unacknowledged updates.
        memory: Option<MemoryReport>,
    },
    /// The connection of an executor is gone.
    Unsubscribed {
        /// As given at [`Input::Subscribe`].
        connection: ConnectionId,
    },
    /// An executor tells the state of a task.
    Update {
        /// The executor's framework.
        framework_id: FrameworkId,
        /// The executor.
        executor_id: ExecutorId,
        /// With a uuid of the executor's.
        status: Box<TaskStatus>,
        /// The container's memory as it is now; read by the service when the status tells a failure.
        memory: Option<MemoryReport>,
    },
    /// A message of an executor for its framework; delivered at most once.
    ExecutorMessage {
        /// Whom it is for.
        framework_id: FrameworkId,
        /// Who sent it.
        executor_id: ExecutorId,
        /// Opaque.
        data: Vec<u8>,
    },

    /// How far the container of an [`crate::Effect::Launch`] is; as often as it changes.
    ContainerPreparing {
        /// Which.
        container_id: ContainerId,
        /// What is being done, for the task's users.
        message: String,
    },
    /// The container of an [`crate::Effect::Launch`] runs.
    ContainerLaunched {
        /// Which.
        container_id: ContainerId,
        /// Its first process.
        process: Process,
        /// Where it is reached, if not at the agent's address.
        networks: Vec<NetworkInfo>,
    },
    /// The container of an [`crate::Effect::Launch`] could not be started, and nothing of it is left.
    ContainerLaunchFailed {
        /// Which.
        container_id: ContainerId,
        /// Why, for the task's users.
        message: String,
    },
    /// The container is gone and nothing of it is left. Follows each [`crate::Effect::Destroy`].
    ContainerTerminated {
        /// Which.
        container_id: ContainerId,
        /// How.
        termination: Termination,
    },
}
