use proptest::prelude::*;

use super::*;
use crate::Variant;

const COMMIT: &str = "72fda18278aaf5d8ecf60402341177d54a3166c4";

/// The inputs of `NAME[/VARIANT]`, as a build would gather them.
fn with<T>(name: &str, buildinfo: &str, requires: &[&str], then: impl FnOnce(Inputs<'_>) -> T) -> T {
    let (name, variant) = name.split_once('/').unwrap_or((name, ""));
    let key = PackageKey { name: name.parse().unwrap(), variant: Variant::named(variant).unwrap() };
    let buildinfo = BuildInfo::parse(&key.name, buildinfo).unwrap();
    let id = |source: &crate::Source| source.declared_id().unwrap_or(SourceId::Contents(COMMIT.to_owned()));
    let source_ids =
        buildinfo.sources.iter().map(|(name, source)| (name.clone(), id(source))).collect::<BTreeMap<_, _>>();
    let requires = requires.iter().map(|id| id.parse().unwrap()).collect();
    then(Inputs {
        key: &key,
        buildinfo: &buildinfo,
        source_ids: &source_ids,
        build: COMMIT,
        docker: "sha256:feedface",
        extra_source: None,
        requires: &requires,
    })
}

fn id(name: &str, buildinfo: &str) -> String {
    with(name, buildinfo, &[], |inputs| inputs.package_id().unwrap().to_string())
}

#[test]
fn the_version_of_the_original() {
    let requires = ["pkg00--d6664172e41b4af09f8a39de2dd39bdaa62c41b6"];
    let found =
        with("pkg01", r#"{"environment": {"V1": "1"}, "requires": ["pkg00"]}"#, &requires, |inputs| {
            inputs.package_id().unwrap().to_string()
        });
    assert_eq!(found, "pkg01--5bbbd608c81b8955d09709e30ef902dfba791ed8");
}

#[test]
fn everything_that_is_given_counts() {
    let plain = id("a", "");
    for (name, buildinfo) in [
        ("b", ""),
        ("a/v", ""),
        ("a", r#"{"environment": {"A": ""}}"#),
        ("a", r#"{"state_directory": true}"#),
        ("a", r#"{"username": "dcos_a"}"#),
        ("a", r#"{"sysctl": {}}"#),
        ("a", r#"{"network": true}"#),
        ("a", r#"{"single_source": {"kind": "local", "rel_path": "x"}}"#),
    ] {
        assert_ne!(id(name, buildinfo), plain, "{name} {buildinfo}");
    }
    with("a", "", &[], |inputs| {
        for changed in [
            Inputs { extra_source: Some(COMMIT), ..inputs },
            Inputs { docker: "sha256:beef", ..inputs },
            Inputs { build: "x", ..inputs },
            Inputs { requires: &["z--1".parse().unwrap()].into(), ..inputs },
        ] {
            assert_ne!(changed.package_id().unwrap().as_str(), plain);
        }
    });
}

#[test]
fn what_does_not_change_a_package_does_not_count() {
    let plain = id("a", "");
    // The script and the image count by what they are, not by what they are called.
    for buildinfo in
        [r#"{"network": false}"#, r#"{"build_script": "x"}"#, r#"{"docker": "x"}"#, r#"{"sources": {}}"#]
    {
        assert_eq!(id("a", buildinfo), plain, "{buildinfo}");
    }
    let single = r#"{"single_source": {"kind": "local", "rel_path": "x"}}"#;
    let several = r#"{"sources": {"a": {"kind": "local", "rel_path": "y"}}}"#;
    assert_eq!(id("a", single), id("a", several));
}

#[test]
fn a_version_extra_stands_before_the_hash() {
    let found = id("a", r#"{"version_extra": "1.11.0"}"#);
    let hash = found.strip_prefix("a--1.11.0_").unwrap();
    assert_eq!(hash.len(), 40);
    assert!(!id("a", "").ends_with(hash));
}

#[test]
fn names_that_no_id_can_have() {
    let refused = |name: &str| with(name, "", &[], |inputs| inputs.package_id().is_err());
    assert!(refused("a--b") && refused("a-") && refused(&"a".repeat(220)));
    assert!(!refused("a-b"));
}

#[test]
fn the_full_buildinfo() {
    let buildinfo = r#"{"sources": {"b": {"kind": "local", "rel_path": "x"}}, "username": "dcos_a"}"#;
    let text = with("a", buildinfo, &["z--1", "c--2"], |inputs| {
        let inputs = Inputs { extra_source: Some("e1"), ..inputs };
        inputs.buildinfo_full_json(&"a--5".parse().unwrap())
    });
    let expected = format!(
        r#"{{
  "build_ids":{{
    "build":"{COMMIT}",
    "docker":"sha256:feedface",
    "environment":{{}},
    "extra_source":"e1",
    "name":"a",
    "pkgpanda_version":"0.2",
    "requires":[
      "c--2",
      "z--1"
    ],
    "sources":{{
      "b":{{
        "contents":"{COMMIT}"
      }}
    }},
    "state_directory":false,
    "username":"dcos_a",
    "variant":""
  }},
  "extra_source":"e1",
  "name":"a",
  "package_version":"5",
  "sources":{{
    "b":{{
      "contents":"{COMMIT}",
      "kind":"local",
      "rel_path":"x"
    }}
  }},
  "variant":null
}}"#
    );
    assert_eq!(text, expected);
}

proptest! {
    /// The fields of a buildinfo, and what is within them, in any order.
    #[test]
    fn the_order_of_what_is_written_does_not_count(
        fields in Just(vec![
            r#""environment": {"A": "1", "B": "2"}"#,
            r#""state_directory": true"#,
            r#""username": "dcos_a""#,
            r#""sysctl": {"b": {"y": 1, "x": "2"}, "a": {}}"#,
            r#""requires": ["c", "b"]"#,
            r#""single_source": {"kind": "local", "rel_path": "x"}"#,
        ]).prop_shuffle(),
        requires in Just(vec!["b--1", "c--2", "d--3"]).prop_shuffle(),
    ) {
        let of = |fields: &str, requires: &[&str]| {
            with("a", &format!("{{{fields}}}"), requires, |inputs| inputs.package_id().unwrap().to_string())
        };
        let mut sorted = fields.clone();
        sorted.sort_unstable();
        prop_assert_eq!(of(&fields.join(","), &requires), of(&sorted.join(","), &["b--1", "c--2", "d--3"]));
    }
}
