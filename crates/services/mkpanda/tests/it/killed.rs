//! Runs that are ended in the middle.

use std::fs;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use crate::scene::{Said, Scene, eventually};

const ENDLESS: &str = "touch $PKG_PATH/half; echo begun; sleep 1000 & sleep 1000\n";

/// A run that is in the middle of a build.
fn in_the_middle(scene: &Scene) -> Child {
    scene.package("p", "", ENDLESS);
    let child = scene.start("p", &["--dont-clean-after-build"]);
    let log = scene.cache().join("packages/p/build.log");
    eventually("the build begins", || fs::read_to_string(&log).is_ok_and(|text| text == "begun\n"));
    child
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), signal).unwrap();
}

#[test]
fn what_a_killed_run_leaves_the_next_one_removes() {
    let Some(scene) = Scene::new() else { return };
    let mut child = in_the_middle(&scene);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!scene.traces().is_empty());
    eventually("its processes go on", || sleepers(&scene) > 0);
    scene.package("p", "", "touch $PKG_PATH/whole\n");
    scene.run("p", &[]).good();
    assert_eq!((scene.traces(), sleepers(&scene)), (vec![], 0));
    let contents = scene.contents(&scene.tarball("p"));
    assert!(contents.contains_key("whole") && !contents.contains_key("half"));
}

#[test]
fn an_interrupted_run_ends_its_builds() {
    let Some(scene) = Scene::new() else { return };
    for how in [Signal::INT, Signal::TERM] {
        let child = in_the_middle(&scene);
        signal(&child, how);
        let said = Said::of(&child.wait_with_output().unwrap());
        said.bad(&["ERROR: interrupted"]);
        assert_eq!((scene.traces(), sleepers(&scene)), (vec![], 0));
        assert!(!scene.cached().iter().any(|path| path.ends_with(".tar.xz") || path.ends_with("latest")));
        fs::remove_file(scene.cache().join("packages/p/build.log")).unwrap();
    }
}

#[test]
fn a_second_run_waits_and_says_for_whom() {
    let Some(scene) = Scene::new() else { return };
    let mut child = in_the_middle(&scene);
    let expect = format!("ERROR: another mkpanda is at work here: {}", scene.cache().display());
    scene.run("p", &[]).bad(&[&expect, &format!("is locked by process {}", child.id())]);
    signal(&child, Signal::TERM);
    child.wait().unwrap();
}

/// How many processes the builds of a scene have: they are those whose mount is a folder of it.
fn sleepers(scene: &Scene) -> usize {
    let marked = |pid: &str| {
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let folder = scene.cache().join(".mkpanda");
        line.starts_with("sleep") && mounts.contains(folder.to_str().unwrap())
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter(|entry| marked(&entry.file_name().to_string_lossy())).count()
}
