//! A bare host asks for a bootstrap.

use std::fs;
use std::os::unix::fs::symlink;

use ::host::is_root;
use systemd::Systemd;

use crate::scene::Scene;

/// Stands for systemctl: its units bring what is in the file `brings`, and take the marker away.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >> "$0.log"
root="${0%/*}/root"
case "$*" in
*is-system-running*) echo running ;;
*show*) for unit; do :; done; echo "Id=$unit"; echo LoadState=loaded; cat "$0.unit" ;;
*--unit*) echo "curl: (22) The requested URL returned error: 404" ;;
*--no-block*) ;;
*"start -- dcos-download.service") [ ! -e "$0.unit" ] || exit 1
    mkdir -p "$root/active" "$root/bin"; > "$root/bootstrap"; > "$root/bin/pkgpanda"; . "$0.brings" ;;
*"start -- dcos-setup.service") [ -e "$0.stuck" ] || rm -f "$root/bootstrap" ;;
esac
"#;

/// A host on which nothing is; none, and says SKIP, for others than root.
fn bare() -> Option<Scene> {
    if !is_root() {
        eprintln!("SKIP a bootstrap: it needs root");
        return None;
    }
    let mut scene = Scene::new();
    scene.file("systemctl", SYSTEMCTL);
    scene.file("systemctl.brings", ":\n");
    scene.config().systemd = Systemd::of([scene.path("systemctl").into()]);
    scene.file(
        "remote/bootstrap/8e0d.bootstrap.tar.xz.sha256",
        &format!("{}  8e0d.bootstrap.tar.xz\n", hash()),
    );
    Some(scene)
}

fn hash() -> String {
    "ab".repeat(32)
}

fn url(scene: &Scene) -> String {
    format!("--repository-url=file://{}/", scene.path("remote").display())
}

/// What systemd was asked to do since the last time.
fn asked(scene: &Scene) -> Vec<String> {
    let log = fs::read_to_string(scene.path("systemctl.log")).unwrap_or_default();
    let _ = fs::remove_file(scene.path("systemctl.log"));
    let words = |line: &str| line.replace("systemctl ", "").replace("-- ", "");
    log.lines().map(words).filter(|line| !line.starts_with("is-") && !line.starts_with("show")).collect()
}

fn text(scene: &Scene, path: &str) -> String {
    fs::read_to_string(scene.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

const DONE: &str = "Downloading bootstrap 8e0d\nSetting it up\n\
                    This host is a node: `pkgpanda active` tells its packages\n";

#[test]
fn a_bare_host_becomes_a_node_and_again_is_no_other() {
    let Some(scene) = bare() else { return };
    let words = ["bootstrap", "8e0d", &url(&scene), "--role=slave", "--role=master"];
    let ran = scene.run_plain(&words);
    assert_eq!((ran.code, ran.out.as_str()), (0, &*format!("Roles of this host: master, slave\n{DONE}")));
    ran.tells(&["WARNING: ", "is trusted to say what bootstrap 8e0d is: SHA-256 abab"]);
    let both = "dcos-download.service dcos-setup.service";
    let expected = [
        "daemon-reload".to_owned(),
        format!("reset-failed {both}"),
        "start dcos-download.service".into(),
        "start dcos-setup.service".into(),
    ];
    assert_eq!(asked(&scene), expected);
    let download = text(&scene, "units/dcos-download.service");
    let url_text = format!("file://{}", scene.path("remote").display());
    assert!(download.contains(&hash()), "{download}");
    assert!(download.contains(&format!("{url_text}/bootstrap/8e0d.bootstrap.tar.xz")), "{download}");
    let condition = format!("ConditionPathExists=!{}/\n", scene.root("active").display());
    assert!(download.contains(&condition), "{download}");
    assert!(text(&scene, "units/dcos-setup.service").contains("pkgpanda setup"));
    assert!(text(&scene, "units/dcos.target").contains("WantedBy=multi-user.target"));
    for unit in both.split(' ') {
        let link = fs::read_link(scene.path("units/multi-user.target.wants").join(unit)).unwrap();
        assert_eq!(link, scene.path("units").join(unit));
    }
    assert_eq!(text(&scene, "conf/setup-flags/repository-url"), format!("{url_text}\n"));
    assert_eq!(
        (text(&scene, "conf/roles/master"), text(&scene, "conf/roles/slave")),
        (String::new(), String::new())
    );
    // Again, even where the server is gone: all is there.
    let before = scene.picture("units");
    fs::rename(scene.path("remote"), scene.path("gone")).unwrap();
    scene.file("root/bootstrap", "");
    let ran = scene.run_plain(&words);
    ran.prints(&format!("Roles of this host: master, slave\n{DONE}"));
    fs::rename(scene.path("gone"), scene.path("remote")).unwrap();
    assert_eq!(asked(&scene), expected);
    assert_eq!(scene.picture("units"), before);
    // Another bootstrap does not come to the same root, and neither do other bytes of this one.
    let (url, given) = (url(&scene), format!("--sha256={}", "cd".repeat(32)));
    for words in [&["bootstrap", "8e0e", &url][..], &["bootstrap", "8e0d", &url, &given]] {
        let ran = scene.run_plain(words);
        ran.fails(&["ERROR: the host is left as it was:", "holds DC/OS already: `pkgpanda setup`"]);
    }
    assert_eq!(asked(&scene), [""; 0]);
}

#[test]
fn what_is_wrong_is_told_at_once_and_nothing_is_changed() {
    let Some(mut scene) = bare() else { return };
    scene.file("root/program", "");
    scene.file("conf/roles/.x", "");
    scene.config().systemd = Systemd::of(["/no/such/program".into()]);
    let before = scene.picture("");
    let words =
        ["bootstrap", "a b", "--repository-url=http://h/%n", "--sha256=12", "--role=a b", "--role=c/d"];
    scene.run_plain(&words).fails(&[
        "ERROR: the host is left as it was:\n",
        "\n  systemd does not run on this host",
        "root is not empty, and nothing in it is of pkgpanda: move it away",
        "--repository-url is \"http://h/%n\", allowed is a URL of letters",
        "<bootstrap-id> is \"a b\", allowed is letters",
        "--sha256 is \"12\", allowed is 64 hexadecimal digits",
        "--role: \"a b\" is not a role",
        "--role: \"c/d\" is not a role",
        "\".x\" is not a role",
    ]);
    for (url, expected) in [
        ("ftp://h/x", "the scheme ftp is not known"),
        ("file://x/y", "allowed is an absolute path after file://"),
        ("/srv/x", "--repository-url is \"/srv/x\", allowed is a URL"),
    ] {
        scene.run_plain(&["bootstrap", "8e0d", "--repository-url", url]).fails(&[expected]);
    }
    assert_eq!(scene.picture(""), before);
    // What is no directory of its own.
    fs::remove_dir_all(scene.root("")).unwrap();
    symlink("/nowhere", scene.path("root")).unwrap();
    let url = url(&scene);
    scene.run_plain(&["bootstrap", "8e0d", &url]).fails(&["root is not a directory: move it away"]);
}

#[test]
fn a_hash_that_cannot_be_had_changes_nothing() {
    let Some(scene) = bare() else { return };
    let before = scene.picture("");
    let check = |id: &str, part: &str| {
        scene.run_plain(&["bootstrap", id, &url(&scene)]).fails(&["ERROR: ", part]);
        asked(&scene);
        assert_eq!(scene.picture(""), before);
    };
    check("8e0e", "8e0e.bootstrap.tar.xz.sha256: No such file");
    let file = "remote/bootstrap/8e0d.bootstrap.tar.xz.sha256";
    for (content, part) in [
        ("<html>".to_owned(), "says \"<html>\", and not the 64"),
        ("ab".repeat(3000), "has more than 4096 bytes"),
    ] {
        let whole = text(&scene, file);
        scene.file(file, &content);
        let ran = scene.run_plain(&["bootstrap", "8e0d", &url(&scene)]);
        ran.fails(&[part]);
        scene.file(file, &whole);
        asked(&scene);
        assert_eq!(scene.picture(""), before);
    }
}

#[test]
fn failures_of_the_units_are_told_and_the_next_attempt_finishes() {
    let Some(scene) = bare() else { return };
    let given = format!("--sha256={}", hash().to_uppercase());
    let words = ["bootstrap", "8e0d", &url(&scene), &given];
    let check = |parts: &[&str]| {
        let ran = scene.run_plain(&words);
        assert_eq!(ran.code, 1, "{ran:?}");
        ran.tells(parts);
        asked(&scene);
    };
    scene.file("systemctl.unit", "ActiveState=failed\nSubState=failed\nResult=exit-code\n");
    check(&[
        "ERROR: start dcos-download.service:",
        "is failed (failed), result exit-code",
        "returned error: 404",
    ]);
    fs::remove_file(scene.path("systemctl.unit")).unwrap();
    scene.file("systemctl.brings", "rm \"$root/bin/pkgpanda\"\n");
    check(&["dcos-setup.service ended without a node: no package of it brings ", "bin/pkgpanda"]);
    scene.file("systemctl.brings", ":\n");
    scene.file("systemctl.stuck", "");
    check(&["dcos-setup.service ended without a node: ", "root/bootstrap is still there"]);
    fs::remove_file(scene.path("systemctl.stuck")).unwrap();
    scene.run_plain(&words).prints(&format!("Roles of this host: none\n{DONE}"));
}

#[test]
fn a_download_of_another_bootstrap_is_stopped_first() {
    let Some(scene) = bare() else { return };
    let given = format!("--sha256={}", hash());
    let url = url(&scene);
    let words = |id| ["bootstrap", id, &url, &given, "--no-block-systemd"];
    let ran = scene.run_plain(&words("8e0e"));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    let both = "dcos-download.service dcos-setup.service";
    let up = ["daemon-reload".to_owned(), format!("reset-failed {both}"), format!("start --no-block {both}")];
    assert_eq!(asked(&scene), up);
    assert_eq!(scene.run_plain(&words("8e0d")).code, 0);
    let all = asked(&scene);
    assert_eq!((all[0].as_str(), &all[1..]), ("stop dcos-download.service", &up[..]));
    assert!(text(&scene, "units/dcos-download.service").contains("/8e0d.bootstrap.tar.xz"));
}

#[test]
fn without_systemd_the_host_is_prepared_for_its_next_start() {
    let Some(mut scene) = bare() else { return };
    scene.config().systemd = Systemd::of(["/no/such/program".into()]);
    let given = format!("--sha256={}", hash());
    scene.run_plain(&["bootstrap", "8e0d", &url(&scene), &given, "--no-systemd"]).prints(
        "Roles of this host: none\nBootstrap 8e0d is downloaded and set up when this host starts the next time\n",
    );
    assert!(scene.path("units/multi-user.target.wants/dcos-download.service").exists());
}
