use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use allocator::{Allocator, Options};
use base::{AgentId, FrameworkId, Mono, Now, OfferId, Rng, Timers, Wall};

use crate::agent::{Agent, RecoveredAgent, UnreachableAgent};
use crate::config::Config;
use crate::draining::Deactivation;
use crate::durable::Waiting;
use crate::effect::Effect;
use crate::framework::{Framework, Offer};
use crate::input::{ConnId, Input};
use crate::maintenance::Maintenance;
use crate::metrics::{Counters, TaskReasons};
use crate::pieces::Pieces;
use crate::registration::Registrations;
use crate::registry::{self, AgentRecord, Kept, RecoverError};
use crate::removal::Removals;
use crate::timer::Timer;
use crate::turn::Turn;
use crate::upkeep::Upkeep;

/// The master: every framework, agent, task and offer, and what becomes of each input.
#[derive(Debug)]
pub struct Master {
    pub(crate) config: Config,
    pub(crate) started: Mono,
    pub(crate) revision: u64,
    pub(crate) counters: Counters,
    pub(crate) task_reasons: TaskReasons,
    pub(crate) allocator: Allocator,
    pub(crate) timers: Timers<Timer>,
    /// Names operations.
    pub(crate) rng: Rng,

    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(crate) completed_frameworks: VecDeque<Framework>,
    /// Frameworks by their streams.
    pub(crate) streams: BTreeMap<ConnId, FrameworkId>,

    pub(crate) agents: BTreeMap<AgentId, Agent>,
    pub(crate) recovered_agents: BTreeMap<AgentId, RecoveredAgent>,
    pub(crate) unreachable_agents: BTreeMap<AgentId, UnreachableAgent>,
    /// Agents that operators took out of use, wherever they are.
    pub(crate) deactivations: BTreeMap<AgentId, Arc<Deactivation>>,
    /// Agents that never come back, and since when; bounded.
    pub(crate) gone_agents: BTreeMap<AgentId, Wall>,
    /// Agents that may have become empty in this turn.
    pub(crate) emptied: BTreeSet<AgentId>,
    /// Agents by their connections, also those that are not admitted yet.
    pub(crate) agent_conns: BTreeMap<ConnId, AgentId>,
    /// Agents that come and go.
    pub(crate) registrations: Registrations,
    /// What goes on when a write to the registry is durable.
    pub(crate) waiting: Waiting,

    pub(crate) offers: BTreeMap<OfferId, Offer>,
    /// Agents that are given up one after the other.
    pub(crate) removals: Removals,
    /// Maintenance of machines.
    pub(crate) upkeep: Upkeep,

    pub(crate) next_framework: u64,
    pub(crate) next_agent: u64,
    pub(crate) next_offer: u64,
    pub(crate) next_persist: u64,
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
        let mut master = Self {
            allocator: Allocator::new(Options {
                seed: config.seed,
                interval: config.allocation_interval,
                ..config.allocator.clone()
            }),
            started: now.mono,
            revision: 0,
            counters: Counters::default(),
            task_reasons: TaskReasons::default(),
            timers: Timers::default(),
            rng: Rng::seeded(config.seed),
            frameworks: BTreeMap::new(),
            completed_frameworks: VecDeque::new(),
            streams: BTreeMap::new(),
            agents: BTreeMap::new(),
            recovered_agents: BTreeMap::new(),
            unreachable_agents: BTreeMap::new(),
            deactivations: BTreeMap::new(),
            gone_agents: BTreeMap::new(),
            emptied: BTreeSet::new(),
            agent_conns: BTreeMap::new(),
            registrations: Registrations::default(),
            waiting: Waiting::default(),
            offers: BTreeMap::new(),
            removals: Removals::default(),
            upkeep: Upkeep::default(),
            next_framework: 0,
            next_agent: 0,
            next_offer: 0,
            next_persist: 0,
            config,
        };
        let mut pieces = BTreeMap::new();
        for (key, value) in records {
            match registry::decode(&key, &value)? {
                Kept::Agent(id, record) => master.recover_agent(now, id, *record),
                Kept::Deactivation(id, known) => drop(master.deactivations.insert(id, Arc::new(known))),
                Kept::Gone(id, since) => drop(master.gone_agents.insert(id, since)),
                Kept::Maintenance(name, piece) => drop(pieces.insert(name, piece)),
            }
        }
        // What was decided while the agent was on its way out was written after it.
        let Self { deactivations, recovered_agents, unreachable_agents, .. } = &mut master;
        deactivations
            .retain(|id, _| recovered_agents.contains_key(id) || unreachable_agents.contains_key(id));
        master.removals = Removals::awaiting(master.recovered_agents.len());
        let (pieces, bytes) = Pieces::recover(&pieces)?;
        let maintenance = Maintenance::decode(&bytes)
            .map_err(|source| RecoverError::Decode { key: registry::maintenance_key("head"), source })?;
        master.upkeep = Upkeep::recover(pieces, maintenance);
        master.timers.set(now.mono + master.config.registry_gc_interval, Timer::CollectRegistry);
        Ok(master)
    }

    fn recover_agent(&mut self, now: Now, id: AgentId, record: AgentRecord) {
        let info = Arc::new(record.info.unwrap_or_default());
        match record.unreachable_since {
            Some(since) => {
                let agent = UnreachableAgent { info, since: base::Wall(since) };
                self.unreachable_agents.insert(id, agent);
            }
            None => {
                let unreachable_at = now.mono + self.config.agent_reregister_timeout;
                self.timers.set(unreachable_at, Timer::AgentUnreachable(id.clone()));
                self.recovered_agents.insert(id, RecoveredAgent { info, unreachable_at });
            }
        }
    }

    /// Takes one input and says what has to be done about it. Never fails half way.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        self.revision += 1;
        let turn = &mut Turn { now, out };
        match input {
            Input::SchedulerCall { conn, call, stream_id, principal } => {
                self.scheduler_call(turn, conn, *call, stream_id, principal);
            }
            Input::SchedulerClosed { conn } => {
                if let Some(id) = self.streams.remove(&conn) {
                    self.disconnect_framework(turn, &id);
                }
            }
            Input::OperatorCall { conn, call, principal } => {
                self.operator_call(turn, conn, *call, principal.as_ref());
            }
            Input::AgentFrame { conn, body } => self.agent_frame(turn, conn, *body),
            Input::AgentClosed { conn, silent } => self.agent_closed(turn, conn, silent),
            Input::Persisted { seq } => self.persisted(turn, seq),
            Input::Timer => self.run_timers(turn),
        }
        self.settle_draining(turn);
        self.make_offers(turn);
        self.make_inverse_offers(turn);
    }

    fn run_timers(&mut self, turn: &mut Turn<'_>) {
        while let Some((at, timer)) = self.timers.pop_due(turn.now.mono) {
            match timer {
                Timer::Heartbeat(id) => self.heartbeat(turn, &id, at),
                Timer::RemoveFramework(id) => {
                    if self.frameworks.get(&id).is_some_and(|framework| framework.removed_at == Some(at)) {
                        self.remove_framework(turn, &id);
                    }
                }
                Timer::RescindOffer(id) => {
                    if self.offers.get(&id).is_some_and(|offer| offer.rescinded_at == Some(at)) {
                        self.rescind_offer(turn, &id);
                    }
                }
                Timer::RescindInverseOffer(id) => self.inverse_offer_timeout(turn, &id, at),
                Timer::GiveUp(id) => self.scheduled_removal(turn, &id, at),
                Timer::CollectRegistry => self.collect_registry(turn),
                // The turn ends with them.
                Timer::InverseOffers => {}
                Timer::AgentUnreachable(id) => self.agent_timeout(turn, &id, at),
            }
        }
    }

    /// When [`Input::Timer`] is due; `None` if nothing waits for time to pass.
    pub fn next_deadline(&self) -> Option<Mono> {
        [self.timers.next(), self.allocator.next_deadline()].into_iter().flatten().min()
    }

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
}
