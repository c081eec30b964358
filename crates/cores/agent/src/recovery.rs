//! From the records of an earlier run back to the state they tell.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base::{ContainerId, ExecutorId, FrameworkId, Now, Rng, TaskId};
use mesos_proto::v1::task_status::Reason;
use mesos_proto::v1::{FrameworkInfo, TaskInfo, TaskState};
use resources::Resources;

use crate::agent::{Counters, Phase};
use crate::operations::configured;
use crate::status::Cause;
use crate::stream::Stream;
use crate::timers::{Timer, Timers};
use crate::{
    Agent, Config, Effect, Executor, ExecutorState, Framework, LogEntry, Process, Record, Run, TaskRun,
    is_terminal, task,
};

/// Tasks of groups of which their executor told, by container.
type Heard = BTreeSet<(ContainerId, TaskId)>;

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
            total: Resources::new(),
            operations: BTreeMap::new(),
            applied: VecDeque::new(),
            timers: Timers::default(),
            counters: Counters::default(),
        };
        agent.total = configured(&agent.config);
        let mut heard = Heard::new();
        for record in records {
            agent.replay(record, &mut heard);
        }
        agent.replay_groups(&heard);
        // Only now: while replaying, a framework whose first executor is completed may get another one.
        let all: Vec<FrameworkId> = agent.frameworks.keys().cloned().collect();
        all.iter().for_each(|framework_id| agent.settle_framework(framework_id));
        agent.counters = Counters::default();
        agent
    }

    fn replay(&mut self, record: Record, heard: &mut Heard) {
        match record {
            Record::Agent { agent_id, info, boot_id } => {
                self.id = Some(agent_id);
                self.recorded = Some(*info);
                self.recovered_boot = Some(boot_id);
            }
            Record::Drain(config) => self.draining = config,
            Record::Resources { reserved, operations } => self.replay_resources(&reserved, operations),
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
            Record::Task { run, info, group } => self.replay_task(&run, *info, group),
            Record::Log { run, task_id, entry } => self.replay_log(&run, &task_id, entry, heard),
            Record::LogRewritten { run, task_id, entries } => {
                if let Some(framework) = self.frameworks.get_mut(&run.framework_id) {
                    framework.streams.remove(&task_id);
                }
                entries.into_iter().for_each(|entry| self.replay_log(&run, &task_id, entry, heard));
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

    fn replay_task(&mut self, run: &Run, info: TaskInfo, group: Vec<TaskId>) {
        let Some(agent_id) = self.id.clone() else { return };
        let Some(framework) = self.frameworks.get(&run.framework_id) else { return };
        let user = framework.info.user.clone();
        let Some(executor) = self.recorded_run(run) else { return };
        let named = (!executor.for_command).then(|| executor.run.executor_id.clone());
        let task =
            TaskRun::new(info, &run.framework_id, named.as_ref(), &agent_id, Some(&user), group.into());
        let task_id = task.id();
        executor.queue.push_back(task_id.clone());
        executor.tasks.insert(task_id.clone(), task);
        if let Some(framework) = self.frameworks.get_mut(&run.framework_id) {
            framework.tasks.insert(task_id, run.executor_id.clone());
        }
    }

    fn replay_log(&mut self, run: &Run, task_id: &TaskId, entry: LogEntry, heard: &mut Heard) {
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
                    task.apply(&status);
                    if by_executor && !task.group.is_empty() {
                        heard.insert((run.container_id.clone(), task_id.clone()));
                    }
                }
                if by_executor || is_terminal(status.state()) {
                    executor.queue.retain(|queued| queued != task_id);
                }
            }
        }
    }

    /// A group is delivered as one: who told of one of its tasks has got all. (A task's record may come
    /// after the log of another.)
    fn replay_groups(&mut self, heard: &Heard) {
        for framework in self.frameworks.values_mut() {
            for executor in framework.executors.values_mut() {
                let container_id = &executor.run.container_id;
                for task in executor.tasks.values_mut().filter(|task| task.is_queued()) {
                    let mut group = task.group.iter();
                    task.delivered = group.any(|id| heard.contains(&(container_id.clone(), id.clone())));
                }
                executor.queue.retain(|id| executor.tasks.get(id).is_some_and(TaskRun::is_queued));
            }
        }
    }

    /// Ends the queued tasks of groups that are not whole: the agent went down while it recorded the group,
    /// or while it recorded that the group was killed.
    fn end_broken_groups(
        &mut self,
        now: Now,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        out: &mut Vec<Effect>,
    ) {
        let Some(framework) = self.frameworks.get(framework_id) else { return };
        let dropped = framework.state_or_lost(TaskState::TaskDropped);
        let Some(executor) = framework.executors.get(executor_id) else { return };
        let mut broken = Vec::new();
        for (task_id, task) in executor.tasks.iter().filter(|(_, task)| task.is_queued()) {
            let members: Vec<_> = task.group.iter().map(|id| executor.tasks.get(id)).collect();
            if members.iter().all(|member| member.is_some_and(TaskRun::is_queued)) {
                continue;
            }
            let killed = members.iter().flatten().any(|it| it.task.state() == TaskState::TaskKilled);
            broken.push((task_id.clone(), killed));
        }
        for (task_id, killed) in broken {
            let cause = if killed {
                let message = "Killed before delivery to the executor";
                Cause::new(TaskState::TaskKilled, Reason::TaskKilledDuringLaunch, message)
            } else {
                let message = "Agent restarted before the whole task group was recorded";
                Cause::new(dropped, Reason::AgentRestarted, message)
            };
            self.end_task(now, framework_id, &task_id, cause, out);
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
                (Some(found), Some(recorded)) if found == recorded && !rebooted => {
                    self.end_broken_groups(now, &framework_id, &executor_id, out);
                }
                // The agent went down between the start and its record.
                (Some(found), None) if !rebooted => {
                    executor.process = Some(found);
                    let (run, networks) = (executor.run.clone(), Vec::new());
                    let record = Record::Process { run, process: found, networks };
                    out.push(Effect::Persist(record));
                    self.end_broken_groups(now, &framework_id, &executor_id, out);
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
