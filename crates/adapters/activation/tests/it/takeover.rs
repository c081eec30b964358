//! A root that the original laid out.

use std::fs;
use std::os::unix::fs::symlink;

use activation::{Error, RootLayout};
use pkgpanda_core::{Plan, plan_takeover};

use crate::site::{Site, old_packages};

/// Lays the old set out as the original does: real directories, links straight into packages.
pub(crate) fn lay_out(site: &Site) {
    let root = site.dir.join("root");
    let set = site.set(&old_packages());
    for directory in set.active.links.keys().chain(&set.active.directories) {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for name in ["active", "active.old", "bin.old"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    for (name, package) in &set.active.packages {
        symlink(root.join("packages").join(&package.id), root.join("active").join(name)).unwrap();
    }
    let straight = |prefix: &str| {
        let rest = prefix.strip_prefix(&format!("{}/active/", set.active.root))?;
        let (name, rest) = rest.split_once('/').unwrap();
        Some(root.join("packages").join(&set.active.packages[name].id).join(rest))
    };
    let below = [(&set.active.links, root.clone()), (&set.active.unit_links, site.dir.join("units"))];
    for (links, place) in below {
        for (directory, groups) in links {
            fs::create_dir_all(place.join(directory)).unwrap();
            for (prefix, names) in groups {
                let Some(prefix) = straight(prefix) else { continue };
                for name in names {
                    symlink(prefix.join(name), place.join(directory).join(name)).unwrap();
                }
            }
        }
    }
    fs::write(root.join("environment"), &set.environment).unwrap();
    fs::write(root.join("environment.export"), &set.environment_export).unwrap();
    fs::write(root.join("active.buildinfo.full.json"), &set.buildinfo).unwrap();
    fs::write(root.join("etc/dcos-service-configuration.json"), &set.service_configuration).unwrap();
    for unit in set.active.units.keys() {
        fs::write(site.dir.join("running").join(unit), "").unwrap();
    }
    fs::write(root.join("pkgpanda.lock"), "").unwrap();
}

/// The plan of the takeover, from what the root itself says is active.
pub(crate) fn plan_of(site: &Site) -> Plan {
    let RootLayout::Original(active) = site.root().layout().unwrap() else { panic!("not the original's") };
    let ids: Vec<&str> = active.iter().map(|(_, path)| path.file_name().unwrap().to_str().unwrap()).collect();
    let packages: Vec<_> =
        old_packages().into_iter().filter(|package| ids.contains(&package.id.as_str())).collect();
    plan_takeover(&site.set(&packages))
}

#[test]
fn what_the_original_was_interrupted_in_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path());
    lay_out(&site);
    fs::write(dir.path().join("root/install_progress"), r#"{"stage": "move_new", "extension": ".new"}"#)
        .unwrap();
    let before = site.snapshot();
    let error = site.recover_observed(|_| ()).unwrap_err();
    assert!(matches!(error, Error::OriginalInterrupted(_)), "{error}");
    assert_eq!(site.snapshot(), before);
    fs::rename(dir.path().join("root/active"), dir.path().join("root/active.new")).unwrap();
    assert_eq!(site.root().layout().unwrap(), RootLayout::OriginalBroken);
}

#[test]
fn after_the_takeover_sets_change_as_ever() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path());
    lay_out(&site);
    site.carry_out(&plan_of(&site), |_| ()).unwrap();
    assert_eq!(site.root().layout().unwrap(), RootLayout::Generations);
    site.activate(&crate::site::new_packages()).unwrap();
    site.check();
}

#[test]
fn without_a_takeover_the_originals_files_are_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path());
    lay_out(&site);
    let before = site.snapshot();
    let error = site.activate(&old_packages()).unwrap_err();
    assert!(error.to_string().contains("root/active"), "{error}");
    assert_eq!(site.snapshot(), before);
}
