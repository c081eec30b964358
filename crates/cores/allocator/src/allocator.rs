use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{AgentId, FrameworkId, Mono, Rng};
use resources::{Conversion, NotContained, Quantities, Resources, Scalar};

use crate::filters::Filters;
use crate::shares::Shares;

/// Less than this is not worth an offer: an offer has at least so many cpus or so much memory.
/// Mesos: `MIN_CPUS` and `MIN_MEM`.
pub const MIN_CPUS: Scalar = Scalar::from_thousandths(10);
/// In mebibytes.
pub const MIN_MEM: Scalar = Scalar::from_units(32);

/// What a framework can deal with; what it cannot deal with is not offered to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Resources that may be taken back at any time.
    pub revocable: bool,
    /// Agents that have GPUs at all: others would fill them with work that needs none.
    pub gpus: bool,
    /// Resources with more than one layer of reservation.
    pub refined_reservations: bool,
}

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
}

impl Agent {
    fn is_open(&self) -> bool {
        self.active && is_worth_an_offer(&self.free)
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
    pub(crate) interval: Duration,
    rng: Rng,
    pub(crate) agents: BTreeMap<AgentId, Agent>,
    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    /// Frameworks by the roles they are in, or have resources of.
    pub(crate) roles: BTreeMap<String, BTreeSet<FrameworkId>>,
    pub(crate) shares: Shares,
    pub(crate) filters: Filters,
    /// Active agents that have something worth an offer.
    pub(crate) open: BTreeSet<AgentId>,
    /// Agents of which somebody may want something since the last run. Only these are looked at.
    candidates: BTreeSet<AgentId>,
}

impl Allocator {
    /// Nobody and nothing yet. `seed` decides the order in which agents are offered; `interval` is the
    /// shortest and the unit of the time that declined resources stay away.
    pub fn new(seed: u64, interval: Duration) -> Self {
        Self {
            interval: interval.max(Duration::from_millis(1)),
            rng: Rng::seeded(seed),
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            roles: BTreeMap::new(),
            shares: Shares::default(),
            filters: Filters::default(),
            open: BTreeSet::new(),
            candidates: BTreeSet::new(),
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
        let framework =
            Framework { active, capabilities, roles: BTreeMap::new(), former_roles: BTreeSet::new() };
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
        }
        for role in left {
            self.filters.clear_role(id, &role);
            self.forget_former_role(id, &role);
        }
        self.reconsider_open_agents();
    }

    /// Removes a framework. What it had must have been recovered.
    pub fn remove_framework(&mut self, id: &FrameworkId) {
        let Some(framework) = self.frameworks.remove(id) else { return };
        self.filters.remove_framework(id);
        for role in framework.roles.into_keys().chain(framework.former_roles) {
            assert!(self.shares.has_nothing(&role, id), "framework {id} is removed with nothing left");
            self.leave_role(id, &role);
        }
    }

    /// Offers to a framework from now on, or no more. Its filters do not survive: one that comes back wants
    /// to see everything.
    pub fn set_framework_active(&mut self, id: &FrameworkId, active: bool) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        framework.active = active;
        self.filters.remove_framework(id);
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
        named
            .map(|(role, is_suppressed)| {
                *is_suppressed = suppressed;
                role.clone()
            })
            .collect()
    }

    /// Gives a role `weight` times what the others get. The default is 1; it must be positive.
    pub fn set_weight(&mut self, role: &str, weight: f64) {
        assert!(weight > 0.0, "the weight of role {role} is positive");
        self.shares.set_weight(role, weight);
    }

    /// Adds an agent with all it has, in unallocated form, and what frameworks, all of them added, use of it.
    pub fn add_agent(
        &mut self,
        id: &AgentId,
        total: Resources,
        used: &BTreeMap<FrameworkId, Resources>,
        active: bool,
    ) {
        self.shares.add_total(&total);
        let agent = Agent { free: total.clone(), total, allocated: Resources::new(), active };
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
        self.shares.remove_total(&agent.total);
        self.filters.remove_agent(id);
        self.open.remove(id);
        self.candidates.remove(id);
    }

    /// Changes what an agent has in all.
    pub fn set_agent_total(&mut self, id: &AgentId, total: Resources) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        self.shares.remove_total(&agent.total);
        self.shares.add_total(&total);
        agent.total = total;
        agent.recompute_free();
        self.reconsider(id);
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
        for Conversion { consumed, converted } in conversions.iter().filter(changes) {
            for (role, part) in by_role(converted) {
                self.join_role(framework, &role);
                self.shares.charge(&role, framework, &part);
            }
            for (role, part) in by_role(consumed) {
                self.shares.refund(&role, framework, &part);
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
            self.shares.charge(&role, framework, &part);
        }
        let Some(known) = self.agents.get_mut(agent) else { return };
        known.allocated += &resources.unallocated();
        known.recompute_free();
        self.reconsider(agent);
    }

    /// Takes back what a framework does not have any more. Whoever wants it is offered it in the next run.
    pub fn recover(&mut self, framework: &FrameworkId, agent: &AgentId, resources: &Resources) {
        for (role, part) in by_role(resources) {
            self.shares.refund(&role, framework, &part);
            self.forget_former_role(framework, &role);
        }
        let Some(known) = self.agents.get_mut(agent) else { return };
        known.allocated.subtract_available(&resources.unallocated());
        known.recompute_free();
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
        let until = if refuse.is_zero() { Mono(now.0 + 1) } else { now + refuse.max(self.interval) };
        if self.agents.contains_key(agent) && self.frameworks.contains_key(framework) {
            for (role, part) in by_role(resources) {
                let until = self.tick_from(until);
                self.filters.add(framework, &role, agent, part.unallocated(), until);
            }
        }
        self.recover(framework, agent, resources);
    }

    /// The first tick that is not before `at`.
    fn tick_from(&self, at: Mono) -> Mono {
        let interval = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        Mono(at.0.div_ceil(interval).saturating_mul(interval))
    }

    /// Whether [`Allocator::allocate`] has something to look at now.
    pub fn is_due(&self, now: Mono) -> bool {
        !self.candidates.is_empty() || self.filters.next_end().is_some_and(|end| end <= now)
    }

    /// When [`Allocator::allocate`] has something to look at if nothing happens before.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.filters.next_end()
    }

    /// Hands out what may be wanted: each agent's free resources go to the poorest role and in it the
    /// poorest framework that wants them. Looks only at agents where something changed.
    pub fn allocate(&mut self, now: Mono, out: &mut Vec<Allocation>) {
        self.filters.expire(now, &mut self.candidates);
        let mut agents: Vec<AgentId> =
            std::mem::take(&mut self.candidates).into_iter().filter(|id| self.open.contains(id)).collect();
        if agents.is_empty() {
            return;
        }
        let mut roles: Vec<String> = self
            .roles
            .iter()
            .filter(|(role, frameworks)| frameworks.iter().any(|id| self.frameworks[id].wants(role)))
            .map(|(role, _)| role.clone())
            .collect();
        if roles.is_empty() {
            return;
        }
        self.rng.shuffle(&mut agents);
        for agent in agents {
            roles.sort_by(|a, b| self.shares.compare_roles(a, b));
            for role in &roles {
                self.allocate_to_role(&agent, role, out);
                if !self.open.contains(&agent) {
                    break;
                }
            }
        }
    }

    fn allocate_to_role(&mut self, agent: &AgentId, role: &str, out: &mut Vec<Allocation>) {
        let mut frameworks: Vec<FrameworkId> =
            self.roles[role].iter().filter(|id| self.frameworks[*id].wants(role)).cloned().collect();
        frameworks.sort_by(|a, b| self.shares.compare_frameworks(role, a, b));
        for framework in frameworks {
            let Some(resources) = self.offerable(&framework, role, agent) else { continue };
            let allocated = resources.allocated_to(role);
            self.shares.charge(role, &framework, &resources);
            let known = self.agents.get_mut(agent).expect("open agents are known");
            known.allocated += &resources;
            known.free.subtract_available(&resources);
            if !known.is_open() {
                self.open.remove(agent);
            }
            out.push(Allocation {
                framework,
                role: role.to_owned(),
                agent: agent.clone(),
                resources: allocated,
            });
            if !self.open.contains(agent) {
                return;
            }
        }
    }

    /// What of an agent a framework would be offered in a role now, in unallocated form.
    pub(crate) fn offerable(
        &self,
        framework: &FrameworkId,
        role: &str,
        agent: &AgentId,
    ) -> Option<Resources> {
        let (known, capabilities) = (&self.agents[agent], self.frameworks[framework].capabilities);
        if !capabilities.gpus && known.total.gpus() > Scalar::ZERO {
            return None;
        }
        let resources = known.free.filter(|identity| {
            identity.is_allocatable_to(role)
                && (capabilities.revocable || !identity.revocable)
                && (capabilities.refined_reservations || identity.reservations.len() < 2)
        });
        (is_worth_an_offer(&resources) && !self.filters.hide(framework, role, agent, &resources))
            .then_some(resources)
    }

    /// Looks at an agent again in the next run if it has something.
    fn reconsider(&mut self, id: &AgentId) {
        if self.agents.get(id).is_some_and(Agent::is_open) {
            self.open.insert(id.clone());
            self.candidates.insert(id.clone());
        } else {
            self.open.remove(id);
        }
    }

    fn reconsider_open_agents(&mut self) {
        self.candidates.extend(self.open.iter().cloned());
    }

    fn join_role(&mut self, id: &FrameworkId, role: &str) {
        let framework = self.frameworks.get_mut(id).expect("only frameworks that were added are charged");
        if !framework.roles.contains_key(role) && framework.former_roles.insert(role.to_owned()) {
            self.roles.entry(role.to_owned()).or_default().insert(id.clone());
        }
    }

    /// Leaves a role that a framework is not in any more, once it has nothing of it.
    fn forget_former_role(&mut self, id: &FrameworkId, role: &str) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        if self.shares.has_nothing(role, id) && framework.former_roles.remove(role) {
            self.leave_role(id, role);
        }
    }

    fn leave_role(&mut self, id: &FrameworkId, role: &str) {
        self.shares.forget_framework(role, id);
        if let Some(frameworks) = self.roles.get_mut(role) {
            frameworks.remove(id);
            if frameworks.is_empty() {
                self.roles.remove(role);
                self.shares.forget_role(role);
            }
        }
    }

    /// What an agent has that is neither offered nor used, in unallocated form.
    pub fn free(&self, agent: &AgentId) -> Option<&Resources> {
        self.agents.get(agent).map(|agent| &agent.free)
    }

    /// The roles that frameworks are in or have resources of, with their dominant shares.
    pub fn roles(&self) -> impl Iterator<Item = (&str, f64)> {
        self.roles.keys().map(|role| (role.as_str(), self.shares.share_of(role)))
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
            assert_eq!(self.open.contains(id), agent.is_open(), "agent {id} is open if it has something");
        }
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

/// Whether there are enough cpus or enough memory.
pub(crate) fn is_worth_an_offer(resources: &Resources) -> bool {
    resources.cpus() >= MIN_CPUS || resources.mem() >= MIN_MEM
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
mod tests;
