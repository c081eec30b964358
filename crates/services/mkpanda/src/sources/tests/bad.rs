//! What cannot be a source at all; what buildinfos may say is `mkpanda-core`'s.

use std::fs;

use super::Scene;

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
