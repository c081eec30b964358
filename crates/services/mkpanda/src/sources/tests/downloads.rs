use std::fs;

use api_pkgpanda::hash::content;
use mkpanda_core::SourceId;

use super::server::{Answer, Server};
use super::{Scene, names};

fn source(url: &str, bytes: &[u8]) -> String {
    format!(r#"{{"kind": "url", "url": "{url}", "sha1": "{}"}}"#, content(bytes))
}

/// More than one write.
fn large() -> Vec<u8> {
    (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn a_file_is_fetched_once() {
    let (scene, bytes) = (Scene::new(), b"#!/bin/sh\n".to_vec());
    let server = Server::new(vec![Answer::Moved("/elsewhere"), Answer::File(bytes.clone())]);
    let source = source(&server.url("/a/tool.sh?x=y"), &bytes);
    assert_eq!(scene.id(&source).unwrap(), SourceId::DownloadedSha1(content(&bytes)));
    assert_eq!(server.requests(), [""; 0], "an id asks nobody");
    for _ in 0..2 {
        scene.checkout(&source).unwrap();
        assert_eq!(fs::read(scene.out("tool.sh")).unwrap(), bytes);
        assert_eq!(names(&scene.cached("")), ["tool.sh"]);
    }
    assert_eq!(server.requests(), ["GET /a/tool.sh?x=y", "GET /elsewhere"]);
}

#[test]
fn a_file_of_this_machine_is_taken_by_its_url() {
    let scene = Scene::new();
    fs::write(scene.path("packages/tool/here"), "here").unwrap();
    scene.checkout(&source("file://here", b"here")).unwrap();
    assert_eq!(fs::read(scene.out("here")).unwrap(), b"here");
    let url = format!("file://{}", scene.path("there").display());
    scene.check_fails(&source(&url, b"there"), &["source s (url)", "copy", "/there", "No such file"]);
    fs::write(scene.path("there"), "there").unwrap();
    scene.checkout(&source(&url, b"there")).unwrap();
    assert_eq!(fs::read(scene.out("there")).unwrap(), b"there");
}

#[test]
fn another_file_of_the_same_name_takes_the_place_of_the_old_one() {
    let scene = Scene::new();
    let server = Server::new(vec![Answer::File(b"old".into()), Answer::File(b"new".into())]);
    for text in ["old", "new"] {
        scene.checkout(&source(&server.url("/file"), text.as_bytes())).unwrap();
        assert_eq!(fs::read_to_string(scene.out("file")).unwrap(), text);
    }
    assert_eq!(names(&scene.cached("")), ["file"]);
}

#[test]
fn a_broken_download_goes_on() {
    let (scene, bytes) = (Scene::new(), large());
    let half = bytes.len() / 2;
    let server =
        Server::new(vec![Answer::Cut(bytes.clone(), half), Answer::Status(503), Answer::File(bytes.clone())]);
    scene.checkout(&source(&server.url("/large"), &bytes)).unwrap();
    assert_eq!(fs::read(scene.out("large")).unwrap(), bytes);
    let again = format!("GET /large from {half}");
    assert_eq!(server.requests(), ["GET /large".to_owned(), again.clone(), again]);
}

#[test]
fn what_a_killed_run_has_fetched_is_not_fetched_again() {
    let (scene, bytes) = (Scene::new(), large());
    let sha1 = content(&bytes);
    let check = |part: &[u8], answers: Vec<Answer>, expected: &[&str]| {
        let server = Server::new(answers);
        host::remove_tree(&scene.cached("")).unwrap();
        fs::create_dir_all(scene.cached("")).unwrap();
        fs::write(scene.cached(&format!("large.{sha1}.part")), part).unwrap();
        scene.checkout(&source(&server.url("/large"), &bytes)).unwrap();
        assert_eq!(fs::read(scene.out("large")).unwrap(), bytes);
        assert_eq!(server.requests(), expected);
        assert_eq!(names(&scene.cached("")), ["large"]);
    };
    let file = || Answer::File(bytes.clone());
    check(&bytes[..1000], vec![file()], &["GET /large from 1000"]);
    // All of it was there, or more than all.
    let all = format!("GET /large from {}", bytes.len());
    check(&bytes, vec![file()], &[&all]);
    let more = [&bytes[..], b"more"].concat();
    check(&more, vec![file()], &[&format!("GET /large from {}", more.len()), "GET /large"]);
    // Something else, which only its hash tells.
    check(b"other", vec![file()], &["GET /large from 5", "GET /large"]);
    // A server that knows no ranges.
    check(b"other", vec![Answer::Whole(bytes.clone())], &["GET /large from 5"]);
}

#[test]
fn what_is_not_what_was_expected_is_kept_aside() {
    let scene = Scene::new();
    let server = Server::new(vec![Answer::File(b"evil".into()), Answer::File(b"good".into())]);
    let source = source(&server.url("/file"), b"good");
    let (expected, found) = (content(b"good"), content(b"evil"));
    scene.check_fails(&source, &["source s (url)", "/file has the SHA-1", &expected, &found, "file.corrupt"]);
    assert_eq!(names(&scene.cached("")), ["file.corrupt"]);
    assert_eq!(fs::read(scene.cached("file.corrupt")).unwrap(), b"evil");
    scene.checkout(&source).unwrap();
    assert_eq!(fs::read(scene.out("file")).unwrap(), b"good");
}

#[test]
fn servers_that_fail_are_asked_a_few_times_and_those_that_refuse_once() {
    let scene = Scene::new();
    let check = |status: u16, expected: usize| {
        let server = Server::new(vec![Answer::Status(status)]);
        let attempts = format!("after {expected} attempts");
        scene.check_fails(
            &source(&server.url("/f"), b""),
            &["source s (url)", &status.to_string(), &attempts],
        );
        assert_eq!(server.requests().len(), expected);
    };
    check(404, 1);
    check(403, 1);
    check(503, 5);
}
