//! Bootstraps: the packages of a tree as they are active.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::scene::Scene;

#[test]
fn a_bootstrap_is_an_activated_root_with_a_marker_a_hash_and_a_bill() {
    let Some(scene) = Scene::new() else { return };
    let script =
        "for d in bin dcos.target.wants; do mkdir $PKG_PATH/$d; touch $PKG_PATH/$d/$PKG_NAME.service; done";
    scene.package("a", r#""environment": {"A": "1"}"#, script);
    scene.package("b", r#""requires": ["a"]"#, script);
    scene.package("c", "", script);
    scene.write("treeinfo.json", r#"{"bootstrap_package_list": ["b"]}"#);
    scene.write("all.treeinfo.json", "{}");
    let said = scene.run("", &["tree", "--mkbootstrap"]).good();
    let folder = scene.cache().join("bootstrap");
    let id = fs::read_to_string(folder.join("bootstrap.latest")).unwrap();
    let all = fs::read_to_string(folder.join("all.bootstrap.latest")).unwrap();
    assert_ne!(id, all);
    let tarball = folder.join(format!("{id}.bootstrap.tar.xz"));
    assert!(said.out.contains(&format!("\n<default>:{}\n", tarball.display())), "{}", said.out);
    let (a, b) = (scene.latest("a"), scene.latest("b"));
    let ids = [&a, &b].map(|id| id.parse().unwrap()).into();
    assert_eq!(id, mkpanda_core::bootstrap_id(&ids));
    let active = fs::read_to_string(folder.join(format!("{id}.active.json"))).unwrap();
    assert_eq!(active, format!("[\n  \"{a}\",\n  \"{b}\"\n]"));
    let checked = Command::new("sha256sum")
        .arg("-c")
        .arg(format!("{id}.bootstrap.tar.xz.sha256"))
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let sbom = fs::read_to_string(folder.join(format!("{id}.bootstrap.spdx.json"))).unwrap();
    assert!(sbom.contains("SPDX-2.3") && sbom.contains(a.split_once("--").unwrap().1), "{sbom}");
    let contents = scene.contents(&tarball);
    assert_eq!(contents["bootstrap"], "");
    assert_eq!(contents["active"], " -> current/active");
    assert_eq!(contents["bin/a.service"], " -> /opt/mesosphere/active/a/bin/a.service");
    let active = &contents["generations/1/active/b"];
    assert_eq!(*active, format!(" -> /opt/mesosphere/packages/{b}"));
    assert!(contents.contains_key(&format!("packages/{a}/pkgpanda.manifest.json")));
    assert!(contents["generations/1/environment"].contains("A=1\n"));
    let stray = |path: &&String| path.contains("/c--") || path.starts_with("dcos.target.wants");
    assert_eq!(contents.keys().find(stray), None);
    let complete = fs::read_to_string(scene.cache().join("complete/complete.latest.json")).unwrap();
    assert!(complete.contains(&format!("\"bootstrap\":\"{id}\"")), "{complete}");
    // What is there is not made again.
    let inode = fs::metadata(&tarball).unwrap().ino();
    let again = scene.run("", &["tree", "--mkbootstrap"]).good();
    assert_eq!((again.err.as_str(), fs::metadata(&tarball).unwrap().ino()), ("", inode));
    assert!(scene.traces().is_empty(), "{:?}", scene.traces());
}

#[test]
fn packages_that_bring_one_file_are_both_named() {
    let Some(scene) = Scene::new() else { return };
    for name in ["a", "b"] {
        scene.package(name, "", "mkdir $PKG_PATH/bin; touch $PKG_PATH/bin/same");
    }
    scene.write("treeinfo.json", "{}");
    let said = scene.run("", &["tree", "--mkbootstrap"]);
    said.bad(&[
        "ERROR: these packages cannot be active together",
        "bin/same",
        &scene.latest("a"),
        &scene.latest("b"),
    ]);
    assert!(!scene.cached().iter().any(|path| path.starts_with("bootstrap/")), "{:?}", scene.cached());
}
