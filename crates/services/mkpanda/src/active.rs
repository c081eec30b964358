//! `/opt/mesosphere` with packages active in it: as one directory for bootstraps, and for builds as layers, of which each
//! package has one of its own that is the same whatever else is active. So what a build costs does not grow with what
//! is already there.

use std::collections::BTreeSet;
use std::path::Path;

use activation::FIRST_GENERATION;
use api_pkgpanda::PkgInfo;
use api_pkgpanda::step::{CURRENT, Place, Step};
use pkgpanda_core::{Layout, Package, Set};

use crate::repository::RepositoryError;

/// Makes the new directory `root` look as `/opt/mesosphere` does when these packages are active in it.
pub(crate) fn activate(root: &Path, packages: &[&Package]) -> Result<(), RepositoryError> {
    let plan = pkgpanda_core::plan(None, &set(packages)?);
    let (path, target) = (CURRENT.to_owned(), FIRST_GENERATION.to_owned());
    let current = Step::Link { place: Place::Root, path, target };
    Ok(activation::fill(root, plan.build.iter().chain(&plan.before).chain([&current]))?)
}

/// Puts into `root` what such a root has of a single package: its link in `active`, those to its files, and their
/// directories.
pub(crate) fn link(root: &Path, package: &Package) -> Result<(), RepositoryError> {
    // What it requires is active elsewhere.
    let info = PkgInfo { requires: Vec::new(), ..package.info.clone() };
    let alone = Package { info, contents: package.contents.clone(), ..Package::new(package.id.clone()) };
    let plan = pkgpanda_core::plan(Some(&nothing()?.active), &set(&[&alone])?);
    let is_own = |step: &&Step| !matches!(step, Step::File { .. });
    let steps = plan.build.iter().filter(is_own).chain(&plan.before);
    // In a layer of its own nothing is above them yet.
    let mut directories = BTreeSet::new();
    for step in steps.clone() {
        match step {
            Step::Directory { place: Place::Root, path: directory }
            | Step::Links { place: Place::Root, directory, .. } => {
                add_with_above(directory, &mut directories);
            }
            _ => {}
        }
    }
    let directory = |path: &&str| Step::Directory { place: Place::Root, path: (*path).to_owned() };
    let directories: Vec<Step> = directories.iter().map(directory).collect();
    Ok(activation::fill(root, directories.iter().chain(steps))?)
}

/// Puts into `root` what such a root says of its packages together, as far as it is more than what one without any says.
pub(crate) fn tell(root: &Path, packages: &[&Package]) -> Result<(), RepositoryError> {
    let plan = pkgpanda_core::plan(None, &set(packages)?);
    let known = pkgpanda_core::plan(None, &nothing()?).build;
    let is_text = |step: &&Step| matches!(step, Step::File { .. }) && !known.contains(step);
    Ok(activation::fill(root, plan.build.iter().filter(is_text))?)
}

fn set(packages: &[&Package]) -> Result<Set, RepositoryError> {
    Set::of(packages, &[], &Layout::of_bootstrap()).map_err(RepositoryError::Set)
}

/// What all roots have, whatever is active in them.
fn nothing() -> Result<Set, RepositoryError> {
    set(&[])
}

fn add_with_above<'a>(path: &'a str, all: &mut BTreeSet<&'a str>) {
    let mut path = path;
    while !path.is_empty() && all.insert(path) {
        path = path.rsplit_once('/').map_or("", |(above, _)| above);
    }
}
