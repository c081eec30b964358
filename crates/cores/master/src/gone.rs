//! Agents that operators give up for good: MARK_AGENT_GONE, and draining with `mark_gone`.
//! Mesos: `Master::Http::_markAgentGone`, `Master::markGone`.

use base::AgentId;
use mesos_proto::v1::framework_info::capability;
use mesos_proto::v1::task_status::Reason;
use mesos_proto::v1::{TaskState, TaskStatus};

use crate::effect::Reply;
use crate::input::ConnId;
use crate::master::Master;
use crate::message::{self, event};
use crate::registration::Departure;
use crate::registry::{self, RegistryOp};
use crate::turn::Turn;

/// What agent and frameworks are told.
pub(crate) const MARKED_GONE: &str = "Agent has been marked gone";

impl Master {
    /// The call MARK_AGENT_GONE.
    pub(crate) fn mark_agent_gone(&mut self, turn: &mut Turn<'_>, conn: ConnId, id: &AgentId) {
        if self.gone_agents.contains_key(id) {
            return turn.reply(conn, Reply::Ok);
        }
        let transition = match self.registrations.departure(id) {
            None => None,
            Some(Departure::Gone(_)) => Some("already being transitioned to gone"),
            Some(Departure::Removed(_)) => Some("being transitioned to removed"),
            Some(Departure::Unreachable) => Some("being transitioned to unreachable"),
        };
        if let Some(transition) = transition {
            return turn.reply(conn, Reply::Unavailable(format!("Agent '{id}' is {transition}")));
        }
        if !self.is_known_agent(id) {
            return turn.reply(conn, Reply::NotFound(format!("Agent '{id}' not found")));
        }
        self.ask_to_mark_gone(turn, Some(conn), id);
    }

    /// Asks the registry to remember that an agent, one that is known, never comes back.
    pub(crate) fn ask_to_mark_gone(&mut self, turn: &mut Turn<'_>, conn: Option<ConnId>, id: &AgentId) {
        let mut ops = vec![registry::put_gone(id, turn.now.wall)];
        ops.extend(Master::forget_agent(id));
        ops.extend(self.forget_long_gone());
        self.leave_durably(turn, id, ops, Departure::Gone(conn));
    }

    /// Makes room for one more agent that is gone: what is gone for the longest time is forgotten.
    fn forget_long_gone(&mut self) -> Option<RegistryOp> {
        if self.gone_agents.len() < self.config.max_unreachable_agents {
            return None;
        }
        let (id, _) = self.gone_agents.iter().min_by_key(|(_, since)| **since)?;
        let id = id.clone();
        self.gone_agents.remove(&id);
        Some(registry::remove_gone(&id))
    }

    /// An agent that is no longer registered or awaited is gone.
    pub(crate) fn gone(&mut self, turn: &mut Turn<'_>, id: &AgentId) {
        self.gone_agents.insert(id.clone(), turn.now.wall);
        if self.unreachable_agents.remove(id).is_none() {
            return;
        }
        let of_agent = |status: &str| status == id.as_str();
        let tasks: Vec<_> = self
            .frameworks
            .iter()
            .flat_map(|(framework, known)| known.unreachable_tasks.iter().map(move |task| (framework, task)))
            .filter(|(_, (_, task))| of_agent(&task.info.agent_id.value))
            .map(|(framework, (task, _))| (framework.clone(), task.clone()))
            .collect();
        for (framework_id, task_id) in tasks {
            let limit = self.config.max_completed_tasks_per_framework;
            let Some(framework) = self.frameworks.get_mut(&framework_id) else { continue };
            let Some(mut task) = framework.unreachable_tasks.remove(&task_id) else { continue };
            let (state, reason) = match framework.has_capability(capability::Type::PartitionAware) {
                true => (TaskState::TaskGoneByOperator, Reason::AgentRemovedByOperator),
                false => (TaskState::TaskLost, Reason::AgentRemoved),
            };
            let agent = Some(task.info.agent_id.clone());
            let named = task.info.task_id.clone();
            let status = TaskStatus {
                executor_id: task.info.executor_id.clone(),
                ..message::status(turn.now.wall, named, agent, state, reason, MARKED_GONE)
            };
            task.info.state = state.into();
            task.info.statuses.push(status.clone());
            framework.complete(task, limit);
            self.task_reasons.count(&status);
            self.send_event(turn, &framework_id, event::update(status));
        }
    }

    /// Whether an agent is about to go, however.
    pub(crate) fn is_leaving(&self, id: &AgentId) -> bool {
        self.registrations.departure(id).is_some()
    }

    /// Whether an agent is about to be forgotten.
    pub(crate) fn is_being_removed(&self, id: &AgentId) -> bool {
        matches!(self.registrations.departure(id), Some(Departure::Removed(_)))
    }

    /// Whether an agent is about to be gone.
    pub(crate) fn is_being_marked_gone(&self, id: &AgentId) -> bool {
        matches!(self.registrations.departure(id), Some(Departure::Gone(_)))
    }
}
