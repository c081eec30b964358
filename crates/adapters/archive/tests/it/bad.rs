//! What strangers send, and what each of it is answered.

use std::fs;
use std::path::Path;

use archive::{Limits, Options};

use crate::builder::{Head, Tar, seal};
use crate::{LIMITS, layer, sandbox, text};

/// Unpacks below a directory with neighbours, and checks the error and that the neighbours are
/// untouched.
fn check(what: &str, tar: &[u8], expect: &str) {
    check_with(what, tar, &Options::sandbox(LIMITS, None), expect, &|_| {});
}

fn check_with(what: &str, tar: &[u8], options: &Options, expect: &str, prepare: &dyn Fn(&Path)) {
    let around = tempfile::tempdir().unwrap();
    let into = around.path().join("into");
    fs::create_dir(&into).unwrap();
    fs::create_dir(around.path().join("secret.d")).unwrap();
    fs::write(around.path().join("secret"), "secret").unwrap();
    prepare(&into);
    let error = archive::unpack_tar(tar, &into, options).map_err(|error| text(&error));
    assert_eq!(error, Err(expect.to_owned()), "{what}");
    assert_eq!(fs::read_to_string(around.path().join("secret")).unwrap(), "secret", "{what}");
    assert_eq!(fs::read_dir(around.path().join("secret.d")).unwrap().count(), 0, "{what}");
    assert_eq!(fs::read_dir(around.path()).unwrap().count(), 3, "{what}");
}

#[test]
fn names_that_lead_out() {
    check("absolute", &Tar::new().file("/etc/x", "x").end(), "entry \"/etc/x\" has an absolute name");
    check("parent", &Tar::new().file("../x", "x").end(), "entry \"../x\" has \"..\" in its name");
    check(
        "hidden parent",
        &Tar::new().file("a/../../x", "x").end(),
        "entry \"a/../../x\" has \"..\" in its name",
    );
    check("directory", &Tar::new().dir("a/../..").end(), "entry \"a/../..\" has \"..\" in its name");
    check("no name", &Tar::new().file("", "x").end(), "entry \"\" has no file name");
    check("the top as a file", &Tar::new().file(".", "x").end(), "entry \".\" has no file name");
    check("the top as a link", &Tar::new().symlink("./", "/etc").end(), "entry \".\" has no file name");
    let pax = Tar::new().pax(&[("path", b"../../x")]).file("fine", "x").end();
    check("parent by extended header", &pax, "entry \"../../x\" has \"..\" in its name");
    let pax = Tar::new().pax(&[("path", b"a\0b")]).file("fine", "x").end();
    check("zero byte", &pax, "entry \"a\\u{0}b\" has a zero byte in its name");
    let long = b"a/".repeat(3000);
    let shown = format!("{}...", "a/".repeat(100));
    let pax = Tar::new().pax(&[("path", &long)]).file("fine", "x").end();
    check("long", &pax, &format!("entry \"{shown}\" has a name of more than 4095 bytes"));
    let pax = Tar::new().pax(&[("path", &long[..1000])]).file("fine", "x").end();
    check("deep", &pax, &format!("entry \"{shown}\" is more than 256 directories deep"));
    let pax = Tar::new().pax(&[("path", &[b'n'; 256])]).file("fine", "x").end();
    let shown = format!("{}...", "n".repeat(200));
    check("component", &pax, &format!("write file \"{shown}\": File name too long (os error 36)"));
    check(
        "escape sequence",
        &Tar::new().file("../\x1b[2J", "").end(),
        "entry \"../\\u{1b}[2J\" has \"..\" in its name",
    );
}

#[test]
fn links_that_lead_out() {
    let out = "lies behind a symbolic link that leads out of the target directory";
    check(
        "absolute link",
        &Tar::new().symlink("l", "/tmp").file("l/x", "x").end(),
        &format!("entry \"l/x\" {out}"),
    );
    check(
        "relative link",
        &Tar::new().symlink("l", "../secret.d").file("l/x", "x").end(),
        &format!("entry \"l/x\" {out}"),
    );
    check(
        "directory",
        &Tar::new().symlink("l", "../secret.d").dir("l/x").end(),
        &format!("entry \"l/x\" {out}"),
    );
    let chain = Tar::new().symlink("a", ".").symlink("a/b", "..").symlink("l", "b/secret.d").file("l/x", "x");
    check("chain", &chain.end(), &format!("entry \"l/x\" {out}"));
    let old = |into: &Path| std::os::unix::fs::symlink("../secret.d", into.join("l")).unwrap();
    let tar = Tar::new().file("l/x", "x").end();
    check_with("there before", &tar, &Options::sandbox(LIMITS, None), &format!("entry \"l/x\" {out}"), &old);
    let magic = Tar::new().symlink("l", "/proc/self/cwd").file("l/x", "x").end();
    check("magic link", &magic, &format!("entry \"l/x\" {out}"));

    let no = "lies below something that is not a directory";
    check("loop", &Tar::new().symlink("l", "l").file("l/x", "x").end(), &format!("entry \"l/x\" {no}"));
    check(
        "to nothing",
        &Tar::new().symlink("l", "none").file("l/x", "x").end(),
        &format!("entry \"l/x\" {no}"),
    );
    check("below a file", &Tar::new().file("f", "").file("f/x", "x").end(), &format!("entry \"f/x\" {no}"));

    check(
        "hard",
        &Tar::new().link("h", "../secret").end(),
        "entry \"h\" is a hard link to \"../secret\", which is outside of the target directory",
    );
    check(
        "hard, absolute",
        &Tar::new().link("h", "/etc/passwd").end(),
        "entry \"h\" is a hard link to \"/etc/passwd\", which is outside of the target directory",
    );
    let through = Tar::new().symlink("l", "..").link("h", "l/secret").end();
    check(
        "hard through a link",
        &through,
        "entry \"h\" is a hard link to \"l/secret\", which is outside of the target directory",
    );
    check(
        "hard to nothing",
        &Tar::new().link("h", "none").end(),
        "entry \"h\" is a hard link to \"none\", which does not exist",
    );
    check(
        "hard to nothing below",
        &Tar::new().link("h", "no/ne").end(),
        "entry \"h\" is a hard link to \"no/ne\", which does not exist",
    );
    check(
        "hard to directory",
        &Tar::new().dir("d").link("h", "d").end(),
        "entry \"h\" is a hard link to \"d\", which is a directory",
    );
    check(
        "hard to the top",
        &Tar::new().link("h", ".").end(),
        "entry \"h\" is a hard link to \".\", which is a directory",
    );
}

#[test]
fn nothing_is_written_through_a_link() {
    let around = tempfile::tempdir().unwrap();
    let into = around.path().join("into");
    fs::create_dir(&into).unwrap();
    let secret = around.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    // A link of the same name is replaced, and so is a hard link that somebody made before.
    fs::hard_link(&secret, into.join("hard")).unwrap();
    let tar = Tar::new().symlink("soft", "../secret").file("soft", "mine").file("hard", "mine").end();
    sandbox(&tar, &into).unwrap();
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    assert_eq!(fs::read_to_string(into.join("soft")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(into.join("hard")).unwrap(), "mine");
}

#[test]
fn what_is_no_file() {
    check(
        "character",
        &Tar::new().device(b'3', "null", (1, 3)).end(),
        "entry \"null\" is a character device, which is not allowed here",
    );
    check(
        "block",
        &Tar::new().device(b'4', "sda", (8, 0)).end(),
        "entry \"sda\" is a block device, which is not allowed here",
    );
    check(
        "fifo",
        &Tar::new().device(b'6', "f", (0, 0)).end(),
        "entry \"f\" is a FIFO, which is not allowed here",
    );
    check(
        "unknown",
        &Tar::new().entry(Head::new(b'Z', "z"), b"").end(),
        "entry \"z\" is of an unknown kind: tar type 'Z'",
    );
    check(
        "multi volume",
        &Tar::new().entry(Head::new(b'M', "z"), b"").end(),
        "entry \"z\" is of an unknown kind: tar type 'M'",
    );
}

#[test]
fn what_is_no_tar() {
    check("empty", b"", "not a valid archive at byte 0: it is empty");
    check("text", &b"hello world, ".repeat(100), "not a valid archive at byte 0: not a tar");
    check("short", b"hello", "the archive ends in the middle of a header");
    let mut tar = Tar::new().file("a", "a").file("b", "b").end();
    tar[1024 + 10] ^= 1;
    check("checksum", &tar, "not a valid archive at byte 1024: a header's checksum is wrong");
    let tar = Tar::new().file("a", vec![1; 2000]).end();
    check("cut contents", &tar[..1500], "the archive ends in the middle of a");
    check("cut header", &tar[..300], "the archive ends in the middle of a header");
    let pax = Tar::new().pax(&[("path", b"a")]).0;
    check("nothing after its extended header", &pax, "the archive ends in the middle of a header");
    let mut block = Head::new(b'0', "a").block();
    block[124..136].copy_from_slice(b"not a number");
    seal(&mut block);
    check("size", &block, "not a valid archive at byte 0: a header's size is not a number");
    block[124..136].fill(0xff);
    seal(&mut block);
    check("negative size", &block, "not a valid archive at byte 0: a header's size is not a number");
    let head = Head { size: 1 << 30, ..Head::new(b'x', "x") };
    check(
        "extended header",
        &Tar::new().raw(&head, b"").end(),
        "not a valid archive at byte 0: an extended header has 1073741824 bytes",
    );
    let tar = Tar::new().entry(Head::new(b'x', "x"), b"99 path=a\n").file("a", "").end();
    check(
        "extended record",
        &tar,
        "not a valid archive at byte 512: an extended header has a record without an end",
    );
    let sparse = [("GNU.sparse.map", &b"0,5,3,5"[..]), ("GNU.sparse.size", b"10")];
    let tar = Tar::new().pax(&sparse).file("s", "0123456789").end();
    check("sparse", &tar, "not a valid archive at byte 1024: a sparse file's map is out of order");
}

#[test]
fn bombs() {
    let few = |bytes, entries| Options::sandbox(Limits { bytes, entries }, None);
    let no = |_: &Path| {};
    let tar = Tar::new().file("a", [1; 600]).file("b", [1; 600]).end();
    check_with("bytes", &tar, &few(1000, 9), "entry \"b\" takes the contents beyond 1000 bytes", &no);
    check_with("entries", &tar, &few(9000, 1), "the archive has more than 1 entries", &no);
    let head = Head { size: 0o77777777777, ..Head::new(b'0', "huge") };
    let tar = Tar::new().raw(&head, b"").end();
    check_with("promise", &tar, &few(1000, 9), "entry \"huge\" takes the contents beyond 1000 bytes", &no);
    // Contents of what has none, which are skipped without end.
    let head = Head { size: 0o77777777777, ..Head::new(b'V', "label") };
    let tar = Tar::new().raw(&head, b"").end();
    check_with(
        "skipped",
        &tar,
        &few(1000, 9),
        "entry \"volume label\" takes the contents beyond 1000 bytes",
        &no,
    );
    let mut headers = Tar::new();
    for _ in 0..10 {
        headers = headers.pax(&[("comment", b"x")]);
    }
    check_with(
        "headers of headers",
        &headers.end(),
        &few(1000, 9),
        "the archive has more than 9 entries",
        &no,
    );
    // Holes cost nothing: they are not written.
    let around = tempfile::tempdir().unwrap();
    let hole = [("GNU.sparse.map", &b"1000000000000,3"[..]), ("GNU.sparse.size", b"1000000000003")];
    let tar = Tar::new().pax(&hole).file("s", "end").end();
    let options = few(1000, 9);
    match archive::unpack_tar(&tar[..], around.path(), &options) {
        Ok(unpacked) => assert_eq!(unpacked.bytes, 3),
        // Where the file system has no such large files it says so.
        Err(error) => assert!(text(&error).contains("too large"), "{}", text(&error)),
    }
}

#[test]
fn what_stands_in_the_way() {
    let fill = |into: &Path| {
        fs::create_dir(into.join("d")).unwrap();
        fs::write(into.join("d/mine"), "mine").unwrap();
    };
    let options = Options::sandbox(LIMITS, None);
    let error = "entry \"d\" would replace a directory that is not empty";
    check_with("file", &Tar::new().file("d", "x").end(), &options, error, &fill);
    check_with("link", &Tar::new().symlink("d", "x").end(), &options, error, &fill);
    let missing = tempfile::tempdir().unwrap().path().join("gone");
    let error = sandbox(&Tar::new().end(), &missing).unwrap_err();
    assert_eq!(
        text(&error),
        format!("open directory \"{}\": No such file or directory (os error 2)", missing.display())
    );
}

#[test]
fn layers_refuse_as_well() {
    let check = |what: &str, tar: Tar, expect: &str| {
        check_with(what, &tar.end(), &Options::layer(LIMITS), expect, &|_| {});
    };
    check("absolute", Tar::new().file("/etc/x", "x"), "entry \"/etc/x\" has an absolute name");
    check("parent", Tar::new().file("../x", "x"), "entry \"../x\" has \"..\" in its name");
    check("whiteout of nothing", Tar::new().file("a/.wh.", ""), "entry \"a/.wh.\" is a whiteout of nothing");
    check(
        "whiteout of parent",
        Tar::new().file("a/.wh...", ""),
        "entry \"a/.wh...\" is a whiteout of nothing",
    );
    check("whiteout of itself", Tar::new().file("a/.wh..", ""), "entry \"a/.wh..\" is a whiteout of nothing");
    check(
        "hard",
        Tar::new().link("h", "../secret"),
        "entry \"h\" is a hard link to \"../secret\", which is outside of the target directory",
    );
    let owner = Head { uid: 0, ..Head::new(b'0', "a") };
    let huge = Tar::new().pax(&[("uid", b"4294967295")]).entry(owner, b"");
    check("owner", huge, "change the owner of \"a\": Invalid argument (os error 22)");
    // A parent that leads out is followed within the layer, as if that were the root.
    let around = tempfile::tempdir().unwrap();
    let into = around.path().join("into");
    fs::create_dir(&into).unwrap();
    let tar = Tar::new()
        .dir("etc")
        .symlink("l", "/etc")
        .symlink("m", "../../../etc")
        .file("l/x", "x")
        .file("m/y", "y");
    if crate::root("layers_refuse_as_well") {
        layer(&tar.end(), &into).unwrap();
        assert_eq!(fs::read_to_string(into.join("etc/x")).unwrap(), "x");
        assert_eq!(fs::read_to_string(into.join("etc/y")).unwrap(), "y");
    }
}
