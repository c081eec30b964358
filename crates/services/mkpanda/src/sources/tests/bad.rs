//! What cannot be a source at all; what buildinfos may say is `mkpanda-core`'s.

use std::fs;
use std::process::Command;

use super::Scene;
use super::server::{Answer, Server};

#[test]
fn what_is_not_there_or_cannot_be_taken_is_named() {
    let scene = Scene::new();
    let folder = scene.path("packages/tool");
    fs::create_dir(folder.join("plain")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.join("plain/fifo"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    for (source, expected) in [
        (r#"{"kind": "local", "rel_path": "absent"}"#, ["source s (local)", "absent: No such file"]),
        (r#"{"kind": "local", "rel_path": "plain"}"#, ["source s (local)", "fifo is neither a file nor"]),
        (
            r#"{"kind": "git_local", "rel_path": "absent"}"#,
            ["source s (git_local)", "absent is not the top of"],
        ),
        (
            r#"{"kind": "git_local", "rel_path": "plain"}"#,
            ["source s (git_local)", "plain is not the top of"],
        ),
        (
            r#"{"kind": "git", "git": "ext::sh -c true", "ref": "0123456789012345678901234567890123456789", "ref_origin": "main"}"#,
            ["source s (git)", "is no URL of a git repository"],
        ),
        (
            r#"{"kind": "url", "url": "http://127.0.0.1:1/file", "sha1": "0123456789012345678901234567890123456789"}"#,
            ["source s (url)", "cannot connect to 127.0.0.1:1"],
        ),
    ] {
        scene.check_fails(source, &expected);
    }
}

#[test]
fn a_full_disk_is_said_and_what_came_before_is_not_lost() {
    if !host::is_root() {
        eprintln!("SKIP: needs root");
        return;
    }
    let scene = Scene::new();
    let bytes: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let server = Server::new(vec![Answer::File(bytes.clone())]);
    let (url, sha1) = (server.url("/large"), api_pkgpanda::hash::content(&bytes));
    let source = format!(r#"{{"kind": "url", "url": "{url}", "sha1": "{sha1}"}}"#);
    let cache = scene.path("cache");
    fs::create_dir(&cache).unwrap();
    let mount = |arguments: &[&str]| {
        assert!(Command::new("mount").args(arguments).arg(&cache).status().unwrap().success());
    };
    mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
    let error = scene.checkout(&source).unwrap_err();
    mount(&["-o", "remount,size=10m"]);
    let part = fs::metadata(scene.cached(&format!("large.{sha1}.part"))).map(|meta| meta.len());
    let done = scene.checkout(&source);
    let out = fs::read(scene.out("large"));
    assert!(Command::new("umount").arg(&cache).status().unwrap().success());
    assert!(error.contains("source s (url)") && error.contains("No space left on device"), "{error}");
    done.unwrap();
    assert!(out.unwrap() == bytes);
    assert_eq!(server.requests(), ["GET /large".to_owned(), format!("GET /large from {}", part.unwrap())]);
}
