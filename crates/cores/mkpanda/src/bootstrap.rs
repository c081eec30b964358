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

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(texts: &[&str]) -> BTreeSet<PackageId> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_id_is_the_hash_of_the_list_of_ids() {
        let packages = ids(&["b--1", "a--2"]);
        assert_eq!(bootstrap_id(&packages), hash::canonical(&json!(["b--1", "a--2"])).unwrap());
        assert_eq!(bootstrap_id(&ids(&[])), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }

    #[test]
    fn active_packages_are_in_the_order_of_their_paths() {
        // NAME/ID.tar.xz: of a dash, a dot and a slash the dash is the first.
        let text = active_json(&ids(&["a--2", "a--10", "a-b--1", "a.b--1", "b--1"]));
        assert_eq!(text, "[\n  \"a-b--1\",\n  \"a.b--1\",\n  \"a--10\",\n  \"a--2\",\n  \"b--1\"\n]");
    }

    #[test]
    fn a_complete_tree_with_and_without_its_bootstrap() {
        let packages = ids(&["b--1", "a--2"]);
        let rest = "\"packages\":[\n    \"a--2\",\n    \"b--1\"\n  ]\n}";
        assert_eq!(complete_json(Some("abc"), &packages), format!("{{\n  \"bootstrap\":\"abc\",\n  {rest}"));
        assert_eq!(complete_json(None, &packages), format!("{{\n  \"bootstrap\":null,\n  {rest}"));
    }
}
