use serde_json::{Value, json};

use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn digest(first: char) -> String {
    format!("sha256:{first}{}", &HEX[1..])
}

fn good() -> Value {
    json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": CONFIGS[1], "digest": digest('1'), "size": 10},
        "layers": [{"mediaType": LAYER_KINDS[4], "digest": digest('2'), "size": 20}],
    })
}

fn read(document: &Value, kind: Option<&str>) -> Result<Document, Refusal> {
    super::document(document.to_string().as_bytes(), kind)
}

/// The good manifest with a change is refused for this reason.
fn refuse(change: impl FnOnce(&mut Value), words: &str) {
    let mut document = good();
    change(&mut document);
    let reason = match read(&document, None) {
        Err(Refusal::Malformed(reason) | Refusal::Unsupported(reason)) => reason,
        other => panic!("{other:?} instead of {words}"),
    };
    assert!(reason.contains(words), "{reason}");
}

fn entry(first: char, os: &str, arch: &str, variant: &str) -> Value {
    let mut platform = json!({"os": os, "architecture": arch});
    if !variant.is_empty() {
        platform["variant"] = json!(variant);
    }
    json!({"mediaType": OCI_MANIFEST, "digest": digest(first), "size": 9, "platform": platform})
}

#[test]
fn a_manifest_leads_to_configuration_and_layers() {
    let Ok(Document::Manifest(manifest)) =
        read(&good(), Some("application/vnd.oci.image.manifest.v1+json; charset=x"))
    else {
        panic!()
    };
    assert_eq!(manifest.config.digest.to_string(), digest('1'));
    assert_eq!((manifest.layers[0].digest.to_string(), manifest.layers[0].size), (digest('2'), 20));
}

#[test]
fn manifests_of_other_kinds_are_refused_by_name() {
    refuse(|document| document["schemaVersion"] = json!(1), "schema 1");
    refuse(|document| document["fsLayers"] = json!([]), "schema 1");
    refuse(|document| document["mediaType"] = json!("text/x"), "text/x");
    refuse(|document| document["manifests"] = json!([]), "at once");
    refuse(|document| document["layers"] = Value::Null, "neither");
    refuse(|document| document["mediaType"] = json!(OCI_INDEX), "calls itself an index");
    refuse(
        |document| document["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json"),
        "helm",
    );
    refuse(|document| document["config"]["size"] = json!(9 << 20), "8388608");
    refuse(|document| document["config"]["size"] = json!(-1), "invalid value");
    refuse(|document| document["config"]["digest"] = json!("sha256:12"), "no digest");
    refuse(|document| document["layers"][0]["mediaType"] = json!("a/b+encrypted"), "a/b+encrypted");
    refuse(|document| document["layers"][0]["urls"] = json!(["http://x"]), "foreign");
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    refuse(|document| document["layers"][0]["mediaType"] = json!(foreign), "foreign");
    let layer = good()["layers"][0].clone();
    refuse(move |document| document["layers"] = json!(vec![layer; 128]), "128 layers; allowed are 127");
    assert!(matches!(read(&good(), Some(SCHEMA1[1])), Err(Refusal::Unsupported(_))));
}

#[test]
fn an_index_leads_to_the_plainest_variant_for_this_machine() {
    let mine = architecture();
    let check = |entries: Vec<Value>, expected: Result<char, &[&str]>| {
        let index = json!({"schemaVersion": 2, "manifests": entries});
        match (read(&index, Some(OCI_INDEX)), expected) {
            (Ok(Document::Index(found)), Ok(first)) => assert_eq!(found.digest.to_string(), digest(first)),
            (Err(Refusal::Platform(found)), Err(expected)) => assert_eq!(found, expected),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    };
    check(vec![entry('1', "linux", "s390x", ""), entry('2', "linux", mine, "")], Ok('2'));
    check(vec![entry('1', "linux", mine, "v3"), entry('2', "linux", mine, "")], Ok('2'));
    check(vec![entry('1', "linux", mine, "v3")], Ok('1'));
    let foreign = vec![
        entry('1', "windows", mine, ""),
        entry('2', "linux", "arm", "v7"),
        entry('3', "unknown", "unknown", ""),
    ];
    check(foreign, Err(&[&format!("windows/{mine}"), "linux/arm/v7"]));
    check(vec![], Err(&["no platform that it names"]));
}

#[test]
fn a_layout_holds_one_image() {
    let plain = json!({"digest": digest('1'), "size": 9});
    let check = |entries: Vec<Value>| layout_index(json!({"manifests": entries}).to_string().as_bytes());
    assert_eq!(check(vec![plain.clone()]).unwrap().digest.to_string(), digest('1'));
    let (mut one, mut two) = (plain.clone(), plain);
    one["annotations"] = json!({"org.opencontainers.image.ref.name": "a"});
    two["annotations"] = json!({"org.opencontainers.image.ref.name": "b"});
    let Err(Refusal::Unsupported(reason)) = check(vec![one, two]) else { panic!() };
    assert!(reason.contains("a, b"), "{reason}");
    let both = vec![entry('1', "linux", "s390x", ""), entry('2', "linux", architecture(), "")];
    assert_eq!(check(both).unwrap().digest.to_string(), digest('2'));
    assert!(matches!(check(vec![]), Err(Refusal::Malformed(_))));
}

#[test]
fn docker_save_names_files() {
    let text = br#"[{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["x/layer.tar"]}]"#;
    assert_eq!(
        saved(text),
        Ok(Saved { config: "c.json".into(), layers: vec!["x/layer.tar".into()], names: vec!["a:1".into()] })
    );
    let two = br#"[{"Config": "c", "RepoTags": ["a:1"]}, {"Config": "d", "RepoTags": null}]"#;
    assert!(matches!(saved(two), Err(Refusal::Unsupported(reason)) if reason.contains("a:1")));
    assert!(matches!(saved(b"[]"), Err(Refusal::Malformed(_))));
    assert!(matches!(saved(b"{}"), Err(Refusal::Malformed(_))));
}

#[test]
fn a_configuration_says_how_to_run() {
    let text = json!({
        "os": "linux", "architecture": architecture(), "rootfs": {"type": "layers", "diff_ids": [digest('1')]},
        "config": {"Entrypoint": ["/e", "a"], "Cmd": "c", "Env": ["A=b=c", "D="], "User": "1:2", "WorkingDir": "/w",
            "Volumes": {"/v": {}}, "Labels": {"l": "m"}, "StopSignal": "SIGINT", "ExposedPorts": {"80/tcp": {}}},
    });
    let parsed = config(text.to_string().as_bytes()).unwrap();
    let expected = ImageConfig {
        entrypoint: vec!["/e".into(), "a".into()],
        cmd: vec!["c".into()],
        env: vec!["A=b=c".into(), "D=".into()],
        user: "1:2".into(),
        working_dir: "/w".into(),
        volumes: vec!["/v".into()],
        labels: BTreeMap::from([("l".into(), "m".into())]),
        stop_signal: Some("SIGINT".into()),
        exposed_ports: vec!["80/tcp".into()],
    };
    assert_eq!((parsed.config, parsed.diff_ids.len()), (expected, 1));
    let nulls =
        br#"{"config": {"Entrypoint": null, "Volumes": null, "Labels": null}, "rootfs": {"diff_ids": null}}"#;
    assert_eq!(config(nulls), Ok(Parsed { config: ImageConfig::default(), diff_ids: vec![] }));
}

#[test]
fn configurations_of_other_machines_are_refused() {
    let platform = br#"{"os": "windows", "architecture": "amd64", "rootfs": {}}"#;
    assert_eq!(config(platform), Err(Refusal::Platform(vec!["windows/amd64".into()])));
    assert!(matches!(config(b"{}"), Err(Refusal::Malformed(_))));
    let wrong = br#"{"rootfs": {"diff_ids": ["x"]}}"#;
    assert!(matches!(config(wrong), Err(Refusal::Malformed(reason)) if reason.contains("diff_ids")));
}
