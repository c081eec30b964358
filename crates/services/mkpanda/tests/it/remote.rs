//! Packages from repositories.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;

use crate::scene::Scene;

/// Serves a folder, `None` for what is not there; gives its URL. It ends with the test's process.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let path = lines.next().unwrap().unwrap().split(' ').nth(1).unwrap()[1..].to_owned();
            while !lines.next().unwrap().unwrap().is_empty() {}
            let (status, body) = match fs::read(folder.join(path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    url
}

#[test]
fn what_the_repository_has_is_not_built_unless_it_is_broken() {
    let Some(theirs) = Scene::new() else { return };
    let mine = Scene::new().unwrap();
    for scene in [&theirs, &mine] {
        scene.package("a", "", "touch $PKG_PATH/a\n");
        scene.package("b", r#""requires": ["a"]"#, "touch $PKG_PATH/b\n");
        scene.write("treeinfo.json", "{}");
    }
    theirs.run("a", &[]).good();
    let url = serve(theirs.cache());
    let said = mine.run("", &["tree", "--repository-url", &format!("{url}/")]).good();
    let a = theirs.latest("a");
    assert!(
        said.err.contains(&format!("a: {a} is downloaded")) && said.err.contains("b: building"),
        "{}",
        said.err
    );
    assert_eq!(fs::read(mine.tarball("a")).unwrap(), fs::read(theirs.tarball("a")).unwrap());
    assert!(mine.cache().join(format!("packages/a/{a}.spdx.json")).exists());
    // From a folder, and cut off: it is built instead.
    let tarball = theirs.tarball("a");
    let bytes = fs::read(&tarball).unwrap();
    let file = format!("--repository-url=file://{}", theirs.cache().display());
    for broken in [&bytes[..bytes.len() / 2], b"no xz at all"] {
        fs::write(&tarball, broken).unwrap();
        fs::remove_dir_all(mine.cache().join("packages")).unwrap();
        let said = mine.run("a", &[&file]).good();
        assert!(said.err.contains("a: WARNING: not taken from the repository"), "{}", said.err);
        assert!(said.err.contains("is built"), "{}", said.err);
        assert_eq!(fs::read(mine.tarball("a")).unwrap(), bytes);
    }
    // Nobody there: built, too.
    fs::remove_dir_all(mine.cache().join("packages")).unwrap();
    let said = mine.run("a", &["--repository-url=http://127.0.0.1:1"]).good();
    assert!(said.err.contains("WARNING") && said.err.contains("is built"), "{}", said.err);
}

#[test]
fn a_package_under_the_id_of_another_one_is_not_taken() {
    let Some(theirs) = Scene::new() else { return };
    let mine = Scene::new().unwrap();
    theirs.package("a", "", "touch $PKG_PATH/a\n");
    theirs.run("a", &[]).good();
    let check = |info: &str, script: &str, expect: &str| {
        mine.package("a", info, script);
        mine.run("a", &[]).good();
        // What the repository has under its id is the other one.
        let id = mine.latest("a");
        fs::copy(theirs.tarball("a"), theirs.cache().join(format!("packages/a/{id}.tar.xz"))).unwrap();
        fs::remove_dir_all(mine.cache().join("packages")).unwrap();
        let said = mine.run("a", &[&format!("--repository-url={}", theirs.cache().display())]).good();
        let warning = format!("{expect} is not the one of {id}");
        assert!(said.err.contains(&warning) && said.err.contains("is built"), "{}", said.err);
    };
    check(r#""environment": {"A": "1"}"#, "touch $PKG_PATH/a\n", "its pkginfo.json");
    check("", "touch $PKG_PATH/b\n", "package_version in its buildinfo.full.json");
}

#[test]
fn links_in_a_package_lead_to_no_file_of_this_machine() {
    let Some(scene) = Scene::new() else { return };
    scene.package("a", "", "touch $PKG_PATH/a\n");
    scene.run("a", &[]).good();
    let (id, secret) = (scene.latest("a"), scene.root().join("secret"));
    fs::write(&secret, "{}").unwrap();
    let package = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&secret, package.path().join("pkginfo.json")).unwrap();
    let theirs = tempfile::tempdir().unwrap();
    let tarball = theirs.path().join(format!("packages/a/{id}.tar.xz"));
    fs::create_dir_all(tarball.parent().unwrap()).unwrap();
    let mut tar = std::process::Command::new("tar");
    assert!(tar.arg("-C").arg(package.path()).arg("-cJf").arg(&tarball).arg(".").status().unwrap().success());
    fs::remove_dir_all(scene.cache().join("packages")).unwrap();
    let said = scene.run("a", &[&format!("--repository-url={}", theirs.path().display())]).good();
    assert!(said.err.contains("pkginfo.json is no file") && said.err.contains("is built"), "{}", said.err);
}
