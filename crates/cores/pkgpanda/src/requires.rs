use std::collections::{BTreeMap, BTreeSet};

use api_pkgpanda::step::ActivePackage;

/// Names of packages that differ between two sets: added, removed, of another id or of other contents.
pub(crate) fn changed<'a>(
    old: &'a BTreeMap<String, ActivePackage>,
    new: &'a BTreeMap<String, ActivePackage>,
) -> BTreeSet<&'a str> {
    let is_same = |a: &ActivePackage, b: Option<&ActivePackage>| {
        b.is_some_and(|b| a.id == b.id && a.contents == b.contents)
    };
    let gone = old.iter().filter(|(name, package)| !is_same(package, new.get(*name)));
    let come = new.iter().filter(|(name, package)| !is_same(package, old.get(*name)));
    gone.chain(come).map(|(name, _)| name.as_str()).collect()
}

/// Whether `name` or anything that it requires, however far, is among `changed`. Circles of requirements are walked once.
pub(crate) fn reaches(
    packages: &BTreeMap<String, ActivePackage>,
    name: &str,
    changed: &BTreeSet<&str>,
) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![name];
    while let Some(name) = next.pop() {
        if changed.contains(name) {
            return true;
        }
        if let Some((name, package)) = packages.get_key_value(name)
            && seen.insert(name)
        {
            next.extend(package.requires.iter().map(String::as_str));
        }
    }
    false
}

/// Whether some package of `packages` that is among `changed` concerns all units: it brings files into the directories
/// that all share, and nobody says that it requires them. Such are packages of configuration.
pub(crate) fn concerns_all(packages: &BTreeMap<String, ActivePackage>, changed: &BTreeSet<&str>) -> bool {
    let required: BTreeSet<&str> =
        packages.values().flat_map(|package| &package.requires).map(String::as_str).collect();
    packages.iter().any(|(name, package)| {
        package.shared && changed.contains(name.as_str()) && !required.contains(name.as_str())
    })
}
