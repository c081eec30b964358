//! One program by several names: a link to it is the command it is named after, and so is its first word.

use std::process::{Command, Output, Stdio};

use crate::apps::DCOS;

/// What both ways of calling pkgpanda come to, which has to be the same.
#[track_caller]
fn check(words: &[&str], code: i32, out: &str, err: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(DCOS, dir.path().join("pkgpanda")).unwrap();
    std::fs::create_dir_all(dir.path().join("packages/mesos--1.11.0")).unwrap();
    let run = |command: &mut Command| -> Output {
        command.args(words).current_dir(dir.path()).stdin(Stdio::null()).output().unwrap()
    };
    for ran in [run(&mut Command::new(dir.path().join("pkgpanda"))), run(Command::new(DCOS).arg("pkgpanda"))]
    {
        assert_eq!(ran.status.code(), Some(code), "{words:?}: {ran:?}");
        let (found_out, found_err) =
            (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(found_out.starts_with(out) && out.is_empty() == found_out.is_empty(), "{words:?}: {ran:?}");
        assert!(found_err.starts_with(err) && err.is_empty() == found_err.is_empty(), "{words:?}: {ran:?}");
    }
}

#[test]
fn pkgpanda_by_its_name_and_as_first_word() {
    check(&["list", "--repository=packages", "--root=root"], 0, "mesos--1.11.0\n", "");
    check(&["active", "--root=root"], 1, "", "ERROR: Install directory ");
    check(&["--help"], 0, "Host packages of DC/OS", "");
    check(&["--version"], 1, "", "--version is not an option\nUsage:\n  pkgpanda activate");
    check(&[], 1, "", "Usage:\n  pkgpanda activate");
}

#[test]
fn a_reader_that_goes_away_ends_pkgpanda_in_silence() {
    let mut child = Command::new(DCOS)
        .args(["pkgpanda", "--help"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert!(ended.stderr.is_empty(), "{ended:?}");
}
