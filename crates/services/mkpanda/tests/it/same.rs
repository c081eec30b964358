//! The same inputs make the same bytes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::scene::{Scene, eventually};

/// Everything that could tell one build from another: times, the order of files, hard links, modes.
const SCRIPT: &str = "
    mkdir -p $PKG_PATH/bin $PKG_PATH/etc/$PKG_NAME/deep/er; cd $PKG_PATH/etc/$PKG_NAME
    for n in 9 1 5 3 7 2 8 4 6; do echo $n > $n; done
    ln 1 hard; ln -s ../etc/$PKG_NAME/1 $PKG_PATH/bin/$PKG_NAME-soft
    cp /bin/busybox big; chmod 4755 big
    [ ! -e /opt/mesosphere/bin/a-soft ] || ls -lR /opt/mesosphere/packages/a--* > listing
    date > /tmp/now
";

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn sums(scene: &Scene) -> Vec<(String, String)> {
    let sum = |path: String| {
        let output = Command::new("sha256sum").arg(scene.cache().join(&path)).output().unwrap();
        let sum = String::from_utf8(output.stdout).unwrap();
        (path, sum.split(' ').next().unwrap().to_owned())
    };
    scene.cached().into_iter().filter(|path| !path.ends_with("build.log")).map(sum).collect()
}

#[test]
fn two_folders_and_two_clocks_make_equal_hashes() {
    let build = |folder: &str, arguments: &[&str]| {
        let scene = Scene::new()?;
        scene.package("a", "", &format!("{SCRIPT}\ntouch $PKG_PATH/bin/a\n"));
        let info = r#""requires": ["a"], "sources": {"s": {"kind": "local", "rel_path": "files"}}"#;
        scene.package(
            "b",
            info,
            &format!("{SCRIPT}\ncp -rp /pkg/src/s /pkg/extra .; ls -lR s extra > listed\n"),
        );
        for path in ["b/files/x", "b/extra/y/z"] {
            scene.write(path, path);
            // As somebody's umask may have it.
            let mode = if folder.is_empty() { 0o600 } else { 0o664 };
            fs::set_permissions(scene.root().join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        scene.write("treeinfo.json", "{}");
        // The second one takes its dependency from the cache, and the first one from the build.
        if !folder.is_empty() {
            scene.run(folder, &[]).good();
        }
        scene.run("", arguments).good();
        Some(scene)
    };
    let Some(first) = build("", &["tree", "--mkbootstrap", "--jobs=1"]) else { return };
    let then = seconds();
    eventually("the clock goes on", || seconds() > then + 1);
    let second = build("a", &["tree", "--mkbootstrap", "--jobs=4"]).unwrap();
    assert_ne!(first.root(), second.root());
    let (first, second) = (sums(&first), sums(&second));
    assert_eq!(first, second);
    let tarballs = first.iter().filter(|(path, _)| path.ends_with(".tar.xz")).count();
    assert_eq!(tarballs, 3, "{first:?}");
}
