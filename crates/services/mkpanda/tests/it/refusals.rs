//! What is refused before anything is built.

use std::os::unix::process::CommandExt;

use crate::scene::{Said, Scene};

#[test]
fn wrong_command_lines_show_the_usage() {
    let Some(scene) = Scene::new() else { return };
    for line in [&["forest"][..], &["tree", "a", "b"], &["--jobs=0"], &["--re"], &["tree", "--recursive"]] {
        let said = scene.run("", line).bad(&["Usage:\n  mkpanda [--repository-url=<url>]"]);
        assert_eq!(said.out, "", "{line:?}");
    }
    let said = scene.run("", &["--help"]).good();
    assert!(said.out.starts_with("Usage:") && said.err.is_empty());
    assert_eq!(scene.run("", &["--version"]).good().out, "mkpanda 0.2\n");
}

#[test]
fn folders_that_cannot_be_built_are_refused_with_their_reason() {
    let Some(scene) = Scene::new() else { return };
    scene.run("", &[]).bad(&["Not a valid package folder. Didn't find any 'buildinfo.json' files."]);
    scene.run("", &["tree"]).bad(&["ERROR: there is no tree here: no file [VARIANT.]treeinfo.json"]);
    assert!(!scene.cache().join("packages").exists());
    scene.package("a", r#""requires": ["b"]"#, "");
    scene.package("b", r#""requires": ["a"]"#, "");
    scene.write("treeinfo.json", "{}");
    scene
        .run("", &["tree"])
        .bad(&["ERROR: tree <default>: packages require each other in a circle: a -> b -> a"]);
    scene.run("", &["tree", "x"]).bad(&["ERROR: there is no tree x here, only <default>"]);
    scene.run("a", &["--recursive"]).bad(&["ERROR: packages require each other in a circle"]);
    scene.package("a", r#""requires": ["bb"]"#, "");
    scene.run("", &["tree"]).bad(&["requires of a: there is no package bb (did you mean b?)"]);
    scene.package("a", r#""envronment": {}"#, "");
    scene.run("", &["tree"]).bad(&["a/buildinfo.json", "envronment", "environment"]);
    scene.write("a/buildinfo.json", r#"{"docker": "dcos-builder"}"#);
    scene.run("a", &[]).bad(&["ERROR: a: the image dcos-builder is not defined"]);
    scene.package("a", "", "");
    scene.run("a", &["--repository-url=ftp://x"]).bad(&["ERROR: --repository-url is \"ftp://x\""]);
}

#[test]
fn who_is_not_root_is_told_so_at_once() {
    let Some(scene) = Scene::new() else { return };
    scene.package("a", "", "");
    let mut command = scene.command("a", &[]);
    command.uid(65534).gid(65534);
    // Other users cannot read what belongs to the test.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(scene.root().parent().unwrap(), open).unwrap();
    match command.output() {
        Ok(output) => {
            Said::of(&output).bad(&["ERROR: packages are built in containers, which only root can make"]);
        }
        Err(error) => eprintln!("SKIP: nobody else may run the program of the tests: {error}"),
    }
    assert!(!scene.cache().exists());
}
