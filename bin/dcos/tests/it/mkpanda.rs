//! The program as `mkpanda`; what it builds its own crate tests.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use crate::apps::DCOS;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn mkpanda_is_there_by_its_name_and_as_first_word() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("mkpanda");
    symlink(Path::new(DCOS), &link).unwrap();
    let in_folder = |command: &mut Command| -> Output { command.current_dir(dir.path()).output().unwrap() };
    let named = in_folder(Command::new(&link).arg("--version"));
    let worded = in_folder(Command::new(DCOS).args(["mkpanda", "--version"]));
    assert_eq!(text(&named.stdout), "mkpanda 0.2\n");
    assert_eq!(text(&worded.stdout), text(&named.stdout));
    let refused = in_folder(Command::new(DCOS).args(["mkpanda", "forest"]));
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).starts_with("forest: there is no such command\nUsage:\n  mkpanda "));
}

#[test]
fn a_package_is_built_by_the_one_program() {
    if !host::is_root() {
        eprintln!("SKIP: builds need root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("docker/tiny/root/bin");
    let package = dir.path().join("packages/p");
    for path in [&bin, &package] {
        fs::create_dir_all(path).unwrap();
    }
    // A shell that is one file, and so this program's own helper has to do the rest.
    let busybox = ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    fs::copy(busybox.expect("busybox-static is installed"), bin.join("sh")).unwrap();
    let shell = bin.join("bash");
    fs::write(&shell, "#!/bin/sh\nexec sh \"$@\"\n").unwrap();
    fs::set_permissions(&shell, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("docker/tiny/image.json"), r#"{"debian": []}"#).unwrap();
    fs::write(package.join("buildinfo.json"), r#"{"docker": "tiny"}"#).unwrap();
    fs::write(package.join("build"), "echo it is $PKG_NAME > $PKG_PATH/file\n").unwrap();
    let built = Command::new(DCOS).arg("mkpanda").current_dir(&package).output().unwrap();
    assert!(built.status.success(), "{}", text(&built.stderr));
    let out = text(&built.stdout);
    let tarball = out.trim_end().rsplit(':').next().unwrap();
    let listed = Command::new("tar").args(["-xOf", tarball, "./file"]).output().unwrap();
    assert_eq!(text(&listed.stdout), "it is p\n");
}
