//! What a task gets.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use archive::Options;

use crate::builder::{Head, Tar};
use crate::{LIMITS, root, sandbox, text};

#[test]
fn files_are_plain_and_the_callers() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
    let tar = Tar::new()
        .entry(Head { mode: 0o777, ..Head::new(b'5', ".") }, b"")
        .entry(Head { mode: 0o6755, uid: 1234, gid: 1234, ..Head::new(b'0', "su") }, b"x")
        .entry(Head { mode: 0o500, ..Head::new(b'5', "locked") }, b"")
        .file("locked/inside", "x")
        .pax(&[("uid", b"99999999999"), ("SCHILY.xattr.user.note", b"not kept")])
        .file("note", "x");
    sandbox(&tar.end(), dir.path()).unwrap_or_else(|error| panic!("{}", text(&error)));
    let me = rustix::process::geteuid().as_raw();
    let meta = |path: &str| fs::symlink_metadata(dir.path().join(path)).unwrap();
    assert_eq!((meta("su").mode() & 0o7777, meta("su").uid()), (0o755, me));
    assert_eq!(meta("locked").mode() & 0o7777, 0o500);
    assert_eq!(meta("locked").mtime(), 1_000_000_000);
    assert_eq!(meta("note").uid(), me);
    // What the archive says of its top is not said of the sandbox.
    assert_eq!(meta("").mode() & 0o7777, 0o750);
    assert_eq!(rustix::fs::lgetxattr(dir.path().join("note"), "user.note", &mut [0u8; 9][..]).ok(), None);
    fs::set_permissions(dir.path().join("locked"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn all_of_it_is_given_to_the_tasks_user() {
    if !root("all_of_it_is_given_to_the_tasks_user") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tar =
        Tar::new().dir("d").file("d/f", "x").file("implied/deep/f", "x").symlink("l", "d").link("h", "d/f");
    let options = Options::sandbox(LIMITS, Some((1234, 2345)));
    archive::unpack_tar(&tar.end()[..], dir.path(), &options).unwrap();
    for path in ["d", "d/f", "implied", "implied/deep", "implied/deep/f", "l", "h"] {
        let meta = fs::symlink_metadata(dir.path().join(path)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (1234, 2345), "{path}");
    }
    assert_eq!(fs::metadata(dir.path()).unwrap().uid(), 0);
}

#[test]
fn what_is_there_is_kept_or_replaced() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::set_permissions(dir.path().join("d"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(dir.path().join("d/mine"), "mine").unwrap();
    fs::write(dir.path().join("f"), "old").unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    let tar = Tar::new().dir("d").file("d/new", "new").file("f", "new").file("empty", "a file now");
    sandbox(&tar.end(), dir.path()).unwrap();
    let read = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
    assert_eq!(
        (read("d/mine"), read("d/new"), read("f"), read("empty")),
        ("mine".into(), "new".into(), "new".into(), "a file now".into())
    );
    assert_eq!(fs::metadata(dir.path().join("d")).unwrap().mode() & 0o7777, 0o700);
}
