use super::*;
use crate::options;
use proptest::prelude::*;
use resources::{Limits, Scalar};

const ROLES: [&str; 4] = ["*", "eng", "eng/web", "slave_public"];
const INTERVAL: Duration = Duration::from_secs(1);

fn parse(text: &str) -> Resources {
    Resources::parse(text).unwrap()
}

fn agent(n: usize) -> AgentId {
    AgentId::from(format!("S{n}"))
}

fn framework(n: usize) -> FrameworkId {
    FrameworkId::from(format!("F{n}"))
}

fn set(roles: &[&str]) -> BTreeSet<String> {
    roles.iter().map(|role| (*role).to_owned()).collect()
}

fn is_worth_an_offer(resources: &Resources) -> bool {
    options::is_worth_an_offer(resources, &Options::new(0, INTERVAL).min_allocatable)
}

/// The allocator, and beside it what it should know, recomputed from lists whenever it is asked.
struct Model {
    allocator: Allocator,
    now: Mono,
    agents: BTreeMap<AgentId, Resources>,
    frameworks: BTreeMap<FrameworkId, (BTreeSet<String>, BTreeSet<String>)>,
    outstanding: Vec<Allocation>,
    filters: Vec<(FrameworkId, String, AgentId, Resources, Mono)>,
    quotas: BTreeMap<String, Quota>,
}

impl Model {
    fn new(seed: u64) -> Self {
        Self {
            allocator: Allocator::new(Options::new(seed, INTERVAL)),
            now: Mono(0),
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            outstanding: Vec::new(),
            filters: Vec::new(),
            quotas: BTreeMap::new(),
        }
    }

    fn free(&self, id: &AgentId) -> Resources {
        let mut free = self.agents[id].clone();
        for allocation in self.outstanding.iter().filter(|allocation| allocation.agent == *id) {
            free.subtract(&allocation.resources.unallocated()).unwrap();
        }
        free
    }

    /// The dominant share of those outstanding allocations that pass.
    fn share(&self, passes: impl Fn(&Allocation) -> bool) -> f64 {
        let sum = |name: &str| -> f64 {
            let mine = self.outstanding.iter().filter(|allocation| passes(allocation));
            let mine: i64 = mine.map(|allocation| allocation.resources.scalar(name).thousandths()).sum();
            let all: i64 = self.agents.values().map(|total| total.scalar(name).thousandths()).sum();
            if all == 0 { 0.0 } else { (mine as f64 / 1000.0) / (all as f64 / 1000.0) }
        };
        ["cpus", "mem", "disk"].into_iter().map(sum).fold(0.0, f64::max)
    }

    /// How poor a role is where it parts from another, and how poor a framework is in it.
    fn poverty(&self, id: &FrameworkId, role: &str, other_role: &str) -> f64 {
        if role == other_role {
            return self.share(|allocation| allocation.role == role && allocation.framework == *id);
        }
        // With the roles of these tests, roles part at the top unless both are `eng` and below.
        match (role, other_role) {
            ("eng", "eng/web") | ("eng/web", _) if other_role.starts_with("eng") => {
                self.share(|allocation| allocation.role == role)
            }
            _ => {
                let top = |role: &str| role.split('/').next().unwrap_or_default().to_owned();
                self.share(|allocation| top(&allocation.role) == top(role))
            }
        }
    }

    fn offerable(&self, id: &FrameworkId, role: &str, agent: &AgentId) -> Option<Resources> {
        let (roles, suppressed) = &self.frameworks[id];
        let resources = self.free(agent).allocatable_to(role);
        let hidden = self.filters.iter().any(|(f, r, a, refused, until)| {
            (f, r.as_str(), a) == (id, role, agent) && *until > self.now && refused.contains(&resources)
        });
        let wanted = roles.contains(role) && !suppressed.contains(role);
        (wanted && !hidden && is_worth_an_offer(&resources)).then_some(resources)
    }

    /// What a top-level role consumes of a quota.
    fn consumed(&self, top_role: &str) -> Quantities {
        let mut consumed = Quantities::new();
        for resource in self.agents.values().flatten() {
            if resource.identity().reservation_role().split('/').next() == Some(top_role)
                && !resource.identity().reservations.is_empty()
            {
                consumed.add_amount(resource.name(), resource.value().quantity());
            }
        }
        for it in self.outstanding.iter().filter(|it| it.role.split('/').next() == Some(top_role)) {
            consumed.add(&Quantities::of(&it.resources.unreserved().scalars()));
        }
        consumed
    }

    /// What is free beyond what is guaranteed, by name; what nobody is short of is left out.
    fn surplus(&self) -> BTreeMap<String, i64> {
        let mut required = Quantities::new();
        for (role, quota) in &self.quotas {
            let mut deficit = quota.guarantees.clone();
            deficit.subtract(&self.consumed(role));
            required.add(&deficit);
        }
        let mut free = Quantities::new();
        self.agents.keys().for_each(|id| free.add(&Quantities::of(&self.free(id).unreserved().scalars())));
        let surplus = |name: &str, required: Scalar| free.get(name).minus(required).thousandths();
        required.iter().map(|(name, amount)| (name.to_owned(), surplus(name, amount))).collect()
    }

    /// What quotas let a role have of what it could have: all that is guaranteed and as much as nobody
    /// else is guaranteed.
    fn within_quota(&self, role: &str, resources: Resources) -> Resources {
        let top_role = role.split('/').next().unwrap_or_default();
        let mut bounds = Limits::new();
        let quota = self.quotas.get(top_role).cloned().unwrap_or_default();
        let consumed = self.consumed(top_role);
        for (name, surplus) in self.surplus() {
            let mut deficit = quota.guarantees.clone();
            deficit.subtract(&consumed);
            let most = Scalar::from_thousandths(surplus.max(0)).plus(deficit.get(&name));
            bounds.set(&name, most);
        }
        let left = quota.limits.left(&consumed);
        let counted = resources.unreserved().scalars().capped(&bounds).capped(&left);
        let mut rest = resources.clone();
        rest.subtract(&resources.unreserved().scalars()).unwrap();
        rest + &counted
    }

    fn everybody(&self) -> Vec<(FrameworkId, String)> {
        let pairs =
            self.frameworks.iter().flat_map(|(id, (roles, _))| roles.iter().map(move |role| (id, role)));
        pairs.map(|(id, role)| (id.clone(), role.clone())).collect()
    }

    fn allocate(&mut self) {
        let mut out = Vec::new();
        self.allocator.allocate(self.now, &mut out);
        self.allocator.check();
        let is_strict = self.quotas.is_empty();
        for allocation in out {
            if is_strict {
                self.check_order(&allocation);
                self.outstanding.push(allocation);
            } else {
                self.check_quotas(allocation);
            }
        }
        if !is_strict {
            self.check_nothing_held();
            return;
        }
        for agent in self.agents.keys() {
            assert_eq!(self.allocator.free(agent), Some(&self.free(agent)));
            for (id, role) in self.everybody() {
                assert_eq!(self.offerable(&id, &role, agent), None, "{id} in {role} is forgotten on {agent}");
            }
        }
    }

    /// It is all that is to be had, and nobody who wants it is poorer.
    fn check_order(&self, allocation: &Allocation) {
        let expect = self.offerable(&allocation.framework, &allocation.role, &allocation.agent);
        let expect = expect.unwrap_or_else(|| panic!("{allocation:?} is not to be had"));
        assert_eq!(allocation.resources, expect.allocated_to(&allocation.role));
        for (id, role) in self.everybody() {
            if self.offerable(&id, &role, &allocation.agent).is_some() {
                let mine = self.poverty(&allocation.framework, &allocation.role, &role);
                let theirs = self.poverty(&id, &role, &allocation.role);
                assert!(
                    mine <= theirs,
                    "{mine} {theirs}: {id} in {role} is poorer than the one served by {allocation:?}"
                );
            }
        }
    }

    /// It breaks no limit, and leaves what others are guaranteed.
    fn check_quotas(&mut self, allocation: Allocation) {
        let top_role = allocation.role.split('/').next().unwrap_or_default().to_owned();
        let all = self.offerable(&allocation.framework, &allocation.role, &allocation.agent);
        assert!(all.is_some_and(|all| all.contains(&allocation.resources.unallocated())), "{allocation:?}");
        let counted = Quantities::of(&allocation.resources.unreserved().scalars());
        let before = self.surplus();
        self.outstanding.push(allocation);
        let consumed = self.consumed(&top_role);
        if let Some(quota) = self.quotas.get(&top_role) {
            for (name, _) in counted.iter() {
                let limit = quota.limits.get(name);
                assert!(limit.is_none_or(|limit| consumed.get(name) <= limit), "{top_role} exceeds {name}");
            }
        }
        for (name, after) in self.surplus() {
            let before = before.get(&name).copied().unwrap_or(0);
            assert!(after >= before.min(0), "{name} that is guaranteed is given away: {before} {after}");
        }
    }

    /// Once an interval has passed, all that quotas let anybody have was offered.
    fn check_nothing_held(&mut self) {
        self.now = self.now + INTERVAL;
        let mut out = Vec::new();
        self.allocator.allocate(self.now, &mut out);
        self.allocator.check();
        for allocation in out {
            self.check_quotas(allocation);
        }
        for role in ["*", "eng", "slave_public"] {
            assert_eq!(self.allocator.consumed(role), self.consumed(role), "consumption of {role}");
        }
        for agent in self.agents.keys() {
            for (id, role) in self.everybody() {
                let Some(all) = self.offerable(&id, &role, agent) else { continue };
                let some = self.within_quota(&role, all);
                let hidden = self.filters.iter().any(|(f, r, a, refused, until)| {
                    (f, r, a) == (&id, &role, agent) && *until > self.now && refused.contains(&some)
                });
                assert!(hidden || !is_worth_an_offer(&some), "{some} of {agent} is kept from {id} in {role}");
            }
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::AddAgent(n, total) => {
                let (id, total) = (agent(n), parse(TOTALS[total]));
                if !self.agents.contains_key(&id) {
                    self.allocator.add_agent(&id, total.clone(), &BTreeMap::new(), true);
                    self.agents.insert(id, total);
                }
            }
            Step::RemoveAgent(n) => {
                let id = agent(n);
                if self.agents.remove(&id).is_some() {
                    let (gone, rest) =
                        std::mem::take(&mut self.outstanding).into_iter().partition(|it| it.agent == id);
                    self.outstanding = rest;
                    let gone: Vec<Allocation> = gone;
                    let has: Vec<_> = gone.into_iter().map(|it| (it.framework, it.resources)).collect();
                    self.allocator.remove_agent(&id, &has);
                    self.filters.retain(|filter| filter.2 != id);
                }
            }
            Step::AddFramework(n, roles) => {
                let (id, roles) = (framework(n), pick(roles));
                if !self.frameworks.contains_key(&id) {
                    let nothing = Capabilities::default();
                    self.allocator.add_framework(&id, &roles, &BTreeSet::new(), nothing, true);
                    self.frameworks.insert(id, (roles, BTreeSet::new()));
                }
            }
            Step::UpdateFramework(n, roles, suppressed) => {
                let (id, roles, suppressed) = (framework(n), pick(roles), pick(suppressed));
                if let Some(known) = self.frameworks.get_mut(&id) {
                    self.allocator.update_framework(&id, &roles, &suppressed, Capabilities::default());
                    self.filters.retain(|filter| filter.0 != id || roles.contains(&filter.1));
                    *known = (roles.clone(), &roles & &suppressed);
                }
            }
            Step::RemoveFramework(n) => {
                let id = framework(n);
                if self.frameworks.remove(&id).is_some() {
                    let (gone, rest) =
                        std::mem::take(&mut self.outstanding).into_iter().partition(|it| it.framework == id);
                    self.outstanding = rest;
                    let gone: Vec<Allocation> = gone;
                    for it in gone {
                        self.allocator.recover(&id, &it.agent, &it.resources);
                    }
                    self.allocator.remove_framework(&id);
                    self.filters.retain(|filter| filter.0 != id);
                }
            }
            Step::Suppress(n, roles) => self.suppress(n, roles, true),
            Step::Revive(n, roles) => self.suppress(n, roles, false),
            Step::Decline(nth, millis) => {
                if self.outstanding.is_empty() {
                    return;
                }
                let it = self.outstanding.swap_remove(nth % self.outstanding.len());
                let refuse = Duration::from_millis(millis);
                self.allocator.decline(self.now, &it.framework, &it.agent, &it.resources, refuse);
                let at_least = if millis == 0 { 1 } else { millis.max(1000) * 1_000_000 };
                let until = Mono((self.now.0 + at_least).div_ceil(1_000_000_000) * 1_000_000_000);
                if self.frameworks[&it.framework].0.contains(&it.role) {
                    self.filters.push((it.framework, it.role, it.agent, it.resources.unallocated(), until));
                }
            }
            Step::Recover(nth) => {
                if self.outstanding.is_empty() {
                    return;
                }
                let it = self.outstanding.swap_remove(nth % self.outstanding.len());
                self.allocator.recover(&it.framework, &it.agent, &it.resources);
            }
            Step::SetQuota(role, quota) => {
                let (role, [guarantees, limits]) = (["*", "eng", "slave_public"][role], QUOTAS[quota]);
                let guarantees = Quantities::parse(guarantees).unwrap();
                let limits = Limits::from(&Quantities::parse(limits).unwrap());
                let quota = Quota { guarantees, limits };
                self.allocator.set_quota(role, Some(quota.clone()));
                self.quotas.insert(role.to_owned(), quota);
                self.quotas.retain(|_, quota| !quota.is_default());
            }
            Step::Wait(millis) => self.now = self.now + Duration::from_millis(millis),
        }
    }

    fn suppress(&mut self, n: usize, roles: u8, suppressed: bool) {
        let (id, named): (_, Vec<String>) = (framework(n), pick(roles).into_iter().collect());
        if suppressed {
            self.allocator.suppress(&id, &named);
        } else {
            self.allocator.revive(&id, &named);
        }
        let Some((roles, all_suppressed)) = self.frameworks.get_mut(&id) else { return };
        for role in roles.iter().filter(|role| named.is_empty() || named.contains(role)) {
            if suppressed {
                all_suppressed.insert(role.clone());
            } else {
                all_suppressed.remove(role);
                self.filters.retain(|filter| filter.0 != id || filter.1 != *role);
            }
        }
    }
}

const TOTALS: [&str; 4] = [
    "cpus:4;mem:1024;ports:[1-20]",
    "cpus:1;mem:4096;disk:100",
    "cpus(slave_public):2;mem(slave_public):512;cpus:1",
    "cpus(eng):1;mem:16;mem(eng/web):64",
];

const QUOTAS: [[&str; 2]; 5] = [
    ["", ""],
    ["cpus:2;mem:100", ""],
    ["", "cpus:1.5"],
    ["cpus:1", "cpus:6;mem:600"],
    ["mem:5000", "mem:5000"],
];

#[derive(Clone, Debug)]
enum Step {
    AddAgent(usize, usize),
    RemoveAgent(usize),
    AddFramework(usize, u8),
    UpdateFramework(usize, u8, u8),
    RemoveFramework(usize),
    Suppress(usize, u8),
    Revive(usize, u8),
    Decline(usize, u64),
    Recover(usize),
    Wait(u64),
    SetQuota(usize, usize),
}

fn pick(mask: u8) -> BTreeSet<String> {
    let picked = ROLES.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
    picked.map(|(_, role)| (*role).to_owned()).collect()
}

fn step() -> impl Strategy<Value = Step> {
    let (agent, framework, mask) = (0..5usize, 0..3usize, 0..16u8);
    prop_oneof![
        3 => (agent.clone(), 0..TOTALS.len()).prop_map(|(n, total)| Step::AddAgent(n, total)),
        1 => agent.prop_map(Step::RemoveAgent),
        3 => (framework.clone(), mask.clone()).prop_map(|(n, roles)| Step::AddFramework(n, roles)),
        1 => (framework.clone(), mask.clone(), mask.clone()).prop_map(|(n, a, b)| Step::UpdateFramework(n, a, b)),
        1 => framework.clone().prop_map(Step::RemoveFramework),
        1 => (framework.clone(), mask.clone()).prop_map(|(n, roles)| Step::Suppress(n, roles)),
        1 => (framework, mask).prop_map(|(n, roles)| Step::Revive(n, roles)),
        6 => (any::<usize>(), prop_oneof![Just(0), 1..4000u64]).prop_map(|(nth, millis)| Step::Decline(nth, millis)),
        3 => any::<usize>().prop_map(Step::Recover),
        4 => (1..2500u64).prop_map(Step::Wait),
    ]
}

fn step_or_quota() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => step(),
        1 => (0..3usize, 0..QUOTAS.len()).prop_map(|(role, quota)| Step::SetQuota(role, quota)),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_model_that_recomputes_everything(
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut model = Model::new(seed);
        for step in steps {
            model.apply(step);
            model.allocate();
        }
    }

    #[test]
    fn mm22_no_limit_is_exceeded_and_no_guarantee_given_away(
        seed in any::<u64>(),
        steps in proptest::collection::vec(step_or_quota(), 1..60),
    ) {
        let mut model = Model::new(seed);
        for step in steps {
            model.apply(step);
            model.allocate();
        }
    }
}

fn allocate(allocator: &mut Allocator, now: Duration) -> Vec<String> {
    let mut out = Vec::new();
    allocator.allocate(Mono(0) + now, &mut out);
    allocator.check();
    let mut lines: Vec<_> = out
        .into_iter()
        .map(|it| format!("{} {} {} {}", it.framework, it.role, it.agent, it.resources.unallocated()))
        .collect();
    lines.sort();
    lines
}

#[test]
fn reserved_resources_go_to_their_role_only() {
    let mut allocator = Allocator::new(Options::new(1, INTERVAL));
    allocator.add_agent(
        &agent(0),
        parse("cpus(slave_public):1;mem(slave_public):64"),
        &BTreeMap::new(),
        true,
    );
    allocator.add_framework(&framework(0), &set(&["*"]), &set(&[]), Capabilities::default(), true);
    assert!(allocate(&mut allocator, Duration::ZERO).is_empty());
    allocator.add_framework(&framework(1), &set(&["slave_public"]), &set(&[]), Capabilities::default(), true);
    assert_eq!(
        allocate(&mut allocator, Duration::ZERO),
        [
            "F1 slave_public S0 cpus(reservations: [(STATIC,slave_public)]):1; mem(reservations: [(STATIC,slave_public)]):64"
        ]
    );
}

#[test]
fn declined_resources_wait_for_the_tick_after_the_filter() {
    let check = |refuse: Duration, back_at: Duration| {
        let mut allocator = Allocator::new(Options::new(1, INTERVAL));
        allocator.add_framework(&framework(0), &set(&["a"]), &set(&[]), Capabilities::default(), true);
        allocator.add_agent(&agent(0), parse("cpus:1;mem:64"), &BTreeMap::new(), true);
        let mut out = Vec::new();
        allocator.allocate(Mono(0), &mut out);
        let now = Mono(0) + Duration::from_millis(300);
        allocator.decline(now, &framework(0), &agent(0), &out[0].resources, refuse);
        assert!(allocate(&mut allocator, Duration::from_millis(300)).is_empty());
        assert_eq!(allocator.next_deadline(), Some(Mono(0) + back_at));
        assert!(allocate(&mut allocator, back_at - Duration::from_nanos(1)).is_empty());
        assert_eq!(allocate(&mut allocator, back_at), ["F0 a S0 cpus:1; mem:64"]);
        assert_eq!(allocator.next_deadline(), None);
    };
    check(Duration::ZERO, Duration::from_secs(1));
    check(Duration::from_millis(10), Duration::from_secs(2));
    check(Duration::from_secs(3), Duration::from_secs(4));
    check(Duration::from_millis(4700), Duration::from_secs(5));
}

#[test]
fn what_one_declines_the_other_gets_at_once() {
    let mut allocator = Allocator::new(Options::new(1, INTERVAL));
    for n in 0..2 {
        allocator.add_framework(&framework(n), &set(&["a"]), &set(&[]), Capabilities::default(), true);
    }
    allocator.add_agent(&agent(0), parse("cpus:1;mem:64"), &BTreeMap::new(), true);
    let mut out = Vec::new();
    allocator.allocate(Mono(0), &mut out);
    allocator.decline(Mono(0), &out[0].framework, &agent(0), &out[0].resources, Duration::from_secs(5));
    let other = if out[0].framework == framework(0) { framework(1) } else { framework(0) };
    assert_eq!(allocate(&mut allocator, Duration::ZERO), [format!("{other} a S0 cpus:1; mem:64")]);
}

#[test]
fn more_than_was_refused_is_offered() {
    let mut allocator = Allocator::new(Options::new(1, INTERVAL));
    allocator.add_framework(&framework(0), &set(&["a"]), &set(&[]), Capabilities::default(), true);
    let used = BTreeMap::from([(framework(0), parse("cpus:1").allocated_to("a"))]);
    allocator.add_agent(&agent(0), parse("cpus:2;mem:64"), &used, true);
    let mut out = Vec::new();
    allocator.allocate(Mono(0), &mut out);
    assert_eq!(out[0].resources.unallocated(), parse("cpus:1;mem:64"));
    allocator.decline(Mono(0), &framework(0), &agent(0), &out[0].resources, Duration::from_secs(60));
    assert!(allocate(&mut allocator, Duration::ZERO).is_empty());
    allocator.recover(&framework(0), &agent(0), &used[&framework(0)]);
    assert_eq!(allocate(&mut allocator, Duration::ZERO), ["F0 a S0 cpus:2; mem:64"]);
}

#[test]
fn what_a_framework_cannot_deal_with_is_kept_from_it() {
    let offered = |total: &str, capabilities: Capabilities| {
        let mut allocator = Allocator::new(Options::new(1, INTERVAL));
        allocator.add_framework(&framework(0), &set(&["a"]), &set(&[]), capabilities, true);
        allocator.add_agent(&agent(0), parse(total), &BTreeMap::new(), true);
        allocate(&mut allocator, Duration::ZERO).len()
    };
    assert_eq!(offered("cpus:1;gpus:1", Capabilities::default()), 0);
    assert_eq!(offered("cpus:1;gpus:1", Capabilities { gpus: true, ..Capabilities::default() }), 1);
    assert_eq!(offered("cpus:0.009;mem:31", Capabilities::default()), 0);
    assert_eq!(offered("cpus:0.01", Capabilities::default()), 1);
    assert_eq!(offered("mem:32", Capabilities::default()), 1);
}

#[test]
fn agents_without_news_are_not_looked_at() {
    let mut allocator = Allocator::new(Options::new(1, INTERVAL));
    allocator.add_framework(&framework(0), &set(&["a"]), &set(&[]), Capabilities::default(), true);
    for n in 0..100 {
        allocator.add_agent(&agent(n), parse("cpus:1"), &BTreeMap::new(), true);
    }
    assert_eq!(allocate(&mut allocator, Duration::ZERO).len(), 100);
    assert!(allocator.candidates.is_empty() && allocator.open.is_empty());
    allocator.recover(&framework(0), &agent(7), &parse("cpus:0.5").allocated_to("a"));
    assert_eq!(allocator.candidates.len(), 1);
    assert!(allocator.is_due(Mono(0)));
    assert_eq!(allocate(&mut allocator, Duration::ZERO).len(), 1);
    assert!(!allocator.is_due(Mono(0) + Duration::from_secs(99)));
}

#[test]
fn what_is_offered_and_what_is_free_can_be_converted() {
    let mut allocator = Allocator::new(Options::new(1, INTERVAL));
    let (id, one) = (agent(1), framework(1));
    allocator.add_framework(&one, &set(&["eng"]), &BTreeSet::new(), Capabilities::default(), true);
    allocator.add_agent(&id, parse("cpus:4;mem:400"), &BTreeMap::new(), true);
    let conversion = |from: &str, to: &str| [Conversion { consumed: parse(from), converted: parse(to) }];
    allocator.convert_free(&id, &conversion("cpus:1;mem:100", "cpus(eng):1;mem(eng):100")).unwrap();
    assert_eq!(allocator.free(&id), Some(&parse("cpus:3;mem:300;cpus(eng):1;mem(eng):100")));
    let error = allocator.convert_free(&id, &conversion("cpus:4", "cpus(eng):4")).unwrap_err();
    assert_eq!(error.want, parse("cpus:4"));
    let mut out = Vec::new();
    allocator.allocate(Mono(0), &mut out);
    assert_eq!(out.len(), 1, "all is offered");
    assert!(allocator.convert_free(&id, &conversion("cpus:1", "cpus(eng):1")).is_err(), "nothing is free");
    let share = allocator.roles().next().map(|(_, share)| share);
    let mut offered = conversion("cpus:2", "cpus(eng):2");
    offered[0].consumed = offered[0].consumed.allocated_to("eng");
    offered[0].converted = offered[0].converted.allocated_to("eng");
    allocator.convert_allocated(&one, &id, &offered);
    assert_eq!(allocator.roles().next().map(|(_, share)| share), share, "a reservation takes nothing more");
    let mut has = out.remove(0).resources;
    has.apply(&offered).unwrap();
    allocator.recover(&one, &id, &has);
    allocator.check();
    assert_eq!(allocator.free(&id), Some(&parse("cpus:1;mem:300;cpus(eng):3;mem(eng):100")));
}
