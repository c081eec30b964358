use std::borrow::Borrow;
use std::collections::BTreeMap;

use api_pkgpanda::{is_group, is_username, looks_like_id};
use serde_json::Value;

use crate::{Package, Problem};

/// Variables that the environment files set for all packages.
const RESERVED_VARIABLES: [&str; 2] = ["LD_LIBRARY_PATH", "PATH"];

/// Whether these packages may be active together: every problem at once, in a fixed order. What their files are about
/// is looked at by [`crate::Set::of`]. pkgpanda: `validate_compatible`.
pub fn validate(packages: &[impl Borrow<Package>]) -> Vec<Problem> {
    let mut sorted: Vec<&Package> = packages.iter().map(Borrow::borrow).collect();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    let mut problems = Vec::new();
    names(&sorted, &mut problems);
    users(&sorted, &mut problems);
    requires(&sorted, &mut problems);
    variables(&sorted, &mut problems);
    sysctl(&sorted, &mut problems);
    problems
}

fn names(packages: &[&Package], problems: &mut Vec<Problem>) {
    let mut by_name: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in packages {
        by_name.entry(package.id.name()).or_default().push(package);
    }
    for (name, all) in by_name.into_iter().filter(|(_, all)| all.len() > 1) {
        problems.push(Problem::RepeatedName {
            name: name.to_owned(),
            ids: all.iter().map(|package| package.id.clone()).collect(),
        });
    }
}

fn users(packages: &[&Package], problems: &mut Vec<Problem>) {
    let mut groups: BTreeMap<&str, (&Package, &str)> = BTreeMap::new();
    for package in packages {
        let id = || package.id.clone();
        let (username, group) = (package.info.username.as_deref(), package.info.group.as_deref());
        if let Some(username) = username.filter(|username| !is_username(username)) {
            problems.push(Problem::Username { id: id(), username: username.to_owned() });
        }
        // As with the original, an empty group is none.
        let Some(group) = group.filter(|group| !group.is_empty()) else { continue };
        if !is_group(group) {
            problems.push(Problem::Group { id: id(), group: group.to_owned() });
        }
        let Some(username) = username else {
            problems.push(Problem::GroupWithoutUser { id: id(), group: group.to_owned() });
            continue;
        };
        let (first, first_group) = *groups.entry(username).or_insert((package, group));
        if first_group != group {
            problems.push(Problem::GroupsOfUser {
                user: username.to_owned(),
                first: first.id.clone(),
                first_group: first_group.to_owned(),
                second: id(),
                second_group: group.to_owned(),
            });
        }
    }
}

fn requires(packages: &[&Package], problems: &mut Vec<Problem>) {
    for package in packages {
        for requirement in &package.info.requires {
            if looks_like_id(&requirement.name) {
                problems.push(Problem::RequiresId {
                    id: package.id.clone(),
                    requirement: requirement.name.clone(),
                });
                continue;
            }
            let there: Vec<&Package> =
                packages.iter().copied().filter(|there| there.id.name() == requirement.name).collect();
            if !there.iter().any(|there| there.variant() == requirement.variant.as_deref()) {
                problems.push(Problem::Requires {
                    id: package.id.clone(),
                    name: requirement.name.clone(),
                    variant: requirement.variant.clone(),
                    found: there.first().map(|there| there.variant().map(str::to_owned)),
                });
            }
        }
    }
}

fn variables(packages: &[&Package], problems: &mut Vec<Problem>) {
    let mut setters: BTreeMap<&str, &Package> = BTreeMap::new();
    for package in packages {
        for variable in package.info.environment.keys() {
            if RESERVED_VARIABLES.contains(&variable.as_str()) {
                problems
                    .push(Problem::ReservedVariable { id: package.id.clone(), variable: variable.clone() });
            } else if let Some(first) = setters.insert(variable, package) {
                problems.push(Problem::RepeatedVariable {
                    variable: variable.clone(),
                    first: first.id.clone(),
                    second: package.id.clone(),
                });
            }
        }
    }
}

fn sysctl(packages: &[&Package], problems: &mut Vec<Problem>) {
    let mut settings: BTreeMap<&str, (&Package, &Value)> = BTreeMap::new();
    for package in packages {
        if !package.info.sysctl.is_empty() && package.contents.services.is_empty() {
            problems.push(Problem::SysctlWithoutService { id: package.id.clone() });
        }
        for (key, value) in package.info.sysctl.values().flatten() {
            let (first, first_value) = *settings.entry(key).or_insert((package, value));
            if first_value != value {
                problems.push(Problem::Sysctl {
                    key: key.clone(),
                    first: first.id.clone(),
                    first_value: first_value.to_string(),
                    second: package.id.clone(),
                    second_value: value.to_string(),
                });
            }
        }
    }
}
