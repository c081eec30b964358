//! What is left of a fetch that nobody wants any more: nothing.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use fetcher::{Step, Uri};

use crate::server::{Answer, Server};
use crate::{Kit, cached, uri};

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Starts a fetch, drops it in the middle of `step`, and waits until nothing partial is left.
async fn check(kit: &Arc<Kit>, uri: Uri, step: Step) {
    let fetch = {
        let kit = Arc::clone(kit);
        tokio::spawn(async move { kit.fetch(&[uri]).await })
    };
    let is_there = || kit.told.lock().unwrap().iter().any(|told| told.step == step && told.bytes > 0);
    until("it is in the middle", is_there).await;
    fetch.abort();
    assert!(fetch.await.unwrap_err().is_cancelled());
    until("nothing is left in the cache", || kit.names(&kit.cache()).is_empty()).await;
}

#[tokio::test]
async fn a_download() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n".to_vec();
    let drip = move || Answer::Drip(head.clone(), vec![0; 200_000], Duration::from_millis(10));
    let server = Server::start(move |_, _| drip()).await;
    for wish in [uri(server.url("/x")), cached(server.url("/x"))] {
        let kit = Arc::new(Kit::new());
        check(&kit, wish, Step::Download).await;
        assert!(kit.names(&kit.sandbox()).is_empty());
        assert_eq!(kit.fetcher.cached_bytes(), 0);
    }
}

#[tokio::test]
async fn a_copy() {
    let kit = Arc::new(Kit::new());
    let large = kit.dir.path().join("large");
    // Holes are copied quickly, but not at once. As much has to be free on the disk.
    fs::File::create(&large).unwrap().set_len(4 << 30).unwrap();
    check(&kit, uri(large.to_str().unwrap()), Step::Copy).await;
    until("the copy is gone", || kit.names(&kit.sandbox()).is_empty()).await;
}
