use std::collections::{BTreeMap, VecDeque};

use base::{AgentId, ContainerId, ExecutorId, FrameworkId, Mono, Now, Rng, TaskId, Wall};
use mesos_proto::v1::{AgentInfo, DrainConfig, TaskStatus};
use resources::Resources;

use crate::operations::EndedOperation;
use crate::timers::{Timer, Timers};
use crate::{Config, ConnectionId, Effect, Executor, Framework, Input, is_terminal};

/// How far the agent is after its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Records are read; which containers live is not known yet.
    Recovering,
    /// Executors that live are waited for.
    Reconnecting,
    /// Everything that was there is back or being ended.
    Running,
}

/// What happened since the start, for metrics.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Tasks that ended, by their terminal state.
    pub tasks: BTreeMap<i32, u64>,
    /// Executors that ended.
    pub executors_terminated: u64,
    /// Containers that could not be started.
    pub container_launch_errors: u64,
    /// Updates taken over.
    pub valid_status_updates: u64,
    /// Updates ignored: without uuid, of unknown tasks, too late.
    pub invalid_status_updates: u64,
    /// Messages passed on to executors.
    pub valid_framework_messages: u64,
    /// Messages for executors that are not there.
    pub invalid_framework_messages: u64,
}

/// The agent; see the crate's documentation.
#[derive(Debug)]
pub struct Agent {
    pub(crate) config: Config,
    pub(crate) rng: Rng,
    pub(crate) phase: Phase,
    pub(crate) id: Option<AgentId>,
    /// The boot in which the recovered executors were started.
    pub(crate) recovered_boot: Option<String>,
    /// The agent as it was last recorded.
    pub(crate) recorded: Option<AgentInfo>,
    /// Everything is to end; nothing new is begun.
    pub(crate) ending: bool,
    /// How an operator wants everything ended, until nothing is left.
    pub(crate) draining: Option<DrainConfig>,
    /// About when that began.
    pub(crate) drain_started: Option<Wall>,
    /// Whether the master listens.
    pub(crate) registered: bool,
    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(crate) completed_frameworks: VecDeque<Framework>,
    pub(crate) containers: BTreeMap<ContainerId, (FrameworkId, ExecutorId)>,
    pub(crate) connections: BTreeMap<ConnectionId, ContainerId>,
    /// All there is, with what was reserved at run time, in unallocated form.
    pub(crate) total: Resources,
    /// Operations whose ends are not acknowledged, by uuid.
    pub(crate) operations: BTreeMap<Vec<u8>, EndedOperation>,
    /// The last operations, so that a repetition is known.
    pub(crate) applied: VecDeque<Vec<u8>>,
    pub(crate) timers: Timers,
    pub(crate) counters: Counters,
}

impl Agent {
    /// Takes one input and appends what is to be done. Never blocks and never fails; an input that
    /// makes no sense (any more) changes nothing.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Tick => self.fire(now, out),
            Input::ContainersFound { alive } => self.containers_found(now, &alive, out),
            Input::Registered { agent_id } => self.register(now, agent_id, out),
            Input::Disconnected => self.disconnect(),
            Input::RunTask { framework, task } => self.run_task(now, *framework, *task, out),
            Input::RunTaskGroup { framework, executor, tasks } => {
                self.run_group(now, *framework, *executor, tasks, out);
            }
            Input::KillTask { framework_id, task_id, kill_policy } => {
                self.kill_task(now, &framework_id, &task_id, kill_policy, out);
            }
            Input::AcknowledgeUpdate { framework_id, task_id, uuid } => {
                self.acknowledge(now, &framework_id, &task_id, &uuid, out);
            }
            Input::FrameworkMessage { framework_id, executor_id, data } => {
                self.framework_message(&framework_id, &executor_id, data, out);
            }
            Input::ShutdownExecutor { framework_id, executor_id } => {
                self.shutdown_executor(now, &framework_id, &executor_id, out);
            }
            Input::ShutdownFramework { framework_id } => self.shutdown_framework(now, &framework_id, out),
            Input::UpdateFramework { framework } => self.update_framework(now, *framework, out),
            Input::ApplyOperation { framework_id, uuid, operation } => {
                self.apply_operation(now, framework_id, uuid, *operation, out);
            }
            Input::AcknowledgeOperation { uuid, status_uuid } => {
                self.acknowledge_operation(&uuid, &status_uuid, out);
            }
            Input::ShutdownAll => self.shutdown_all(now, out),
            Input::Drain { config } => self.drain(now, config, out),
            Input::Undrain => self.undrain(out),
            Input::Subscribe {
                connection,
                framework_id,
                executor_id,
                unacknowledged_updates,
                unacknowledged_tasks,
                memory,
            } => {
                let claims = (unacknowledged_updates, unacknowledged_tasks);
                self.subscribe(now, connection, &framework_id, &executor_id, claims, memory.as_ref(), out);
            }
            Input::Unsubscribed { connection } => self.unsubscribe(connection),
            Input::Update { framework_id, executor_id, status, memory } => {
                self.executor_update(now, &framework_id, &executor_id, *status, memory.as_ref(), out);
            }
            Input::ExecutorMessage { framework_id, executor_id, data } => {
                if self.executor(&framework_id, &executor_id).is_some() {
                    out.push(Effect::ExecutorMessage { framework_id, executor_id, data });
                }
            }
            Input::ContainerPreparing { container_id, message } => {
                self.container_preparing(&container_id, &message);
            }
            Input::ContainerLaunched { container_id, process, networks } => {
                self.container_launched(now, &container_id, process, networks, out);
            }
            Input::ContainerLaunchFailed { container_id, message } => {
                self.container_launch_failed(now, &container_id, &message, out);
            }
            Input::ContainerTerminated { container_id, termination } => {
                self.container_terminated(now, &container_id, &termination, out);
            }
        }
        self.settle_draining(out);
    }

    /// When the next [`Input::Tick`] is due.
    pub fn next_timer(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// The agent's id, once the master gave one.
    pub fn id(&self) -> Option<&AgentId> {
        self.id.as_ref()
    }

    /// Whether everything that was recovered is back or being ended, so that Hello tells the truth.
    pub fn is_recovered(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether the master has welcomed this agent and is connected.
    pub fn is_registered(&self) -> bool {
        self.registered
    }

    /// Frameworks that have executors or unacknowledged updates here.
    pub fn frameworks(&self) -> impl Iterator<Item = &Framework> {
        self.frameworks.values()
    }

    /// The last frameworks that have nothing here any more, the newest last.
    pub fn completed_frameworks(&self) -> impl Iterator<Item = &Framework> {
        self.completed_frameworks.iter()
    }

    /// What happened since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// An executor that is not done with.
    pub fn executor(&self, framework_id: &FrameworkId, executor_id: &ExecutorId) -> Option<&Executor> {
        self.frameworks.get(framework_id)?.executors.get(executor_id)
    }

    /// The executor in a container that is not done with.
    pub fn executor_in(&self, container_id: &ContainerId) -> Option<&Executor> {
        let (framework_id, executor_id) = self.containers.get(container_id)?;
        self.executor(framework_id, executor_id)
    }

    pub(crate) fn executor_mut(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
    ) -> Option<&mut Executor> {
        self.frameworks.get_mut(framework_id)?.executors.get_mut(executor_id)
    }

    pub(crate) fn executor_in_mut(&mut self, container_id: &ContainerId) -> Option<&mut Executor> {
        let (framework_id, executor_id) = self.containers.get(container_id)?;
        self.frameworks.get_mut(framework_id)?.executors.get_mut(executor_id)
    }

    fn fire(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some((at, timer)) = self.timers.pop(now.mono) {
            match timer {
                Timer::Register(container_id) => self.registration_timeout(&container_id, out),
                Timer::Progress(container_id) => self.tell_progress(now, &container_id, out),
                Timer::Reregister => self.reregistration_timeout(out),
                Timer::Destroy(container_id) => self.destroy_timeout(&container_id, out),
                Timer::Linger(container_id) => self.linger_timeout(now, &container_id, out),
                Timer::RetryOperation(uuid) => self.retry_operation(now, at, &uuid, out),
                Timer::Retry(framework_id, task_id) => self.retry(now, at, &framework_id, &task_id, out),
            }
        }
    }

    pub(crate) fn count_end(&mut self, status: &TaskStatus) {
        if is_terminal(status.state()) {
            *self.counters.tasks.entry(status.state).or_default() += 1;
        }
    }

    pub(crate) fn knows_task(&self, framework_id: &FrameworkId, task_id: &TaskId) -> bool {
        self.frameworks.get(framework_id).is_some_and(|framework| {
            framework.tasks.contains_key(task_id) || framework.streams.contains_key(task_id)
        })
    }
}
