use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{AgentId, FrameworkId, Mono, Rng};
use resources::{Conversion, NotContained, Quantities, Resources};

use crate::filters::Filters;
use crate::ledger::{Ledger, Quota, top};
use crate::options::{AgentTerms, Capabilities, Options, is_worth_an_offer};
use crate::sorter::Sorter;

/// Resources that a framework is to be offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Who is offered.
    pub framework: FrameworkId,
    /// The role they are offered to.
    pub role: String,
    /// Whose they are.
    pub agent: AgentId,
    /// What is offered, allocated to the role.
    pub resources: Resources,
}

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) total: Resources,
    /// What is offered or used, in unallocated form.
    pub(crate) allocated: Resources,
    /// What is neither: kept, so that looking at an agent costs nothing.
    pub(crate) free: Resources,
    pub(crate) active: bool,
    /// Whether agents of its name are offered at all.
    pub(crate) listed: bool,
    pub(crate) terms: AgentTerms,
}

impl Agent {
    /// Whether anybody may be offered anything of it; some frameworks may have minima of their own.
    pub(crate) fn is_open(&self, options: &Options, own_minima: usize) -> bool {
        let least: &[Quantities] = if own_minima > 0 { &[] } else { &options.min_allocatable };
        self.active && self.listed && is_worth_an_offer(&self.free, least)
    }

    fn recompute_free(&mut self) {
        self.free = self.total.clone();
        self.free.subtract_available(&self.allocated);
    }
}

#[derive(Debug)]
pub(crate) struct Framework {
    pub(crate) active: bool,
    pub(crate) capabilities: Capabilities,
    /// Its roles, and whether it suppressed the offers to each.
    pub(crate) roles: BTreeMap<String, bool>,
    /// Roles it has left but still has resources of.
    pub(crate) former_roles: BTreeSet<String>,
    /// What is worth an offer to it, by role, where that is not as for everybody.
    pub(crate) min_allocatable: BTreeMap<String, Vec<Quantities>>,
}

impl Framework {
    pub(crate) fn wants(&self, role: &str) -> bool {
        self.active && self.roles.get(role) == Some(&false)
    }
}

/// Decides who is offered what. Mesos: `HierarchicalAllocatorProcess`.
///
/// What is offered counts as allocated until it is given back through [`Allocator::recover`].
#[derive(Debug)]
pub struct Allocator {
    pub(crate) options: Options,
    pub(crate) rng: Rng,
    pub(crate) agents: BTreeMap<AgentId, Agent>,
    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    /// Frameworks by the roles they are in, or have resources of.
    pub(crate) roles: BTreeMap<String, BTreeSet<FrameworkId>>,
    pub(crate) sorter: Sorter,
    pub(crate) ledger: Ledger,
    pub(crate) filters: Filters,
    /// The hosts whose agents are offered; all if there is no list.
    whitelist: Option<BTreeSet<String>>,
    /// How many frameworks have minima of their own.
    pub(crate) own_minima: usize,
    /// Active agents that have something worth an offer.
    pub(crate) open: BTreeSet<AgentId>,
    /// Agents of which somebody may want something since the last run. Only these are looked at.
    pub(crate) candidates: BTreeSet<AgentId>,
    /// Open agents of which something was kept from somebody for quotas' sake.
    pub(crate) held: BTreeSet<AgentId>,
    /// Whether quotas may leave more than when those agents were looked at.
    pub(crate) relaxed: bool,
    /// They are not looked at again before: however much changes, once an interval is enough.
    pub(crate) held_until: Mono,
}

impl Allocator {
    /// Nobody and nothing yet.
    pub fn new(mut options: Options) -> Self {
        options.interval = options.interval.max(Duration::from_millis(1));
        let mut rng = Rng::seeded(options.seed);
        let lots = Rng::seeded(rng.next_u64());
        let sorter =
            Sorter::new(options.role_sorter, options.framework_sorter, options.excluded.clone(), lots);
        Self {
            options,
            rng,
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            roles: BTreeMap::new(),
            sorter,
            ledger: Ledger::default(),
            filters: Filters::default(),
            whitelist: None,
            own_minima: 0,
            open: BTreeSet::new(),
            candidates: BTreeSet::new(),
            held: BTreeSet::new(),
            relaxed: false,
            held_until: Mono(0),
        }
    }

    /// Adds a framework. It has nothing yet: what it uses comes with [`Allocator::add_agent`] or
    /// [`Allocator::charge`].
    pub fn add_framework(
        &mut self,
        id: &FrameworkId,
        roles: &BTreeSet<String>,
        suppressed: &BTreeSet<String>,
        capabilities: Capabilities,
        active: bool,
    ) {
        let framework = Framework {
            active,
            capabilities,
            roles: BTreeMap::new(),
            former_roles: BTreeSet::new(),
            min_allocatable: BTreeMap::new(),
        };
        let known = self.frameworks.insert(id.clone(), framework);
        assert!(known.is_none(), "framework {id} is added once");
        self.update_framework(id, roles, suppressed, capabilities);
    }

    /// Changes a framework's roles and capabilities. It keeps what it has of roles that it leaves.
    pub fn update_framework(
        &mut self,
        id: &FrameworkId,
        roles: &BTreeSet<String>,
        suppressed: &BTreeSet<String>,
        capabilities: Capabilities,
    ) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        framework.capabilities = capabilities;
        let left: Vec<String> =
            framework.roles.keys().filter(|role| !roles.contains(*role)).cloned().collect();
        framework.roles = roles.iter().map(|role| (role.clone(), suppressed.contains(role))).collect();
        framework.former_roles.retain(|role| !roles.contains(role));
        framework.former_roles.extend(left.iter().cloned());
        for role in roles {
            self.roles.entry(role.clone()).or_default().insert(id.clone());
            self.sorter.join(role, id);
        }
        self.tell_wishes(id);
        for role in left {
            self.filters.clear_role(id, &role);
            self.forget_former_role(id, &role);
        }
        self.reconsider_open_agents();
    }

    /// Says what is worth an offer to a framework, by role, where that is not as for everybody. Mesos:
    /// `OfferFilters.min_allocatable_resources`.
    pub fn set_min_allocatable(&mut self, id: &FrameworkId, least: BTreeMap<String, Vec<Quantities>>) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        if framework.min_allocatable == least {
            return;
        }
        self.own_minima -= usize::from(!framework.min_allocatable.is_empty());
        self.own_minima += usize::from(!least.is_empty());
        framework.min_allocatable = least;
        self.reconsider_all_agents();
    }

    /// Tells the sorter which of its roles a framework wants resources for.
    fn tell_wishes(&mut self, id: &FrameworkId) {
        let Some(framework) = self.frameworks.get(id) else { return };
        for role in framework.roles.keys().chain(&framework.former_roles) {
            self.sorter.set_wanting(role, id, framework.wants(role));
        }
    }

    /// Removes a framework. What it had must have been recovered.
    pub fn remove_framework(&mut self, id: &FrameworkId) {
        let Some(framework) = self.frameworks.remove(id) else { return };
        self.filters.remove_framework(id);
        for role in framework.roles.into_keys().chain(framework.former_roles) {
            assert!(self.sorter.has_nothing(&role, id), "framework {id} is removed with nothing left");
            self.leave_role(id, &role);
        }
        if !framework.min_allocatable.is_empty() {
            self.own_minima -= 1;
            self.reconsider_all_agents();
        }
    }

    /// Offers to a framework from now on, or no more. Its filters do not survive: one that comes back wants
    /// to see everything.
    pub fn set_framework_active(&mut self, id: &FrameworkId, active: bool) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        framework.active = active;
        self.filters.remove_framework(id);
        self.tell_wishes(id);
        if active {
            self.reconsider_open_agents();
        }
    }

    /// Makes no offers to a framework's `roles`, all of its roles if there are none named.
    pub fn suppress(&mut self, id: &FrameworkId, roles: &[String]) {
        self.set_suppressed(id, roles, true);
    }

    /// Makes offers to a framework's `roles` again and forgets what it declined in them; all of its roles if
    /// there are none named.
    pub fn revive(&mut self, id: &FrameworkId, roles: &[String]) {
        for role in self.set_suppressed(id, roles, false) {
            self.filters.clear_role(id, &role);
        }
        self.reconsider_open_agents();
    }

    fn set_suppressed(&mut self, id: &FrameworkId, roles: &[String], suppressed: bool) -> Vec<String> {
        let Some(framework) = self.frameworks.get_mut(id) else { return Vec::new() };
        let named = framework.roles.iter_mut().filter(|(role, _)| roles.is_empty() || roles.contains(role));
        let named = named
            .map(|(role, is_suppressed)| {
                *is_suppressed = suppressed;
                role.clone()
            })
            .collect();
        self.tell_wishes(id);
        named
    }

    /// Gives a role `weight` times what the others get; 1 if `None`. It must be positive.
    pub fn set_weight(&mut self, role: &str, weight: Option<f64>) {
        assert!(weight.is_none_or(|weight| weight > 0.0), "the weight of role {role} is positive");
        self.sorter.set_weight(role, weight);
    }

    /// Guarantees a top-level role, and the roles below it, resources, and limits what they get.
    pub fn set_quota(&mut self, role: &str, quota: Option<Quota>) {
        assert_eq!(top(role), role, "only roles at the top have quotas");
        self.ledger.set_quota(role, quota);
        self.relaxed = true;
        self.reconsider_open_agents();
    }

    /// What a top-level role and the roles below it consume of a quota: what is reserved to them, and what
    /// is unreserved and theirs, in use or offered.
    pub fn consumed(&self, role: &str) -> Quantities {
        self.ledger.consumed(role)
    }

    /// Offers only agents of these hosts; all if `None`. Mesos: `--whitelist`.
    pub fn set_whitelist(&mut self, hosts: Option<BTreeSet<String>>) {
        self.whitelist = hosts;
        for agent in self.agents.values_mut() {
            agent.listed = is_listed(self.whitelist.as_ref(), &agent.terms);
        }
        self.reconsider_all_agents();
    }

    /// Says what an agent is beside its resources.
    pub fn set_agent_terms(&mut self, id: &AgentId, terms: AgentTerms) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.listed = is_listed(self.whitelist.as_ref(), &terms);
        agent.terms = terms;
        self.reconsider(id);
    }

    /// Adds an agent with all it has, in unallocated form, and what frameworks, all of them added, use of it.
    pub fn add_agent(
        &mut self,
        id: &AgentId,
        total: Resources,
        used: &BTreeMap<FrameworkId, Resources>,
        active: bool,
    ) {
        self.sorter.add_total(&total);
        self.ledger.add_reservations(&total);
        self.ledger.add_free(&total);
        self.relaxed = true;
        let terms = AgentTerms::default();
        let listed = is_listed(self.whitelist.as_ref(), &terms);
        let agent = Agent { free: total.clone(), total, allocated: Resources::new(), active, listed, terms };
        let known = self.agents.insert(id.clone(), agent);
        assert!(known.is_none(), "agent {id} is added once");
        for (framework, resources) in used {
            self.charge(framework, id, resources);
        }
        self.reconsider(id);
    }

    /// Removes an agent and with it whatever anybody has of it; `has` says what that is.
    pub fn remove_agent(&mut self, id: &AgentId, has: &[(FrameworkId, Resources)]) {
        for (framework, resources) in has {
            self.recover(framework, id, resources);
        }
        let Some(agent) = self.agents.remove(id) else { return };
        assert!(agent.allocated.is_empty(), "agent {id} is removed with nothing left");
        self.sorter.remove_total(&agent.total);
        self.ledger.remove_reservations(&agent.total);
        self.ledger.remove_free(&agent.free);
        self.relaxed = true;
        self.filters.remove_agent(id);
        self.open.remove(id);
        self.candidates.remove(id);
        self.held.remove(id);
    }

    /// Changes what an agent has in all.
    pub fn set_agent_total(&mut self, id: &AgentId, total: Resources) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        self.sorter.remove_total(&agent.total);
        self.sorter.add_total(&total);
        self.ledger.remove_reservations(&agent.total);
        self.ledger.add_reservations(&total);
        agent.total = total;
        self.recompute_free(id);
        self.relaxed = true;
        self.reconsider(id);
    }

    fn recompute_free(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        self.ledger.remove_free(&agent.free);
        agent.recompute_free();
        self.ledger.add_free(&agent.free);
    }

    /// Converts what a framework has of an agent, offered or used, in allocated form. Mesos:
    /// `updateAllocation`.
    ///
    /// The agent must have what is taken: it was compared with an offer.
    pub fn convert_allocated(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        conversions: &[Conversion],
    ) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        let unallocated: Vec<Conversion> = conversions.iter().map(Conversion::unallocated).collect();
        known.allocated.apply(&unallocated).expect("what is converted was allocated");
        let mut total = known.total.clone();
        total.apply(&unallocated).expect("what was allocated is part of all");
        // Who has how much stays the same, unless there is more or less afterwards.
        let changes = |conversion: &&Conversion| {
            Quantities::of(&conversion.consumed) != Quantities::of(&conversion.converted)
        };
        for Conversion { consumed, converted } in conversions {
            // What is reserved counts for the role as part of the total.
            by_role(consumed).iter().for_each(|(role, part)| self.ledger.refund(role, part));
            by_role(converted).iter().for_each(|(role, part)| self.ledger.charge(role, part));
        }
        for Conversion { consumed, converted } in conversions.iter().filter(changes) {
            for (role, part) in by_role(converted) {
                self.join_role(framework, &role);
                self.sorter.charge(&role, framework, &part);
            }
            for (role, part) in by_role(consumed) {
                self.sorter.refund(&role, framework, &part);
                self.forget_former_role(framework, &role);
            }
        }
        self.set_agent_total(agent, total);
    }

    /// Converts what is free of an agent, in unallocated form. Mesos: `updateAvailable`.
    ///
    /// # Errors
    /// Changes nothing if it is not free.
    pub fn convert_free(&mut self, agent: &AgentId, conversions: &[Conversion]) -> Result<(), NotContained> {
        let Some(known) = self.agents.get(agent) else { return Ok(()) };
        known.free.clone().apply(conversions)?;
        let mut total = known.total.clone();
        total.apply(conversions)?;
        self.set_agent_total(agent, total);
        Ok(())
    }

    /// Offers what an agent has from now on, or no more.
    pub fn set_agent_active(&mut self, id: &AgentId, active: bool) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.active = active;
        self.reconsider(id);
    }

    /// Counts `resources`, allocated to roles, as used by a framework without an offer: tasks that an agent
    /// told of.
    pub fn charge(&mut self, framework: &FrameworkId, agent: &AgentId, resources: &Resources) {
        for (role, part) in by_role(resources) {
            self.join_role(framework, &role);
            self.sorter.charge(&role, framework, &part);
            self.ledger.charge(&role, &part);
        }
        let Some(known) = self.agents.get_mut(agent) else { return };
        known.allocated += &resources.unallocated();
        self.recompute_free(agent);
        self.reconsider(agent);
    }

    /// Takes back what a framework does not have any more. Whoever wants it is offered it in the next run.
    pub fn recover(&mut self, framework: &FrameworkId, agent: &AgentId, resources: &Resources) {
        for (role, part) in by_role(resources) {
            self.sorter.refund(&role, framework, &part);
            self.ledger.refund(&role, &part);
            self.forget_former_role(framework, &role);
        }
        self.relaxed = true;
        let Some(known) = self.agents.get_mut(agent) else { return };
        known.allocated.subtract_available(&resources.unallocated());
        self.recompute_free(agent);
        self.reconsider(agent);
    }

    /// Takes back what a framework declined, and does not offer it that or part of it for `refuse`, counted
    /// in whole intervals and at least to the end of this one: a framework that wants it back at once would
    /// else be in a busy loop with us. Others are offered it in the next run.
    pub fn decline(
        &mut self,
        now: Mono,
        framework: &FrameworkId,
        agent: &AgentId,
        resources: &Resources,
        refuse: Duration,
    ) {
        let until = if refuse.is_zero() { Mono(now.0 + 1) } else { now + refuse.max(self.options.interval) };
        // A role that the framework has left is not offered to it: should it come back, it wants to see all.
        let roles = self.frameworks.get(framework).filter(|_| self.agents.contains_key(agent));
        for (role, part) in by_role(resources) {
            if roles.is_some_and(|framework| framework.roles.contains_key(&role)) {
                let until = self.tick_from(until);
                self.filters.add(framework, &role, agent, part.unallocated(), until);
            }
        }
        self.recover(framework, agent, resources);
    }

    /// The first tick that is not before `at`.
    fn tick_from(&self, at: Mono) -> Mono {
        let interval = u64::try_from(self.options.interval.as_nanos()).unwrap_or(u64::MAX);
        Mono(at.0.div_ceil(interval).saturating_mul(interval))
    }

    /// Whether [`Allocator::allocate`] has something to look at now.
    pub fn is_due(&self, now: Mono) -> bool {
        !self.candidates.is_empty()
            || self.filters.next_end().is_some_and(|end| end <= now)
            || self.is_held_due(now)
    }

    /// Whether agents of which something was kept back are to be looked at again.
    pub(crate) fn is_held_due(&self, now: Mono) -> bool {
        self.relaxed && !self.held.is_empty() && self.held_until <= now
    }

    /// When [`Allocator::allocate`] has something to look at if nothing happens before.
    pub fn next_deadline(&self) -> Option<Mono> {
        let held = (self.relaxed && !self.held.is_empty()).then_some(self.held_until);
        [self.filters.next_end(), held].into_iter().flatten().min()
    }

    /// Looks at an agent again in the next run if it has something.
    fn reconsider(&mut self, id: &AgentId) {
        let (options, own_minima) = (&self.options, self.own_minima);
        if self.agents.get(id).is_some_and(|agent| agent.is_open(options, own_minima)) {
            self.open.insert(id.clone());
            self.candidates.insert(id.clone());
        } else {
            self.open.remove(id);
            self.held.remove(id);
        }
    }

    /// Looks at all agents again after what makes one worth a look has changed.
    fn reconsider_all_agents(&mut self) {
        let all: Vec<AgentId> = self.agents.keys().cloned().collect();
        all.iter().for_each(|id| self.reconsider(id));
    }

    fn reconsider_open_agents(&mut self) {
        self.candidates.extend(self.open.iter().cloned());
    }

    fn join_role(&mut self, id: &FrameworkId, role: &str) {
        let framework = self.frameworks.get_mut(id).expect("only frameworks that were added are charged");
        if !framework.roles.contains_key(role) && framework.former_roles.insert(role.to_owned()) {
            self.roles.entry(role.to_owned()).or_default().insert(id.clone());
            self.sorter.join(role, id);
        }
    }

    /// Leaves a role that a framework is not in any more, once it has nothing of it.
    fn forget_former_role(&mut self, id: &FrameworkId, role: &str) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        if self.sorter.has_nothing(role, id) && framework.former_roles.remove(role) {
            self.leave_role(id, role);
        }
    }

    fn leave_role(&mut self, id: &FrameworkId, role: &str) {
        self.sorter.leave(role, id);
        if let Some(frameworks) = self.roles.get_mut(role) {
            frameworks.remove(id);
            if frameworks.is_empty() {
                self.roles.remove(role);
            }
        }
    }

    /// What an agent has that is neither offered nor used, in unallocated form.
    pub fn free(&self, agent: &AgentId) -> Option<&Resources> {
        self.agents.get(agent).map(|agent| &agent.free)
    }

    /// The roles that frameworks are in or have resources of, with their dominant shares.
    pub fn roles(&self) -> impl Iterator<Item = (&str, f64)> {
        self.roles.keys().map(|role| (role.as_str(), self.sorter.share_of(role)))
    }

    /// How many filters are in force for `role`.
    pub fn active_filters(&self, role: &str) -> usize {
        self.filters.active(role)
    }

    /// Panics unless for every agent what is allocated and what is free are together what it has, and the
    /// sets that spare the work agree with what they stand for.
    pub fn check(&self) {
        for (id, agent) in &self.agents {
            if agent.total.contains(&agent.allocated) {
                assert_eq!(agent.allocated.clone() + &agent.free, agent.total, "agent {id} adds up");
            }
            let is_open = agent.is_open(&self.options, self.own_minima);
            assert_eq!(self.open.contains(id), is_open, "agent {id} is open if it has something");
        }
        assert!(self.held.is_subset(&self.open), "only of open agents something is held back");
        self.ledger.check(self.agents.values().map(|agent| &agent.free));
        self.sorter.check();
        self.filters.check();
        assert!(self.open.iter().all(|id| self.agents.contains_key(id)), "open agents are known");
        for (role, frameworks) in &self.roles {
            assert!(!frameworks.is_empty(), "role {role} has frameworks");
            for id in frameworks {
                let framework = &self.frameworks[id];
                assert!(framework.roles.contains_key(role) || framework.former_roles.contains(role));
            }
        }
    }
}

fn is_listed(whitelist: Option<&BTreeSet<String>>, terms: &AgentTerms) -> bool {
    whitelist.is_none_or(|hosts| hosts.contains(&terms.hostname))
}

/// Resources by the role they are allocated to, still in allocated form.
pub(crate) fn by_role(resources: &Resources) -> BTreeMap<String, Resources> {
    let mut parts = BTreeMap::<String, Resources>::new();
    for resource in resources {
        let role = resource.identity().allocation.as_deref().unwrap_or("*");
        parts.entry(role.to_owned()).or_default().push(resource.clone());
    }
    parts
}

#[cfg(test)]
mod quota_tests;
#[cfg(test)]
mod tests;
