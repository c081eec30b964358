use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{BuildInfo, PackageKey};

const BUILDINFO: &str = r#"{
    "requires": ["openssl", {"name": "java", "variant": "jre"}],
    "sources": {
        "mesos": {"kind": "git", "git": "https://github.com/apache/mesos", "ref": "00000000000000000000000000000000000000a1", "ref_origin": "1.11.x"},
        "scp": {"kind": "git", "git": "git@example.com:x.git", "ref": "00000000000000000000000000000000000000a2", "ref_origin": "main"},
        "here": {"kind": "git_local", "rel_path": "../.."},
        "zlib": {"kind": "url_extract", "url": "https://example.com/zlib.tar.gz", "sha1": "00000000000000000000000000000000000000a3"},
        "blob": {"kind": "url", "url": "file://blob", "sha1": "00000000000000000000000000000000000000a4"},
        "unit": {"kind": "local", "rel_path": "unit"},
        "libc": {"kind": "debian", "package": "libstdc++6", "version": "1:12.2-14+deb12u1", "sha256": "00000000000000000000000000000000000000000000000000000000000000a5"}
    }
}"#;

struct Made {
    key: PackageKey,
    buildinfo: BuildInfo,
    source_ids: BTreeMap<String, SourceId>,
    requires: BTreeSet<PackageId>,
}

impl Made {
    fn of(name: &str, buildinfo: &str, requires: &[&str]) -> Made {
        let key = PackageKey { name: name.parse().unwrap(), variant: Variant::DEFAULT };
        let buildinfo = BuildInfo::parse(&key.name, buildinfo).unwrap();
        let found = |source: &Source| match source {
            Source::GitLocal { .. } => SourceId::Commit("c".repeat(40)),
            _ => SourceId::Contents("d".repeat(40)),
        };
        let source_ids = buildinfo
            .sources
            .iter()
            .map(|(name, source)| (name.clone(), source.declared_id().unwrap_or_else(|| found(source))));
        let requires = requires.iter().map(|id| id.parse().unwrap()).collect();
        Made { source_ids: source_ids.collect(), key, buildinfo, requires }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            key: &self.key,
            buildinfo: &self.buildinfo,
            source_ids: &self.source_ids,
            build: "b1",
            docker: "sha256:feed",
            extra_source: Some("e1"),
            requires: &self.requires,
        }
    }
}

fn files() -> Vec<FileSum> {
    ["bin/mesos-master", "bin/mesos+master", "etc/ä"]
        .iter()
        .map(|path| FileSum {
            path: (*path).to_owned(),
            sha1: api_pkgpanda::hash::text(path),
            sha256: "f".repeat(64),
        })
        .collect()
}

fn tools() -> Vec<DebianPackage> {
    let tool = |package: &str, architecture: &str, sha256: Option<String>| DebianPackage {
        package: package.to_owned(),
        version: "4:12.2.0-3".to_owned(),
        architecture: architecture.to_owned(),
        sha256,
    };
    vec![tool("g++", "amd64", Some("a".repeat(64))), tool("bash", "amd64", None), tool("g++", "i386", None)]
}

fn bill_of_mesos(files: &[FileSum], tools: &[DebianPackage]) -> String {
    let made = Made::of("mesos", BUILDINFO, &["openssl--1", "java--2", "zlib--3"]);
    let id = made.inputs().package_id().unwrap();
    let left_out = &["sbom.spdx.json"];
    package_sbom(&PackageBill {
        id: &id,
        inputs: made.inputs(),
        files,
        left_out,
        tools,
        created: 1_479_686_400,
    })
}

/// The rules of SPDX 2.3 that a document like ours can break.
fn check_rules(text: &str) -> Value {
    let document: Value = serde_json::from_str(text).unwrap();
    assert_eq!(document["spdxVersion"], "SPDX-2.3");
    assert_eq!(document["dataLicense"], "CC0-1.0");
    assert_eq!(document["SPDXID"], "SPDXRef-DOCUMENT");
    assert_eq!(document["creationInfo"]["created"], "2016-11-21T00:00:00Z");
    let namespace = document["documentNamespace"].as_str().unwrap();
    assert!(namespace.starts_with("https://") && !namespace.contains(['#', ' ', '+']), "{namespace}");
    let mut ids = BTreeSet::from(["SPDXRef-DOCUMENT"]);
    let none = Vec::new();
    let files = document["files"].as_array().unwrap_or(&none);
    for element in document["packages"].as_array().unwrap().iter().chain(files) {
        let id = element["SPDXID"].as_str().unwrap();
        let tail = id.strip_prefix("SPDXRef-").unwrap();
        assert!(tail.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)), "{id}");
        assert!(ids.insert(id), "{id} comes twice");
        for checksum in element["checksums"].as_array().unwrap_or(&none) {
            let digits = match checksum["algorithm"].as_str().unwrap() {
                "SHA1" => 40,
                "SHA256" => 64,
                other => panic!("{other}"),
            };
            assert_eq!(checksum["checksumValue"].as_str().unwrap().len(), digits, "{id}");
        }
    }
    for package in document["packages"].as_array().unwrap() {
        assert!(package["name"].as_str().is_some_and(|name| !name.is_empty()), "{package}");
        assert!(package["downloadLocation"].is_string(), "{package}");
        for field in ["copyrightText", "licenseConcluded", "licenseDeclared"] {
            assert_eq!(package[field], "NOASSERTION", "{package}");
        }
        let is_analyzed = package["filesAnalyzed"].as_bool().unwrap();
        assert_eq!(package.get("packageVerificationCode").is_some(), is_analyzed, "{package}");
    }
    for file in files {
        assert!(file["fileName"].as_str().unwrap().starts_with("./"));
        assert_eq!(file["checksums"][0]["algorithm"], "SHA1");
    }
    let relationships = document["relationships"].as_array().unwrap();
    for relationship in relationships {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            assert!(ids.contains(relationship[end].as_str().unwrap()), "{relationship}");
        }
    }
    let describes =
        relationships.iter().filter(|relationship| relationship["relationshipType"] == "DESCRIBES");
    assert_eq!(describes.count(), 1);
    document
}

/// What relates to what, as `from KIND to`.
fn relations(document: &Value) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap().trim_start_matches("SPDXRef-").to_owned();
    let relationships = document["relationships"].as_array().unwrap().iter();
    relationships
        .map(|relationship| {
            let [from, kind, to] = ["spdxElementId", "relationshipType", "relatedSpdxElement"]
                .map(|field| text(&relationship[field]));
            format!("{from} {kind} {to}")
        })
        .collect()
}

fn package<'d>(document: &'d Value, id: &str) -> &'d Value {
    let packages = document["packages"].as_array().unwrap();
    packages
        .iter()
        .find(|package| package["SPDXID"] == format!("SPDXRef-{id}"))
        .unwrap_or_else(|| panic!("{id}"))
}

#[test]
fn the_bill_of_a_package() {
    let document = check_rules(&bill_of_mesos(&files(), &tools()));
    let version = document["name"].as_str().unwrap().strip_prefix("mesos--").unwrap();
    let own = format!("Package-mesos--{version}");
    let expected: BTreeSet<String> = [
        format!("DOCUMENT DESCRIBES {own}"),
        format!("{own} CONTAINS File-1"),
        format!("{own} CONTAINS File-2"),
        format!("{own} CONTAINS File-3"),
        format!("{own} DEPENDS_ON Package-java--2"),
        format!("{own} DEPENDS_ON Package-openssl--1"),
        format!("{own} DEPENDS_ON Package-zlib--3"),
        format!("{own} GENERATED_FROM Source-mesos-blob"),
        format!("{own} GENERATED_FROM Source-mesos-here"),
        format!("{own} GENERATED_FROM Source-mesos-libc"),
        format!("{own} GENERATED_FROM Source-mesos-mesos"),
        format!("{own} GENERATED_FROM Source-mesos-scp"),
        format!("{own} GENERATED_FROM Source-mesos-unit"),
        format!("{own} GENERATED_FROM Source-mesos-zlib"),
        format!("BuildTool-bash-amd64 BUILD_TOOL_OF {own}"),
        format!("BuildTool-g---amd64 BUILD_TOOL_OF {own}"),
        format!("BuildTool-g---i386 BUILD_TOOL_OF {own}"),
    ]
    .into();
    assert_eq!(relations(&document), expected);
    let code = &package(&document, &own)["packageVerificationCode"];
    let mut sums: Vec<String> = files().into_iter().map(|file| file.sha1).collect();
    sums.sort();
    assert_eq!(code["packageVerificationCodeValue"], api_pkgpanda::hash::text(&sums.concat()));
    assert_eq!(code["packageVerificationCodeExcludedFiles"], json!(["./sbom.spdx.json"]));
    let names = document["files"].as_array().unwrap().iter().map(|file| file["fileName"].as_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["./bin/mesos+master", "./bin/mesos-master", "./etc/ä"]);
}

#[test]
fn bills_of_many_files_stay_readable() {
    let files = |count: usize| {
        let file = |number: usize| FileSum {
            path: format!("lib/some/directory/module_{number}.py"),
            sha1: "a".repeat(40),
            sha256: "b".repeat(64),
        };
        (0..count).map(file).collect::<Vec<_>>()
    };
    let few = bill_of_mesos(&files(1000), &[]);
    assert!(few.len() < 600 << 10, "{} bytes for 1,000 files", few.len());
    let many = check_rules(&bill_of_mesos(&files(MAX_FILES + 1), &[]));
    assert!(many.get("files").is_none());
    let version = many["name"].as_str().unwrap().to_owned();
    let comment = &package(&many, &format!("Package-{version}"))["comment"];
    assert_eq!(*comment, "its 50001 files are too many to be listed here");
}

#[test]
fn sources_say_where_they_are_from() {
    let document = check_rules(&bill_of_mesos(&[], &[]));
    let field = |id: &str, field: &str| package(&document, &format!("Source-mesos-{id}"))[field].clone();
    let commit = "00000000000000000000000000000000000000a1";
    let location = format!("git+https://github.com/apache/mesos@{commit}");
    assert_eq!(field("mesos", "downloadLocation"), location);
    assert_eq!(field("mesos", "versionInfo"), commit);
    let purl = format!(
        "pkg:generic/mesos@{commit}?vcs_url=git%2Bhttps:%2F%2Fgithub.com%2Fapache%2Fmesos%40{commit}"
    );
    assert_eq!(field("mesos", "externalRefs")[0]["referenceLocator"], purl);
    assert_eq!(field("scp", "downloadLocation"), "NOASSERTION");
    assert_eq!(field("here", "versionInfo"), "c".repeat(40));
    assert_eq!(field("unit", "versionInfo"), "d".repeat(40));
    assert_eq!(field("zlib", "downloadLocation"), "https://example.com/zlib.tar.gz");
    assert_eq!(field("zlib", "checksums")[0]["checksumValue"], "00000000000000000000000000000000000000a3");
    assert_eq!(field("blob", "downloadLocation"), "NOASSERTION");
    assert_eq!(field("libc", "name"), "libstdc++6");
    let purl = "pkg:deb/debian/libstdc%2B%2B6@1:12.2-14%2Bdeb12u1";
    assert_eq!(field("libc", "externalRefs")[0]["referenceLocator"], purl);
}

#[test]
fn the_order_in_which_things_are_told_does_not_matter() {
    let (mut files, mut tools) = (files(), tools());
    let one = bill_of_mesos(&files, &tools);
    files.reverse();
    tools.reverse();
    // Files are numbered in the order of their paths, and so are names that would be the same.
    assert_eq!(one, bill_of_mesos(&files, &tools));
}

#[test]
fn the_bill_of_a_bootstrap() {
    let one = Made::of(
        "one",
        r#"{"requires": ["two"], "single_source": {"kind": "local", "rel_path": "x"}}"#,
        &["two--1"],
    );
    let two = Made::of("two", "", &[]);
    let (one_id, two_id) = ("one--1".parse().unwrap(), "two--1".parse().unwrap());
    let sha256 = "9".repeat(64);
    let components = [
        Component { id: &two_id, inputs: two.inputs(), sha256: Some(&sha256) },
        Component { id: &one_id, inputs: one.inputs(), sha256: None },
    ];
    let variant = Variant::named("installer").unwrap();
    let text = bootstrap_sbom("abc", &variant, &components, 1_479_686_400);
    let document = check_rules(&text);
    let expected: BTreeSet<String> = [
        "DOCUMENT DESCRIBES Bootstrap-abc",
        "Bootstrap-abc CONTAINS Package-one--1",
        "Bootstrap-abc CONTAINS Package-two--1",
        "Package-one--1 DEPENDS_ON Package-two--1",
        "Package-one--1 GENERATED_FROM Source-one-one",
    ]
    .map(str::to_owned)
    .into();
    assert_eq!(relations(&document), expected);
    assert_eq!(package(&document, "Package-two--1")["checksums"][0]["checksumValue"], sha256);
    assert_eq!(package(&document, "Bootstrap-abc")["comment"], "variant: installer");
    let reversed = [components[1], components[0]];
    assert_eq!(text, bootstrap_sbom("abc", &variant, &reversed, 1_479_686_400));
}
