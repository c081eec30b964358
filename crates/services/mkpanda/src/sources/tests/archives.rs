use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Scene, listed, names};
use crate::sources::tree::digest;

/// Makes the folder `name` with a few files, archived by `make` in the scene.
fn archive(scene: &Scene, name: &str, make: &str) -> String {
    let script = format!(
        "set -e; rm -rf tool-1.0 {name}; mkdir -p tool-1.0/sub/empty; echo text > tool-1.0/sub/file; \
         echo '#!/bin/sh' > tool-1.0/run; chmod 755 tool-1.0/run; ln -s sub/file tool-1.0/link; {make}"
    );
    let status = Command::new("sh").args(["-c", &script]).current_dir(scene.path("")).status().unwrap();
    assert!(status.success(), "{script}");
    source(&scene.path(name))
}

fn source(path: &Path) -> String {
    let (url, sha1) = (path.display(), digest(path).unwrap());
    format!(r#"{{"kind": "url_extract", "url": "file://{url}", "sha1": "{sha1}"}}"#)
}

#[test]
fn archives_of_all_kinds_come_out_the_same_without_their_directory() {
    let scene = Scene::new();
    let mut first = None;
    for (name, make) in [
        ("t.tar", "tar -cf t.tar tool-1.0"),
        ("t.tar.gz", "tar -czf t.tar.gz ./tool-1.0"),
        ("t.tgz", "TZ=Asia/Tokyo tar -czf t.tgz tool-1.0/run tool-1.0/link tool-1.0/sub"),
        ("t.tar.bz2", "umask 077; chmod 700 tool-1.0; tar -cjf t.tar.bz2 tool-1.0"),
        ("t.tar.xz", "tar -cJf t.tar.xz --owner=7 --group=8 tool-1.0"),
        ("t.tar.zst", "tar -c tool-1.0 | zstd -q -o t.tar.zst"),
        ("t.zip", "zip -qry t.zip tool-1.0"),
    ] {
        let source = archive(&scene, name, make);
        scene.checkout(&source).unwrap();
        assert_eq!(names(&scene.out("")), ["link", "run", "sub"], "{name}");
        assert_eq!(names(&scene.path("src")), ["s"], "{name}: nothing is left beside it");
        let listing = listed(&scene.out(""));
        assert_eq!(*first.get_or_insert_with(|| listing.clone()), listing, "{name}");
    }
}

#[test]
fn archives_without_exactly_one_directory_are_refused() {
    let scene = Scene::new();
    let check = |name: &str, make: &str, expected: &str| {
        let source = archive(&scene, name, make);
        scene.check_fails(&source, &["source s (url_extract)", name, expected]);
    };
    check("two.tar", "tar -C tool-1.0 -cf two.tar run sub", "at its top: run, sub");
    check("file.tar", "tar -C tool-1.0 -cf file.tar run", "at its top: run, which is no directory");
    check("empty.tar", "tar -cf empty.tar -T /dev/null", "at its top: nothing");
    let many = "cd tool-1.0; touch 1 2 3 4 5 6 7; tar -cf ../many.tar 1 2 3 4 5 6 7";
    check("many.tar", many, "at its top: 1, 2, 3, 4, 5, and 2 more");
    check("two.zip", "cd tool-1.0; zip -qr ../two.zip run sub", "at its top: run, sub");
}

#[test]
fn archives_that_are_broken_or_lead_out_are_refused() {
    let scene = Scene::new();
    let check = |name: &str, make: &str, expected: &str| {
        let source = archive(&scene, name, make);
        scene.check_fails(&source, &["source s (url_extract)", name, expected]);
        assert!(!scene.path("escaped").exists() && !Path::new("/escaped").exists());
    };
    check("text.tar.gz", "echo text > text.tar.gz", "text.tar.gz");
    check("cut.tar.xz", "tar -cJf x tool-1.0; head -c 100 x > cut.tar.xz", "cut.tar.xz");
    check("no.zip", "echo text > no.zip", "no.zip");
    let parent = "echo x > escaped; cd tool-1.0; tar -Pcf ../up.tar ../escaped; rm ../escaped";
    check("up.tar", parent, "has \"..\" in its name");
    let through = "ln -s ../.. tool-1.0/out; tar -cf thr.tar tool-1.0/out; rm tool-1.0/out; mkdir tool-1.0/out; \
                   echo x > tool-1.0/out/escaped; tar -rf thr.tar tool-1.0/out/escaped";
    check("thr.tar", through, "leads out of the target directory");
    check("pipe.tar", "mkfifo tool-1.0/pipe; tar -cf pipe.tar tool-1.0", "is a FIFO");
    assert!(fs::symlink_metadata(scene.path("src/escaped")).is_err());
}
