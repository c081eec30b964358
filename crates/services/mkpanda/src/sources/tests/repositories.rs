use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use mkpanda_core::SourceId;

use super::{Scene, listed, names};

/// A repository at `upstream` of a scene.
struct Upstream<'a>(&'a Scene);

impl Upstream<'_> {
    fn new(scene: &Scene) -> Upstream<'_> {
        let upstream = Upstream(scene);
        fs::create_dir_all(upstream.path()).unwrap();
        upstream.git(&["init", "--quiet", "--initial-branch=main"]);
        upstream
    }

    fn path(&self) -> PathBuf {
        self.0.path("packages/upstream")
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.path()).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "a").env(format!("GIT_{role}_EMAIL"), "a@test");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, text: &str) -> String {
        fs::write(self.path().join("file"), text).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", text]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn source(&self, commit: &str) -> String {
        let url = self.path();
        format!(
            r#"{{"kind": "git", "git": "file://{}", "ref": "{commit}", "ref_origin": "main"}}"#,
            url.display()
        )
    }
}

#[test]
fn a_commit_is_cloned_once_and_had_without_its_repository() {
    let scene = Scene::new();
    let upstream = Upstream::new(&scene);
    symlink("file", upstream.path().join("link")).unwrap();
    let first = upstream.commit("1");
    let source = upstream.source(&first);
    assert_eq!(scene.id(&source).unwrap(), SourceId::Commit(first.clone()));
    assert!(!scene.cached("").exists(), "an id asks nobody");
    let said = scene.checkout(&source).unwrap();
    assert!(said.len() == 1 && said[0].starts_with("cloning file:"), "{said:?}");
    assert_eq!(names(&scene.out("")), ["file", "link"]);
    let listing = listed(&scene.out(""));
    assert_eq!(names(&scene.cached("")), ["cache.git"]);

    // The branch moves on: what is built stays.
    let second = upstream.commit("2");
    let said = scene.checkout(&source).unwrap();
    let warning = said.join("\n");
    assert!(warning.contains(&format!("WARNING: main of file://{} is {second}", upstream.path().display())));
    assert_eq!(listed(&scene.out("")), listing);
    assert_eq!(scene.checkout(&upstream.source(&second)).unwrap(), [""; 0]);

    // And without the repository, too.
    fs::rename(upstream.path(), scene.path("gone")).unwrap();
    let said = scene.checkout(&source).unwrap().join("\n");
    assert!(said.contains("could not be asked whether main has moved"), "{said}");
    assert_eq!(listed(&scene.out("")), listing);
}

#[test]
fn commits_and_branches_that_are_not_there_are_named() {
    let scene = Scene::new();
    let upstream = Upstream::new(&scene);
    let commit = upstream.commit("1");
    let absent = "0123456789012345678901234567890123456789";
    let url = format!("file://{}", upstream.path().display());
    scene.check_fails(&upstream.source(absent), &["source s (git)", &url, "has no commit", absent]);
    let tree = upstream.git(&["rev-parse", "HEAD^{tree}"]);
    scene.check_fails(&upstream.source(&tree), &["source s (git)", "has no commit", &tree]);
    let said = scene.checkout(&upstream.source(&commit).replace("main", "other")).unwrap();
    assert!(said.join("\n").contains("has no other, which source s names"), "{said:?}");
    let gone = r#"{"kind": "git", "git": "file:///absent.git", "ref": "COMMIT", "ref_origin": "main"}"#;
    let other = Scene::new();
    other.check_fails(
        &gone.replace("COMMIT", absent),
        &["source s (git)", "git could not clone file:///absent.git"],
    );
    assert_eq!(names(&other.cached("")), [""; 0]);
}

#[test]
fn a_local_repository_must_be_clean() {
    let scene = Scene::new();
    let upstream = Upstream::new(&scene);
    let commit = upstream.commit("1");
    let source = r#"{"kind": "git_local", "rel_path": "../upstream"}"#;
    assert_eq!(scene.id(source).unwrap(), SourceId::Commit(commit));
    scene.checkout(source).unwrap();
    assert_eq!(names(&scene.out("")), ["file"]);

    fs::write(upstream.path().join("file"), "changed").unwrap();
    let error = scene.id(source).unwrap_err();
    assert!(error.contains("source s (git_local)") && error.contains("not committed"), "{error}");
    assert!(error.contains(" M file"), "{error}");
    for number in 0..7 {
        fs::write(upstream.path().join(format!("new{number}")), "").unwrap();
    }
    let error = scene.id(source).unwrap_err();
    assert!(error.contains("?? new3, and 3 more"), "{error}");
}

#[test]
fn a_local_folder_is_taken_as_it_is() {
    let scene = Scene::new();
    let folder = scene.path("packages/tool/files");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("sub/file"), "1").unwrap();
    let source = r#"{"kind": "local", "rel_path": "files"}"#;
    let id = scene.id(source).unwrap();
    assert_eq!(id, SourceId::Contents(crate::folder::folder_hash(&folder).unwrap()));
    scene.checkout(source).unwrap();
    assert_eq!(fs::read_to_string(scene.out("sub/file")).unwrap(), "1");
    fs::write(folder.join("sub/file"), "2").unwrap();
    assert_ne!(scene.id(source).unwrap(), id);

    let single = r#"{"kind": "local", "rel_path": "files/sub/file"}"#;
    scene.checkout(single).unwrap();
    assert_eq!(names(&scene.out("")), ["file"]);
}
