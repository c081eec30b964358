//! Which units a change stops and starts.

use pkgpanda_core::{Layout, Package, Set, plan, same_unit_directory, uninstall};

use crate::package;

fn set(packages: &[Package]) -> Set {
    Set::of(packages, &[], &Layout::of_host()).unwrap()
}

/// java <- mesos <- marathon, and router alone, all required by the image; a package of configuration that nobody
/// requires.
fn host(versions: [u32; 6]) -> Vec<Package> {
    let [java, mesos, marathon, router, image, config] = versions;
    let unit = |name: &str| format!("dcos.target.wants/dcos-{name}.service");
    vec![
        package(&format!("java--{java}"), &[], &["bin/java"]),
        package(&format!("mesos--{mesos}"), &["java"], &["bin/mesos", &unit("mesos")]),
        package(&format!("marathon--{marathon}"), &["mesos"], &["bin/marathon", &unit("marathon")]),
        package(&format!("router--{router}"), &[], &["bin/router", &unit("router")]),
        package(&format!("image--{image}"), &["java", "marathon", "mesos", "router"], &[]),
        package(&format!("config--setup_{config}"), &[], &["etc/config"]),
    ]
}

#[track_caller]
fn check(old: &[Package], new: &[Package], stop: &[&str], start: &[&str]) {
    let units = plan(Some(&set(old).active), &set(new)).units;
    let named =
        |names: &[&str]| -> Vec<String> { names.iter().map(|name| format!("dcos-{name}.service")).collect() };
    assert_eq!((units.stop, units.start), (named(stop), named(start)));
    assert_eq!(units.reload, !(stop.is_empty() && start.is_empty()));
}

const ALL: [&str; 3] = ["marathon", "mesos", "router"];

#[test]
fn only_what_is_affected_restarts() {
    let old = host([1; 6]);
    let restarts = |new: &[Package], units: &[&str]| check(&old, new, units, units);
    restarts(&host([2, 1, 1, 1, 1, 1]), &["marathon", "mesos"]);
    restarts(&host([1, 2, 1, 1, 1, 1]), &["marathon", "mesos"]);
    restarts(&host([1, 1, 2, 1, 1, 1]), &["marathon"]);
    restarts(&host([1, 1, 1, 2, 1, 1]), &["router"]);
    restarts(&host([1, 1, 1, 1, 2, 1]), &[]);
    restarts(&host([1, 1, 1, 1, 1, 2]), &ALL);
    let mut configured = host([1; 6]);
    configured[5].fingerprint = Some("of a setup package".to_owned());
    restarts(&configured, &ALL);
}

#[test]
fn units_that_come_go_or_move() {
    let (old, mut new) = (host([1; 6]), host([1; 6]));
    new.push(package("dns--1", &[], &["dcos.target.wants/dcos-dns.service"]));
    check(&old, &new, &[], &["dns"]);
    check(&new, &old, &["dns"], &[]);
    let without: Vec<Package> = old[..5].to_vec();
    check(&old, &without, &ALL, &ALL);
    let mut moved = new.clone();
    moved[6] = package("names--1", &[], &["dcos.target.wants/dcos-dns.service"]);
    check(&new, &moved, &["dns"], &["dns"]);
    let first = plan(None, &set(&old)).units;
    assert_eq!((first.stop.len(), first.start.len(), first.reload), (0, 3, true));
}

#[test]
fn circles_of_requirements_end() {
    let circle = |version: u32| {
        let unit = ["dcos.target.wants/dcos-a.service"];
        vec![package(&format!("a--{version}"), &["b"], &unit), package("b--1", &["a"], &["bin/b"])]
    };
    check(&circle(1), &circle(2), &["a"], &["a"]);
}

#[test]
fn the_same_set_is_no_change_and_another_directory_of_units_is_none_either() {
    let set = set(&host([1; 6]));
    let plan = plan(Some(&set.active), &set);
    assert!(plan.unchanged && plan.build.is_empty() && plan.after.is_empty());
    let mut layout = Layout::of_host();
    assert_eq!(same_unit_directory(&set.active, &layout), Ok(()));
    layout.host.as_mut().unwrap().unit_directory = "/opt/mesosphere".to_owned();
    let expected = ("/etc/systemd/system".to_owned(), "/opt/mesosphere".to_owned());
    assert_eq!(same_unit_directory(&set.active, &layout), Err(expected));
    assert!(same_unit_directory(&set.active, &Layout::of_bootstrap()).is_err());
    let built = Set::of(&host([1; 6]), &[], &Layout::of_bootstrap()).unwrap();
    assert_eq!(same_unit_directory(&built.active, &Layout::of_host()), Ok(()));
    assert!(built.active.unit_links.is_empty() && built.accounts.is_empty());
    let removal = uninstall(Some(&set.active), &Layout::of_host(), &["dcos.target"]);
    assert_eq!(removal.stop.len(), 3);
    assert_eq!(removal.unit_directory.as_deref(), Some("/etc/systemd/system"));
}
