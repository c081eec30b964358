//! Packages as they are built: their ids, and a bootstrap of them that makes a bare machine a node.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use systemd::SystemState;
use testkit::eventually;

use super::host::Host;
use super::sets::FOR_EVER;
use super::tree::Tree;
use crate::apps::is_root;

const UNITS: [&str; 2] = ["dcos-app.service", "dcos-base.service"];

/// `app` has a task, requires `base` and says `says`; `root` requires both.
fn tree(says: &str) -> Tree {
    let tree = Tree::new();
    tree.service("base", json!({"environment": {"BASE": "1"}}), "base", FOR_EVER);
    app(&tree, says);
    tree.command();
    tree.group("root", &["app", "base", "command"]);
    tree
}

fn app(tree: &Tree, says: &str) {
    let script = "[ -e /srv/task ] || { setsid sleep 86401 & echo $! > /srv/task; }; exec sleep 86400";
    tree.service("app", json!({"requires": ["base"], "state_directory": true}), says, script);
}

#[test]
fn pk09_the_same_inputs_have_the_same_ids() {
    if !is_root("building packages") {
        return;
    }
    let (one, same, other) = (tree("app"), tree("app"), tree("another app"));
    for tree in [&one, &same, &other] {
        tree.build();
    }
    for name in ["base", "app", "command", "root"] {
        assert_eq!(one.id(name), same.id(name));
        let bytes = |tree: &Tree| {
            let tarball = format!("packages/{name}/{}.tar.xz", tree.id(name));
            std::fs::read(tree.cache().join(tarball)).unwrap()
        };
        assert!(bytes(&one) == bytes(&same), "the tarballs of {name} are equal");
        // What is changed has another id, and so has what requires it.
        let is_changed = matches!(name, "app" | "root");
        assert_eq!(one.id(name) != other.id(name), is_changed, "{name}");
    }
    assert_eq!(one.bootstrap().file_name(), same.bootstrap().file_name());
    assert_ne!(one.bootstrap().file_name(), other.bootstrap().file_name());
}

#[test]
fn a_bootstrap_makes_a_bare_machine_a_node() {
    let Some(mut host) = Host::boot("bootstrap", Some(256)) else { return };
    let of_the_installer = |path: &Path| path.starts_with("etc/mesosphere") || path.starts_with("srv");
    let bare = host.machine.snapshot().unwrap().without(of_the_installer);
    let tree = tree("app");
    tree.build();
    let root = host.path("/opt/mesosphere");
    std::fs::create_dir_all(&root).unwrap();
    let unpacked = Command::new("tar").arg("-xJf").arg(tree.bootstrap()).arg("-C").arg(&root).status();
    assert!(unpacked.unwrap().success());
    host.write("/etc/mesosphere/roles/master", "");
    host.write("/etc/mesosphere/setup-flags/cluster-packages.json", "[]");
    let said = host.pkgpanda(&["setup"]);
    assert!(said.contains("Calculated active packages from bootstrap tarball"), "{said}");
    host.units_follow_links();
    assert_eq!(host.systemd().is_system_running().unwrap(), SystemState::Running);
    let mut wanted = ["app", "base", "command", "root"].map(|name| tree.id(name));
    wanted.sort();
    assert_eq!(host.active(), wanted);
    host.pkgpanda(&["verify"]);
    assert_eq!(host.sh(". /opt/mesosphere/environment.export; app; echo $BASE"), "app\n1");

    // To the next version and back, with a task running all the while.
    let before = host.visible();
    let task = eventually("the task runs", || {
        let pid = std::fs::read_to_string(host.path("/srv/task")).ok()?;
        pid.ends_with('\n').then(|| pid.trim().to_owned())
    });
    let started = || host.sh(&format!("cut -d ' ' -f 22 /proc/{task}/stat"));
    let (since, pids) = (started(), host.pids(&UNITS));
    let old = tree.id("app");
    app(&tree, "newer");
    tree.build();
    let copied = Command::new("cp").arg("-r").arg(tree.cache()).arg(host.path("/srv/repository")).status();
    assert!(copied.unwrap().success());
    let new = tree.id("app");
    host.pkgpanda(&["fetch", "--repository-url=file:///srv/repository", &new]);
    host.pkgpanda(&["swap", &new]);
    assert_eq!(host.sh("/opt/mesosphere/bin/app"), "newer");
    host.pkgpanda(&["swap", &old]);
    assert_eq!(before.differences(&host.visible()), [""; 0]);
    host.units_follow_links();
    assert_eq!(started(), since);
    assert_eq!(host.pids(&UNITS)["dcos-base.service"], pids["dcos-base.service"]);

    // What was changed by hand is found.
    host.sh(&format!("echo tampered >> /opt/mesosphere/packages/{old}/bin/app"));
    let said = host.run(&["verify"]);
    assert!(said.code == Some(1) && format!("{said:?}").contains("bin/app"), "{said:?}");

    host.machine.power_off();
    host.machine.boot_again().unwrap();
    host.units_follow_links();
    host.pkgpanda(&["uninstall"]);
    let left = host.machine.snapshot().unwrap().without(of_the_installer);
    assert_eq!(bare.differences(&left), [""; 0]);
}
