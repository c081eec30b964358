//! From one set to another and back.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::Duration;

use serde_json::json;

use crate::scene::Scene;

fn link(path: impl AsRef<Path>) -> String {
    fs::read_link(path).unwrap().display().to_string()
}

#[test]
fn a_set_is_merged_and_another_takes_its_place() {
    let scene = Scene::new();
    scene.packages();
    let root = scene.root("").display().to_string().trim_end_matches('/').to_owned();
    scene.run(&["activate", "mesos--1", "lib--1", "config--a"]).prints("");
    for (path, target) in [
        ("active", "current/active"),
        ("bin/mesos", &format!("{root}/active/mesos/bin/mesos")),
        ("bin/mesos-master", &format!("{root}/active/mesos/bin_master/mesos-master")),
        ("etc/mesos/site", &format!("{root}/active/config/etc/mesos/site")),
        ("etc/dcos-service-configuration.json", "../current/dcos-service-configuration.json"),
    ] {
        assert_eq!(link(scene.root(path)), target, "{path}");
    }
    assert_eq!(fs::read_to_string(scene.root("bin/mesos")).unwrap(), "1");
    let unit = "dcos-mesos-master.service";
    for path in [format!("dcos.target.wants/{unit}"), unit.to_owned()] {
        assert!(fs::read_to_string(scene.root(&path)).unwrap().contains("mesos 1"), "{path}");
    }
    let environment = fs::read_to_string(scene.root("environment")).unwrap();
    assert!(environment.contains(&format!("PATH={root}/bin:")) && environment.contains("\nMESOS=1\n"));
    scene.run(&["swap", "mesos--2"]).prints("");
    assert_eq!(fs::read_to_string(scene.root("bin/mesos")).unwrap(), "2");
    assert!(scene.root("bin/only-2").exists() && !scene.root("bin/only-1").is_symlink());
    scene.run(&["active"]).prints("config--a\nlib--1\nmesos--2\n");
    scene.run(&["activate", "lib--1"]).prints("");
    assert!(!scene.root(unit).is_symlink() && !scene.root("etc/mesos").exists());
    scene.run(&["active"]).prints("lib--1\n");
}

#[test]
fn roll_back_and_forth() {
    let scene = Scene::new();
    scene.packages();
    scene.run(&["rollback"]).fails(&["ERROR: there is no last good set of packages"]);
    scene.run(&["activate", "config--a"]).prints("");
    let first = scene.picture("root/etc");
    scene.run(&["rollback"]).fails(&["ERROR: there is no last good set of packages"]);
    // Proven, so that it is what is gone back to.
    scene.run(&["check"]).prints("");
    scene.run(&["activate", "config--b", "lib--1"]).prints("");
    // Not proven: the next one goes back to the first.
    scene.run(&["activate", "config--b"]).prints("");
    let ran = scene.run(&["rollback"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, "Active again: config--a\n"));
    scene.run(&["active"]).prints("config--a\n");
    assert_eq!(scene.picture("root/etc"), first);
    scene.run(&["rollback"]).fails(&["ERROR: there is no last good set of packages"]);
}

#[test]
fn a_check_proves_the_set_that_it_checked_and_no_other() {
    let scene = Scene::new();
    scene.packages();
    let (begun, go) = (scene.path("begun"), scene.path("go"));
    let check =
        format!("#!/bin/sh\n: >{}\nwhile [ ! -e {} ]; do sleep 0.02; done\n", begun.display(), go.display());
    scene.package("slow--1", &json!({}), &[("check/slow", &check)]);
    scene.run(&["activate", "config--a"]).prints("");
    scene.run(&["check"]).prints("");
    scene.run(&["activate", "slow--1"]).prints("");
    std::thread::scope(|scope| {
        let check = scope.spawn(|| scene.run(&["check"]));
        while !begun.exists() && !check.is_finished() {
            std::thread::yield_now();
        }
        scene.run(&["activate", "config--b"]).prints("");
        fs::write(&go, "").unwrap();
        check.join().unwrap().prints("");
    });
    scene.run(&["activate", "lib--1"]).prints("");
    scene.run(&["rollback"]).tells(&["Active again: config--a\n"]);
}

#[test]
fn a_set_that_cannot_be_read_any_more_is_left_for_another() {
    let scene = Scene::new();
    scene.packages();
    scene.run(&["activate", "config--a"]).prints("");
    scene.run(&["check"]).prints("");
    let damage = |generation: u32| scene.file(format!("root/generations/{generation}/set.json"), "{");
    let warned = |words: &[&str], generation: u32| {
        let ran = scene.run(words);
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
        ran.tells(&["WARNING: ", &format!("generations/{generation}/set.json cannot be used")]);
    };
    scene.run(&["activate", "mesos--1", "lib--1"]).prints("");
    damage(2);
    scene.run(&["active"]).prints("lib--1\nmesos--1\n");
    warned(&["rollback"], 2);
    scene.run(&["active"]).prints("config--a\n");
    assert!(!scene.root("bin/mesos").is_symlink() && !scene.root("dcos-mesos-master.service").is_symlink());
    scene.run(&["activate", "mesos--1", "lib--1"]).prints("");
    damage(4);
    warned(&["swap", "mesos--2"], 4);
    scene.run(&["active"]).prints("lib--1\nmesos--2\n");
    assert!(scene.root("bin/only-2").exists() && !scene.root("bin/only-1").is_symlink());
    // What is gone back to can be read.
    scene.run(&["rollback"]).tells(&["Active again: config--a\n"]);
}

#[test]
fn failed_checks_bring_the_last_good_set_back_if_asked_to() {
    let scene = Scene::new();
    scene.packages();
    scene.package("config--bad", &json!({}), &[("check/fails", "#!/bin/sh\nexit 1\n"), ("etc/x", "")]);
    scene.package("config--good", &json!({}), &[("check/ok", "#!/bin/sh\n"), ("etc/y", "")]);
    // There is nothing to go back to.
    let ran = scene.run(&["activate", "config--bad", "--rollback-on-failed-checks"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "Check failed: fails\n"));
    ran.tells(&["ERROR: not all checks passed; there is no last good set to go back to, so it stays active"]);
    scene.run(&["active"]).prints("config--bad\n");
    scene.run(&["activate", "config--good", "lib--1", "--rollback-on-failed-checks"]).prints("");
    let before = scene.picture("root");
    let ran = scene.run(&["swap", "config--bad", "--rollback-on-failed-checks"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "Check failed: fails\n"));
    ran.tells(&["ERROR: not all checks passed; the last good set is active again: config--good lib--1\n"]);
    scene.run(&["active"]).prints("config--good\nlib--1\n");
    let etc = |picture: &std::collections::BTreeMap<String, String>| {
        picture
            .iter()
            .filter(|(path, _)| path.starts_with("etc"))
            .map(|(path, what)| format!("{path} {what}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(etc(&scene.picture("root")), etc(&before));
    // Without being asked to, it stays.
    scene.run(&["swap", "config--bad"]).prints("");
    scene.run(&["active"]).prints("config--bad\nlib--1\n");
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let scene = Scene::new();
    scene.packages();
    scene.package("thief--1", &json!({}), &[("bin/mesos", "")]);
    scene.package("nobody--1", &json!({"username": "root"}), &[]);
    scene.package("group--1", &json!({"group": "wheel"}), &[]);
    scene.package("path--1", &json!({"environment": {"PATH": "/"}}), &[]);
    scene.package("wants--1", &json!({"requires": ["mesos--1"]}), &[]);
    scene.package("twin--1", &json!({"requires": [{"name": "lib", "variant": "x"}]}), &[]);
    scene.package("target--1", &json!({}), &[("dcos.target.wants/dcos.target", "")]);
    scene.file("repository/odd--1/pkginfo.json", "[]");
    scene.file("repository/empty--1/bin/x", "");
    scene.run(&["activate", "lib--1"]).prints("");
    let before = scene.picture("root");
    for (words, parts) in [
        (&["activate", "lib"][..], &["Validation Error: \"lib\" is not a package id"][..]),
        (&["activate", "a---b"], &["Validation Error: \"-b\" is not a package version"]),
        (&["activate", "../x--1"], &["Validation Error: \"../x\" is not a package name"]),
        (&["activate", "lib--1\n"], &["Validation Error: "]),
        (&["activate", "gone--1"], &["Package Error: gone--1\n"]),
        (&["activate", "odd--1"], &["Package Error: odd--1: pkginfo.json"]),
        (&["activate", "empty--1"], &["Package Error: ", "pkginfo.json"]),
        (
            &["activate", "mesos--1"],
            &["Validation Error: package mesos--1 requires lib, which is not in the set"],
        ),
        (
            &["activate", "lib--1", "mesos--1", "mesos--2"],
            &["package mesos is there more than once: mesos--1, mesos--2"],
        ),
        (
            &["activate", "lib--1", "mesos--1", "thief--1"],
            &["bin/mesos is brought by two packages: mesos--1 and thief--1"],
        ),
        (&["activate", "nobody--1"], &["`username` is \"root\", allowed is dcos_"]),
        (&["activate", "group--1"], &["`group` is \"wheel\", but there is no `username`"]),
        (&["activate", "path--1"], &["sets the variable PATH, which is reserved"]),
        (&["activate", "wants--1"], &["requires \"mesos--1\", which is an exact id"]),
        (&["activate", "lib--1", "twin--1"], &["requires lib in variant x"]),
        (&["activate", "target--1"], &["brings the unit dcos.target, which is reserved"]),
        (
            &["swap", "mesos--1"],
            &["Validation Error: No package with name mesos currently active to swap with.\n"],
        ),
        (&["swap", "lib--2"], &["Package Error: lib--2\n"]),
        (&["swap", "lib"], &["Validation Error: "]),
    ] {
        scene.run(words).fails(parts);
        assert_eq!(scene.picture("root"), before, "{words:?}");
    }
    scene.file("conf/roles/no role", "");
    scene.run(&["activate", "lib--1"]).fails(&["Validation Error: ", "\"no role\" is not a role"]);
    fs::remove_file(scene.path("conf/roles/no role")).unwrap();
    // All that is wrong, at once.
    let ran = scene.run(&["activate", "path--1", "group--1", "wants--1"]);
    ran.fails(&["PATH", "`username`", "exact id"]);
    assert_eq!(scene.picture("root"), before);
    // Nor is a root made for them.
    fs::remove_dir_all(scene.root("")).unwrap();
    scene.run(&["activate", "gone--1"]).fails(&["Package Error: gone--1\n"]);
    scene.run(&["swap", "lib--1"]).fails(&["has no active folder"]);
    assert!(!scene.root("").exists());
    scene.run(&["activate", "lib--1"]).prints("");
}

#[test]
fn files_that_are_nobodys_are_not_overwritten() {
    let scene = Scene::new();
    scene.packages();
    scene.run(&["activate", "lib--1"]).prints("");
    scene.file("root/etc/site.json", "mine");
    let before = scene.picture("root");
    scene.run(&["activate", "lib--1", "config--a"]).fails(&[
        "ERROR: not of any package",
        "etc/site.json",
        "move them away",
    ]);
    assert_eq!(scene.picture("root"), before);
}

#[test]
fn a_root_of_the_original_is_taken_over() {
    let scene = Scene::new();
    scene.packages();
    fs::create_dir_all(scene.root("active")).unwrap();
    fs::create_dir_all(scene.root("bin")).unwrap();
    fs::create_dir_all(scene.root("lib.old")).unwrap();
    let repository = scene.path("repository");
    std::os::unix::fs::symlink(repository.join("lib--1"), scene.root("active/lib")).unwrap();
    std::os::unix::fs::symlink(repository.join("mesos--1"), scene.root("active/mesos")).unwrap();
    std::os::unix::fs::symlink(repository.join("mesos--1/bin/mesos"), scene.root("bin/mesos")).unwrap();
    scene.file("root/environment", "old\n");
    scene.run(&["active"]).prints("lib--1\nmesos--1\n");
    scene.run(&["swap", "mesos--2"]).prints("");
    scene.run(&["active"]).prints("lib--1\nmesos--2\n");
    assert_eq!(fs::read_to_string(scene.root("bin/mesos")).unwrap(), "2");
    assert!(fs::read_to_string(scene.root("environment")).unwrap().contains("MESOS=2"));
    assert!(!scene.root("lib.old").exists());
    scene.run(&["rollback"]).tells(&["Active again: lib--1 mesos--1"]);
}

#[test]
fn what_the_original_left_half_done_is_taken_over_by_what_is_asked_for() {
    let scene = Scene::new();
    scene.packages();
    let packages = scene.path("repository");
    std::os::unix::fs::symlink(&packages, scene.root("packages")).unwrap();
    for name in ["active.old", "bin", "bin.new", "etc", "dcos.target.wants"] {
        fs::create_dir(scene.root(name)).unwrap();
    }
    std::os::unix::fs::symlink(packages.join("lib--1"), scene.root("active.old/lib")).unwrap();
    std::os::unix::fs::symlink(scene.root("packages/mesos--1/bin/mesos"), scene.root("bin/mesos")).unwrap();
    scene.file("root/environment", "old\n");
    scene.file("root/etc/dcos-service-configuration.json", "{}");
    scene.run(&["active"]).fails(&["Broken past deploy.", "or run `pkgpanda activate`"]);
    let ran = scene.run(&["activate", "lib--1"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
    scene.run(&["active"]).prints("lib--1\n");
    assert!(scene.root("environment").is_symlink() && scene.root("lib/libx.so").exists());
    for gone in ["active.old", "bin.new", "bin/mesos"] {
        assert!(!scene.root(gone).is_symlink() && !scene.root(gone).exists(), "{gone}");
    }
}

#[test]
fn one_at_a_time_and_readers_need_not_wait() {
    let scene = Scene::new();
    scene.packages();
    scene.run(&["activate", "lib--1"]).prints("");
    let held = host::FileLock::take(&scene.root("pkgpanda.lock")).unwrap();
    scene.run(&["active"]).prints("lib--1\n");
    scene.run(&["check"]).prints("");
    let (told, hears) = std::sync::mpsc::channel();
    let (words, scene) = (["activate", "config--a", "--no-systemd", "--rooted-systemd"], &scene);
    std::thread::scope(|scope| {
        let swap = scope.spawn(move || scene.run_telling(&words, &mut Telling(told)));
        let pid = std::process::id();
        let heard: String = std::iter::repeat_with(|| hears.recv_timeout(Duration::from_secs(60)).unwrap())
            .take_while(|heard| heard != "\n")
            .collect();
        assert!(heard.starts_with(&format!("Another pkgpanda (process {pid}) is at work on ")), "{heard}");
        drop(held);
        swap.join().unwrap().prints("");
    });
    scene.run(&["active"]).prints("config--a\n");
}

/// Sends on what is told, as it is told.
struct Telling(Sender<String>);

impl io::Write for Telling {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in String::from_utf8_lossy(bytes).split_inclusive('\n') {
            let (text, end) = part.strip_suffix('\n').map_or((part, ""), |text| (text, "\n"));
            for part in [text, end].into_iter().filter(|part| !part.is_empty()) {
                // Whoever has heard enough hears no more.
                let _ = self.0.send(part.to_owned());
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
