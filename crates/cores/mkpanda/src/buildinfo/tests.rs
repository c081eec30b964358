use super::*;

const SHA1: &str = "72fda18278aaf5d8ecf60402341177d54a3166c4";
const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(text: &str) -> Result<BuildInfo, Invalid> {
    BuildInfo::parse(&"mesos".parse().unwrap(), text)
}

/// The problems, a line each.
#[track_caller]
fn check_refused(text: &str, expected: &[&str]) {
    let text = text.replace("SHA256", SHA256).replace("SHA1", SHA1);
    let found = parse(&text).expect_err(&text).to_string();
    assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{text}");
}

#[track_caller]
fn source(text: &str) -> Source {
    let text = format!(r#"{{"single_source": {text}}}"#).replace("SHA256", SHA256).replace("SHA1", SHA1);
    let mut info = parse(&text).unwrap();
    info.sources.remove("mesos").unwrap()
}

#[test]
fn an_empty_file_is_an_empty_object() {
    for text in ["", " \n\t", "{}"] {
        let info = parse(text).unwrap();
        assert_eq!(info.build_script, "build");
        assert_eq!(info.docker, "dcos/dcos-builder:dcos-builder_dockerdir-latest");
        assert!(!info.network && !info.state_directory);
        assert_eq!(info.sysctl, None);
        assert!(info.sources.is_empty() && info.requires.is_empty() && info.environment.is_empty());
    }
}

#[test]
fn everything_there_is() {
    let text = r#"{
        "build_script": "scripts/build",
        "docker": "dcos-base",
        "environment": {"JAVA_HOME": "/opt/mesosphere/active/java", "N": 5},
        "group": "docker",
        "network": true,
        "requires": ["openssl", {"name": "java", "variant": "jre"}, {"name": "curl", "variant": null}],
        "sources": {"a": {"kind": "local", "rel_path": "../a"}, "b": {"kind": "git_local", "rel_path": "."}},
        "state_directory": true,
        "sysctl": {"dcos-mesos-slave": {"vm.max_map_count": "262144", "vm.swappiness": 1}},
        "username": "dcos_mesos",
        "version_extra": "1.11.0"
    }"#;
    let info = parse(text).unwrap();
    assert_eq!(info.sources["a"], Source::Local { rel_path: "../a".to_owned() });
    assert_eq!(info.environment["N"], "5");
    let requires: Vec<String> = info.requires.iter().map(PackageKey::to_string).collect();
    assert_eq!(requires, ["openssl", "java (jre)", "curl"]);
    assert_eq!(
        crate::pkginfo_json(&info),
        r#"{
  "environment":{
    "JAVA_HOME":"/opt/mesosphere/active/java",
    "N":"5"
  },
  "group":"docker",
  "requires":[
    "openssl",
    {
      "name":"java",
      "variant":"jre"
    },
    "curl"
  ],
  "state_directory":true,
  "sysctl":{
    "dcos-mesos-slave":{
      "vm.max_map_count":"262144",
      "vm.swappiness":1
    }
  },
  "username":"dcos_mesos"
}"#
    );
}

#[test]
fn all_kinds_of_sources() {
    for (text, id) in [
        (
            r#"{"kind": "git", "git": "https://github.com/apache/mesos", "ref": "SHA1", "ref_origin": "1.11.x"}"#,
            Some(("commit", SHA1)),
        ),
        (r#"{"kind": "git_local", "rel_path": "../../.."}"#, None),
        (r#"{"kind": "url", "url": "https://a/b?c=/d", "sha1": "SHA1"}"#, Some(("downloaded_sha1", SHA1))),
        (
            r#"{"kind": "url_extract", "url": "file://b.tgz", "sha1": "SHA1"}"#,
            Some(("downloaded_sha1", SHA1)),
        ),
        (r#"{"kind": "local", "rel_path": "conf"}"#, None),
        (
            r#"{"kind": "debian", "package": "libc6", "version": "2.36-9+deb12u9", "sha256": "SHA256"}"#,
            Some(("sha256", SHA256)),
        ),
    ] {
        let source = source(text);
        let text = text.replace("SHA256", SHA256).replace("SHA1", SHA1);
        assert_eq!(source.to_json(), serde_json::from_str::<Value>(&text).unwrap());
        assert_eq!(Source::parse(&text).unwrap(), source);
        let found = source.declared_id();
        assert_eq!(found.as_ref().map(crate::SourceId::entry), id, "{text}");
    }
}

#[test]
fn files_of_downloads() {
    for (url, expected) in [
        ("https://example.com/a/zlib-1.3.tar.gz", "zlib-1.3.tar.gz"),
        ("https://example.com/zlib.tgz?x=/y#z", "zlib.tgz"),
        ("file:///srv/zlib.zip", "zlib.zip"),
        ("file://zlib.tar.xz", "zlib.tar.xz"),
    ] {
        match source(&format!(r#"{{"kind": "url_extract", "url": "{url}", "sha1": "SHA1"}}"#)) {
            Source::UrlExtract(download) => assert_eq!(download.file_name(), expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn files_that_are_none() {
    check_refused("[]", &["found []; allowed is an object"]);
    check_refused("{", &["is not JSON: EOF while parsing an object at line 1 column 1"]);
    check_refused("{} {}", &["is not JSON: trailing characters at line 1 column 4"]);
    check_refused(
        r#"{"docker": "a", "docker": "b"}"#,
        &["is not JSON: the key \"docker\" comes twice at line 1 column 24"],
    );
    check_refused(
        r#"{"environment": {"A": "1", "A": "2"}}"#,
        &["is not JSON: the key \"A\" comes twice at line 1 column 30"],
    );
    let deep = format!("{}{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    assert!(parse(&deep).unwrap_err().to_string().contains("recursion limit exceeded"));
    let long = format!("{{}}{}", " ".repeat(crate::MAX_FILE));
    check_refused(&long, &["found 1048578 bytes; allowed are 1048576"]);
}

#[test]
fn keys_that_no_buildinfo_has() {
    let all = "a buildinfo may have build_script, docker, environment, group, network, requires, single_source, \
               sources, state_directory, sysctl, username, version_extra";
    check_refused(
        r#"{"require": [], "zzz": 1}"#,
        &[
            &format!("require: unknown key (did you mean requires?); {all}"),
            &format!("zzz: unknown key; {all}"),
        ],
    );
    check_refused(
        r#"{"name": "a", "variant": "b", "pkgpanda_version": "c", "build": "d", "extra_source": "e"}"#,
        &[
            "build: must not be given: it is the hash of the build script, which build_script names",
            "extra_source: must not be given: it is the hash of the folder extra",
            "name: must not be given: it is the name of the package's folder",
            "pkgpanda_version: must not be given: it is that of the rules by which versions are made",
            "variant: must not be given: it is in the file's name: VARIANT.buildinfo.json",
        ],
    );
}

#[test]
fn values_that_are_not_allowed() {
    let script = "the path of a file in the package's folder, without . and ..";
    for bad in ["/bin/sh", "../build", "a/../b", "a//b", "", "./build"] {
        check_refused(
            &format!(r#"{{"build_script": "{bad}"}}"#),
            &[&format!("build_script: found \"{bad}\"; allowed is {script}")],
        );
    }
    for bad in ["5", "null", "\"\"", "\"../x\"", "\"a b\"", "\"-v\""] {
        check_refused(
            &format!(r#"{{"docker": {bad}}}"#),
            &[&format!(
                "docker: found {bad}; allowed is the name of a folder below docker or the reference of an image"
            )],
        );
    }
    check_refused(r#"{"network": "yes"}"#, &["network: found \"yes\"; allowed is true or false"]);
    check_refused(r#"{"state_directory": 1}"#, &["state_directory: found 1; allowed is true or false"]);
    check_refused(
        r#"{"username": "root"}"#,
        &["username: found \"root\"; allowed is dcos_ and lower case letters, digits and _"],
    );
    check_refused(
        r#"{"group": "Wheel", "username": "dcos_a"}"#,
        &[
            "group: found \"Wheel\"; allowed is lower case letters, digits, _ and - (the first one a letter or _)",
        ],
    );
    check_refused(
        r#"{"group": "docker"}"#,
        &["group: needs a username: it is the group that the user must be in"],
    );
    check_refused(
        r#"{"version_extra": "1.0-rc1"}"#,
        &[
            "version_extra: found \"1.0-rc1\"; allowed is 1 to 64 letters, digits and @_+:. (no -, which no version has)",
        ],
    );
    check_refused(
        r#"{"environment": {"PATH": "/bin", "A B": "1", "C": "x\ny", "D": 1.5, "E": null}}"#,
        &[
            "environment.A B: is no name for a variable: it must not be empty nor hold =, spaces and control characters",
            "environment.C: found \"x\\ny\"; allowed is a text of one line or a whole number",
            "environment.D: found 1.5; allowed is a text of one line or a whole number",
            "environment.E: found null; allowed is a text of one line or a whole number",
            "environment.PATH: must not be given: it is the same for all packages of a host",
        ],
    );
    check_refused(r#"{"environment": ["A=1"]}"#, &["environment: found [\"A=1\"]; allowed is an object"]);
    check_refused(
        r#"{"sysctl": {"dcos-a": {"vm.x": null}, "dcos-b": 5}}"#,
        &[
            "sysctl.dcos-a.vm.x: found null; allowed is a text, a whole number, true or false",
            "sysctl.dcos-b: found 5; allowed is an object",
        ],
    );
}

#[test]
fn requirements_that_are_not_allowed() {
    let name = "the name of a package: letters, digits and @._+- (the first one no `.` and no `-`)";
    check_refused(r#"{"requires": "java"}"#, &["requires: found \"java\"; allowed is a list"]);
    check_refused(
        r#"{"requires": ["java--1", ".x", 5, {"name": "a"}, {"name": "a", "variant": "b/c"}, "z", {"name": "z", "variant": "y"}]}"#,
        &[
            "requires[0]: found \"java--1\"; allowed is the name of a package alone: its version is the one in the tree",
            &format!("requires[1]: found \".x\"; allowed is {name}"),
            "requires[2]: found 5; allowed is the name of a package, or an object of exactly name and variant",
            "requires[3]: found {\"name\":\"a\"}; allowed is the name of a package, or an object of exactly name and variant",
            "requires[4]: found {\"name\":\"a\",\"variant\":\"b/c\"}; allowed is as its variant letters, digits and @._+- (the first one no `.` and no `-`)",
            "requires[6]: z is required twice",
        ],
    );
}

#[test]
fn sources_that_are_not_allowed() {
    let kinds = "git, git_local, url, url_extract, local, debian";
    check_refused(
        r#"{"sources": {}, "single_source": {}}"#,
        &["single_source: stands beside sources; only one of them may be given"],
    );
    check_refused(r#"{"sources": []}"#, &["sources: found []; allowed is an object"]);
    check_refused(
        r#"{"single_source": {}}"#,
        &[&format!("single_source.kind: is missing; allowed are {kinds}")],
    );
    check_refused(
        r#"{"sources": {"a": {"kind": "gti"}, "b": {"kind": 5}}}"#,
        &[
            &format!("sources.a.kind: found \"gti\"; allowed is {kinds} (did you mean git?)"),
            &format!("sources.b.kind: found 5; allowed is {kinds}"),
        ],
    );
    check_refused(
        r#"{"sources": {"src": {"kind": "local", "rel_path": "a"}, "a/b": {"kind": "local", "rel_path": "a"},
            "x.latest": {"kind": "local", "rel_path": "a"}, "a--b": {"kind": "local", "rel_path": "a"}}}"#,
        &["a--b", "a/b", "src", "x.latest"]
            .map(|name| {
                format!(
                    "sources.{name}: is no name for a source: allowed are letters, digits and @._+- (the first one no \
                     `.` and no `-`), but not what the cache calls its own: build.log, latest, result, src, an end of \
                     .latest or .build.log, and --"
                )
            })
            .each_ref()
            .map(String::as_str),
    );
    check_refused(
        r#"{"single_source": {"kind": "git", "git": "https://a/b", "refs": "SHA1", "ref_origin": 5}}"#,
        &[
            "single_source.refs: unknown key (did you mean ref?); a source of kind git may have kind, git, ref, ref_origin",
            "single_source.ref: is missing; a source of kind git has exactly kind, git, ref, ref_origin",
            "single_source.ref_origin: found 5; allowed is a text that is not empty",
        ],
    );
    let commit = "the id of a commit: 40 hexadecimal digits, not all zero";
    for bad in ["master", "0000000000000000000000000000000000000000", "72fda182"] {
        check_refused(
            &format!(
                r#"{{"single_source": {{"kind": "git", "git": "--upload-pack=x", "ref": "{bad}", "ref_origin": "m"}}}}"#
            ),
            &[
                &format!("single_source.ref: found \"{bad}\"; allowed is {commit}"),
                "single_source.git: found \"--upload-pack=x\"; allowed is a text of one line that does not begin with -",
            ],
        );
    }
    for kind in ["local", "git_local"] {
        check_refused(
            &format!(r#"{{"single_source": {{"kind": "{kind}", "rel_path": "/srv/a"}}}}"#),
            &[
                "single_source.rel_path: found \"/srv/a\"; allowed is a path relative to the package's folder, so that it is valid in every clone",
            ],
        );
    }
}

#[test]
fn downloads_that_are_not_allowed() {
    let check = |kind: &str, url: &str, expected: &str| {
        check_refused(
            &format!(r#"{{"single_source": {{"kind": "{kind}", "url": "{url}", "sha1": "SHA1"}}}}"#),
            &[&format!("single_source.url: found \"{url}\"; allowed is {expected}")],
        );
    };
    check("url", "ftp://a/b", "a URL with http://, https:// or file://");
    check("url", "a/b.tar.gz", "a URL with http://, https:// or file://");
    check("url", "https://a/b c", "a URL with http://, https:// or file://");
    check("url", "https://a", "a URL whose path ends with the name of a file");
    check("url", "https://a/b/", "a URL whose path ends with the name of a file");
    check("url", "https://a/b/..", "a URL whose path ends with the name of a file");
    check("url_extract", "https://a/b.rar", super::source::ARCHIVES);
    check_refused(
        r#"{"single_source": {"kind": "url", "url": "https://a/b", "sha1": "72FDA18278AAF5D8ECF60402341177D54A3166C4"}}"#,
        &[
            "single_source.sha1: found \"72FDA18278AAF5D8ECF60402341177D54A3166C4\"; allowed is 40 hexadecimal digits in lower case",
        ],
    );
    check_refused(
        r#"{"single_source": {"kind": "debian", "package": "-o=x", "version": "../1", "sha256": "SHA1"}}"#,
        &[
            "single_source.package: found \"-o=x\"; allowed is the name of a Debian package: lower case letters, digits and +-.",
            "single_source.version: found \"../1\"; allowed is the version of a Debian package: a digit, then letters, digits and .+-:~",
            &format!(
                "single_source.sha256: found \"{SHA1}\"; allowed is 64 hexadecimal digits in lower case"
            ),
        ],
    );
}

/// What is between a heading of the guide and the next one.
fn chapter(title: &str) -> &'static str {
    const GUIDE: &str = include_str!("../../../../../docs/guide/packages.md");
    let (_, rest) =
        GUIDE.split_once(&format!("\n### {title}\n")).unwrap_or_else(|| panic!("{title} is missing"));
    rest.split("\n### ").next().unwrap()
}

fn examples(chapter: &'static str) -> impl Iterator<Item = &'static str> {
    chapter.split("```json\n").skip(1).map(|rest| rest.split_once("```").unwrap().0)
}

#[test]
fn the_guide_knows_every_key_and_its_examples_are_valid() {
    let text = chapter("buildinfo.json");
    for key in KEYS.iter().chain(&["kind", "git", "ref", "ref_origin", "rel_path", "url", "sha1", "sha256"]) {
        assert!(text.contains(&format!("`{key}`")), "{key} is not in the guide");
    }
    let mut kinds = BTreeSet::new();
    for example in examples(text) {
        let info = parse(example).unwrap_or_else(|error| panic!("{example}: {error}"));
        kinds.extend(info.sources.values().map(Source::kind));
    }
    assert_eq!(kinds.len(), 6, "there are more kinds than the examples show: {kinds:?}");

    let text = chapter("treeinfo.json");
    for key in ["exclude", "core_package_list", "bootstrap_package_list", "variants"] {
        assert!(text.contains(&format!("`{key}`")), "{key} is not in the guide");
    }
    assert!(examples(text).count() > 0);
    for example in examples(text) {
        crate::TreeInfo::parse(example).unwrap_or_else(|error| panic!("{example}: {error}"));
    }
}
