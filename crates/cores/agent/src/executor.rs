use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base::{ContainerId, ExecutorId, FrameworkId, TaskId};
use mesos_proto::v1::{ExecutorInfo, NetworkInfo, Resource};

use crate::preparation::Preparation;
use crate::status::Cause;
use crate::{ConnectionId, Process, Run, TaskRun};

/// How far an executor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorState {
    /// Its container is being started, or it has not subscribed (again) yet.
    Registering,
    /// It subscribed.
    Running,
    /// It was told to end, or is being destroyed.
    Terminating,
    /// Its container is gone; updates of its tasks are not all acknowledged yet.
    Terminated,
}

/// One run of an executor with its tasks.
#[derive(Debug)]
pub struct Executor {
    pub(crate) run: Run,
    pub(crate) info: ExecutorInfo,
    pub(crate) for_command: bool,
    pub(crate) state: ExecutorState,
    pub(crate) process: Option<Process>,
    /// Where the container is reached, if not at the agent's address.
    pub(crate) networks: Vec<NetworkInfo>,
    /// Until its container runs.
    pub(crate) preparation: Option<Preparation>,
    pub(crate) connection: Option<ConnectionId>,
    /// Why the agent itself ends it.
    pub(crate) decided: Option<Cause>,
    /// Tasks that are not over, or whose last update is not acknowledged.
    pub(crate) tasks: BTreeMap<TaskId, TaskRun>,
    /// Undelivered tasks in the order they came.
    pub(crate) queue: VecDeque<TaskId>,
    pub(crate) completed: VecDeque<TaskRun>,
    /// Whether it was ever sent a task.
    pub(crate) served: bool,
}

impl Executor {
    pub(crate) fn new(run: Run, info: ExecutorInfo, for_command: bool) -> Executor {
        Executor {
            run,
            info,
            for_command,
            state: ExecutorState::Registering,
            process: None,
            networks: Vec::new(),
            preparation: None,
            connection: None,
            decided: None,
            tasks: BTreeMap::new(),
            queue: VecDeque::new(),
            completed: VecDeque::new(),
            served: false,
        }
    }

    /// Its id.
    pub fn id(&self) -> &ExecutorId {
        &self.run.executor_id
    }

    /// Its framework's id.
    pub fn framework_id(&self) -> &FrameworkId {
        &self.run.framework_id
    }

    /// Its container's id.
    pub fn container_id(&self) -> &ContainerId {
        &self.run.container_id
    }

    /// Framework, executor and container.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// As it was started.
    pub fn info(&self) -> &ExecutorInfo {
        &self.info
    }

    /// Whether it was made up to run one command task.
    pub fn is_for_command(&self) -> bool {
        self.for_command
    }

    /// How far it is.
    pub fn state(&self) -> ExecutorState {
        self.state
    }

    /// Its container's first process, once it is known.
    pub fn process(&self) -> Option<Process> {
        self.process
    }

    /// The container's networks, unless it is on the host's.
    pub fn networks(&self) -> &[NetworkInfo] {
        &self.networks
    }

    /// Tasks that wait to be sent to it, in order.
    pub fn queued(&self) -> impl Iterator<Item = &TaskRun> {
        self.queue.iter().filter_map(|id| self.tasks.get(id))
    }

    /// The queued tasks that are delivered with this one, which is the first of them if it came alone.
    pub(crate) fn queued_with(&self, task_id: &TaskId) -> Vec<TaskId> {
        let group = self.tasks.get(task_id).map(|task| &*task.group).filter(|group| !group.is_empty());
        let all = group.unwrap_or(std::slice::from_ref(task_id)).iter();
        all.filter(|id| self.tasks.get(*id).is_some_and(TaskRun::is_queued)).cloned().collect()
    }

    /// Tasks it has.
    pub fn launched(&self) -> impl Iterator<Item = &TaskRun> {
        self.tasks.values().filter(|task| task.delivered && !task.is_over())
    }

    /// Tasks that are over and whose last update is not acknowledged.
    pub fn terminated(&self) -> impl Iterator<Item = &TaskRun> {
        self.tasks.values().filter(|task| task.is_over())
    }

    /// The last tasks that are over and done with, the newest last.
    pub fn completed(&self) -> impl Iterator<Item = &TaskRun> {
        self.completed.iter()
    }

    /// What it and its tasks have, one after the other and not summed up
    /// (Mesos: `Executor::allocatedResources`).
    pub fn resources(&self) -> Vec<Resource> {
        let own = match self.state {
            ExecutorState::Terminated => [].iter(),
            _ => self.info.resources.iter(),
        };
        let of_tasks =
            self.tasks.values().filter(|task| !task.is_over()).flat_map(|task| &task.task.resources);
        own.chain(of_tasks).cloned().collect()
    }

    /// How long it may take to end, where `default` is the agent's.
    pub(crate) fn grace_period(&self, default: Duration) -> Duration {
        match &self.info.shutdown_grace_period {
            Some(period) => Duration::from_nanos(u64::try_from(period.nanoseconds).unwrap_or(0)),
            None => default,
        }
    }
}
