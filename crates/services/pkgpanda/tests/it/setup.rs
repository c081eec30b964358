//! From a bootstrap to a node, and away again.

use std::fs;

use serde_json::json;

use crate::scene::Scene;

#[test]
fn active_json_and_setup_packages_become_a_node() {
    let scene = Scene::new();
    scene.packages();
    scene.file("conf/setup-flags/active.json", r#"["mesos--1","lib--1"]"#);
    scene.package_in("conf/setup-packages", "env--setup", &json!({}), &[("etc/some.json", "{}")]);
    scene.package_in("conf/setup-packages", "conf--setup_0f81c7b", &json!({}), &[("etc/other.json", "{}")]);
    scene.file("root/bootstrap", "");
    let ran = scene.run(&["setup"]);
    let active = scene.path("conf/setup-flags/active.json");
    ran.prints(&format!(
        "Installing setup package: conf--setup_0f81c7b\nInstalling setup package: env--setup\n\
         Loaded active packages from {}\nEnsuring all packages in active set mesos--1,lib--1 are local\n\
         Activating packages\n",
        active.display()
    ));
    scene.run(&["active"]).prints("conf--setup_0f81c7b\nenv--setup\nlib--1\nmesos--1\n");
    assert!(!scene.root("bootstrap").exists());
    assert!(fs::read_to_string(scene.root("dcos.target")).unwrap().contains("WantedBy=multi-user.target"));
    assert!(scene.root("dcos-mesos-master.service").exists() && scene.root("etc/some.json").exists());
    // Nothing to set up any more.
    let ran = scene.run(&["setup"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (0, "", 1));
    let marker = scene.root("bootstrap");
    ran.tells(&[&format!("There is nothing to set up: {} is not there", marker.display())]);
    // Again, as after another bootstrap: what is there stays.
    scene.file("root/bootstrap", "");
    let ran = scene.run(&["setup"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("WARNING: Ignoring already installed package env--setup\n"), "{ran:?}");
    scene.run(&["active"]).prints("conf--setup_0f81c7b\nenv--setup\nlib--1\nmesos--1\n");
}

#[test]
fn a_bootstrap_and_cluster_packages_become_a_node() {
    let scene = Scene::new();
    scene.packages();
    scene.run(&["activate", "lib--1"]).prints("");
    scene.file("root/bootstrap", "");
    let file = scene.path("conf/setup-flags/cluster-packages.json");
    let begin = format!(
        "Calculated active packages from bootstrap tarball\nChecking for cluster packages in: {}\n",
        file.display()
    );
    scene.run(&["setup"]).prints(&format!("{begin}No cluster-packages specified\nActivating packages\n"));
    scene.file("conf/setup-flags/cluster-packages.json", r#"["config--a","mesos--2"]"#);
    scene.file("root/bootstrap", "");
    scene.run(&["setup"]).prints(&format!(
        "{begin}Loading cluster-packages: ['config--a', 'mesos--2']\nActivating packages\n"
    ));
    scene.run(&["active"]).prints("config--a\nlib--1\nmesos--2\n");
    // What is not there is fetched.
    scene.tarball("remote/packages/far", "far--1", &[("bin/far", "")]);
    scene.file("conf/setup-flags/repository-url", " remote/\n");
    scene.file("conf/setup-flags/cluster-packages.json", r#"["far--1"]"#);
    scene.file("root/bootstrap", "");
    let list =
        "Loading cluster-packages: ['far--1']\n\rFetching: far--1\rFetched: far--1\nActivating packages\n";
    scene.run(&["setup"]).prints(&format!("{begin}{list}"));
    assert!(scene.root("bin/far").exists() && scene.root("bin/mesos").exists());
}

#[test]
fn bad_configurations_are_named_and_the_marker_stays() {
    let scene = Scene::new();
    scene.packages();
    scene.run(&["activate", "lib--1"]).prints("");
    scene.file("root/bootstrap", "");
    let check = |path: &str, text: &str, parts: &[&str]| {
        scene.file(path, text);
        let ran = scene.run(&["setup"]);
        assert_eq!(ran.code, 1, "{path}: {ran:?}");
        ran.tells(parts);
        fs::remove_file(scene.path(path)).unwrap();
        assert!(scene.root("bootstrap").exists(), "{path}");
        scene.run(&["active"]).prints("lib--1\n");
    };
    let (active, cluster) = ("conf/setup-flags/active.json", "conf/setup-flags/cluster-packages.json");
    check(active, "{", &["ERROR: ", "active.json: not JSON"]);
    check(active, r#"{"a": 1}"#, &["active.json: {\"a\":1} is no list of package ids"]);
    check(cluster, "[1]", &["cluster-packages.json: 1 is no package id"]);
    check(cluster, r#"["mesos"]"#, &["cluster-packages.json: \"mesos\" is not a package id"]);
    check(cluster, r#"["gone--1"]"#, &["repository-url: package gone--1 is not on this host"]);
    check(
        "conf/setup-packages/env--1/pkginfo.json",
        "{}",
        &["Validation Error: Setup packages (those in", "Bad package: env--1"],
    );
    fs::remove_dir(scene.path("conf/setup-packages/env--1")).unwrap();
    check(
        "conf/setup-packages/env/pkginfo.json",
        "{}",
        &["Validation Error: Invalid package id in setup package: "],
    );
    fs::remove_dir(scene.path("conf/setup-packages/env")).unwrap();
    // Without any configuration at all there is nothing to add.
    fs::remove_dir_all(scene.path("conf")).unwrap();
    assert_eq!(scene.run(&["setup"]).code, 0);
    assert!(!scene.root("bootstrap").exists());
}

#[test]
fn uninstall_leaves_nothing() {
    let scene = Scene::new();
    scene.packages();
    scene.package("state--1", &json!({"state_directory": true}), &[]);
    let before = scene.picture("");
    scene.file("root/bootstrap", "");
    scene.file("conf/setup-flags/active.json", r#"["mesos--1","lib--1","state--1"]"#);
    assert_eq!(scene.run(&["setup"]).code, 0);
    assert!(scene.path("state/state").is_dir());
    fs::create_dir(scene.root("bin.old")).unwrap();
    let ran = scene.run(&["uninstall"]);
    ran.prints(&format!(
        "Uninstalling DC/OS\nRemoving dcos.target\n{}\nDeactivating all packages\n\
         Removing all runtime / activation directories\n",
        scene.root("dcos.target").display()
    ));
    fs::remove_dir_all(scene.path("conf/setup-flags")).unwrap();
    fs::create_dir(scene.root("")).unwrap();
    assert_eq!(scene.picture(""), before);
    // Again, where nothing is any more.
    scene.run(&["uninstall"]).fails(&["ERROR: Install directory ", "root has no active folder"]);
    fs::remove_dir(scene.root("")).unwrap();
    scene.run(&["uninstall"]).fails(&["ERROR: Install directory ", "root has no active folder"]);
}

/// What the host's own root has among the host's units.
fn with_units_of_the_host(scene: &Scene) {
    scene.file("units/dcos.target", &pkgpanda_core::units::dcos_target());
    scene.file("units/dcos-setup.service", "");
    scene.file("units/dcos-download.service", "");
    fs::create_dir_all(scene.path("units/dcos.target.wants")).unwrap();
    for name in ["dcos-other.service", "dcos.target.wants/dcos-other.service"] {
        let target = "/opt/mesosphere/packages/other--1/dcos.target.wants/dcos-other.service";
        std::os::unix::fs::symlink(target, scene.path("units").join(name)).unwrap();
    }
}

#[test]
fn what_is_not_installed_takes_nothing_of_the_host_with_it() {
    let scene = Scene::new();
    scene.packages();
    with_units_of_the_host(&scene);
    fs::create_dir(scene.path("empty")).unwrap();
    let before = scene.picture("");
    for root in ["empty", "missing"] {
        let root = format!("--root={root}");
        for words in [&["uninstall", &root, "--no-systemd"][..], &["uninstall", &root]] {
            scene.run_plain(words).fails(&["has no active folder. Has it been bootstrapped?"]);
            assert_eq!(scene.picture(""), before, "{words:?}");
        }
    }
    // One that is a root, and keeps its units below itself.
    let other = |words: &[&str]| scene.run_plain(&[words, &["--root=empty", "--no-systemd"]].concat());
    other(&["activate", "mesos--1", "lib--1"]).prints("");
    assert!(scene.path("empty/dcos.target.wants/dcos-mesos-master.service").is_symlink());
    assert_eq!(other(&["uninstall"]).code, 0);
    fs::create_dir(scene.path("empty")).unwrap();
    assert_eq!(scene.picture(""), before);
    // What had its units below itself has none elsewhere, whatever the options are.
    other(&["activate", "mesos--1", "lib--1"]).prints("");
    let mut systemd = scene;
    systemd.file("systemctl", "#!/bin/sh\necho running\ntouch \"$0.$1\"\n");
    systemd.config().systemd = systemd::Systemd::of([systemd.path("systemctl").into()]);
    let ran = systemd.run_plain(&["uninstall", "--root=empty"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(!systemd.path("systemctl.stop").exists() && !systemd.path("empty").exists());
    assert_eq!(systemd.picture("units").len(), 6);
}

#[test]
fn roots_that_share_the_units_of_the_host_take_away_their_own() {
    let scene = Scene::new();
    scene.packages();
    let set = ["activate", "mesos--1", "lib--1", "--no-systemd"];
    let uninstall = || assert_eq!(scene.run_plain(&["uninstall", "--no-systemd"]).code, 0);
    // A set that is known, and one that is not.
    for is_broken in [false, true] {
        let start = || {
            scene.run_plain(&set).prints("");
            assert!(scene.path("units/dcos.target.wants/dcos-mesos-master.service").is_symlink());
            if is_broken {
                fs::remove_file(scene.root("current")).unwrap();
            }
        };
        with_units_of_the_host(&scene);
        let before = scene.picture("units");
        start();
        uninstall();
        assert_eq!(scene.picture("units"), before);
        if !is_broken {
            // Where the set has its units counts, not what the options say.
            start();
            assert_eq!(scene.run(&["uninstall"]).code, 0);
            assert_eq!(scene.picture("units"), before);
        }
        for name in ["dcos-other.service", "dcos.target.wants/dcos-other.service"] {
            fs::remove_file(scene.path("units").join(name)).unwrap();
        }
        // Somebody's own target stays, that of pkgpanda goes with the last who has units.
        scene.file("units/dcos.target", "[Unit]\n");
        start();
        uninstall();
        assert!(scene.path("units/dcos.target").exists() && scene.path("units/dcos-setup.service").exists());
        scene.file("units/dcos.target", &pkgpanda_core::units::dcos_target());
        start();
        uninstall();
        assert!(!scene.path("units/dcos.target").exists() && scene.path("units/dcos-setup.service").exists());
        fs::remove_dir_all(scene.path("units")).unwrap();
    }
}

#[test]
fn a_broken_root_is_uninstalled() {
    let scene = Scene::new();
    scene.packages();
    for damage in ["current", "generations", "active", "install_progress", "made.json"] {
        fs::create_dir_all(scene.root("")).unwrap();
        scene.run(&["activate", "mesos--1", "lib--1"]).prints("");
        let _ = fs::remove_file(scene.root(damage)).or_else(|_| fs::remove_dir_all(scene.root(damage)));
        scene.file(format!("root/{damage}"), "{ broken");
        let ran = scene.run(&["uninstall"]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{damage}");
        assert!(!scene.root("").exists(), "{damage}");
    }
}

#[test]
fn what_is_no_root_is_not_removed() {
    let mut scene = Scene::new();
    scene
        .run_plain(&["uninstall", "--root", "/", "--no-systemd", "--rooted-systemd"])
        .fails(&["ERROR: Cowardly refusing to rm -rf '/' as part of uninstall."]);
    let link = scene.path("link");
    std::os::unix::fs::symlink("/", &link).unwrap();
    scene.config().root = link;
    scene.run(&["uninstall"]).fails(&["Cowardly refusing"]);
    scene.file("usr/bin/program", "");
    scene.config().root = scene.path("usr");
    scene.run(&["uninstall"]).fails(&["usr holds nothing that pkgpanda installed"]);
    assert!(scene.path("usr/bin/program").exists());
}
