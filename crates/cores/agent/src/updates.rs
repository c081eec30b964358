//! Status updates: in from executors and from the agent itself, out to the master until acknowledged.

use base::{ExecutorId, FrameworkId, Mono, Now, TaskId};
use mesos_proto::v1::executor::{Event, event};
use mesos_proto::v1::network_info::{IpAddress, Protocol};
use mesos_proto::v1::task_status::Source;
use mesos_proto::v1::{self, ContainerStatus, NetworkInfo, TaskState, TaskStatus};

use crate::status::{self, Cause};
use crate::stream::{Receipt, Stream};
use crate::timers::Timer;
use crate::{Agent, Effect, Executor, LogEntry, MemoryReport, Record, Run};

/// Lines of a task's log at which it is rewritten to what matters.
const MAX_LOGGED: usize = 256;

impl Agent {
    /// Mesos: `Slave::statusUpdate`, from an executor.
    pub(crate) fn executor_update(
        &mut self,
        now: Now,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        mut status: TaskStatus,
        memory: Option<&MemoryReport>,
        out: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executor(framework_id, executor_id) else {
            self.counters.invalid_status_updates += 1;
            return;
        };
        if status.uuid().len() != 16 {
            self.counters.invalid_status_updates += 1;
            return;
        }
        let task_id = TaskId::new(&status.task_id.value);
        if status.state() == TaskState::TaskStaging {
            // Only the master may say so; an executor that does is broken (as Mesos sees it).
            self.counters.invalid_status_updates += 1;
            self.shutdown_executor(now, framework_id, executor_id, out);
            return;
        }
        let uuid = status.uuid().to_vec();
        if executor.tasks.contains_key(&task_id) {
            complete_status(&mut status, executor, &self.config.ip);
            status.agent_id = self.id.as_ref().map(|id| v1::AgentId { value: id.to_string() });
            status.source = Some(Source::Executor as i32);
            status.timestamp.get_or_insert(now.wall.as_secs_f64());
            status::explain_memory(&mut status, memory);
            self.take_update(now, framework_id, status, out);
        } else {
            self.counters.invalid_status_updates += 1;
        }
        // Also what changed nothing is acknowledged: otherwise the executor would send it for ever.
        self.acknowledge_to_executor(framework_id, executor_id, &task_id, uuid, out);
    }

    fn acknowledge_to_executor(
        &self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        task_id: &TaskId,
        uuid: Vec<u8>,
        out: &mut Vec<Effect>,
    ) {
        let Some(connection) =
            self.executor(framework_id, executor_id).and_then(|executor| executor.connection)
        else {
            return;
        };
        let event = Event {
            r#type: Some(event::Type::Acknowledged as i32),
            acknowledged: Some(event::Acknowledged {
                task_id: v1::TaskId { value: task_id.to_string() },
                uuid,
            }),
            ..Default::default()
        };
        out.push(Effect::Send { connection, event: Box::new(event) });
    }

    /// The agent itself ends a task.
    pub(crate) fn end_task(
        &mut self,
        now: Now,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        cause: Cause,
        out: &mut Vec<Effect>,
    ) {
        self.agent_update(now, framework_id, task_id, cause, out);
    }

    /// The agent itself changes the state of a task.
    pub(crate) fn agent_update(
        &mut self,
        now: Now,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        cause: Cause,
        out: &mut Vec<Effect>,
    ) {
        let Some(agent_id) = self.id.clone() else { return };
        let Some(framework) = self.frameworks.get(framework_id) else { return };
        let executor = framework.executor_of(task_id);
        let executor_id = executor.map(|executor| executor.id().clone());
        let mut status =
            status::of_agent(now, &mut self.rng, &agent_id, task_id, executor_id.as_ref(), cause);
        let executor = self.frameworks.get(framework_id).and_then(|framework| framework.executor_of(task_id));
        if let Some(executor) = executor {
            complete_status(&mut status, executor, &self.config.ip);
        }
        self.take_update(now, framework_id, status, out);
    }

    /// Records an update, applies it, and forwards it when its turn comes.
    fn take_update(
        &mut self,
        now: Now,
        framework_id: &FrameworkId,
        mut status: TaskStatus,
        out: &mut Vec<Effect>,
    ) {
        if let Some(framework) = self.frameworks.get(framework_id) {
            self.explain_draining(&framework.info, &mut status);
        }
        let Some(framework) =
            self.frameworks.get_mut(framework_id).filter(|framework| !framework.terminating)
        else {
            self.counters.invalid_status_updates += 1;
            return;
        };
        let task_id = TaskId::new(&status.task_id.value);
        let run = framework.executor_of(&task_id).map(|executor| executor.run.clone());
        let stream = framework.streams.entry(task_id.clone()).or_insert_with(|| Stream::new(run));
        match stream.receive(&status) {
            Receipt::New => {}
            Receipt::Repeated => return,
            Receipt::TooLate => {
                self.counters.invalid_status_updates += 1;
                return;
            }
        }
        self.counters.valid_status_updates += 1;
        if let Some(run) = stream.run.clone() {
            stream.logged += 1;
            let entry = LogEntry::Update(Box::new(status.clone()));
            out.push(Effect::Persist(Record::Log { run, task_id: task_id.clone(), entry }));
        }
        self.count_end(&status);
        self.apply(now, framework_id, &status, out);
        self.rewrite_log(framework_id, &task_id, out);
        let alone = self.stream(framework_id, &task_id).is_some_and(|stream| stream.pending().count() == 1);
        if alone {
            self.forward(now, framework_id, &task_id, out);
        }
    }

    /// Takes a status over into the task. A command task that is over starts the wait for its executor.
    fn apply(&mut self, now: Now, framework_id: &FrameworkId, status: &TaskStatus, out: &mut Vec<Effect>) {
        let task_id = TaskId::new(&status.task_id.value);
        let linger = self.config.executor_shutdown_grace_period;
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        let Some(executor) = framework.executor_of_mut(&task_id) else { return };
        let Some(task) = executor.tasks.get_mut(&task_id) else { return };
        task.apply(status);
        let (is_queued, is_over) = (task.is_queued(), task.is_over());
        if !is_queued {
            // It is over, or an executor tells of it that was not sent it.
            executor.queue.retain(|queued| *queued != task_id);
        }
        if !is_over {
            return;
        }
        if executor.for_command {
            self.timers.set(now.mono + linger, Timer::Linger(executor.run.container_id.clone()));
        } else if executor.state == crate::ExecutorState::Running {
            let (container_id, resources) = (executor.run.container_id.clone(), executor.resources());
            out.push(Effect::Resize { container_id, resources });
        }
    }

    /// Keeps a task's log from growing with every change of its health.
    fn rewrite_log(&mut self, framework_id: &FrameworkId, task_id: &TaskId, out: &mut Vec<Effect>) {
        let Some(framework) = self.frameworks.get(framework_id) else { return };
        let Some(stream) = framework.streams.get(task_id).filter(|stream| stream.logged > MAX_LOGGED) else {
            return;
        };
        let Some(run) = stream.run.clone() else { return };
        let Some(task) = framework.executor_of(task_id).and_then(|executor| executor.tasks.get(task_id))
        else {
            return;
        };
        let pending: Vec<&TaskStatus> = stream.pending().collect();
        let is_pending = |status: &TaskStatus| pending.iter().any(|other| other.uuid() == status.uuid());
        let mut entries = Vec::new();
        for status in task.task.statuses.iter().filter(|status| !is_pending(status)) {
            entries.push(LogEntry::Update(Box::new(status.clone())));
            entries.push(LogEntry::Acknowledged(status.uuid().to_vec()));
        }
        entries.extend(pending.into_iter().map(|status| LogEntry::Update(Box::new(status.clone()))));
        // A log full of what is pending shrinks by nothing: it is tried again only after as much again.
        let logged = entries.len().saturating_sub(MAX_LOGGED / 2);
        out.push(Effect::Persist(Record::LogRewritten { run, task_id: task_id.clone(), entries }));
        if let Some(stream) = self.stream_mut(framework_id, task_id) {
            stream.logged = logged;
        }
    }

    /// Sends the first pending update of a task, if the master listens.
    fn forward(&mut self, now: Now, framework_id: &FrameworkId, task_id: &TaskId, out: &mut Vec<Effect>) {
        self.forward_after(now, framework_id, task_id, self.config.update_retry.0, out);
    }

    fn forward_after(
        &mut self,
        now: Now,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        wait: std::time::Duration,
        out: &mut Vec<Effect>,
    ) {
        if !self.registered {
            return;
        }
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        let Some(stream) = framework.streams.get_mut(task_id) else { return };
        let Some(status) = stream.first().cloned() else { return };
        let timer = Timer::Retry(framework_id.clone(), task_id.clone());
        if let Some((at, _)) = stream.retry.take() {
            self.timers.cancel(at, timer.clone());
        }
        let at = now.mono + wait;
        stream.retry = Some((at, wait));
        self.timers.set(at, timer);
        let task = framework.executor_of_mut(task_id).and_then(|executor| executor.tasks.get_mut(task_id));
        let latest_state = match task {
            Some(run) => {
                run.task.status_update_state = Some(status.state);
                run.task.status_update_uuid = status.uuid.clone();
                run.task.state()
            }
            None => status.state(),
        };
        let framework_id = framework_id.clone();
        out.push(Effect::Forward { framework_id, status: Box::new(status), latest_state });
    }

    pub(crate) fn retry(
        &mut self,
        now: Now,
        at: Mono,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        out: &mut Vec<Effect>,
    ) {
        let longest = self.config.update_retry.1;
        let Some(stream) = self.stream(framework_id, task_id) else { return };
        let Some((_, wait)) = stream.retry.filter(|(due, _)| *due == at) else { return };
        self.forward_after(now, framework_id, task_id, (wait * 2).min(longest), out);
    }

    /// Sends the first pending update of every task: the master is new or back.
    pub(crate) fn forward_all(&mut self, now: Now, out: &mut Vec<Effect>) {
        let all: Vec<FrameworkId> = self.frameworks.keys().cloned().collect();
        for framework_id in all {
            self.forward_framework(now, &framework_id, out);
        }
    }

    /// Sends the first pending update of every task of a framework.
    pub(crate) fn forward_framework(&mut self, now: Now, id: &FrameworkId, out: &mut Vec<Effect>) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let tasks: Vec<TaskId> = framework.streams.keys().cloned().collect();
        for task_id in tasks {
            self.forward(now, id, &task_id, out);
        }
    }

    /// Stops all retries: the master does not listen.
    pub(crate) fn stop_retries(&mut self) {
        for (framework_id, framework) in &mut self.frameworks {
            for (task_id, stream) in &mut framework.streams {
                if let Some((at, _)) = stream.retry.take() {
                    self.timers.cancel(at, Timer::Retry(framework_id.clone(), task_id.clone()));
                }
            }
        }
    }

    /// Mesos: `Slave::statusUpdateAcknowledgement`.
    pub(crate) fn acknowledge(
        &mut self,
        now: Now,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        uuid: &[u8],
        out: &mut Vec<Effect>,
    ) {
        let Some(stream) = self.stream_mut(framework_id, task_id) else { return };
        if stream.acknowledge(uuid).is_none() {
            return;
        }
        if let Some(run) = stream.run.clone() {
            stream.logged += 1;
            let entry = LogEntry::Acknowledged(uuid.to_vec());
            out.push(Effect::Persist(Record::Log { run, task_id: task_id.clone(), entry }));
        }
        let retry = self.stream_mut(framework_id, task_id).and_then(|stream| stream.retry.take());
        if let Some((at, _)) = retry {
            self.timers.cancel(at, Timer::Retry(framework_id.clone(), task_id.clone()));
        }
        self.settle_task(framework_id, task_id, out);
        self.forward(now, framework_id, task_id, out);
    }

    /// Lets go of a task whose stream is over, and of its executor if that was the last.
    pub(crate) fn settle_task(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        out: &mut Vec<Effect>,
    ) {
        let bound = self.config.max_completed_tasks;
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        if !framework.streams.get(task_id).is_some_and(Stream::is_over) {
            return;
        }
        framework.streams.remove(task_id);
        if let Some(executor_id) = framework.tasks.remove(task_id) {
            if let Some(executor) = framework.executors.get_mut(&executor_id)
                && let Some(task) = executor.tasks.remove(task_id)
            {
                executor.completed.push_back(task);
                while executor.completed.len() > bound {
                    executor.completed.pop_front();
                }
            }
            self.settle_executor(framework_id, &executor_id, out);
        } else {
            self.settle_framework(framework_id);
        }
    }

    fn stream(&self, framework_id: &FrameworkId, task_id: &TaskId) -> Option<&Stream> {
        self.frameworks.get(framework_id)?.streams.get(task_id)
    }

    fn stream_mut(&mut self, framework_id: &FrameworkId, task_id: &TaskId) -> Option<&mut Stream> {
        self.frameworks.get_mut(framework_id)?.streams.get_mut(task_id)
    }
}

/// Adds what only the agent knows: executor, container, the first process's pid, and where the task is
/// reached: at its container's address, or at `ip` on the host's network (Mesos: `Slave::_statusUpdate`).
fn complete_status(status: &mut TaskStatus, executor: &Executor, ip: &str) {
    let Run { executor_id, container_id, .. } = &executor.run;
    status.executor_id = Some(v1::ExecutorId { value: executor_id.to_string() });
    let container = status.container_status.get_or_insert_with(ContainerStatus::default);
    container
        .container_id
        .get_or_insert_with(|| v1::ContainerId { value: container_id.to_string(), ..Default::default() });
    container.executor_pid = container.executor_pid.or(executor.process.map(|process| process.pid));
    if container.network_infos.is_empty() {
        container.network_infos.clone_from(&executor.networks);
    }
    if container.network_infos.is_empty() {
        let address = IpAddress { protocol: Some(Protocol::IPv4 as i32), ip_address: Some(ip.to_owned()) };
        container.network_infos.push(NetworkInfo { ip_addresses: vec![address], ..Default::default() });
    }
}
