//! What is downloaded once.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fetcher::{Step, Uri};

use crate::server::{Answer, Server, promise, response};
use crate::{Kit, cached, open};

/// A server of versions: the number is both content and tag, and it answers conditions.
async fn versioned(version: Arc<AtomicUsize>) -> Server {
    Server::start(move |head, _| {
        let tag = format!("\"{}\"", version.load(Ordering::SeqCst));
        if head.header("if-none-match") == tag {
            return Answer::Close(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec());
        }
        Answer::Close(response("200 OK", &format!("ETag: {tag}\r\n"), format!("version {tag}")))
    })
    .await
}

#[tokio::test]
async fn a_cached_file_is_asked_for_again_and_replaced_when_it_changed() {
    let kit = Kit::new();
    let version = Arc::new(AtomicUsize::new(1));
    let server = versioned(Arc::clone(&version)).await;
    let uris = [cached(server.url("/x"))];
    kit.fetch(&uris).await.unwrap();
    assert_eq!(kit.read("x"), "version \"1\"");
    kit.fetch(&uris).await.unwrap();
    assert_eq!((server.requests(), kit.fetcher.cached_bytes()), (2, 11));
    version.store(22, Ordering::SeqCst);
    kit.fetch(&uris).await.unwrap();
    assert_eq!((kit.read("x"), kit.fetcher.cached_bytes()), ("version \"22\"".to_owned(), 12));
    assert_eq!(kit.names(&kit.cache()).len(), 2);
    // The task may do to its copy what it likes.
    fs::write(kit.sandbox().join("x"), "changed").unwrap();
    kit.fetch(&uris).await.unwrap();
    assert_eq!(kit.read("x"), "version \"22\"");
}

#[tokio::test]
async fn servers_without_conditions_are_compared_by_what_they_say() {
    for (first, second, same) in [
        ("ETag: \"1\"\r\n", "ETag: \"1\"\r\n", true),
        ("ETag: \"1\"\r\n", "ETag: \"2\"\r\n", false),
        ("Last-Modified: yesterday\r\n", "Last-Modified: yesterday\r\n", true),
        ("Last-Modified: yesterday\r\n", "Last-Modified: today\r\n", false),
        ("", "", true),
    ] {
        let kit = Kit::new();
        let server = Server::start(move |_, number| {
            let (headers, body) = if number == 0 { (first, "one") } else { (second, "two") };
            Answer::Close(response("200 OK", headers, body))
        })
        .await;
        for _ in 0..2 {
            kit.fetch(&[cached(server.url("/x"))]).await.unwrap();
        }
        assert_eq!(kit.read("x"), if same { "one" } else { "two" }, "{first:?} {second:?}");
    }
}

#[tokio::test]
async fn ma12_many_at_once_download_once() {
    let kit = Arc::new(Kit::new());
    let server = Server::start(|_, _| {
        Answer::Late(Duration::from_millis(300), response("200 OK", "ETag: \"1\"\r\n", "shared"))
    })
    .await;
    let mut fetches = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (kit, url) = (Arc::clone(&kit), server.url("/x"));
        fetches.spawn(async move {
            kit.fetch(&[Uri { output_file: Some(format!("f{number}")), ..cached(url) }]).await
        });
    }
    while let Some(fetched) = fetches.join_next().await {
        fetched.unwrap().unwrap();
    }
    assert_eq!(server.requests(), 1);
    assert!((0..20).all(|number| kit.read(&format!("f{number}")) == "shared"));
    let told = kit.told.lock().unwrap();
    assert!(told.iter().any(|progress| progress.step == Step::Wait));
    assert!(told.iter().any(|progress| progress.step == Step::Copy));
}

#[tokio::test]
async fn who_waits_goes_on_when_the_first_is_cancelled() {
    let kit = Arc::new(Kit::new());
    let server = Server::start(|_, number| {
        if number == 0 { Answer::Hold(Vec::new()) } else { Answer::Close(response("200 OK", "", "second")) }
    })
    .await;
    let start = |name: &'static str| {
        let (kit, url) = (Arc::clone(&kit), server.url("/x"));
        tokio::spawn(async move { kit.fetch(&[Uri { output_file: Some(name.into()), ..cached(url) }]).await })
    };
    let first = start("first");
    while server.requests() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = start("second");
    while !kit.told.lock().unwrap().iter().any(|progress| progress.step == Step::Wait) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.abort();
    second.await.unwrap().unwrap();
    assert_eq!(kit.names(&kit.sandbox()), ["second"]);
}

#[tokio::test]
async fn an_outage_is_bridged_but_a_refusal_is_not() {
    let kit = Kit::new();
    let server = Server::start(|_, number| {
        Answer::Close(match number {
            0 => response("200 OK", "ETag: \"1\"\r\n", "kept"),
            1..4 => response("500 Internal Server Error", "", ""),
            _ => response("403 Forbidden", "", ""),
        })
    })
    .await;
    let uris = [cached(server.url("/x"))];
    kit.fetch(&uris).await.unwrap();
    fs::remove_file(kit.sandbox().join("x")).unwrap();
    kit.fetch(&uris).await.unwrap();
    assert_eq!((kit.read("x"), server.requests()), ("kept".to_owned(), 4));
    let error = kit.fetch(&uris).await.unwrap_err();
    assert_eq!(error, format!("cannot fetch {}: the server answered 403 Forbidden", server.url("/x")));
    drop(server);
    kit.fetch(&uris).await.unwrap();
}

#[tokio::test]
async fn what_does_not_fit_goes_past_the_cache() {
    let kit = Kit::with(|config| config.cache_bytes = 10);
    let server = Server::start(|head, _| {
        let body = "x".repeat(head.path.trim_start_matches('/').parse().unwrap());
        Answer::Close(match head.header("no-length") {
            "" => response("200 OK", "ETag: \"1\"\r\n", body),
            _ => body.into_bytes(),
        })
    })
    .await;
    kit.fetch(&[cached(server.url("/6")), cached(server.url("/11"))]).await.unwrap();
    assert_eq!((kit.read("11").len(), kit.fetcher.cached_bytes()), (11, 6));
    // The longer unused one goes.
    kit.fetch(&[cached(server.url("/4")), cached(server.url("/6")), cached(server.url("/3"))]).await.unwrap();
    assert_eq!((kit.read("3").len(), kit.fetcher.cached_bytes()), (3, 9));
    kit.check_no_parts();
    let none = Kit::with(|config| config.cache_bytes = 0);
    none.fetch(&[cached(server.url("/6"))]).await.unwrap();
    assert_eq!((none.read("6").len(), none.names(&none.cache()).len()), (6, 0));
}

#[tokio::test]
async fn a_hash_needs_no_server() {
    let kit = Kit::new();
    let server = Server::start(|_, _| Answer::Close(response("200 OK", "", "hello"))).await;
    let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let uris = [Uri { sha256: Some(hash.into()), ..cached(server.url("/x")) }];
    kit.fetch(&uris).await.unwrap();
    kit.fetch(&uris).await.unwrap();
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn users_do_not_share_and_the_cache_outlives_the_agent() {
    let kit = Kit::new();
    let version = Arc::new(AtomicUsize::new(1));
    let server = versioned(version).await;
    let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let uris = [cached(server.url("/x"))];
    kit.fetch(&uris).await.unwrap();
    kit.fetch_for(&uris, Some(me)).await.unwrap();
    assert_eq!(kit.fetcher.cached_bytes(), 22);
    let Kit { dir, fetcher, told } = kit;
    drop(fetcher);
    fs::write(dir.path().join("cache/7.part"), "left over").unwrap();
    let kit = Kit { fetcher: open(&dir.path().join("cache"), |_| {}), dir, told };
    kit.check_no_parts();
    assert_eq!(kit.fetcher.cached_bytes(), 22);
    fs::remove_file(kit.sandbox().join("x")).unwrap();
    kit.fetch(&uris).await.unwrap();
    // Asked, and answered that nothing changed.
    assert_eq!((kit.read("x"), server.requests()), ("version \"1\"".to_owned(), 3));
}

#[tokio::test]
async fn a_cached_download_resumes_too() {
    let kit = Kit::new();
    let server = Server::start(|head, _| {
        Answer::Close(match head.first_byte() {
            None => promise("200 OK", "ETag: \"1\"\r\n", 10, b"01234"),
            Some(5) => {
                response("206 Partial Content", "ETag: \"1\"\r\nContent-Range: bytes 5-9/10\r\n", "56789")
            }
            other => panic!("{other:?}"),
        })
    })
    .await;
    kit.fetch(&[cached(server.url("/x"))]).await.unwrap();
    assert_eq!((kit.read("x"), kit.fetcher.cached_bytes()), ("0123456789".to_owned(), 10));
}
