//! Against this machine's apt: what Debian has, fetched, unpacked, put together and run.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use debian::{Apt, Deb, Error};

/// apt, if this machine has one that knows packages.
fn apt(dir: &Path) -> Option<Apt> {
    let known = Command::new("apt-cache").args(["show", "bash"]).output();
    if !known.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIP: apt-get is not here or has no lists of packages (apt-get update)");
        return None;
    }
    Some(Apt::open(dir).unwrap())
}

fn named<'a>(debs: &'a [Deb], name: &str) -> &'a Deb {
    debs.iter().find(|deb| deb.package == name).unwrap_or_else(|| panic!("{name} is missing: {debs:?}"))
}

#[test]
fn packages_come_with_what_they_depend_on_although_this_machine_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut apt) = apt(&dir.path().join("apt")) else { return };
    let debs = apt.resolve(&["bash", "dash"]).unwrap();
    for name in ["bash", "dash", "libc6", "libtinfo6", "base-files"] {
        let deb = named(&debs, name);
        assert!(deb.sha256.len() == 64 && deb.size > 1000, "{deb:?}");
    }
    assert!(debs.is_sorted());
    assert!(!debs.iter().any(|deb| deb.package == "bash-completion"), "merely recommended: {debs:?}");
    assert_eq!(apt.resolve(&["dash", "bash"]).unwrap(), debs, "the order of the question is nothing");
    let bash = named(&debs, "bash");
    assert_eq!(apt.find("bash", &bash.version).unwrap(), *bash);
    assert_eq!(apt.resolve(&[format!("bash={}", bash.version), "dash".into()]).unwrap(), debs);
    assert_eq!(apt.resolve(&[""; 0]).unwrap(), []);
}

#[test]
fn what_the_archive_does_not_have_is_named() {
    let Some(repository) = Repository::new() else { return };
    repository.publish("1.0");
    let mut apt = repository.apt();
    let check = |found: Result<Vec<Deb>, Error>, expected: &str| {
        assert_eq!(found.unwrap_err().to_string(), expected);
    };
    let unknown = "this machine's apt sources have no package 'no-such-package'";
    check(apt.resolve(&["tool", "no-such-package"]), unknown);
    let gone = "this machine's apt sources have no version '0.1-1' of the package 'tool': they offer 1.0";
    check(apt.resolve(&["tool=0.1-1"]), gone);
    check(apt.find("tool", "0.1-1").map(|deb| vec![deb]), gone);
    // Only provided by another, and only a pattern for another.
    check(apt.resolve(&["virtual-tool"]), "this machine's apt sources have no package 'virtual-tool'");
    check(apt.resolve(&["too."]), "this machine's apt sources have no package 'too.'");
    let refused =
        "'tool=' names no Debian package: a version begins with a digit and has letters, digits, '.+-~:'";
    check(apt.resolve(&["tool="]), refused);
}

#[test]
fn files_are_fetched_once_and_damaged_ones_again() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut apt) = apt(&dir.path().join("apt")) else { return };
    let into = dir.path().join("archives");
    fs::create_dir(&into).unwrap();
    let dash = named(&apt.resolve(&["dash"]).unwrap(), "dash").clone();
    let files = apt.fetch(std::slice::from_ref(&dash), &into).unwrap();
    assert_eq!(files, [into.join(dash.file_name())]);
    assert_eq!(fs::metadata(&files[0]).unwrap().len(), dash.size);
    let inode = || fs::metadata(&files[0]).unwrap().ino();
    let first = inode();
    apt.fetch(std::slice::from_ref(&dash), &into).unwrap();
    assert_eq!(inode(), first);
    fs::write(&files[0], "damaged").unwrap();
    apt.fetch(std::slice::from_ref(&dash), &into).unwrap();
    assert_eq!(fs::metadata(&files[0]).unwrap().len(), dash.size);
    assert_eq!(fs::read_dir(&into).unwrap().count(), 1, "nothing partial is left");

    // What a killed run left: one whole, and one that is not.
    let partial = into.join("partial");
    fs::create_dir(&partial).unwrap();
    fs::rename(&files[0], partial.join(dash.file_name())).unwrap();
    fs::write(partial.join("other.deb"), "half").unwrap();
    let left = fs::metadata(partial.join(dash.file_name())).unwrap().ino();
    apt.fetch(std::slice::from_ref(&dash), &into).unwrap();
    assert_eq!((inode(), fs::read_dir(&into).unwrap().count()), (left, 1));

    let other = Deb { sha256: "0".repeat(64), ..dash.clone() };
    match apt.fetch(&[other], &into) {
        Err(Error::Hash { package, found, .. }) => assert_eq!((package, found), ("dash".into(), dash.sha256)),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        fs::read_dir(&into).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count(),
        0
    );
}

#[test]
fn one_package_is_extracted() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut apt) = apt(&dir.path().join("apt")) else { return };
    let dash = named(&apt.resolve(&["dash"]).unwrap(), "dash").clone();
    let file = apt.fetch(&[dash], dir.path()).unwrap().remove(0);
    let (into, again) = (dir.path().join("into"), dir.path().join("again"));
    for into in [&into, &again] {
        fs::create_dir(into).unwrap();
        debian::extract(&file, into).unwrap();
        assert!(into.join("bin/dash").metadata().unwrap().mode() & 0o111 == 0o111);
    }
    let diff = Command::new("diff").arg("-r").args([&into, &again]).status().unwrap();
    assert!(diff.success());
    assert!(!into.join("DEBIAN").exists());

    let cut = dir.path().join("cut.deb");
    let whole = fs::read(&file).unwrap();
    for length in [0, 5, 100, whole.len() / 2, whole.len() - 100] {
        fs::write(&cut, &whole[..length]).unwrap();
        let error = debian::extract(&cut, &into).unwrap_err();
        assert!(error.to_string().contains("cut.deb"), "{error}");
    }
}

#[test]
fn a_root_works() {
    if !host::is_root() {
        eprintln!("SKIP: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(mut apt) = apt(&dir.path().join("apt")) else { return };
    let wanted = [
        "bash",
        "coreutils",
        "dash",
        "grep",
        "gzip",
        "mawk",
        "sed",
        "tar",
        "libc-bin",
        "ca-certificates",
        "passwd",
    ];
    let debs = apt.resolve(&wanted).unwrap();
    let archives = dir.path().join("archives");
    fs::create_dir(&archives).unwrap();
    let files: Vec<PathBuf> = apt.fetch(&debs, &archives).unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    debian::root(&files, &root).unwrap();
    let run = |script: &str| {
        let mut command = Command::new("/usr/sbin/chroot");
        let output = command.arg(&root).args(["/bin/bash", "-c", script]).env_clear().output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        said
    };
    let script = "PATH=/usr/bin:/bin; set -eu -o pipefail; cd /tmp; mkdir d; echo hello | sed s/h/j/ > d/f; \
                  tar -czf d.tgz d; rm -r d; tar -xzf d.tgz; grep -c jello d/f; awk '{print $1}' d/f; \
                  rm -r d d.tgz; id -un; sh -c 'echo sh'";
    assert_eq!(run(script), "1\njello\nroot\nsh\n");
    for name in ["bin", "sbin", "lib", "lib64"] {
        assert_eq!(fs::read_link(root.join(name)).unwrap(), Path::new("usr").join(name));
    }
    let certificates = fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    assert!(certificates.matches("BEGIN CERTIFICATE").count() > 50);
    assert!(root.join("etc/ld.so.cache").exists() && root.join("etc/group").exists());
    assert!(!root.join("var/lib/dpkg/status").exists());
    let mode = |name: &str| root.join(name).metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode("tmp"), mode("root"), mode("usr/bin/passwd")), (0o1777, 0o700, 0o4755));
}

/// A repository of one package in a directory, and the configuration that makes it apt's only source.
struct Repository {
    dir: tempfile::TempDir,
}

impl Repository {
    fn new() -> Option<Repository> {
        if Command::new("apt-get").arg("--version").output().is_err() {
            eprintln!("SKIP: apt-get is not here");
            return None;
        }
        let repository = Repository { dir: tempfile::tempdir().unwrap() };
        let top = repository.dir.path().display().to_string();
        fs::create_dir_all(repository.path("etc/parts")).unwrap();
        fs::create_dir_all(repository.path("pool")).unwrap();
        fs::write(repository.path("etc/sources.list"), format!("deb [trusted=yes] file:{top}/pool ./\n"))
            .unwrap();
        let configuration = format!(
            "Dir::Etc::sourcelist \"{top}/etc/sources.list\";\nDir::Etc::sourceparts \"{top}/etc/parts\";\n\
             Dir::Etc::preferencesparts \"{top}/etc/parts\";\n"
        );
        fs::write(repository.path("apt.conf"), configuration).unwrap();
        Some(repository)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Another run, which remembers no more than the directory.
    fn apt(&self) -> Apt {
        Apt::open(&self.path("state")).unwrap().with_configuration(&self.path("apt.conf"))
    }

    /// Replaces the package by this version of it.
    fn publish(&self, version: &str) {
        let script = format!(
            "set -e; rm -rf pool build; mkdir -p pool build/DEBIAN; echo {version} > build/file; \
             printf 'Package: tool\\nVersion: {version}\\nArchitecture: all\\nProvides: virtual-tool\\nMaintainer: a <a@test>\\n\
             Description: a tool\\n' > build/DEBIAN/control; dpkg-deb -b build pool/tool.deb > /dev/null; \
             {{ cat build/DEBIAN/control; echo Filename: ./tool.deb; echo Size: $(stat -c %s pool/tool.deb); \
             echo SHA256: $(sha256sum pool/tool.deb | cut -d' ' -f1); }} > pool/Packages"
        );
        let status = Command::new("sh").args(["-c", &script]).current_dir(self.dir.path()).status().unwrap();
        assert!(status.success(), "{script}");
    }
}

#[test]
fn lists_are_fetched_where_there_are_none_and_where_they_are_old() {
    let Some(repository) = Repository::new() else { return };
    repository.publish("1.0");
    // This machine's lists know nothing of it.
    let old = repository.apt().resolve(&["tool"]).unwrap();
    assert_eq!((old.len(), old[0].version.as_str()), (1, "1.0"));
    let file = repository.apt().fetch(&old, &repository.path("")).unwrap().remove(0);
    let into = repository.path("into");
    fs::create_dir(&into).unwrap();
    debian::extract(&file, &into).unwrap();
    assert_eq!(fs::read_to_string(into.join("file")).unwrap(), "1.0\n");

    repository.publish("1.1");
    // What is here is not asked for; what is not, is gone by now.
    repository.apt().fetch(&old, &repository.path("")).unwrap();
    fs::remove_file(&file).unwrap();
    match repository.apt().fetch(&old, &repository.path("")) {
        Err(Error::Version { package, version, offered }) => {
            assert_eq!((package.as_str(), version.as_str(), offered.as_str()), ("tool", "1.0", "1.1"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(repository.apt().resolve(&["tool"]).unwrap()[0].version, "1.1");
}

#[test]
fn what_the_archive_serves_is_checked() {
    let Some(repository) = Repository::new() else { return };
    repository.publish("1.0");
    let debs = repository.apt().resolve(&["tool"]).unwrap();
    let served = repository.path("pool/tool.deb");
    let mut bytes = fs::read(&served).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&served, bytes).unwrap();
    let error = repository.apt().fetch(&debs, &repository.path("etc")).unwrap_err();
    assert!(matches!(error, Error::Apt { .. } | Error::Hash { .. }), "{error}");
    assert!(!repository.path("etc").join(debs[0].file_name()).exists());
}
