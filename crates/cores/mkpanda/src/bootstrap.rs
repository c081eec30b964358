//! The names and the texts around a bootstrap.

use std::collections::BTreeSet;

use api_pkgpanda::{PackageId, hash, json};
use serde_json::json;

/// The id of a bootstrap: the canonical hash of its packages' ids.
#[must_use]
pub fn bootstrap_id(packages: &BTreeSet<PackageId>) -> String {
    hash::list(packages)
}

/// The text of `ID.active.json`: the packages of a bootstrap.
///
/// In the order of the paths of their tarballs (`.../NAME/ID.tar.xz`), as the original writes it.
#[must_use]
pub fn active_json(packages: &BTreeSet<PackageId>) -> String {
    let mut ids: Vec<&PackageId> = packages.iter().collect();
    ids.sort_by_cached_key(|id| format!("{}/{id}.tar.xz", id.name()));
    json::pretty(&ids)
}

/// The text of `[VARIANT.]complete.latest.json`: the packages of a tree, and its bootstrap if one was made.
#[must_use]
pub fn complete_json(bootstrap: Option<&str>, packages: &BTreeSet<PackageId>) -> String {
    json::pretty(&json!({"bootstrap": bootstrap, "packages": packages}))
}
