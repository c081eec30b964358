//! What is built from what, in which order, and what of it is not built again.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::scene::Scene;

const NAME: &str = "mkdir -p \"$PKG_PATH/bin\"\necho \"$PKG_NAME\" > \"$PKG_PATH/bin/$PKG_NAME\"\n";

#[test]
fn a_build_sees_what_it_is_meant_to_see_and_nothing_else() {
    let Some(scene) = Scene::new() else { return };
    let script = "
        env; cat /pkg/src/mine/file /pkg/extra/more /opt/mesosphere/bin/below
        cat /opt/mesosphere/environment.export; ls /opt/mesosphere/packages; ls /sys/class/net
        cat /proc/self/status
        busybox mknod /tmp/disk b 7 0 && (cat /tmp/disk) 2>/dev/null || echo no disk
        (echo h > /proc/sysrq-trigger) 2>/dev/null || echo no trigger
        (echo x > /opt/mesosphere/packages/$BELOW/new) 2>/dev/null || echo closed
        (echo x > /opt/mesosphere/new) 2>/dev/null || echo closed too
        touch /pkg/src/new /tmp/new; mkdir $PKG_PATH/lib; echo x > $PKG_PATH/lib/x; ln -s x $PKG_PATH/lib/y
        chmod 777 $PKG_PATH/lib/x; chown 7:7 $PKG_PATH/lib/x
    ";
    scene.package("below", r#""environment": {"COLOUR": "blue"}"#, NAME);
    scene.run("below", &[]).good();
    let below = scene.latest("below");
    let info = r#""requires": ["below"], "sources": {"mine": {"kind": "local", "rel_path": "files"}},
        "environment": {"SIZE": "1"}, "username": "dcos_above", "state_directory": true"#;
    scene.package("above", info, &format!("BELOW={below}\n{script}"));
    scene.write("above/files/file", "from a source\n");
    scene.write("above/extra/more", "from extra\n");
    let said = scene.run("above", &["--dont-clean-after-build"]).good();
    let above = scene.latest("above");
    assert_eq!(
        said.out,
        format!("Package variants available as:\n<default>:{}\n", scene.tarball("above").display())
    );
    let folder = scene.cache().join("packages/above");
    let log = fs::read_to_string(folder.join("build.log")).unwrap();
    let version = above.split_once("--").unwrap().1;
    for line in [
        "GREETING=hello",
        "LC_ALL=C.UTF-8",
        "TZ=UTC",
        "SOURCE_DATE_EPOCH=315532800",
        "PKG_NAME=above",
        "PKG_VARIANT=",
        &format!("PKG_VERSION={version}"),
        &format!("PKG_ID={above}"),
        &format!("PKG_PATH=/opt/mesosphere/packages/{above}"),
        "from a source",
        "from extra",
        "below",
        "export COLOUR=blue",
        &below,
        &above,
        "lo",
        "closed",
        "closed too",
        "Seccomp:\t2",
        "NoNewPrivs:\t1",
        "CapBnd:\t00000000a80425fb",
        "no disk",
        "no trigger",
    ] {
        assert!(log.lines().any(|found| found == line), "{line:?} is not in {log}");
    }
    assert!(!log.contains("eth0") && !log.contains("veth"), "{log}");
    // They stay when asked for.
    assert!(folder.join("src/new").exists() && folder.join("result/lib/x").exists());
    let contents = scene.contents(&scene.tarball("above"));
    assert_eq!(contents["lib/x"], "x\n");
    assert_eq!(contents["lib/y"], " -> x");
    let info: serde_json::Value = serde_json::from_str(&contents["pkginfo.json"]).unwrap();
    assert_eq!(info["requires"], serde_json::json!(["below"]));
    assert_eq!((&info["username"], &info["state_directory"]), (&"dcos_above".into(), &true.into()));
    let full: serde_json::Value = serde_json::from_str(&contents["buildinfo.full.json"]).unwrap();
    assert_eq!(full["build_ids"]["requires"], serde_json::json!([below]));
    let manifest = api_pkgpanda::Manifest::parse(contents["pkgpanda.manifest.json"].as_bytes()).unwrap();
    assert_eq!(manifest.files["lib/x"].mode, 0o755, "what others may write is no package's business");
    assert_eq!(manifest.files.len() + 1, contents.keys().filter(|path| !path.ends_with('/')).count() - 1);
    let sbom: serde_json::Value = serde_json::from_str(&contents["sbom.spdx.json"]).unwrap();
    assert_eq!(sbom["spdxVersion"], "SPDX-2.3");
    let listed = sbom["files"].as_array().unwrap().iter().map(|file| {
        assert_eq!(file["checksums"][0]["algorithm"], "SHA1");
        (file["fileName"].as_str().unwrap(), file["checksums"][1]["checksumValue"].as_str().unwrap())
    });
    let listed: Vec<_> = listed.collect();
    let names: Vec<&str> = listed.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["./buildinfo.full.json", "./lib/x", "./pkginfo.json"]);
    assert!(listed.iter().all(|(name, sha256)| manifest.files[&name[2..]].sha256 == *sha256), "{listed:?}");
    assert!(manifest.files.contains_key("sbom.spdx.json"));
    let beside = fs::read_to_string(folder.join(format!("{above}.spdx.json"))).unwrap();
    assert_eq!(beside, contents["sbom.spdx.json"]);
    assert!(scene.traces().is_empty(), "{:?}", scene.traces());
}

#[test]
fn a_tree_is_built_in_order_and_only_once() {
    let Some(scene) = Scene::new() else { return };
    for (name, requires) in [("a", ""), ("b", "\"a\""), ("c", "\"b\", \"a\""), ("d", "")] {
        scene.package(name, &format!("\"requires\": [{requires}]"), NAME);
    }
    scene.package("left-out", "", "exit 1");
    scene.write("d/other.buildinfo.json", r#"{"docker": "tiny"}"#);
    scene.write("treeinfo.json", r#"{"exclude": ["left-out"]}"#);
    scene.write("other.treeinfo.json", r#"{"core_package_list": ["d"], "variants": {"d": "other"}}"#);
    let said = scene.run("", &["tree", "--jobs=3"]).good();
    let complete = scene.cache().join("complete");
    let expect = format!(
        "Trees available as:\nother:{0}/other.complete.latest.json\n<default>:{0}/complete.latest.json\n",
        complete.display()
    );
    assert_eq!(said.out, expect);
    let built = |name: &str| said.err.find(&format!("{name}: {name}--")).unwrap_or_else(|| panic!("{name}"));
    assert!(built("a") < built("b") && built("b") < built("c"), "{}", said.err);
    let text = fs::read_to_string(complete.join("complete.latest.json")).unwrap();
    let ids: Vec<String> =
        ["a", "b", "c", "d"].map(|name| format!("\n    \"{}\"", scene.latest(name))).into();
    assert_eq!(text, format!("{{\n  \"bootstrap\":null,\n  \"packages\":[{}\n  ]\n}}", ids.join(",")));
    let inodes = || ["a", "b", "c", "d"].map(|name| fs::metadata(scene.tarball(name)).unwrap().ino());
    let (first, cached) = (inodes(), scene.cached());
    let again = scene.run("", &["tree"]).good();
    assert_eq!((again.err.as_str(), inodes(), scene.cached()), ("", first, cached));
    let one = scene.run("", &["tree", "default"]).good();
    assert!(one.out.ends_with(
        "\n<default>:{}/complete.latest.json\n".replace("{}", complete.to_str().unwrap()).as_str()
    ));
    // What is changed is built again, with all that requires it.
    scene.package("b", "\"requires\": [\"a\"]", &format!("{NAME}true\n"));
    let more = scene.run("", &["tree"]).good();
    for (name, expected) in [("a", false), ("b", true), ("c", true), ("d", false)] {
        assert_eq!(more.err.contains(&format!("{name}: {name}--")), expected, "{name}: {}", more.err);
    }
}

#[test]
fn what_is_required_in_a_variant_is_active_in_the_bootstrap() {
    let Some(scene) = Scene::new() else { return };
    scene.package("java", "", NAME);
    scene.write("java/jre.buildinfo.json", r#"{"docker": "tiny", "environment": {"JAVA": "jre"}}"#);
    scene.package("above", r#""requires": [{"name": "java", "variant": "jre"}]"#, NAME);
    scene.write("treeinfo.json", r#"{"variants": {"java": "jre"}}"#);
    scene.run("", &["tree", "--mkbootstrap"]).good();
    let id = fs::read_to_string(scene.cache().join("bootstrap/bootstrap.latest")).unwrap();
    let bootstrap = scene.cache().join(format!("bootstrap/{}.bootstrap.tar.xz", id.trim()));
    assert!(scene.contents(&bootstrap)["generations/1/environment"].contains("JAVA=jre"));
}

#[test]
fn a_package_is_built_from_what_was_built_last_or_all_it_requires_with_it() {
    let Some(scene) = Scene::new() else { return };
    scene.package("a", "", NAME);
    scene.package("b", "\"requires\": [\"a\"]", NAME);
    scene.write("b/fast.buildinfo.json", r#"{"docker": "tiny"}"#);
    let said = scene.run("b", &[]).bad(&["ERROR: a is required and has not been built", "--recursive"]);
    assert_eq!(said.out, "");
    scene.run("b", &["--recursive"]).good();
    let (a, b) = (scene.latest("a"), scene.latest("b"));
    assert_eq!(scene.contents(&scene.tarball("b"))["bin/b"], "b\n");
    assert!(scene.cache().join("packages/b/fast.latest").exists());
    // What is required may have changed: what was built last of it counts.
    scene.package("a", "", &format!("{NAME}true\n"));
    scene.run("b", &[]).good();
    assert_eq!((scene.latest("a"), scene.latest("b")), (a, b));
}

#[test]
fn packages_of_others_fill_in_what_is_missing() {
    let Some(scene) = Scene::new() else { return };
    scene.package("mine", r#""requires": ["theirs"]"#, NAME);
    scene.package("both", "", NAME);
    scene.package("../upstream/packages/theirs", "", NAME);
    scene.package("../upstream/packages/both", "", "exit 1\n");
    scene.write("treeinfo.json", "{}");
    scene.write("upstream.json", r#"{"kind": "local", "rel_path": "../upstream"}"#);
    scene.run("", &["tree"]).good();
    let first = scene.latest("theirs");
    assert!(scene.cache().join("upstream/checkout/packages/theirs/build").exists());
    // What changes there is taken.
    scene.package("../upstream/packages/theirs", "", &format!("{NAME}true\n"));
    scene.run("", &["tree"]).good();
    assert_ne!(scene.latest("theirs"), first);
    scene.write("upstream.json", r#"{"kind": "local", "rel_path": "../nowhere"}"#);
    scene.run("", &["tree"]).bad(&["ERROR: upstream.json", "nowhere"]);
}
