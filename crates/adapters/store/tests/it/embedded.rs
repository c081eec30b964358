use std::time::Duration;

use store::{Batch, Embedded, Key, OpenError, Store};

const TTL: Duration = Duration::from_secs(10);

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("below/state.redb");
    let key = Key::parse("a/b").unwrap();
    let mut epoch = 0;
    let mut version = None;
    for round in ["1", "2", "3"] {
        let store = Embedded::open(&path).await.unwrap();
        let found = store.get(&key).await.unwrap();
        assert_eq!(found.map(|entry| entry.version), version);
        let term = store.campaign("test", TTL).await.unwrap();
        assert!(term.epoch() > epoch);
        epoch = term.epoch();
        let written = store.commit(&term, Batch::new().put(key.clone(), version, round)).await.unwrap();
        assert_ne!(Some(written[0]), version);
        version = Some(written[0]);
        // Without waiting for anything: opening again waits for this to be closed.
        drop(store);
    }
}

#[tokio::test]
async fn what_is_no_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    std::fs::write(&path, "something else, and more of it than a header has".repeat(100)).unwrap();
    match Embedded::open(&path).await {
        Err(OpenError::Database { path: named, .. }) => assert_eq!(named, path),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_crash_while_the_file_was_made_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    std::fs::write(dir.path().join("state.redb.new"), "half made").unwrap();
    Embedded::open(&path).await.unwrap();
}
