//! Which layer may use which, and what vocabulary and cores may not touch.

use crate::workspace::{Package, Workspace};

/// Each layer with its folder and the layers it may depend on.
const LAYERS: &[(&str, &str, &[&str])] = &[
    ("vocabulary", "crates/vocabulary/", &["vocabulary"]),
    ("core", "crates/cores/", &["vocabulary", "core"]),
    ("adapter", "crates/adapters/", &["vocabulary", "adapter"]),
    ("service", "crates/services/", &["vocabulary", "core", "adapter"]),
    ("bin", "bin/", &["vocabulary", "adapter", "service"]),
    ("testing", "crates/testing/", &["vocabulary", "core", "adapter", "service", "testing"]),
    ("bench", "bench", &["vocabulary", "core", "adapter", "service", "testing"]),
    ("tool", "xtask", &["vocabulary"]),
];

/// Adapters may lean on these of their kind only.
const ADAPTERS_FOR_ADAPTERS: &[&str] = &["archive", "host", "http-kit", "store", "web-client"];

/// Whatever runs, waits, does IO, reads a clock or is random has one of these beneath it.
const NOT_IN_PURE_LAYERS: &[&str] = &[
    "async-std",
    "getrandom",
    "hyper",
    "libc",
    "mio",
    "nix",
    "rand",
    "rustix",
    "smol",
    "socket2",
    "tokio",
    "tracing-subscriber",
];

/// Heavy crates, each with the one member that may know it.
const IN_ONE_PLACE: &[(&str, &str)] = &[
    ("redb", "store"),
    ("hyper", "http-kit"),
    ("hyper-util", "http-kit"),
    ("tracing-subscriber", "telemetry"),
    ("rustls", "web-client"),
    ("hickory-resolver", "web-client"),
];

fn layer(package: &Package) -> &'static (&'static str, &'static str, &'static [&'static str]) {
    let found = LAYERS.iter().find(|(name, ..)| package.layer.as_deref() == Some(name));
    found.unwrap_or_else(|| panic!("{}: no known layer under [package.metadata.dcos]", package.name))
}

#[test]
fn every_crate_lies_in_the_folder_of_its_layer_and_says_what_it_is() {
    let workspace = Workspace::get();
    for member in workspace.members() {
        let (name, folder, _) = layer(member);
        let place = member.folder.strip_prefix(&workspace.root).unwrap().to_str().unwrap();
        assert!(place.starts_with(folder), "{place} is of layer {name}, which lives in {folder}");
        assert!(member.description.is_some(), "{place}: no description");
    }
}

#[test]
fn dependencies_point_the_allowed_way() {
    let workspace = Workspace::get();
    for member in workspace.members() {
        let (from, _, allowed) = layer(member);
        for id in member.dependencies.iter().filter(|id| workspace.members.contains(*id)) {
            let dependency = &workspace.packages[id];
            let (to, ..) = layer(dependency);
            assert!(
                allowed.contains(to),
                "{} ({from}) depends on {} ({to}); allowed are {allowed:?}",
                member.name,
                dependency.name
            );
            if (*from, *to) == ("adapter", "adapter") {
                assert!(
                    ADAPTERS_FOR_ADAPTERS.contains(&dependency.name.as_str()),
                    "adapter {} depends on adapter {}; allowed are {ADAPTERS_FOR_ADAPTERS:?}",
                    member.name,
                    dependency.name
                );
            }
        }
    }
}

#[test]
fn vocabulary_and_cores_have_no_io_clock_or_randomness_beneath_them() {
    let workspace = Workspace::get();
    for member in workspace.members() {
        if !matches!(member.layer.as_deref(), Some("vocabulary" | "core")) {
            continue;
        }
        for id in workspace.closure(member) {
            let dependency = &workspace.packages[id].name;
            assert!(
                !NOT_IN_PURE_LAYERS.contains(&dependency.as_str()),
                "{} is built from {dependency}, which no vocabulary or core may have beneath it",
                member.name
            );
        }
    }
}

#[test]
fn heavy_crates_are_known_in_one_place() {
    let workspace = Workspace::get();
    for member in workspace.members() {
        for id in &member.dependencies {
            let dependency = &workspace.packages[id].name;
            for (heavy, place) in IN_ONE_PLACE.iter().filter(|(heavy, _)| heavy == dependency) {
                assert_eq!(member.name, *place, "{heavy} belongs to {place} alone");
            }
        }
    }
}
