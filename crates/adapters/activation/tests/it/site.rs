//! A host in a directory: a root, a directory of units, running units and users as files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use activation::{Error, Host, HostError, Locked, Root};
use api_pkgpanda::step::Account;
use api_pkgpanda::{Kind, PkgInfo, Requirement};
use pkgpanda_core::{ActiveSet, HostLayout, Layout, Package, Plan, Set, plan, uninstall};

/// Where everything of one test is.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) dir: PathBuf,
    /// The disk is waited for.
    pub(crate) durable: bool,
}

/// What is seen at a path: `directory`, a link's target or a file's text. Numbers of generations are left out.
pub(crate) type Snapshot = BTreeMap<String, String>;

impl Site {
    pub(crate) fn new(dir: &Path) -> Self {
        for name in ["root", "units", "running", "users"] {
            // It may be a link to where it is by now.
            if !dir.join(name).exists() {
                fs::create_dir_all(dir.join(name)).unwrap();
            }
        }
        Self { dir: dir.to_owned(), durable: false }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn layout(&self) -> Layout {
        let root = self.path("root");
        let host = HostLayout { unit_directory: self.path("units"), state_root: self.path("state") };
        Layout { repository: format!("{root}/packages"), root, host: Some(host) }
    }

    pub(crate) fn root(&self) -> Root {
        let root = Root::open(&self.dir.join("root")).unwrap().with_units_in(&self.dir.join("units"));
        if self.durable { root } else { root.without_sync() }
    }

    pub(crate) fn set(&self, packages: &[Package]) -> Set {
        Set::of(packages, &["master".parse().unwrap()], &self.layout()).unwrap()
    }

    pub(crate) fn host(&self) -> Directories {
        Directories { dir: self.dir.clone() }
    }

    /// Plans from what is active and activates, telling `observer` of every change.
    pub(crate) fn activate_observed(
        &self,
        packages: &[Package],
        observer: impl FnMut(std::fmt::Arguments<'_>),
    ) -> Result<u64, Error> {
        let root = self.root();
        let current = root.current().unwrap();
        let plan = plan(current.as_ref().map(|current| &current.set), &self.set(packages));
        lock(&root).observed(observer).activate(&plan, &mut self.host())
    }

    pub(crate) fn activate(&self, packages: &[Package]) -> Result<u64, Error> {
        self.activate_observed(packages, |_| ())
    }

    pub(crate) fn carry_out(
        &self,
        plan: &Plan,
        observer: impl FnMut(std::fmt::Arguments<'_>),
    ) -> Result<u64, Error> {
        lock(&self.root()).observed(observer).activate(plan, &mut self.host())
    }

    pub(crate) fn uninstall_observed(
        &self,
        observer: impl FnMut(std::fmt::Arguments<'_>),
    ) -> Result<(), Error> {
        let root = self.root();
        let current = root.current().unwrap();
        let active: Option<&ActiveSet> = current.as_ref().map(|current| &current.set);
        let removal = uninstall(active, &self.layout(), &["dcos.target"]);
        lock(&root).observed(observer).uninstall(&removal, &mut self.host())
    }

    pub(crate) fn recover_observed(
        &self,
        observer: impl FnMut(std::fmt::Arguments<'_>),
    ) -> Result<activation::Recovery, Error> {
        lock(&self.root()).observed(observer).recover(&mut self.host())
    }

    pub(crate) fn recover(&self) -> activation::Recovery {
        self.recover_observed(|_| ()).unwrap()
    }

    /// All there is but packages, numbers, the lock, and what an activation is allowed to leave: state directories and
    /// users with the file that remembers them.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut found = Snapshot::new();
        let dir = self.path("");
        for top in ["root", "units", "running"] {
            walk(&self.dir.join(top), top, &dir, &mut found);
        }
        if let Some(current) = found.remove("root/current") {
            let current = format!("root/{current}/");
            let inside: Vec<(String, String)> = found
                .iter()
                .filter_map(|(path, what)| Some((path.strip_prefix(&current)?.to_owned(), what.clone())))
                .filter(|(path, _)| path != "state.json")
                .collect();
            found.retain(|path, _| !path.starts_with("root/generations"));
            found.extend(inside.into_iter().map(|(path, what)| (format!("root/current/{path}"), what)));
        }
        for path in ["root/pkgpanda.lock", "root/made.json"] {
            found.remove(path);
        }
        found.retain(|path, _| !path.starts_with("root/packages"));
        found
    }

    /// Generations that have a directory.
    pub(crate) fn generations(&self) -> Vec<u64> {
        let Ok(entries) = fs::read_dir(self.dir.join("root/generations")) else { return Vec::new() };
        let mut numbers: Vec<u64> =
            entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// What must hold whenever nothing is under way.
    #[track_caller]
    pub(crate) fn check(&self) {
        let root = self.root();
        assert!(!root.is_interrupted());
        let Some(current) = root.current().unwrap() else {
            assert_eq!(self.generations(), [0; 0]);
            return;
        };
        let mut kept = vec![current.number];
        kept.extend(current.state.last_good);
        kept.sort_unstable();
        kept.dedup();
        assert_eq!(self.generations(), kept);
        let running: Vec<String> = fs::read_dir(self.dir.join("running"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        for unit in current.set.units.keys() {
            assert!(running.contains(unit), "{unit} does not run: {running:?}");
        }
        assert_eq!(running.len(), current.set.units.len(), "{running:?}");
    }
}

pub(crate) fn lock(root: &Root) -> Locked<'_> {
    root.lock(Duration::from_secs(10), |_| ()).unwrap()
}

fn walk(path: &Path, name: &str, dir: &str, found: &mut Snapshot) {
    let Ok(entries) = fs::read_dir(path) else { return };
    found.insert(name.to_owned(), "directory".to_owned());
    for entry in entries {
        let entry = entry.unwrap();
        let name = format!("{name}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &name, dir, found);
        } else if entry.file_type().unwrap().is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            found.insert(name, target.to_str().unwrap().replace(dir, "DIR/"));
        } else {
            found.insert(name, fs::read_to_string(entry.path()).unwrap().replace(dir, "DIR/"));
        }
    }
}

/// Running units and users are files.
pub(crate) struct Directories {
    dir: PathBuf,
}

impl Host for Directories {
    fn find_user(&mut self, account: &Account) -> Result<Option<u32>, HostError> {
        Ok(self.dir.join("users").join(&account.user).exists().then_some(rustix::process::getuid().as_raw()))
    }

    fn create_user(&mut self, account: &Account) -> Result<u32, HostError> {
        fs::write(self.dir.join("users").join(&account.user), "")?;
        Ok(rustix::process::getuid().as_raw())
    }

    fn remove_user(&mut self, user: &str) -> Result<(), HostError> {
        let _ = fs::remove_file(self.dir.join("users").join(user));
        Ok(())
    }

    fn stop_units(&mut self, units: &[String]) -> Result<(), HostError> {
        for unit in units {
            let _ = fs::remove_file(self.dir.join("running").join(unit));
        }
        Ok(())
    }

    fn reload_units(&mut self) -> Result<(), HostError> {
        Ok(())
    }

    fn start_units(&mut self, units: &[String]) -> Result<(), HostError> {
        for unit in units {
            // systemd starts what it finds, beside what wants it.
            let linked = self.dir.join("units").join(unit).symlink_metadata().is_ok();
            if !linked {
                return Err(format!("there is no unit {unit}").into());
            }
            fs::write(self.dir.join("running").join(unit), "")?;
        }
        Ok(())
    }
}

/// A package of these files; those that end with `/` are directories.
pub(crate) fn package(id: &str, requires: &[&str], paths: &[&str]) -> Package {
    let mut package = Package::new(id.parse().unwrap());
    let required = |name: &&str| Requirement { name: (*name).to_owned(), variant: None };
    package.info = PkgInfo { requires: requires.iter().map(required).collect(), ..PkgInfo::default() };
    for path in paths {
        match path.strip_suffix('/') {
            Some(directory) => package.contents.add(directory, Kind::Directory),
            None => package.contents.add(path, Kind::File),
        }
    }
    package
}

/// A set that runs.
pub(crate) fn old_packages() -> Vec<Package> {
    let mut mesos = package(
        "mesos--1",
        &["java"],
        &[
            "bin/mesos",
            "bin/shared-tool",
            "lib/mesos/native",
            "lib/turns-directory",
            "lib/turns-link/deep/x",
            "lib/turns-link/y",
            "lib/goes/away/z",
            "include/mesos.h",
            "dcos.target.wants_master/dcos-mesos-master.service",
            "dcos.target.wants_slave/dcos-mesos-slave.service",
        ],
    );
    mesos.info.environment.insert("MESOS_X".to_owned(), "1".to_owned());
    mesos.info.username = Some("dcos_mesos".to_owned());
    mesos.info.state_directory = true;
    mesos.info.sysctl.insert("dcos-mesos-master".to_owned(), [("vm.x".to_owned(), 1.into())].into());
    let old_unit = package("old-unit--1", &[], &["dcos.target.wants/dcos-old.service", "etc/old/"]);
    let stays = package(
        "stays--1",
        &[],
        &["bin/stays", "dcos.target.wants/dcos-stays.service", "dcos.target.wants/dcos-moves.service"],
    );
    vec![package("java--8", &[], &["bin/java", "lib/libjava.so"]), mesos, old_unit, stays]
}

/// Another one, which differs in every way that there is.
pub(crate) fn new_packages() -> Vec<Package> {
    let mesos = package(
        "mesos--2",
        &["java"],
        &[
            "bin/mesos",
            "bin/mesos-new",
            "lib/mesos/native",
            "lib/mesos/more",
            "lib/turns-directory/a/b",
            "lib/turns-directory/c",
            "lib/turns-link",
            "lib/fresh/empty/",
            "lib/fresh/f",
            "dcos.target.wants_master/dcos-mesos-master.service",
        ],
    );
    let mut tool = package("tool--1", &[], &["bin/shared-tool", "dcos.target.wants/dcos-moves.service"]);
    tool.info.username = Some("dcos_tool".to_owned());
    tool.info.state_directory = true;
    let new_unit = package("new-unit--1", &["mesos"], &["dcos.target.wants/dcos-new.service"]);
    let stays = package("stays--1", &[], &["bin/stays", "dcos.target.wants/dcos-stays.service"]);
    vec![package("java--8", &[], &["bin/java", "lib/libjava.so"]), mesos, tool, new_unit, stays]
}
