use std::fs;
use std::process::Command;

use mkpanda_core::SourceId;

use super::{Scene, listed, names};

/// A small package as apt offers it now: version and SHA-256. None without apt or its lists.
fn offered(package: &str) -> Option<(String, String)> {
    let output = Command::new("apt-cache").args(["show", "--no-all-versions", package]).output();
    let output = output.ok().filter(|output| output.status.success());
    let Some(output) = output else {
        eprintln!("SKIP: apt-get is not here or has no lists of packages (apt-get update)");
        return None;
    };
    let said = String::from_utf8(output.stdout).unwrap();
    let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    Some((field("Version: "), field("SHA256: ")))
}

fn source(version: &str, sha256: &str) -> String {
    format!(r#"{{"kind": "debian", "package": "hostname", "version": "{version}", "sha256": "{sha256}"}}"#)
}

#[test]
fn a_package_is_fetched_once_and_unpacked() {
    let Some((version, sha256)) = offered("hostname") else { return };
    let scene = Scene::new();
    let source = source(&version, &sha256);
    assert_eq!(scene.id(&source).unwrap(), SourceId::Sha256(sha256.clone()));
    let said = scene.checkout(&source).unwrap();
    assert_eq!(said, [format!("fetching the Debian package hostname {version}")]);
    assert!(scene.out("bin/hostname").is_file());
    let listing = listed(&scene.out(""));
    assert_eq!(names(&scene.cached("")).len(), 1);

    // From the cache, without apt.
    host::remove_tree(&scene.path("cache/apt")).unwrap();
    assert_eq!(scene.checkout(&source).unwrap(), [""; 0]);
    assert_eq!(listed(&scene.out("")), listing);
    assert!(!scene.path("cache/apt").exists());

    // Damaged since.
    let file = scene.cached(&names(&scene.cached(""))[0]);
    fs::write(&file, "damaged").unwrap();
    scene.checkout(&source).unwrap();
    assert_eq!(listed(&scene.out("")), listing);
}

#[test]
fn what_apt_does_not_offer_is_named_with_what_it_does() {
    let Some((version, sha256)) = offered("hostname") else { return };
    let scene = Scene::new();
    let gone = source("0.1", &sha256);
    let offers = format!("they offer {version}");
    scene.check_fails(&gone, &["source s (debian)", "no version '0.1' of the package 'hostname'", &offers]);
    let other = source(&version, &"1".repeat(64));
    scene
        .check_fails(&other, &["source s (debian)", &format!("hostname {version} has the SHA-256 {sha256}")]);
    assert_eq!(names(&scene.cached("")), [""; 0]);
}
