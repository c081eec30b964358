//! What every source file has to look like.

use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::Workspace;

/// One concept each. Tests and tables are counted too: they can be split as well.
const LINES: usize = 700;

/// Marks of work that is not done.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "#[ignore", "dbg!("];

/// Reading a clock, the environment or the system; clippy bans the calls, this catches the rest.
const NOT_IN_PURE_LAYERS: &[&str] = &[
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process::",
    "Instant::now",
    "SystemTime",
    "HashMap",
    "async fn",
];

/// This file names what it forbids.
const THIS: &str = "xtask/tests/it/sources.rs";

fn files(ending: &str) -> Vec<(String, String)> {
    let root = &Workspace::get().root;
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if !matches!(name, "target" | ".git" | "generated" | "node_modules") {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                let place = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((place, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found.retain(|(place, _)| place != THIS);
    found
}

#[test]
fn no_source_file_grows_without_bound() {
    for (place, text) in files(".rs") {
        let lines = text.lines().count();
        assert!(lines <= LINES, "{place} has {lines} lines; at most {LINES}: one concept each");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for (place, text) in files(".rs") {
        for mark in UNFINISHED {
            assert!(!text.contains(mark), "{place} says {mark}");
        }
    }
}

#[test]
fn vocabulary_and_cores_stay_pure() {
    for (place, text) in files(".rs") {
        if !(place.starts_with("crates/vocabulary/") || place.starts_with("crates/cores/")) {
            continue;
        }
        for word in NOT_IN_PURE_LAYERS {
            let line = text.lines().find(|line| line.contains(word) && !line.trim_start().starts_with("//"));
            assert!(line.is_none(), "{place} uses {word}: {}", line.unwrap_or_default());
        }
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for member in Workspace::get().members() {
        let manifest = fs::read_to_string(member.folder.join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{}: lints are not the workspace's",
            member.name
        );
    }
}

#[test]
fn the_map_shows_every_crate() {
    let workspace = Workspace::get();
    let map = fs::read_to_string(workspace.root.join("ARCHITECTURE.md")).unwrap();
    for member in workspace.members() {
        let place = member.folder.strip_prefix(&workspace.root).unwrap().to_str().unwrap();
        assert!(map.contains(&format!("`{place}`")), "ARCHITECTURE.md does not show `{place}`");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = &Workspace::get().root;
    for (place, text) in files(".md") {
        let folder = root.join(Path::new(&place).parent().unwrap());
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(folder.join(target).exists(), "{place} links to {target}, which is not there");
        }
    }
}
