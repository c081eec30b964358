//! What DC/OS is made of (`packages/`): the rules for its units, and that all its files are understood.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use api_pkgpanda::{PackageName, RESERVED_UNITS};
use mkpanda_core::{BuildInfo, Graph, PackageKey, TreeInfo, Variant};

/// Where the packages' folders are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packages")
}

/// The packages' names, sorted.
pub(crate) fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let names = entries.filter(|path| path.join("buildinfo.json").exists());
    let names: BTreeSet<String> =
        names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.into_iter().collect()
}

/// The files below a folder that have one of the endings.
fn files(of: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(of).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.to_str().unwrap();
        if path.is_dir() && !path.ends_with("cache") {
            found.extend(files(&path, endings));
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A unit's settings: section, key, value.
fn settings(unit: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut all = Vec::new();
    for line in unit.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => name.clone_into(&mut section),
            None => {
                let (key, value) = line.split_once('=').expect("a setting has a value");
                all.push((section.clone(), key.to_owned(), value.to_owned()));
            }
        }
    }
    all
}

/// What is wrong with a service by the rules of the house.
fn problems(name: &str, unit: &str) -> Vec<String> {
    let settings = settings(unit);
    let values = |key: &str| -> Vec<&str> {
        settings.iter().filter(|(_, found, _)| found == key).map(|(_, _, value)| value.as_str()).collect()
    };
    let mut problems = Vec::new();
    let mut demand = |holds: bool, rule: &str| {
        if !holds {
            problems.push(format!("{name}: {rule}"));
        }
    };
    for key in ["Requires", "Wants", "BindsTo", "Requisite", "PartOf"] {
        demand(values(key).is_empty(), &format!("{key}= binds units' fates together"));
    }
    demand(values("Environment").is_empty(), "variables come from EnvironmentFile=");
    demand(values("User").len() == 1, "User= says who runs it");
    let own = |user: &str| user == "root" || user.starts_with("dcos_");
    demand(values("User").iter().all(|user| own(user)), "users are root or begin with dcos_");
    if !values("Type").contains(&"oneshot") {
        demand(values("Restart") == ["always"], "Restart=always");
        demand(values("RestartSec").len() == 1, "RestartSec= paces restarts");
        let unbounded = |(section, key, value): &(String, String, String)| {
            section == "Unit" && key == "StartLimitIntervalSec" && value == "0"
        };
        demand(settings.iter().any(unbounded), "StartLimitIntervalSec=0 in [Unit]: it is never given up");
    }
    for limit in values("LimitNOFILE") {
        let fits = limit.parse::<u32>().is_ok_and(|limit| limit <= 20_000);
        demand(fits, "LimitNOFILE= is a number that containers allow: 20000 at most");
    }
    if values("ExecStart").iter().any(|start| start.ends_with("dcos mesos-agent")) {
        demand(values("Delegate") == ["yes"], "an agent has Delegate=yes");
        demand(values("KillMode") == ["process"], "an agent has KillMode=process");
    }
    problems
}

#[test]
fn units_keep_the_rules() {
    let mut seen = BTreeSet::new();
    for path in files(&folder(), &[".service"]) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let unit = fs::read_to_string(&path).unwrap();
        assert_eq!(problems(&name, &unit), [""; 0]);
        assert!(!RESERVED_UNITS.contains(&name.as_str()), "{name}");
        seen.insert(name);
    }
    for known in [
        "dcos-mesos-master.service",
        "dcos-mesos-slave.service",
        "dcos-mesos-slave-public.service",
        "dcos-marathon.service",
        "dcos-adminrouter.service",
        "dcos-adminrouter-agent.service",
        "dcos-pkgpanda-api.service",
        "dcos-logrotate-master.service",
        "dcos-logrotate-agent.service",
    ] {
        assert!(seen.contains(known), "{known} is what its users know");
    }
}

#[test]
fn the_rules_find_what_breaks_them() {
    let good = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nUser=root\nRestart=always\nRestartSec=5\n\
                ExecStart=/bin/dcos mesos-agent\nDelegate=yes\nKillMode=process\n";
    assert_eq!(problems("good", good), [""; 0]);
    let check = |from: &str, to: &str, rule: &str| {
        let found = problems("bad", &good.replace(from, to));
        assert!(found.iter().any(|problem| problem.contains(rule)), "{to}: {found:?}");
    };
    check("[Service]", "[Service]\nEnvironment=A=b", "EnvironmentFile=");
    check("[Unit]", "[Unit]\nWants=other.service", "Wants=");
    check("User=root", "User=nobody", "dcos_");
    check("User=root\n", "", "User=");
    check("Restart=always", "Restart=on-failure", "Restart=always");
    check("StartLimitIntervalSec=0\n", "", "StartLimitIntervalSec=0");
    check("RestartSec=5\n", "", "RestartSec=");
    check("Delegate=yes", "Delegate=no", "Delegate=yes");
    check("KillMode=process", "KillMode=mixed", "KillMode=process");
    check("[Service]", "[Service]\nLimitNOFILE=infinity", "LimitNOFILE");
}

#[test]
fn what_units_name_is_there() {
    let all = files(&folder(), &[".service", ".socket", ".timer"]);
    let mut users = BTreeSet::new();
    for name in names() {
        let text = fs::read_to_string(folder().join(&name).join("buildinfo.json")).unwrap();
        let info: serde_json::Value = serde_json::from_str(&text).unwrap();
        users.extend(info["username"].as_str().map(str::to_owned));
    }
    for path in all {
        let unit = fs::read_to_string(&path).unwrap();
        for (_, key, value) in settings(&unit) {
            let words = value.split(' ').map(|word| word.trim_start_matches(['-', '+']));
            for word in words.filter_map(|word| word.strip_prefix("/opt/mesosphere/active/")) {
                let (package, file) = word.split_once('/').unwrap();
                let extra = folder().join(package).join("extra").join(file);
                assert!(extra.exists(), "{}: {key}={value}: {}", path.display(), extra.display());
            }
            if (key == "User" || key == "SocketUser") && value != "root" {
                assert!(users.contains(&value), "{}: no package makes the user {value}", path.display());
            }
        }
    }
}

#[test]
fn the_tree_is_read_whole() {
    let mut packages = BTreeMap::new();
    for name in names() {
        let name: PackageName = name.parse().unwrap();
        let text = fs::read_to_string(folder().join(name.as_str()).join("buildinfo.json")).unwrap();
        let info = BuildInfo::parse(&name, &text).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        packages.insert(PackageKey { name, variant: Variant::default() }, info);
    }
    let graph = Graph::of(packages.clone());
    let tree = |file: &str| {
        let text = fs::read_to_string(folder().join(file)).unwrap();
        let tree = TreeInfo::parse(&text).unwrap_or_else(|problem| panic!("{file}: {problem}"));
        graph.package_set(&tree).unwrap_or_else(|problem| panic!("{file}: {problem}"))
    };
    tree("treeinfo.json");
    tree("installer.treeinfo.json");
    // The root of the tree requires all of it.
    let is_root = |key: &&PackageKey| key.name.as_str() == "dcos-image";
    let root = packages.keys().find(is_root).unwrap();
    let required = graph.requires(root).unwrap();
    let left_out: Vec<_> = packages.keys().filter(|key| *key != root && !required.contains(key)).collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}

#[test]
fn scripts_are_ones() {
    for name in names() {
        let package = folder().join(&name);
        let mut scripts = files(&package.join("extra"), &[""]);
        scripts.push(package.join("build"));
        for script in scripts {
            let text = fs::read_to_string(&script).unwrap();
            let Some(shell) = text.lines().next().and_then(|line| line.strip_prefix("#!/bin/")) else {
                continue;
            };
            let checked = Command::new(shell).arg("-n").arg(&script).output().unwrap();
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        }
    }
}
