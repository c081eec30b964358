//! A machine with `pkgpanda` on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::json;
use systemd::Systemd;
use testkit::{Machine, MachineOptions, Running, eventually};

use super::package::Package;
use super::visible::Visible;
use crate::apps::DCOS;

/// Where the machine has the program under test.
pub(super) const PROGRAM: &str = "/usr/local/bin/dcos";

/// A systemd machine with the program, on which packages are handled.
pub(super) struct Host {
    pub(super) machine: Machine,
}

/// What a command said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Said {
    /// It failed as commands fail; what it said on stderr.
    #[track_caller]
    pub(super) fn refused(self) -> String {
        assert!(self.code == Some(1) && !self.err.is_empty(), "{self:?}");
        self.err
    }
}

impl Host {
    /// Boots a machine without packages; `disk` is the size of a disk of its own in MiB. None, and says SKIP,
    /// where none can be booted.
    pub(super) fn boot(name: &str, disk: Option<u32>) -> Option<Host> {
        let binds = vec![(PathBuf::from(DCOS), PathBuf::from(PROGRAM))];
        match Machine::with(name, MachineOptions { disk, binds }) {
            Ok(machine) => Some(Host { machine }),
            Err(reason) => {
                eprintln!("SKIP {name}: {reason}");
                None
            }
        }
    }

    /// Boots a machine and sets it up with `packages` active.
    pub(super) fn with(name: &str, disk: Option<u32>, packages: &[Package]) -> Option<Host> {
        let host = Host::boot(name, disk)?;
        host.bootstrap(packages);
        host.pkgpanda(&["setup"]);
        assert_eq!(host.active(), ids(packages));
        Some(host)
    }

    /// Lays down what an unpacked bootstrap and an installer leave: packages, the marker, the list of those
    /// to be active.
    pub(super) fn bootstrap(&self, packages: &[Package]) {
        self.add(packages);
        self.write("/opt/mesosphere/bootstrap", "");
        self.write("/etc/mesosphere/setup-flags/active.json", &json!(ids(packages)).to_string());
        self.write("/etc/mesosphere/setup-flags/repository-url", "file:///srv/repository\n");
        self.write("/etc/mesosphere/roles/master", "");
    }

    /// Puts packages into the repository.
    pub(super) fn add(&self, packages: &[Package]) {
        for package in packages {
            package.write(&self.path("/opt/mesosphere/packages"));
        }
    }

    /// Where a file of the machine is seen from here.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.machine.root().join(path.trim_start_matches('/'))
    }

    pub(super) fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it has a directory")).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Runs `pkgpanda`.
    pub(super) fn run(&self, arguments: &[&str]) -> Said {
        let mut all = vec!["pkgpanda"];
        all.extend(arguments);
        self.machine.run(PROGRAM, &all).into()
    }

    /// Runs `pkgpanda` and wants it to succeed.
    #[track_caller]
    pub(super) fn pkgpanda(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(0), "pkgpanda {}: {said:?}", arguments.join(" "));
        said.out
    }

    /// Runs `pkgpanda` and wants it to fail; gives back what it said about that.
    #[track_caller]
    pub(super) fn refuses(&self, arguments: &[&str]) -> String {
        self.run(arguments).refused()
    }

    /// Starts `pkgpanda`.
    pub(super) fn start(&self, arguments: &[&str]) -> Running {
        let mut all = vec!["pkgpanda"];
        all.extend(arguments);
        self.machine.spawn(PROGRAM, &all)
    }

    /// Runs another program of the machine and wants it to succeed.
    #[track_caller]
    pub(super) fn sh(&self, script: &str) -> String {
        let said = Said::from(self.machine.run("sh", &["-c", script]));
        assert_eq!(said.code, Some(0), "{script}: {said:?}");
        said.out.trim().to_owned()
    }

    /// The ids that `pkgpanda active` prints.
    #[track_caller]
    pub(super) fn active(&self) -> Vec<String> {
        self.pkgpanda(&["active"]).lines().map(str::to_owned).collect()
    }

    /// What an activation is to have done, as everybody on the machine sees it.
    pub(super) fn visible(&self) -> Visible {
        Visible::on(&self.machine.root())
    }

    pub(super) fn systemd(&self) -> Systemd {
        Systemd::of(self.machine.prefix())
    }

    /// The main processes of units that run.
    pub(super) fn pids(&self, units: &[&str]) -> BTreeMap<String, u32> {
        let states = self.systemd().states(units).unwrap();
        states.into_iter().filter_map(|unit| Some((unit.name, unit.main_pid?))).collect()
    }

    /// Waits until exactly the units that are linked run, of those that begin with `dcos-`.
    #[track_caller]
    pub(super) fn units_follow_links(&self) {
        let wants = self.path("/etc/systemd/system/dcos.target.wants");
        eventually("exactly the linked units run", || {
            let linked: Vec<String> = names(&wants);
            let listed = self.sh("systemctl list-units --plain --no-legend 'dcos-*.service'");
            let running: Vec<&str> = listed
                .lines()
                .filter(|line| line.split_whitespace().nth(3) == Some("running"))
                .filter_map(|line| line.split_whitespace().next())
                .collect();
            (running == linked).then_some(())
        });
    }
}

/// The ids of packages, sorted.
pub(super) fn ids(packages: &[Package]) -> Vec<String> {
    let mut ids: Vec<String> = packages.iter().map(|package| package.id.clone()).collect();
    ids.sort();
    ids
}

/// The names in a directory, sorted; none if there is no such directory.
pub(super) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
