//! A node out of packages: what their build scripts make, activated on a machine with systemd.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use testkit::Machine;

use crate::apps::DCOS;
use crate::machines::{Cluster, configure, give_address};
use crate::packages::{folder, names};

/// Packages whose sources are Debian's: without a network they cannot be made.
const OF_DEBIAN: [&str; 3] = ["cni", "debian-runtime", "logrotate"];
const TASKS: u32 = 5;

/// Runs a shell script in the machine and returns what it prints.
#[track_caller]
fn sh(machine: &Machine, script: &str) -> String {
    let ran = machine.run("bash", &["-euc", script]);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{script}: {said}{}", String::from_utf8_lossy(&ran.stdout));
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// Makes the package by its own build script, in the places that mkpanda gives it.
fn build(machine: &Machine, name: &str) {
    let folder = folder().join(name);
    let text = fs::read_to_string(folder.join("buildinfo.json")).unwrap();
    let mut info: Value = serde_json::from_str(&text).unwrap();
    let members = info.as_object_mut().unwrap();
    members.retain(|key, _| ["requires", "username", "state_directory"].contains(&key.as_str()));
    if let Some(requires) = members.get_mut("requires") {
        let required = requires.as_array_mut().unwrap();
        required.retain(|name| !OF_DEBIAN.contains(&name.as_str().unwrap()));
    }
    let root = machine.root();
    let copy = |from: &Path, to: &str| {
        let ran = std::process::Command::new("cp").arg("-a").arg(from).arg(root.join(to)).status();
        assert!(ran.unwrap().success(), "copying {}", from.display());
    };
    sh(machine, &format!("rm -rf /pkg; mkdir -p /pkg/src /opt/mesosphere/packages/{name}--test"));
    copy(&folder.join("build"), "pkg/build");
    if folder.join("extra").exists() {
        copy(&folder.join("extra"), "pkg/extra");
    }
    if name == "dcos" {
        sh(machine, "mkdir /pkg/src/dcos");
        copy(Path::new(DCOS), "pkg/src/dcos/dcos");
        copy(&folder.join("../../LICENSE"), "pkg/src/dcos/LICENSE");
    }
    let environment = format!("PKG_PATH=/opt/mesosphere/packages/{name}--test PKG_NAME={name}");
    sh(machine, &format!("umask 022; {environment} bash -o nounset -o pipefail -o errexit /pkg/build"));
    fs::write(root.join(format!("opt/mesosphere/packages/{name}--test/pkginfo.json")), info.to_string())
        .unwrap();
}

#[test]
fn packages_make_a_node() {
    let machine = match Machine::boot("node") {
        Ok(machine) => machine,
        Err(reason) => {
            eprintln!("SKIP a node out of packages: {reason}");
            return;
        }
    };
    give_address(&machine);
    sh(&machine, "mkdir -p /opt/mesosphere/packages");
    let packages: Vec<String> =
        names().into_iter().filter(|name| !OF_DEBIAN.contains(&name.as_str())).collect();
    packages.iter().for_each(|name| build(&machine, name));
    configure(&machine.root(), "opt/mesosphere/packages/dcos-config--setup_test");
    let mut ids: Vec<String> = packages.iter().map(|name| format!("{name}--test")).collect();
    ids.push("dcos-config--setup_test".to_owned());
    let pkgpanda = "/opt/mesosphere/packages/dcos--test/bin/pkgpanda";
    sh(&machine, &format!("{pkgpanda} activate {}", ids.join(" ")));

    // Units answer when they are active: nothing has to be waited for.
    let units = [
        ("dcos-mesos-master", "dcos_mesos_master"),
        ("dcos-mesos-slave", "root"),
        ("dcos-marathon", "dcos_marathon"),
        ("dcos-adminrouter", "dcos_adminrouter"),
        ("dcos-adminrouter-agent", "dcos_adminrouter"),
        ("dcos-pkgpanda-api", "root"),
    ];
    for (unit, user) in units {
        let state =
            sh(&machine, &format!("systemctl is-active {unit}.service || journalctl --no-pager -u {unit}"));
        assert_eq!(state.trim(), "active", "{unit}");
        let pid = sh(&machine, &format!("systemctl show --property=MainPID --value {unit}.service"));
        assert_eq!(sh(&machine, &format!("stat -c %U /proc/{}", pid.trim())).trim(), user, "{unit}");
    }
    sh(&machine, "/opt/mesosphere/bin/pkgpanda check");
    assert_eq!(
        sh(&machine, "/opt/mesosphere/bin/dcos-shell sh -c 'echo $MESOS_IP_DISCOVERY_COMMAND'").trim(),
        "/opt/mesosphere/bin/detect_ip"
    );
    let cluster = Cluster::of_packages(&machine);
    let id = sh(&machine, "cat /var/lib/dcos/cluster-id");
    assert_eq!(cluster.ask(&[], "/metadata").unwrap()["CLUSTER_ID"], id.trim());

    let active = cluster.ask(&[], "/pkgpanda/active/").unwrap();
    assert!(active.as_array().unwrap().contains(&json!("dcos--test")), "{active}");
    assert_eq!(cluster.status_for_a_stranger("/pkgpanda/active/"), "401");

    cluster.launch_sleepers(TASKS);
    let before = cluster.sleepers(TASKS);
    sh(&machine, "systemctl restart dcos-mesos-slave.service");
    sh(&machine, "systemctl kill --signal=KILL dcos-mesos-master.service dcos-marathon.service");
    assert_eq!(cluster.sleepers(TASKS), before);
    for log in ["mesos-master/log/mesos-master.log", "mesos-agent/log/mesos-agent.log"] {
        assert!(machine.root().join("var/lib/dcos").join(log).metadata().unwrap().len() > 0, "{log}");
    }
}
