use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use api_pkgpanda::step::{
    ActiveSet, Links, Place, Plan, Removal, SET, STAGED, STAGED_UNITS, Step, UnitActions,
};
use api_pkgpanda::{SERVICE_CONFIGURATION, WANTS, WELL_KNOWN};

use crate::requires::{changed, concerns_all, reaches};
use crate::set::FIXED;
use crate::{HostLayout, Layout, Set};

/// How to get from the active set, if there is one, to `new`. Whatever only `new` has is added before the flip;
/// what it has differently waits in a staging directory for the flip, so that nothing after it needs space; what
/// it has no more goes at last.
pub fn plan(old: Option<&ActiveSet>, new: &Set) -> Plan {
    let mut plan = Plan {
        build: Vec::new(),
        before: Vec::new(),
        after: Vec::new(),
        units: UnitActions::default(),
        unit_directory: new.active.unit_directory.clone(),
        ours: ActiveSet::ours(&new.active.root, &new.repository),
        accounts: new.accounts.clone(),
        state_directories: new.state_directories.clone(),
        unchanged: old == Some(&new.active),
        takeover: false,
    };
    if plan.unchanged {
        return plan;
    }
    let none = ActiveSet::default();
    let old = old.unwrap_or(&none);
    generation(new, &mut plan.build);
    let (root, units) = (Place::Root, Place::Units);
    Change { place: root, old: Tree::of_root(old), new: Tree::of_root(&new.active), plan: &mut plan }.steps();
    Change { place: units, old: Tree::of_units(old), new: Tree::of_units(&new.active), plan: &mut plan }
        .steps();
    plan.units = unit_actions(old, &new.active);
    plan
}

/// How a root that the original laid out, with the packages of `set` active, becomes one of ours with the same packages
/// active. What is seen through the root is the same before and after, and at any moment between.
pub fn plan_takeover(set: &Set) -> Plan {
    let mut plan = plan(None, set);
    plan.takeover = true;
    plan.units = UnitActions { reload: true, ..UnitActions::default() };
    for name in WELL_KNOWN.into_iter().chain(FIXED) {
        for ending in ["new", "old"] {
            plan.after.push(Step::RemoveTree { place: Place::Root, path: format!("{name}.{ending}") });
        }
    }
    for ending in ["new", "old"] {
        plan.after.push(Step::RemoveTree { place: Place::Units, path: format!("{WANTS}.{ending}") });
    }
    plan
}

/// How all that activation made outside of the root goes away; `old` is the active set, where it can still be read.
/// `unit_files` are files in the directory of units that go with it (`dcos.target`).
pub fn uninstall(old: Option<&ActiveSet>, layout: &Layout, unit_files: &[&str]) -> Removal {
    let recorded = old.and_then(|old| old.unit_directory.clone());
    let unit_directory = recorded.or_else(|| Some(layout.host.as_ref()?.unit_directory.clone()));
    let mut directories: BTreeSet<&str> = ["", WANTS].into();
    directories.extend(old.iter().flat_map(|old| old.unit_links.keys()).map(String::as_str));
    let prefixes = ActiveSet::ours(&layout.root, &layout.repository);
    let mut steps = Vec::new();
    if unit_directory.is_some() {
        for directory in directories.iter().rev() {
            let (place, directory) = (Place::Units, (*directory).to_owned());
            steps.push(Step::RemoveOurs { place, directory: directory.clone(), prefixes: prefixes.clone() });
            if !directory.is_empty() {
                steps.push(Step::RemoveDirectory { place, path: directory });
            }
        }
        for path in unit_files.iter().copied().chain([STAGED_UNITS]) {
            steps.push(Step::RemoveTree { place: Place::Units, path: path.to_owned() });
        }
    }
    let stop = old.map(|old| old.units.keys().cloned().collect()).unwrap_or_default();
    Removal { stop, unit_directory, steps }
}

/// The files of the new generation.
fn generation(new: &Set, build: &mut Vec<Step>) {
    let place = Place::Generation;
    build.push(Step::Directory { place, path: String::new() });
    build.push(Step::Directory { place, path: "active".to_owned() });
    for (name, package) in &new.active.packages {
        build.push(Step::Link {
            place,
            path: format!("active/{name}"),
            target: format!("{}/{}", new.repository, package.id),
        });
    }
    let set = serde_json::to_string(&new.active).expect("texts and maps of texts are JSON");
    for (name, text) in [
        ("environment", &new.environment),
        ("environment.export", &new.environment_export),
        ("active.buildinfo.full.json", &new.buildinfo),
        (SERVICE_CONFIGURATION, &new.service_configuration),
        (SET, &set),
    ] {
        build.push(Step::File { place, path: name.to_owned(), text: text.clone() });
    }
}

/// One side of a change.
struct Tree<'a> {
    /// All directories but the top.
    directories: BTreeSet<&'a str>,
    links: &'a Links,
}

impl<'a> Tree<'a> {
    fn of_root(set: &'a ActiveSet) -> Self {
        Self::of(&set.links, &set.directories)
    }

    fn of_units(set: &'a ActiveSet) -> Self {
        Self::of(&set.unit_links, &[])
    }

    fn of(links: &'a Links, without_links: &'a [String]) -> Self {
        let mut directories = BTreeSet::new();
        for path in links.keys().chain(without_links) {
            let mut path = path.as_str();
            while !path.is_empty() && directories.insert(path) {
                path = path.rsplit_once('/').map_or("", |(above, _)| above);
            }
        }
        Self { directories, links }
    }

    /// What the target of the link `name` in `directory` begins with, if it is one.
    fn prefix(&self, directory: &str, name: &str) -> Option<&'a str> {
        let groups = self.links.get(directory)?;
        let holds = |names: &Vec<String>| names.binary_search_by(|found| found.as_str().cmp(name)).is_ok();
        groups.iter().find(|(_, names)| holds(names)).map(|(prefix, _)| prefix.as_str())
    }

    fn is_link(&self, path: &str) -> bool {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.prefix(directory, name).is_some()
    }

    /// Everything in a directory by name: what a link's target begins with, nothing for a directory.
    fn inside(&self, directory: &str) -> BTreeMap<&'a str, Option<&'a str>> {
        let mut inside = BTreeMap::new();
        for (prefix, names) in self.links.get(directory).into_iter().flatten() {
            inside.extend(names.iter().map(|name| (name.as_str(), Some(prefix.as_str()))));
        }
        // In the order of texts, all that is below comes after `directory/` and before `directory0`.
        let top = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let below = self.directories.range::<str, _>((Bound::Included(top.as_str()), Bound::Unbounded));
        for path in below.map_while(|path| path.strip_prefix(top.as_str())).filter(|name| !name.contains('/'))
        {
            inside.insert(path, None);
        }
        inside
    }

    /// Of the directories that only this side has, those that are links on the other side, or lie below one.
    fn within_links_of(&self, other: &Tree<'a>) -> BTreeSet<&'a str> {
        let mut within = BTreeSet::new();
        // Those above others come first.
        for path in self.directories.difference(&other.directories) {
            let above = path.rsplit_once('/').map_or("", |(above, _)| above);
            if within.contains(above) || other.is_link(path) {
                within.insert(*path);
            }
        }
        within
    }
}

/// What changes below one place.
struct Change<'a> {
    place: Place,
    old: Tree<'a>,
    new: Tree<'a>,
    plan: &'a mut Plan,
}

impl Change<'_> {
    fn steps(mut self) {
        let from_link = self.new.within_links_of(&self.old);
        let to_link = self.old.within_links_of(&self.new);
        let mut staged = BTreeSet::new();
        let mut puts = Vec::new();
        for path in self.new.directories.difference(&self.old.directories).copied() {
            if !from_link.contains(path) {
                self.plan.before.push(Step::Directory { place: self.place, path: path.to_owned() });
                continue;
            }
            stage_directory(self.place, path, &mut staged, self.plan);
            if self.old.is_link(path) {
                puts.push(Step::PutDirectory { place: self.place, path: path.to_owned() });
            }
        }
        self.new_links(&from_link, &mut staged, &mut puts);
        self.plan.after.append(&mut puts);
        self.stale_links(&to_link);
        // Those below others go first.
        let stale = self.old.directories.iter().rev().filter(|path| !self.new.directories.contains(*path));
        for path in stale.filter(|path| !to_link.contains(*path)) {
            self.plan.after.push(Step::RemoveDirectory { place: self.place, path: (*path).to_owned() });
        }
    }

    fn new_links(&mut self, from_link: &BTreeSet<&str>, staged: &mut BTreeSet<String>, puts: &mut Vec<Step>) {
        let place = self.place;
        for (directory, groups) in differing(self.new.links, self.old.links) {
            let is_staged = from_link.contains(directory.as_str());
            let old = if is_staged { BTreeMap::new() } else { self.old.inside(directory) };
            for (prefix, names) in groups {
                if is_staged {
                    let (place, directory) = stage(place, directory);
                    let (prefix, names) = (prefix.clone(), names.clone());
                    self.plan.build.push(Step::Links { place, directory, prefix, names });
                    continue;
                }
                let (mut added, mut put) = (Vec::new(), Vec::new());
                for name in names {
                    match old.get(name.as_str()) {
                        Some(Some(old)) if old == prefix => {}
                        None => added.push(name.clone()),
                        Some(_) => put.push(name.clone()),
                    }
                }
                let (directory, prefix) = (directory.clone(), prefix.clone());
                if !put.is_empty() {
                    stage_directory(place, &directory, staged, self.plan);
                    let (staging, below) = stage(place, &directory);
                    let (directory, prefix) = (directory.clone(), prefix.clone());
                    self.plan.build.push(Step::Links {
                        place: staging,
                        directory: below,
                        prefix: prefix.clone(),
                        names: put.clone(),
                    });
                    puts.push(Step::PutLinks { place, directory, prefix, names: put });
                }
                if !added.is_empty() {
                    self.plan.before.push(Step::Links { place, directory, prefix, names: added });
                }
            }
        }
    }

    fn stale_links(&mut self, to_link: &BTreeSet<&str>) {
        for (directory, groups) in differing(self.old.links, self.new.links) {
            if to_link.contains(directory.as_str()) {
                continue;
            }
            let new = self.new.inside(directory);
            for (prefix, names) in groups {
                let names: Vec<String> =
                    names.iter().filter(|name| !new.contains_key(name.as_str())).cloned().collect();
                if !names.is_empty() {
                    let (directory, prefix) = (directory.clone(), prefix.clone());
                    self.plan.after.push(Step::RemoveLinks { place: self.place, directory, prefix, names });
                }
            }
        }
    }
}

/// The directories of `links` that `other` has not exactly so.
fn differing<'a>(
    links: &'a Links,
    other: &Links,
) -> impl Iterator<Item = (&'a String, &'a BTreeMap<String, Vec<String>>)> {
    links.iter().filter(move |(directory, groups)| other.get(*directory) != Some(*groups))
}

/// Where a replacement for `path` waits.
fn stage(place: Place, path: &str) -> (Place, String) {
    let (place, top) = match place {
        Place::Units => (Place::Units, STAGED_UNITS),
        Place::Root | Place::Generation => (Place::Generation, STAGED),
    };
    (place, if path.is_empty() { top.to_owned() } else { format!("{top}/{path}") })
}

/// Has the directory made in which replacements for what is in `path` wait, and those above it.
fn stage_directory(place: Place, path: &str, staged: &mut BTreeSet<String>, plan: &mut Plan) {
    if staged.contains(path) {
        return;
    }
    if !path.is_empty() {
        stage_directory(place, path.rsplit_once('/').map_or("", |(above, _)| above), staged, plan);
    }
    staged.insert(path.to_owned());
    let (place, path) = stage(place, path);
    plan.build.push(Step::Directory { place, path });
}

/// A unit is affected if its link, its package or anything that its package requires changed, or if packages changed
/// that concern all.
fn unit_actions(old: &ActiveSet, new: &ActiveSet) -> UnitActions {
    let changed = changed(&old.packages, &new.packages);
    let all = concerns_all(&old.packages, &changed) || concerns_all(&new.packages, &changed);
    let link = |set: &ActiveSet, unit: &str| -> Option<String> {
        let groups = set.unit_links.get("")?;
        groups
            .iter()
            .find(|(_, names)| names.iter().any(|name| name == unit))
            .map(|(prefix, _)| prefix.clone())
    };
    let is_affected = |unit: &str| {
        let Some((was, is)) = old.units.get(unit).zip(new.units.get(unit)) else { return true };
        all || was != is
            || link(old, unit) != link(new, unit)
            || reaches(&old.packages, was, &changed)
            || reaches(&new.packages, is, &changed)
    };
    let affected = |set: &ActiveSet| -> Vec<String> {
        set.units.keys().filter(|unit| is_affected(unit)).cloned().collect()
    };
    let (stop, start) = (affected(old), affected(new));
    let reload = !stop.is_empty() || !start.is_empty() || old.unit_links != new.unit_links;
    UnitActions { stop, start, reload }
}

/// A layout whose host differs from the one that a set was activated for: links of its units would be left behind.
///
/// # Errors
/// Both directories of units, the recorded one first.
pub fn same_unit_directory(old: &ActiveSet, layout: &Layout) -> Result<(), (String, String)> {
    match (&old.unit_directory, &layout.host) {
        (Some(recorded), Some(HostLayout { unit_directory, .. })) if recorded != unit_directory => {
            Err((recorded.clone(), unit_directory.clone()))
        }
        (Some(recorded), None) => Err((recorded.clone(), "nowhere".to_owned())),
        _ => Ok(()),
    }
}
