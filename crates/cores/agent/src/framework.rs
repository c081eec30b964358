use std::collections::{BTreeMap, VecDeque};

use base::{ExecutorId, FrameworkId, TaskId};
use mesos_proto::v1::FrameworkInfo;
use mesos_proto::v1::TaskState;
use mesos_proto::v1::framework_info::capability;

use crate::Executor;
use crate::stream::Stream;

/// A framework that has something on this agent.
#[derive(Debug)]
pub struct Framework {
    pub(crate) info: FrameworkInfo,
    /// Its executors are being ended because it is gone.
    pub(crate) terminating: bool,
    pub(crate) executors: BTreeMap<ExecutorId, Executor>,
    pub(crate) completed: VecDeque<Executor>,
    /// Where each of its tasks is.
    pub(crate) tasks: BTreeMap<TaskId, ExecutorId>,
    pub(crate) streams: BTreeMap<TaskId, Stream>,
}

impl Framework {
    pub(crate) fn new(info: FrameworkInfo) -> Framework {
        Framework {
            info,
            terminating: false,
            executors: BTreeMap::new(),
            completed: VecDeque::new(),
            tasks: BTreeMap::new(),
            streams: BTreeMap::new(),
        }
    }

    /// As the master last told it.
    pub fn info(&self) -> &FrameworkInfo {
        &self.info
    }

    /// Its id.
    pub fn id(&self) -> FrameworkId {
        FrameworkId::new(self.info.id.as_ref().map_or("", |id| &id.value))
    }

    /// Its executors that are not done with.
    pub fn executors(&self) -> impl Iterator<Item = &Executor> {
        self.executors.values()
    }

    /// One executor that is not done with.
    pub fn executor(&self, id: &ExecutorId) -> Option<&Executor> {
        self.executors.get(id)
    }

    /// Its last executors that are done with, the newest last.
    pub fn completed_executors(&self) -> impl Iterator<Item = &Executor> {
        self.completed.iter()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.executors.is_empty() && self.streams.is_empty()
    }

    pub(crate) fn executor_of(&self, task: &TaskId) -> Option<&Executor> {
        self.executors.get(self.tasks.get(task)?)
    }

    pub(crate) fn executor_of_mut(&mut self, task: &TaskId) -> Option<&mut Executor> {
        self.executors.get_mut(self.tasks.get(task)?)
    }

    /// Frameworks that know partitions are told apart what others know as lost only.
    pub(crate) fn state_or_lost(&self, precise: TaskState) -> TaskState {
        let aware = self
            .info
            .capabilities
            .iter()
            .any(|capability| capability.r#type == Some(capability::Type::PartitionAware as i32));
        if aware { precise } else { TaskState::TaskLost }
    }
}
