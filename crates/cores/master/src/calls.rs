//! The calls of subscribed frameworks, except ACCEPT. Mesos: `Master::Http::scheduler` and the functions
//! it calls.

use agent_link::{AcknowledgeUpdate, Body, FrameworkMessage, KillTask, ShutdownExecutor};
use base::{AgentId, FrameworkId, OfferId, Principal, TaskId};
use mesos_proto::v1::allocator::inverse_offer_status::Status;
use mesos_proto::v1::framework_info::capability;
use mesos_proto::v1::scheduler::call::{self, Type, reconcile};
use mesos_proto::v1::{self, TaskState, TaskStatus, scheduler, task_status};

use crate::effect::Reply;
use crate::input::ConnId;
use crate::master::Master;
use crate::message::{self, event};
use crate::offers::refusal;
use crate::task::is_terminal;
use crate::turn::Turn;

impl Master {
    pub(crate) fn scheduler_call(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        call: scheduler::Call,
        stream_id: Option<String>,
        principal: Option<Principal>,
    ) {
        let principal = principal.and_then(|principal| principal.value);
        let kind = call.r#type.and_then(|kind| Type::try_from(kind).ok()).unwrap_or(Type::Unknown);
        if let (Type::Subscribe, Some(subscribe)) = (kind, call.subscribe) {
            return self.subscribe(turn, conn, stream_id.unwrap_or_default(), subscribe, principal);
        }
        let id = FrameworkId::from(call.framework_id.map(|id| id.value).unwrap_or_default());
        if let Err(reply) = self.check_subscribed(&id, kind, stream_id.as_deref(), principal.as_deref()) {
            return turn.reply(conn, reply);
        }
        let call = scheduler::Call { subscribe: None, framework_id: None, ..call };
        // The answer goes out before what the call brings about, as from the real master.
        match (kind, call.update_framework) {
            (Type::UpdateFramework, Some(update)) => {
                let at = turn.out.len();
                let reply = self.update_framework(turn, &id, update);
                turn.out.insert(at, crate::effect::Effect::Reply { conn, reply });
            }
            (_, update_framework) => {
                turn.reply(conn, Reply::Accepted);
                self.subscribed_call(turn, &id, kind, scheduler::Call { update_framework, ..call });
            }
        }
    }

    /// Whether a call comes from where the framework's events go. Counts it for the framework.
    fn check_subscribed(
        &mut self,
        id: &FrameworkId,
        kind: Type,
        stream_id: Option<&str>,
        principal: Option<&str>,
    ) -> Result<(), Reply> {
        let Some(framework) = self.frameworks.get_mut(id) else {
            return Err(Reply::BadRequest("Framework cannot be found".to_owned()));
        };
        framework.metrics.calls.count(kind);
        let own = framework.info.principal.as_deref().unwrap_or_default();
        if let Some(principal) = principal.filter(|principal| *principal != own) {
            return Err(Reply::BadRequest(format!(
                "Authenticated principal '{principal}' does not match principal '{own}' set in `FrameworkInfo`"
            )));
        }
        let Some(stream) = &framework.stream else {
            return Err(Reply::Forbidden("Framework is not subscribed".to_owned()));
        };
        match stream_id {
            None => Err(Reply::BadRequest(
                "All non-subscribe calls should include the 'Mesos-Stream-Id' header".to_owned(),
            )),
            Some(said) if said != stream.id => Err(Reply::BadRequest(format!(
                "The stream ID '{said}' included in this request didn't match the stream ID currently \
                 associated with framework ID {id}"
            ))),
            Some(_) => Ok(()),
        }
    }

    fn subscribed_call(&mut self, turn: &mut Turn<'_>, id: &FrameworkId, kind: Type, call: scheduler::Call) {
        match kind {
            Type::Teardown => self.remove_framework(turn, id),
            Type::Accept => self.accept(turn, id, call.accept.unwrap_or_default()),
            Type::Decline => self.decline(turn, id, &call.decline.unwrap_or_default()),
            Type::Revive => self.revive(id, &call.revive.unwrap_or_default().roles),
            Type::Suppress => self.suppress(id, &call.suppress.unwrap_or_default().roles),
            Type::Kill => self.kill(turn, id, call.kill.unwrap_or_default()),
            Type::Shutdown => self.shutdown_executor(turn, id, call.shutdown.unwrap_or_default()),
            Type::Acknowledge => self.acknowledge(turn, id, call.acknowledge.unwrap_or_default()),
            Type::Reconcile => self.reconcile(turn, id, &call.reconcile.unwrap_or_default().tasks),
            Type::ReconcileOperations => {
                self.reconcile_operations(turn, id, call.reconcile_operations.unwrap_or_default());
            }
            Type::Message => self.message_executor(turn, id, call.message.unwrap_or_default()),
            // The allocator decides without requests, as Mesos' does.
            Type::Request => self.counters.count("messages_resource_request"),
            Type::AcceptInverseOffers => {
                let call = call.accept_inverse_offers.unwrap_or_default();
                let (offers, filters) = (&call.inverse_offer_ids, call.filters.as_ref());
                self.answer_inverse_offers(turn, id, offers, Status::Accept, filters);
            }
            Type::DeclineInverseOffers => {
                let call = call.decline_inverse_offers.unwrap_or_default();
                let (offers, filters) = (&call.inverse_offer_ids, call.filters.as_ref());
                self.answer_inverse_offers(turn, id, offers, Status::Decline, filters);
            }
            Type::AcknowledgeOperationStatus => {
                let call = call.acknowledge_operation_status.unwrap_or_default();
                self.acknowledge_operation(turn, id, call);
            }
            Type::Unknown | Type::Subscribe | Type::UpdateFramework => {
                self.counters.count("dropped_messages")
            }
        }
    }

    fn decline(&mut self, turn: &mut Turn<'_>, id: &FrameworkId, call: &call::Decline) {
        self.counters.count("messages_decline_offers");
        let refuse = refusal(call.filters.as_ref());
        for offer in &call.offer_ids {
            let offer = OfferId::from(offer.value.as_str());
            if !self.frameworks[id].offers.contains(&offer) {
                continue;
            }
            let Some(offer) = self.remove_offer(&offer) else { continue };
            self.allocator.decline(turn.now.mono, id, &offer.agent_id, &offer.resources, refuse);
            if let Some(framework) = self.frameworks.get_mut(id) {
                framework.metrics.offers_declined += 1;
            }
        }
    }

    fn revive(&mut self, id: &FrameworkId, roles: &[String]) {
        self.counters.count("messages_revive_offers");
        self.allocator.revive(id, roles);
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.suppressed_roles.retain(|role| !roles.is_empty() && !roles.contains(role));
        }
    }

    fn suppress(&mut self, id: &FrameworkId, roles: &[String]) {
        self.counters.count("messages_suppress_offers");
        self.allocator.suppress(id, roles);
        if let Some(framework) = self.frameworks.get_mut(id) {
            let named = framework.roles().into_iter().filter(|role| roles.is_empty() || roles.contains(role));
            framework.suppressed_roles.extend(named);
        }
    }

    fn kill(&mut self, turn: &mut Turn<'_>, id: &FrameworkId, call: call::Kill) {
        self.counters.count("messages_kill_task");
        let task_id = TaskId::from(call.task_id.value.as_str());
        let Some(task) = self.frameworks[id].tasks.get(&task_id) else {
            let unknown = reconcile::Task { task_id: call.task_id, agent_id: call.agent_id };
            return self.reconcile_task(turn, id, &unknown);
        };
        let agent_id = task.agent_id();
        if call.agent_id.is_some_and(|said| said.value != agent_id.as_str()) {
            return;
        }
        let Some(agent) = self.agents.get_mut(&agent_id) else { return };
        if !task.is_terminal() {
            // Should the agent not hear of it now, it will when it comes back.
            agent.killed_tasks.insert((id.clone(), task_id));
        }
        if let Some(conn) = agent.conn {
            let kill = KillTask {
                framework_id: Some(message::framework_id(id)),
                task_id: Some(call.task_id),
                kill_policy: call.kill_policy,
            };
            turn.tell_agent(conn, Body::KillTask(kill));
        }
    }

    fn shutdown_executor(&mut self, turn: &mut Turn<'_>, id: &FrameworkId, call: call::Shutdown) {
        let Some(conn) = self.agent_conn(&call.agent_id) else { return };
        let shutdown = ShutdownExecutor {
            framework_id: Some(message::framework_id(id)),
            executor_id: Some(call.executor_id),
        };
        turn.tell_agent(conn, Body::ShutdownExecutor(shutdown));
    }

    fn message_executor(&mut self, turn: &mut Turn<'_>, id: &FrameworkId, call: call::Message) {
        self.counters.count("messages_framework_to_executor");
        let Some(conn) = self.agent_conn(&call.agent_id) else {
            return self.counters.count("invalid_framework_to_executor_messages");
        };
        self.counters.count("valid_framework_to_executor_messages");
        let message = FrameworkMessage {
            framework_id: Some(message::framework_id(id)),
            executor_id: Some(call.executor_id),
            data: call.data,
        };
        turn.tell_agent(conn, Body::FrameworkMessage(message));
    }

    fn agent_conn(&self, id: &v1::AgentId) -> Option<ConnId> {
        self.agents.get(id.value.as_str())?.conn
    }

    /// Passes an acknowledgement on to the agent; a task whose last update it is, is complete.
    fn acknowledge(&mut self, turn: &mut Turn<'_>, id: &FrameworkId, call: call::Acknowledge) {
        self.counters.count("messages_status_update_acknowledgement");
        let Some(conn) = self.agent_conn(&call.agent_id) else {
            return self.counters.count("invalid_status_update_acknowledgements");
        };
        let task_id = TaskId::from(call.task_id.value.as_str());
        if let Some(task) = self.frameworks[id].tasks.get(&task_id) {
            let info = &task.info;
            let (Some(uuid), Some(state)) = (&info.status_update_uuid, info.status_update_state) else {
                // No update of this master is meant; the agent sends its update again and will be answered.
                return self.counters.count("invalid_status_update_acknowledgements");
            };
            let state = TaskState::try_from(state).unwrap_or(TaskState::TaskUnknown);
            let is_last = is_terminal(state) && *uuid == call.uuid && info.agent_id == call.agent_id;
            if is_last {
                self.complete_task(id, &task_id);
            }
        }
        self.counters.count("valid_status_update_acknowledgements");
        let acknowledge = AcknowledgeUpdate {
            framework_id: Some(message::framework_id(id)),
            task_id: Some(call.task_id),
            uuid: call.uuid,
        };
        turn.tell_agent(conn, Body::AcknowledgeUpdate(acknowledge));
    }

    fn reconcile(&mut self, turn: &mut Turn<'_>, id: &FrameworkId, tasks: &[reconcile::Task]) {
        self.counters.count("messages_reconcile_tasks");
        for task in tasks {
            self.reconcile_task(turn, id, task);
        }
        if tasks.is_empty() {
            let framework = &self.frameworks[id];
            let all: Vec<_> =
                framework.tasks.values().map(|task| latest_status(&task.info, turn.now.wall)).collect();
            for status in all {
                self.send_event(turn, id, event::update(status));
            }
        }
    }

    /// Answers for one task. Mesos: `Master::reconcile`, the six cases of its comment.
    fn reconcile_task(&mut self, turn: &mut Turn<'_>, id: &FrameworkId, asked: &reconcile::Task) {
        let framework = &self.frameworks[id];
        if let Some(task) = framework.tasks.get(asked.task_id.value.as_str()) {
            let status = latest_status(&task.info, turn.now.wall);
            self.send_event(turn, id, event::update(status));
            return;
        }
        let agent = asked.agent_id.as_ref().map(|id| AgentId::from(id.value.as_str()));
        // An agent that is just coming or going may bring the task, or have taken it along.
        let may_come_back = match &agent {
            Some(agent) => self.recovered_agents.contains_key(agent) || self.registrations.is_busy(agent),
            None => !self.recovered_agents.is_empty() || self.registrations.is_any_busy(),
        };
        if may_come_back {
            return;
        }
        let unreachable = agent.as_ref().and_then(|agent| self.unreachable_agents.get(agent));
        let (state, text) = if unreachable.is_some() {
            (TaskState::TaskUnreachable, "Reconciliation: Task is unreachable")
        } else if agent.as_ref().is_some_and(|agent| self.gone_agents.contains_key(agent)) {
            (TaskState::TaskGoneByOperator, "Reconciliation: Task is gone")
        } else if agent.is_some_and(|agent| self.agents.contains_key(&agent)) {
            (TaskState::TaskGone, "Reconciliation: Task is unknown to the agent")
        } else {
            (TaskState::TaskUnknown, "Reconciliation: Task is unknown")
        };
        let is_aware = framework.has_capability(capability::Type::PartitionAware);
        let state = if is_aware { state } else { TaskState::TaskLost };
        let reason = task_status::Reason::Reconciliation;
        let (task, agent) = (asked.task_id.clone(), asked.agent_id.clone());
        let mut status = message::status(turn.now.wall, task, agent, state, reason, text);
        status.unreachable_time = unreachable.map(|agent| message::time(agent.since));
        self.send_event(turn, id, event::update(status));
    }
}

/// The state a framework has been told, as an answer to reconciliation.
fn latest_status(task: &v1::Task, now: base::Wall) -> TaskStatus {
    let last = task.statuses.last();
    TaskStatus {
        task_id: task.task_id.clone(),
        state: task.status_update_state.unwrap_or(task.state),
        message: Some("Reconciliation: Latest task state".to_owned()),
        source: Some(task_status::Source::Master.into()),
        reason: Some(task_status::Reason::Reconciliation.into()),
        agent_id: Some(task.agent_id.clone()),
        executor_id: task.executor_id.clone(),
        timestamp: Some(now.as_secs_f64()),
        healthy: last.and_then(|status| status.healthy),
        check_status: last.and_then(|status| status.check_status),
        container_status: last.and_then(|status| status.container_status.clone()),
        ..TaskStatus::default()
    }
}
