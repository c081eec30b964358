use base::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId};
use mesos_proto::v1::{
    AgentInfo, DrainConfig, ExecutorInfo, FrameworkInfo, NetworkInfo, Operation, Resource, TaskInfo,
    TaskStatus,
};

use crate::Process;

/// One run of an executor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// Whose it is.
    pub framework_id: FrameworkId,
    /// Which executor.
    pub executor_id: ExecutorId,
    /// Its container.
    pub container_id: ContainerId,
}

/// One thing to remember over a restart. Records replace an earlier one of the same kind and place,
/// except [`Record::Log`], which adds to the task's log.
///
/// Only [`Record::Agent`] and [`Record::Resources`] are needed after the machine itself went down: processes
/// do not survive that.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Who this agent is.
    Agent {
        /// Given by the master.
        agent_id: AgentId,
        /// As registered.
        info: Box<AgentInfo>,
        /// The boot at which the executors that are recorded were started.
        boot_id: String,
    },
    /// How the operator wants everything ended; `None` when nothing is left or the operator lets it be.
    Drain(Option<DrainConfig>),
    /// What became of the agent's resources at run time, and what is still to be told of it.
    Resources {
        /// What was reserved at run time, in unallocated form.
        reserved: Vec<Resource>,
        /// The operations whose ends are not acknowledged.
        operations: Vec<Operation>,
    },
    /// A framework that has executors here.
    Framework {
        /// With its id.
        info: Box<FrameworkInfo>,
    },
    /// An executor that is about to be started.
    Executor {
        /// Where.
        run: Run,
        /// As it was started.
        info: Box<ExecutorInfo>,
        /// Whether it was made up for a command task.
        for_command: bool,
    },
    /// The executor's container runs.
    Process {
        /// Which run.
        run: Run,
        /// Its first process.
        process: Process,
        /// Where it is reached, if not at the agent's address.
        networks: Vec<NetworkInfo>,
    },
    /// A task that its executor is about to get.
    Task {
        /// Which run.
        run: Run,
        /// As it was launched.
        info: Box<TaskInfo>,
        /// The tasks of its group, itself among them; none if it came alone. A group of which a task has no
        /// record was never begun.
        group: Vec<TaskId>,
    },
    /// Something happened to the task.
    Log {
        /// Which run.
        run: Run,
        /// Which task.
        task_id: TaskId,
        /// What.
        entry: LogEntry,
    },
    /// The task's log from now on: what was before it is forgotten.
    LogRewritten {
        /// Which run.
        run: Run,
        /// Which task.
        task_id: TaskId,
        /// All that is worth keeping.
        entries: Vec<LogEntry>,
    },
    /// The executor ended and all of its tasks' updates are acknowledged.
    Completed {
        /// Which run.
        run: Run,
    },
}

/// One line of a task's log.
#[derive(Clone, Debug, PartialEq)]
pub enum LogEntry {
    /// A status update to be forwarded.
    Update(Box<TaskStatus>),
    /// The update with this uuid was acknowledged by the framework.
    Acknowledged(Vec<u8>),
}
