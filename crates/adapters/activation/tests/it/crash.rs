//! A process is killed by SIGKILL after each single change it makes; then the tree is recovered and compared with one that
//! was built from scratch.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use activation::{NoHost, Recovery, RootLayout};
use pkgpanda_core::{Layout, Package, Set, plan};

use crate::site::{Site, Snapshot, lock, new_packages, old_packages};
use crate::takeover;

const SITE: &str = "ACTIVATION_TEST_SITE";
const CHANGE: &str = "ACTIVATION_TEST_CHANGE";
const KILL_AFTER: &str = "ACTIVATION_TEST_KILL_AFTER";

/// The process that is killed: this test program, started again. Without its environment it is no test.
#[test]
fn child() {
    let (Ok(site), Ok(change)) = (std::env::var(SITE), std::env::var(CHANGE)) else { return };
    let kill_after: usize = std::env::var(KILL_AFTER).unwrap().parse().unwrap();
    let mut count = 0;
    let observer = |_: std::fmt::Arguments<'_>| {
        count += 1;
        if count == kill_after {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
    };
    let site = Site { dir: site.into(), durable: false };
    match change.as_str() {
        "activate" => drop(site.activate_observed(&old_packages(), observer).unwrap()),
        "swap" => drop(site.activate_observed(&new_packages(), observer).unwrap()),
        "takeover" => drop(site.carry_out(&takeover::plan_of(&site), observer).unwrap()),
        "uninstall" => site.uninstall_observed(observer).unwrap(),
        "recover" => drop(site.recover_observed(observer).unwrap()),
        other => panic!("{other}"),
    }
}

/// Carries a change out in a process of its own that is killed after so many changes; false: it ended before.
fn is_killed(site: &Path, change: &str, after: usize) -> bool {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture", "--test-threads=1"])
        .env(SITE, site)
        .env(CHANGE, change)
        .env(KILL_AFTER, after.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || output.status.signal() == Some(9), "{change} {after}: {text}");
    !output.status.success()
}

struct Crashes {
    change: &'static str,
    /// Makes the host as it is before.
    before: fn(&Site),
    old: Snapshot,
    new: Snapshot,
}

impl Crashes {
    fn of(change: &'static str, before: fn(&Site), old: Option<&[Package]>, new: Option<&[Package]>) -> Self {
        Self { change, before, old: from_scratch(old), new: from_scratch(new) }
    }

    fn site(&self) -> (tempfile::TempDir, Site) {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path());
        (self.before)(&site);
        (dir, site)
    }

    /// Whether the host is as it was or as it is to be; says which.
    #[track_caller]
    fn is_new(&self, site: &Site, what: &str) -> bool {
        let found = site.snapshot();
        assert!(
            found == self.old || found == self.new,
            "{} {what}: neither old nor new; beside old: {:#?}; beside new: {:#?}",
            self.change,
            differences(&found, &self.old),
            differences(&found, &self.new)
        );
        if site.dir.join("root").exists() {
            site.check();
        }
        found == self.new
    }

    /// What the next command does.
    fn run_again(&self, site: &Site) {
        let root = site.dir.join("root");
        if !root.exists() {
            return;
        }
        site.recover();
        // The journal goes before the root itself: then the root is left, with nothing in it.
        if self.change == "uninstall" && root.exists() && site.root().layout().unwrap() == RootLayout::Empty {
            let left: Vec<_> =
                std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left, ["pkgpanda.lock"]);
            site.uninstall_observed(|_| ()).unwrap();
        }
    }

    /// Kills after every change, and recovers.
    fn every_step(&self) {
        let mut flipped = None;
        for k in 1.. {
            let (_dir, site) = self.site();
            if !is_killed(&site.dir, self.change, k) {
                assert!(self.is_new(&site, "to its end"));
                assert!(k > 10, "{k} changes in all");
                break;
            }
            self.run_again(&site);
            let is_new = self.is_new(&site, &format!("killed after {k}"));
            // Before one change it is always the old one, from it on the new one.
            assert!(is_new || flipped.is_none(), "{} is old again after {k}", self.change);
            if is_new {
                flipped.get_or_insert(k);
            }
            if site.dir.join("root").exists() {
                assert_eq!(site.recover(), Recovery::Nothing);
                self.is_new(&site, &format!("recovered twice after {k}"));
            }
        }
        // An uninstall is decided by its journal, anything else by the flip.
        let first = if self.change == "uninstall" { 2 } else { 20 };
        assert!(flipped.is_some_and(|k| k >= first), "{flipped:?}");
    }

    /// Kills after a change, then the recovery after each of its own, then recovers. False: there are not so many.
    fn recovery_of(&self, k: usize) -> bool {
        for j in 1.. {
            let (_dir, site) = self.site();
            if !is_killed(&site.dir, self.change, k) {
                return false;
            }
            if !is_killed(&site.dir, "recover", j) {
                break;
            }
            self.run_again(&site);
            self.is_new(&site, &format!("killed after {k}, recovery after {j}"));
        }
        true
    }
}

fn from_scratch(packages: Option<&[Package]>) -> Snapshot {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path());
    if let Some(packages) = packages {
        site.activate(packages).unwrap();
    }
    site.snapshot()
}

/// Compares, and shows what differs only.
#[track_caller]
pub(crate) fn same(found: &Snapshot, wanted: &Snapshot) {
    assert!(found == wanted, "found, wanted: {:#?}", differences(found, wanted));
}

fn differences<'a>(
    one: &'a Snapshot,
    other: &'a Snapshot,
) -> Vec<(&'a String, Option<&'a String>, Option<&'a String>)> {
    one.keys()
        .chain(other.keys())
        .filter(|path| one.get(*path) != other.get(*path))
        .map(|path| (path, one.get(path), other.get(path)))
        .collect()
}

fn nothing(_: &Site) {}

fn with_old(site: &Site) {
    site.activate(&old_packages()).unwrap();
}

fn swap() -> Crashes {
    Crashes::of("swap", with_old, Some(&old_packages()), Some(&new_packages()))
}

#[test]
fn a_first_activation_is_all_or_nothing() {
    Crashes::of("activate", nothing, None, Some(&old_packages())).every_step();
}

/// As a bootstrap is unpacked: a tree that was built elsewhere, without units and users.
fn unpacked(site: &Site) {
    let layout = Layout { host: None, ..site.layout() };
    let set = Set::of(&old_packages()[..3], &[], &layout).unwrap();
    lock(&site.root()).activate(&plan(None, &set), &mut NoHost).unwrap();
}

#[test]
fn a_setup_is_the_bootstrap_or_the_node() {
    let mut crashes = Crashes::of("activate", unpacked, None, Some(&old_packages()));
    let (_dir, site) = crashes.site();
    crashes.old = site.snapshot();
    crashes.every_step();
}

#[test]
fn a_swap_is_old_or_new() {
    swap().every_step();
}

#[test]
fn a_takeover_is_the_originals_or_ours() {
    let mut crashes = Crashes::of("takeover", takeover::lay_out, None, Some(&old_packages()));
    let (_dir, site) = crashes.site();
    crashes.old = site.snapshot();
    crashes.every_step();
}

#[test]
fn an_uninstall_is_taken_up_again_and_leaves_nothing() {
    let mut crashes = Crashes::of("uninstall", with_old, Some(&old_packages()), None);
    crashes.new.remove("root");
    crashes.every_step();
    let (_dir, site) = crashes.site();
    site.uninstall_observed(|_| ()).unwrap();
    for name in ["root", "state"] {
        assert!(!site.dir.join(name).exists(), "{name}");
    }
    assert_eq!(std::fs::read_dir(site.dir.join("users")).unwrap().count(), 0);
}

#[test]
fn a_recovery_that_is_killed_is_recovered() {
    let swap = swap();
    let tried = (4..).step_by(9).take_while(|k| swap.recovery_of(*k)).count();
    assert!(tried > 5, "{tried}");
    let mut uninstall = Crashes::of("uninstall", with_old, Some(&old_packages()), None);
    uninstall.new.remove("root");
    assert!(uninstall.recovery_of(4));
}
