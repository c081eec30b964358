//! What becomes of tasks: status updates, their ends, the history. Mesos: `Master::statusUpdate`,
//! `Master::updateTask`, `Master::removeTask`.

use agent_link::{Body, ShutdownFramework, Update};
use base::{AgentId, ExecutorId, FrameworkId, TaskId};
use mesos_proto::v1::{TaskState, TaskStatus, task_status};

use crate::input::ConnId;
use crate::master::Master;
use crate::message::{self, event, published};
use crate::task::is_terminal;
use crate::turn::Turn;

impl Master {
    /// An update of an agent: passed on as it is, and taken for the newest state of the task.
    pub(crate) fn status_update(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        agent: &AgentId,
        update: Update,
    ) {
        self.counters.count("messages_status_update");
        let (Some(framework), Some(status)) = (update.framework_id, update.status) else {
            return self.counters.count("invalid_status_updates");
        };
        let framework_id = FrameworkId::from(framework.value.as_str());
        let task_id = TaskId::from(status.task_id.value.as_str());
        if self.is_completed(&framework_id) {
            // Nobody will acknowledge it: the agent has missed that the framework is over.
            self.counters.count("invalid_status_updates");
            let framework_id = Some(framework);
            return turn.tell_agent(conn, Body::ShutdownFramework(ShutdownFramework { framework_id }));
        }
        let task =
            self.frameworks.get_mut(&framework_id).and_then(|framework| framework.tasks.get_mut(&task_id));
        let is_known = task.as_ref().is_some_and(|task| task.agent_id() == *agent);
        let is_connected = self.frameworks.get(&framework_id).is_some_and(|it| it.is_connected());
        if is_known && is_connected {
            self.remember_update(&framework_id, &task_id, &status);
        }
        let was_sent = self.send_event(turn, &framework_id, event::update(status.clone()));
        if is_known {
            let latest = TaskState::try_from(update.latest_state).unwrap_or(TaskState::TaskUnknown);
            // An unset number reads as TASK_STARTING; the update itself is then as new as anything known.
            let latest = if update.latest_state == 0 { None } else { Some(latest) };
            self.update_task(turn, &framework_id, &task_id, status, latest);
        }
        self.counters.count(match was_sent && is_known {
            true => "valid_status_updates",
            false => "invalid_status_updates",
        });
    }

    /// Remembers which update the framework has been sent, and so which one it will acknowledge.
    fn remember_update(&mut self, framework: &FrameworkId, task: &TaskId, status: &TaskStatus) {
        let framework = self.frameworks.get_mut(framework);
        let task = framework.and_then(|framework| framework.tasks.get_mut(task));
        if let Some(task) = task.filter(|_| status.uuid.is_some()) {
            task.info.status_update_state = Some(status.state);
            task.info.status_update_uuid.clone_from(&status.uuid);
        }
    }

    /// Takes a status for the newest of a task; gives its resources back if it is the end. `latest` is the
    /// agent's newest state if it is further than the update that is being delivered.
    pub(crate) fn update_task(
        &mut self,
        turn: &mut Turn<'_>,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        mut status: TaskStatus,
        latest: Option<TaskState>,
    ) {
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        let Some(task) = framework.tasks.get_mut(task_id) else { return };
        let said = TaskState::try_from(status.state).unwrap_or(TaskState::TaskUnknown);
        let state = latest.unwrap_or(said);
        let ends = !ends_here(task.state()) && ends_here(state);
        if !task.is_terminal() {
            if task.state() != state && is_terminal(state) {
                framework.metrics.terminal_tasks.count(state);
            }
            task.info.state = state.into();
        }
        let reason = status.reason.and_then(|reason| task_status::Reason::try_from(reason).ok());
        let mut is_news = matches!(
            reason,
            Some(
                task_status::Reason::TaskCheckStatusUpdated
                    | task_status::Reason::TaskHealthCheckStatusUpdated
            )
        );
        match task.info.statuses.last() {
            Some(last) if last.state == status.state => {
                task.info.statuses.pop();
            }
            _ => is_news = true,
        }
        // Frameworks may put megabytes there, and nobody reads them here.
        status.data = None;
        if is_news {
            turn.publish(published::task_updated(framework_id, status.clone(), task.state()));
        }
        task.info.statuses.push(status.clone());
        if ends {
            if let Some(name) = end_counter(state) {
                self.counters.count(name);
            }
            self.task_reasons.count(&status);
            self.release_task(framework_id, task_id);
        }
    }

    /// Gives the resources of a task back.
    fn release_task(&mut self, framework_id: &FrameworkId, task_id: &TaskId) {
        let framework = self.frameworks.get_mut(framework_id);
        let Some(task) = framework.and_then(|framework| framework.tasks.get_mut(task_id)) else { return };
        if !std::mem::take(&mut task.holds_resources) {
            return;
        }
        let (agent_id, resources) = (task.agent_id(), task.resources.clone());
        if let Some(agent) = self.agents.get_mut(&agent_id) {
            agent.release(framework_id, &resources);
        }
        self.allocator.recover(framework_id, &agent_id, &resources);
    }

    /// Takes a task away from its agent and framework, its resources given back.
    pub(crate) fn take_task(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
    ) -> Option<crate::task::Task> {
        self.release_task(framework_id, task_id);
        let task = self.frameworks.get_mut(framework_id)?.tasks.remove(task_id)?;
        if let Some(agent) = self.agents.get_mut(&task.agent_id()) {
            let key = (framework_id.clone(), task_id.clone());
            agent.tasks.remove(&key);
            agent.killed_tasks.remove(&key);
            if agent.tasks.is_empty() && agent.deactivation.is_some() {
                self.emptied.insert(agent.id.clone());
            }
        }
        Some(task)
    }

    /// Moves a task into the history of its framework.
    pub(crate) fn complete_task(&mut self, framework_id: &FrameworkId, task_id: &TaskId) {
        let Some(task) = self.take_task(framework_id, task_id) else { return };
        let limit = self.config.max_completed_tasks_per_framework;
        if let Some(framework) = self.frameworks.get_mut(framework_id) {
            framework.complete(task, limit);
        }
    }

    /// Moves a task of an unreachable agent aside until the agent comes back.
    pub(crate) fn set_task_aside(&mut self, framework_id: &FrameworkId, task_id: &TaskId) {
        let Some(task) = self.take_task(framework_id, task_id) else { return };
        let limit = self.config.max_unreachable_tasks_per_framework;
        if let Some(framework) = self.frameworks.get_mut(framework_id) {
            framework.unreachable_tasks.insert(task_id.clone(), task);
            while framework.unreachable_tasks.len() > limit {
                framework.unreachable_tasks.pop_first();
            }
        }
    }

    /// Forgets an executor and gives its resources back. Says whether it was known.
    pub(crate) fn remove_executor(
        &mut self,
        agent_id: &AgentId,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
    ) -> bool {
        let Some(agent) = self.agents.get_mut(agent_id) else { return false };
        let Some(executors) = agent.executors.get_mut(framework_id) else { return false };
        let Some(executor) = executors.remove(executor_id) else { return false };
        if executors.is_empty() {
            agent.executors.remove(framework_id);
        }
        agent.release(framework_id, &executor.resources);
        self.allocator.recover(framework_id, agent_id, &executor.resources);
        true
    }

    /// An executor that a framework brought along has ended.
    pub(crate) fn executor_exited(
        &mut self,
        turn: &mut Turn<'_>,
        agent: &AgentId,
        exited: agent_link::ExecutorExited,
    ) {
        self.counters.count("messages_exited_executor");
        let (Some(framework), Some(executor)) = (exited.framework_id, exited.executor_id) else { return };
        let (framework, executor) = (FrameworkId::from(framework.value), ExecutorId::from(executor.value));
        if self.remove_executor(agent, &framework, &executor) {
            self.send_event(turn, &framework, event::executor_failed(agent, &executor, exited.status));
        }
    }

    /// An executor has something to say to its framework.
    pub(crate) fn executor_message(
        &mut self,
        turn: &mut Turn<'_>,
        agent: &AgentId,
        said: agent_link::ExecutorMessage,
    ) {
        self.counters.count("messages_executor_to_framework");
        let (Some(framework), Some(executor)) = (said.framework_id, said.executor_id) else {
            return self.counters.count("invalid_executor_to_framework_messages");
        };
        let event = event::message(agent, executor, said.data);
        let was_sent = self.send_event(turn, &FrameworkId::from(framework.value), event);
        self.counters.count(match was_sent {
            true => "valid_executor_to_framework_messages",
            false => "invalid_executor_to_framework_messages",
        });
    }

    /// Tells a framework, if it is connected, what the master has made of a task.
    pub(crate) fn tell(
        &mut self,
        turn: &mut Turn<'_>,
        framework: &FrameworkId,
        task: &TaskId,
        state: TaskState,
        reason: task_status::Reason,
        text: &str,
    ) {
        let Some(known) = self.frameworks.get(framework).and_then(|it| it.tasks.get(task)) else { return };
        let (task_id, agent) = (known.info.task_id.clone(), Some(known.info.agent_id.clone()));
        let mut status = message::status(turn.now.wall, task_id, agent, state, reason, text);
        status.executor_id.clone_from(&known.info.executor_id);
        if state == TaskState::TaskUnreachable {
            status.unreachable_time = Some(message::time(turn.now.wall));
        }
        self.update_task(turn, framework, task, status.clone(), None);
        self.send_event(turn, framework, event::update(status));
    }
}

/// Whether a task in `state` does not hold resources any more.
pub(crate) fn ends_here(state: TaskState) -> bool {
    is_terminal(state) || state == TaskState::TaskUnreachable
}

fn end_counter(state: TaskState) -> Option<&'static str> {
    Some(match state {
        TaskState::TaskFinished => "tasks_finished",
        TaskState::TaskFailed => "tasks_failed",
        TaskState::TaskKilled => "tasks_killed",
        TaskState::TaskLost => "tasks_lost",
        TaskState::TaskError => "tasks_error",
        TaskState::TaskDropped => "tasks_dropped",
        TaskState::TaskGone => "tasks_gone",
        TaskState::TaskGoneByOperator => "tasks_gone_by_operator",
        _ => return None,
    })
}
