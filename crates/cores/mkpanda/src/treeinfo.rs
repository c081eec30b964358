//! Which packages a tree is made of: `[VARIANT.]treeinfo.json`.

use std::collections::{BTreeMap, BTreeSet};

use api_pkgpanda::PackageName;
use serde_json::Value;

use crate::problem::{Invalid, Problem};
use crate::read::Reader;
use crate::variant::Variant;

const KEYS: [&str; 4] = ["bootstrap_package_list", "core_package_list", "exclude", "variants"];

/// Which packages a tree is made of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TreeInfo {
    /// Packages that must not be in the tree.
    pub exclude: BTreeSet<PackageName>,
    /// Packages that are in it in another variant than the default one.
    pub variants: BTreeMap<PackageName, Variant>,
    /// The packages of the tree, to which what they require is added. Empty: all that are not excluded.
    pub core_package_list: BTreeSet<PackageName>,
    /// The packages of the bootstrap, to which what they require is added. Empty: all of the tree.
    pub bootstrap_package_list: BTreeSet<PackageName>,
}

impl TreeInfo {
    /// Reads the text of a `[VARIANT.]treeinfo.json`. An empty file is an empty object.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str) -> Result<TreeInfo, Invalid> {
        let members = crate::json::object(text)?;
        let mut reader = Reader::default();
        for name in members.keys().filter(|name| !KEYS.contains(&name.as_str())) {
            reader.unknown(name, name, &KEYS, "a treeinfo");
        }
        let mut list = |key: &str| {
            members.get(key).and_then(|value| packages(&mut reader, key, value)).unwrap_or_default()
        };
        let exclude = list("exclude");
        let core_package_list = list("core_package_list");
        let bootstrap_package_list = list("bootstrap_package_list");
        let variants =
            members.get("variants").and_then(|value| variants(&mut reader, value)).unwrap_or_default();
        for (key, names) in
            [("core_package_list", &core_package_list), ("bootstrap_package_list", &bootstrap_package_list)]
        {
            for name in names.intersection(&exclude) {
                reader.note(Problem::new(key, format!("{name} is in exclude, too")));
            }
        }
        for name in variants.keys().filter(|name| exclude.contains(*name)) {
            reader.note(Problem::new(format!("variants.{name}"), format!("{name} is in exclude, too")));
        }
        reader.or(Some(TreeInfo { exclude, variants, core_package_list, bootstrap_package_list }))
    }
}

/// `null` is an empty list.
fn packages(reader: &mut Reader, at: &str, value: &Value) -> Option<BTreeSet<PackageName>> {
    if value.is_null() {
        return None;
    }
    let items = reader.list(at, value)?;
    let mut names = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let at = format!("{at}[{index}]");
        match item.as_str().map(str::parse::<PackageName>) {
            Some(Ok(name)) => {
                let shown = name.to_string();
                if !names.insert(name) {
                    reader.note(Problem::new(at, format!("{shown} is listed twice")));
                }
            }
            _ => reader.note(Problem::wrong(at, item, "the name of a package")),
        }
    }
    Some(names)
}

fn variants(reader: &mut Reader, value: &Value) -> Option<BTreeMap<PackageName, Variant>> {
    let members = reader.object("variants", value)?;
    let mut variants = BTreeMap::new();
    for (name, value) in members {
        let at = format!("variants.{name}");
        let variant = match value {
            Value::Null => Some(Variant::DEFAULT),
            Value::String(variant) => Variant::named(variant).ok(),
            _ => None,
        };
        match (name.parse::<PackageName>(), variant) {
            (Ok(name), Some(variant)) => {
                variants.insert(name, variant);
            }
            (Err(_), _) => reader.note(Problem::new(at, "is not the name of a package")),
            (_, None) => {
                reader.note(Problem::wrong(at, value, "the name of a variant, or null for the default one"))
            }
        }
    }
    Some(variants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(text: &str, expected: &[&str]) {
        let found = TreeInfo::parse(text).expect_err(text).to_string();
        assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn everything_there_is() {
        let text = r#"{
            "exclude": ["a"], "core_package_list": ["b", "c"], "bootstrap_package_list": null,
            "variants": {"b": "installer", "c": null}
        }"#;
        let tree = TreeInfo::parse(text).unwrap();
        assert!(tree.exclude.contains("a") && tree.core_package_list.len() == 2);
        assert!(tree.bootstrap_package_list.is_empty());
        assert_eq!(tree.variants["b"], Variant::named("installer").unwrap());
        assert_eq!(tree.variants["c"], Variant::DEFAULT);
        assert_eq!(TreeInfo::parse(" ").unwrap(), TreeInfo::default());
    }

    #[test]
    fn what_is_not_allowed() {
        let all = "a treeinfo may have bootstrap_package_list, core_package_list, exclude, variants";
        check_refused(
            r#"{"excludes": [], "x": 1, "exclude": []}"#,
            &[
                &format!("excludes: unknown key (did you mean exclude?); {all}"),
                &format!("x: unknown key; {all}"),
            ],
        );
        check_refused("5", &["found 5; allowed is an object"]);
        check_refused(r#"{"exclude": "a"}"#, &["exclude: found \"a\"; allowed is a list"]);
        check_refused(
            r#"{"core_package_list": ["a", 5, "a/b", "a"]}"#,
            &[
                "core_package_list[1]: found 5; allowed is the name of a package",
                "core_package_list[2]: found \"a/b\"; allowed is the name of a package",
                "core_package_list[3]: a is listed twice",
            ],
        );
        check_refused(
            r#"{"exclude": ["a"], "core_package_list": ["a"], "bootstrap_package_list": ["a"], "variants": {"a": "b"}}"#,
            &[
                "core_package_list: a is in exclude, too",
                "bootstrap_package_list: a is in exclude, too",
                "variants.a: a is in exclude, too",
            ],
        );
        check_refused(
            r#"{"variants": {"a": 5, ".b": "c", "d": "e f"}}"#,
            &[
                "variants..b: is not the name of a package",
                "variants.a: found 5; allowed is the name of a variant, or null for the default one",
                "variants.d: found \"e f\"; allowed is the name of a variant, or null for the default one",
            ],
        );
    }
}
