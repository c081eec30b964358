//! The whole of DC/OS as this repository builds it: from its bootstrap to a node that runs an app, to other versions
//! of its packages and back, through a reboot, to a bare machine again. Building it asks Debian's servers for packages
//! and takes minutes: DCOS_TEST_LONG=1 makes this test run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use systemd::SystemState;
use testkit::eventually;

use super::host::{Host, Said, names};
use crate::apps::{DCOS, is_root};
use crate::machines::{Cluster, configure, give_address};

const TASKS: u32 = 5;
/// What a node with both roles runs all the time.
const UNITS: [&str; 6] = [
    "dcos-adminrouter-agent.service",
    "dcos-adminrouter.service",
    "dcos-marathon.service",
    "dcos-mesos-master.service",
    "dcos-mesos-slave.service",
    "dcos-pkgpanda-api.service",
];

/// The cache of packages that mkpanda has built out of this repository and the program under test. It is kept beside
/// the build, so that only what has changed is built again.
fn cache() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tree");
    let run = |command: &mut Command| {
        let said = Said::from(command.output().unwrap());
        assert_eq!(said.code, Some(0), "{command:?}: {said:?}");
    };
    fs::create_dir_all(tree.join("dist/program")).unwrap();
    for folder in ["packages", "docker"] {
        for name in names(&tree.join(folder)).iter().filter(|name| *name != "cache") {
            run(Command::new("rm").arg("-rf").arg(tree.join(folder).join(name)));
        }
        fs::create_dir_all(tree.join(folder)).unwrap();
        for name in names(&repository.join(folder)).iter().filter(|name| *name != "cache") {
            run(Command::new("cp").arg("-a").args([repository.join(folder).join(name), tree.join(folder)]));
        }
    }
    run(Command::new("cp").args([repository.join("LICENSE"), tree.join("dist/program")]));
    run(Command::new("strip").arg("-o").arg(tree.join("dist/program/dcos")).arg(DCOS));
    let mut mkpanda = Command::new(DCOS);
    run(mkpanda.args(["mkpanda", "tree", "--mkbootstrap"]).current_dir(tree.join("packages")));
    tree.join("packages/cache")
}

/// Waits until all is well; the processes of the app's tasks.
#[track_caller]
fn well(host: &Host) -> BTreeSet<String> {
    eventually("all units of the roles are active", || {
        (host.pids(&UNITS).len() == UNITS.len()).then_some(())
    });
    let tasks = Cluster::of_packages(&host.machine).sleepers(TASKS);
    assert_eq!(host.systemd().is_system_running().unwrap(), SystemState::Running);
    host.pkgpanda(&["check"]);
    tasks
}

/// Puts another version of an active package into the repository, and gives its id and the active one.
fn next_version(host: &Host, name: &str) -> (String, String) {
    let active = host.active();
    let old = active.iter().find(|id| id.starts_with(&format!("{name}--"))).unwrap().clone();
    let new = format!("{name}--next");
    let packages = "/opt/mesosphere/packages";
    host.sh(&format!("cp -a {packages}/{old} {packages}/{new}; rm {packages}/{new}/pkgpanda.manifest.json"));
    (old, new)
}

#[test]
fn the_bootstrap_of_this_repository_makes_a_node() {
    if std::env::var_os("DCOS_TEST_LONG").is_none() {
        eprintln!("SKIP the bootstrap of this repository: it runs with DCOS_TEST_LONG=1");
        return;
    }
    if !is_root("a node out of a bootstrap") {
        return;
    }
    let Some(mut host) = Host::boot("whole", None) else { return };
    give_address(&host.machine);
    let of_the_installer = |path: &Path| path.starts_with("etc/mesosphere") || path.starts_with("srv");
    let bare = host.machine.snapshot().unwrap().without(of_the_installer);
    let cache = cache();
    let id = fs::read_to_string(cache.join("bootstrap/bootstrap.latest")).unwrap();
    let tarball = cache.join(format!("bootstrap/{}.bootstrap.tar.xz", id.trim()));
    let root = host.path("/opt/mesosphere");
    fs::create_dir_all(&root).unwrap();
    let unpacked = Command::new("tar").arg("-xJf").arg(tarball).arg("-C").arg(&root).status();
    assert!(unpacked.unwrap().success());
    configure(&host.machine.root(), "etc/mesosphere/setup-packages/dcos-config--setup");
    host.write("/etc/mesosphere/setup-flags/cluster-packages.json", "[]");
    host.sh("/opt/mesosphere/bin/pkgpanda setup");
    host.pkgpanda(&["verify"]);
    Cluster::of_packages(&host.machine).launch_sleepers(TASKS);
    let running = well(&host);

    let before = host.visible();
    for (name, unit) in [("marathon", "dcos-marathon.service"), ("mesos-agent", "dcos-mesos-slave.service")] {
        let (old, new) = next_version(&host, name);
        for id in [&new, &old] {
            let pids = host.pids(&UNITS);
            host.pkgpanda(&["swap", id]);
            assert_eq!(well(&host), running, "swap {id}");
            let now = host.pids(&UNITS);
            let changed: Vec<&str> = UNITS.into_iter().filter(|unit| pids[*unit] != now[*unit]).collect();
            assert_eq!(changed, [unit], "swap {id}");
        }
    }
    assert_eq!(before.differences(&host.visible()), [""; 0]);

    host.machine.power_off();
    host.machine.boot_again().unwrap();
    well(&host);

    host.sh("dcos=/usr/local/bin/dcos; $dcos pkgpanda uninstall");
    let left = host.machine.snapshot().unwrap().without(of_the_installer);
    assert_eq!(bare.differences(&left), [""; 0]);
}
