//! How fast agents are given up, and how long those that are gone are remembered.
//! Mesos: `SlaveObserver::markUnreachable`, `--agent_removal_rate_limit`, `Master::doRegistryGc`.
//!
//! When many agents fall silent at once, the network or the master is more likely at fault than they are:
//! where a rate is set, they are given up one by one, and who comes back meanwhile is not.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{AgentId, Mono, Wall};

use crate::effect::Effect;
use crate::master::Master;
use crate::registration::Departure;
use crate::registry;
use crate::timer::Timer;
use crate::turn::Turn;

/// Of how many agents one write to the registry tells; each takes up to two changes, the store 100.
const AT_ONCE: usize = 40;
/// How many agents are named when the master stops for their sake.
const NAMED: usize = 100;

/// Agents that are to be given up when it is their turn.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    /// When each is.
    scheduled: BTreeMap<AgentId, Mono>,
    /// When the next one may be.
    next: Mono,
    /// How many agents the registry had when this master started; none once it was seen how many of them
    /// came back.
    awaited: Option<usize>,
}

impl Removals {
    /// Of a master that waits for so many agents.
    pub(crate) fn awaiting(agents: usize) -> Removals {
        Removals { awaited: Some(agents), ..Removals::default() }
    }
}

impl Master {
    /// An agent is not heard from: it is given up as soon as the rate allows.
    pub(crate) fn give_up(&mut self, turn: &mut Turn<'_>, id: &AgentId) {
        if self.removals.scheduled.contains_key(id) || self.is_leaving(id) {
            return;
        }
        self.counters.count("slave_unreachable_scheduled");
        let now = turn.now.mono;
        let Some(interval) = self.config.agent_removal_interval else {
            return self.give_up_now(turn, id);
        };
        let at = self.removals.next.max(now);
        self.removals.next = at + interval;
        if at <= now {
            return self.give_up_now(turn, id);
        }
        self.removals.scheduled.insert(id.clone(), at);
        self.timers.set(at, Timer::GiveUp(id.clone()));
    }

    /// Whether too few agents came back after a failover of the master for it to go on: then it would end
    /// the work of a cluster that is well. Mesos: `Master::recoveredSlavesTimeout`.
    pub(crate) fn stop_if_too_few_came_back(&mut self, turn: &mut Turn<'_>) -> bool {
        let Some(awaited) = self.removals.awaited else { return false };
        let (missing, limit) = (self.recovered_agents.len(), self.config.recovery_agent_removal_limit);
        let part = missing as f64 / awaited.max(1) as f64;
        if part <= limit {
            self.removals.awaited = None;
            return false;
        }
        let ids: Vec<&str> = self.recovered_agents.keys().map(AgentId::as_str).take(NAMED).collect();
        let reason = format!(
            "Post-recovery agent removal limit exceeded! After {} there were {missing} ({}%) agents recovered \
             from the registry that did not reregister: {{ {} }}. The configured removal limit is {}%. Please \
             investigate or increase this limit to proceed further",
            base::duration_text(self.config.agent_reregister_timeout),
            part * 100.0,
            ids.join(", "),
            limit * 100.0,
        );
        turn.out.push(Effect::Stop { reason });
        true
    }

    fn give_up_now(&mut self, turn: &mut Turn<'_>, id: &AgentId) {
        self.counters.count("slave_unreachable_completed");
        self.depart(turn, id, Departure::Unreachable);
    }

    pub(crate) fn scheduled_removal(&mut self, turn: &mut Turn<'_>, id: &AgentId, at: Mono) {
        if self.removals.scheduled.get(id) == Some(&at) {
            self.removals.scheduled.remove(id);
            self.give_up_now(turn, id);
        }
    }

    /// An agent is back, or goes for another reason. Its turn passes unused, as in Mesos.
    pub(crate) fn cancel_removal(&mut self, id: &AgentId) {
        if self.removals.scheduled.remove(id).is_some() {
            self.counters.count("slave_unreachable_canceled");
        }
    }

    /// Forgets agents that were unreachable or gone for too long, and those beyond the number that is
    /// remembered.
    pub(crate) fn collect_registry(&mut self, turn: &mut Turn<'_>) {
        self.timers.set(turn.now.mono + self.config.registry_gc_interval, Timer::CollectRegistry);
        let (longest, count) = (self.config.registry_max_agent_age, self.config.max_unreachable_agents);
        let unreachable = self.unreachable_agents.iter().map(|(id, agent)| (id, agent.since));
        let unreachable = outdated(unreachable, turn.now.wall, longest, count);
        let gone = self.gone_agents.iter().map(|(id, since)| (id, *since));
        let gone = outdated(gone, turn.now.wall, longest, count);
        let mut ops = Vec::new();
        for id in unreachable.into_iter().filter(|id| !self.registrations.is_busy(id)) {
            // What is known of one agent goes with one write.
            ops.push(Master::forget_agent(&id).to_vec());
            self.unreachable_agents.remove(&id);
            self.deactivations.remove(&id);
        }
        for id in gone {
            ops.push(vec![registry::remove_gone(&id)]);
            self.gone_agents.remove(&id);
        }
        for part in ops.chunks(AT_ONCE) {
            self.persist(turn, part.concat());
        }
    }

    pub(crate) fn check_removals(&self) {
        for id in self.removals.scheduled.keys() {
            let is_away = self.agents.get(id).is_some_and(|agent| !agent.is_connected());
            assert!(is_away || self.recovered_agents.contains_key(id), "agent {id} is away");
            assert!(!self.is_leaving(id), "agent {id} is given up once");
        }
    }
}

/// Those that have been so for longer than `longest`, and the oldest of those beyond `count`.
fn outdated<'a>(
    agents: impl Iterator<Item = (&'a AgentId, Wall)>,
    now: Wall,
    longest: Duration,
    count: usize,
) -> Vec<AgentId> {
    let mut agents: Vec<_> = agents.map(|(id, since)| (since, id)).collect();
    agents.sort();
    let beyond = agents.len().saturating_sub(count);
    let old = agents.iter().filter(|(since, _)| now.since(*since) > longest).count();
    agents[..beyond.max(old)].iter().map(|(_, id)| (*id).clone()).collect()
}
