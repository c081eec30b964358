//! Users, state directories and units; and what the host refuses.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use ::host::{Accounts, is_root};
use serde_json::json;
use systemd::Systemd;

use crate::scene::Scene;

/// A scene with users and groups of its own, which the programs that change them see as the machine's.
fn with_accounts() -> Option<Scene> {
    if !is_root() {
        eprintln!("SKIP making accounts: it needs root");
        return None;
    }
    let mut scene = Scene::new();
    scene.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndcos_ops:x:700:700:Someone:/:/bin/sh\n");
    scene.file("etc/group", "root:x:0:\ndcos_ops:x:700:\nwheel:x:50:\n");
    scene.file("etc/shadow", "root:*:1::::::\ndcos_ops:*:1::::::\n");
    scene.file("etc/gshadow", "root:*::\ndcos_ops:*::\nwheel:*::\n");
    scene.file("etc/login.defs", "USERGROUPS_ENAB yes\n");
    let script = format!("mount --bind {} /etc && exec \"$@\"", scene.path("etc").display());
    let prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
    scene.config().accounts = Accounts::of(scene.path("etc"), prefix.map(OsString::from));
    scene.package("a--1", &json!({"username": "dcos_a", "state_directory": true}), &[]);
    scene.package("b--1", &json!({"username": "dcos_b", "group": "wheel"}), &[]);
    Some(scene)
}

#[test]
fn users_and_state_directories_are_made_and_go_with_the_root() {
    let Some(scene) = with_accounts() else { return };
    let before = fs::read_to_string(scene.path("etc/passwd")).unwrap();
    scene.file("state/kept", "");
    scene.package("c--1", &json!({"username": "dcos_ops", "state_directory": true}), &[]);
    scene.run(&["activate", "a--1", "b--1", "c--1"]).prints("");
    let accounts = Accounts::of(scene.path("etc"), []);
    let (a, b) = (accounts.user("dcos_a").unwrap(), accounts.user("dcos_b").unwrap());
    assert_eq!((b.gid, fs::metadata(scene.path("state/a")).unwrap().uid()), (50, a.uid));
    assert_eq!(fs::metadata(scene.path("state/c")).unwrap().uid(), 700);
    // The user's own, and what came there meanwhile.
    scene.file("state/a/data", "");
    scene.run(&["activate", "b--1"]).prints("");
    assert!(scene.path("state/a/data").exists(), "state outlives its package");
    assert_eq!(scene.run(&["uninstall"]).code, 0);
    assert_eq!(fs::read_to_string(scene.path("etc/passwd")).unwrap(), before);
    assert!(!scene.path("state/a").exists() && scene.path("state/kept").exists());
}

#[test]
fn users_that_cannot_be_had_are_told_before_anything_changes() {
    let Some(scene) = with_accounts() else { return };
    scene.package("c--1", &json!({"username": "dcos_c", "group": "nogroup"}), &[]);
    scene.package("d--1", &json!({"username": "dcos_ops", "group": "wheel"}), &[]);
    scene.package("e--1", &json!({"username": "dcos_E"}), &[]);
    scene.file("conf/manual_host_users", "");
    let before = scene.picture("etc");
    scene.run(&["activate", "a--1", "c--1", "d--1"]).fails(&[
        "Validation Error: user dcos_a does not exist, and ",
        "manual_host_users forbids making it",
        "user dcos_c has to be in group nogroup, which this host does not have",
        "user dcos_ops exists and is not in group wheel: add it (usermod -a -G wheel dcos_ops)",
    ]);
    scene
        .run(&["activate", "e--1"])
        .fails(&["package e--1: `username` is \"dcos_E\", allowed is dcos_ and letters"]);
    assert_eq!(scene.picture("etc"), before);
    assert!(!scene.root("current").exists() && !scene.path("state").exists());
}

/// What a program that stands for systemctl answers: `show` and `journalctl` tell of a unit that failed.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >> "$0.log"
case "$*" in
*is-system-running*) cat "$0.state" ;;
*show*) for unit; do :; done; echo "Id=$unit"; echo LoadState=loaded; cat "$0.unit" ;;
*--unit*) echo "cannot bind to port 80" ;;
esac
"#;

fn with_systemd() -> Scene {
    let mut scene = Scene::new();
    scene.packages();
    scene.file("systemctl", SYSTEMCTL);
    scene.file("systemctl.state", "running\n");
    scene.file("systemctl.unit", "ActiveState=active\nSubState=running\nResult=success\n");
    scene.config().systemd = Systemd::of([scene.path("systemctl").into()]);
    scene
}

/// What systemd was asked for since the last time.
fn asked(scene: &Scene) -> Vec<String> {
    let log = fs::read_to_string(scene.path("systemctl.log")).unwrap_or_default();
    let _ = fs::remove_file(scene.path("systemctl.log"));
    let words = |line: &str| line.replace("systemctl ", "").replace("-- ", "");
    log.lines().map(words).filter(|line| !line.starts_with("is-") && !line.starts_with("show")).collect()
}

const UNIT: &str = "dcos-mesos-master.service";

#[test]
fn units_that_are_concerned_stop_and_start() {
    let scene = with_systemd();
    let run = |words: &[&str]| scene.run_plain(&[words, &["--rooted-systemd"]].concat());
    run(&["activate", "lib--1", "mesos--1", "config--a"]).prints("");
    let up =
        ["daemon-reload", "enable --no-reload --quiet dcos.target", &format!("start dcos.target {UNIT}")];
    assert!(scene.root("dcos.target").exists());
    let all = asked(&scene);
    assert!(all.ends_with(&up.map(str::to_owned)), "{all:?}");
    run(&["swap", "mesos--2"]).prints("");
    let all = asked(&scene);
    assert_eq!(all[..2], [format!("stop {UNIT}"), format!("reset-failed {UNIT}")]);
    assert_eq!(all[2..], up.map(str::to_owned));
    // Nothing changes: what does not run is started all the same, and waited for by nobody.
    run(&["activate", "lib--1", "mesos--2", "config--a", "--no-block-systemd"]).prints("");
    assert_eq!(
        asked(&scene),
        ["enable --no-reload --quiet dcos.target", &format!("start --no-block dcos.target {UNIT}")]
    );
    // A stop that is not waited for may not have begun: it must not be cancelled by the start.
    run(&["swap", "mesos--1", "--no-block-systemd"]).prints("");
    let all = asked(&scene);
    assert_eq!(all[0], format!("stop --no-block {UNIT}"));
    let last = [format!("restart --no-block {UNIT}"), "start --no-block dcos.target".to_owned()];
    assert!(all.ends_with(&last), "{all:?}");
    // By its links alone.
    fs::remove_file(scene.root("current")).unwrap();
    assert_eq!(run(&["uninstall"]).code, 0);
    let all = asked(&scene);
    assert_eq!(all[0], "disable --no-reload --quiet dcos.target");
    assert!(all.contains(&format!("stop {UNIT}")) && all.contains(&"daemon-reload".to_owned()), "{all:?}");
}

#[test]
fn units_of_a_set_that_is_not_known_any_more_stop() {
    let scene = with_systemd();
    let run = |words: &[&str]| scene.run_plain(&[words, &["--rooted-systemd"]].concat());
    run(&["activate", "lib--1", "mesos--1"]).prints("");
    scene.file("root/generations/1/set.json", "{");
    asked(&scene);
    let ran = run(&["activate", "lib--1"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
    let all = asked(&scene);
    assert!(all.contains(&format!("stop {UNIT}")) && all.contains(&"daemon-reload".to_owned()), "{all:?}");
    assert!(!scene.root(UNIT).is_symlink());
}

#[test]
fn a_unit_that_does_not_start_is_named_with_its_log() {
    let scene = with_systemd();
    let run = |words: &[&str]| scene.run_plain(&[words, &["--rooted-systemd"]].concat());
    run(&["activate", "lib--1", "mesos--1"]).prints("");
    run(&["check"]).prints("");
    scene.file(
        "systemctl.unit",
        "ActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainCode=1\nExecMainStatus=7\n",
    );
    let ran = run(&["swap", "mesos--2"]);
    ran.fails(&[
        "ERROR: the new set is active, but not all of its units start",
        UNIT,
        "exited 7",
        "cannot bind to port 80",
    ]);
    scene.run(&["active"]).prints("lib--1\nmesos--2\n");
    run(&["activate", "lib--1", "mesos--1"]).fails(&[UNIT]);
    // The marker goes: there is nothing left to set up.
    scene.file("root/bootstrap", "");
    let ran = run(&["setup"]);
    assert_eq!(ran.code, 1);
    ran.tells(&[UNIT, "cannot bind to port 80"]);
    assert!(!scene.root("bootstrap").exists());
    let ran = run(&["swap", "mesos--2", "--rollback-on-failed-checks"]);
    ran.fails(&["cannot bind to port 80", "going back to the last good set failed"]);
    scene.run(&["active"]).prints("lib--1\nmesos--1\n");
}

#[test]
fn without_systemd_nothing_is_begun() {
    let mut scene = Scene::new();
    scene.packages();
    let words = ["activate", "lib--1", "--rooted-systemd"];
    scene.run_plain(&words).fails(&["ERROR: systemd does not run on this host", "use --no-systemd"]);
    scene.file("systemctl", SYSTEMCTL);
    scene.file("systemctl.state", "offline\n");
    scene.config().systemd = Systemd::of([scene.path("systemctl").into()]);
    scene.run_plain(&words).fails(&["ERROR: systemd does not run on this host (offline)"]);
    assert!(!scene.root("current").exists());
}

#[test]
fn units_stay_where_they_were_linked() {
    let scene = Scene::new();
    scene.packages();
    scene.run(&["activate", "lib--1"]).prints("");
    let ran = scene.run_plain(&["activate", "lib--1", "--no-systemd"]);
    let elsewhere = format!("not in {}", scene.path("units").display());
    ran.fails(&["ERROR: units of the active packages are linked in ", &elsewhere]);
}

/// A root on a file system of its own, which is unmounted at the end.
struct Mounted<'a>(&'a Scene);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.root("")).status();
    }
}

#[test]
fn on_a_read_only_root_can_be_looked_but_nothing_changed() {
    if !is_root() {
        eprintln!("SKIP a read-only root: mounting needs root");
        return;
    }
    let scene = Scene::new();
    scene.packages();
    let mount = |options: &str| {
        let ended =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(scene.root("")).status();
        assert!(ended.unwrap().success());
    };
    mount("mode=755");
    let _mounted = Mounted(&scene);
    scene.run(&["activate", "lib--1"]).prints("");
    scene.file("root/bootstrap", "");
    mount("remount,ro");
    let before = scene.picture("root");
    scene.run(&["active"]).prints("lib--1\n");
    scene.run(&["list"]).prints("config:\n  a\n  b\nlib--1\nmesos:\n  1\n  2\n");
    scene.run(&["check"]).prints("");
    for words in [
        &["activate", "config--a"][..],
        &["swap", "lib--1"],
        &["remove", "config--a"],
        &["setup"],
        &["rollback"],
    ] {
        let ran = scene.run(words);
        assert_eq!(ran.code, 1, "{words:?}");
        ran.tells(&["ERROR: lock ", "pkgpanda.lock (mount it writable): Read-only file system"]);
    }
    let ran = scene.run(&["uninstall"]);
    assert_eq!(ran.code, 1);
    ran.tells(&["Read-only file system"]);
    assert_eq!(scene.picture("root"), before);
}

#[test]
fn others_than_root_are_told_to_be_root() {
    if !is_root() {
        eprintln!("SKIP being somebody else: it needs root");
        return;
    }
    let scene = Scene::new();
    scene.packages();
    scene.run(&["activate", "lib--1"]).prints("");
    scene.file("root/install_progress", "{");
    for directory in ["", "root", "conf", "repository"] {
        fs::set_permissions(scene.path(directory), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let active = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=4321", "--regid=4321", "--clear-groups"]);
        command.arg(std::env::current_exe().unwrap());
        command.args(["--exact", "crash::as_a_process", "--nocapture"]);
        command.env("PKGPANDA_TEST_WORDS", "active").env("PKGPANDA_TEST_SCENE", scene.path(""));
        command.output().unwrap()
    };
    // It is under way, and not interrupted.
    let held = ::host::FileLock::take(&scene.root("pkgpanda.lock")).unwrap();
    let ended = active();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    drop(held);
    let ended = active();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("was interrupted: run `pkgpanda active` as root"), "{said}");
    let ran = scene.run(&["active"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "lib--1\n"));
    ran.tells(&["had been interrupted"]);
    scene.run(&["active"]).prints("lib--1\n");
}
