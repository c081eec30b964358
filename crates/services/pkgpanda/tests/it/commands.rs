//! Output and exit codes of every command.

use serde_json::json;

use crate::scene::Scene;

#[test]
fn list_puts_versions_below_their_name() {
    let scene = Scene::new();
    scene.run(&["list"]).prints("");
    for id in ["mesos--0.22.0", "mesos--0.23.0", "mesos-config--justmesos", "b--1_tmp"] {
        scene.package(id, &json!({}), &[]);
    }
    scene.file("repository/invalid-package/pkginfo.json", "{}");
    scene.run(&["list"]).prints("mesos:\n  0.22.0\n  0.23.0\nmesos-config--justmesos\n");
}

#[test]
fn usage_goes_to_stderr_and_help_to_stdout() {
    let scene = Scene::new();
    let ran = scene.run_plain(&["nothing"]);
    ran.fails(&["Usage:\n  pkgpanda activate <id>..."]);
    let ran = scene.run_plain(&["list", "--ro=x"]);
    ran.fails(&["--ro is not a unique prefix: ", "\nUsage:\n"]);
    let ran = scene.run_plain(&["swap", "--help"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("Usage:\n  pkgpanda activate") && ran.out.contains("--no-block-systemd"));
}

#[test]
fn active_lists_what_the_links_lead_to() {
    let scene = Scene::new();
    let root = scene.root("");
    scene.run(&["active"]).fails(&[&format!(
        "ERROR: Install directory {} has no active folder. Has it been bootstrapped?\n",
        root.display().to_string().trim_end_matches('/')
    )]);
    scene.packages();
    scene.run(&["activate", "mesos--1", "lib--1"]).prints("");
    scene.run(&["active"]).prints("lib--1\nmesos--1\n");
}

#[test]
fn remove_tells_of_each_and_removes_none_beside_an_active_one() {
    let scene = Scene::new();
    scene.packages();
    scene.run(&["activate", "lib--1"]).prints("");
    scene.run(&["remove", "mesos--1"]).prints("\rRemoving: mesos--1\rRemoved: mesos--1\n");
    let list = "config:\n  a\n  b\nlib--1\nmesos--2\n";
    scene
        .run(&["remove", "mesos--2", "lib--1", "config--a"])
        .fails(&["Validation Error: Refusing to remove active package lib--1\n"]);
    scene.run(&["remove", "mesos--2", "no id"]).fails(&["Validation Error: Invalid package id no id: "]);
    scene.run(&["list"]).prints(list);
    // What is not there is told, and no error.
    let ran = scene.run(&["remove", "mesos--1", "mesos--2"]);
    let out = "\rRemoving: mesos--1\n\rRemoving: mesos--2\rRemoved: mesos--2\n";
    assert_eq!((ran.code, ran.out.as_str()), (0, out));
    let repository = scene.path("repository");
    ran.tells(&[&format!("mesos--1 is not in the repository {}, ", repository.display())]);
    assert_eq!(ran.err.lines().count(), 1);
}

#[test]
fn a_package_that_is_not_there_is_told_with_where_and_what_to_do() {
    let scene = Scene::new();
    scene.packages();
    let dir = scene.path("repository");
    scene.run(&["activate", "config--a"]).prints("");
    for words in [&["activate", "nope--1"][..], &["verify", "nope--1"], &["swap", "config--c"]] {
        let id = words[1];
        let hint = format!(
            "Package Error: {id}\n{id} is not in the repository {}: `pkgpanda fetch --repository-url=URL {id}` or \
             `pkgpanda add {id}.tar.xz` brings it there\n",
            dir.display()
        );
        let ran = scene.run(words);
        assert_eq!((ran.code, ran.out.as_str(), ran.err), (1, "", hint));
    }
    std::fs::remove_dir_all(dir.join("config--a")).unwrap();
    scene.run(&["check"]).fails(&["Package Error: config--a\nconfig--a is not in the repository "]);
}

#[test]
fn a_package_of_the_last_good_set_can_be_removed_and_takes_the_set_with_it() {
    let scene = Scene::new();
    scene.packages();
    scene.run(&["activate", "config--a"]).prints("");
    scene.run(&["swap", "config--b"]).prints("");
    let ran = scene.run(&["remove", "config--a"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "\rRemoving: config--a\rRemoved: config--a\n"));
    ran.tells(&["WARNING: config--a was part of the last good set"]);
    scene.run(&["rollback"]).fails(&["ERROR: there is no last good set"]);
    scene.run(&["active"]).prints("config--b\n");
}

#[test]
fn checks_are_listed_and_run_in_order() {
    let scene = Scene::new();
    let ran = |name: &str| scene.path(&format!("ran-{name}"));
    let script = |name: &str, code: u8| format!("#!/bin/sh\ntouch {}\nexit {code}\n", ran(name).display());
    scene.package("b--1", &json!({}), &[("check/fails", &script("fails", 1)), ("check/notes", "")]);
    scene.package(
        "a--1",
        &json!({}),
        &[("check/ok", &script("ok", 0)), ("check/broken", "#!/no/interpreter\n")],
    );
    scene.package("c--1", &json!({}), &[]);
    scene.run(&["activate", "a--1", "b--1", "c--1"]).prints("");
    let warning = "WARNING: `notes` is not executable\n";
    let list = scene.run(&["check", "--list"]);
    assert_eq!((list.code, list.err.as_str()), (0, warning));
    assert_eq!(list.out, "a--1\n - broken\n - ok\nb--1\n - fails\n");
    let check = scene.run(&["check"]);
    assert_eq!((check.code, check.out.as_str()), (1, "Check failed: broken\nCheck failed: fails\n"));
    check.tells(&[warning, "`broken` could not be run: "]);
    assert!(ran("ok").exists() && ran("fails").exists(), "one that cannot be run ended the rest");
}

/// A manifest of a package of `bin/x`, which has an "x" in it, and an empty pkginfo.
fn manifest_of_x() -> String {
    let sum = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    let info = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let manifest = json!({
        "version": 1,
        "directories": {"bin": "0755"},
        "files": {
            "bin/x": {"mode": "0644", "size": 1, "sha256": sum},
            "pkginfo.json": {"mode": "0644", "size": 2, "sha256": info},
        },
        "symlinks": {},
    });
    manifest.to_string()
}

#[test]
fn a_damaged_package_is_replaced_where_it_is_active() {
    let scene = Scene::new();
    let manifest = manifest_of_x();
    let files = [("bin/x", "x"), ("pkgpanda.manifest.json", manifest.as_str())];
    let tarball = scene.tarball("remote/packages/x", "x--1", &files);
    let url = format!("--repository-url=file://{}", scene.path("remote").display());
    scene.run(&["add", &tarball]).prints("");
    scene.run(&["activate", "x--1"]).prints("");
    let before = scene.picture("");
    let check = |damaged: &str, text: &str, words: &[&str], out: &str| {
        scene.file(format!("repository/x--1/{damaged}"), text);
        let ran = scene.run(&["verify"]);
        assert_eq!(ran.code, 1, "{damaged}");
        let ran = scene.run(words);
        assert_eq!((ran.code, ran.out.as_str()), (0, out), "{damaged}: {ran:?}");
        ran.tells(&["x--1 was damaged, and has been replaced"]);
        assert_eq!(scene.picture(""), before, "{damaged}");
        assert_eq!(scene.run(&["verify"]).code, 0);
        scene.run(&["activate", "x--1"]).prints("");
        assert_eq!(std::fs::read_to_string(scene.root("bin/x")).unwrap(), "x");
    };
    let fetch = ["fetch", &url, "x--1"];
    check("bin/x", "y", &["add", &tarball], "");
    check("bin/x", "y", &fetch, "\rFetching: x--1\rFetched: x--1\n");
    check("bin/more", "", &fetch, "\rFetching: x--1\rFetched: x--1\n");
    check("pkgpanda.manifest.json", "{", &["add", &tarball], "");
    // What is damaged itself takes no place.
    scene.file("repository/x--1/bin/x", "y");
    scene.run(&["verify"]).tells(&["`pkgpanda add ID.tar.xz` replaces each, active or not"]);
    let bad = scene.tarball("bad", "x--1", &[("bin/x", "z"), ("pkgpanda.manifest.json", &manifest)]);
    scene.run(&["add", &bad]).fails(&["Package Error: x--1 is not what it was built as"]);
    assert_eq!(std::fs::read_to_string(scene.root("bin/x")).unwrap(), "y");
    assert!(!scene.path("repository/x--1_tmp").exists());
}

#[test]
fn packages_are_verified_on_demand() {
    let scene = Scene::new();
    scene.packages();
    scene.run(&["verify", "lib--1"]).prints("lib--1: has no manifest to be compared with\n");
    let manifest = manifest_of_x();
    scene.package("x--1", &json!({}), &[("bin/x", "x"), ("pkgpanda.manifest.json", &manifest)]);
    let ran = scene.run(&["verify"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(
        ran.out.contains("\nmesos--2: has no manifest")
            && ran.out.ends_with("x--1: whole (4 entries, 3 bytes)\n"),
        "{ran:?}"
    );
    scene.file("repository/x--1/bin/x", "y");
    let ran = scene.run(&["verify", "x--1"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "x--1: damaged\n  \"bin/x\" has other contents\n"));
    ran.tells(&["1 of 1 packages are damaged"]);
    scene
        .run(&["activate", "x--1"])
        .fails(&["Package Error: x--1 is not what it was built as: \"bin/x\" has other contents"]);
    assert!(!scene.root("current").exists());
}

#[test]
fn packages_are_fetched_and_added_once() {
    let scene = Scene::new();
    let tarball = scene.tarball("remote/packages/a", "a--1", &[("bin/x", "x")]);
    let url = format!("--repository-url=file://{}", scene.path("remote").display());
    scene.run(&["fetch", &url, "a--1"]).prints("\rFetching: a--1\rFetched: a--1\n");
    scene.run(&["fetch", &url, "a--1"]).prints("\rFetching: a--1Package already added.\n\rFetched: a--1\n");
    let ran = scene.run(&["fetch", "--repository-url=remote", "a--1", "gone--1", "b--1"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.ends_with("\rFetched: a--1\n\rFetching: gone--1\n"), "{ran:?}");
    ran.tells(&["ERROR: ", "remote/packages/gone/gone--1.tar.xz"]);
    scene
        .run(&["fetch", "--repository-url=ftp://x", "a--1"])
        .fails(&["ERROR: 'ftp://x' is no repository URL"]);
    scene.run(&["add", &tarball]).prints("Package already added.\n");
    scene.run(&["activate", "a--1"]).prints("");
    scene.run(&["activate", "a--1"]).prints("");
    scene.run(&["remove", "a--1"]).fails(&["Refusing"]);
    let other = Scene::new();
    other.run(&["add", &tarball]).prints("");
    other.run(&["list"]).prints("a--1\n");
    other.run(&["add", &tarball.replace(".tar.xz", ".tar")]).fails(&["ERROR: ", "ID.tar.xz"]);
    other.run(&["add", &tarball.replace("a--1", "b--1")]).fails(&["ERROR: cannot open ", "b--1.tar.xz"]);
    other.run(&["add", &tarball.replace("a--1", "a")]).fails(&["\"a\" is not a package id"]);
}
