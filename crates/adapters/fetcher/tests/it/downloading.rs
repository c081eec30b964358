//! What servers do to a download.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use fetcher::{Step, Uri};

use crate::server::{Answer, Server, promise, response};
use crate::{Kit, noise, uri};

/// A server that has `bytes` and answers ranges of them, but breaks off each answer after `piece`.
async fn breaking(bytes: Vec<u8>, piece: usize, headers: &'static str) -> Server {
    Server::start(move |head, _| {
        let begin = head.first_byte().unwrap_or(0);
        let end = (begin + piece).min(bytes.len());
        let (status, range) = match head.first_byte() {
            Some(begin) => (
                "206 Partial Content",
                format!("Content-Range: bytes {begin}-{}/{}\r\n", bytes.len() - 1, bytes.len()),
            ),
            None => ("200 OK", String::new()),
        };
        Answer::Close(promise(status, &format!("{headers}{range}"), bytes.len() - begin, &bytes[begin..end]))
    })
    .await
}

#[tokio::test]
async fn a_file_comes_with_its_name_and_mode() {
    let kit = Kit::new();
    let server =
        Server::start(|head, _| Answer::Close(response("200 OK", "", format!("this is {}", head.path))))
            .await;
    let uris = [
        uri(server.url("/x/plain")),
        Uri { executable: true, ..uri(server.url("/program.tgz")) },
        Uri { output_file: Some("a/b/named".into()), ..uri(server.url("/x?y=z")) },
        uri(server.url("/query?v=1")),
    ];
    kit.fetch(&uris).await.unwrap();
    assert_eq!(kit.read("plain"), "this is /x/plain");
    assert_eq!(kit.read("a/b/named"), "this is /x?y=z");
    assert_eq!(kit.read("query?v=1"), "this is /query?v=1");
    let mode = |name: &str| fs::metadata(kit.sandbox().join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("plain"), mode("program.tgz"), mode("a/b/named")), (0o644, 0o755, 0o644));
    assert!(kit.names(&kit.cache()).is_empty());
    let told = kit.told.lock().unwrap().clone();
    assert!(told.iter().all(|progress| progress.step == Step::Download && progress.count == 4));
    let last = told.last().unwrap();
    assert_eq!((last.number, last.bytes, last.total), (4, 18, Some(18)));
    assert_eq!(last.uri, server.url("/query?..."));
}

#[tokio::test]
async fn refusals_are_told_at_once_and_outages_after_retries() {
    let server = Server::start(|head, _| match &*head.path {
        "/none" => Answer::Close(response("404 Not Found", "", "no such thing")),
        "/private" => Answer::Close(response("401 Unauthorized", "", "")),
        "/down" => Answer::Close(response("503 Service Unavailable", "", "")),
        "/mute" => Answer::Close(Vec::new()),
        _ => Answer::Close(b"220 ftp\r\n".to_vec()),
    })
    .await;
    for (path, expect, requests) in [
        ("/none", "the server answered 404 Not Found", 1),
        ("/private", "the server answered 401 Unauthorized", 1),
        ("/down", "the server answered 503 Service Unavailable (tried 3 times)", 3),
        ("/mute", "the connection broke before an answer: ", 3),
        ("/noise", "the connection broke before an answer: ", 3),
    ] {
        let kit = Kit::new();
        let before = server.requests();
        // The credentials are not shown.
        let url = server.url(path).replace("http://", "http://me:secret@");
        let error = kit.fetch(&[uri(url)]).await.unwrap_err();
        assert!(error.starts_with(&format!("cannot fetch {}: {expect}", server.url(path))), "{error}");
        assert_eq!(server.requests() - before, requests, "{path}");
        assert_eq!(error.ends_with(" (tried 3 times)"), requests == 3, "{error}");
        assert!(kit.names(&kit.sandbox()).is_empty());
        kit.check_no_parts();
    }
    let gone = server.url("/x");
    drop(server);
    let error = Kit::new().fetch(&[uri(&*gone)]).await.unwrap_err();
    assert!(error.starts_with(&format!("cannot fetch {gone}: cannot connect to 127.64.")), "{error}");
    assert!(error.ends_with("Connection refused (os error 111) (tried 3 times)"), "{error}");
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let bytes = noise(1_000_000);
    for validator in ["ETag: \"v1\"\r\n", "Last-Modified: Sun, 22 Nov 2026 10:00:00 GMT\r\n"] {
        let kit = Kit::new();
        let server = breaking(bytes.clone(), 300_000, validator).await;
        kit.fetch(&[uri(server.url("/x"))]).await.unwrap();
        assert!(fs::read(kit.sandbox().join("x")).unwrap() == bytes);
        let ranges = server.ranges();
        assert_eq!(ranges, ["", "bytes=300000-", "bytes=600000-", "bytes=900000-"], "{validator}");
    }
}

#[tokio::test]
async fn without_a_strong_validator_it_begins_anew_and_gives_up() {
    for validator in ["", "ETag: W/\"weak\"\r\n"] {
        let kit = Kit::new();
        let server = breaking(noise(1000), 300, validator).await;
        let error = kit.fetch(&[uri(server.url("/x"))]).await.unwrap_err();
        assert!(error.contains("the download broke off after 300 bytes of 1000: "), "{error}");
        assert!(error.ends_with("(tried 3 times)"), "{error}");
        assert_eq!(server.ranges(), ["", "", ""]);
        assert!(kit.names(&kit.sandbox()).is_empty());
        kit.check_no_parts();
    }
}

#[tokio::test]
async fn a_content_that_changes_meanwhile_is_never_put_together() {
    let kit = Kit::with(|config| config.retries = 3);
    let (old, new) = (noise(1000), vec![b'n'; 900]);
    let expect = new.clone();
    let server = Server::start(move |head, number| {
        Answer::Close(match (number, head.first_byte()) {
            (0, _) => promise("200 OK", "ETag: \"1\"\r\n", 1000, &old[..400]),
            // If-Range does not match: the whole new one.
            (1, Some(400)) => {
                assert_eq!(head.header("if-range"), "\"1\"");
                promise("200 OK", "ETag: \"2\"\r\n", 900, &new[..100])
            }
            // A server that ignores If-Range, and gives another tag than it began with.
            (2, Some(100)) => response(
                "206 Partial Content",
                "ETag: \"3\"\r\nContent-Range: bytes 100-899/900\r\n",
                &new[100..],
            ),
            (3, None) => response("200 OK", "ETag: \"3\"\r\n", &new),
            (number, range) => panic!("request {number} for {range:?}"),
        })
    })
    .await;
    kit.fetch(&[uri(server.url("/x"))]).await.unwrap();
    assert!(fs::read(kit.sandbox().join("x")).unwrap() == expect);
}

#[tokio::test]
async fn a_content_that_changes_again_and_again_is_given_up() {
    let kit = Kit::new();
    let server = Server::start(|head, number| {
        let tag = format!("ETag: \"{number}\"\r\nContent-Range: bytes 4-9/10\r\n");
        Answer::Close(match head.first_byte() {
            None => promise("200 OK", &tag, 10, b"0123"),
            Some(_) => response("206 Partial Content", &tag, "456789"),
        })
    })
    .await;
    let error = kit.fetch(&[uri(server.url("/x"))]).await.unwrap_err();
    // The last of the three attempts began anew, and broke off as the first did.
    assert!(error.contains("the download broke off after 4 bytes of 10"), "{error}");
    assert_eq!(server.requests(), 3);
    let kit = Kit::with(|config| config.retries = 3);
    let error = kit.fetch(&[uri(server.url("/x"))]).await.unwrap_err();
    let expect = "it changes on the server while it is downloaded (tried 4 times)";
    assert_eq!(error, format!("cannot fetch {}: {expect}", server.url("/x")));
}

#[tokio::test]
async fn a_range_that_cannot_be_satisfied_or_is_another_begins_anew() {
    for wrong in [
        response("416 Range Not Satisfiable", "", ""),
        response("206 Partial Content", "ETag: \"1\"\r\nContent-Range: bytes 7-9/10\r\n", "789"),
    ] {
        let kit = Kit::new();
        let server = Server::start(move |head, number| {
            Answer::Close(match number {
                0 => promise("200 OK", "ETag: \"1\"\r\n", 10, b"0123"),
                1 => wrong.clone(),
                _ => {
                    assert_eq!(head.first_byte(), None);
                    response("200 OK", "ETag: \"1\"\r\n", "0123456789")
                }
            })
        })
        .await;
        kit.fetch(&[uri(server.url("/x"))]).await.unwrap();
        assert_eq!(kit.read("x"), "0123456789");
        assert_eq!(server.requests(), 3);
    }
}

#[tokio::test]
async fn ma13_a_server_that_stalls_is_left_in_time() {
    let kit = Kit::new();
    let server = Server::start(|_, _| Answer::Hold(promise("200 OK", "ETag: \"1\"\r\n", 100, b"abc"))).await;
    let error = kit.fetch(&[uri(server.url("/x"))]).await.unwrap_err();
    assert!(error.contains("nothing came for 0 s, after 3 bytes"), "{error}");
    assert!(kit.names(&kit.sandbox()).is_empty());
    kit.check_no_parts();
}

#[tokio::test]
async fn redirects_are_followed_and_lengths_may_be_unknown() {
    let kit = Kit::new();
    let server = Server::start(|head, _| {
        Answer::Close(match &*head.path {
            "/old" => response("302 Found", "Location: /new\r\n", ""),
            _ => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
                .to_vec(),
        })
    })
    .await;
    kit.fetch(&[uri(server.url("/old"))]).await.unwrap();
    assert_eq!(kit.read("old"), "abcde");
    let server = Server::start(|_, _| Answer::Close(response("302 Found", "Location: /round\r\n", ""))).await;
    let error = kit.fetch(&[uri(server.url("/round"))]).await.unwrap_err();
    assert_eq!(error, format!("cannot fetch {}: more than 10 redirects", server.url("/round")));
}

#[tokio::test]
async fn a_promised_hash_is_checked() {
    let server = Server::start(|_, _| Answer::Close(response("200 OK", "", "hello"))).await;
    let good = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    for cache in [false, true] {
        let kit = Kit::new();
        let with = |hash: &str| Uri { sha256: Some(hash.into()), cache, ..uri(server.url("/x")) };
        let bad = "0".repeat(64);
        let error = kit.fetch(&[with(&bad)]).await.unwrap_err();
        assert_eq!(
            error,
            format!("cannot fetch {}: its SHA-256 is {good}, but should be {bad}", server.url("/x"))
        );
        assert!(kit.names(&kit.sandbox()).is_empty() && kit.names(&kit.cache()).is_empty());
        kit.fetch(&[with(&good.to_uppercase())]).await.unwrap();
        assert_eq!(kit.read("x"), "hello");
        // One that is in the cache is checked, too.
        let error = kit.fetch(&[with(&bad)]).await.unwrap_err();
        assert!(error.contains("its SHA-256 is"), "{error}");
    }
}

#[tokio::test]
async fn what_is_larger_than_the_disk_is_not_begun() {
    let kit = Kit::new();
    let server = Server::start(|_, _| Answer::Hold(promise("200 OK", "", 1 << 60, b"abc"))).await;
    let error = kit.fetch(&[uri(server.url("/x"))]).await.unwrap_err();
    assert!(
        error.starts_with(&format!("cannot fetch {}: it has 1024.0 PiB, but only ", server.url("/x"))),
        "{error}"
    );
    assert!(error.ends_with(&format!(" may be written to the disk of {}", kit.cache().display())), "{error}");
    assert_eq!(server.requests(), 1);
    kit.check_no_parts();
    // What does not say how much it is, is stopped when no more may be written.
    let kit = Kit::with(|config| config.reserve_bytes = u64::MAX);
    let endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let server =
        Server::start(move |_, _| Answer::Drip(endless.clone(), vec![0; 1 << 16], Duration::ZERO)).await;
    let error = kit.fetch(&[uri(server.url("/x"))]).await.unwrap_err();
    assert!(
        error.contains("it has more than the 0 bytes that may still be written to the disk of"),
        "{error}"
    );
}

#[tokio::test]
async fn nothing_is_fetched_if_one_uri_is_wrong() {
    let kit = Kit::new();
    let server = Server::start(|_, _| Answer::Close(response("200 OK", "", "x"))).await;
    let error = kit.fetch(&[uri(server.url("/x")), uri("hdfs://n/x")]).await.unwrap_err();
    let expect = "cannot fetch hdfs://n/x: its scheme 'hdfs' is not supported; http, https and file are";
    assert_eq!(error, expect);
    assert_eq!(server.requests(), 0);
    kit.fetch(&[]).await.unwrap();
}
