//! Scripts that fail, and what they leave.

use std::fs;

use crate::scene::{Said, Scene, eventually};

#[test]
fn a_failing_script_is_shown_with_its_log_and_leaves_nothing() {
    let Some(scene) = Scene::new() else { return };
    let script = "for n in $(busybox seq 50); do echo line $n; done\ntouch $PKG_PATH/x\ncat /nothing\n";
    scene.package("bad", "", script);
    scene.package("good", "", "busybox sleep 0.5; touch $PKG_PATH/x\n");
    scene.package("later", r#""requires": ["good"]"#, "touch $PKG_PATH/x\n");
    scene.write("treeinfo.json", "{}");
    let said = scene.run("", &["tree", "--jobs=2"]);
    let log = scene.cache().join("packages/bad/build.log");
    let how = format!("ERROR: bad: the build script ended with status 1. Its log is {}", log.display());
    let said = said.bad(&[&how, "\n  | line 50\n  | cat: can't open '/nothing'"]);
    assert!(!said.err.contains("| line 31\n") && said.err.contains("| line 32\n"), "{}", said.err);
    // The other one went on to its end, and nothing began after the failure.
    let cached = scene.cached();
    assert!(cached.contains(&format!("packages/good/{}.tar.xz", scene.latest("good"))), "{cached:?}");
    let of_bad: Vec<&String> = cached.iter().filter(|path| path.starts_with("packages/bad/")).collect();
    assert_eq!(of_bad, ["packages/bad/build.log"]);
    assert!(!cached.iter().any(|path| path.contains("later") || path.starts_with("complete/")), "{cached:?}");
    assert!(scene.traces().is_empty(), "{:?}", scene.traces());
    // Repaired, the tree goes on where it was.
    scene.package("bad", "", "touch $PKG_PATH/x\n");
    let said = scene.run("", &["tree"]).good();
    assert!(!said.err.contains("good: good--") && said.err.contains("later: later--"), "{}", said.err);
}

#[test]
fn what_no_build_may_do_is_named() {
    let Some(scene) = Scene::new() else { return };
    let check = |script: &str, expect: &[&str]| {
        scene.package("p", "", script);
        scene.run("p", &[]).bad(expect);
        let left: Vec<String> =
            scene.cached().into_iter().filter(|path| path != "packages/p/build.log").collect();
        assert_eq!(left, [""; 0], "{script}");
    };
    check(
        "echo x > /usr-x\n",
        &["ERROR: p: the build script ended with status 1: it tried to write to /usr-x"],
    );
    check("mkdir '/opt/other one'\n", &["it tried to write to /opt/other one, outside of its destination"]);
    check(
        "mkdir $PKG_PATH/dcos.target.wants; touch $PKG_PATH/dcos.target.wants/dcos-setup.service\n",
        &[
            "ERROR: p: the build has made dcos.target.wants/dcos-setup.service, but no package may bring a unit",
        ],
    );
    check("touch $PKG_PATH/pkginfo.json\n", &["pkginfo.json, which mkpanda writes itself"]);
    check("mkfifo $PKG_PATH/f\n", &["f, which is a FIFO; a package holds files, directories"]);
    check("sh -c 'kill -9 $$' > /dev/null 2>&1\n", &["ERROR: p: the build script ended with status 137"]);
    check("echo $NOT_SET\n", &["NOT_SET: parameter not set"]);
    check("false | cat\n", &["ended with status 1"]);
    fs::remove_file(scene.root().join("p/build")).unwrap();
    scene.run("p", &[]).bad(&["cannot read", "p/build: No such file"]);
}

#[test]
fn a_script_that_does_not_stop_talking_is_ended() {
    let Some(scene) = Scene::new() else { return };
    scene.package("p", "", "busybox truncate -s 2G /proc/self/fd/1; echo much; busybox sleep 600\n");
    scene.run("p", &[]).bad(&["ERROR: p: the build script had filled its log with more than 1024 MB"]);
    assert!(scene.traces().is_empty(), "{:?}", scene.traces());
}

#[test]
fn what_is_edited_during_a_run_makes_no_package_of_another_id() {
    let Some(scene) = Scene::new() else { return };
    // Until the test empties its log.
    let waits = "echo begun; while [ $(busybox stat -L -c %s /proc/self/fd/2) -gt 0 ]; do sleep 0.05; done\n";
    scene.package("a", "", waits);
    scene.package("b", r#""requires": ["a"]"#, "cp /pkg/extra/* $PKG_PATH\n");
    scene.write("b/extra/file", "planned\n");
    scene.write("treeinfo.json", "{}");
    let run = |edit: &dyn Fn()| {
        let child = scene.start("", &["tree", "--jobs=1"]);
        let log = scene.cache().join("packages/a/build.log");
        eventually("a is being built", || fs::metadata(&log).is_ok_and(|meta| meta.len() > 0));
        edit();
        fs::File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
        Said::of(&child.wait_with_output().unwrap())
    };
    // A script is the one that was read.
    run(&|| scene.write("b/build", "exit 1\n")).good();
    assert_eq!(scene.contents(&scene.tarball("b"))["file"], "planned\n");
    // Other files are compared.
    fs::remove_dir_all(scene.cache()).unwrap();
    scene.write("b/build", "cp /pkg/extra/* $PKG_PATH\n");
    let said = run(&|| scene.write("b/extra/file", "edited\n"));
    said.bad(&["ERROR: b: ", "b/extra has changed while it was built from"]);
    assert!(!scene.cached().iter().any(|path| path.starts_with("packages/b/") && path.ends_with(".xz")));
}
