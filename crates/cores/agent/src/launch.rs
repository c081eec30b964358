//! From the master's wish to a container.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::{AgentId, ContainerId, ExecutorId, FrameworkId, Now, TaskId};
use mesos_proto::v1::executor::{Event, event};
use mesos_proto::v1::task_status::Reason;
use mesos_proto::v1::{ExecutorInfo, FrameworkInfo, TaskGroupInfo, TaskInfo, TaskState};

use crate::preparation::Preparation;
use crate::status::Cause;
use crate::{
    Agent, ContainerPlan, Effect, Executor, ExecutorState, Framework, Launch, Record, Run, TaskRun, command,
    supported,
};

impl Agent {
    /// Mesos: `Slave::runTask`. A task that is known already is a repetition and changes nothing.
    pub(crate) fn run_task(&mut self, now: Now, info: FrameworkInfo, task: TaskInfo, out: &mut Vec<Effect>) {
        let Some(agent_id) = self.id.clone() else { return };
        let framework_id = FrameworkId::new(info.id.as_ref().map_or("", |id| &id.value));
        let task_id = TaskId::new(&task.task_id.value);
        let known = self.knows_task(&framework_id, &task_id);
        if known
            || !supported::is_path_safe(framework_id.as_str())
            || !self.meet_framework(&framework_id, &info, out)
        {
            return;
        }
        let plan = match supported::plan(&task) {
            Ok(plan) => plan,
            Err(message) => {
                let cause = Cause::new(TaskState::TaskError, Reason::TaskInvalid, message);
                return self.end_task(now, &framework_id, &task_id, cause, out);
            }
        };
        let (executor, for_command) = command::executor_of(&info, &task, &self.config.executor_program);
        let executor_id = ExecutorId::new(&executor.executor_id.value);
        if let Some(cause) = self.unusable(&framework_id, &executor_id, for_command) {
            return self.end_task(now, &framework_id, &task_id, cause, out);
        }
        let begun = Begun { framework_id, executor, for_command, plan, tasks: vec![task], is_group: false };
        self.begin(now, agent_id, begun, out);
    }

    /// All tasks of a group or none: what refuses one refuses all. Mesos: `Slave::runTaskGroup`.
    pub(crate) fn run_group(
        &mut self,
        now: Now,
        info: FrameworkInfo,
        executor: ExecutorInfo,
        tasks: Vec<TaskInfo>,
        out: &mut Vec<Effect>,
    ) {
        let Some(agent_id) = self.id.clone() else { return };
        let framework_id = FrameworkId::new(info.id.as_ref().map_or("", |id| &id.value));
        let ids: Vec<TaskId> = tasks.iter().map(|task| TaskId::new(&task.task_id.value)).collect();
        let known = ids.iter().any(|task_id| self.knows_task(&framework_id, task_id));
        if known
            || ids.is_empty()
            || !supported::is_path_safe(framework_id.as_str())
            || !self.meet_framework(&framework_id, &info, out)
        {
            return;
        }
        let executor_id = ExecutorId::new(&executor.executor_id.value);
        let invalid = |message| Cause::new(TaskState::TaskError, Reason::TaskGroupInvalid, message);
        let plan = supported::plan_of_group(&executor, &tasks).map_err(invalid);
        let plan = match (plan, self.unusable(&framework_id, &executor_id, false)) {
            (Ok(plan), None) => plan,
            (Err(cause), _) | (Ok(_), Some(cause)) => {
                for task_id in &ids {
                    self.end_task(now, &framework_id, task_id, cause.clone(), out);
                }
                return;
            }
        };
        let begun = Begun { framework_id, executor, for_command: false, plan, tasks, is_group: true };
        self.begin(now, agent_id, begun, out);
    }

    /// Gives tasks to their executor, which is started if it is not there.
    fn begin(&mut self, now: Now, agent_id: AgentId, begun: Begun, out: &mut Vec<Effect>) {
        let Begun { framework_id, executor, for_command, plan, tasks, is_group } = begun;
        let executor_id = ExecutorId::new(&executor.executor_id.value);
        let Some(framework) = self.frameworks.get_mut(&framework_id) else { return };
        let is_new = !framework.executors.contains_key(&executor_id);
        if is_new {
            let container_id = ContainerId::new(self.rng.uuid());
            let place = (framework_id.clone(), executor_id.clone());
            let run = Run { framework_id: place.0.clone(), executor_id: place.1.clone(), container_id };
            self.containers.insert(run.container_id.clone(), place);
            let record = Record::Executor { run: run.clone(), info: Box::new(executor.clone()), for_command };
            out.push(Effect::Persist(record));
            framework.executors.insert(executor_id.clone(), Executor::new(run, executor, for_command));
        }
        let Some(executor) = framework.executors.get_mut(&executor_id) else { return };
        let named = (!for_command).then_some(&executor_id);
        let launched = tasks.first().filter(|_| for_command).map(|task| Box::new(task.clone()));
        let group: Vec<TaskId> = match is_group {
            true => tasks.iter().map(|task| TaskId::new(&task.task_id.value)).collect(),
            false => Vec::new(),
        };
        let shared: Arc<[TaskId]> = group.clone().into();
        for task in tasks {
            let task_id = TaskId::new(&task.task_id.value);
            let info = Box::new(task.clone());
            let record = Record::Task { run: executor.run.clone(), info, group: group.clone() };
            out.push(Effect::Persist(record));
            let user = Some(framework.info.user.as_str());
            let task = TaskRun::new(task, &framework_id, named, &agent_id, user, shared.clone());
            framework.tasks.insert(task_id.clone(), executor_id.clone());
            executor.tasks.insert(task_id.clone(), task);
            executor.queue.push_back(task_id);
        }
        if is_new {
            executor.preparation = Some(Preparation::new(now.mono));
            let program = &self.config.executor_program;
            out.push(Effect::Launch(Box::new(Launch {
                agent_id,
                run: executor.run.clone(),
                framework: framework.info.clone(),
                executor: command::runnable(executor.info.clone(), program),
                task: launched,
                plan,
                resources: executor.resources(),
            })));
        } else {
            self.deliver(&framework_id, &executor_id, out);
        }
    }

    /// Makes the framework known, or known again. False if it is being shut down.
    fn meet_framework(&mut self, id: &FrameworkId, info: &FrameworkInfo, out: &mut Vec<Effect>) -> bool {
        if let Some(framework) = self.frameworks.get_mut(id) {
            if framework.terminating {
                return false;
            }
            if framework.info != *info {
                framework.info = info.clone();
                out.push(Effect::Persist(Record::Framework { info: Box::new(info.clone()) }));
            }
            return true;
        }
        let earlier = self.completed_frameworks.iter().position(|framework| framework.id() == *id);
        let mut framework = earlier
            .and_then(|index| self.completed_frameworks.remove(index))
            .unwrap_or_else(|| Framework::new(info.clone()));
        framework.info = info.clone();
        framework.terminating = false;
        self.frameworks.insert(id.clone(), framework);
        out.push(Effect::Persist(Record::Framework { info: Box::new(info.clone()) }));
        true
    }

    /// Why the executor cannot take another task.
    fn unusable(
        &self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        for_command: bool,
    ) -> Option<Cause> {
        let framework = self.frameworks.get(framework_id)?;
        let dropped = framework.state_or_lost(TaskState::TaskDropped);
        if self.ending {
            return Some(Cause::new(dropped, Reason::ContainerLaunchFailed, "Agent is shutting down"));
        }
        if self.draining.is_some() {
            let message = "Task was received while agent was already draining";
            return Some(Cause::new(dropped, Reason::AgentDraining, message));
        }
        let Some(executor) = framework.executors.get(executor_id) else {
            let limit = self.config.max_executors;
            let message = format!("Agent runs {limit} executors, which is its limit");
            return (self.containers.len() >= limit)
                .then(|| Cause::new(dropped, Reason::ContainerLaunchFailed, message));
        };
        match executor.state {
            ExecutorState::Terminating => {
                Some(Cause::new(dropped, Reason::ExecutorTerminated, "Executor terminating"))
            }
            ExecutorState::Terminated => {
                Some(Cause::new(dropped, Reason::ExecutorTerminated, "Executor terminated"))
            }
            _ if for_command || executor.for_command => {
                let message = format!("Executor ID '{executor_id}' is taken by another task's executor");
                Some(Cause::new(dropped, Reason::TaskInvalid, message))
            }
            ExecutorState::Registering | ExecutorState::Running => None,
        }
    }

    /// Sends an executor the tasks that wait for it, if it is subscribed and its process is recorded: a
    /// quick executor subscribes before its launch is told.
    pub(crate) fn deliver(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        out: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executor_mut(framework_id, executor_id) else { return };
        let Some(connection) = executor.connection.filter(|_| executor.state == ExecutorState::Running)
        else {
            return;
        };
        if executor.process.is_none() || executor.queue.is_empty() {
            return;
        }
        if !executor.for_command {
            // The container of a command task was started with all it gets.
            let (container_id, resources) = (executor.run.container_id.clone(), executor.resources());
            out.push(Effect::Resize { container_id, resources });
        }
        let queue: Vec<TaskId> = std::mem::take(&mut executor.queue).into();
        for task_id in &queue {
            if let Some(task) = executor.tasks.get_mut(task_id) {
                task.delivered = true;
                executor.served = true;
            }
        }
        for event in launch_events(executor, &queue) {
            out.push(Effect::Send { connection, event: Box::new(event) });
        }
    }
}

/// What of a wish of the master is left to be begun once nothing speaks against it.
struct Begun {
    framework_id: FrameworkId,
    executor: ExecutorInfo,
    for_command: bool,
    plan: ContainerPlan,
    tasks: Vec<TaskInfo>,
    is_group: bool,
}

/// The events that give an executor those of its tasks: each on its own, groups as one.
pub(crate) fn launch_events(executor: &Executor, tasks: &[TaskId]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut told = BTreeSet::new();
    for task_id in tasks {
        let Some(task) = executor.tasks.get(task_id) else { continue };
        let Some(info) = &task.info else { continue };
        if task.group.is_empty() {
            events.push(launch_event(info.as_ref().clone()));
        } else if told.insert(&task.group) {
            let members = task.group.iter().filter(|member| tasks.contains(member));
            let infos = members.filter_map(|member| executor.tasks.get(member)?.info.as_deref().cloned());
            events.push(launch_group_event(infos.collect()));
        }
    }
    events
}

fn launch_event(task: TaskInfo) -> Event {
    Event {
        r#type: Some(event::Type::Launch as i32),
        launch: Some(event::Launch { task }),
        ..Default::default()
    }
}

fn launch_group_event(tasks: Vec<TaskInfo>) -> Event {
    Event {
        r#type: Some(event::Type::LaunchGroup as i32),
        launch_group: Some(event::LaunchGroup { task_group: TaskGroupInfo { tasks } }),
        ..Default::default()
    }
}
