//! Making offers and taking them back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use allocator::{AgentTerms, Allocation, Capabilities};
use base::{FrameworkId, OfferId};
use mesos_proto::v1::framework_info::capability;
use mesos_proto::v1::resource::AllocationInfo;
use mesos_proto::v1::{self, AgentInfo, FrameworkInfo};
use resources::{Resources, WireForm};

use crate::agent::Agent;
use crate::framework::{Framework, Offer, has_capability};
use crate::master::Master;
use crate::message::{self, event};
use crate::timer::Timer;
use crate::turn::Turn;
use crate::view::DEFAULT_AGENT_PORT;

/// What the allocator has to know of a framework's capabilities.
pub(crate) fn capabilities(info: &FrameworkInfo) -> Capabilities {
    Capabilities {
        revocable: has_capability(info, capability::Type::RevocableResources),
        gpus: has_capability(info, capability::Type::GpuResources),
        refined_reservations: has_capability(info, capability::Type::ReservationRefinement),
        regions: has_capability(info, capability::Type::RegionAware),
    }
}

/// What the allocator has to know of an agent beside its resources.
pub(crate) fn terms(info: &AgentInfo) -> AgentTerms {
    let fault_domain = info.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
    AgentTerms {
        hostname: info.hostname.clone(),
        region: fault_domain.map(|domain| domain.region.name.clone()),
    }
}

/// How reservations are told to a framework.
pub(crate) fn wire_form(info: &FrameworkInfo) -> WireForm {
    if has_capability(info, capability::Type::ReservationRefinement) {
        WireForm::Refined
    } else {
        WireForm::Roles
    }
}

/// Mesos: the default of `Filters.refuse_seconds`.
const REFUSE_SECONDS: f64 = 5.0;
/// Mesos takes longer times for this.
const LONGEST_REFUSAL: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long the framework does not want to see the rest again. Mesos: `recoverResources` in hierarchical.cpp.
pub(crate) fn refusal(filters: Option<&v1::Filters>) -> Duration {
    let seconds = filters.and_then(|filters| filters.refuse_seconds).unwrap_or(REFUSE_SECONDS);
    let seconds = if seconds >= 0.0 { seconds } else { REFUSE_SECONDS };
    Duration::try_from_secs_f64(seconds).map_or(LONGEST_REFUSAL, |refusal| refusal.min(LONGEST_REFUSAL))
}

impl Master {
    /// Offers what the allocator hands out; one OFFERS event per framework.
    pub(crate) fn make_offers(&mut self, turn: &mut Turn<'_>) {
        if !self.allocator.is_due(turn.now.mono) {
            return;
        }
        let mut allocations = Vec::new();
        self.allocator.allocate(turn.now.mono, &mut allocations);
        let mut by_framework = BTreeMap::<FrameworkId, Vec<v1::Offer>>::new();
        for allocation in allocations {
            let framework = allocation.framework.clone();
            let message = self.add_offer(turn, allocation);
            by_framework.entry(framework).or_default().push(message);
        }
        for (id, offers) in by_framework {
            let framework = self.frameworks.get_mut(&id).expect("only known frameworks are offered");
            framework.metrics.offers_sent += offers.len() as u64;
            self.send_event(turn, &id, event::offers(offers));
        }
    }

    /// An id for an offer or an inverse one.
    pub(crate) fn new_offer_id(&mut self) -> OfferId {
        let id = OfferId::from(format!("{}-O{}", self.config.info.id, self.next_offer));
        self.next_offer += 1;
        id
    }

    fn add_offer(&mut self, turn: &mut Turn<'_>, allocation: Allocation) -> v1::Offer {
        let id = self.new_offer_id();
        let unavailability = self.unavailability(&allocation.agent);
        let framework =
            self.frameworks.get_mut(&allocation.framework).expect("only known frameworks are offered");
        let agent = self.agents.get_mut(&allocation.agent).expect("only registered agents are offered");
        let message = v1::Offer { unavailability, ..offer_message(&id, framework, agent, &allocation) };
        agent.offered += &allocation.resources;
        agent.offers.insert(id.clone());
        framework.offers.insert(id.clone());
        let rescinded_at = self.config.offer_timeout.map(|timeout| turn.now.mono + timeout);
        if let Some(at) = rescinded_at {
            self.timers.set(at, Timer::RescindOffer(id.clone()));
        }
        let offer = Offer {
            id: id.clone(),
            framework_id: allocation.framework,
            agent_id: allocation.agent,
            role: Arc::from(allocation.role),
            resources: allocation.resources,
            message: Arc::new(message.clone()),
            rescinded_at,
        };
        self.offers.insert(id, offer);
        message
    }

    /// Forgets an offer. The allocator still counts its resources as allocated: the caller gives them back
    /// or uses them.
    pub(crate) fn remove_offer(&mut self, id: &OfferId) -> Option<Offer> {
        let offer = self.offers.remove(id)?;
        if let Some(framework) = self.frameworks.get_mut(&offer.framework_id) {
            framework.offers.remove(id);
        }
        if let Some(agent) = self.agents.get_mut(&offer.agent_id) {
            agent.offers.remove(id);
            agent
                .offered
                .subtract(&offer.resources)
                .expect("what is offered of an agent contains its offers");
        }
        Some(offer)
    }

    /// Forgets an offer and gives its resources back.
    pub(crate) fn discard_offer(&mut self, id: &OfferId) {
        if let Some(offer) = self.remove_offer(id) {
            self.allocator.recover(&offer.framework_id, &offer.agent_id, &offer.resources);
        }
    }

    /// Takes an offer back and says so. Mesos: `Master::rescindOffer`.
    pub(crate) fn rescind_offer(&mut self, turn: &mut Turn<'_>, id: &OfferId) {
        let Some(offer) = self.offers.get(id) else { return };
        let framework = offer.framework_id.clone();
        self.discard_offer(id);
        if let Some(framework) = self.frameworks.get_mut(&framework) {
            framework.metrics.offers_rescinded += 1;
        }
        self.send_event(turn, &framework, event::rescind(id));
    }
}

fn offer_message(id: &OfferId, framework: &Framework, agent: &Agent, allocation: &Allocation) -> v1::Offer {
    let is_multi_role = framework.has_capability(capability::Type::MultiRole);
    let resources: Resources =
        if is_multi_role { allocation.resources.clone() } else { allocation.resources.unallocated() };
    let executors = agent.executors.get(&framework.id);
    v1::Offer {
        id: message::offer_id(id),
        framework_id: message::framework_id(&framework.id),
        agent_id: message::agent_id(&agent.id),
        hostname: agent.info.hostname.clone(),
        url: Some(agent_url(agent)),
        domain: agent.info.domain.clone(),
        resources: resources.to_wire(wire_form(&framework.info)),
        attributes: agent.info.attributes.clone(),
        executor_ids: executors
            .into_iter()
            .flat_map(|executors| executors.keys().map(message::executor_id))
            .collect(),
        unavailability: None,
        allocation_info: is_multi_role.then(|| AllocationInfo { role: Some(allocation.role.clone()) }),
    }
}

pub(crate) fn agent_url(agent: &Agent) -> v1::Url {
    let hostname = agent.info.hostname.clone();
    let ip = hostname.parse::<std::net::IpAddr>().ok().map(|ip| ip.to_string());
    v1::Url {
        scheme: "http".to_owned(),
        address: v1::Address {
            hostname: Some(hostname),
            ip,
            port: agent.info.port.unwrap_or(DEFAULT_AGENT_PORT),
        },
        path: Some("/slave(1)".to_owned()),
        query: Vec::new(),
        fragment: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_bounded() {
        let check = |seconds: Option<f64>, expect: Duration| {
            assert_eq!(refusal(Some(&v1::Filters { refuse_seconds: seconds })), expect, "{seconds:?}");
        };
        assert_eq!(refusal(None), Duration::from_secs(5));
        check(None, Duration::from_secs(5));
        check(Some(0.0), Duration::ZERO);
        check(Some(0.25), Duration::from_millis(250));
        check(Some(-1.0), Duration::from_secs(5));
        check(Some(f64::NAN), Duration::from_secs(5));
        for long in [1e9, 1e300, f64::INFINITY] {
            check(Some(long), Duration::from_secs(31_536_000));
        }
    }
}
