use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;
use crate::repository::tests::{package, tar, xz};

/// One answer: bytes that are sent before the connection closes.
type Reply = Box<dyn Fn(&str) -> Vec<u8> + Send>;

/// A server that gives these answers in turn, and keeps what it was asked.
struct Server {
    base: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(replies: Vec<Reply>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/repo", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            for reply in replies {
                let Ok((stream, _)) = listener.accept() else { return };
                let head = head(&stream);
                let mut stream = stream;
                let answer = reply(&head);
                kept.lock().unwrap().push(head);
                // The client may have heard enough.
                let _ = stream.write_all(&answer);
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        Server { base, asked }
    }

    /// What was asked, as far as it matters: target and range headers of each request.
    fn asked(&self) -> Vec<String> {
        let matters = |line: &&str| {
            let line = line.to_ascii_lowercase();
            line.starts_with("get ") || line.starts_with("range:") || line.starts_with("if-range:")
        };
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|head| head.lines().filter(matters).collect::<Vec<_>>().join("; ")).collect()
    }
}

fn head(stream: &TcpStream) -> String {
    let mut text = String::new();
    let mut reader = BufReader::new(stream);
    while !text.ends_with("\r\n\r\n") && reader.read_line(&mut text).unwrap_or(0) > 0 {}
    text
}

fn whole(headers: &str, body: &[u8]) -> Vec<u8> {
    answer("200 OK", headers, body.len(), body)
}

fn answer(status: &str, headers: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn reply(bytes: Vec<u8>) -> Reply {
    Box::new(move |_| bytes.clone())
}

fn quick() -> Fetcher {
    Fetcher { attempts: 3, pause: Duration::from_millis(1), ..Fetcher::default() }
}

fn id() -> PackageId {
    "a--1".parse().unwrap()
}

fn scene() -> (tempfile::TempDir, Repository) {
    let dir = tempfile::tempdir().unwrap();
    let repository = Repository::new(dir.path().join("packages"));
    (dir, repository)
}

fn tarball() -> Vec<u8> {
    xz(&tar(&package()))
}

/// Fetches, and gives the error's text or what is in the repository.
fn fetch(repository: &Repository, base: &str) -> Result<Vec<String>, String> {
    let origin = Origin::parse(base, repository.dir().parent().unwrap()).unwrap();
    let fetched = quick().fetch(repository, &origin, &id(), &mut |_, _| {});
    fetched.map_err(|error| base::with_causes(&error))?;
    Ok(repository.list().unwrap().iter().map(PackageId::to_string).collect())
}

fn downloads(repository: &Repository) -> usize {
    std::fs::read_dir(repository.dir().join(".downloads")).map_or(0, Iterator::count)
}

#[test]
fn a_package_comes_from_a_server_once() {
    let (_dir, repository) = scene();
    let server = Server::start(vec![reply(whole("ETag: \"x\"\r\n", &tarball()))]);
    let mut out = Vec::new();
    let origin = Origin::parse(&format!(" {}/ ", server.base), repository.dir()).unwrap();
    for _ in 0..2 {
        quick().fetch_all(&repository, &origin, &[id()], false, &mut out, &mut std::io::sink()).unwrap();
    }
    let expected =
        "\rFetching: a--1\rFetched: a--1\n\rFetching: a--1Package already added.\n\rFetched: a--1\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert_eq!(server.asked(), ["GET /repo/packages/a/a--1.tar.xz HTTP/1.1"]);
    assert_eq!(downloads(&repository), 0);
}

#[test]
fn directories_are_read_where_they_are() {
    let (dir, repository) = scene();
    let place = dir.path().join("mirror/packages/a");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("a--1.tar.xz"), tarball()).unwrap();
    assert_eq!(fetch(&repository, "mirror").unwrap(), ["a--1"]);
    repository.remove(&id(), &Default::default()).unwrap();
    let url = format!("file://{}/mirror/", dir.path().display());
    assert_eq!(fetch(&repository, &url).unwrap(), ["a--1"]);
    repository.remove(&id(), &Default::default()).unwrap();
    let error = fetch(&repository, "elsewhere").unwrap_err();
    let path = dir.path().join("elsewhere/packages/a/a--1.tar.xz");
    assert_eq!(error, format!("cannot open {}: No such file or directory (os error 2)", path.display()));
}

#[test]
fn no_status_but_200_and_206_is_a_package() {
    let check = |status: &str, requests: usize, expected: &str| {
        let (_dir, repository) = scene();
        let replies = (0..requests).map(|_| reply(answer(status, "", 2, b"no"))).collect();
        let server = Server::start(replies);
        let error = fetch(&repository, &server.base).unwrap_err();
        let url = format!("{}/packages/a/a--1.tar.xz", server.base);
        assert_eq!(error, format!("{url}: the server answered {status}: {expected}"));
        assert_eq!(server.asked().len(), requests, "{status}");
        assert_eq!(repository.list().unwrap(), []);
    };
    check("201 Created", 1, "only 200 and 206 bring a package; is the URL that of a repository?");
    check("206 Partial Content", 1, "only 200 and 206 bring a package; is the URL that of a repository?");
    check("300 Multiple Choices", 1, "only 200 and 206 bring a package; is the URL that of a repository?");
    check("404 Not Found", 1, "the repository does not have it; are URL and id right, and was it uploaded?");
    check(
        "403 Forbidden",
        1,
        "it demands a login: give it in the URL, as in https://USER:PASSWORD@HOST/PATH",
    );
    check("503 Service Unavailable", 3, "it has a problem of its own; try again later");
}

#[test]
fn small_files_are_read_whole_or_not_at_all() {
    let check = |replies: Vec<Vec<u8>>, expected: Result<&str, &str>| {
        let server = Server::start(replies.into_iter().map(reply).collect());
        let origin = Origin::parse(&server.base, "/".as_ref()).unwrap();
        let text =
            quick().small_text(&origin, "bootstrap/x.sha256").map_err(|error| base::with_causes(&error));
        match expected {
            Ok(expected) => assert_eq!(text.unwrap(), expected),
            Err(part) => {
                let error = text.unwrap_err();
                assert!(error.contains(&format!("{}/bootstrap/x.sha256", server.base)), "{error}");
                assert!(error.contains(part), "{error}");
            }
        }
    };
    check(vec![whole("", b"text")], Ok("text"));
    let busy = || answer("503 Service Unavailable", "", 0, b"");
    check(vec![busy(), busy(), whole("", b"later")], Ok("later"));
    check(vec![busy(), busy(), busy()], Err("503 Service Unavailable: it has a problem of its own"));
    check(vec![answer("404 Not Found", "", 0, b"")], Err("404 Not Found: the repository does not have it"));
    check(vec![whole("", &[b'x'; 4096])], Ok(&"x".repeat(4096)));
    check(vec![whole("", &[b'x'; 4097])], Err("has more than 4096 bytes"));
}

#[test]
fn what_broke_off_is_gone_on_with_also_by_the_next_process() {
    let (_dir, repository) = scene();
    let bytes = tarball();
    let etag = "ETag: \"v1\"\r\n";
    let (first, rest) = bytes.split_at(50);
    let (second, third) = rest.split_at(20);
    let range =
        |from: usize| format!("{etag}Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
    let broken = answer("200 OK", etag, bytes.len(), first);
    let nothing = || reply(answer("206 Partial Content", &range(70), third.len(), b""));
    let server = Server::start(vec![
        reply(broken),
        reply(answer("206 Partial Content", &range(50), rest.len(), second)),
        nothing(),
        nothing(),
        reply(answer("206 Partial Content", &range(70), third.len(), third)),
    ]);
    let error = fetch(&repository, &server.base).unwrap_err();
    assert!(error.contains("broke off after 0 bytes"), "{error}");
    assert!(error.ends_with("; what came is kept, and fetching again goes on from there"), "{error}");
    assert_eq!(repository.list().unwrap(), []);
    assert_eq!(fetch(&repository, &server.base).unwrap(), ["a--1"]);
    let asked = server.asked();
    let ranges: Vec<&str> =
        asked.iter().map(|asked| asked.split_once("; ").map_or("", |(_, range)| range)).collect();
    let (at_50, at_70) = ("range: bytes=50-; if-range: \"v1\"", "range: bytes=70-; if-range: \"v1\"");
    let ranges: Vec<String> = ranges.iter().map(|range| range.to_ascii_lowercase()).collect();
    assert_eq!(ranges, ["", at_50, at_70, at_70, at_70]);
    assert_eq!(downloads(&repository), 0);
}

#[test]
fn another_file_at_the_server_is_taken_from_its_beginning() {
    let bytes = tarball();
    let broken = || reply(answer("200 OK", "ETag: \"v1\"\r\n", bytes.len() + 9, &[7; 60]));
    let check = |replies: Vec<Reply>| {
        let (_dir, repository) = scene();
        let server = Server::start(replies);
        assert_eq!(fetch(&repository, &server.base).unwrap(), ["a--1"], "{:?}", server.asked());
    };
    // The server knows that it is another.
    check(vec![broken(), reply(whole("ETag: \"v2\"\r\n", &bytes))]);
    // The server only knows that it is shorter.
    check(vec![broken(), reply(answer("416 Range Not Satisfiable", "", 0, b"")), reply(whole("", &bytes))]);
    // The server takes the range of a file of another size.
    let other = "Content-Range: bytes 60-99/100\r\n";
    check(vec![
        broken(),
        reply(answer("206 Partial Content", other, 40, &[7; 40])),
        reply(whole("", &bytes)),
    ]);
    // The server cannot tell.
    check(vec![
        reply(answer("200 OK", "ETag: W/\"v1\"\r\n", bytes.len(), &[7; 60])),
        reply(whole("", &bytes)),
    ]);
}

#[test]
fn what_is_no_package_is_told_and_taken_anew_the_next_time() {
    let (_dir, repository) = scene();
    let server = Server::start(vec![
        reply(whole("ETag: \"v1\"\r\n", b"<html>a login page</html>")),
        reply(whole("ETag: \"v1\"\r\n", &tarball())),
    ]);
    let error = fetch(&repository, &server.base).unwrap_err();
    let expected = "/packages/a/a--1.tar.xz: a--1: the tarball is not compressed with xz (it is no compressed file that \
        is known); the file was removed: build or upload the package anew";
    assert!(error.ends_with(expected), "{error}");
    assert_eq!(downloads(&repository), 0);
    assert_eq!(fetch(&repository, &server.base).unwrap(), ["a--1"]);
}

#[test]
fn the_first_failure_ends_a_fetch_and_a_dead_server_is_named() {
    let (_dir, repository) = scene();
    // Nobody listens on this port.
    let address = "127.0.0.1:1";
    let origin = Origin::parse(&format!("http://{address}"), repository.dir()).unwrap();
    let mut out = Vec::new();
    let ids = [id(), "b--1".parse().unwrap()];
    let error =
        quick().fetch_all(&repository, &origin, &ids, false, &mut out, &mut std::io::sink()).unwrap_err();
    let error = base::with_causes(&error);
    assert_eq!(String::from_utf8(out).unwrap(), "\rFetching: a--1\n");
    assert!(
        error.starts_with(&format!("http://{address}/packages/a/a--1.tar.xz: cannot connect to {address}")),
        "{error}"
    );
    assert!(error.ends_with("is the server up, and is it reached from this machine?"), "{error}");
}
