//! Layers of images: owners, times, attributes, and whiteouts as overlayfs wants them.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use archive::Options;

use crate::builder::{Head, Tar};
use crate::{LIMITS, layer, root, text};

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0)
}

fn is_opaque(path: &Path) -> bool {
    attribute(path, "trusted.overlay.opaque").as_deref() == Some(b"y")
}

#[test]
fn owners_modes_times_and_attributes_are_kept() {
    if !root("owners_modes_times_and_attributes_are_kept") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let head = |kind, path: &str, mode, uid, gid| Head { mode, uid, gid, ..Head::new(kind, path) };
    // A capability set as setcap writes it: cap_net_raw+ep.
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let tar = Tar::new()
        .entry(head(b'5', "./", 0o711, 5, 6), b"")
        .entry(head(b'5', "mail", 0o2775, 0, 8), b"")
        .entry(head(b'0', "mail/of-root", 0o666, 0, 0), b"x")
        .entry(head(b'5', "mail/d", 0o755, 0, 0), b"")
        .entry(head(b'0', "su", 0o4755, 0, 0), b"su")
        .entry(head(b'0', "passwd", 0o4755, 7, 9), b"passwd")
        .entry(Head { link: b"nowhere".into(), ..head(b'2', "link", 0o777, 3, 4) }, b"")
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.note", b"kept"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/secret"),
            ("SCHILY.xattr.security.selinux", b"label"),
            ("mtime", b"1234567890.5"),
        ])
        .entry(head(b'0', "ping", 0o755, 0, 0), b"ping")
        .entry(Head { device: (1, 3), ..head(b'3', "null", 0o666, 0, 0) }, b"")
        .entry(head(b'6', "fifo", 0o620, 1, 1), b"")
        .file("implied/file", "x")
        .entry(head(b'5', "implied", 0o700, 11, 12), b"");
    let unpacked = layer(&tar.end(), dir.path()).unwrap_or_else(|error| panic!("{}", text(&error)));
    assert_eq!((unpacked.bytes, unpacked.opaque), (14, false));
    let check = |path: &str, mode: u32, uid, gid| {
        let meta = fs::symlink_metadata(dir.path().join(path)).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (mode, uid, gid), "{path}");
        if path != "ping" {
            assert_eq!(meta.mtime(), 1_000_000_000, "{path}");
        }
    };
    check("", 0o711, 5, 6);
    check("mail", 0o2775, 0, 8);
    check("mail/of-root", 0o666, 0, 0);
    check("mail/d", 0o755, 0, 0);
    check("su", 0o4755, 0, 0);
    check("passwd", 0o4755, 7, 9);
    check("link", 0o777, 3, 4);
    check("ping", 0o755, 0, 0);
    check("null", 0o666, 0, 0);
    check("fifo", 0o620, 1, 1);
    check("implied", 0o700, 11, 12);
    let ping = dir.path().join("ping");
    let meta = fs::metadata(&ping).unwrap();
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_234_567_890, 500_000_000));
    assert_eq!(attribute(&ping, "security.capability").as_deref(), Some(&capability[..]));
    assert_eq!(attribute(&ping, "trusted.overlay.redirect"), None);
    assert_eq!(attribute(&ping, "security.selinux"), None);
    // tmpfs has no attributes of users on old kernels.
    assert!(matches!(attribute(&ping, "user.note").as_deref(), Some(b"kept") | None));
}

#[test]
fn whiteouts_become_what_overlayfs_understands() {
    if !root("whiteouts_become_what_overlayfs_understands") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    let tar = Tar::new()
        .file("etc/.wh.passwd", "")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/kept", "x")
        .file(".wh..wh.plnk", "")
        // What the layer itself brings is never hidden, whichever comes first.
        .file("first", "x")
        .file(".wh.first", "")
        .dir("first.d")
        .file("first.d/x", "x")
        .file(".wh.first.d", "")
        .file(".wh.second", "")
        .file("second", "x")
        .file(".wh.second.d", "")
        .dir("second.d")
        .file("second.d/x", "x")
        .file(".wh.third.d", "")
        .file("third.d/x", "x")
        .file(".wh.third.d", "");
    let unpacked = layer(&tar.end(), dir.path()).unwrap_or_else(|error| panic!("{}", text(&error)));
    assert!(!unpacked.opaque);
    assert!(is_whiteout(&at("etc/passwd")));
    assert!(is_opaque(&at("opaque")) && at("opaque/kept").is_file());
    assert!(!is_opaque(&at("etc")));
    for file in ["first", "second", "first.d/x", "second.d/x", "third.d/x"] {
        assert!(at(file).is_file(), "{file}");
    }
    for directory in ["first.d", "second.d", "third.d"] {
        assert!(is_opaque(&at(directory)), "{directory}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 7);
    assert!(!at(".wh..wh.plnk").exists());
}

#[test]
fn a_layer_may_hide_everything() {
    if !root("a_layer_may_hide_everything") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let unpacked = layer(&Tar::new().file(".wh..wh..opq", "").file("only", "x").end(), dir.path()).unwrap();
    assert!(unpacked.opaque && is_opaque(dir.path()));
    let dir = tempfile::tempdir().unwrap();
    let mut tar = Tar::new();
    for name in ["bin", "etc", "lib", "usr"] {
        tar = tar.file(format!(".wh.{name}"), "");
    }
    layer(&tar.end(), dir.path()).unwrap();
    assert!(["bin", "etc", "lib", "usr"].iter().all(|name| is_whiteout(&dir.path().join(name))));
}

#[test]
fn whiteouts_are_plain_names_in_a_sandbox() {
    let dir = tempfile::tempdir().unwrap();
    crate::sandbox(&Tar::new().file(".wh.x", "x").file(".wh..wh..opq", "x").end(), dir.path()).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join(".wh.x")).unwrap(), "x");
    assert_eq!(attribute(dir.path(), "trusted.overlay.opaque"), None);
}

#[test]
fn later_entries_replace_earlier_ones_of_any_kind() {
    if !root("later_entries_replace_earlier_ones_of_any_kind") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    let tar = Tar::new()
        .file("a", "1")
        .file("a", "2")
        .dir("d/e/f")
        .file("d/e/f/x", "x")
        .file("d", "now a file")
        .file("f", "file")
        .dir("f")
        .file("f/x", "now a directory")
        .dir("t")
        .symlink("l", "t")
        .file("l/through", "x")
        .dir("l")
        .file("l/own", "x")
        .dir("g")
        .file("g/x", "1")
        .symlink("g", "t")
        .file("g/late", "x")
        .file("h", "h")
        .link("h", "h")
        .link("i", "h")
        .link("h", "i");
    layer(&tar.end(), dir.path()).unwrap_or_else(|error| panic!("{}", text(&error)));
    assert_eq!(fs::read_to_string(at("a")).unwrap(), "2");
    assert_eq!(fs::read_to_string(at("d")).unwrap(), "now a file");
    assert_eq!(fs::read_to_string(at("f/x")).unwrap(), "now a directory");
    assert!(at("t/through").is_file() && at("l/own").is_file() && !at("t/own").exists());
    assert!(at("t/late").is_file() && !at("t/x").exists());
    assert_eq!(
        (fs::read_to_string(at("h")).unwrap(), fs::metadata(at("h")).unwrap().nlink()),
        ("h".into(), 2)
    );
    assert_eq!(fs::metadata(at("f")).unwrap().mtime(), 1_000_000_000);
}

#[test]
fn more_directories_than_are_kept_open_and_many_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut tar = Tar::new();
    for round in 0..2 {
        for number in 0..300 {
            tar = tar.file(format!("d{number}/e/f{round}"), "x");
        }
    }
    let options = Options::sandbox(archive::Limits { entries: 10_000, ..LIMITS }, None);
    let unpacked = archive::unpack_tar(&tar.end()[..], dir.path(), &options).unwrap();
    assert_eq!((unpacked.entries, unpacked.bytes), (1200, 600));
    assert!((0..300).all(|number| dir.path().join(format!("d{number}/e/f1")).is_file()));
}
