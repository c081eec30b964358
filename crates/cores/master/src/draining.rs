//! Agents that operators take out of use and put back: deactivate, drain, reactivate.
//! Mesos: `Master::Http::_drainAgent`, `_deactivateAgent`, `_reactivateAgent`,
//! `Master::checkAndTransitionDrainingAgent`.
//!
//! What an operator decided holds whatever becomes of the agent meanwhile: it is a registry record of its
//! own, beside the agent's, so that neither write can undo what the other says.

use std::sync::Arc;

use agent_link::{Body, Drain, Hello, Undrain};
use base::{AgentId, Wall};
use mesos_proto::v1::master::call::DrainAgent;
use mesos_proto::v1::{DrainConfig, DrainInfo, DrainState, DurationInfo};

use crate::agent::Agent;
use crate::durable::Next;
use crate::effect::Reply;
use crate::input::ConnId;
use crate::maintenance::described;
use crate::master::Master;
use crate::registry;
use crate::turn::Turn;

/// What operators decided about an agent that is not to be offered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deactivation {
    /// How far the agent is emptied; none if it is only not offered.
    pub drain: Option<DrainInfo>,
    /// When it began to be emptied.
    pub drain_started: Option<Wall>,
}

impl Deactivation {
    fn state(&self) -> Option<DrainState> {
        self.drain.as_ref().map(DrainInfo::state)
    }
}

/// A change that an operator asked for, to be made when it is durable.
#[derive(Debug)]
pub(crate) enum Decision {
    /// The agent is not offered, and maybe emptied.
    Deactivate(Deactivation),
    /// The agent is offered again.
    Reactivate,
}

impl Master {
    /// The call DRAIN_AGENT.
    pub(crate) fn drain_agent(&mut self, turn: &mut Turn<'_>, conn: ConnId, call: &DrainAgent) {
        let id = AgentId::from(call.agent_id.value.as_str());
        if let Err(reply) = self.check_drainable(&id) {
            return turn.reply(conn, reply);
        }
        let config = DrainConfig {
            max_grace_period: call.max_grace_period.map(|period| DurationInfo {
                nanoseconds: period.seconds.saturating_mul(1_000_000_000).saturating_add(period.nanos.into()),
            }),
            mark_gone: Some(call.mark_gone()),
        };
        let drain = DrainInfo { state: DrainState::Draining.into(), config };
        let deactivation = Deactivation { drain: Some(drain), drain_started: Some(turn.now.wall) };
        self.decide(turn, conn, id, Decision::Deactivate(deactivation));
    }

    fn check_drainable(&self, id: &AgentId) -> Result<(), Reply> {
        let agent = self.agents.get(id);
        if let Some(machine) = agent.and_then(|agent| self.upkeep.maintenance.machine_of(&agent.info)) {
            let machine = described(&machine.id);
            return Err(Reply::BadRequest(format!(
                "Agent {id} is part of a maintenance schedule under Machine {machine}"
            )));
        }
        let can_drain =
            |agent: &Agent| agent.capabilities.iter().any(|capability| capability == "AGENT_DRAINING");
        if agent.is_some_and(|agent| !can_drain(agent)) {
            return Err(Reply::BadRequest(format!("Agent {id} is not capable of draining")));
        }
        if !self.is_known_agent(id) {
            return Err(Reply::BadRequest("Unknown agent".to_owned()));
        }
        if self.is_being_marked_gone(id) {
            return Err(Reply::Conflict("Agent is currently being marked gone".to_owned()));
        }
        Ok(())
    }

    /// The call DEACTIVATE_AGENT.
    pub(crate) fn deactivate_agent(&mut self, turn: &mut Turn<'_>, conn: ConnId, id: AgentId) {
        if !self.is_known_agent(&id) {
            return turn.reply(conn, Reply::BadRequest("Unknown agent".to_owned()));
        }
        let deactivation = self.intended(&id).cloned().unwrap_or_default();
        self.decide(turn, conn, id, Decision::Deactivate(deactivation));
    }

    /// The call REACTIVATE_AGENT.
    pub(crate) fn reactivate_agent(&mut self, turn: &mut Turn<'_>, conn: ConnId, id: AgentId) {
        let refusal = match self.intended(&id) {
            None => "Agent is not deactivated",
            Some(known) if known.state() == Some(DrainState::Draining) => {
                "Agent is still in the DRAINING state"
            }
            Some(_) => return self.decide(turn, conn, id, Decision::Reactivate),
        };
        turn.reply(conn, Reply::BadRequest(refusal.to_owned()));
    }

    /// What will hold of an agent when all that is decided is durable: each decision builds on the one before.
    fn intended(&self, id: &AgentId) -> Option<&Deactivation> {
        match self.waiting.decision(id) {
            Some(Decision::Deactivate(deactivation)) => Some(deactivation),
            Some(Decision::Reactivate) => None,
            None => self.deactivations.get(id).map(|known| &**known),
        }
    }

    fn decide(&mut self, turn: &mut Turn<'_>, conn: ConnId, id: AgentId, decision: Decision) {
        let op = match &decision {
            Decision::Deactivate(deactivation) => registry::put_deactivation(&id, deactivation),
            Decision::Reactivate => registry::remove_deactivation(&id),
        };
        self.persist_then(turn, vec![op], Next::Decide { conn, id, decision });
    }

    pub(crate) fn decided(&mut self, turn: &mut Turn<'_>, conn: ConnId, id: &AgentId, decision: Decision) {
        let reply = match decision {
            Decision::Deactivate(_) if !self.is_known_agent(id) => {
                // It was removed meanwhile, and the record was written after that.
                self.persist(turn, vec![registry::remove_deactivation(id)]);
                Reply::Ok
            }
            Decision::Deactivate(deactivation) => {
                self.set_deactivation(turn, id, Some(deactivation));
                self.tell_to_drain(turn, id);
                Reply::Ok
            }
            Decision::Reactivate => {
                self.set_deactivation(turn, id, None);
                self.tell_to_run_again(turn, id);
                match self.agents.contains_key(id) {
                    true => Reply::Ok,
                    false => Reply::Conflict("Agent removed while processing the call".to_owned()),
                }
            }
        };
        turn.reply(conn, reply);
    }

    fn set_deactivation(&mut self, turn: &mut Turn<'_>, id: &AgentId, deactivation: Option<Deactivation>) {
        let deactivation = deactivation.map(Arc::new);
        match &deactivation {
            Some(known) => drop(self.deactivations.insert(id.clone(), known.clone())),
            None => drop(self.deactivations.remove(id)),
        }
        if let Some(agent) = self.agents.get_mut(id) {
            agent.deactivation = deactivation;
            self.update_active(turn, id);
            self.emptied.insert(id.clone());
        }
    }

    /// Tells an agent that has a new connection what was decided about it: it may not have heard.
    pub(crate) fn repeat_decision(&mut self, turn: &mut Turn<'_>, id: &AgentId, hello: &Hello) {
        self.tell_to_drain(turn, id);
        let drains = self.agents.get(id).is_some_and(|agent| agent.deactivation.is_some());
        if hello.draining.is_some() && !drains {
            self.tell_to_run_again(turn, id);
        }
    }

    /// Tells an agent that is to be emptied so, again after each new connection: it may have forgotten.
    pub(crate) fn tell_to_drain(&mut self, turn: &mut Turn<'_>, id: &AgentId) {
        let Some(agent) = self.agents.get(id) else { return };
        let drain = agent.deactivation.as_ref().and_then(|deactivation| deactivation.drain.as_ref());
        if let (Some(conn), Some(drain)) = (agent.conn, drain) {
            turn.tell_agent(conn, Body::Drain(Drain { config: Some(drain.config) }));
        }
        self.emptied.insert(id.clone());
    }

    /// Tells an agent that it may run tasks again. It may still wait to hear that the last one is done with.
    pub(crate) fn tell_to_run_again(&self, turn: &mut Turn<'_>, id: &AgentId) {
        if let Some(conn) = self.agents.get(id).and_then(|agent| agent.conn) {
            turn.tell_agent(conn, Body::Undrain(Undrain {}));
        }
    }

    /// Looks at the agents that may have become empty in this turn.
    pub(crate) fn settle_draining(&mut self, turn: &mut Turn<'_>) {
        while let Some(id) = self.emptied.pop_first() {
            let Some(agent) = self.agents.get(&id) else { continue };
            let Some(known) = &agent.deactivation else { continue };
            let is_busy = !agent.tasks.is_empty()
                || !agent.operations.is_empty()
                || self.is_leaving(&id)
                || self.waiting.decision(&id).is_some();
            if known.state() != Some(DrainState::Draining) || is_busy {
                continue;
            }
            let Some(drain) = known.drain else { continue };
            if drain.config.mark_gone() {
                self.ask_to_mark_gone(turn, None, &id);
                continue;
            }
            let drained = DrainInfo { state: DrainState::Drained.into(), ..drain };
            let drained = Deactivation { drain: Some(drained), ..(**known).clone() };
            let op = registry::put_deactivation(&id, &drained);
            self.persist_then(turn, vec![op], Next::Drained(id));
        }
    }

    pub(crate) fn drained(&mut self, turn: &mut Turn<'_>, id: &AgentId) {
        let Some(known) = self.deactivations.get(id) else { return };
        if known.state() != Some(DrainState::Draining) {
            return;
        }
        let mut drained = (**known).clone();
        if let Some(drain) = &mut drained.drain {
            drain.state = DrainState::Drained.into();
        }
        self.set_deactivation(turn, id, Some(drained));
    }

    /// Whether an agent's resources are offered: it is connected, and no operator took it out of use. The
    /// offers of one that is not are taken back.
    pub(crate) fn update_active(&mut self, turn: &mut Turn<'_>, id: &AgentId) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        let active = agent.is_connected() && agent.deactivation.is_none();
        let was_active = std::mem::replace(&mut agent.active, active);
        self.allocator.set_agent_active(id, active);
        if was_active && !active {
            self.rescind_offers_of_agent(turn, id);
            self.rescind_inverse_offers_of_agent(turn, id);
        }
    }

    /// Whether an agent is registered, awaited or unreachable, and not about to be forgotten.
    pub(crate) fn is_known_agent(&self, id: &AgentId) -> bool {
        let is_known = self.agents.contains_key(id)
            || self.recovered_agents.contains_key(id)
            || self.unreachable_agents.contains_key(id);
        is_known && !self.is_being_removed(id)
    }
}
