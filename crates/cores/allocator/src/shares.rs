use std::cmp::Ordering;
use std::collections::BTreeMap;

use base::FrameworkId;
use resources::{Resources, Scalar, role};

/// Amounts of scalars by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Amounts(BTreeMap<Box<str>, Scalar>);

impl Amounts {
    pub(crate) fn add(&mut self, resources: &Resources) {
        for (name, amount) in resources.scalar_quantities() {
            match self.0.get_mut(name) {
                Some(sum) => *sum = sum.plus(amount),
                None => {
                    self.0.insert(name.into(), amount);
                }
            }
        }
    }

    pub(crate) fn subtract(&mut self, resources: &Resources) {
        for (name, amount) in resources.scalar_quantities() {
            if let Some(sum) = self.0.get_mut(name) {
                *sum = sum.minus(amount);
            }
        }
        self.0.retain(|_, sum| *sum != Scalar::ZERO);
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The greatest part of any scalar of `all`.
    pub(crate) fn dominant_share(&self, all: &Amounts) -> f64 {
        self.0.iter().fold(0.0, |share: f64, (name, amount)| match all.0.get(name) {
            Some(total) if *total > Scalar::ZERO => share.max(amount.to_f64() / total.to_f64()),
            _ => share,
        })
    }
}

/// What somebody has, and how often they got something. Mesos: `DRFSorter::Node::Allocation`.
#[derive(Clone, Debug, Default)]
struct Usage {
    amounts: Amounts,
    /// Decides between equal shares, so that those who have nothing take turns.
    times: u64,
}

impl Usage {
    fn rank(&self, all: &Amounts, weight: f64) -> (f64, u64) {
        (self.amounts.dominant_share(all) / weight, self.times)
    }
}

fn by_rank(a: (f64, u64), b: (f64, u64)) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

/// Who has how much of the cluster: roles as a tree, frameworks within their roles. Orders them by
/// dominant share, the poorest first. Mesos: src/master/allocator/mesos/sorter/drf/sorter.cpp.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    all: Amounts,
    /// By role, with everything below it.
    subtrees: BTreeMap<String, Usage>,
    /// By role, without what is below it.
    roles: BTreeMap<String, Usage>,
    /// By role and framework.
    frameworks: BTreeMap<String, BTreeMap<FrameworkId, Usage>>,
    weights: BTreeMap<String, f64>,
}

impl Shares {
    pub(crate) fn add_total(&mut self, total: &Resources) {
        self.all.add(total);
    }

    pub(crate) fn remove_total(&mut self, total: &Resources) {
        self.all.subtract(total);
    }

    /// `weight` must be positive.
    pub(crate) fn set_weight(&mut self, role: &str, weight: f64) {
        self.weights.insert(role.to_owned(), weight);
    }

    pub(crate) fn charge(&mut self, role: &str, framework: &FrameworkId, resources: &Resources) {
        self.each_usage(role, framework, |usage| {
            usage.amounts.add(resources);
            usage.times += 1;
        });
    }

    pub(crate) fn refund(&mut self, role: &str, framework: &FrameworkId, resources: &Resources) {
        self.each_usage(role, framework, |usage| usage.amounts.subtract(resources));
    }

    /// Changes all usages that what a framework has in a role counts for.
    fn each_usage(&mut self, role: &str, framework: &FrameworkId, change: impl Fn(&mut Usage)) {
        let frameworks = entry(&mut self.frameworks, role);
        match frameworks.get_mut(framework) {
            Some(usage) => change(usage),
            None => change(frameworks.entry(framework.clone()).or_default()),
        }
        change(entry(&mut self.roles, role));
        for path in std::iter::once(role).chain(role::ancestors(role)) {
            change(entry(&mut self.subtrees, path));
        }
    }

    /// Forgets how often a framework that has nothing in `role` was served there.
    pub(crate) fn forget_framework(&mut self, role: &str, framework: &FrameworkId) {
        if let Some(frameworks) = self.frameworks.get_mut(role) {
            frameworks.remove(framework);
        }
    }

    /// Forgets a role that has no frameworks, and its ancestors that have nothing below them.
    pub(crate) fn forget_role(&mut self, role: &str) {
        self.roles.remove(role);
        self.frameworks.remove(role);
        for path in std::iter::once(role).chain(role::ancestors(role)) {
            let is_used =
                self.roles.keys().any(|other| other == path || role::is_strict_subrole(other, path));
            if !is_used {
                self.subtrees.remove(path);
            }
        }
    }

    /// The order of two roles: that of the subtrees in which they part. A role itself and the roles below
    /// it compete as siblings.
    pub(crate) fn compare_roles(&self, a: &str, b: &str) -> Ordering {
        if a == b {
            return Ordering::Equal;
        }
        let (in_a, in_b) = parting(a, b);
        by_rank(self.role_rank(a, in_a), self.role_rank(b, in_b)).then_with(|| a.cmp(b))
    }

    fn role_rank(&self, role: &str, subtree: Option<&str>) -> (f64, u64) {
        let (path, usage) = match subtree {
            Some(path) => (path, self.subtrees.get(path)),
            None => (role, self.roles.get(role)),
        };
        let weight = self.weights.get(path).copied().unwrap_or(1.0);
        usage.map_or((0.0, 0), |usage| usage.rank(&self.all, weight))
    }

    /// The order of two frameworks within a role.
    pub(crate) fn compare_frameworks(&self, role: &str, a: &FrameworkId, b: &FrameworkId) -> Ordering {
        let rank = |id: &FrameworkId| {
            let usage = self.frameworks.get(role).and_then(|frameworks| frameworks.get(id));
            usage.map_or((0.0, 0), |usage| usage.rank(&self.all, 1.0))
        };
        by_rank(rank(a), rank(b)).then_with(|| a.cmp(b))
    }

    /// Whether a framework has nothing in a role.
    pub(crate) fn has_nothing(&self, role: &str, framework: &FrameworkId) -> bool {
        let usage = self.frameworks.get(role).and_then(|frameworks| frameworks.get(framework));
        usage.is_none_or(|usage| usage.amounts.is_empty())
    }

    /// The dominant share of a role without what is below it.
    pub(crate) fn share_of(&self, role: &str) -> f64 {
        self.roles.get(role).map_or(0.0, |usage| usage.amounts.dominant_share(&self.all))
    }
}

/// The entry of `key`, made if it is missing; allocates only then.
fn entry<'a, V: Default>(map: &'a mut BTreeMap<String, V>, key: &str) -> &'a mut V {
    if !map.contains_key(key) {
        map.insert(key.to_owned(), V::default());
    }
    map.get_mut(key).expect("it was there or was made")
}

/// The highest subtrees that hold the one role but not the other; `None` for a role above the other, which
/// then competes by itself.
fn parting<'a>(a: &'a str, b: &'a str) -> (Option<&'a str>, Option<&'a str>) {
    let shared = a.split('/').zip(b.split('/')).take_while(|(x, y)| x == y).count();
    let prefix = |role: &'a str| {
        let end = role.match_indices('/').nth(shared).map_or(role.len(), |(at, _)| at);
        (role.split('/').count() > shared).then(|| &role[..end])
    };
    (prefix(a), prefix(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_part_below_what_they_share() {
        let check = |a, b, expect| assert_eq!(parting(a, b), expect, "{a} {b}");
        check("a", "b", (Some("a"), Some("b")));
        check("a/b", "c", (Some("a"), Some("c")));
        check("a/b/c", "a/d", (Some("a/b"), Some("a/d")));
        check("a", "a/b/c", (None, Some("a/b")));
        check("ab", "a", (Some("ab"), Some("a")));
    }

    #[test]
    fn the_poorest_comes_first() {
        let some = |text: &str| Resources::parse(text).unwrap();
        let mut shares = Shares::default();
        shares.add_total(&some("cpus:10;mem:1000"));
        let (f, g) = (FrameworkId::new("f"), FrameworkId::new("g"));
        shares.charge("eng/web", &f, &some("cpus:2;mem:10"));
        shares.charge("eng/db", &f, &some("cpus:1;mem:10"));
        shares.charge("ops", &g, &some("cpus:1;mem:250"));
        shares.charge("eng", &g, &some("mem:1"));
        let mut roles = ["ops", "eng/web", "eng/db", "eng"];
        roles.sort_by(|a, b| shares.compare_roles(a, b));
        assert_eq!(roles, ["ops", "eng", "eng/db", "eng/web"], "eng has 0.3 in all, ops 0.25");
        shares.set_weight("eng", 2.0);
        roles.sort_by(|a, b| shares.compare_roles(a, b));
        assert_eq!(roles, ["eng", "eng/db", "eng/web", "ops"]);
        shares.charge("ops", &f, &some("cpus:0.1"));
        assert_eq!(shares.compare_frameworks("ops", &f, &g), Ordering::Less);
        shares.refund("ops", &g, &some("cpus:1;mem:250"));
        assert_eq!(shares.compare_frameworks("ops", &f, &g), Ordering::Greater);
        shares.refund("ops", &f, &some("cpus:0.1"));
        assert_eq!(
            shares.compare_frameworks("ops", &f, &g),
            Ordering::Less,
            "equal shares: by times, then id"
        );
    }
}
