//! Whatever two sets are: after any number of changes and recovery the tree is exactly the old or the new one, and a
//! complete change gives what building the new set from scratch gives.

use std::collections::BTreeMap;

use api_pkgpanda::step::{Change, Journal};
use api_pkgpanda::{Kind, Role, WANTS, WELL_KNOWN};
use pkgpanda_core::{Layout, Package, Set, plan};
use proptest::prelude::*;

use crate::model::{Budget, Model, Node};
use crate::package;

/// Few names, so that they meet: files that turn into directories, owners that change, twins of roles.
const PATHS: [&str; 18] = [
    "bin/x",
    "bin/y",
    "bin_master/x",
    "bin_slave/z",
    "etc/a/b",
    "etc/a/b/c",
    "etc/a/b/c/d",
    "etc/a",
    "etc/e/",
    "etc/a/b/e/",
    "lib/s",
    "lib/s/t",
    "lib/s/t/u",
    "lib_master/s/v",
    "lib/s-/w",
    "dcos.target.wants/u.service",
    "dcos.target.wants_master/u.service",
    "dcos.target.wants_slave/v.service",
];

fn packages() -> impl Strategy<Value = Vec<Package>> {
    let brought = proptest::collection::vec(any::<prop::sample::Index>(), 0..6);
    let one = (any::<bool>(), 1..3_u8, brought);
    proptest::collection::vec(one, 4).prop_map(|all| {
        let named = all.into_iter().zip(["a", "b", "c", "d"]);
        let is_there = named.filter(|((is_there, ..), _)| *is_there);
        is_there
            .map(|((_, version, brought), name)| {
                let mut paths: Vec<&str> = brought.iter().map(|index| *index.get(&PATHS)).collect();
                paths.sort_unstable();
                paths.dedup();
                package(&format!("{name}--{version}"), &[], &paths)
            })
            .collect()
    })
}

fn roles() -> Vec<Role> {
    vec!["master".parse().unwrap()]
}

fn set(packages: &[Package], roles: &[Role]) -> Option<Set> {
    Set::of(packages, roles, &Layout::of_host()).ok()
}

/// Of these packages as many as fit together.
fn fitting(packages: Vec<Package>, roles: &[Role]) -> Set {
    let mut fitting = Vec::new();
    for package in packages {
        fitting.push(package);
        if set(&fitting, roles).is_none() {
            fitting.pop();
        }
    }
    set(&fitting, roles).expect("those that do not fit were left out")
}

fn journal(plan: &pkgpanda_core::Plan, from: Option<u64>, to: u64) -> Journal {
    Journal {
        format: Journal::FORMAT,
        change: Change::Activation { from, to, before: plan.before.clone(), after: plan.after.clone() },
        unit_directory: plan.unit_directory.clone(),
        units: plan.units.clone(),
    }
}

fn from_scratch(set: &Set, number: u64) -> Model {
    let mut model = Model::default();
    let plan = plan(None, set);
    model.activate(&plan, &journal(&plan, None, number), number, &mut Budget(usize::MAX)).unwrap();
    model
}

/// The tree of these packages without any of our code between: none if two of them are in each other's way.
fn naive(packages: &[Package], roles: &[Role]) -> Option<BTreeMap<String, Node>> {
    let mut tree: BTreeMap<String, Node> = BTreeMap::new();
    let mut add = |path: String, node: Node| match tree.insert(path, node.clone()) {
        None => true,
        Some(there) => there == Node::Directory && node == Node::Directory,
    };
    let mut fits = true;
    for top in WELL_KNOWN {
        add(format!("root/{top}"), Node::Directory);
    }
    for package in packages {
        for (path, kind) in &package.contents.entries {
            let (top, rest) = path.split_once('/').unwrap();
            let (top, role) = top.split_once('_').map_or((top, None), |(top, role)| (top, Some(role)));
            if role.is_some_and(|role| !roles.iter().any(|there| there.as_str() == role)) {
                continue;
            }
            let place = if top == WANTS { "units" } else { "root" };
            let parts: Vec<&str> = [top].into_iter().chain(rest.split('/')).collect();
            let directories = if *kind == Kind::Directory { parts.len() } else { parts.len() - 1 };
            for depth in 1..=directories {
                fits &= add(format!("{place}/{}", parts[..depth].join("/")), Node::Directory);
            }
            if *kind == Kind::File {
                let target = Node::Link(format!("/opt/mesosphere/active/{}/{path}", package.id.name()));
                fits &= add(format!("{place}/{}", parts.join("/")), target.clone());
                if top == WANTS {
                    fits &= add(format!("units/{rest}"), target);
                }
            }
        }
    }
    for name in ["active", "active.buildinfo.full.json", "environment", "environment.export"] {
        add(format!("root/{name}"), Node::Link(format!("current/{name}")));
    }
    let name = "dcos-service-configuration.json";
    add(format!("root/etc/{name}"), Node::Link(format!("../current/{name}")));
    fits.then_some(tree)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_set_is_what_its_packages_bring_or_a_clash(packages in packages()) {
        let naive = naive(&packages, &roles());
        match set(&packages, &roles()) {
            Some(set) => prop_assert_eq!(Some(from_scratch(&set, 1).tree), naive),
            None => prop_assert_eq!(naive, None),
        }
    }

    #[test]
    fn any_prefix_of_a_change_is_recovered_to_old_or_new(old in packages(), new in packages(), swap_roles: bool) {
        let new_roles = if swap_roles { vec!["slave".parse().unwrap()] } else { roles() };
        let (old, new) = (fitting(old, &roles()), fitting(new, &new_roles));
        let (before, after) = (from_scratch(&old, 1), from_scratch(&new, 1));
        let plan = plan(Some(&old.active), &new);
        if plan.unchanged {
            prop_assert_eq!(&old.active, &new.active);
            return Ok(());
        }
        let journal = journal(&plan, Some(1), 2);
        let mut total = 0;
        for allowed in 0.. {
            let mut model = before.clone();
            let ended = model.activate(&plan, &journal, 2, &mut Budget(allowed)).is_ok();
            // Recovery is killed after each of its changes, too, and recovered again.
            for interrupted in (0..).step_by(1 + allowed % 3) {
                let mut again = model.clone();
                let recovered = again.recover(&journal, 2, &mut Budget(interrupted)).is_ok();
                again.recover(&journal, 2, &mut Budget(usize::MAX)).unwrap();
                let wanted = if again.current == Some(2) { after.seen() } else { before.seen() };
                prop_assert_eq!(again.seen(), wanted);
                let twice = again.clone();
                again.recover(&journal, 2, &mut Budget(usize::MAX)).unwrap();
                prop_assert_eq!(again, twice);
                if recovered {
                    break;
                }
            }
            if ended {
                prop_assert_eq!(model.seen(), after.seen());
                total = allowed;
                break;
            }
        }
        prop_assert!(total > 7, "{}", total);
    }
}
