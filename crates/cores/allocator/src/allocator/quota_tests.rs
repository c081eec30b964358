use super::*;
use resources::Limits;

const INTERVAL: Duration = Duration::from_secs(1);

fn parse(text: &str) -> Resources {
    Resources::parse(text).unwrap()
}

fn some(text: &str) -> Quantities {
    Quantities::parse(text).unwrap()
}

fn quota(guarantees: &str, limits: &str) -> Option<Quota> {
    Some(Quota { guarantees: some(guarantees), limits: Limits::from(&some(limits)) })
}

/// An allocator with agents of these resources and a framework in each of these roles, named after it.
struct Cluster {
    allocator: Allocator,
    now: Mono,
    offers: Vec<Allocation>,
}

impl Cluster {
    fn new(options: Options, agents: &[&str], roles: &[&str]) -> Self {
        let mut allocator = Allocator::new(options);
        for (n, total) in agents.iter().enumerate() {
            allocator.add_agent(&AgentId::new(format!("S{n}")), parse(total), &BTreeMap::new(), true);
        }
        let mut cluster = Self { allocator, now: Mono(0), offers: Vec::new() };
        roles.iter().for_each(|role| cluster.join(role));
        cluster
    }

    fn defaults(agents: &[&str], roles: &[&str]) -> Self {
        Self::new(Options::new(7, INTERVAL), agents, roles)
    }

    fn join(&mut self, role: &str) {
        let roles = BTreeSet::from([role.to_owned()]);
        let (id, nothing) = (FrameworkId::new(role), Capabilities::default());
        self.allocator.add_framework(&id, &roles, &BTreeSet::new(), nothing, true);
    }

    /// What a role is offered in all, after a run; in numbers of offers and amounts.
    fn offered(&mut self, role: &str) -> (usize, Quantities) {
        self.allocator.allocate(self.now, &mut self.offers);
        self.allocator.check();
        let mut sum = Quantities::new();
        let offers = self.offers.iter().filter(|it| it.role == role);
        offers.clone().for_each(|it| sum.add(&Quantities::of(&it.resources)));
        (offers.count(), sum)
    }

    /// Gives back a role's first offer.
    fn give_back(&mut self, role: &str) {
        let at = self.offers.iter().position(|it| it.role == role).unwrap();
        let it = self.offers.remove(at);
        self.allocator.recover(&it.framework, &it.agent, &it.resources);
    }
}

#[test]
fn mm21_what_is_guaranteed_is_kept_and_comes_first() {
    let mut cluster = Cluster::defaults(&["cpus:1;mem:512"; 3], &["a"]);
    cluster.allocator.set_quota("b", quota("cpus:1.5;mem:100", ""));
    let (_, sum) = cluster.offered("a");
    assert_eq!(sum, some("cpus:1.5;mem:1436"), "one and a half cpus are kept for b");
    assert_eq!(cluster.allocator.next_deadline(), None, "nothing has changed that could free them");
    cluster.join("b");
    let (_, sum) = cluster.offered("b");
    assert_eq!(sum.get("cpus"), some("cpus:1.5").get("cpus"));

    // Whoever is short of a guarantee is served before the poorest.
    let mut cluster = Cluster::defaults(&["cpus:1;mem:512"; 4], &["a", "b"]);
    cluster.allocator.set_quota("b", quota("cpus:3", ""));
    assert_eq!(cluster.offered("b"), (3, some("cpus:3;mem:1536")));
    assert_eq!(cluster.offered("a"), (1, some("cpus:1;mem:512")));
}

#[test]
fn mm21_what_was_kept_is_offered_when_the_guarantee_is_met() {
    let mut cluster = Cluster::defaults(&["cpus:4;mem:512"], &["a"]);
    cluster.allocator.set_quota("b", quota("cpus:3", ""));
    assert_eq!(cluster.offered("a").1, some("cpus:1;mem:512"));
    let reserve = |cluster: &mut Cluster, n: u64, millis: u64, total: &str| {
        cluster.now = Mono(0) + Duration::from_millis(millis);
        cluster.allocator.add_agent(&AgentId::new(format!("R{n}")), parse(total), &BTreeMap::new(), true);
        cluster.offered("a").1.get("cpus")
    };
    assert_eq!(reserve(&mut cluster, 1, 300, "cpus(b):1"), some("cpus:2").get("cpus"), "b has it reserved");
    assert_eq!(reserve(&mut cluster, 2, 500, "cpus(b):2"), some("cpus:2").get("cpus"), "once an interval");
    let at = Mono(0) + Duration::from_millis(1300);
    assert_eq!(cluster.allocator.next_deadline(), Some(at));
    assert!(!cluster.allocator.is_due(cluster.now) && cluster.allocator.is_due(at));
    cluster.now = at;
    assert_eq!(cluster.offered("a").1.get("cpus"), some("cpus:4").get("cpus"));
    assert_eq!(cluster.allocator.next_deadline(), None);
}

#[test]
fn mm22_a_role_never_gets_more_than_its_limit() {
    let mut cluster = Cluster::defaults(&["cpus:1;mem:512"; 3], &["a"]);
    cluster.allocator.set_quota("a", quota("", "cpus:1.5"));
    assert_eq!(cluster.offered("a"), (3, some("cpus:1.5;mem:1536")), "what has no limit is not limited");
    assert_eq!(cluster.allocator.consumed("a"), some("cpus:1.5;mem:1536"));
    cluster.allocator.set_quota("a", quota("", "cpus:0.5"));
    cluster.give_back("a");
    let before = cluster.allocator.consumed("a").get("cpus");
    cluster.now = cluster.now + INTERVAL;
    cluster.offered("a");
    assert!(cluster.allocator.consumed("a").get("cpus") <= before.max(some("cpus:0.5").get("cpus")));
    cluster.allocator.set_quota("a", None);
    assert_eq!(cluster.offered("a").1, some("cpus:3;mem:1536"));
}

#[test]
fn mm23_reservations_count_and_agents_are_chopped() {
    let mut cluster = Cluster::defaults(&["cpus(a):2;cpus:4;mem:512"], &["a"]);
    cluster.allocator.set_quota("a", quota("", "cpus:2.25"));
    assert_eq!(cluster.allocator.consumed("a"), some("cpus:2"), "reserved, whether in use or not");
    assert_eq!(cluster.offered("a"), (1, some("cpus:2.25;mem:512")));
    assert_eq!(cluster.allocator.consumed("a"), some("cpus:2.25;mem:512"));
}

#[test]
fn mm16_a_quota_is_for_all_roles_below_it() {
    let mut cluster = Cluster::defaults(&["cpus:1;mem:512"; 6], &["eng/web", "eng/db", "ops"]);
    cluster.allocator.set_quota("eng", quota("cpus:2", "cpus:3"));
    cluster.offered("ops");
    let (web, db) = (cluster.offered("eng/web").1, cluster.offered("eng/db").1);
    assert_eq!(cluster.allocator.consumed("eng").get("cpus"), some("cpus:3").get("cpus"));
    assert_eq!(web.get("cpus").plus(db.get("cpus")), some("cpus:3").get("cpus"));
    assert_eq!(cluster.offered("ops").1.get("cpus"), some("cpus:3").get("cpus"));
}

#[test]
fn mm13_weights_of_two_to_one_give_two_to_one() {
    let mut cluster = Cluster::defaults(&["cpus:1;mem:512"; 30], &["a", "b"]);
    cluster.allocator.set_weight("a", Some(2.0));
    assert_eq!((cluster.offered("a").0, cluster.offered("b").0), (20, 10));
}

#[test]
fn mm11_equal_roles_get_equal_shares() {
    let mut cluster = Cluster::defaults(&["cpus:1;mem:512"; 30], &["a", "b", "c"]);
    assert_eq!(["a", "b", "c"].map(|role| cluster.offered(role).0), [10; 3]);
}

#[test]
fn mm12_the_random_sorter_spreads_offers() {
    let mut options = Options::new(7, INTERVAL);
    options.role_sorter = crate::SorterKind::Random;
    options.framework_sorter = crate::SorterKind::Random;
    let mut cluster = Cluster::new(options, &["cpus:1;mem:512"; 200], &["a", "b"]);
    cluster.allocator.set_weight("a", Some(3.0));
    let (a, b) = (cluster.offered("a").0, cluster.offered("b").0);
    assert_eq!(a + b, 200);
    assert!((120..180).contains(&a), "a has three lots of four: {a} {b}");
}

#[test]
fn mm18_what_is_worth_an_offer_can_be_set() {
    let offered = |least: &[&str], own: Option<&[&str]>, total: &str| {
        let mut options = Options::new(7, INTERVAL);
        options.min_allocatable = least.iter().map(|text| some(text)).collect();
        let mut cluster = Cluster::new(options, &[total], &["a"]);
        if let Some(own) = own {
            let own = own.iter().map(|text| some(text)).collect();
            cluster
                .allocator
                .set_min_allocatable(&FrameworkId::new("a"), BTreeMap::from([("a".to_owned(), own)]));
        }
        cluster.offered("a").0 == 1
    };
    assert!(offered(&["cpus:1", "mem:100"], None, "cpus:1"));
    assert!(offered(&["cpus:1", "mem:100"], None, "cpus:0.9;mem:100"));
    assert!(!offered(&["cpus:1", "mem:100"], None, "cpus:0.9;mem:99"));
    assert!(!offered(&["cpus:1;mem:100"], None, "cpus:2;mem:99"));
    assert!(offered(&[], None, "disk:1"), "without minima anything will do");
    assert!(offered(&["cpus:1"], Some(&["disk:5"]), "disk:5"), "a framework's own minima count");
    assert!(!offered(&["cpus:1"], Some(&["disk:5"]), "cpus:4"));
    assert!(offered(&["cpus:1"], Some(&[]), "disk:1"));
}

#[test]
fn mm36_remote_agents_are_for_those_who_know_regions() {
    let offered = |region: Option<&str>, regions: bool| {
        let mut options = Options::new(7, INTERVAL);
        options.region = Some("here".into());
        let mut cluster = Cluster::new(options, &["cpus:1"], &["a"]);
        let (a, capabilities) = (FrameworkId::new("a"), Capabilities { regions, ..Capabilities::default() });
        cluster.allocator.update_framework(
            &a,
            &BTreeSet::from(["a".to_owned()]),
            &BTreeSet::new(),
            capabilities,
        );
        let terms = AgentTerms { region: region.map(str::to_owned), ..AgentTerms::default() };
        cluster.allocator.set_agent_terms(&AgentId::new("S0"), terms);
        cluster.offered("a").0 == 1
    };
    assert!(offered(None, false) && offered(Some("here"), false) && offered(Some("there"), true));
    assert!(!offered(Some("there"), false));
}

#[test]
fn mm51_agents_off_the_whitelist_are_not_offered() {
    let mut cluster = Cluster::defaults(&["cpus:1;mem:512"; 2], &["a"]);
    for n in 0..2 {
        let terms = AgentTerms { hostname: format!("host{n}"), ..AgentTerms::default() };
        cluster.allocator.set_agent_terms(&AgentId::new(format!("S{n}")), terms);
    }
    cluster.allocator.set_whitelist(Some(BTreeSet::from(["host1".to_owned()])));
    assert_eq!(cluster.offered("a").0, 1);
    assert_eq!(cluster.offers[0].agent, AgentId::new("S1"));
    cluster.allocator.set_whitelist(None);
    assert_eq!(cluster.offered("a").0, 2);
}

#[test]
fn mm17_refusals_do_not_pile_up() {
    let mut cluster = Cluster::defaults(&["cpus:1;mem:512"; 2], &["a"]);
    let year = Duration::from_secs(365 * 24 * 3600);
    let (framework, agent) = (FrameworkId::new("a"), AgentId::new("S0"));
    for n in 0..20_000u32 {
        let resources = parse(&format!("ports:[{n}-{n}]")).allocated_to("a");
        cluster.allocator.decline(cluster.now, &framework, &agent, &resources, year);
    }
    assert!(cluster.allocator.active_filters("a") <= 64);
    cluster.allocator.check();
    assert_eq!(cluster.offered("a").0, 2, "more than was refused is offered");
}
