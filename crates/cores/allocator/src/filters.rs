use std::collections::{BTreeMap, BTreeSet};

use base::{AgentId, FrameworkId, Mono};
use resources::Resources;

/// How many filters one framework may have on one agent; beyond that the ones that end first go.
const MOST_PER_AGENT: usize = 64;

/// What frameworks have declined and do not want to see again for a while.
/// Mesos: `RefusedOfferFilter` in src/master/allocator/mesos/hierarchical.cpp.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    by_framework: BTreeMap<FrameworkId, BTreeMap<AgentId, Vec<Filter>>>,
    ends: BTreeSet<(Mono, FrameworkId, AgentId)>,
}

#[derive(Debug)]
struct Filter {
    role: String,
    refused: Resources,
    until: Mono,
}

impl Filters {
    /// Hides from a framework what is part of `refused` (in unallocated form), in offers to `role`.
    pub(crate) fn add(
        &mut self,
        framework: &FrameworkId,
        role: &str,
        agent: &AgentId,
        refused: Resources,
        until: Mono,
    ) {
        let agents = self.by_framework.entry(framework.clone()).or_default();
        let filters = agents.entry(agent.clone()).or_default();
        drop_filters(&mut self.ends, framework, agent, filters, |old| {
            old.role == role && old.until <= until && refused.contains(&old.refused)
        });
        if filters.len() >= MOST_PER_AGENT {
            let first = filters.iter().map(|filter| filter.until).min();
            drop_filters(&mut self.ends, framework, agent, filters, |old| Some(old.until) == first);
        }
        filters.push(Filter { role: role.to_owned(), refused, until });
        self.ends.insert((until, framework.clone(), agent.clone()));
    }

    /// Whether an offer of `resources` would be part of what was refused.
    pub(crate) fn hide(
        &self,
        framework: &FrameworkId,
        role: &str,
        agent: &AgentId,
        resources: &Resources,
    ) -> bool {
        self.by_framework.get(framework).and_then(|agents| agents.get(agent)).is_some_and(|filters| {
            filters.iter().any(|filter| filter.role == role && filter.refused.contains(resources))
        })
    }

    /// Drops a framework's filters for `role`.
    pub(crate) fn clear_role(&mut self, framework: &FrameworkId, role: &str) {
        let Some(agents) = self.by_framework.get_mut(framework) else { return };
        for (agent, filters) in agents.iter_mut() {
            drop_filters(&mut self.ends, framework, agent, filters, |filter| filter.role == role);
        }
        agents.retain(|_, filters| !filters.is_empty());
    }

    pub(crate) fn remove_framework(&mut self, framework: &FrameworkId) {
        for (agent, mut filters) in self.by_framework.remove(framework).into_iter().flatten() {
            drop_filters(&mut self.ends, framework, &agent, &mut filters, |_| true);
        }
    }

    pub(crate) fn remove_agent(&mut self, agent: &AgentId) {
        for (framework, agents) in &mut self.by_framework {
            if let Some(mut filters) = agents.remove(agent) {
                drop_filters(&mut self.ends, framework, agent, &mut filters, |_| true);
            }
        }
    }

    /// Panics unless every filter ends some time, and nothing else does.
    pub(crate) fn check(&self) {
        let mut all = BTreeSet::new();
        for (framework, agents) in &self.by_framework {
            for (agent, filters) in agents {
                assert!(filters.len() <= MOST_PER_AGENT);
                all.extend(filters.iter().map(|filter| (filter.until, framework.clone(), agent.clone())));
            }
        }
        assert_eq!(all, self.ends, "every filter ends, and every end is one of a filter");
    }

    /// When the next filter ends.
    pub(crate) fn next_end(&self) -> Option<Mono> {
        self.ends.first().map(|(until, ..)| *until)
    }

    /// Drops the filters that end by `now` and names their agents.
    pub(crate) fn expire(&mut self, now: Mono, agents: &mut BTreeSet<AgentId>) {
        while self.ends.first().is_some_and(|(until, ..)| *until <= now) {
            let Some((_, framework, agent)) = self.ends.pop_first() else { break };
            let Some(of_agents) = self.by_framework.get_mut(&framework) else { continue };
            let Some(filters) = of_agents.get_mut(&agent) else { continue };
            let before = filters.len();
            filters.retain(|filter| filter.until > now);
            let ended = filters.len() < before;
            if filters.is_empty() {
                of_agents.remove(&agent);
            }
            if ended {
                agents.insert(agent);
            }
        }
    }

    /// How many filters frameworks of `role` have.
    pub(crate) fn active(&self, role: &str) -> usize {
        let filters = self.by_framework.values().flat_map(BTreeMap::values).flatten();
        filters.filter(|filter| filter.role == role).count()
    }
}

/// Drops those filters of a framework on an agent that `goes` names, with their ends.
fn drop_filters(
    ends: &mut BTreeSet<(Mono, FrameworkId, AgentId)>,
    framework: &FrameworkId,
    agent: &AgentId,
    filters: &mut Vec<Filter>,
    goes: impl Fn(&Filter) -> bool,
) {
    let ended: Vec<Mono> = filters.extract_if(.., |filter| goes(filter)).map(|filter| filter.until).collect();
    for until in ended {
        // One that stays may end at the same time as one that goes.
        if !filters.iter().any(|filter| filter.until == until) {
            ends.remove(&(until, framework.clone(), agent.clone()));
        }
    }
}
