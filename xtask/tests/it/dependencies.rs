//! Foreign code: licences, duplicates, and what is banned.

use std::collections::BTreeMap;

use crate::workspace::Workspace;

/// Licences that may be shipped under Apache-2.0. An expression is fine if one of its alternatives is.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

/// Never, with the reason.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-sys", "compiles a large C library; TLS uses ring"),
    ("openssl-sys", "links a C library that a static program cannot bring along"),
    ("chrono", "times are base::Wall"),
    ("reqwest", "HTTP is http-kit"),
];

/// Names of which two versions are shipped for now, with who keeps the older one.
const TWO_VERSIONS: &[(&str, &str)] = &[("getrandom", "ring has 0.2, the resolver's rand 0.4")];

fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], "").replace('/', " OR ");
    expression
        .split(" OR ")
        .any(|alternative| alternative.split(" AND ").all(|licence| LICENCES.contains(&licence.trim())))
}

#[test]
fn licences_may_be_shipped() {
    let workspace = Workspace::get();
    for (id, package) in &workspace.packages {
        let licence = package.license.as_deref().unwrap_or("none");
        assert!(is_allowed(licence), "{id} has the licence {licence}; allowed are {LICENCES:?}");
    }
}

#[test]
fn nothing_banned_is_built() {
    for package in Workspace::get().packages.values() {
        if let Some((name, reason)) = BANNED.iter().find(|(name, _)| *name == package.name) {
            panic!("{name} is banned: {reason}");
        }
    }
}

#[test]
fn one_version_of_everything_is_shipped() {
    let workspace = Workspace::get();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for id in workspace.shipped() {
        let package = &workspace.packages[id];
        versions.entry(&package.name).or_default().push(&package.version);
    }
    versions.retain(|_, found| found.len() > 1);
    for (name, found) in &versions {
        assert!(
            TWO_VERSIONS.iter().any(|(known, _)| known == name),
            "{name} is shipped in versions {found:?}"
        );
    }
    for (name, reason) in TWO_VERSIONS {
        assert!(versions.contains_key(name), "{name} is in one version by now; forget: {reason}");
    }
}

#[test]
fn licence_expressions_are_understood() {
    for fine in [
        "MIT",
        "MIT OR Apache-2.0",
        "MIT/Apache-2.0",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "GPL-2.0 OR MIT",
    ] {
        assert!(is_allowed(fine), "{fine}");
    }
    for bad in ["none", "GPL-3.0", "LGPL-2.1 AND MIT"] {
        assert!(!is_allowed(bad), "{bad}");
    }
}
