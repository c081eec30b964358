//! The call ACCEPT. Mesos: `Master::accept` and `Master::_accept`.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_link::{Body, RunTask};
use base::{AgentId, ExecutorId, FrameworkId, OfferId, TaskId};
use mesos_proto::v1::framework_info::capability;
use mesos_proto::v1::offer::{Operation, operation};
use mesos_proto::v1::scheduler::call::Accept;
use mesos_proto::v1::{self, TaskInfo, TaskState, task_status};
use resources::{Resources, WireForm};

use crate::agent::Executor;
use crate::framework::Offer;
use crate::master::Master;
use crate::message::{self, event, published};
use crate::offers::refusal;
use crate::task::Task;
use crate::turn::Turn;
use crate::validation::task as validation;

/// Offers that were accepted together and are used up by operations one after the other.
pub(crate) struct Accepted {
    pub(crate) framework: FrameworkId,
    pub(crate) agent: AgentId,
    pub(crate) role: Arc<str>,
    pub(crate) remaining: Resources,
}

impl Master {
    pub(crate) fn accept(&mut self, turn: &mut Turn<'_>, id: &FrameworkId, call: Accept) {
        for operation in &call.operations {
            if let Some(launch) = &operation.launch {
                self.counters.count(if launch.task_infos.is_empty() {
                    "messages_decline_offers"
                } else {
                    "messages_launch_tasks"
                });
            }
        }
        let ids: Vec<OfferId> = call.offer_ids.iter().map(|id| OfferId::from(id.value.as_str())).collect();
        if let Err(text) = self.validate_offers(id, &ids) {
            for offer in &ids {
                if self.frameworks[id].offers.contains(offer) {
                    self.discard_offer(offer);
                }
            }
            for operation in call.operations {
                self.refuse_invalid_offers(turn, id, operation, &text);
            }
            return;
        }
        let offers: Vec<Offer> = ids.iter().filter_map(|id| self.remove_offer(id)).collect();
        let first = offers.first().expect("an ACCEPT without offers was refused");
        let mut accepted = Accepted {
            framework: id.clone(),
            agent: first.agent_id.clone(),
            role: first.role.clone(),
            remaining: offers.iter().fold(Resources::new(), |sum, offer| sum + &offer.resources),
        };
        let framework = self.frameworks.get_mut(id).expect("a subscribed framework is known");
        framework.metrics.offers_accepted += offers.len() as u64;
        for operation in call.operations {
            self.operate(turn, &mut accepted, operation);
        }
        let refuse = refusal(call.filters.as_ref());
        self.allocator.decline(turn.now.mono, id, &accepted.agent, &accepted.remaining, refuse);
    }

    /// Mesos: validation::offer::validate.
    fn validate_offers(&self, id: &FrameworkId, offers: &[OfferId]) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = offers.iter().find(|offer| !seen.insert(*offer)) {
            return Err(format!("Duplicate offer {twice} in offer list"));
        }
        let known: Vec<&Offer> = offers
            .iter()
            .map(|offer| self.offers.get(offer).ok_or_else(|| format!("Offer {offer} is no longer valid")))
            .collect::<Result<_, _>>()?;
        let first = known.first().ok_or_else(|| "No offers specified".to_owned())?;
        if let Some(foreign) = known.iter().find(|offer| offer.framework_id != *id) {
            return Err(format!(
                "Offer {} has invalid framework {} while framework {id} is expected",
                foreign.id, foreign.framework_id
            ));
        }
        if let Some(other) = known.iter().find(|offer| offer.role != first.role) {
            return Err(format!(
                "Aggregated offers must be allocated to the same role. Offer {} uses role '{} but another is \
                 using role '{}",
                other.id, other.role, first.role
            ));
        }
        if let Some(other) = known.iter().find(|offer| offer.agent_id != first.agent_id) {
            return Err(format!(
                "Aggregated offers must belong to one single agent. Offer {} uses agent {} and agent {}",
                other.id, other.agent_id, first.agent_id
            ));
        }
        Ok(())
    }

    fn refuse_invalid_offers(
        &mut self,
        turn: &mut Turn<'_>,
        id: &FrameworkId,
        operation: Operation,
        why: &str,
    ) {
        let is_aware = self.frameworks[id].has_capability(capability::Type::PartitionAware);
        let state = if is_aware { TaskState::TaskDropped } else { TaskState::TaskLost };
        match tasks_of(&operation) {
            Some(tasks) => {
                let text = format!("Task launched with invalid offers: {why}");
                for task in tasks {
                    self.refuse_task(turn, id, task, state, task_status::Reason::InvalidOffers, &text);
                }
            }
            None => {
                let text = format!("Operation attempted with invalid offers: {why}");
                self.refuse_operation(turn, id, operation, text);
            }
        }
    }

    fn operate(&mut self, turn: &mut Turn<'_>, accepted: &mut Accepted, mut operation: Operation) {
        let kind = operation.r#type();
        let invalid = match kind {
            operation::Type::LaunchGroup => task_status::Reason::TaskGroupInvalid,
            _ => task_status::Reason::TaskInvalid,
        };
        let refusal = match kind {
            operation::Type::Launch | operation::Type::LaunchGroup if operation.id.is_some() => {
                Some(format!("The `id` field cannot be set on {} operations", kind.as_str_name()))
            }
            operation::Type::Launch | operation::Type::LaunchGroup => None,
            _ => {
                let Accepted { framework, agent, role, remaining } = accepted;
                let done = self.operate_on_offer(turn, framework, agent, role, remaining, &mut operation);
                return match done {
                    Ok(()) => {}
                    Err(text) => self.refuse_operation(turn, &accepted.framework, operation, text),
                };
            }
        };
        if let Some(text) = refusal {
            for task in tasks_of(&operation).unwrap_or_default() {
                self.refuse_task(turn, &accepted.framework, task, TaskState::TaskError, invalid, &text);
            }
            return;
        }
        if let Some(launch) = operation.launch_group.filter(|_| kind == operation::Type::LaunchGroup) {
            return self.launch_group(turn, accepted, launch);
        }
        for mut task in operation.launch.map(|launch| launch.task_infos).unwrap_or_default() {
            normalise(&accepted.framework, &mut task);
            if let Err(text) = self.launch(turn, accepted, &task) {
                self.refuse_task(turn, &accepted.framework, &task, TaskState::TaskError, invalid, &text);
            }
        }
    }

    /// Launches one task if it is valid and what remains of the offers is enough.
    fn launch(
        &mut self,
        turn: &mut Turn<'_>,
        accepted: &mut Accepted,
        task: &TaskInfo,
    ) -> Result<(), String> {
        let (framework, agent) = (&self.frameworks[&accepted.framework], &self.agents[&accepted.agent]);
        let valid = validation::validate(task, framework, agent, &accepted.role, &accepted.remaining)?;
        accepted.remaining.subtract(&valid.total).expect("validation compares with what remains");

        let mut message = task.clone();
        message.resources = valid.task.to_wire(WireForm::Refined);
        if let Some(executor) = &mut message.executor {
            executor.resources = valid.executor.to_wire(WireForm::Refined);
        }
        if let (Some(executor), true) = (&message.executor, valid.is_new_executor) {
            self.add_executor(&accepted.agent, &accepted.framework, executor.clone(), valid.executor);
        }
        let info = staging(&accepted.framework, &message);
        let task = Task { info, resources: valid.task, holds_resources: true };
        self.add_task(turn, task);
        let framework =
            self.frameworks.get_mut(&accepted.framework).expect("a subscribed framework is known");
        framework.metrics.operations.count(operation::Type::Launch);
        let info = (*framework.info).clone();
        // Offers of a disconnected agent were taken back, so that it is connected.
        if let Some(conn) = self.agents[&accepted.agent].conn {
            turn.tell_agent(conn, Body::RunTask(RunTask { framework: Some(info), task: Some(message) }));
        }
        Ok(())
    }

    /// Adds a task to its framework and agent and says so to operators. The allocator counts its resources
    /// already.
    pub(crate) fn add_task(&mut self, turn: &mut Turn<'_>, task: Task) {
        let (id, framework, agent) = (task.id(), task.framework_id(), task.agent_id());
        turn.publish(published::task_added(task.info.clone()));
        let agent = self.agents.get_mut(&agent).expect("a task's agent is registered");
        agent.tasks.insert((framework.clone(), id.clone()));
        if task.holds_resources {
            *agent.used.entry(framework.clone()).or_default() += &task.resources;
        }
        self.frameworks.get_mut(&framework).expect("a task's framework is known").tasks.insert(id, task);
    }

    /// Adds an executor to its agent. The allocator counts its resources already.
    pub(crate) fn add_executor(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        info: v1::ExecutorInfo,
        resources: Resources,
    ) {
        let agent = self.agents.get_mut(agent).expect("an executor's agent is registered");
        if !resources.is_empty() {
            *agent.used.entry(framework.clone()).or_default() += &resources;
        }
        let id = ExecutorId::from(info.executor_id.value.as_str());
        let executor = Executor { info: Arc::new(info), resources };
        agent.executors.entry(framework.clone()).or_default().insert(id, executor);
    }

    /// Says that a task will not be launched.
    pub(crate) fn refuse_task(
        &mut self,
        turn: &mut Turn<'_>,
        id: &FrameworkId,
        task: &TaskInfo,
        state: TaskState,
        reason: task_status::Reason,
        text: &str,
    ) {
        self.counters.count(match state {
            TaskState::TaskDropped => "tasks_dropped",
            TaskState::TaskLost => "tasks_lost",
            _ => "tasks_error",
        });
        let agent = Some(task.agent_id.clone());
        let status = message::status(turn.now.wall, task.task_id.clone(), agent, state, reason, text);
        self.task_reasons.count(&status);
        self.send_event(turn, id, event::update(status));
    }

    /// Says that an operation will not be done, if its sender asked to hear of it by giving it an id.
    /// Mesos: `Master::drop`.
    fn refuse_operation(
        &mut self,
        turn: &mut Turn<'_>,
        id: &FrameworkId,
        operation: Operation,
        text: String,
    ) {
        let Some(operation_id) = operation.id else {
            return self.counters.count("dropped_messages");
        };
        let status = v1::OperationStatus {
            operation_id: Some(operation_id),
            state: v1::OperationState::OperationError.into(),
            message: Some(text),
            ..v1::OperationStatus::default()
        };
        self.send_event(turn, id, event::operation_status(status));
    }

    /// Whether a framework has a task of this id, running or not heard of.
    pub(crate) fn has_task(&self, framework: &FrameworkId, task: &TaskId) -> bool {
        self.frameworks.get(framework).is_some_and(|framework| framework.tasks.contains_key(task))
    }
}

/// The tasks of an operation that launches some.
fn tasks_of(operation: &Operation) -> Option<&[TaskInfo]> {
    match operation.r#type() {
        operation::Type::Launch => Some(operation.launch.as_ref().map_or(&[], |launch| &launch.task_infos)),
        operation::Type::LaunchGroup => {
            let group = operation.launch_group.as_ref();
            Some(group.map_or(&[], |group| &group.task_group.tasks))
        }
        _ => None,
    }
}

/// Fills in what frameworks may leave out.
fn normalise(framework: &FrameworkId, task: &mut TaskInfo) {
    if let Some(executor) = &mut task.executor {
        executor.framework_id.get_or_insert_with(|| message::framework_id(framework));
    }
    if let Some(check) = task.health_check.as_mut().filter(|check| check.r#type.is_none()) {
        check.r#type = match (&check.command, &check.http) {
            (Some(_), None) => Some(v1::health_check::Type::Command.into()),
            (None, Some(_)) => Some(v1::health_check::Type::Http.into()),
            _ => None,
        };
    }
}

/// The task as operators see it. Mesos: `protobuf::createTask`.
pub(crate) fn staging(framework: &FrameworkId, task: &TaskInfo) -> v1::Task {
    let of_executor = task.executor.as_ref().and_then(|executor| executor.command.as_ref());
    let command = task.command.as_ref().or(of_executor);
    v1::Task {
        name: task.name.clone(),
        task_id: task.task_id.clone(),
        framework_id: message::framework_id(framework),
        executor_id: task.executor.as_ref().map(|executor| executor.executor_id.clone()),
        agent_id: task.agent_id.clone(),
        state: TaskState::TaskStaging.into(),
        resources: task.resources.clone(),
        statuses: Vec::new(),
        status_update_state: None,
        status_update_uuid: None,
        labels: task.labels.clone(),
        discovery: task.discovery.clone(),
        container: task.container.clone(),
        health_check: task.health_check.clone(),
        kill_policy: task.kill_policy,
        user: command.and_then(|command| command.user.clone()),
        limits: task.limits.clone(),
    }
}
