use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use super::*;

/// An entry of a tarball: header fields and contents, right or wrong.
#[derive(Clone)]
struct Item {
    name: &'static str,
    kind: u8,
    link: &'static str,
    mode: u32,
    uid: u32,
    contents: Vec<u8>,
}

fn file(name: &'static str, contents: &str) -> Item {
    Item { name, kind: b'0', link: "", mode: 0o644, uid: 0, contents: contents.into() }
}

fn link(name: &'static str, kind: u8, link: &'static str) -> Item {
    Item { kind, link, ..file(name, "") }
}

fn directory(name: &'static str) -> Item {
    Item { kind: b'5', mode: 0o755, ..file(name, "") }
}

fn tar(items: &[Item]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        let mut header = [0; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, item.name);
        put(100, &format!("{:07o}", item.mode));
        put(108, &format!("{:07o}", item.uid));
        put(116, "0000000");
        put(124, &format!("{:011o}", item.contents.len()));
        put(136, "00000000000");
        put(148, "        ");
        put(157, item.link);
        put(257, "ustar\u{0}00");
        header[156] = item.kind;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\u{0} ").as_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&item.contents);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn package() -> Vec<Item> {
    vec![directory("./"), file("./pkginfo.json", "{}"), directory("./bin/"), file("./bin/a", "contents")]
}

fn with(item: Item) -> Vec<u8> {
    let mut items = package();
    items.push(item);
    xz(&tar(&items))
}

/// A repository, and a place for tarballs beside it.
fn scene() -> (tempfile::TempDir, Repository) {
    let dir = tempfile::tempdir().unwrap();
    let limits = archive::Limits { bytes: 1 << 20, entries: 1000 };
    let repository = Repository::new(dir.path().join("packages")).with_limits(limits);
    (dir, repository)
}

fn add(repository: &Repository, name: &str, bytes: &[u8]) -> Result<(PackageId, Added), Error> {
    let path = repository.dir().with_file_name(name);
    fs::write(&path, bytes).unwrap();
    repository.add(&path)
}

fn id(text: &str) -> PackageId {
    text.parse().unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_tarball_becomes_a_package_once() {
    let (_dir, repository) = scene();
    assert_eq!(repository.list().unwrap(), []);
    assert_eq!(add(&repository, "a--1.tar.xz", &xz(&tar(&package()))).unwrap(), (id("a--1"), Added::New));
    assert_eq!(repository.list().unwrap(), [id("a--1")]);
    let loaded = repository.load(&id("a--1")).unwrap();
    let paths: Vec<_> = loaded.entries.iter().map(|entry| (&*entry.path, entry.kind)).collect();
    let (directory, file) = (EntryKind::Directory, EntryKind::File);
    assert_eq!(paths, [("bin", directory), ("bin/a", file), ("pkginfo.json", file)]);
    // Not even looked at.
    assert_eq!(add(&repository, "a--1.tar.xz", b"anything").unwrap(), (id("a--1"), Added::Already));
    assert_eq!(names(repository.dir()), [".lock", "a--1"]);
}
