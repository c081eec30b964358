use std::fs;
use std::path::PathBuf;

use api_mesos::mode_text;

use super::listing::list;
use super::{Files, FilesError, text_of};

/// An agent's directory with one sandbox in it, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("files-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let runs = dir.join("slaves/S0/frameworks/f/executors/e/runs");
        fs::create_dir_all(runs.join("c1/sub")).unwrap();
        fs::create_dir_all(runs.join("c10")).unwrap();
        fs::create_dir_all(dir.join("meta/slaves")).unwrap();
        std::os::unix::fs::symlink("S0", dir.join("meta/slaves/latest")).unwrap();
        std::os::unix::fs::symlink("c1", runs.join("latest")).unwrap();
        fs::write(runs.join("c1/stdout"), "hello\n").unwrap();
        fs::write(runs.join("c10/secret"), "x").unwrap();
        Dir(fs::canonicalize(dir).unwrap())
    }

    fn sandbox(&self) -> PathBuf {
        self.0.join("slaves/S0/frameworks/f/executors/e/runs/c1")
    }

    fn files(&self) -> Files {
        Files::new(self.0.clone(), Some(self.sandbox().join("stdout")))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn outcome(files: &Files, path: &str) -> &'static str {
    match files.resolve(path).and_then(|found| found.open("read")) {
        Ok(_) => "file",
        Err(FilesError::Invalid(reason)) if reason == "Cannot read a directory.\n" => "directory",
        Err(FilesError::Invalid(reason)) if reason.ends_with("is inaccessible.\n") => "inaccessible",
        Err(FilesError::Invalid(reason)) if reason.contains("regular file") => "special",
        Err(FilesError::NotFound) => "none",
        Err(error) => panic!("{path}: {error:?}"),
    }
}

#[test]
fn ma62_sandboxes_are_found_by_both_names_and_nothing_else_is() {
    let dir = Dir::new("names");
    let (files, sandbox) = (dir.files(), dir.sandbox().display().to_string());
    let check = |path: &str, expect| assert_eq!(outcome(&files, path), expect, "{path}");
    check(&format!("{sandbox}/stdout"), "file");
    check(&sandbox, "directory");
    check(&format!("{sandbox}/"), "directory");
    check(&format!("{sandbox}/sub"), "directory");
    check("/frameworks/f/executors/e/runs/latest/stdout", "file");
    check("frameworks/f/executors/e/runs/latest/stdout", "file");
    check("/slave/log", "file");
    check(&format!("{sandbox}/nothing"), "none");
    check(&format!("{sandbox}/stdout/below"), "none");
    check(&dir.0.join("meta/slaves/latest").display().to_string(), "none");
    check(&dir.0.join("slaves/S0").display().to_string(), "none");
    check("/etc/passwd", "none");
    check("/", "none");
    check("/frameworks/f/../f/executors/e/runs/latest/stdout", "none");
}

#[test]
fn a_sandbox_is_not_left() {
    let dir = Dir::new("escape");
    let (files, sandbox) = (dir.files(), dir.sandbox());
    std::os::unix::fs::symlink("/etc", sandbox.join("etc")).unwrap();
    std::os::unix::fs::symlink(sandbox.join("stdout"), sandbox.join("inside")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        sandbox.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let text = sandbox.display().to_string();
    let check = |path: &str, expect| assert_eq!(outcome(&files, &format!("{text}/{path}")), expect, "{path}");
    check("etc/passwd", "inaccessible");
    check("../../../../../../../../../../../../../../etc/passwd", "inaccessible");
    check("../c10/secret", "inaccessible");
    check("sub/../stdout", "file");
    check("inside", "file");
    check("pipe", "special");
}

#[test]
fn a_link_put_there_after_the_look_is_not_followed() {
    let dir = Dir::new("race");
    let sandbox = dir.sandbox();
    let found = dir.files().resolve(&sandbox.join("stdout").display().to_string()).unwrap();
    fs::remove_file(sandbox.join("stdout")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", sandbox.join("stdout")).unwrap();
    assert!(matches!(found.open("read"), Err(FilesError::NotFound)));
}

#[test]
fn a_link_put_in_the_place_of_a_directory_is_not_listed() {
    let dir = Dir::new("listing-race");
    let path = dir.sandbox().join("sub").display().to_string();
    let found = dir.files().resolve(&path).unwrap();
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("/etc", &path).unwrap();
    assert_eq!(list(&found, &path).unwrap(), []);
}

#[test]
fn a_listing_names_what_is_there() {
    let dir = Dir::new("list");
    let (files, sandbox) = (dir.files(), dir.sandbox());
    std::os::unix::fs::symlink("/etc/passwd", sandbox.join("outside")).unwrap();
    std::os::unix::fs::symlink("/none", sandbox.join("broken")).unwrap();
    let asked = "/frameworks/f/executors/e/runs/latest";
    let listed = list(&files.resolve(asked).unwrap(), asked).unwrap();
    let shown: Vec<(String, char)> = listed
        .iter()
        .map(|info| {
            let name = info.path.strip_prefix(asked).unwrap().to_owned();
            (name, mode_text(info.mode()).chars().next().unwrap())
        })
        .collect();
    let expect = [("/outside", 'l'), ("/stdout", '-'), ("/sub", 'd')];
    assert_eq!(shown, expect.map(|(name, kind)| (name.to_owned(), kind)));
    assert_eq!(listed[1].size, Some(6));
}

#[test]
fn ma62_a_cut_character_waits_for_the_next_read() {
    let bytes = "aé".as_bytes();
    assert_eq!(text_of(&bytes[..2], false), "a");
    assert_eq!(text_of(&bytes[..2], true), "a\u{fffd}");
    assert_eq!(text_of(bytes, true), "aé");
    assert_eq!(text_of(b"a\xffb", false), "a\u{fffd}b");
}
