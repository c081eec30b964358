//! The program on a kernel with cgroup v2 only, in virtual machines.

mod machine;

use std::path::Path;
use std::process::{Command, Stdio};

use testkit::own_subnet;

use machine::Guest;

/// What each script is put between.
const BEGIN: &str = include_str!("guest/begin.sh");
const END: &str = include_str!("guest/end.sh");

#[test]
fn web_image_and_memory_hog_run_on_cgroup_v2() {
    let Some(guest) = Guest::new("the cgroup v2 guest") else { return };
    let said = said(guest, include_str!("guest/kinds.sh"));
    for line in ["HEALTHY yes", "ROUTED yes", "BRIDGED yes", "GATEWAY yes", "OOM yes"] {
        assert!(said.lines().any(|said| said == line), "no {line:?} in:\n{said}");
    }
}

#[test]
fn examples_run_on_cgroup_v2() {
    let Some(mut guest) = Guest::new("the examples in the cgroup v2 guest") else { return };
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    guest.tree("/examples", &examples);
    guest.program("curl");
    guest.program("jq");
    registry(&mut guest, &examples.join("image/build"));
    let said = said(guest, include_str!("guest/examples.sh"));
    let outcomes = [
        "crash-loop",
        "memory-hog",
        "web-service",
        "image",
        "registry",
        "rolling-update 2",
        "fetch",
        "batch",
        "batch's output",
        "gone",
        "prune",
    ];
    let sessions =
        ["exec in an image", "exec in a sandbox", "exec -t in an image", "exec -t in a sandbox", "exec -i"];
    let both = outcomes.iter().flat_map(|name| [format!("DONE cli {name}"), format!("DONE api {name}")]);
    let by_hand = sessions.iter().map(|name| format!("DONE cli {name}"));
    for line in both.chain(by_hand).chain(["PRUNED yes".to_owned()]) {
        assert!(said.lines().any(|said| said == line), "no {line:?} in:\n{said}");
    }
}

/// What the console said while the datacenter began, `script` ran and the datacenter ended.
fn said(guest: Guest, script: &str) -> String {
    let said = guest.run(&format!("{BEGIN}{script}{END}")).replace('\r', "");
    assert!(said.contains("CONTROLLERS cpuset cpu io memory"), "{said}");
    for line in ["READY yes", "LEFT nothing", "END"] {
        assert!(said.lines().any(|said| said == line), "no {line:?} in:\n{said}");
    }
    said
}

/// Puts a registry that holds the example image into the guest, and the image as a tarball.
fn registry(guest: &mut Guest, build: &Path) {
    let (storage, tarball) = (guest.scratch().join("registry"), guest.scratch().join("hello.tar"));
    assert!(Command::new(build).arg(&tarball).status().unwrap().success());
    let config = |storage: &Path, address: &str| {
        format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
            storage.display()
        )
    };
    // A subnet of this test's own, so that the port is free.
    let address = format!("{}:5000", own_subnet().replace("0/24", "1"));
    let outside = guest.scratch().join("registry.yml");
    std::fs::write(&outside, config(&storage, &address)).unwrap();
    let mut serving = Command::new("docker-registry")
        .arg("serve")
        .arg(outside)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (from, to) = (format!("docker-archive:{}", tarball.display()), format!("docker://{address}/hello:1"));
    let copied = testkit::until(std::time::Duration::from_secs(60), || {
        let mut copy = Command::new("skopeo");
        copy.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", &from, &to]);
        copy.env("TMPDIR", guest.scratch()).output().unwrap().status.success().then_some(())
    });
    let _ = serving.kill();
    let _ = serving.wait();
    assert!(copied.is_some(), "the registry takes no image");
    guest.tree("/registry", &storage);
    guest.program("docker-registry");
    guest.file("/registry.yml", config(Path::new("/registry"), "127.0.0.1:5000").as_bytes());
    guest.file("/hello.tar", &std::fs::read(tarball).unwrap());
}
