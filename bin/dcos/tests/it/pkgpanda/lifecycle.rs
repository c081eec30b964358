//! A host's life: set up, changed, rebooted, bare again.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use systemd::SystemState;
use testkit::eventually;

use super::host::{Host, ids};
use super::package::Package;
use super::sets::{self, app, base, newer_app, newer_base, other};

const UNITS: [&str; 4] = ["dcos-app.service", "dcos-base.service", "dcos-gone.service", "dcos-other.service"];

/// Pid and start time of a process inside, by which it is the same one.
fn process(host: &Host, pid: &str) -> String {
    let stat = host.sh(&format!("cat /proc/{pid}/stat"));
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    format!("{pid} since {}", fields[19])
}

/// The task of `app`, as soon as it runs.
fn task(host: &Host) -> String {
    let pid = eventually("the task runs", || {
        let pid = std::fs::read_to_string(host.path("/srv/task")).ok()?;
        pid.ends_with('\n').then(|| pid.trim().to_owned())
    });
    process(host, &pid)
}

#[test]
fn setup_makes_a_bare_machine_a_node_and_a_reboot_does_not_change_that() {
    let Some(mut host) = Host::boot("setup", Some(256)) else { return };
    host.bootstrap(&sets::first());
    let config = Package::new("config--setup").file("etc/config.json", "{}");
    config.write(&host.path("/etc/mesosphere/setup-packages"));
    let said = host.pkgpanda(&["setup"]);
    assert!(said.contains("Installing setup package: config--setup"), "{said}");
    assert!(!host.exists("/opt/mesosphere/bootstrap"), "the marker is gone");
    let mut wanted = ids(&sets::first());
    wanted.push(config.id.clone());
    wanted.sort();
    assert_eq!(host.active(), wanted);
    host.units_follow_links();
    assert_eq!(host.pids(&UNITS).len(), UNITS.len());
    assert_eq!(host.systemd().is_system_running().unwrap(), SystemState::Running);
    assert_eq!(
        host.sh(". /opt/mesosphere/environment.export; base; app; other; cat $BASE_HOME/etc/base.conf"),
        "base\napp 1\nother\nbase"
    );
    assert!(host.exists("/opt/mesosphere/bin/other-on-masters"), "files for the host's role are there");

    let before = host.visible();
    host.machine.power_off();
    host.machine.boot_again().unwrap();
    host.units_follow_links();
    assert_eq!(host.systemd().is_system_running().unwrap(), SystemState::Running);
    assert_eq!(before.differences(&host.visible()), [""; 0]);
    // Again: there is nothing to do.
    let pids = host.pids(&UNITS);
    host.pkgpanda(&["setup"]);
    assert_eq!(host.pids(&UNITS), pids);
    host.machine.cut_power();
    host.machine.boot_again().unwrap();
    host.units_follow_links();
    assert_eq!(host.active(), wanted);
    assert_eq!(before.differences(&host.visible()), [""; 0]);
}

#[test]
fn a_swap_restarts_what_it_is_about_and_nothing_else() {
    let Some(host) = Host::with("swap", None, &sets::first()) else { return };
    host.add(&[newer_app(), newer_base()]);
    let (first, task_before) = (host.visible(), task(&host));
    host.units_follow_links();
    let mut pids = host.pids(&UNITS);
    // Swaps to that package; exactly these units have another process then.
    let mut check = |id: &str, restarted: &[&str]| {
        host.pkgpanda(&["swap", id]);
        host.units_follow_links();
        let now = host.pids(&UNITS);
        let changed: Vec<&str> = UNITS.into_iter().filter(|unit| pids[*unit] != now[*unit]).collect();
        assert_eq!(changed, restarted, "swap {id}");
        assert_eq!(task(&host), task_before, "swap {id}");
        pids = now;
    };
    check("app--2", &["dcos-app.service"]);
    assert_eq!(
        host.sh("cat /opt/mesosphere/lib/app /opt/mesosphere/etc/app/directory/file"),
        "a filea directory"
    );
    assert_eq!(host.sh("/opt/mesosphere/bin/app; /opt/mesosphere/bin/app-new"), "app 2\nnew");
    check("app--1", &["dcos-app.service"]);
    assert_eq!(first.differences(&host.visible()), [""; 0]);
    check("base--2", &["dcos-app.service", "dcos-base.service"]);
    assert_eq!(host.sh(". /opt/mesosphere/environment; base; echo $BASE_NEW"), "newer base\nyes");
    check("base--1", &["dcos-app.service", "dcos-base.service"]);
    assert_eq!(first.differences(&host.visible()), [""; 0]);
    check("app--1", &[]);
}

#[test]
fn uninstalling_leaves_no_trace() {
    let Some(host) = Host::boot("uninstall", None) else { return };
    // What an installer lays down it takes away itself.
    let of_the_installer = |path: &Path| path.starts_with("etc/mesosphere") || path.starts_with("srv");
    let bare = host.machine.snapshot().unwrap().without(of_the_installer);
    let mut packages = sets::first();
    packages.push(
        Package::new("state--1")
            .info("state_directory", json!(true))
            .info("username", json!("dcos_state"))
            .info("sysctl", json!({"dcos-state": {"vm.swappiness": 10}}))
            .service(
                "dcos-state.service",
                &format!("echo kept > /var/lib/dcos/state/file; {}", sets::FOR_EVER),
            ),
    );
    host.bootstrap(&packages);
    host.pkgpanda(&["setup"]);
    host.units_follow_links();
    eventually("the service keeps state", || host.exists("/var/lib/dcos/state/file").then_some(()));
    assert!(host.sh("getent passwd dcos_state").contains(":DCOS System User:/opt/mesosphere:/sbin/nologin"));
    host.add(&[newer_app()]);
    host.pkgpanda(&["swap", "app--2"]);

    host.pkgpanda(&["uninstall"]);
    assert_eq!(host.sh("systemctl list-units --plain --no-legend 'dcos*'"), "", "no unit is left");
    let left = host.machine.snapshot().unwrap().without(of_the_installer);
    assert_eq!(bare.differences(&left), [""; 0]);
    assert_eq!(host.systemd().is_system_running().unwrap(), SystemState::Running);
    let message = host.refuses(&["active"]);
    assert!(message.contains("Has it been bootstrapped?"), "{message}");

    // And from the beginning.
    host.bootstrap(&[base(), app(), other()]);
    host.pkgpanda(&["setup"]);
    host.units_follow_links();
    let pids: BTreeMap<String, u32> = host.pids(&UNITS);
    assert_eq!(pids.len(), 3);
}
