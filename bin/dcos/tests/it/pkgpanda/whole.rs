//! The whole of DC/OS as this repository builds it: from its bootstrap to a node that runs an app, to other versions
//! of its packages and back, through a reboot, to a bare machine again. Building it asks Debian's servers for packages
//! and takes minutes: DCOS_TEST_LONG=1 makes this test run.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use systemd::SystemState;
use testkit::eventually;

use super::host::{Host, Said, names};
use crate::apps::{DCOS, is_root, sleepers};

/// The node's address. No component may take loopback for granted.
const IP: &str = "10.99.0.1";
const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
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

/// What an installer lays down: roles, and the package that tells the node's address and the cluster's token.
fn configure(host: &Host) {
    host.write("/etc/mesosphere/roles/master", "");
    host.write("/etc/mesosphere/roles/slave", "");
    host.write("/etc/mesosphere/setup-flags/cluster-packages.json", "[]");
    host.write("/etc/mesosphere/token", TOKEN);
    fs::set_permissions(host.path("/etc/mesosphere/token"), fs::Permissions::from_mode(0o600)).unwrap();
    let package = "/etc/mesosphere/setup-packages/dcos-config--setup";
    let environment = json!({"environment": {
        "MESOS_IP_DISCOVERY_COMMAND": "/opt/mesosphere/bin/detect_ip",
        "DCOS_TOKEN_FILE": "/etc/mesosphere/token",
    }});
    host.write(&format!("{package}/pkginfo.json"), &environment.to_string());
    let script = format!("{package}/bin/detect_ip");
    host.write(&script, &format!("#!/bin/sh\necho {IP}\n"));
    fs::set_permissions(host.path(&script), fs::Permissions::from_mode(0o755)).unwrap();
}

fn ask(host: &Host, arguments: &[&str], path: &str) -> Option<Value> {
    let url = format!("http://{IP}{path}");
    let authorization = format!("Authorization: token={TOKEN}");
    let mut all = vec!["-sS", "--max-time", "5", "-H", &authorization];
    all.extend(arguments);
    all.push(&url);
    serde_json::from_slice(&host.machine.run("curl", &all).stdout).ok()
}

/// The tasks' processes, with the times at which they started.
fn tasks(host: &Host) -> BTreeSet<String> {
    let found = host.machine.run("ps", &["-C", "sleep", "-o", "pid=,lstart=,args="]);
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    text.lines().filter(|line| line.trim_end().ends_with("sleep 3600")).map(str::to_owned).collect()
}

#[track_caller]
fn is_well(host: &Host) {
    eventually("all units of the roles are active", || {
        (host.pids(&UNITS).len() == UNITS.len()).then_some(())
    });
    eventually("the app runs", || {
        let app = ask(host, &[], "/marathon/v2/apps/sleepers")?["app"].clone();
        (app["tasksRunning"] == TASKS && tasks(host).len() == TASKS as usize).then_some(())
    });
    assert_eq!(host.systemd().is_system_running().unwrap(), SystemState::Running);
    host.pkgpanda(&["check"]);
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
    let of_the_installer = |path: &Path| path.starts_with("etc/mesosphere") || path.starts_with("srv");
    let bare = host.machine.snapshot().unwrap().without(of_the_installer);
    let cache = cache();
    let id = fs::read_to_string(cache.join("bootstrap/bootstrap.latest")).unwrap();
    let tarball = cache.join(format!("bootstrap/{}.bootstrap.tar.xz", id.trim()));
    let root = host.path("/opt/mesosphere");
    fs::create_dir_all(&root).unwrap();
    let unpacked = Command::new("tar").arg("-xJf").arg(tarball).arg("-C").arg(&root).status();
    assert!(unpacked.unwrap().success());
    configure(&host);
    let address = format!("ip address add {IP}/32 dev lo");
    host.sh(&address);
    host.sh("/opt/mesosphere/bin/pkgpanda setup");
    host.pkgpanda(&["verify"]);
    let body = sleepers("sleepers", TASKS).to_string();
    eventually("Marathon takes the app", || {
        let post = ["-X", "POST", "-H", "Content-Type: application/json", "-d", &body];
        (ask(&host, &post, "/marathon/v2/apps")?["id"] == "/sleepers").then_some(())
    });
    is_well(&host);

    let (before, running) = (host.visible(), tasks(&host));
    for (name, unit) in [("marathon", "dcos-marathon.service"), ("mesos-agent", "dcos-mesos-slave.service")] {
        let (old, new) = next_version(&host, name);
        for id in [&new, &old] {
            let pids = host.pids(&UNITS);
            host.pkgpanda(&["swap", id]);
            is_well(&host);
            assert_eq!(tasks(&host), running, "swap {id}");
            let now = host.pids(&UNITS);
            let changed: Vec<&str> = UNITS.into_iter().filter(|unit| pids[*unit] != now[*unit]).collect();
            assert_eq!(changed, [unit], "swap {id}");
        }
    }
    assert_eq!(before.differences(&host.visible()), [""; 0]);

    host.machine.power_off();
    host.machine.boot_again().unwrap();
    host.sh(&address);
    is_well(&host);

    host.sh("dcos=/usr/local/bin/dcos; $dcos pkgpanda uninstall");
    let left = host.machine.snapshot().unwrap().without(of_the_installer);
    assert_eq!(bare.differences(&left), [""; 0]);
}
