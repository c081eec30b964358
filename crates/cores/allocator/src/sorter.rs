use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{FrameworkId, Rng};
use resources::{Quantities, Resources, Scalar, role};

/// Who comes first where several want the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SorterKind {
    /// The one with the smallest dominant share, divided by its weight. Mesos: `drf`.
    #[default]
    Drf,
    /// Whoever is drawn; a weight is so many lots. Mesos: `random`.
    Random,
}

/// The place of a node among its siblings: the lower one comes first.
#[derive(Clone, Copy, Debug, Default)]
struct Rank {
    share: f64,
    /// Decides between equal shares, so that those who have nothing take turns.
    times: u64,
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.share.total_cmp(&other.share).then(self.times.cmp(&other.times))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Rank {}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A role with everything below it.
    Subtree,
    /// A role without what is below it.
    Role,
    /// A framework in a role.
    Framework(FrameworkId),
}

#[derive(Debug)]
struct Node {
    parent: usize,
    /// The role's path, or the framework's id.
    name: Arc<str>,
    place: Place,
    /// What it has, with everything below it.
    amounts: Quantities,
    /// How often it got something.
    times: u64,
    weight: f64,
    /// Where it stands in its parent's `order`.
    rank: Rank,
    /// The nodes below it.
    children: BTreeMap<Arc<str>, usize>,
    /// For a subtree: the role itself, which competes with the roles below it.
    own: Option<usize>,
    /// How many frameworks in it want something.
    wanting: usize,
    /// Its children that want something, the first one first.
    order: BTreeSet<(Rank, Arc<str>, usize)>,
    /// The state of the whole cluster that `order` was made in.
    ordered_at: u64,
    /// How far the lots of its children are drawn.
    clock: f64,
}

impl Node {
    fn new(parent: usize, name: Arc<str>, place: Place, weight: f64) -> Self {
        Self {
            parent,
            name,
            place,
            amounts: Quantities::new(),
            times: 0,
            weight,
            rank: Rank::default(),
            children: BTreeMap::new(),
            own: None,
            wanting: 0,
            order: BTreeSet::new(),
            ordered_at: 0,
            clock: 0.0,
        }
    }
}

/// Who has how much of the cluster: roles as a tree, frameworks within their roles, each level in the order
/// in which it is served. Mesos: src/master/allocator/mesos/sorter.
///
/// A change touches only the path from the framework to the top; those who want nothing are not in any order.
#[derive(Debug)]
pub(crate) struct Sorter {
    roles: SorterKind,
    frameworks: SorterKind,
    rng: Rng,
    all: Quantities,
    excluded: BTreeSet<String>,
    /// Counts what changes everybody's share. Orders of an earlier state are made again when they are used.
    state: u64,
    nodes: Vec<Node>,
    unused: Vec<usize>,
    subtrees: BTreeMap<Arc<str>, usize>,
    weights: BTreeMap<String, f64>,
}

const ROOT: usize = 0;

impl Sorter {
    /// `excluded` names resources that do not count. Mesos: `--fair_sharing_excluded_resource_names`.
    pub(crate) fn new(
        roles: SorterKind,
        frameworks: SorterKind,
        excluded: BTreeSet<String>,
        rng: Rng,
    ) -> Self {
        Self {
            roles,
            frameworks,
            rng,
            all: Quantities::new(),
            excluded,
            state: 1,
            nodes: vec![Node::new(ROOT, Arc::from(""), Place::Subtree, 1.0)],
            unused: Vec::new(),
            subtrees: BTreeMap::new(),
            weights: BTreeMap::new(),
        }
    }

    pub(crate) fn add_total(&mut self, total: &Resources) {
        self.all.add_resources(total);
        self.state += 1;
    }

    pub(crate) fn remove_total(&mut self, total: &Resources) {
        self.all.subtract_resources(total);
        self.state += 1;
    }

    /// `weight` must be positive; `None` is 1.
    pub(crate) fn set_weight(&mut self, role: &str, weight: Option<f64>) {
        match weight {
            Some(weight) => self.weights.insert(role.to_owned(), weight),
            None => self.weights.remove(role),
        };
        if let Some(at) = self.subtrees.get(role) {
            self.nodes[*at].weight = weight.unwrap_or(1.0);
            self.state += 1;
        }
    }

    /// Makes a framework known in a role, if it is not.
    pub(crate) fn join(&mut self, role: &str, framework: &FrameworkId) {
        let own = self.role_node(role);
        if !self.nodes[own].children.contains_key(framework.as_str()) {
            let name: Arc<str> = Arc::from(framework.as_str());
            let at = self.add(Node::new(own, Arc::clone(&name), Place::Framework(framework.clone()), 1.0));
            self.nodes[own].children.insert(name, at);
        }
    }

    /// Forgets a framework that has nothing in a role, and the roles that it leaves empty.
    pub(crate) fn leave(&mut self, role: &str, framework: &FrameworkId) {
        self.set_wanting(role, framework, false);
        let Some(mut at) = self.client(role, framework) else { return };
        while at != ROOT && self.nodes[at].children.is_empty() && self.nodes[at].own.is_none() {
            let parent = self.nodes[at].parent;
            let name = Arc::clone(&self.nodes[at].name);
            match self.nodes[at].place {
                Place::Framework(_) => {
                    self.nodes[parent].children.remove(&name);
                }
                Place::Role => self.nodes[parent].own = None,
                Place::Subtree => {
                    self.nodes[parent].children.remove(&name);
                    self.subtrees.remove(&name);
                }
            }
            self.unused.push(at);
            at = parent;
        }
    }

    /// Whether a framework wants something in a role; it is not asked else.
    pub(crate) fn set_wanting(&mut self, role: &str, framework: &FrameworkId, wanting: bool) {
        let Some(mut at) = self.client(role, framework) else { return };
        if (self.nodes[at].wanting > 0) == wanting {
            return;
        }
        loop {
            let before = self.nodes[at].wanting;
            self.nodes[at].wanting = if wanting { before + 1 } else { before - 1 };
            if at == ROOT {
                return;
            }
            if before == 0 {
                self.nodes[at].rank = self.first_rank(at);
                self.enter_order(at);
            } else if self.nodes[at].wanting == 0 {
                self.leave_order(at);
            }
            at = self.nodes[at].parent;
        }
    }

    /// Counts `resources` for a framework that is known in `role`.
    pub(crate) fn charge(&mut self, role: &str, framework: &FrameworkId, resources: &Resources) {
        self.each_node(role, framework, |node| {
            node.amounts.add_resources(resources);
            node.times += 1;
        });
    }

    /// Counts `resources` no more.
    pub(crate) fn refund(&mut self, role: &str, framework: &FrameworkId, resources: &Resources) {
        self.each_node(role, framework, |node| node.amounts.subtract_resources(resources));
    }

    /// Changes everything that what a framework has in a role counts for.
    fn each_node(&mut self, role: &str, framework: &FrameworkId, change: impl Fn(&mut Node)) {
        let Some(mut at) = self.client(role, framework) else { return };
        while at != ROOT {
            let times = self.nodes[at].times;
            change(&mut self.nodes[at]);
            let rank = match self.kind(at) {
                SorterKind::Drf => self.drf_rank(at),
                SorterKind::Random if self.nodes[at].times > times => {
                    self.draw(at, self.nodes[at].rank.share)
                }
                SorterKind::Random => self.nodes[at].rank,
            };
            if rank != self.nodes[at].rank {
                let is_ordered = self.nodes[at].wanting > 0;
                if is_ordered {
                    self.leave_order(at);
                }
                self.nodes[at].rank = rank;
                if is_ordered {
                    self.enter_order(at);
                }
            }
            at = self.nodes[at].parent;
        }
    }

    /// What `take` takes for the first framework, in the order of roles and frameworks, that it takes
    /// anything for. Looks only below those top-level roles that `enter` lets pass.
    pub(crate) fn first<T>(
        &mut self,
        enter: &mut impl FnMut(&str) -> bool,
        take: &mut impl FnMut(&str, &FrameworkId) -> Option<T>,
    ) -> Option<T> {
        self.first_below(ROOT, enter, take)
    }

    fn first_below<T>(
        &mut self,
        at: usize,
        enter: &mut impl FnMut(&str) -> bool,
        take: &mut impl FnMut(&str, &FrameworkId) -> Option<T>,
    ) -> Option<T> {
        self.refresh(at);
        let order = std::mem::take(&mut self.nodes[at].order);
        let mut found = None;
        for (_, name, child) in &order {
            if at == ROOT && !enter(name) {
                continue;
            }
            found = match &self.nodes[*child].place {
                Place::Framework(id) => take(&self.nodes[at].name, id),
                Place::Role | Place::Subtree => self.first_below(*child, enter, take),
            };
            if found.is_some() {
                break;
            }
        }
        self.nodes[at].order = order;
        found
    }

    /// Orders children by what is true now.
    fn refresh(&mut self, at: usize) {
        if self.nodes[at].ordered_at == self.state {
            return;
        }
        self.nodes[at].ordered_at = self.state;
        let stale = std::mem::take(&mut self.nodes[at].order);
        let mut order = BTreeSet::new();
        for (rank, name, child) in stale {
            let rank = if self.kind(child) == SorterKind::Drf { self.drf_rank(child) } else { rank };
            self.nodes[child].rank = rank;
            order.insert((rank, name, child));
        }
        self.nodes[at].order = order;
    }

    fn kind(&self, at: usize) -> SorterKind {
        if matches!(self.nodes[at].place, Place::Framework(_)) { self.frameworks } else { self.roles }
    }

    fn first_rank(&mut self, at: usize) -> Rank {
        match self.kind(at) {
            SorterKind::Drf => self.drf_rank(at),
            SorterKind::Random => self.draw(at, 0.0),
        }
    }

    fn drf_rank(&self, at: usize) -> Rank {
        let node = &self.nodes[at];
        Rank { share: self.dominant_share(&node.amounts) / node.weight, times: node.times }
    }

    /// The time of the next lot after `last`: lots of a weight come as often as the weight says, whatever
    /// was drawn before. One who wanted nothing for a while has missed its lots.
    fn draw(&mut self, at: usize, last: f64) -> Rank {
        let parent = self.nodes[at].parent;
        let clock = self.nodes[parent].clock.max(last);
        self.nodes[parent].clock = clock;
        // In (0, 1]: the logarithm is finite.
        let uniform = ((self.rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        Rank { share: clock - uniform.ln() / self.nodes[at].weight, times: 0 }
    }

    /// The greatest part of any scalar of the cluster that counts.
    fn dominant_share(&self, amounts: &Quantities) -> f64 {
        amounts.iter().fold(0.0, |share: f64, (name, amount)| match self.all.get(name) {
            total if total > Scalar::ZERO && !self.excluded.contains(name) => {
                share.max(amount.to_f64() / total.to_f64())
            }
            _ => share,
        })
    }

    fn enter_order(&mut self, at: usize) {
        let (parent, rank) = (self.nodes[at].parent, self.nodes[at].rank);
        let name = Arc::clone(&self.nodes[at].name);
        self.nodes[parent].order.insert((rank, name, at));
    }

    fn leave_order(&mut self, at: usize) {
        let (parent, rank) = (self.nodes[at].parent, self.nodes[at].rank);
        let name = Arc::clone(&self.nodes[at].name);
        self.nodes[parent].order.remove(&(rank, name, at));
    }

    /// The node of a role itself; made with all above it if it is missing.
    fn role_node(&mut self, role: &str) -> usize {
        let subtree = self.subtree_node(role);
        if let Some(own) = self.nodes[subtree].own {
            return own;
        }
        // Only the subtree has the role's weight: beside the roles below it, the role itself weighs 1.
        let name = Arc::clone(&self.nodes[subtree].name);
        let own = self.add(Node::new(subtree, name, Place::Role, 1.0));
        self.nodes[subtree].own = Some(own);
        own
    }

    fn subtree_node(&mut self, path: &str) -> usize {
        if let Some(at) = self.subtrees.get(path) {
            return *at;
        }
        let parent = role::ancestors(path).next().map_or(ROOT, |above| self.subtree_node(above));
        let weight = self.weights.get(path).copied().unwrap_or(1.0);
        let name: Arc<str> = Arc::from(path);
        let at = self.add(Node::new(parent, Arc::clone(&name), Place::Subtree, weight));
        self.nodes[parent].children.insert(Arc::clone(&name), at);
        self.subtrees.insert(name, at);
        at
    }

    fn add(&mut self, node: Node) -> usize {
        if let Some(at) = self.unused.pop() {
            self.nodes[at] = node;
            return at;
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn own(&self, role: &str) -> Option<&Node> {
        let subtree = self.subtrees.get(role)?;
        self.nodes[*subtree].own.map(|own| &self.nodes[own])
    }

    fn client(&self, role: &str, framework: &FrameworkId) -> Option<usize> {
        self.own(role)?.children.get(framework.as_str()).copied()
    }

    /// Whether a framework has nothing in a role.
    pub(crate) fn has_nothing(&self, role: &str, framework: &FrameworkId) -> bool {
        self.client(role, framework).is_none_or(|at| self.nodes[at].amounts.is_empty())
    }

    /// The dominant share of a role without what is below it.
    pub(crate) fn share_of(&self, role: &str) -> f64 {
        self.own(role).map_or(0.0, |own| self.dominant_share(&own.amounts))
    }

    /// Panics unless exactly those who want something are in order, and sums are sums.
    pub(crate) fn check(&self) {
        let unused: BTreeSet<usize> = self.unused.iter().copied().collect();
        for (at, node) in self.nodes.iter().enumerate().filter(|(at, _)| !unused.contains(at)) {
            let below: Vec<usize> = node.children.values().copied().chain(node.own).collect();
            let ordered: BTreeSet<usize> = node.order.iter().map(|(.., child)| *child).collect();
            for child in &below {
                let child_node = &self.nodes[*child];
                assert_eq!(child_node.parent, at);
                assert_eq!(ordered.contains(child), child_node.wanting > 0, "{} wants", child_node.name);
            }
            assert!(ordered.len() <= below.len(), "only children are in the order of {}", node.name);
            for (rank, _, child) in &node.order {
                assert_eq!(*rank, self.nodes[*child].rank);
            }
            if matches!(node.place, Place::Framework(_)) || at == ROOT {
                continue;
            }
            let mut sum = Quantities::new();
            below.iter().for_each(|child| sum.add(&self.nodes[*child].amounts));
            assert_eq!(sum, node.amounts, "{} has what is in it", node.name);
            let wanting: usize = below.iter().map(|child| self.nodes[*child].wanting).sum();
            assert_eq!(wanting, node.wanting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorter(kind: SorterKind) -> Sorter {
        let mut sorter = Sorter::new(kind, kind, BTreeSet::new(), Rng::seeded(7));
        sorter.add_total(&some("cpus:10;mem:1000"));
        sorter
    }

    fn some(text: &str) -> Resources {
        Resources::parse(text).unwrap()
    }

    fn join(sorter: &mut Sorter, role: &str, framework: &FrameworkId, resources: &str) {
        sorter.join(role, framework);
        sorter.set_wanting(role, framework, true);
        if !resources.is_empty() {
            sorter.charge(role, framework, &some(resources));
        }
        sorter.check();
    }

    fn order(sorter: &mut Sorter) -> Vec<String> {
        let mut order = Vec::new();
        sorter.first(&mut |_| true, &mut |role, id| {
            order.push(format!("{role} {id}"));
            None::<()>
        });
        order
    }

    #[test]
    fn mm11_the_poorest_comes_first() {
        let mut sorter = sorter(SorterKind::Drf);
        let (f, g) = (FrameworkId::new("f"), FrameworkId::new("g"));
        join(&mut sorter, "eng/web", &f, "cpus:2;mem:10");
        join(&mut sorter, "eng/db", &f, "cpus:1;mem:10");
        join(&mut sorter, "ops", &g, "cpus:1;mem:250");
        join(&mut sorter, "eng", &g, "mem:1");
        assert_eq!(order(&mut sorter), ["ops g", "eng g", "eng/db f", "eng/web f"], "eng has 0.3, ops 0.25");
        sorter.set_weight("eng", Some(2.0));
        assert_eq!(order(&mut sorter), ["eng g", "eng/db f", "eng/web f", "ops g"]);
        join(&mut sorter, "ops", &f, "cpus:0.1");
        assert_eq!(order(&mut sorter)[3..], ["ops f", "ops g"]);
        sorter.refund("ops", &g, &some("cpus:1;mem:250"));
        assert_eq!(order(&mut sorter)[..2], ["ops g", "ops f"]);
        sorter.refund("ops", &f, &some("cpus:0.1"));
        assert_eq!(order(&mut sorter)[..2], ["ops f", "ops g"], "equal shares: by times, then id");
        sorter.set_wanting("eng/db", &f, false);
        sorter.check();
        assert_eq!(order(&mut sorter), ["ops f", "ops g", "eng g", "eng/web f"]);
        sorter.leave("ops", &f);
        sorter.leave("ops", &g);
        sorter.check();
        assert_eq!(order(&mut sorter), ["eng g", "eng/web f"]);
        assert_eq!(sorter.share_of("eng"), 0.001);
        assert!(!sorter.has_nothing("eng", &g) && sorter.has_nothing("ops", &g));
    }

    #[test]
    fn mm11_excluded_resources_do_not_count() {
        let mut sorter = Sorter::new(
            SorterKind::Drf,
            SorterKind::Drf,
            BTreeSet::from(["gpus".to_owned()]),
            Rng::seeded(7),
        );
        sorter.add_total(&some("cpus:10;gpus:2"));
        let (f, g) = (FrameworkId::new("f"), FrameworkId::new("g"));
        join(&mut sorter, "a", &f, "cpus:1;gpus:2");
        join(&mut sorter, "b", &g, "cpus:2");
        assert_eq!(order(&mut sorter), ["a f", "b g"]);
    }

    #[test]
    fn mm12_random_serves_by_weight() {
        let mut sorter = sorter(SorterKind::Random);
        let id = FrameworkId::new("f");
        for role in ["a", "b", "c"] {
            join(&mut sorter, role, &id, "");
        }
        sorter.set_weight("b", Some(3.0));
        sorter.set_wanting("c", &id, false);
        let mut served = BTreeMap::<String, u32>::new();
        for _ in 0..4000 {
            let role = sorter.first(&mut |_| true, &mut |role, _| Some(role.to_owned())).unwrap();
            sorter.charge(&role, &id, &some("cpus:0.001"));
            *served.entry(role).or_default() += 1;
        }
        assert!((2850..3150).contains(&served["b"]), "b has three lots of four: {served:?}");
        assert_eq!(served.len(), 2);
        // One that was silent for long does not make up for it.
        sorter.set_wanting("c", &id, true);
        let firsts = (0..100).filter(|_| {
            let role = sorter.first(&mut |_| true, &mut |role, _| Some(role.to_owned())).unwrap();
            sorter.charge(&role, &id, &some("cpus:0.001"));
            role == "c"
        });
        assert!(firsts.count() < 50);
    }
}
