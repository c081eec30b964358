//! What operators see of the state, as messages of the v1 operator API.

use base::Wall;
use mesos_proto::v1::master::response::{get_agents, get_frameworks};
use mesos_proto::v1::{AgentInfo, agent_info};
use resources::{Resources, WireForm};

use crate::agent::Agent;
use crate::framework::Framework;
use crate::master::Master;
use crate::message::time;

impl Agent {
    /// As in GET_AGENTS and AGENT_ADDED.
    pub fn view(&self) -> get_agents::Agent {
        get_agents::Agent {
            agent_info: AgentInfo::clone(&self.info),
            active: self.active,
            deactivated: Some(self.deactivation.is_some()),
            version: self.version.clone(),
            pid: Some(self.pid()),
            registered_time: Some(time(self.registered)),
            reregistered_time: self.reregistered.map(time),
            total_resources: self.total.to_wire(WireForm::Endpoint),
            allocated_resources: self.used_resources().to_wire(WireForm::Endpoint),
            offered_resources: self.offered.to_wire(WireForm::Endpoint),
            capabilities: self.capabilities.iter().filter_map(|name| capability(name)).collect(),
            resource_providers: Vec::new(),
            drain_info: self.deactivation.as_ref().and_then(|known| known.drain),
            // As in Mesos, without the fraction of the second.
            estimated_drain_start_time: self
                .deactivation
                .as_ref()
                .and_then(|known| known.drain_started)
                .map(|started| time(Wall(started.0 - started.0 % 1_000_000_000))),
        }
    }

    /// As Mesos names the agent's process: `slave(1)@<hostname>:<port>`.
    pub fn pid(&self) -> String {
        format!("slave(1)@{}:{}", self.info.hostname, self.info.port.unwrap_or(DEFAULT_AGENT_PORT))
    }
}

/// Mesos: the default of `AgentInfo.port`.
pub(crate) const DEFAULT_AGENT_PORT: i32 = 5051;

fn capability(name: &str) -> Option<agent_info::Capability> {
    let kind = agent_info::capability::Type::from_str_name(name)?;
    Some(agent_info::Capability { r#type: Some(kind.into()) })
}

impl Master {
    /// The framework as in GET_FRAMEWORKS, FRAMEWORK_ADDED and FRAMEWORK_UPDATED.
    pub fn framework_view(&self, framework: &Framework) -> get_frameworks::Framework {
        get_frameworks::Framework {
            framework_info: (*framework.info).clone(),
            active: framework.active,
            connected: framework.is_connected(),
            recovered: framework.recovered,
            registered_time: Some(time(framework.registered)),
            reregistered_time: Some(time(framework.reregistered)),
            unregistered_time: Some(time(framework.unregistered.unwrap_or_default())),
            offers: self.offers_of(framework).map(|offer| (*offer.message).clone()).collect(),
            inverse_offers: self.inverse_offers_to(&framework.id),
            allocated_resources: self.used_by(framework).to_wire(WireForm::Endpoint),
            offered_resources: self.offered_to(framework).to_wire(WireForm::Endpoint),
            offer_constraints: None,
        }
    }

    /// What a framework's tasks and executors use, over all agents.
    pub fn used_by(&self, framework: &Framework) -> Resources {
        let agents = self.agents().filter_map(|agent| agent.used.get(&framework.id));
        agents.fold(Resources::new(), |sum, used| sum + used)
    }

    /// What is offered to a framework, over all agents.
    pub fn offered_to(&self, framework: &Framework) -> Resources {
        self.offers_of(framework).fold(Resources::new(), |sum, offer| sum + &offer.resources)
    }
}
