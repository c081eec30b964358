use std::collections::{BTreeMap, VecDeque};

use base::{AgentId, FrameworkId, Mono, Now, OfferId};

use crate::agent::{Agent, RecoveredAgent, UnreachableAgent};
use crate::config::Config;
use crate::effect::Effect;
use crate::framework::{Framework, Offer};
use crate::input::{ConnId, Input};
use crate::metrics::{Counters, Metrics};
use crate::registry::RecoverError;

/// The master: every framework, agent, task and offer, and what becomes of each input.
pub struct Master {
    pub(crate) config: Config,
    pub(crate) revision: u64,
    pub(crate) counters: Counters,
    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(crate) completed_frameworks: VecDeque<Framework>,
    pub(crate) streams: BTreeMap<ConnId, FrameworkId>,
    pub(crate) agents: BTreeMap<AgentId, Agent>,
    pub(crate) recovered_agents: BTreeMap<AgentId, RecoveredAgent>,
    pub(crate) unreachable_agents: BTreeMap<AgentId, UnreachableAgent>,
    pub(crate) offers: BTreeMap<OfferId, Offer>,
}

impl Master {
    /// A master that takes up what the registry holds: key and value of each record, in any order.
    /// An empty registry makes a master that knows nothing.
    ///
    /// # Errors
    /// If a record cannot be understood: the service must not go on without it.
    pub fn recover(
        config: Config,
        now: Now,
        records: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<Self, RecoverError> {
        let _ = (now, records.into_iter().count());
        Ok(Self {
            config,
            revision: 0,
            counters: Counters::default(),
            frameworks: BTreeMap::new(),
            completed_frameworks: VecDeque::new(),
            streams: BTreeMap::new(),
            agents: BTreeMap::new(),
            recovered_agents: BTreeMap::new(),
            unreachable_agents: BTreeMap::new(),
            offers: BTreeMap::new(),
        })
    }

    /// Takes one input and says what has to be done about it. Never fails half way.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        self.revision += 1;
        let _ = (now, input, out);
    }

    /// When [`Input::Timer`] is due; `None` if nothing waits for time to pass.
    pub fn next_deadline(&self) -> Option<Mono> {
        None
    }

    /// Panics if what is known contradicts itself.
    pub fn check(&self) {}

    /// What the master was told at its start.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Counts up whenever anything may have changed: as long as it is the same, so is what can be read.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All frameworks that are not completed, by id.
    pub fn frameworks(&self) -> impl Iterator<Item = &Framework> {
        self.frameworks.values()
    }

    /// A framework that is not completed.
    pub fn framework(&self, id: &FrameworkId) -> Option<&Framework> {
        self.frameworks.get(id)
    }

    /// Frameworks that were removed, the oldest first; bounded.
    pub fn completed_frameworks(&self) -> impl Iterator<Item = &Framework> {
        self.completed_frameworks.iter()
    }

    /// All registered agents, by id.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values()
    }

    /// A registered agent.
    pub fn agent(&self, id: &AgentId) -> Option<&Agent> {
        self.agents.get(id)
    }

    /// Agents of the registry that have not come back since this master started.
    pub fn recovered_agents(&self) -> impl Iterator<Item = (&AgentId, &RecoveredAgent)> {
        self.recovered_agents.iter()
    }

    /// Agents that were silent for too long; bounded.
    pub fn unreachable_agents(&self) -> impl Iterator<Item = (&AgentId, &UnreachableAgent)> {
        self.unreachable_agents.iter()
    }

    /// All outstanding offers.
    pub fn offers(&self) -> impl Iterator<Item = &Offer> {
        self.offers.values()
    }

    /// The outstanding offers to a framework.
    pub fn offers_of<'a>(&'a self, framework: &'a Framework) -> impl Iterator<Item = &'a Offer> {
        framework.offers.iter().filter_map(|id| self.offers.get(id))
    }

    /// The numbers of `/metrics/snapshot` that the master knows: `master/*`, the frameworks', the
    /// allocator's. Those of the process and the machine are the service's.
    pub fn metrics(&self, now: Now) -> Metrics {
        let _ = now;
        self.counters.iter().map(|(name, count)| (format!("master/{name}"), count as f64)).collect()
    }
}
