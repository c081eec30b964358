//! From the records of an earlier run back to the state they tell.

use std::collections::{BTreeMap, VecDeque};

use base::{ContainerId, ExecutorId, FrameworkId, Now, Rng, TaskId};
use mesos_proto::v1::task_status::Reason;
use mesos_proto::v1::{FrameworkInfo, TaskInfo, TaskState};

use crate::agent::{Counters, Phase};
use crate::status::Cause;
use crate::stream::Stream;
use crate::timers::{Timer, Timers};
use crate::{
    Agent, Config, Effect, Executor, ExecutorState, Framework, LogEntry, Process, Record, Run, TaskRun,
    is_terminal, task,
};

impl Agent {
    /// An agent that remembers `records`: in the order they were written, or grouped by run with each
    /// run's executor before its tasks and each task before its log. Nothing is also something to remember.
    /// `seed` makes container ids and uuids, so it must differ from run to run.
    ///
    /// The first input must be [`crate::Input::ContainersFound`].
    pub fn recover(config: Config, seed: u64, records: impl IntoIterator<Item = Record>) -> Agent {
        let mut agent = Agent {
            config,
            rng: Rng::seeded(seed),
            phase: Phase::Recovering,
            id: None,
            recovered_boot: None,
            recorded: None,
            ending: false,
            draining: None,
            drain_started: None,
            registered: false,
            frameworks: BTreeMap::new(),
            completed_frameworks: VecDeque::new(),
            containers: BTreeMap::new(),
            connections: BTreeMap::new(),
            timers: Timers::default(),
            counters: Counters::default(),
        };
        for record in records {
            agent.replay(record);
        }
        // Only now: while replaying, a framework whose first executor is completed may get another one.
        let all: Vec<FrameworkId> = agent.frameworks.keys().cloned().collect();
        all.iter().for_each(|framework_id| agent.settle_framework(framework_id));
        agent.counters = Counters::default();
        agent
    }

    fn replay(&mut self, record: Record) {
        match record {
            Record::Agent { agent_id, info, boot_id } => {
                self.id = Some(agent_id);
                self.recorded = Some(*info);
                self.recovered_boot = Some(boot_id);
            }
            Record::Drain(config) => self.draining = config,
            Record::Framework { info } => self.replay_framework(*info),
            Record::Executor { run, info, for_command } => {
                let Some(framework) = self.frameworks.get_mut(&run.framework_id) else { return };
                let place = (run.framework_id.clone(), run.executor_id.clone());
                self.containers.insert(run.container_id.clone(), place);
                framework.executors.insert(run.executor_id.clone(), Executor::new(run, *info, for_command));
            }
            Record::Process { run, process, networks } => {
                if let Some(executor) = self.recorded_run(&run) {
                    executor.process = Some(process);
                    executor.networks = networks;
                }
            }
            Record::Task { run, info } => self.replay_task(&run, *info),
            Record::Log { run, task_id, entry } => self.replay_log(&run, &task_id, entry),
            Record::LogRewritten { run, task_id, entries } => {
                if let Some(framework) = self.frameworks.get_mut(&run.framework_id) {
                    framework.streams.remove(&task_id);
                }
                entries.into_iter().for_each(|entry| self.replay_log(&run, &task_id, entry));
            }
            Record::Completed { run } => {
                if let Some(executor) = self.recorded_run(&run) {
                    executor.state = ExecutorState::Terminated;
                    self.complete_executor(&run.framework_id, &run.executor_id);
                }
            }
        }
    }

    fn replay_framework(&mut self, info: FrameworkInfo) {
        let id = FrameworkId::new(info.id.as_ref().map_or("", |id| &id.value));
        match self.frameworks.get_mut(&id) {
            Some(framework) => framework.info = info,
            None => drop(self.frameworks.insert(id, Framework::new(info))),
        }
    }

    fn recorded_run(&mut self, run: &Run) -> Option<&mut Executor> {
        self.frameworks
            .get_mut(&run.framework_id)?
            .executors
            .get_mut(&run.executor_id)
            .filter(|executor| executor.run.container_id == run.container_id)
    }

    fn replay_task(&mut self, run: &Run, info: TaskInfo) {
        let Some(agent_id) = self.id.clone() else { return };
        let Some(framework) = self.frameworks.get(&run.framework_id) else { return };
        let user = framework.info.user.clone();
        let Some(executor) = self.recorded_run(run) else { return };
        let named = (!executor.for_command).then(|| executor.run.executor_id.clone());
        let task = TaskRun::new(info, &run.framework_id, named.as_ref(), &agent_id, Some(&user));
        let task_id = task.id();
        executor.queue.push_back(task_id.clone());
        executor.tasks.insert(task_id.clone(), task);
        if let Some(framework) = self.frameworks.get_mut(&run.framework_id) {
            framework.tasks.insert(task_id, run.executor_id.clone());
        }
    }

    fn replay_log(&mut self, run: &Run, task_id: &TaskId, entry: LogEntry) {
        if self.recorded_run(run).is_none() {
            return;
        }
        let Some(framework) = self.frameworks.get_mut(&run.framework_id) else { return };
        let stream =
            framework.streams.entry(task_id.clone()).or_insert_with(|| Stream::new(Some(run.clone())));
        stream.logged += 1;
        match entry {
            LogEntry::Acknowledged(uuid) => {
                stream.acknowledge(&uuid);
                self.settle_task(&run.framework_id, task_id, &mut Vec::new());
            }
            LogEntry::Update(status) => {
                stream.receive(&status);
                let by_executor = task::by_executor(&status);
                let Some(executor) = framework.executor_of_mut(task_id) else { return };
                executor.served |= by_executor;
                if let Some(task) = executor.tasks.get_mut(task_id) {
                    task.delivered |= by_executor;
                    task.apply(&status);
                }
                if by_executor || is_terminal(status.state()) {
                    executor.queue.retain(|queued| queued != task_id);
                }
            }
        }
    }

    /// Decides what recovered containers are worth. What no record knows is ended: its executor would
    /// find nobody to talk to.
    pub(crate) fn containers_found(
        &mut self,
        now: Now,
        alive: &BTreeMap<ContainerId, Process>,
        out: &mut Vec<Effect>,
    ) {
        if self.phase != Phase::Recovering {
            return;
        }
        self.phase = Phase::Reconnecting;
        let rebooted = self.recovered_boot.as_ref().is_some_and(|boot_id| *boot_id != self.config.boot_id);
        for container_id in alive.keys().filter(|id| !self.containers.contains_key(*id)) {
            out.push(Effect::Destroy { container_id: container_id.clone() });
        }
        let recovered: Vec<(ContainerId, (FrameworkId, ExecutorId))> =
            self.containers.iter().map(|(id, place)| (id.clone(), place.clone())).collect();
        for (container_id, (framework_id, executor_id)) in recovered {
            self.renew_lingering(now, &framework_id, &executor_id);
            let found = alive.get(&container_id).copied();
            let Some(framework) = self.frameworks.get_mut(&framework_id) else { continue };
            let lost = framework.state_or_lost(TaskState::TaskGone);
            let dropped = framework.state_or_lost(TaskState::TaskDropped);
            let Some(executor) = framework.executors.get_mut(&executor_id) else { continue };
            match (found, executor.process) {
                (Some(found), Some(recorded)) if found == recorded && !rebooted => {}
                // The agent went down between the start and its record.
                (Some(found), None) if !rebooted => {
                    executor.process = Some(found);
                    let (run, networks) = (executor.run.clone(), Vec::new());
                    let record = Record::Process { run, process: found, networks };
                    out.push(Effect::Persist(record));
                }
                (_, recorded) => {
                    let cause = match recorded {
                        _ if rebooted => Some((lost, "Agent host rebooted")),
                        None => Some((dropped, "Agent restarted while the container was being started")),
                        Some(_) => None,
                    };
                    let cause = cause.map(|(state, text)| Cause::new(state, Reason::AgentRestarted, text));
                    self.destroy(&container_id, cause, out);
                }
            }
        }
        self.kill_for_drain(now, out);
        self.timers.set(now.mono + self.config.executor_reregistration_timeout, Timer::Reregister);
        self.end_reconnecting_if_complete();
    }

    /// The timer that watches over the end of a finished command task's executor was lost.
    fn renew_lingering(&mut self, now: Now, framework_id: &FrameworkId, executor_id: &ExecutorId) {
        let at = now.mono + self.config.executor_shutdown_grace_period;
        let Some(executor) = self.executor(framework_id, executor_id) else { return };
        if executor.for_command && executor.tasks.values().all(TaskRun::is_over) {
            self.timers.set(at, Timer::Linger(executor.run.container_id.clone()));
        }
    }

    /// Mesos: `Slave::reregisterExecutorTimeout`.
    pub(crate) fn reregistration_timeout(&mut self, out: &mut Vec<Effect>) {
        if self.phase != Phase::Reconnecting {
            return;
        }
        self.phase = Phase::Running;
        let timeout = base::duration_text(self.config.executor_reregistration_timeout);
        let silent: Vec<(ContainerId, TaskState)> = self
            .frameworks
            .values()
            .flat_map(|framework| framework.executors.values().map(move |executor| (framework, executor)))
            .filter(|(_, executor)| executor.state == ExecutorState::Registering)
            .map(|(framework, executor)| {
                (executor.run.container_id.clone(), framework.state_or_lost(TaskState::TaskGone))
            })
            .collect();
        for (container_id, state) in silent {
            let message = format!("Executor did not reregister within {timeout}");
            let cause = Cause::new(state, Reason::ExecutorReregistrationTimeout, message);
            self.destroy(&container_id, Some(cause), out);
        }
    }

    /// Nobody is waited for any more: no need to wait the whole timeout.
    pub(crate) fn end_reconnecting_if_complete(&mut self) {
        let complete = self
            .frameworks
            .values()
            .flat_map(|framework| framework.executors.values())
            .all(|executor| executor.state != ExecutorState::Registering);
        if self.phase == Phase::Reconnecting && complete {
            self.phase = Phase::Running;
        }
    }
}
