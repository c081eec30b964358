//! Every command that changes something is killed before each of its changes in turn, and run again.
//!
//! strace kills at the n-th system call that changes a directory or waits for the disk, on its way in.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use serde_json::json;

use crate::scene::Scene;

/// What the test `as_a_process` reads its words from, one a line.
const WORDS: &str = "PKGPANDA_TEST_WORDS";
/// And the scene that it works on.
const SCENE: &str = "PKGPANDA_TEST_SCENE";
/// Calls before each of which a crash makes a difference.
const CALLS: [&str; 17] = [
    "mkdir",
    "mkdirat",
    "symlink",
    "symlinkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "fsync",
    "syncfs",
    "fchmod",
    "chown",
    "fchownat",
    "utimensat",
    "copy_file_range",
];

/// What ends with this was never anything, and goes with the next change.
const UNFINISHED: &str = ".unfinished";

/// No test of its own: what `killed` runs in a process of its own.
#[test]
fn as_a_process() {
    let (Ok(words), Some(dir)) = (std::env::var(WORDS), std::env::var_os(SCENE)) else { return };
    let words: Vec<&str> = words.lines().collect();
    let ran = Scene::at(dir.as_ref()).run(&words);
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// Runs a command and kills it at its n-th call of that name; says whether it came so far.
fn killed(scene: &Scene, words: &[&str], call: &str, at: usize) -> bool {
    let mut strace = Command::new("strace");
    strace.args(["--follow-forks", "--quiet=all", "--output=/dev/null"]);
    strace.arg(format!("--trace={call}")).arg(format!("--inject={call}:signal=SIGKILL:when={at}"));
    strace.arg(std::env::current_exe().unwrap()).args(["--exact", "crash::as_a_process", "--nocapture"]);
    let ended = strace.env(WORDS, words.join("\n")).env(SCENE, scene.path("")).output();
    let ended = ended.expect("strace is there: see TOOLS_TEST in the Makefile");
    match ended.status.signal() {
        Some(9) => true,
        _ => {
            assert!(ended.status.success(), "{at}: {}", String::from_utf8_lossy(&ended.stdout));
            false
        }
    }
}

/// A scene in which all that the commands need is there, and this set is active.
fn scene(active: &[&str]) -> Scene {
    let scene = Scene::new();
    scene.packages();
    scene.package("state--1", &json!({"state_directory": true}), &[]);
    if !active.is_empty() {
        let words: Vec<&str> = ["activate"].iter().chain(active).copied().collect();
        scene.run(&words).prints("");
    }
    scene
}

/// The root as a user sees it, without the numbers of generations.
fn seen(scene: &Scene) -> BTreeMap<String, String> {
    let mut seen = scene.picture("root");
    let is_seen = |path: &str| {
        !path.starts_with("generations")
            && !["current", "made.json"].contains(&path)
            && !path.ends_with(UNFINISHED)
    };
    seen.retain(|path, _| is_seen(path));
    for file in ["environment", "active.buildinfo.full.json", "etc/dcos-service-configuration.json"] {
        let text = std::fs::read_to_string(scene.root(file)).unwrap_or_default();
        // Only the scene's own directory differs between two scenes.
        seen.insert(format!("text of {file}"), text);
    }
    let own = scene.path("").display().to_string();
    let place = |what: String| what.replace(own.trim_end_matches('/'), "SCENE");
    seen.extend(scene.run(&["active"]).out.lines().map(|id| (format!("active {id}"), String::new())));
    seen.into_iter().map(|(path, what)| (path, place(what))).collect()
}

/// Kills a command at every change, and has `judge` look at what is left.
fn at_every_change(words: &[&str], mut before: impl FnMut() -> Scene, mut judge: impl FnMut(&Scene, &str)) {
    if !::host::is_root() {
        eprintln!("SKIP crashes of {words:?}: tracing needs root");
        return;
    }
    let mut kills = 0;
    for call in CALLS {
        for at in 1.. {
            let scene = before();
            if !killed(&scene, words, call, at) {
                break;
            }
            judge(&scene, &format!("{call} {at}"));
            kills += 1;
        }
    }
    eprintln!("{words:?} was killed {kills} times");
    assert!(kills > 20, "{words:?} was killed {kills} times only");
}

#[test]
fn an_activation_is_whole_or_has_not_been() {
    let wanted = ["activate", "lib--1", "mesos--1", "state--1"];
    let whole = seen(&scene(&wanted[1..]));
    at_every_change(
        &wanted,
        || scene(&[]),
        |scene, at| {
            let active = scene.run(&["active"]);
            if active.code == 0 {
                assert_eq!(seen(scene), whole, "{at}");
            } else {
                active.tells(&["has no active folder"]);
                let left = scene.picture("root");
                // What was made on the host is remembered, so that it goes away with the root.
                assert!(
                    left.keys().all(|path| path == "made.json" || path.ends_with(UNFINISHED)),
                    "{at}: {left:?}"
                );
            }
            let again = scene.run(&wanted);
            assert_eq!(again.code, 0, "{at}: {again:?}");
            assert_eq!(seen(scene), whole, "{at}");
        },
    );
}

#[test]
fn a_swap_is_whole_or_has_not_been() {
    let old = ["lib--1", "mesos--1", "config--a"];
    let was = seen(&scene(&old));
    let swapped = scene(&old);
    swapped.run(&["swap", "mesos--2"]).prints("");
    let is = seen(&swapped);
    at_every_change(
        &["swap", "mesos--2"],
        || scene(&old),
        |scene, at| {
            let active = scene.run(&["active"]).out;
            let expected = if active.contains("mesos--2") { &is } else { &was };
            assert_eq!(&seen(scene), expected, "{at}");
            assert_eq!(scene.run(&["swap", "mesos--2"]).code, 0, "{at}");
            assert_eq!(seen(scene), is, "{at}");
        },
    );
}

fn bootstrapped() -> Scene {
    let scene = scene(&["lib--1"]);
    scene.file("root/bootstrap", "");
    scene.package_in(
        "conf/setup-packages",
        "env--setup",
        &json!({}),
        &[("etc/some.json", "{}"), ("bin/x", "#!/bin/sh\n")],
    );
    scene.file("conf/setup-flags/cluster-packages.json", r#"["mesos--1","state--1"]"#);
    scene
}

#[test]
fn a_setup_is_finished_by_the_next() {
    let whole = bootstrapped();
    assert_eq!(whole.run(&["setup"]).code, 0);
    let (whole, packages) = (seen(&whole), whole.run(&["list"]).out);
    at_every_change(&["setup"], bootstrapped, |scene, at| {
        let again = scene.run(&["setup"]);
        assert_eq!(again.code, 0, "{at}: {again:?}");
        assert_eq!(seen(scene), whole, "{at}");
        assert_eq!(scene.run(&["list"]).out, packages, "{at}");
        assert!(!scene.path("repository/env--setup_tmp").exists(), "{at}");
    });
}

#[test]
fn an_uninstall_is_finished_by_the_next() {
    let set = ["lib--1", "mesos--1", "state--1"];
    at_every_change(
        &["uninstall"],
        || scene(&set),
        |scene, at| {
            assert!(scene.root("").exists() || !scene.path("state/state").exists(), "{at}");
            let left = std::fs::read_dir(scene.root("")).map_or(0, Iterator::count);
            let again = scene.run(&["uninstall"]);
            if left == 0 {
                again.fails(&["has no active folder"]);
            } else {
                assert_eq!(again.code, 0, "{at}: {again:?}");
                assert!(!scene.root("").exists(), "{at}");
            }
            assert!(!scene.path("state").exists(), "{at}");
        },
    );
}

#[test]
fn who_comes_after_an_interrupted_uninstall_is_told_that_nothing_is_left() {
    let activate = ["activate", "lib--1", "mesos--1"];
    let scene = scene(&activate[1..]);
    if !::host::is_root() || !killed(&scene, &["uninstall"], "unlinkat", 3) {
        eprintln!("SKIP an interrupted uninstall: tracing needs root");
        return;
    }
    scene.run(&activate).fails(&["it was an uninstall, and was finished", "has no active folder"]);
    assert!(!scene.root("").exists());
    scene.run(&activate).prints("");
    scene.run(&["active"]).prints("lib--1\nmesos--1\n");
}
