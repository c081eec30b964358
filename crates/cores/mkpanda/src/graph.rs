//! Which package needs which, and the order in which they are built.

use std::collections::{BTreeMap, BTreeSet};

use api_pkgpanda::PackageName;

use crate::buildinfo::BuildInfo;
use crate::treeinfo::TreeInfo;
use crate::variant::{PackageKey, Variant};

/// All packages that there are, in all variants, with what they are built from.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    packages: BTreeMap<PackageKey, BuildInfo>,
}

/// What a tree is made of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PackageSet {
    /// All packages of the tree with all that they require.
    pub all: BTreeSet<PackageKey>,
    /// The packages of the bootstrap with all that they require: a subset of `all` with one variant of each.
    pub bootstrap: BTreeSet<PackageKey>,
}

/// Why packages cannot be built together.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum GraphError {
    /// A package that is required, listed or asked for, and that there is not.
    #[error("{by}: there is no package {name}{}", meant(.nearest.as_deref()))]
    Unknown {
        /// What asks for it: `core_package_list`, or `requires of a`.
        by: String,
        /// Its name.
        name: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// A variant that is required, listed or asked for, of a package that there is.
    #[error("{by}: the package {} has no variant {}, only {}", .key.name, .key.variant, .known.join(", "))]
    UnknownVariant {
        /// What asks for it.
        by: String,
        /// The package and the variant.
        key: PackageKey,
        /// The variants that there are.
        known: Vec<String>,
    },
    /// Packages that require each other.
    #[error("packages require each other in a circle: {}", arrows(.0))]
    Cycle(Vec<PackageKey>),
    /// One package in two variants where there can be but one.
    #[error(
        "{} is needed in two variants, and only one can be active: {} and {}", .first.last().map_or("", |key| key.name.as_str()),
        chain(.first), chain(.second)
    )]
    Conflict {
        /// From what asks for the one to the one.
        first: Vec<PackageKey>,
        /// From what asks for the other one to the other one.
        second: Vec<PackageKey>,
    },
    /// An excluded package that is required.
    #[error("{} is in exclude, and required: {}", .0.last().map_or("", |key| key.name.as_str()), arrows(.0))]
    Excluded(Vec<PackageKey>),
    /// A variant of the tree that is in no package of it.
    #[error("variants.{name}: {name} is not in the tree in the variant {variant}")]
    VariantNotInTree {
        /// The package.
        name: PackageName,
        /// The variant.
        variant: Variant,
    },
    /// A package of the bootstrap that is not one of the tree.
    #[error("bootstrap_package_list: {0} is not in the tree: core_package_list needs to bring it")]
    BootstrapNotInTree(PackageKey),
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

fn arrows(keys: &[PackageKey]) -> String {
    let names: Vec<String> = keys.iter().map(PackageKey::to_string).collect();
    names.join(" -> ")
}

/// The last of `keys` with how it is reached.
fn chain(keys: &[PackageKey]) -> String {
    match keys {
        [] => String::new(),
        [alone] => format!("{} (listed)", alone.variant),
        [.., last] => format!("{} ({})", last.variant, arrows(keys)),
    }
}

/// Packages with the one that first required each, so that it can be told why something is needed.
#[derive(Debug, Default)]
struct Reached {
    /// `None` for those that were asked for.
    by: BTreeMap<PackageKey, Option<PackageKey>>,
}

impl Reached {
    /// From what was asked for to `key`.
    fn chain(&self, key: &PackageKey) -> Vec<PackageKey> {
        let mut chain = vec![key.clone()];
        let mut at = key;
        while let Some(Some(by)) = self.by.get(at) {
            chain.push(by.clone());
            at = by;
        }
        chain.reverse();
        chain
    }

    /// Fails if a package other than `apart` is there in two variants.
    fn check_one_variant_each(&self, apart: Option<&PackageKey>) -> Result<(), GraphError> {
        let mut last: Option<&PackageKey> = None;
        for key in self.by.keys().filter(|key| Some(*key) != apart) {
            if let Some(last) = last.filter(|last| last.name == key.name) {
                return Err(GraphError::Conflict { first: self.chain(last), second: self.chain(key) });
            }
            last = Some(key);
        }
        Ok(())
    }
}

impl Graph {
    /// Packages by name and variant, each with its buildinfo. Of one that comes twice the last is taken.
    pub fn of(packages: impl IntoIterator<Item = (PackageKey, BuildInfo)>) -> Graph {
        Graph { packages: packages.into_iter().collect() }
    }

    /// What a package is built from.
    #[must_use]
    pub fn get(&self, key: &PackageKey) -> Option<&BuildInfo> {
        self.packages.get(key)
    }

    /// All packages in all variants, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &PackageKey> {
        self.packages.keys()
    }

    /// The variants of a package, the default one last; none if there is no such package.
    pub fn variants(&self, name: &PackageName) -> impl Iterator<Item = &Variant> {
        self.packages.keys().filter(move |key| key.name == *name).map(|key| &key.variant)
    }

    /// Fails if there is no such package, or not in that variant. `by` says who asks, for the error.
    ///
    /// # Errors
    /// [`GraphError::Unknown`] or [`GraphError::UnknownVariant`].
    pub fn find(&self, key: &PackageKey, by: &str) -> Result<&BuildInfo, GraphError> {
        if let Some(found) = self.packages.get(key) {
            return Ok(found);
        }
        let known: Vec<String> = self.variants(&key.name).map(Variant::to_string).collect();
        if !known.is_empty() {
            return Err(GraphError::UnknownVariant { by: by.to_owned(), key: key.clone(), known });
        }
        let names = self.packages.keys().map(|key| key.name.as_str());
        let nearest = base::nearest(key.name.as_str(), names).map(str::to_owned);
        Err(GraphError::Unknown { by: by.to_owned(), name: key.name.to_string(), nearest })
    }

    /// What a tree is made of (mkpanda: `PackageSet`).
    ///
    /// # Errors
    /// Packages or variants that there are not, circles, conflicts of variants within what one package
    /// requires and within the bootstrap, excluded packages that are required.
    pub fn package_set(&self, tree: &TreeInfo) -> Result<PackageSet, GraphError> {
        let names: BTreeSet<&PackageName> = match tree.core_package_list.is_empty() {
            false => tree.core_package_list.iter().collect(),
            true => self
                .packages
                .keys()
                .map(|key| &key.name)
                .filter(|name| !tree.exclude.contains(*name))
                .collect(),
        };
        let of_tree = |name: &PackageName| {
            let variant = tree.variants.get(name).cloned().unwrap_or_default();
            PackageKey { name: name.clone(), variant }
        };
        let all = self.reach(names.into_iter().map(of_tree), "core_package_list")?;
        check_not_excluded(&all, tree)?;
        self.build_order(all.by.keys())?;
        for key in all.by.keys() {
            self.requires(key)?;
        }
        for (name, variant) in &tree.variants {
            let key = PackageKey { name: name.clone(), variant: variant.clone() };
            self.find(&key, "variants")?;
            if !all.by.contains_key(&key) {
                return Err(GraphError::VariantNotInTree { name: name.clone(), variant: variant.clone() });
            }
        }
        let all_keys: BTreeSet<PackageKey> = all.by.keys().cloned().collect();
        if tree.bootstrap_package_list.is_empty() {
            all.check_one_variant_each(None)?;
            return Ok(PackageSet { bootstrap: all_keys.clone(), all: all_keys });
        }
        let bootstrap =
            self.reach(tree.bootstrap_package_list.iter().map(of_tree), "bootstrap_package_list")?;
        check_not_excluded(&bootstrap, tree)?;
        bootstrap.check_one_variant_each(None)?;
        if let Some(missing) = bootstrap.by.keys().find(|key| !all_keys.contains(*key)) {
            return Err(GraphError::BootstrapNotInTree(missing.clone()));
        }
        Ok(PackageSet { bootstrap: bootstrap.by.into_keys().collect(), all: all_keys })
    }

    /// The order in which packages are built with all that they require: depth first, what is required sorted,
    /// the packages sorted (mkpanda: `build_tree`). Whatever is required stands before what requires it.
    ///
    /// # Errors
    /// Circles, and what is required and is not there.
    pub fn build_order<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k PackageKey>,
    ) -> Result<Vec<PackageKey>, GraphError> {
        let keys: BTreeSet<&PackageKey> = keys.into_iter().collect();
        let mut walk = Walk { graph: self, order: Vec::new(), done: BTreeSet::new(), path: Vec::new() };
        for key in keys {
            walk.visit(key)?;
        }
        Ok(walk.order)
    }

    /// What has to be there when a package is built: all that it requires and that this requires, in the order of
    /// building, without the package itself.
    ///
    /// # Errors
    /// Circles, what is not there, and a package that is required in two variants.
    pub fn requires(&self, key: &PackageKey) -> Result<Vec<PackageKey>, GraphError> {
        let mut order = self.build_order([key])?;
        order.pop();
        let reached = self.reach([key.clone()], "build")?;
        // A package may require another variant of itself: when it is built, only that one is active.
        reached.check_one_variant_each(Some(key))?;
        Ok(order)
    }

    /// What a package itself requires, sorted.
    #[must_use]
    pub fn direct(&self, key: &PackageKey) -> Vec<PackageKey> {
        let mut direct = self.packages.get(key).map(|info| info.requires.clone()).unwrap_or_default();
        direct.sort();
        direct
    }

    /// `roots` and all that they require. `by` says who asks for the roots.
    fn reach(&self, roots: impl IntoIterator<Item = PackageKey>, by: &str) -> Result<Reached, GraphError> {
        let mut reached = Reached::default();
        let mut open = std::collections::VecDeque::new();
        for root in roots {
            self.find(&root, by)?;
            reached.by.insert(root.clone(), None);
            open.push_back(root);
        }
        while let Some(key) = open.pop_front() {
            for required in self.direct(&key) {
                self.find(&required, &format!("requires of {key}"))?;
                if !reached.by.contains_key(&required) {
                    reached.by.insert(required.clone(), Some(key.clone()));
                    open.push_back(required);
                }
            }
        }
        Ok(reached)
    }
}

fn check_not_excluded(reached: &Reached, tree: &TreeInfo) -> Result<(), GraphError> {
    match reached.by.keys().find(|key| tree.exclude.contains(&key.name)) {
        Some(key) => Err(GraphError::Excluded(reached.chain(key))),
        None => Ok(()),
    }
}

/// A walk depth first, without recursion: circles and long chains come from files.
struct Walk<'g> {
    graph: &'g Graph,
    order: Vec<PackageKey>,
    done: BTreeSet<PackageKey>,
    /// From the package that is visited down, each with what it requires and is not done, the next one last.
    path: Vec<(PackageKey, Vec<PackageKey>)>,
}

impl Walk<'_> {
    fn visit(&mut self, key: &PackageKey) -> Result<(), GraphError> {
        self.enter(key.clone(), "build")?;
        while let Some((key, open)) = self.path.last_mut() {
            match open.pop() {
                Some(next) => {
                    let by = format!("requires of {key}");
                    self.enter(next, &by)?;
                }
                None => {
                    let (key, _) = self.path.pop().expect("it has a last one");
                    self.done.insert(key.clone());
                    self.order.push(key);
                }
            }
        }
        Ok(())
    }

    fn enter(&mut self, key: PackageKey, by: &str) -> Result<(), GraphError> {
        if self.done.contains(&key) {
            return Ok(());
        }
        if let Some(start) = self.path.iter().position(|(above, _)| *above == key) {
            let mut circle: Vec<PackageKey> = self.path[start..].iter().map(|(key, _)| key.clone()).collect();
            circle.push(key);
            return Err(GraphError::Cycle(circle));
        }
        self.graph.find(&key, by)?;
        let mut open = self.graph.direct(&key);
        open.reverse();
        self.path.push((key, open));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
