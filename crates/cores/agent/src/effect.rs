use base::{AgentId, ContainerId, ExecutorId, FrameworkId};
use mesos_proto::v1::executor::Event;
use mesos_proto::v1::{
    ExecutorInfo, FrameworkInfo, OperationStatus, Resource, TaskInfo, TaskState, TaskStatus,
};

use crate::{ConnectionId, ContainerPlan, Record, Run};

/// What the service is to do, in the order given.
#[derive(Clone, Debug)]
pub enum Effect {
    /// To be written before any later effect happens. If it cannot be written, the agent must end.
    Persist(Record),
    /// Start a container. Answered by `ContainerLaunched` or `ContainerLaunchFailed`.
    Launch(Box<Launch>),
    /// End the container with everything in it, also when it is being launched or long gone.
    /// Answered by `ContainerTerminated`.
    Destroy {
        /// Which.
        container_id: ContainerId,
    },
    /// The container's share changed with its tasks.
    Resize {
        /// Which.
        container_id: ContainerId,
        /// All that its executor and tasks have.
        resources: Vec<Resource>,
    },
    /// Send an event to an executor.
    Send {
        /// Where it subscribed.
        connection: ConnectionId,
        /// The event.
        event: Box<Event>,
    },
    /// End the connection to an executor after what was sent.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// Send a status update to the master. It is sent again until acknowledged; it may be dropped.
    Forward {
        /// The task's framework.
        framework_id: FrameworkId,
        /// With uuid, agent id, source and executor id.
        status: Box<TaskStatus>,
        /// The newest state of the task, which the update may lag behind.
        latest_state: TaskState,
    },
    /// Tell the master how an operation ended. With a uuid in the status it is sent again until acknowledged.
    OperationUpdate {
        /// The operation.
        uuid: Vec<u8>,
        /// Whose it is; an operator's if `None`.
        framework_id: Option<FrameworkId>,
        /// How it ended.
        status: Box<OperationStatus>,
    },
    /// Tell the master that a custom executor ended.
    ExecutorExited {
        /// Whose it was.
        framework_id: FrameworkId,
        /// Which.
        executor_id: ExecutorId,
        /// As wait(2) gives it; -1 if not known.
        status: i32,
    },
    /// Tell the master a message of an executor for its framework.
    ExecutorMessage {
        /// Whom it is for.
        framework_id: FrameworkId,
        /// Who sent it.
        executor_id: ExecutorId,
        /// Opaque.
        data: Vec<u8>,
    },
    /// The run's sandbox and records are not needed after `after`.
    CollectLater {
        /// Which run.
        run: Run,
        /// From now.
        after: std::time::Duration,
    },
}

/// All that is needed to start an executor.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The agent, for the environment and the sandbox's path.
    pub agent_id: AgentId,
    /// Framework, executor and container.
    pub run: Run,
    /// The framework, whose user is the default one.
    pub framework: FrameworkInfo,
    /// The executor; for a command task the one made up for it.
    pub executor: ExecutorInfo,
    /// The command task, if the executor was made up for it.
    pub task: Option<Box<TaskInfo>>,
    /// What its container is to be.
    pub plan: ContainerPlan,
    /// All that its executor and tasks have.
    pub resources: Vec<Resource>,
}
