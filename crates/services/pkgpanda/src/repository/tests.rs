use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use super::*;

/// An entry of a tarball: header fields and contents, right or wrong.
#[derive(Clone)]
pub(crate) struct Item {
    name: &'static str,
    kind: u8,
    link: &'static str,
    mode: u32,
    uid: u32,
    contents: Vec<u8>,
}

pub(crate) fn file(name: &'static str, contents: &str) -> Item {
    Item { name, kind: b'0', link: "", mode: 0o644, uid: 0, contents: contents.into() }
}

pub(crate) fn link(name: &'static str, kind: u8, link: &'static str) -> Item {
    Item { kind, link, ..file(name, "") }
}

pub(crate) fn directory(name: &'static str) -> Item {
    Item { kind: b'5', mode: 0o755, ..file(name, "") }
}

pub(crate) fn tar(items: &[Item]) -> Vec<u8> {
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

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn package() -> Vec<Item> {
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
    let expected = [("bin".to_owned(), Kind::Directory), ("bin/a".to_owned(), Kind::File)];
    assert_eq!(loaded.contents.entries, expected);
    // Not even looked at.
    assert_eq!(add(&repository, "a--1.tar.xz", b"anything").unwrap(), (id("a--1"), Added::Already));
    assert_eq!(names(repository.dir()), [".lock", "a--1"]);
}

#[test]
fn what_a_package_says_of_itself_is_no_link_to_what_has_no_end() {
    let (_dir, repository) = scene();
    for name in ["./pkginfo.json", "./buildinfo.full.json", "./pkgpanda.manifest.json"] {
        let mut items = package();
        items.retain(|item| item.name != name);
        items.push(link(name, b'2', "/dev/zero"));
        let error = add(&repository, "a--1.tar.xz", &xz(&tar(&items))).unwrap_err();
        let error = base::with_causes(&error);
        assert!(error.contains("it is a link, and has to be a file"), "{error}");
    }
    assert_eq!(repository.list().unwrap(), []);
}

#[test]
fn every_bad_tarball_has_its_error_and_leaves_nothing() {
    let good = xz(&tar(&package()));
    let cut = |length: usize| good[..length].to_vec();
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "a--1.tar.gz",
            good.clone(),
            "a--1.tar.gz: the name of a package's tarball is ID.tar.xz, such as mesos--1.11.0.tar.xz; nothing was added",
        ),
        (
            "a-1.tar.xz",
            good.clone(),
            "a-1.tar.xz: \"a-1\" is not a package id: it needs exactly one `--`, between name and version (NAME--VERSION); nothing was added",
        ),
        (
            "a---1.tar.xz",
            good.clone(),
            "a---1.tar.xz: \"-1\" is not a package version: allowed are letters, digits and @._+: (no `-`); nothing was added",
        ),
        (
            "a--1_tmp.tar.xz",
            good.clone(),
            "a--1_tmp: ids that end with _tmp are kept for packages that are being unpacked",
        ),
        (
            "a--1.tar.xz",
            Vec::new(),
            "a--1: the tarball is not compressed with xz (it is no compressed file that is known)",
        ),
        (
            "a--1.tar.xz",
            tar(&package()),
            "a--1: the tarball is not compressed with xz (it is no compressed file that is known)",
        ),
        (
            "a--1.tar.xz",
            b"\x1f\x8b\x08\0\0\0\0\0".to_vec(),
            "a--1: the tarball is not compressed with xz (but with gzip)",
        ),
        ("a--1.tar.xz", cut(40), "a--1: the tarball cannot be unpacked: read the archive"),
        // Only the index and the footer of the compression are missing.
        ("a--1.tar.xz", cut(good.len() - 4), "a--1: the tarball cannot be unpacked: read the archive"),
        (
            "a--1.tar.xz",
            xz(&tar(&package())[..1600]),
            "a--1: the tarball cannot be unpacked: the archive ends in the middle of",
        ),
        (
            "a--1.tar.xz",
            [good.clone(), xz(&vec![0; 2 << 20])].concat(),
            "a--1: more than 1048576 bytes follow the end of the archive",
        ),
        (
            "a--1.tar.xz",
            with(file("/etc/passwd", "x")),
            "a--1: the tarball cannot be unpacked: entry \"/etc/passwd\" has an absolute name",
        ),
        (
            "a--1.tar.xz",
            with(file("../escape", "x")),
            "a--1: the tarball cannot be unpacked: entry \"../escape\" has \"..\" in its name",
        ),
        (
            "a--1.tar.xz",
            with(file("bin/../../escape", "x")),
            "a--1: the tarball cannot be unpacked: entry \"bin/../../escape\" has \"..\" in its name",
        ),
        (
            "a--1.tar.xz",
            with(link("hard", b'1', "/etc/passwd")),
            "a--1: the tarball cannot be unpacked: entry \"hard\" is a hard link to \"/etc/passwd\", which is outside of the target directory",
        ),
        (
            "a--1.tar.xz",
            with(link("hard", b'1', "../../outside")),
            "a--1: the tarball cannot be unpacked: entry \"hard\" is a hard link to \"../../outside\", which is outside of the target directory",
        ),
        (
            "a--1.tar.xz",
            with(link("hard", b'1', "nothing")),
            "a--1: the tarball cannot be unpacked: entry \"hard\" is a hard link to \"nothing\", which does not exist",
        ),
        (
            "a--1.tar.xz",
            with(link("null", b'3', "")),
            "a--1: the tarball cannot be unpacked: entry \"null\" is a character device, which is not allowed here",
        ),
        (
            "a--1.tar.xz",
            with(link("disk", b'4', "")),
            "a--1: the tarball cannot be unpacked: entry \"disk\" is a block device, which is not allowed here",
        ),
        (
            "a--1.tar.xz",
            with(link("pipe", b'6', "")),
            "a--1: the tarball cannot be unpacked: entry \"pipe\" is a FIFO, which is not allowed here",
        ),
        (
            "a--1.tar.xz",
            with(file("bomb", &"0".repeat(2 << 20))),
            "a--1: the tarball cannot be unpacked: entry \"bomb\" takes the contents beyond 1048576 bytes",
        ),
        (
            "a--1.tar.xz",
            xz(&tar(&vec![directory("d"); 1001])),
            "a--1: the tarball cannot be unpacked: the archive has more than 1000 entries",
        ),
        ("a--1.tar.xz", xz(&tar(&[directory("bin")])), "a--1 is no package: it has no pkginfo.json"),
        (
            "a--1.tar.xz",
            xz(&tar(&[file("pkginfo.json", "[]")])),
            "a--1: pkginfo.json: the file is [], allowed is an object",
        ),
        (
            "a--1.tar.xz",
            with(file("buildinfo.full.json", "{")),
            "a--1: buildinfo.full.json is not JSON: EOF while parsing an object at line 1 column 1",
        ),
        (
            "a--1.tar.xz",
            with(file(MANIFEST, "{}")),
            "a--1: pkgpanda.manifest.json: missing field `version` at line 1 column 2",
        ),
    ];
    for (name, bytes, expected) in table {
        let (dir, repository) = scene();
        symlink("/etc", dir.path().join("outside")).unwrap();
        let added = add(&repository, name, &bytes);
        let error = base::with_causes(&added.expect_err(expected));
        let error = error.replace(&format!("{}/", dir.path().display()), "");
        assert!(error.starts_with(expected), "found    {error}\nexpected {expected}");
        assert_eq!(names(dir.path()).iter().filter(|found| *found == "escape").count(), 0);
        let left = names(repository.dir());
        assert!(left.is_empty() || left == [".lock"], "{expected}: {left:?}");
        // Nothing stands in the way of the right one.
        add(&repository, "a--1.tar.xz", &xz(&tar(&package()))).unwrap();
    }
}

#[test]
fn a_link_out_of_the_package_is_not_written_through() {
    let (dir, repository) = scene();
    fs::create_dir(dir.path().join("outside")).unwrap();
    let target: &'static str = dir.path().join("outside").to_str().unwrap().to_owned().leak();
    let mut items = package();
    items.extend([link("lib", b'2', target), file("lib/x", "x")]);
    let error = base::with_causes(&add(&repository, "a--1.tar.xz", &xz(&tar(&items))).unwrap_err());
    let expected = "entry \"lib/x\" lies behind a symbolic link that leads out of the target directory";
    assert!(error.ends_with(expected), "{error}");
    assert_eq!(names(&dir.path().join("outside")), [""; 0]);
    assert_eq!(repository.list().unwrap(), []);
}

#[test]
fn files_of_others_are_refused_where_owners_are_kept() {
    if !host::is_root() {
        eprintln!("SKIP files_of_others_are_refused_where_owners_are_kept: needs root");
        return;
    }
    let (_dir, repository) = scene();
    let error = add(&repository, "a--1.tar.xz", &with(Item { uid: 1000, ..file("x", "") })).unwrap_err();
    let expected = "a--1: \"x\" belongs to user 1000, group 0; everything in a package has to be root's";
    assert_eq!(error.to_string(), expected);
    assert_eq!(names(repository.dir()), [".lock"]);
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    if !host::is_root() {
        eprintln!("SKIP a_full_disk_is_told_and_leaves_nothing: needs root");
        return;
    }
    let (dir, repository) = scene();
    fs::create_dir(repository.dir()).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        std::process::Command::new(program).args(arguments).status().is_ok_and(|status| status.success())
    };
    let place = repository.dir().to_str().unwrap().to_owned();
    if !run("mount", &["-t", "tmpfs", "-o", "size=64k", "none", &place]) {
        eprintln!("SKIP a_full_disk_is_told_and_leaves_nothing: needs to mount");
        return;
    }
    let large = add(&repository, "a--1.tar.xz", &with(file("large", &"0".repeat(500_000))));
    let small = add(&repository, "b--1.tar.xz", &xz(&tar(&package())));
    let left = names(repository.dir());
    assert!(run("umount", &[&place]));
    let error = base::with_causes(&large.unwrap_err());
    let expected =
        "a--1: the tarball cannot be unpacked: write file \"large\": No space left on device (os error 28)";
    assert_eq!(error, expected);
    small.unwrap();
    assert_eq!(left, [".lock", "b--1"]);
    drop(dir);
}

#[test]
fn leftovers_are_no_packages_and_go() {
    let (_dir, repository) = scene();
    add(&repository, "a--1.tar.xz", &xz(&tar(&package()))).unwrap();
    for name in ["b--2_tmp/bin", "c---3", "nothing", "b--2", ".verified"] {
        fs::create_dir_all(repository.dir().join(name)).unwrap();
    }
    fs::write(repository.dir().join("d--4"), "no directory").unwrap();
    fs::write(repository.dir().join(".verified/gone--1"), "").unwrap();
    fs::create_dir(repository.dir().join(".downloads")).unwrap();
    for (name, days) in [("old--1.tar.xz", 8), ("new--1.tar.xz", 6)] {
        let part = fs::File::create(repository.dir().join(".downloads").join(name)).unwrap();
        let written = std::time::SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        part.set_modified(written).unwrap();
    }
    // Needs no pkginfo.json; `b--2` has none.
    assert_eq!(repository.list().unwrap(), [id("a--1"), id("b--2")]);
    assert!(matches!(repository.load(&id("b--2_tmp")), Err(Error::Missing(_))));
    repository.sweep().unwrap();
    assert_eq!(
        names(repository.dir()),
        [".downloads", ".lock", ".verified", "a--1", "b--2", "c---3", "d--4", "nothing"]
    );
    assert_eq!(names(&repository.dir().join(".verified")), [""; 0]);
    assert_eq!(names(&repository.dir().join(".downloads")), ["new--1.tar.xz"]);
    // One that stands in the way of adding goes without being asked.
    fs::create_dir_all(repository.dir().join("e--5_tmp/bin/x")).unwrap();
    add(&repository, "e--5.tar.xz", &xz(&tar(&package()))).unwrap();
    assert!(!repository.path(&id("e--5")).join("bin/x").exists());
}

#[test]
fn removing_refuses_what_is_active() {
    let (_dir, repository) = scene();
    add(&repository, "a--1.tar.xz", &xz(&tar(&package()))).unwrap();
    let active = BTreeSet::from([id("a--1")]);
    let error = repository.remove(&id("a--1"), &active).unwrap_err();
    assert_eq!(error.to_string(), "Refusing to remove active package a--1");
    assert!(repository.has(&id("a--1")));
    assert!(repository.remove(&id("a--1"), &BTreeSet::new()).unwrap());
    assert!(!repository.remove(&id("a--1"), &BTreeSet::new()).unwrap());
    assert_eq!(names(repository.dir()), [".lock"]);
}

#[test]
fn another_writer_is_waited_for_and_then_named() {
    let (_dir, repository) = scene();
    fs::create_dir(repository.dir()).unwrap();
    let held = FileLock::take(&repository.dir().join(".lock")).unwrap();
    let waiting = std::thread::spawn({
        let repository = repository.clone();
        move || add(&repository, "a--1.tar.xz", &xz(&tar(&package())))
    });
    assert_eq!(repository.list().unwrap(), []);
    drop(held);
    waiting.join().unwrap().unwrap();
    assert_eq!(repository.list().unwrap(), [id("a--1")]);
}

/// A package with a manifest of all that is in it.
fn manifested() -> Vec<Item> {
    let mut manifest = Manifest::new();
    let hash = |text: &str| {
        use sha2::Digest;
        sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let file = |text: &str| api_pkgpanda::File { mode: 0o644, size: text.len() as u64, sha256: hash(text) };
    manifest.directories.insert("bin".to_owned(), 0o755);
    manifest.files.insert("pkginfo.json".to_owned(), file("{}"));
    manifest.files.insert("bin/a".to_owned(), file("contents"));
    manifest.symlinks.insert("bin/b".to_owned(), "a".to_owned());
    let mut items = package();
    items.push(link("./bin/b", b'2', "a"));
    items.push(self::file(MANIFEST, &manifest.to_text()));
    items
}

#[test]
fn what_is_not_as_the_manifest_says_is_not_added() {
    let check = |change: &dyn Fn(&mut Vec<Item>), expected: &str| {
        let (_dir, repository) = scene();
        let mut items = manifested();
        change(&mut items);
        let error = add(&repository, "a--1.tar.xz", &xz(&tar(&items))).unwrap_err();
        assert_eq!(error.to_string(), format!("a--1 is not what it was built as: {expected}"));
        assert_eq!(names(repository.dir()), [".lock"]);
    };
    let at = |items: &[Item], name: &str| items.iter().position(|item| item.name == name).unwrap();
    check(
        &|items| {
            let at = at(items, "./bin/a");
            items.remove(at);
        },
        "\"bin/a\" is missing",
    );
    check(&|items| items.push(file("x", "")), "\"x\" does not belong to it");
    check(
        &|items| {
            let at = at(items, "./bin/a");
            items[at].contents = b"C0ntents".to_vec();
        },
        "\"bin/a\" has other contents",
    );
    check(
        &|items| {
            let at = at(items, "./bin/a");
            items[at].contents.push(b'!');
        },
        "\"bin/a\" has 9 bytes instead of 8",
    );
    check(
        &|items| {
            let at = at(items, "./bin/a");
            items[at].mode = 0o666;
        },
        "\"bin/a\" has mode 0666 instead of 0644",
    );
    check(
        &|items| {
            let at = at(items, "./bin/b");
            items[at].link = "/bin/sh";
        },
        "\"bin/b\" is a link to \"/bin/sh\" instead of \"a\"",
    );
    check(
        &|items| {
            let at = at(items, "./bin/a");
            items[at] = link("./bin/a", b'2', "b");
        },
        "\"bin/a\" is a link instead of a file",
    );
    check(
        &|items| {
            let first = at(items, "./bin/a");
            items.remove(first);
            items.extend(
                (0..12).map(|n| file(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b"][n], "")),
            );
        },
        "\"0\" does not belong to it, \"1\" does not belong to it, \"2\" does not belong to it, \
         \"3\" does not belong to it, \"4\" does not belong to it, \"5\" does not belong to it, \
         \"6\" does not belong to it, \"7\" does not belong to it, \"8\" does not belong to it, \
         \"9\" does not belong to it, and 3 more",
    );
}

#[test]
fn verification_tells_all_there_is() {
    let (_dir, repository) = scene();
    add(&repository, "a--1.tar.xz", &xz(&tar(&manifested()))).unwrap();
    add(&repository, "old--1.tar.xz", &xz(&tar(&package()))).unwrap();
    let check =
        |id: &PackageId, expected: &Verification| assert_eq!(repository.verify(id).unwrap(), *expected);
    check(&id("a--1"), &Verification::Whole { entries: 5, bytes: 10 });
    check(&id("old--1"), &Verification::NoManifest);
    assert!(matches!(repository.verify(&id("none--1")), Err(Error::Missing(_))));
    fs::write(repository.path(&id("a--1")).join("bin/a"), "C0ntents").unwrap();
    let differences = vec![Difference { path: "bin/a".to_owned(), what: What::Contents }];
    check(&id("a--1"), &Verification::Damaged(differences));
}

/// The clock of files is coarse: what happens within one tick has one time.
fn wait_for_tick(dir: &Path) {
    let probe = dir.join(".probe");
    let touched = || {
        fs::write(&probe, "").unwrap();
        fs::metadata(&probe).unwrap().modified().unwrap()
    };
    let first = touched();
    while touched() == first {
        std::thread::yield_now();
    }
    fs::remove_file(&probe).unwrap();
}

#[test]
fn what_was_verified_is_not_read_again_until_its_attributes_change() {
    let (_dir, repository) = scene();
    let id = id("a--1");
    add(&repository, "a--1.tar.xz", &xz(&tar(&manifested()))).unwrap();
    let package = repository.path(&id);
    let holds = || {
        let opened = contents::open(&package).unwrap();
        repository.record(&id).is_some_and(|record| record.still_holds(opened.as_fd()))
    };
    assert!(holds(), "what was added was verified");
    assert_eq!(repository.load_verified(&id).unwrap(), repository.load(&id).unwrap());

    let changes: [(&str, &dyn Fn()); 5] = [
        ("\"bin/a\" has other contents", &|| {
            // As many bytes, and the time of change set back: what remains is the time that nobody sets.
            let path = package.join("bin/a");
            let before = fs::metadata(&path).unwrap().modified().unwrap();
            fs::write(&path, "C0ntents").unwrap();
            fs::File::options().append(true).open(&path).unwrap().set_modified(before).unwrap();
        }),
        ("\"bin/new\" does not belong to it", &|| fs::write(package.join("bin/new"), "").unwrap()),
        ("\"new\" does not belong to it", &|| fs::write(package.join("new"), "").unwrap()),
        ("\"bin/b\" is missing", &|| fs::remove_file(package.join("bin/b")).unwrap()),
        ("\"bin/a\" has mode 0666 instead of 0644", &|| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(package.join("bin/a"), fs::Permissions::from_mode(0o666)).unwrap();
        }),
    ];
    for (expected, change) in changes {
        repository.remove(&id, &BTreeSet::new()).unwrap();
        add(&repository, "a--1.tar.xz", &xz(&tar(&manifested()))).unwrap();
        wait_for_tick(repository.dir());
        assert!(holds(), "{expected}");
        change();
        assert!(!holds(), "{expected}");
        let error = repository.load_verified(&id).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
        assert!(!holds(), "a damaged package is not remembered");
    }

    // What only looks changed is read once, and remembered.
    repository.remove(&id, &BTreeSet::new()).unwrap();
    add(&repository, "a--1.tar.xz", &xz(&tar(&manifested()))).unwrap();
    fs::rename(package.join("bin/a"), package.join("bin/c")).unwrap();
    fs::rename(package.join("bin/c"), package.join("bin/a")).unwrap();
    assert!(!holds());
    repository.load_verified(&id).unwrap();
    assert!(holds());
}

#[test]
fn a_package_made_here_is_known_by_its_contents() {
    let (_dir, repository) = scene();
    add(&repository, "a--setup.tar.xz", &xz(&tar(&package()))).unwrap();
    let id = id("a--setup");
    let fingerprint = || repository.load_verified(&id).unwrap().fingerprint.unwrap();
    let before = fingerprint();
    assert_eq!(fingerprint(), before);
    fs::write(repository.path(&id).join("bin/a"), "others").unwrap();
    let after = fingerprint();
    assert_ne!(after, before);
    fs::rename(repository.path(&id).join("bin/a"), repository.path(&id).join("bin/b")).unwrap();
    assert_ne!(fingerprint(), after);
}
