//! What executors say, and what is said to them.

use base::{ExecutorId, FrameworkId, Now, TaskId};
use mesos_proto::v1::executor::{Event, event};
use mesos_proto::v1::{self, KillPolicy, TaskState, TaskStatus};

use crate::agent::Phase;
use crate::launch::launch_events;
use crate::{Agent, ConnectionId, Effect, ExecutorState, MemoryReport};

/// Why an executor's call is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Which containers live is not known yet: to be tried again.
    Recovering,
    /// The agent knows no such framework.
    UnknownFramework,
    /// The framework has no such executor here.
    UnknownExecutor,
    /// The executor must subscribe before it calls.
    NotSubscribed,
}

impl Refusal {
    /// Mesos' words for it.
    pub fn text(self) -> &'static str {
        match self {
            Refusal::Recovering => "Agent has not finished recovery",
            Refusal::UnknownFramework => "Framework cannot be found",
            Refusal::UnknownExecutor => "Executor cannot be found",
            Refusal::NotSubscribed => "Executor is not subscribed",
        }
    }
}

impl Agent {
    /// Whether a call of this executor may be handled now (Mesos: `Http::executor`).
    ///
    /// # Errors
    /// The reason why it may not.
    pub fn admit(
        &self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        subscribes: bool,
    ) -> Result<(), Refusal> {
        if self.phase == Phase::Recovering {
            return Err(Refusal::Recovering);
        }
        let framework = self.frameworks.get(framework_id).ok_or(Refusal::UnknownFramework)?;
        let executor = framework.executors.get(executor_id).ok_or(Refusal::UnknownExecutor)?;
        match executor.state {
            ExecutorState::Registering if !subscribes => Err(Refusal::NotSubscribed),
            _ => Ok(()),
        }
    }

    /// Mesos: `Slave::subscribe`. Other than there, a task that the executor never got is sent to it
    /// again rather than given up: the executor says which ones it has, so none runs twice.
    #[expect(clippy::too_many_arguments, reason = "the parts of one input")]
    pub(crate) fn subscribe(
        &mut self,
        now: Now,
        connection: ConnectionId,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        (updates, tasks): (Vec<TaskStatus>, Vec<TaskId>),
        memory: Option<&MemoryReport>,
        out: &mut Vec<Effect>,
    ) {
        let ending = self.frameworks.get(framework_id).is_some_and(|framework| framework.terminating);
        let Some(executor) = self.executor(framework_id, executor_id) else {
            out.push(Effect::Close { connection });
            return;
        };
        if ending || matches!(executor.state, ExecutorState::Terminating | ExecutorState::Terminated) {
            // Its last words count: its tasks' ends may be among them.
            for status in updates {
                self.executor_update(now, framework_id, executor_id, status, memory, out);
            }
            out.push(Effect::Send { connection, event: Box::new(shutdown_event()) });
            out.push(Effect::Close { connection });
            return;
        }
        self.attach(connection, framework_id, executor_id, out);
        self.greet(connection, framework_id, executor_id, out);
        for status in updates {
            self.executor_update(now, framework_id, executor_id, status, memory, out);
        }
        self.match_tasks(connection, framework_id, executor_id, &tasks, out);
        self.deliver(framework_id, executor_id, out);
        let unused = self
            .executor(framework_id, executor_id)
            .is_some_and(|executor| !executor.served && executor.tasks.values().all(|task| task.is_over()));
        if unused {
            self.shutdown_executor(now, framework_id, executor_id, out);
        }
        self.end_reconnecting_if_complete();
    }

    /// The events of the executor go to `connection` from now on.
    fn attach(
        &mut self,
        connection: ConnectionId,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        out: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executor_mut(framework_id, executor_id) else { return };
        executor.state = ExecutorState::Running;
        let container_id = executor.run.container_id.clone();
        let earlier = executor.connection.replace(connection).filter(|earlier| *earlier != connection);
        if let Some(earlier) = earlier {
            self.connections.remove(&earlier);
            out.push(Effect::Close { connection: earlier });
        }
        self.connections.insert(connection, container_id);
    }

    fn greet(
        &self,
        connection: ConnectionId,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        out: &mut Vec<Effect>,
    ) {
        let Some(framework) = self.frameworks.get(framework_id) else { return };
        let Some(executor) = framework.executors.get(executor_id) else { return };
        let container_id =
            v1::ContainerId { value: executor.run.container_id.to_string(), ..Default::default() };
        let event = Event {
            r#type: Some(event::Type::Subscribed as i32),
            subscribed: Some(event::Subscribed {
                executor_info: executor.info.clone(),
                framework_info: framework.info.clone(),
                agent_info: self.info_with_id(),
                container_id: Some(container_id),
            }),
            ..Default::default()
        };
        out.push(Effect::Send { connection, event: Box::new(event) });
    }

    /// Compares what the agent thinks the executor has with what it says it has: `held`.
    fn match_tasks(
        &mut self,
        connection: ConnectionId,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        held: &[TaskId],
        out: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executor_mut(framework_id, executor_id) else { return };
        for task_id in held {
            if let Some(task) = executor.tasks.get_mut(task_id) {
                task.delivered = true;
                executor.served = true;
                executor.queue.retain(|queued| queued != task_id);
            }
        }
        let sent = executor.tasks.iter().filter(|(_, task)| task.delivered && !task.is_over());
        let missing: Vec<TaskId> =
            sent.map(|(task_id, _)| task_id).filter(|id| !held.contains(id)).cloned().collect();
        for event in launch_events(executor, &missing) {
            out.push(Effect::Send { connection, event: Box::new(event) });
        }
        for (task_id, task) in &executor.tasks {
            if !task.delivered || task.is_over() {
                continue;
            }
            if let Some(kill_policy) = &task.kill {
                let event = Box::new(kill_event(task_id, *kill_policy));
                out.push(Effect::Send { connection, event });
            }
        }
    }

    /// The connection broke. The executor is not gone for that: its container tells.
    pub(crate) fn unsubscribe(&mut self, connection: ConnectionId) {
        let Some(container_id) = self.connections.remove(&connection) else { return };
        if let Some(executor) = self.executor_in_mut(&container_id)
            && executor.connection == Some(connection)
        {
            executor.connection = None;
        }
    }

    pub(crate) fn framework_message(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        data: Vec<u8>,
        out: &mut Vec<Effect>,
    ) {
        let connection = self
            .executor(framework_id, executor_id)
            .filter(|executor| executor.state == ExecutorState::Running)
            .and_then(|executor| executor.connection);
        let Some(connection) = connection else {
            self.counters.invalid_framework_messages += 1;
            return;
        };
        self.counters.valid_framework_messages += 1;
        let event = Event {
            r#type: Some(event::Type::Message as i32),
            message: Some(event::Message { data }),
            ..Default::default()
        };
        out.push(Effect::Send { connection, event: Box::new(event) });
    }

    /// The state of every task that is not done with, for metrics.
    pub fn living_tasks(&self) -> impl Iterator<Item = TaskState> {
        self.frameworks
            .values()
            .flat_map(|framework| framework.executors.values())
            .flat_map(|executor| executor.tasks.values())
            .map(|task| task.task.state())
    }
}

pub(crate) fn kill_event(task_id: &TaskId, kill_policy: Option<KillPolicy>) -> Event {
    Event {
        r#type: Some(event::Type::Kill as i32),
        kill: Some(event::Kill { task_id: v1::TaskId { value: task_id.to_string() }, kill_policy }),
        ..Default::default()
    }
}

pub(crate) fn shutdown_event() -> Event {
    Event { r#type: Some(event::Type::Shutdown as i32), ..Default::default() }
}
