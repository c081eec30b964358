//! A root in memory, as simple as can be: every path with what is there.

use std::collections::BTreeMap;

use api_pkgpanda::step::{Journal, Place, Plan, STAGED, STAGED_UNITS, Step};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    Link(String),
    File(String),
}

/// Everything outside of generations, and the generation that is active.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    /// `root/...` and `units/...`.
    pub(crate) tree: BTreeMap<String, Node>,
    /// By number.
    pub(crate) generations: BTreeMap<u64, BTreeMap<String, Node>>,
    pub(crate) current: Option<u64>,
}

/// No more changes are allowed: the crash.
#[derive(Debug)]
pub(crate) struct Crash;

/// How many changes are left.
pub(crate) struct Budget(pub(crate) usize);

impl Budget {
    fn spend(&mut self) -> Result<(), Crash> {
        self.0 = self.0.checked_sub(1).ok_or(Crash)?;
        Ok(())
    }
}

impl Model {
    fn path(&self, place: Place, path: &str) -> String {
        match (place, path) {
            (Place::Root, path) => format!("root/{path}"),
            (Place::Units, path) => format!("units/{path}"),
            (Place::Generation, path) => path.to_owned(),
        }
    }

    fn staged(place: Place, path: &str) -> (Place, String) {
        match place {
            Place::Units => (Place::Units, format!("{STAGED_UNITS}/{path}")),
            _ => (Place::Generation, format!("{STAGED}/{path}")),
        }
    }

    fn below(&mut self, place: Place, to: u64) -> &mut BTreeMap<String, Node> {
        match place {
            Place::Generation => self.generations.entry(to).or_default(),
            Place::Root | Place::Units => &mut self.tree,
        }
    }

    fn set(
        &mut self,
        place: Place,
        to: u64,
        path: &str,
        node: Node,
        budget: &mut Budget,
    ) -> Result<(), Crash> {
        let path = self.path(place, path);
        if let Some((above, _)) =
            path.rsplit_once('/').filter(|(above, _)| !["root", "units"].contains(above))
        {
            let there = self.below(place, to).get(above);
            assert_eq!(there, Some(&Node::Directory), "{above} of {path}");
        }
        let there = self.below(place, to).get(&path).cloned();
        assert!(there.is_none() || there.as_ref() == Some(&node), "{path}: {there:?} for {node:?}");
        if there.is_none() {
            budget.spend()?;
            self.below(place, to).insert(path, node);
        }
        Ok(())
    }

    /// Puts what is staged, a tree or a link, in the place of what is there.
    fn put(&mut self, place: Place, to: u64, path: &str, budget: &mut Budget) -> Result<(), Crash> {
        let (staged_place, staged) = Self::staged(place, path);
        let staged = self.path(staged_place, &staged);
        let path = self.path(place, path);
        let moved = take(self.below(staged_place, to), &staged);
        assert!(!moved.is_empty(), "nothing is staged for {path}");
        if let Err(crash) = budget.spend() {
            // It is one change: none or all of it.
            self.below(staged_place, to).extend(moved);
            return Err(crash);
        }
        take(&mut self.tree, &path);
        for (from, node) in moved {
            self.tree.insert(format!("{path}{}", &from[staged.len()..]), node);
        }
        Ok(())
    }

    pub(crate) fn apply(&mut self, step: &Step, to: u64, budget: &mut Budget) -> Result<(), Crash> {
        let join = |directory: &str, name: &str| {
            if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
        };
        match step {
            Step::Directory { path, .. } if path.is_empty() => {}
            Step::Directory { place, path } => self.set(*place, to, path, Node::Directory, budget)?,
            Step::File { place, path, text } => {
                self.set(*place, to, path, Node::File(text.clone()), budget)?;
            }
            Step::Link { place, path, target } => {
                self.set(*place, to, path, Node::Link(target.clone()), budget)?;
            }
            Step::Links { place, directory, prefix, names } => {
                for name in names {
                    let target = Node::Link(format!("{prefix}{name}"));
                    self.set(*place, to, &join(directory, name), target, budget)?;
                }
            }
            Step::PutLinks { place, directory, prefix, names } => {
                for name in names {
                    let path = join(directory, name);
                    let target = Node::Link(format!("{prefix}{name}"));
                    let full = self.path(*place, &path);
                    if self.tree.get(&full) != Some(&target) {
                        self.put(*place, to, &path, budget)?;
                    }
                }
            }
            Step::PutDirectory { place, path } => {
                let full = self.path(*place, path);
                if self.tree.get(&full) != Some(&Node::Directory) {
                    self.put(*place, to, path, budget)?;
                }
            }
            Step::RemoveLinks { place, directory, prefix, names } => {
                for name in names {
                    let path = self.path(*place, &join(directory, name));
                    if self.tree.get(&path) == Some(&Node::Link(format!("{prefix}{name}"))) {
                        budget.spend()?;
                        self.tree.remove(&path);
                    }
                }
            }
            Step::RemoveDirectory { place, path } => {
                let path = self.path(*place, path);
                let below = format!("{path}/");
                let is_empty = !self.tree.keys().any(|there| there.starts_with(&below));
                if is_empty && self.tree.get(&path) == Some(&Node::Directory) {
                    budget.spend()?;
                    self.tree.remove(&path);
                }
            }
            Step::RemoveOurs { .. } | Step::RemoveTree { .. } => panic!("no plan of a change has {step:?}"),
        }
        Ok(())
    }

    /// Carries a plan out as far as the budget goes.
    pub(crate) fn activate(
        &mut self,
        plan: &Plan,
        journal: &Journal,
        to: u64,
        budget: &mut Budget,
    ) -> Result<(), Crash> {
        plan.build.iter().chain(&plan.before).try_for_each(|step| self.apply(step, to, budget))?;
        budget.spend()?;
        self.current = Some(to);
        self.recover(journal, to, budget)
    }

    /// Goes on or back, as the journal says.
    pub(crate) fn recover(&mut self, journal: &Journal, to: u64, budget: &mut Budget) -> Result<(), Crash> {
        for step in journal.recovery(self.current) {
            self.apply(&step, to, budget)?;
        }
        let staged = format!("units/{STAGED_UNITS}");
        budget.spend()?;
        take(&mut self.tree, &staged);
        budget.spend()?;
        let current = self.current;
        self.generations.retain(|number, _| Some(*number) == current);
        if let Some(generation) = current.and_then(|current| self.generations.get_mut(&current)) {
            take(generation, STAGED);
        }
        Ok(())
    }

    /// What is seen: numbers do not count.
    pub(crate) fn seen(&self) -> (BTreeMap<String, Node>, BTreeMap<String, Node>) {
        assert!(self.generations.keys().copied().eq(self.current), "{:?}", self.generations.keys());
        let generation = self.current.map(|current| self.generations[&current].clone());
        (self.tree.clone(), generation.unwrap_or_default())
    }
}

/// Takes a path and all below it out.
fn take(tree: &mut BTreeMap<String, Node>, path: &str) -> BTreeMap<String, Node> {
    let is_below =
        |there: &str| there.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let taken: Vec<String> = tree.keys().filter(|there| is_below(there)).cloned().collect();
    taken.into_iter().map(|path| tree.remove_entry(&path).expect("it is one of its keys")).collect()
}
