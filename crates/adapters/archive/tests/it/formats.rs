//! What real programs write.

use std::fs::{self, File};
use std::io::Cursor;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use archive::{Compression, Limits, Options};

use crate::text;

const LIMITS: Limits = Limits { bytes: 100 << 20, entries: 1000 };

/// Runs a program, which must be there and succeed.
fn run(program: &str, arguments: &[&str], directory: &Path) {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A tree with all that a plain archive may hold.
fn tree(at: &Path) {
    let long = "long-".repeat(30);
    fs::create_dir_all(at.join("d/e").join(&long)).unwrap();
    fs::write(at.join("d/e").join(&long).join(&long), "deep").unwrap();
    fs::write(at.join("d/ünïcode name"), "hello").unwrap();
    fs::write(at.join("big"), (0..300_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>()).unwrap();
    fs::write(at.join("program"), "#!/bin/sh").unwrap();
    fs::set_permissions(at.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(at.join("empty"), "").unwrap();
    fs::hard_link(at.join("program"), at.join("same")).unwrap();
    std::os::unix::fs::symlink(format!("d/e/{long}/{long}"), at.join("link")).unwrap();
    // A file with holes.
    let sparse = File::create(at.join("holes")).unwrap();
    let write =
        |bytes: &[u8], offset| std::os::unix::fs::FileExt::write_all_at(&sparse, bytes, offset).unwrap();
    (0..40).for_each(|at| write(&[at as u8 + 1; 5000], at * 100_000 + 30_000));
    sparse.set_len(5_000_000).unwrap();
}

/// Whether both trees are the same in names, contents, modes, times and links.
fn compare(left: &Path, right: &Path) {
    let names = |at: &Path| {
        let mut names: Vec<_> = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(left), names(right), "{}", left.display());
    for name in names(left) {
        let (left, right) = (left.join(&name), right.join(&name));
        let (a, b) = (fs::symlink_metadata(&left).unwrap(), fs::symlink_metadata(&right).unwrap());
        assert_eq!((a.mode(), a.mtime(), a.nlink()), (b.mode(), b.mtime(), b.nlink()), "{name:?}");
        if a.is_dir() {
            compare(&left, &right);
        } else if a.is_symlink() {
            assert_eq!(fs::read_link(left).unwrap(), fs::read_link(right).unwrap());
        } else {
            assert!(fs::read(left).unwrap() == fs::read(right).unwrap(), "{name:?}");
        }
    }
}

#[test]
fn tars_of_all_formats_and_compressions() {
    let around = tempfile::tempdir().unwrap();
    let from = around.path().join("from");
    fs::create_dir(&from).unwrap();
    tree(&from);
    let variants: &[&[&str]] = &[
        &["--format=gnu"],
        &["--format=posix"],
        &["--format=gnu", "--sparse"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
        &["--format=gnu", "--label=volume"],
        &["--format=gnu", "-z"],
        &["--format=gnu", "-j"],
        &["--format=posix", "-J"],
        &["--format=posix", "--zstd"],
    ];
    for (number, variant) in variants.iter().enumerate() {
        let mut arguments = vec!["-c", "-f", "../a.tar"];
        arguments.extend(*variant);
        arguments.push(".");
        run("tar", &arguments, &from);
        let into = around.path().join(number.to_string());
        fs::create_dir(&into).unwrap();
        let reader = Compression::detect(File::open(around.path().join("a.tar")).unwrap()).unwrap();
        let reader = reader.reader().unwrap();
        // Every second one with a thread that reads ahead.
        let unpacked = if number % 2 == 0 {
            archive::unpack_tar(reader, &into, &Options::sandbox(LIMITS, None))
        } else {
            let reader = archive::ReadAhead::new(reader).unwrap();
            archive::unpack_tar(reader, &into, &Options::sandbox(LIMITS, None))
        };
        let unpacked = unpacked.unwrap_or_else(|error| panic!("{variant:?}: {}", text(&error)));
        compare(&from, &into);
        if variant.contains(&"--sparse") {
            let holes = fs::metadata(into.join("holes")).unwrap();
            assert!(holes.blocks() * 512 < 1_000_000, "{variant:?}: {} blocks", holes.blocks());
            assert!(unpacked.bytes < 2_000_000, "{variant:?}: {unpacked:?}");
        }
    }
}

#[test]
fn zips() {
    let around = tempfile::tempdir().unwrap();
    let (from, into) = (around.path().join("from"), around.path().join("into"));
    fs::create_dir_all(&from).unwrap();
    tree(&from);
    // Zip knows no hard links.
    fs::remove_file(from.join("same")).unwrap();
    for variant in [&["-9"][..], &["-0"], &["-Z", "bzip2"]] {
        fs::create_dir(&into).unwrap();
        let mut arguments = vec!["-q", "-r", "-y"];
        arguments.extend(variant);
        arguments.extend(["../a.zip", "."]);
        run("zip", &arguments, &from);
        let file = File::open(around.path().join("a.zip")).unwrap();
        archive::unpack_zip(file, &into, &Options::sandbox(LIMITS, None))
            .unwrap_or_else(|error| panic!("{variant:?}: {}", text(&error)));
        // The zip has whole seconds; link times are not among what it keeps apart.
        compare(&from, &into);
        fs::remove_dir_all(&into).unwrap();
        fs::remove_file(around.path().join("a.zip")).unwrap();
    }
}

/// A zip of one entry, made by hand: name, contents, mode, compression, flags, checksum.
fn zip(name: &str, contents: &[u8], mode: u32, method: u16, flags: u16, crc: u32) -> Vec<u8> {
    let length = contents.len() as u32;
    let mut common = Vec::new();
    for field in [20, flags, method, 0, 0x21] {
        common.extend(u16::to_le_bytes(field));
    }
    for field in [crc, length, length] {
        common.extend(u32::to_le_bytes(field));
    }
    common.extend(u16::to_le_bytes(name.len() as u16));
    common.extend([0, 0]);
    let mut zip = b"PK\x03\x04".to_vec();
    zip.extend(&common);
    zip.extend(name.as_bytes());
    zip.extend(contents);
    let start = zip.len() as u32;
    zip.extend(b"PK\x01\x02\x14\x03");
    zip.extend(&common);
    zip.extend([0; 6]);
    zip.extend(u32::to_le_bytes(mode << 16));
    zip.extend([0; 4]);
    zip.extend(name.as_bytes());
    let size = zip.len() as u32 - start;
    zip.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    zip.extend(u32::to_le_bytes(size));
    zip.extend(u32::to_le_bytes(start));
    zip.extend([0, 0]);
    zip
}

/// The CRC-32 of "hi".
const HI: u32 = 0xd893_2aac;

#[test]
fn bad_zips() {
    let check = |what: &str, zip: &[u8], expect: Result<(), &str>| {
        let around = tempfile::tempdir().unwrap();
        let into = around.path().join("into");
        fs::create_dir(&into).unwrap();
        let limits = Limits { bytes: 9000, entries: 10 };
        let result = archive::unpack_zip(Cursor::new(zip), &into, &Options::sandbox(limits, None));
        let result = result.map(|_| ()).map_err(|error| text(&error));
        assert_eq!(result, expect.map_err(str::to_owned), "{what}");
        assert_eq!(fs::read_dir(around.path()).unwrap().count(), 1, "{what}");
    };
    let file = |name: &str| zip(name, b"hi", 0o100_644, 0, 0, HI);
    check("good", &file("a"), Ok(()));
    check("absolute", &file("/a"), Err("entry \"/a\" has an absolute name"));
    check("parent", &file("../a"), Err("entry \"../a\" has \"..\" in its name"));
    check("no zip", b"hello", Err("not a valid archive at byte 0: not a zip, or cut at its end"));
    check("empty", b"", Err("not a valid archive at byte 0: not a zip, or cut at its end"));
    let whole = file("a");
    check(
        "cut",
        &whole[..whole.len() - 30],
        Err("not a valid archive at byte 0: not a zip, or cut at its end"),
    );
    check(
        "cut late",
        &whole[..whole.len() - 3],
        Err("the archive ends in the middle of the directory of the zip"),
    );
    check(
        "checksum",
        &zip("a", b"hi", 0o100_644, 0, 0, 1),
        Err("entry \"a\" is damaged: its contents do not match its checksum"),
    );
    check("encrypted", &zip("a", b"hi", 0o100_644, 0, 1, HI), Err("entry \"a\" is encrypted"));
    check(
        "compression",
        &zip("a", b"hi", 0o100_644, 98, 0, HI),
        Err("entry \"a\" is of an unknown kind: zip compression 98 (PPMD)"),
    );
    check(
        "device",
        &zip("a", b"", 0o020_644, 0, 0, 0),
        Err("entry \"a\" is of an unknown kind: zip mode 20000"),
    );
    check(
        "large",
        &zip("a", &[0; 9001], 0o100_644, 0, 0, HI),
        Err("entry \"a\" takes the contents beyond 9000 bytes"),
    );
    check(
        "long link",
        &zip("a", &[b'x'; 5000], 0o120_777, 0, 0, HI),
        Err("entry \"a\" has a name of more than 4095 bytes"),
    );
    check(
        "deflate",
        &zip("a", b"\xff\xff", 0o100_644, 8, 0, HI),
        Err("entry \"a\" is damaged: its contents do not match its checksum"),
    );
}

#[test]
fn tars_can_be_looked_through() {
    use std::ops::ControlFlow;
    let tar = crate::builder::Tar::new()
        .file("./manifest.json", "{}")
        .dir("layers")
        .file("layers/skipped", vec![1; 5000])
        .symlink("layers/l", "../skipped")
        .file("last", "last")
        .file("never seen", "")
        .end();
    let mut seen = Vec::new();
    archive::tar_entries(&tar[..], LIMITS, |entry, contents| -> Result<_, archive::Error> {
        let mut text = String::new();
        if entry.size < 10 {
            contents.read_to_string(&mut text).map_err(archive::Error::Read)?;
        }
        let link = entry.link.map(|link| link.display().to_string()).unwrap_or_default();
        seen.push(format!("{:?} {} {} {text}{link}", entry.kind, entry.path.display(), entry.size));
        Ok(if text == "last" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
    .unwrap();
    let expect = [
        "File manifest.json 2 {}",
        "Directory layers 0 ",
        "File layers/skipped 5000 ",
        "Symlink layers/l 0 ../skipped",
        "File last 4 last",
    ];
    assert_eq!(seen, expect);
    let cut = &crate::builder::Tar::new().file("a", [1; 600]).end()[..700];
    let error = archive::tar_entries(cut, LIMITS, |_, _| Ok::<_, archive::Error>(ControlFlow::Continue(())));
    assert_eq!(text(&error.unwrap_err()), "the archive ends in the middle of a");
}
