//! Directories as tar and xz: the same bytes for the same contents, and what comes out is what went in.

use std::fs;
use std::io::{Read, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use archive::{Compression, PackError, PackOptions, XzWriter, pack_tar};

use crate::{LIMITS, text};

const OPTIONS: PackOptions = PackOptions { seconds: 1_479_686_400 };

fn pack(dir: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    pack_tar(dir, &mut tar, &OPTIONS).unwrap();
    tar
}

fn threads(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

fn xz(plain: &[u8], count: u32, piece: usize) -> Vec<u8> {
    let mut writer = XzWriter::new(Vec::new(), threads(count));
    for piece in plain.chunks(piece) {
        writer.write_all(piece).unwrap();
        writer.flush().unwrap();
    }
    writer.finish().unwrap()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A tree with all that a package may hold, made in one order or in the other.
fn tree(at: &Path, is_reverse: bool) {
    let long = "long-".repeat(30);
    let deep = at.join(format!("deep/{long}/{long}"));
    let mut names = vec!["b", "a", "a.b", "a-b", "Z", "ünïcode", " space", "-dash"];
    if is_reverse {
        names.reverse();
    }
    for name in names {
        fs::write(at.join(name), format!("contents of {name}")).unwrap();
        set_mode(&at.join(name), 0o644);
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join(&long), vec![7; 1500]).unwrap();
    fs::write(deep.join("exactly one block"), vec![8; 512]).unwrap();
    symlink(format!("deep/{long}/{long}/{long}"), at.join("long link")).unwrap();
    symlink("nowhere", at.join("link")).unwrap();
    fs::create_dir(at.join("empty")).unwrap();
    fs::create_dir(at.join("a-directory")).unwrap();
    fs::write(at.join("a-directory/program"), "#!/bin/sh").unwrap();
    set_mode(&at.join("a-directory/program"), 0o4755);
    fs::hard_link(at.join("a-directory/program"), at.join("same")).unwrap();
    fs::hard_link(at.join("a-directory/program"), at.join(format!("same-{long}"))).unwrap();
    fs::write(at.join("secret"), "x").unwrap();
    set_mode(&at.join("secret"), 0o400);
}

/// Every path of a tree with its mode, size, contents or target, and the first name of the same file.
fn listing(top: &Path) -> Vec<String> {
    fn walk(top: &Path, at: &Path, lines: &mut Vec<String>) {
        let mut paths: Vec<_> = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let meta = fs::symlink_metadata(&path).unwrap();
            let what = match meta.file_type() {
                kind if kind.is_dir() => String::new(),
                kind if kind.is_symlink() => format!("-> {}", fs::read_link(&path).unwrap().display()),
                _ => format!("{} {:?}", meta.nlink(), fs::read(&path).unwrap()),
            };
            let name = path.strip_prefix(top).unwrap().display();
            lines.push(format!("{name} {:o} {what}", meta.mode()));
            if meta.is_dir() {
                walk(top, &path, lines);
            }
        }
    }
    let mut lines = Vec::new();
    walk(top, top, &mut lines);
    lines
}

#[test]
fn the_same_contents_are_the_same_bytes() {
    let around = tempfile::tempdir().unwrap();
    let (one, other) = (around.path().join("one"), around.path().join("other"));
    fs::create_dir(&one).unwrap();
    fs::create_dir(&other).unwrap();
    tree(&one, false);
    tree(&other, true);
    let touched =
        Command::new("touch").args(["-d", "2001-01-01", "b", "deep", "."]).current_dir(&other).status();
    assert!(touched.unwrap().success());
    let tar = pack(&one);
    assert!(tar == pack(&other));

    fs::write(other.join("b"), "contents of c").unwrap();
    assert!(tar != pack(&other));
}

#[test]
fn what_others_may_write_does_not_count_and_owners_do_not() {
    let around = tempfile::tempdir().unwrap();
    fs::write(around.path().join("file"), "x").unwrap();
    fs::create_dir(around.path().join("dir")).unwrap();
    set_mode(&around.path().join("file"), 0o644);
    set_mode(&around.path().join("dir"), 0o755);
    set_mode(around.path(), 0o755);
    let tar = pack(around.path());
    set_mode(&around.path().join("file"), 0o666);
    set_mode(&around.path().join("dir"), 0o775);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(around.path().join("file"), Some(1234), Some(5678)).unwrap();
    }
    assert!(tar == pack(around.path()));
    set_mode(&around.path().join("file"), 0o2755);
    assert!(tar != pack(around.path()));
}

#[test]
fn gnu_tar_reads_it() {
    let around = tempfile::tempdir().unwrap();
    let (from, into) = (around.path().join("from"), around.path().join("into"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&into).unwrap();
    tree(&from, false);
    fs::write(around.path().join("a.tar.xz"), xz(&pack(&from), 2, 1 << 20)).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new("tar").args(arguments).current_dir(around.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["xpJf", "a.tar.xz", "-C", "into"]);
    assert_eq!(listing(&from), listing(&into));
    let lines = run(&["tJvf", "a.tar.xz", "--numeric-owner", "--utc", "--full-time"]);
    let first = lines.lines().next().unwrap();
    assert!(first.ends_with("2016-11-21 00:00:00 ./"), "{first}");
    assert!(
        lines.lines().all(|line| line.contains(" 0/0 ") && line.contains("2016-11-21 00:00:00")),
        "{lines}"
    );
    let names: Vec<_> = lines.lines().filter_map(|line| Some(line.split_once(":00 ")?.1)).collect();
    assert!(names.iter().all(|name| name.starts_with("./")), "{names:?}");
}

#[test]
fn our_own_reader_reads_it() {
    if !crate::root("our_own_reader_reads_it") {
        return;
    }
    let around = tempfile::tempdir().unwrap();
    let (from, into) = (around.path().join("from"), around.path().join("into"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&into).unwrap();
    tree(&from, false);
    let packed = xz(&pack(&from), 1, 4096);
    let reader = Compression::detect(&packed[..]).unwrap().parallel_reader(threads(2)).unwrap();
    archive::unpack_tar(reader, &into, &archive::Options::layer(LIMITS)).unwrap();
    assert_eq!(listing(&from), listing(&into));
    let meta = fs::metadata(into.join("b")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mtime()), (0, 0, 1_479_686_400));
    assert!(pack(&into) == pack(&from));
}

#[test]
fn capabilities_are_kept() {
    if !crate::root("capabilities_are_kept") {
        return;
    }
    let around = tempfile::tempdir().unwrap();
    let (from, into) = (around.path().join("from"), around.path().join("into"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&into).unwrap();
    fs::write(from.join("ping"), "x").unwrap();
    // Version 2, effective: cap_net_raw permitted.
    let value = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let set = rustix::fs::setxattr(
        from.join("ping"),
        "security.capability",
        &value,
        rustix::fs::XattrFlags::empty(),
    );
    if let Err(error) = set {
        eprintln!("SKIP capabilities_are_kept: this file system keeps none: {error}");
        return;
    }
    let _ =
        rustix::fs::setxattr(from.join("ping"), "user.comment", b"dropped", rustix::fs::XattrFlags::empty());
    let tar = pack(&from);
    assert!(!tar.windows(7).any(|part| part == b"dropped"));
    archive::unpack_tar(&tar[..], &into, &archive::Options::layer(LIMITS)).unwrap();
    let mut found = [0; 64];
    let length = rustix::fs::getxattr(into.join("ping"), "security.capability", &mut found).unwrap();
    assert_eq!(found[..length], value);
}

#[test]
fn what_has_no_place_in_an_archive_is_named() {
    let check = |kind: &str, make: &dyn Fn(&Path)| {
        let around = tempfile::tempdir().unwrap();
        fs::create_dir(around.path().join("etc")).unwrap();
        make(&around.path().join("etc/odd"));
        let error = pack_tar(around.path(), std::io::sink(), &OPTIONS).unwrap_err();
        let expected = format!("\"./etc/odd\" is a {kind}, which has no place in an archive");
        assert_eq!(text(&error), expected);
    };
    check("socket", &|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()));
    let node = |path: &Path, kind| {
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o644.into(), rustix::fs::makedev(1, 3)).unwrap();
    };
    check("FIFO", &|path| node(path, rustix::fs::FileType::Fifo));
    if crate::root("devices have no place in an archive") {
        check("character device", &|path| node(path, rustix::fs::FileType::CharacterDevice));
        check("block device", &|path| node(path, rustix::fs::FileType::BlockDevice));
    }
}

#[test]
fn what_cannot_be_read_or_written_is_told() {
    let around = tempfile::tempdir().unwrap();
    let error = pack_tar(&around.path().join("gone"), std::io::sink(), &OPTIONS).unwrap_err();
    assert_eq!(text(&error), "open \".\": No such file or directory (os error 2)");

    fs::write(around.path().join("file"), vec![1; 2000]).unwrap();
    let error = pack_tar(around.path(), &mut [0; 1200][..], &OPTIONS).unwrap_err();
    assert!(matches!(error, PackError::Write(_)), "{error:?}");
}

#[test]
fn a_file_that_changes_meanwhile_is_told() {
    /// Cuts a file as soon as something of it is written.
    struct Cut<'a>(&'a Path);
    impl Write for Cut<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if bytes[0] == b'@' {
                fs::File::options().write(true).open(self.0)?.set_len(300_000)?;
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let around = tempfile::tempdir().unwrap();
    let file = around.path().join("file");
    fs::write(&file, vec![b'@'; 1_000_000]).unwrap();
    let error = pack_tar(around.path(), Cut(&file), &OPTIONS).unwrap_err();
    assert_eq!(text(&error), "\"./file\" changed while it was read");
}

#[test]
fn short_contents_are_compressed_alike_however_they_are_cut() {
    let plain: Vec<u8> =
        (0..(512u32 << 10) / 16).flat_map(|line| format!("{line:>15}\n").into_bytes()).collect();
    assert_eq!(plain.len(), 512 << 10);
    for length in [0, 1, 4095, 4097, plain.len() - 1, plain.len()] {
        let packed = xz(&plain[..length], 1, plain.len());
        assert!(packed == xz(&plain[..length], 3, 777), "{length}");
        let mut back = Vec::new();
        Compression::Xz.reader(&packed[..]).unwrap().read_to_end(&mut back).unwrap();
        assert!(back == plain[..length], "{length}");
    }
    let longer = [&plain[..], b"x"].concat();
    assert!(xz(&longer, 1, longer.len()) == xz(&longer, 2, 1000));
}

/// Bytes of two blocks, of which most repeat.
fn several_blocks() -> Vec<u8> {
    (0..(10u32 << 20) / 64)
        .flat_map(|line| format!("{line:>12} {:0>50}\n", line / 64 % 97).into_bytes())
        .collect()
}

#[test]
fn xz_is_the_same_whatever_the_number_of_threads_and_is_read_by_any() {
    let plain = several_blocks();
    let packed = xz(&plain, 2, 1 << 20);
    assert!(packed == xz(&plain, 1, 333_333));

    for reader in [
        Compression::Xz.reader(&packed[..]).unwrap(),
        Compression::Xz.parallel_reader(&packed[..], threads(1)).unwrap(),
        Compression::Xz.parallel_reader(&packed[..], threads(3)).unwrap(),
    ] {
        let mut reader = reader;
        let mut back = Vec::new();
        reader.read_to_end(&mut back).unwrap();
        assert!(back == plain);
    }
    let cut = &packed[..packed.len() - 40_000];
    let mut reader = Compression::Xz.parallel_reader(cut, threads(2)).unwrap();
    assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap_err().to_string(), "premature end of an xz stream");
    let mut damaged = packed.clone();
    damaged[packed.len() / 2] ^= 0x55;
    let mut reader = Compression::Xz.parallel_reader(&damaged[..], threads(2)).unwrap();
    assert!(reader.read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn several_xz_streams_are_read_by_threads_as_by_one() {
    let (one, other) = (xz(b"the first, ", 1, 100), xz(b"the second", 1, 100));
    let read = |bytes: &[u8], is_parallel: bool| {
        let mut text = String::new();
        let mut reader = match is_parallel {
            true => Compression::Xz.parallel_reader(bytes, threads(2)).unwrap(),
            false => Compression::Xz.reader(bytes).unwrap(),
        };
        reader.read_to_string(&mut text).map(|_| text).map_err(drop)
    };
    let check = |parts: &[&[u8]], expected: Result<&str, ()>| {
        let bytes = parts.concat();
        let expected = expected.map(str::to_owned);
        assert_eq!((read(&bytes, true), read(&bytes, false)), (expected.clone(), expected), "{parts:?}");
    };
    let both = Ok("the first, the second");
    check(&[&one, &other], both);
    check(&[&one, &[0; 4], &other, &[0; 80]], both);
    check(&[&one, &[0; 70_000], &other], both);
    check(&[&one, &[0; 3], &other], Err(()));
    check(&[&one, &[0; 2]], Err(()));
    check(&[&one, b"garbage, more than a header of xz has"], Err(()));
    check(&[&one, &other[..other.len() - 4]], Err(()));
    check(&[&one[..20]], Err(()));
    check(&[], Err(()));
}

#[test]
fn an_xz_that_demands_gigabytes_is_refused_by_threads_too() {
    let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
    options.dict_size(1 << 30);
    let mut filters = liblzma::stream::Filters::new();
    filters.lzma2(&options);
    let stream =
        liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc32).unwrap();
    let mut packed = Vec::new();
    liblzma::read::XzEncoder::new_stream(&b"x"[..], stream).read_to_end(&mut packed).unwrap();
    let mut reader = Compression::Xz.parallel_reader(&packed[..], threads(2)).unwrap();
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("limit"), "{error}");
}
