//! Inverse offers: frameworks are asked to leave agents that will not be available.
//! Mesos: `Master::inverseOffer`, `HierarchicalAllocatorProcess::generateInverseOffers`.
//!
//! A framework is asked if it has something of the agent, be it only an offer; again when the time is over
//! for which it did not want to be asked. Its answer is noted for operators and binds nobody.

use std::collections::{BTreeMap, BTreeSet};

use base::{AgentId, FrameworkId, Mono, OfferId};
use mesos_proto::v1::allocator::InverseOfferStatus;
use mesos_proto::v1::allocator::inverse_offer_status::Status;
use mesos_proto::v1::{self, Filters};

use crate::master::Master;
use crate::message::{self, event};
use crate::offers::{agent_url, refusal};
use crate::timer::Timer;
use crate::turn::Turn;

/// An inverse offer that has not been answered.
#[derive(Clone, Debug)]
pub(crate) struct InverseOffer {
    pub(crate) framework_id: FrameworkId,
    pub(crate) agent_id: AgentId,
    /// As it was sent.
    pub(crate) message: v1::InverseOffer,
    /// When it is taken back.
    pub(crate) rescinded_at: Option<Mono>,
}

impl Master {
    /// Asks whoever is to be asked now; one INVERSE_OFFERS event per framework.
    pub(crate) fn make_inverse_offers(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        if self.upkeep.next_offers.is_none_or(|at| at > now) {
            return;
        }
        // As often as declined resources are offered again.
        self.upkeep.next_offers = (!self.upkeep.agents.is_empty()).then(|| {
            let at = now + self.config.allocation_interval.max(std::time::Duration::from_millis(1));
            self.timers.set(at, Timer::InverseOffers);
            at
        });
        let mut asked = Vec::new();
        for (id, visited) in &self.upkeep.agents {
            let agent = &self.agents[id];
            if !agent.active {
                continue;
            }
            let offered = agent.offers.iter().map(|offer| &self.offers[offer].framework_id);
            let concerned: BTreeSet<&FrameworkId> = agent.used.keys().chain(offered).collect();
            for framework in concerned {
                let is_refused = visited.refused_until.get(framework).is_some_and(|until| *until > now);
                let is_connected = self.frameworks[framework].is_connected();
                if is_connected && !is_refused && !visited.offers.contains_key(framework) {
                    asked.push((framework.clone(), id.clone()));
                }
            }
        }
        let mut by_framework = BTreeMap::<FrameworkId, Vec<v1::InverseOffer>>::new();
        for (framework, agent) in asked {
            let message = self.add_inverse_offer(turn, &framework, &agent);
            by_framework.entry(framework).or_default().push(message);
        }
        for (id, offers) in by_framework {
            self.send_event(turn, &id, event::inverse_offers(offers));
        }
    }

    fn add_inverse_offer(
        &mut self,
        turn: &mut Turn<'_>,
        framework: &FrameworkId,
        agent: &AgentId,
    ) -> v1::InverseOffer {
        let id = self.new_offer_id();
        let visited = self.upkeep.agents.get_mut(agent).expect("only agents of the schedule are left");
        visited.offers.insert(framework.clone(), id.clone());
        let message = v1::InverseOffer {
            id: message::offer_id(&id),
            url: Some(agent_url(&self.agents[agent])),
            framework_id: message::framework_id(framework),
            agent_id: Some(message::agent_id(agent)),
            unavailability: visited.unavailability,
            resources: Vec::new(),
        };
        let rescinded_at = self.config.offer_timeout.map(|timeout| turn.now.mono + timeout);
        if let Some(at) = rescinded_at {
            self.timers.set(at, Timer::RescindInverseOffer(id.clone()));
        }
        let offer = InverseOffer {
            framework_id: framework.clone(),
            agent_id: agent.clone(),
            message: message.clone(),
            rescinded_at,
        };
        self.upkeep.offers.insert(id, offer);
        message
    }

    /// The calls ACCEPT_INVERSE_OFFERS and DECLINE_INVERSE_OFFERS.
    pub(crate) fn answer_inverse_offers(
        &mut self,
        turn: &mut Turn<'_>,
        framework: &FrameworkId,
        offers: &[v1::OfferId],
        status: Status,
        filters: Option<&Filters>,
    ) {
        let refuse = refusal(filters);
        for offer in offers {
            let id = OfferId::from(offer.value.as_str());
            if self.upkeep.offers.get(&id).is_none_or(|offer| offer.framework_id != *framework) {
                continue;
            }
            let Some(offer) = self.forget_inverse_offer(&id) else { continue };
            let Some(visited) = self.upkeep.agents.get_mut(&offer.agent_id) else { continue };
            let answer = InverseOfferStatus {
                status: status.into(),
                framework_id: message::framework_id(framework),
                timestamp: message::time(turn.now.wall),
            };
            visited.statuses.insert(framework.clone(), answer);
            visited.refused_until.insert(framework.clone(), turn.now.mono + refuse);
        }
    }

    fn forget_inverse_offer(&mut self, id: &OfferId) -> Option<InverseOffer> {
        let offer = self.upkeep.offers.remove(id)?;
        if let Some(visited) = self.upkeep.agents.get_mut(&offer.agent_id) {
            visited.offers.remove(&offer.framework_id);
        }
        Some(offer)
    }

    pub(crate) fn rescind_inverse_offer(&mut self, turn: &mut Turn<'_>, id: &OfferId) {
        if let Some(offer) = self.forget_inverse_offer(id) {
            self.send_event(turn, &offer.framework_id, event::rescind_inverse_offer(id));
        }
    }

    pub(crate) fn inverse_offer_timeout(&mut self, turn: &mut Turn<'_>, id: &OfferId, at: Mono) {
        if self.upkeep.offers.get(id).is_some_and(|offer| offer.rescinded_at == Some(at)) {
            self.rescind_inverse_offer(turn, id);
        }
    }

    /// Takes back what is asked about an agent: it is not available already, or at another time.
    pub(crate) fn rescind_inverse_offers_of_agent(&mut self, turn: &mut Turn<'_>, id: &AgentId) {
        let Some(visited) = self.upkeep.agents.get(id) else { return };
        let offers: Vec<_> = visited.offers.values().cloned().collect();
        for offer in &offers {
            self.rescind_inverse_offer(turn, offer);
        }
    }

    /// Forgets what a framework was asked: it is not there to answer.
    pub(crate) fn forget_inverse_offers_to(&mut self, framework: &FrameworkId) {
        let asked = self.upkeep.offers.iter().filter(|(_, offer)| offer.framework_id == *framework);
        let asked: Vec<_> = asked.map(|(id, _)| id.clone()).collect();
        for offer in &asked {
            self.forget_inverse_offer(offer);
        }
    }

    /// Forgets what a framework that is over answered.
    pub(crate) fn forget_inverse_answers_of(&mut self, framework: &FrameworkId) {
        for visited in self.upkeep.agents.values_mut() {
            visited.statuses.remove(framework);
            visited.refused_until.remove(framework);
        }
    }

    /// What a framework is asked and has not answered.
    pub(crate) fn inverse_offers_to(&self, framework: &FrameworkId) -> Vec<v1::InverseOffer> {
        let offers = self.upkeep.offers.values().filter(|offer| offer.framework_id == *framework);
        offers.map(|offer| offer.message.clone()).collect()
    }
}
