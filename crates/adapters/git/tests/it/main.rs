//! Against the real git and repositories of the tests' own.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use git::{Error, checkout, fetch, mirror, resolve, work};

/// A repository that people work in, alone in a directory.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        let scene = Scene { dir: tempfile::tempdir().unwrap() };
        scene.git(&["init", "--quiet", "--initial-branch=main", "."]);
        scene
    }

    fn work(&self) -> PathBuf {
        let path = self.dir.path().join("work");
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.work()).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "a").env(format!("GIT_{role}_EMAIL"), "a@test");
            command.env(format!("GIT_{role}_DATE"), "1700000000 +0100");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes a file and commits all there is.
    fn commit(&self, name: &str, text: &str) -> String {
        fs::write(self.work().join(name), text).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", name]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn url(&self) -> String {
        format!("file://{}", self.work().display())
    }
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_mirror_has_all_commits_and_follows() {
    let scene = Scene::new();
    let first = scene.commit("a", "1");
    let into = scene.path("mirror");
    mirror(&scene.url(), &into).unwrap();
    assert_eq!(resolve(&into, "main").unwrap(), Some(first.clone()));
    assert_eq!(resolve(&into, &first).unwrap(), Some(first.clone()));
    assert!(!into.join("hooks").exists(), "no template");

    let second = scene.commit("a", "2");
    assert_eq!(resolve(&into, &second).unwrap(), None);
    fetch(&scene.url(), &into, None).unwrap();
    assert_eq!(resolve(&into, "main").unwrap(), Some(second));

    // A branch that was written anew, and one that has gone.
    scene.git(&["branch", "other"]);
    fetch(&scene.url(), &into, None).unwrap();
    assert!(resolve(&into, "other").unwrap().is_some());
    scene.git(&["branch", "-D", "other"]);
    scene.git(&["reset", "--quiet", "--hard", &first]);
    fetch(&scene.url(), &into, None).unwrap();
    assert_eq!(resolve(&into, "other").unwrap(), None);
    assert_eq!(resolve(&into, "main").unwrap(), Some(first));
}

#[test]
fn a_commit_that_no_branch_leads_to_is_asked_for_by_itself() {
    let scene = Scene::new();
    let first = scene.commit("a", "1");
    let second = scene.commit("a", "2");
    scene.git(&["reset", "--quiet", "--hard", &first]);
    scene.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let into = scene.path("mirror");
    mirror(&scene.url(), &into).unwrap();
    assert_eq!(resolve(&into, &second).unwrap(), None);
    fetch(&scene.url(), &into, Some(&second)).unwrap();
    assert_eq!(resolve(&into, &second).unwrap(), Some(second));
}

#[test]
fn what_is_checked_out_depends_on_the_commit_alone() {
    let scene = Scene::new();
    let work = scene.work();
    fs::create_dir_all(work.join("deep/er")).unwrap();
    fs::write(work.join("deep/er/script"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(work.join("deep/er/script"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("er/script", work.join("deep/link")).unwrap();
    fs::write(work.join(".gitattributes"), "*.txt text\nhidden export-ignore\n").unwrap();
    fs::write(work.join("hidden"), "$Id$").unwrap();
    let commit = scene.commit("lines.txt", "one\ntwo\n");
    let into = scene.path("mirror");
    mirror(&scene.url(), &into).unwrap();

    let out = scene.path("out");
    fs::create_dir(&out).unwrap();
    checkout(&into, &commit, &out).unwrap();
    assert_eq!(names(&out), [".gitattributes", "deep", "hidden", "lines.txt"]);
    assert_eq!(fs::read_to_string(out.join("lines.txt")).unwrap(), "one\ntwo\n");
    assert_eq!(fs::read_link(out.join("deep/link")).unwrap(), Path::new("er/script"));
    assert!(out.join("deep/er/script").metadata().unwrap().mode() & 0o100 != 0);
    assert!(out.join("hidden").metadata().unwrap().mode() & 0o111 == 0);
    assert_eq!(names(scene.dir.path()), ["mirror", "out", "work"], "nothing is left beside it");

    // From where people work, whatever they have changed since.
    fs::write(work.join("lines.txt"), "three").unwrap();
    scene.git(&["add", "--all"]);
    let status = scene.git(&["status", "--porcelain"]);
    let again = scene.path("again");
    fs::create_dir(&again).unwrap();
    checkout(&work, &commit, &again).unwrap();
    let diff = Command::new("diff").arg("-r").args([&out, &again]).status().unwrap();
    assert!(diff.success());
    assert_eq!(scene.git(&["status", "--porcelain"]), status);
}

#[test]
fn a_worked_in_repository_tells_its_commit_and_changes() {
    let scene = Scene::new();
    let path = scene.work();
    assert!(matches!(work(&path), Err(Error::Git { .. })), "no commit yet: {:?}", work(&path));
    fs::write(path.join(".gitignore"), "*.o\n").unwrap();
    let commit = scene.commit("a", "1");
    let check = |changes: &[&str]| {
        let found = work(&path).unwrap();
        assert_eq!(
            (found.commit.as_str(), found.changes),
            (commit.as_str(), changes.iter().map(|c| (*c).into()).collect())
        );
    };
    check(&[]);
    fs::write(path.join("x.o"), "").unwrap();
    check(&[]);
    fs::write(path.join("new"), "").unwrap();
    check(&["?? new"]);
    fs::write(path.join("a"), "2").unwrap();
    check(&[" M a", "?? new"]);
}

#[test]
fn what_is_no_repository_or_commit_is_named() {
    let scene = Scene::new();
    let commit = scene.commit("a", "1");
    let below = scene.work().join("below");
    fs::create_dir(&below).unwrap();
    for path in [below.as_path(), scene.dir.path(), &scene.path("absent")] {
        match work(path) {
            Err(Error::NoRepository { path: named }) => assert_eq!(named, path),
            other => panic!("{other:?}"),
        }
    }
    let absent = "0123456789012345678901234567890123456789";
    let out = scene.path("out");
    fs::create_dir(&out).unwrap();
    match checkout(&scene.work(), absent, &out) {
        Err(Error::NoCommit { commit, .. }) => assert_eq!(commit, absent),
        other => panic!("{other:?}"),
    }
    // The digits of a tree and of a file are none of a commit.
    for name in ["HEAD^{tree}", "HEAD:a"] {
        let digits = scene.git(&["rev-parse", name]);
        assert_eq!(resolve(&scene.work(), &digits).unwrap(), None, "{name}");
    }
    assert!(matches!(resolve(&scene.work(), "--all"), Err(Error::Name { .. })));
    assert_eq!(resolve(&scene.work(), "HEAD").unwrap(), Some(commit));

    let into = scene.path("mirror");
    let error = mirror(&format!("file://{}/absent", scene.dir.path().display()), &into).unwrap_err();
    assert!(error.to_string().contains("git could not clone file:///"), "{error}");
    assert!(error.to_string().contains("absent"), "{error}");
    assert!(matches!(mirror("ext::sh -c true", &into), Err(Error::Name { .. })));
    assert_eq!(names(scene.dir.path()), ["out", "work"], "nothing half done is left");
}

#[test]
fn a_clone_that_was_killed_is_done_again() {
    let scene = Scene::new();
    let commit = scene.commit("a", "1");
    let into = scene.path("mirror");
    fs::create_dir_all(scene.path("mirror.new/objects")).unwrap();
    fs::write(scene.path("mirror.new/HEAD"), "half").unwrap();
    mirror(&scene.url(), &into).unwrap();
    assert_eq!(resolve(&into, &commit).unwrap(), Some(commit));
    assert_eq!(names(scene.dir.path()), ["mirror", "work"]);
}
