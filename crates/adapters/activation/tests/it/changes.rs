//! Changes that are not interrupted, and those that are refused.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use activation::{Error, FIRST_GENERATION, Host, HostError, NoHost, Recovery, Root};
use api_pkgpanda::step::{Account, CURRENT, Place, Step};
use pkgpanda_core::{Layout, Set, plan};

use crate::crash::same;
use crate::site::{Directories, Site, lock, new_packages, old_packages, package};

fn site() -> (tempfile::TempDir, Site) {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path());
    (dir, site)
}

#[test]
fn what_is_seen_through_the_root() {
    let (dir, site) = site();
    let file = dir.path().join("root/packages/mesos--1/bin/mesos");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "old").unwrap();
    assert_eq!(site.activate(&old_packages()).unwrap(), 1);
    site.check();
    let root = dir.path().join("root");
    assert_eq!(fs::read_to_string(root.join("bin/mesos")).unwrap(), "old");
    assert_eq!(fs::read_link(root.join("active")).unwrap(), Path::new("current/active"));
    assert!(fs::read_to_string(root.join("environment")).unwrap().contains("\nMESOS_X=1\n"));
    let sysctl = fs::read_to_string(root.join("etc/dcos-service-configuration.json")).unwrap();
    assert_eq!(sysctl, "{\n  \"sysctl\":{\n    \"dcos-mesos-master\":{\n      \"vm.x\":1\n    }\n  }\n}");
    assert!(dir.path().join("units/dcos.target.wants/dcos-mesos-master.service").symlink_metadata().is_ok());
    assert!(dir.path().join("units/dcos-mesos-slave.service").symlink_metadata().is_err());
    assert!(dir.path().join("state/mesos").is_dir() && dir.path().join("users/dcos_mesos").exists());
    let names: Vec<String> = site.root().active().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["java", "mesos", "old-unit", "stays"]);
}

#[test]
fn back_and_forth_the_tree_is_as_from_scratch() {
    let (_dir, site) = site();
    site.activate(&old_packages()).unwrap();
    let old = site.snapshot();
    site.activate(&new_packages()).unwrap();
    site.check();
    site.activate(&old_packages()).unwrap();
    site.check();
    same(&site.snapshot(), &old);
}

#[test]
fn the_last_good_set_is_kept_until_the_new_one_is_proven() {
    let (_dir, site) = site();
    let activate =
        |version: u32| site.activate(&[package(&format!("a--{version}"), &[], &["bin/a"])]).unwrap();
    let last_good = || {
        let good = site.root().last_good().unwrap()?;
        Some(good.set.packages["a"].id.clone())
    };
    activate(1);
    assert_eq!(last_good(), None);
    activate(2);
    assert_eq!(last_good().as_deref(), Some("a--1"), "better than nothing");
    lock(&site.root()).set_proven(true).unwrap();
    activate(3);
    assert_eq!(last_good().as_deref(), Some("a--2"));
    activate(4);
    assert_eq!(last_good().as_deref(), Some("a--2"), "3 was never proven");
    site.check();
    // The same set again is no change.
    let number = site.root().current_number().unwrap();
    activate(4);
    assert_eq!((site.root().current_number().unwrap(), last_good().as_deref()), (number, Some("a--2")));
    assert!(lock(&site.root()).drop_last_good().unwrap().is_some());
    assert_eq!(last_good(), None);
    site.check();
}

#[test]
fn what_is_nobodys_is_in_the_way_and_nothing_changes() {
    let (dir, site) = site();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::write(root.join("bin/mesos"), "mine").unwrap();
    symlink("/elsewhere", root.join("include")).unwrap();
    fs::write(dir.path().join("units/dcos-old.service"), "mine").unwrap();
    let before = site.snapshot();
    let Error::InTheWay(paths) = site.activate(&old_packages()).unwrap_err() else { panic!() };
    let expected = ["root/bin/mesos", "root/include", "units/dcos-old.service"];
    assert_eq!(paths, expected.map(|path| dir.path().join(path)));
    assert_eq!(site.snapshot(), before);
}

#[test]
fn files_of_others_stay_and_a_directory_with_them_becomes_no_link() {
    let (dir, site) = site();
    site.activate(&old_packages()).unwrap();
    let mine = dir.path().join("root/lib/goes/away/mine");
    fs::write(&mine, "").unwrap();
    fs::write(dir.path().join("root/lib/turns-link/deep/mine"), "").unwrap();
    let before = site.snapshot();
    let error = site.activate(&new_packages()).unwrap_err();
    assert!(error.to_string().contains("lib/turns-link/deep/mine"), "{error}");
    assert_eq!(site.snapshot(), before);
    fs::remove_file(dir.path().join("root/lib/turns-link/deep/mine")).unwrap();
    site.activate(&new_packages()).unwrap();
    assert!(mine.exists());
}

#[test]
fn a_journal_that_cannot_be_read_is_repaired_by_the_active_set() {
    for (text, packages) in
        [("", old_packages()), ("{\"format\":1,\"chan", new_packages()), ("\0\u{1}\n", old_packages())]
    {
        let (dir, site) = site();
        site.activate(&packages).unwrap();
        let before = site.snapshot();
        let root = dir.path().join("root");
        // Traces of a change that was under way.
        symlink(root.join("active/x/bin/new"), root.join("bin/new")).unwrap();
        fs::create_dir_all(root.join("lib/new/deep")).unwrap();
        symlink(root.join("active/x/lib/new"), root.join("lib/new/deep/new")).unwrap();
        symlink(root.join("active/x/u"), dir.path().join("units/dcos-x.service")).unwrap();
        fs::create_dir_all(dir.path().join("units/.pkgpanda-staged")).unwrap();
        fs::create_dir_all(root.join("generations/7/active")).unwrap();
        fs::remove_file(root.join("bin/java")).unwrap();
        fs::remove_file(root.join("lib/libjava.so")).unwrap();
        symlink(root.join("active/wrong/lib/libjava.so"), root.join("lib/libjava.so")).unwrap();
        fs::write(root.join("install_progress"), text).unwrap();
        fs::write(root.join("install_progress.unfinished"), "x").unwrap();
        assert_eq!(site.recover(), Recovery::Repaired(Some(1)));
        same(&site.snapshot(), &before);
        site.check();
    }
}

#[test]
fn an_unreadable_journal_of_a_first_activation_leaves_nothing() {
    let (dir, site) = site();
    let before = site.snapshot();
    site.activate(&old_packages()).unwrap();
    for name in fs::read_dir(dir.path().join("running")).unwrap() {
        fs::remove_file(name.unwrap().path()).unwrap();
    }
    fs::remove_file(dir.path().join("root/current")).unwrap();
    fs::write(dir.path().join("root/install_progress"), "{").unwrap();
    assert_eq!(site.recover(), Recovery::Repaired(None));
    same(&site.snapshot(), &before);
}

#[test]
fn a_journal_of_a_later_program_is_left_alone() {
    let (dir, site) = site();
    site.activate(&old_packages()).unwrap();
    fs::write(dir.path().join("root/install_progress"), r#"{"format":2,"change":{}}"#).unwrap();
    let error = site.recover_observed(|_| ()).unwrap_err();
    assert!(error.to_string().contains("its format is 2, known is 1"), "{error}");
    let error = site.activate(&new_packages()).unwrap_err();
    assert!(error.to_string().contains("has to be recovered first"), "{error}");
}

#[test]
fn only_one_writes_and_the_other_is_told_who() {
    let (_dir, site) = site();
    let (root, other) = (site.root(), site.root());
    let held = lock(&root);
    let mut told = Vec::new();
    let error = other.lock(Duration::from_millis(120), |owner| told.push(owner)).unwrap_err();
    assert_eq!(told, [Some(std::process::id())]);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(held);
    lock(&other);
}

/// A host that does not do one thing.
struct Stubborn(Directories, &'static str);

impl Stubborn {
    fn unless(&self, what: &'static str) -> Result<(), HostError> {
        if self.1 == what { Err(format!("does not {what}").into()) } else { Ok(()) }
    }
}

impl Host for Stubborn {
    fn find_user(&mut self, account: &Account) -> Result<Option<u32>, HostError> {
        self.0.find_user(account)
    }
    fn create_user(&mut self, account: &Account) -> Result<u32, HostError> {
        self.unless("make users")?;
        self.0.create_user(account)
    }
    fn remove_user(&mut self, user: &str) -> Result<(), HostError> {
        self.0.remove_user(user)
    }
    fn stop_units(&mut self, units: &[String]) -> Result<(), HostError> {
        self.0.stop_units(&units[..1])?;
        self.unless("stop")?;
        self.0.stop_units(units)
    }
    fn reload_units(&mut self) -> Result<(), HostError> {
        self.unless("reload")
    }
    fn start_units(&mut self, units: &[String]) -> Result<(), HostError> {
        self.0.start_units(units)?;
        self.unless("start")
    }
}

#[test]
fn a_host_that_refuses() {
    for (what, is_new) in [("make users", false), ("stop", false), ("start", true), ("reload", true)] {
        let (_dir, site) = site();
        site.activate(&old_packages()).unwrap();
        let old = site.snapshot();
        let root = site.root();
        let plan =
            plan(root.current().unwrap().as_ref().map(|current| &current.set), &site.set(&new_packages()));
        let error = lock(&root).activate(&plan, &mut Stubborn(site.host(), what)).unwrap_err();
        assert_eq!(matches!(error, Error::Start { .. }), is_new, "{what}: {error}");
        assert!(!root.is_interrupted(), "{what}");
        match is_new {
            false => assert_eq!(site.snapshot(), old, "{what}"),
            true => assert!(root.current().unwrap().unwrap().set.packages.contains_key("tool")),
        }
    }
    let (_dir, site) = site();
    site.activate(&old_packages()).unwrap();
    let old = site.snapshot();
    let removal =
        pkgpanda_core::uninstall(Some(&site.root().current().unwrap().unwrap().set), &site.layout(), &[]);
    let error = lock(&site.root()).uninstall(&removal, &mut Stubborn(site.host(), "stop")).unwrap_err();
    assert!(error.to_string().starts_with("stop dcos-"), "{error}");
    assert_eq!(site.snapshot(), old);
}

#[test]
fn units_that_nobody_stopped_are_not_started_when_a_change_is_taken_back() {
    let (dir, site) = site();
    site.activate(&old_packages()).unwrap();
    let by_hand = dir.path().join("running/dcos-mesos-master.service");
    fs::remove_file(&by_hand).unwrap();
    let (root, current) = (site.root(), site.root().current().unwrap().unwrap());
    let plan = plan(Some(&current.set), &site.set(&new_packages()));
    for (what, is_started) in [("make users", false), ("stop", true)] {
        lock(&root).activate(&plan, &mut Stubborn(site.host(), what)).unwrap_err();
        assert_eq!(by_hand.exists(), is_started, "{what}");
    }
}

#[test]
fn a_tree_that_is_built_elsewhere_says_where_it_will_be() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::create(&dir.path().join("a/root")).unwrap().without_sync();
    let set = Set::of(&old_packages(), &[], &Layout::of_bootstrap()).unwrap();
    lock(&root).activate(&plan(None, &set), &mut NoHost).unwrap();
    let target = |path: &str| fs::read_link(root.path().join(path)).unwrap();
    assert_eq!(target("bin/mesos"), Path::new("/opt/mesosphere/active/mesos/bin/mesos"));
    assert_eq!(target("active/mesos"), Path::new("/opt/mesosphere/packages/mesos--1"));
    let environment = fs::read_to_string(root.path().join("environment")).unwrap();
    assert!(environment.starts_with("# Pkgpanda provided environment variables\nLD_LIBRARY_PATH=/opt/mesosphere/lib\nPATH=/opt/mesosphere/bin:/usr/bin:/bin:/sbin\n\n# package: java--8\n\n"), "{environment}");
    assert!(!root.path().join("dcos.target.wants").exists());
}

#[test]
fn what_is_filled_looks_like_what_is_activated() {
    let ((_activated, activated), (_filled, filled)) = (site(), site());
    let set = Set::of(&old_packages(), &[], &Layout::of_bootstrap()).unwrap();
    let plan = plan(None, &set);
    activated.carry_out(&plan, |_| ()).unwrap();
    let (path, target) = (CURRENT.to_owned(), FIRST_GENERATION.to_owned());
    let current = Step::Link { place: Place::Root, path, target };
    let steps = plan.build.iter().chain(&plan.before).chain([&current]);
    activation::fill(filled.root().path(), steps.clone()).unwrap();
    same(&filled.snapshot(), &activated.snapshot());
    assert_eq!(filled.root().current().unwrap().unwrap().set, set.active);
    // Again makes no difference, and what belongs to a host has no place.
    activation::fill(filled.root().path(), steps).unwrap();
    let unit = Step::Directory { place: Place::Units, path: "x".to_owned() };
    let error = activation::fill(filled.root().path(), [&unit]).unwrap_err();
    assert!(error.to_string().contains("directory of units"), "{error}");
    same(&filled.snapshot(), &activated.snapshot());
}

#[test]
fn a_broken_root_is_uninstalled_all_the_same() {
    let (dir, site) = site();
    site.activate(&old_packages()).unwrap();
    fs::write(dir.path().join("root/generations/1/set.json"), "{").unwrap();
    fs::write(dir.path().join("root/install_progress"), "{").unwrap();
    fs::write(dir.path().join("units/dcos.target"), "").unwrap();
    assert!(site.recover_observed(|_| ()).unwrap_err().to_string().contains("set.json cannot be used"));
    let removal = pkgpanda_core::uninstall(None, &site.layout(), &["dcos.target"]);
    lock(&site.root()).uninstall(&removal, &mut site.host()).unwrap();
    assert!(!dir.path().join("root").exists() && !dir.path().join("state").exists());
    assert_eq!(fs::read_dir(dir.path().join("units")).unwrap().count(), 0);
}

#[test]
fn a_root_whose_set_cannot_be_read_is_changed_all_the_same() {
    let (dir, site) = site();
    let packages = [package("a--1", &[], &["bin/a", "lib/a/b"]), package("b--1", &[], &["bin/b", "etc/x/"])];
    site.activate(&packages[..1]).unwrap();
    let wanted = site.snapshot();
    site.activate(&packages).unwrap();
    fs::write(dir.path().join("root/generations/2/set.json"), "{").unwrap();
    fs::write(dir.path().join("root/generations/2/state.json"), "{").unwrap();
    let error = site.root().current().unwrap_err().to_string();
    assert!(error.contains("generations/2/set.json cannot be used"), "{error}");
    site.carry_out(&plan(None, &site.set(&packages[..1])), |_| ()).unwrap();
    assert!(dir.path().join("root/bin/b").symlink_metadata().is_ok(), "nobody knew of it");
    lock(&site.root()).repair(&mut site.host()).unwrap();
    same(&site.snapshot(), &wanted);
}

#[test]
fn a_directory_of_units_that_is_not_there_is_made() {
    let (dir, site) = site();
    fs::remove_dir(dir.path().join("units")).unwrap();
    site.activate(&old_packages()).unwrap();
    site.check();
    assert!(dir.path().join("units/dcos.target.wants/dcos-old.service").symlink_metadata().is_ok());
}

#[test]
fn units_below_the_root_itself() {
    let (dir, site) = site();
    fs::remove_dir(dir.path().join("units")).unwrap();
    symlink("root", dir.path().join("units")).unwrap();
    let mut layout = site.layout();
    layout.host.as_mut().unwrap().unit_directory = layout.root.clone();
    let activate = |packages: &[pkgpanda_core::Package]| {
        let root = site.root();
        let set = Set::of(packages, &["master".parse().unwrap()], &layout).unwrap();
        let current = root.current().unwrap();
        let plan = plan(current.as_ref().map(|current| &current.set), &set);
        lock(&root).activate(&plan, &mut site.host()).unwrap();
    };
    activate(&old_packages());
    let seen = || {
        let mut seen = site.snapshot();
        seen.retain(|path, _| !path.starts_with("units"));
        seen
    };
    let old = seen();
    assert!(old.contains_key("root/dcos-old.service") && old.contains_key("root/active"));
    activate(&new_packages());
    site.check();
    activate(&old_packages());
    fs::write(dir.path().join("root/install_progress"), "").unwrap();
    assert!(matches!(site.recover(), Recovery::Repaired(Some(_))));
    same(&seen(), &old);
}
