//! What an agent's free resources are to one framework.

use std::cell::Cell;
use std::collections::BTreeMap;

use base::{AgentId, FrameworkId, Mono};
use resources::{Limits, Resources, Scalar};

use crate::allocator::{Agent, Allocation, Allocator, Framework};
use crate::filters::Filters;
use crate::ledger::{Ledger, is_counted, top};
use crate::options::{Options, is_worth_an_offer};

/// What resources are handed out for. Mesos: the two stages of `HierarchicalAllocatorProcess::__generateOffers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// To meet guarantees.
    Guarantees,
    /// To everybody, by shares.
    Shares,
}

/// What is handed out in one run, by whom it is of and for: a second part of the same is no second offer.
type Given = BTreeMap<(AgentId, FrameworkId, String), usize>;

impl Allocator {
    /// Hands out what may be wanted: first what is guaranteed to those who are short of it, then each
    /// agent's free resources to the poorest role and in it the poorest framework that wants them, within
    /// limits. Looks only at agents where something changed.
    pub fn allocate(&mut self, now: Mono, out: &mut Vec<Allocation>) {
        self.filters.expire(now, &mut self.candidates);
        if self.is_held_due(now) {
            self.candidates.append(&mut self.held);
            self.held_until = now + self.options.interval;
        }
        // Nothing is given back in a run: what it keeps back stays so until something changes.
        self.relaxed &= !self.held.is_empty();
        let mut agents: Vec<AgentId> =
            std::mem::take(&mut self.candidates).into_iter().filter(|id| self.open.contains(id)).collect();
        if agents.is_empty() {
            return;
        }
        self.rng.shuffle(&mut agents);
        let mut given = Given::new();
        let begin = out.len();
        if self.ledger.has_unsatisfied() {
            for agent in &agents {
                self.serve(agent, Stage::Guarantees, &given, out);
            }
            for (at, it) in out.iter().enumerate().skip(begin) {
                given.insert((it.agent.clone(), it.framework.clone(), it.role.clone()), at);
            }
            // Spreads what the first stage took from the front.
            self.rng.shuffle(&mut agents);
        }
        for agent in &agents {
            self.serve(agent, Stage::Shares, &given, out);
        }
    }

    /// Hands out one agent's resources until nobody can be given any.
    fn serve(&mut self, id: &AgentId, stage: Stage, given: &Given, out: &mut Vec<Allocation>) {
        while let Some((role, framework, resources)) = self.next_taker(id, stage) {
            self.sorter.charge(&role, &framework, &resources);
            self.ledger.charge(&role, &resources);
            self.ledger.remove_free(&resources);
            let agent = self.agents.get_mut(id).expect("open agents are known");
            agent.allocated += &resources;
            agent.free.subtract_available(&resources);
            if !agent.is_open(&self.options, self.own_minima) {
                self.open.remove(id);
                self.held.remove(id);
            }
            let allocated = resources.allocated_to(&role);
            let key = (id.clone(), framework, role);
            match given.get(&key).copied() {
                Some(at) => out[at].resources += &allocated,
                None => {
                    let (agent, framework, role) = key;
                    out.push(Allocation { framework, role, agent, resources: allocated });
                }
            }
        }
    }

    /// Who gets what of an agent next, in unallocated form.
    fn next_taker(&mut self, id: &AgentId, stage: Stage) -> Option<(String, FrameworkId, Resources)> {
        if !self.open.contains(id) {
            return None;
        }
        let agent = self.agents.get(id)?;
        let (held, surplus) = (Cell::new(false), self.ledger.surplus());
        let market = Market {
            frameworks: &self.frameworks,
            filters: &self.filters,
            ledger: &self.ledger,
            options: &self.options,
            surplus: surplus.as_ref(),
            held: &held,
        };
        let taker = self.sorter.first(
            &mut |role| stage == Stage::Shares || market.ledger.deficit(role).is_some(),
            &mut |role, framework| {
                let resources = market.offerable(framework, role, id, agent, stage)?;
                Some((role.to_owned(), framework.clone(), resources))
            },
        );
        if held.get() {
            self.held.insert(id.clone());
        }
        taker
    }
}

struct Market<'a> {
    frameworks: &'a BTreeMap<FrameworkId, Framework>,
    filters: &'a Filters,
    ledger: &'a Ledger,
    options: &'a Options,
    /// What nobody is guaranteed.
    surplus: Option<&'a Limits>,
    /// Whether anything was kept from anybody for quotas' sake.
    held: &'a Cell<bool>,
}

impl Market<'_> {
    /// What of an agent a framework is to be offered in a role now.
    fn offerable(
        &self,
        id: &FrameworkId,
        role: &str,
        agent_id: &AgentId,
        agent: &Agent,
        stage: Stage,
    ) -> Option<Resources> {
        let framework = &self.frameworks[id];
        if !self.is_suitable(framework, agent) {
            return None;
        }
        let capabilities = framework.capabilities;
        let available = agent.free.filter(|identity| {
            identity.is_allocatable_to(role)
                && (capabilities.revocable || !identity.revocable)
                && (capabilities.refined_reservations || identity.reservations.len() < 2)
        });
        let least = framework.min_allocatable.get(role).unwrap_or(&self.options.min_allocatable);
        if !is_worth_an_offer(&available, least) {
            return None;
        }
        let resources = if self.ledger.has_quotas() {
            self.within_quota(role, available, stage).filter(|some| is_worth_an_offer(some, least))?
        } else {
            available
        };
        (!self.filters.hide(id, role, agent_id, &resources)).then_some(resources)
    }

    fn is_suitable(&self, framework: &Framework, agent: &Agent) -> bool {
        let capabilities = framework.capabilities;
        let has_gpus = agent.total.gpus() > Scalar::ZERO;
        let is_remote = match (&self.options.region, &agent.terms.region) {
            (Some(ours), Some(its)) => **ours != **its,
            _ => false,
        };
        (!self.options.filter_gpus || capabilities.gpus || !has_gpus) && (capabilities.regions || !is_remote)
    }

    /// What quotas let a role have of `available`. Reservations, numbers and items, and what may be taken
    /// back are not subject to quotas here: reservations count whether they are in use or not.
    fn within_quota(&self, role: &str, available: Resources, stage: Stage) -> Option<Resources> {
        let (left, surplus) = (self.ledger.left(top(role)), self.surplus);
        if stage == Stage::Shares && left.is_none() && surplus.is_none() {
            return Some(available);
        }
        let (counted, mut offered) = split(available);
        let mut extra = counted;
        if stage == Stage::Guarantees {
            let deficit = self.ledger.deficit(top(role))?;
            let bounds = Limits::from(deficit);
            let guaranteed: Resources = extra
                .capped(&bounds)
                .iter()
                .filter(|resource| bounds.get(resource.name()).is_some())
                .cloned()
                .collect();
            if guaranteed.is_empty() {
                return None;
            }
            extra.subtract_available(&guaranteed);
            // The role's own surplus does not change with what it is guaranteed.
            let used = resources::Quantities::of(&guaranteed);
            extra = self.cap(extra, left.map(|left| left.left(&used)).as_ref());
            offered += &guaranteed;
        } else {
            extra = self.cap(extra, left.as_ref());
        }
        offered += &extra;
        Some(offered)
    }

    /// `extra` within what a role may still have and what nobody is guaranteed.
    fn cap(&self, extra: Resources, left: Option<&Limits>) -> Resources {
        let capped = [left, self.surplus]
            .into_iter()
            .flatten()
            .fold(extra.clone(), |extra, limits| extra.capped(limits));
        if capped != extra {
            self.held.set(true);
        }
        capped
    }
}

/// What counts against quotas, and the rest.
fn split(resources: Resources) -> (Resources, Resources) {
    let (mut counted, mut rest) = (Resources::new(), Resources::new());
    for resource in &resources {
        if is_counted(resource) { counted.push(resource.clone()) } else { rest.push(resource.clone()) }
    }
    (counted, rest)
}
