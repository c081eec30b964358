//! One suite for all backends. A backend passes it or is no [`Store`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::{
    Batch, Change, CommitError, Dir, Embedded, Follower, Key, LimitError, Memory, Store, Term, Version, limit,
};

const PATIENCE: Duration = Duration::from_secs(20);
const TTL: Duration = Duration::from_secs(10);

macro_rules! suite {
    ($($test:ident)*) => {
        mod memory {
            $(#[tokio::test] async fn $test() { super::$test(std::sync::Arc::new(super::Memory::new())).await })*
        }
        mod embedded {
            $(#[tokio::test] async fn $test() {
                let dir = tempfile::tempdir().unwrap();
                let store = super::Embedded::open(&dir.path().join("state.redb")).await.unwrap();
                super::$test(std::sync::Arc::new(store)).await
            })*
        }
    };
}

suite! {
    what_is_written_is_read
    writes_compare_and_set
    a_batch_is_all_or_nothing
    checks_write_nothing
    listing_is_of_one_directory
    limits_are_kept_and_named
    directories_are_bounded
    one_leads_and_the_next_follows
    a_deposed_writer_is_refused
    followers_are_told_what_to_read_again
    a_follower_left_behind_starts_over
    writers_at_once_lose_nothing
}

fn key(path: &str) -> Key {
    Key::parse(path).unwrap()
}

async fn lead(store: &dyn Store) -> Term {
    store.campaign("test", TTL).await.unwrap()
}

async fn value(store: &dyn Store, path: &str) -> Option<Bytes> {
    store.get(&key(path)).await.unwrap().map(|entry| entry.value)
}

async fn version(store: &dyn Store, path: &str) -> Option<Version> {
    store.get(&key(path)).await.unwrap().map(|entry| entry.version)
}

async fn what_is_written_is_read(store: Arc<dyn Store>) {
    let term = lead(&*store).await;
    assert_eq!(store.get(&key("a/b")).await.unwrap(), None);
    let created = store.commit(&term, Batch::new().create(key("a/b"), "1").create(key("a/c"), "")).await;
    let created = created.unwrap();
    assert_eq!(value(&*store, "a/b").await, Some("1".into()));
    assert_eq!(value(&*store, "a/c").await, Some("".into()));
    assert_eq!(version(&*store, "a/b").await, Some(created[0]));
    let updated = store.commit(&term, Batch::new().update(key("a/b"), created[0], "2")).await.unwrap();
    assert_ne!(updated[0], created[0]);
    assert_eq!(value(&*store, "a/b").await, Some("2".into()));
    store.commit(&term, Batch::new().delete(key("a/b"), updated[0])).await.unwrap();
    assert_eq!(value(&*store, "a/b").await, None);
    assert_eq!(store.commit(&term, Batch::new()).await.unwrap(), []);
}

async fn writes_compare_and_set(store: Arc<dyn Store>) {
    let term = lead(&*store).await;
    let first = store.commit(&term, Batch::new().create(key("a/b"), "1")).await.unwrap()[0];
    let second = store.commit(&term, Batch::new().update(key("a/b"), first, "2")).await.unwrap()[0];
    let check = async |batch: Batch, of: &str, expected: Option<Version>, found: Option<Version>| {
        match store.commit(&term, batch).await {
            Err(CommitError::Conflict { key: at, expected: e, found: f }) => {
                assert_eq!((at.as_str(), e, f), (of, expected, found));
            }
            other => panic!("{of}: {other:?}"),
        }
        assert_eq!(version(&*store, "a/b").await, Some(second));
        assert_eq!(value(&*store, "a/b").await, Some("2".into()));
    };
    check(Batch::new().create(key("a/b"), "3"), "a/b", None, Some(second)).await;
    check(Batch::new().update(key("a/b"), first, "3"), "a/b", Some(first), Some(second)).await;
    check(Batch::new().delete(key("a/b"), first), "a/b", Some(first), Some(second)).await;
    check(Batch::new().check(key("a/b"), first), "a/b", Some(first), Some(second)).await;
    check(Batch::new().update(key("a/none"), first, "3"), "a/none", Some(first), None).await;
    check(Batch::new().delete(key("a/none"), first), "a/none", Some(first), None).await;
}

async fn a_batch_is_all_or_nothing(store: Arc<dyn Store>) {
    let term = lead(&*store).await;
    let there = store.commit(&term, Batch::new().create(key("a/there"), "1")).await.unwrap()[0];
    let batch = Batch::new().create(key("a/new"), "1").delete(key("a/there"), there).update(
        key("a/missing"),
        there,
        "1",
    );
    assert!(matches!(store.commit(&term, batch).await, Err(CommitError::Conflict { .. })));
    assert_eq!(value(&*store, "a/new").await, None);
    assert_eq!(version(&*store, "a/there").await, Some(there));
}

async fn checks_write_nothing(store: Arc<dyn Store>) {
    let term = lead(&*store).await;
    let guard = store.commit(&term, Batch::new().create(key("a/guard"), "1")).await.unwrap()[0];
    let batch = Batch::new().check(key("a/guard"), guard).create(key("a/b"), "1");
    let versions = store.commit(&term, batch).await.unwrap();
    assert_eq!(versions[0], guard);
    assert_eq!(version(&*store, "a/guard").await, Some(guard));
    assert_eq!(version(&*store, "a/b").await, Some(versions[1]));
}

async fn listing_is_of_one_directory(store: Arc<dyn Store>) {
    let term = lead(&*store).await;
    let mut batch = Batch::new();
    for path in ["a/b/1", "a/b/2", "a/b/c/3", "a/bb/4", "a/5"] {
        batch = batch.create(key(path), path.to_owned());
    }
    store.commit(&term, batch).await.unwrap();
    let check = async |dir: &str, expected: &[&str]| {
        let snapshot = store.list(&Dir::parse(dir).unwrap()).await.unwrap();
        for (name, entry) in &snapshot {
            assert_eq!(entry.value, format!("{dir}/{name}"));
            assert_eq!(version(&*store, &format!("{dir}/{name}")).await, Some(entry.version));
        }
        assert_eq!(snapshot.keys().collect::<Vec<_>>(), expected, "{dir}");
    };
    check("a/b", &["1", "2"]).await;
    check("a", &["5"]).await;
    check("a/b/c", &["3"]).await;
    check("none", &[]).await;
}

async fn limits_are_kept_and_named(store: Arc<dyn Store>) {
    let term = lead(&*store).await;
    let large = |bytes: usize| Bytes::from(vec![b'x'; bytes]);
    let many =
        |count: usize| (0..count).fold(Batch::new(), |batch, n| batch.create(key(&format!("m/{n:03}")), "x"));
    let check = async |batch: Batch, expected: LimitError| match store.commit(&term, batch).await {
        Err(CommitError::Limit(found)) => assert_eq!(found, expected),
        other => panic!("{expected}: {other:?}"),
    };
    let one = Batch::new().create(key("a/b"), large(limit::VALUE + 1));
    check(one, LimitError::Value { key: key("a/b"), bytes: limit::VALUE + 1 }).await;
    check(many(101), LimitError::Operations(101)).await;
    let twice = Batch::new().create(key("a/b"), "1").create(key("a/b"), "2");
    check(twice, LimitError::Repeated(key("a/b"))).await;
    let whole = limit::BATCH / limit::VALUE;
    let heavy =
        (0..whole).fold(Batch::new(), |batch, n| batch.create(key(&format!("h/{n}")), large(limit::VALUE)));
    let bytes = heavy.bytes();
    check(heavy, LimitError::Batch(bytes)).await;
    assert_eq!(value(&*store, "a/b").await, None);
    store.commit(&term, many(100).clone()).await.unwrap();
    store.commit(&term, Batch::new().create(key("a/b"), large(limit::VALUE))).await.unwrap();
    assert_eq!(value(&*store, "a/b").await, Some(large(limit::VALUE)));
}

async fn directories_are_bounded(store: Arc<dyn Store>) {
    let term = lead(&*store).await;
    let mut first = None;
    for hundred in 0..10 {
        let batch =
            (0..100).fold(Batch::new(), |batch, n| batch.create(key(&format!("d/{hundred}{n:02}")), "x"));
        first = first.or(Some(store.commit(&term, batch).await.unwrap()[0]));
    }
    let full = LimitError::Children(Dir::parse("d").unwrap());
    match store.commit(&term, Batch::new().create(key("d/more"), "x")).await {
        Err(CommitError::Limit(found)) => assert_eq!(found, full),
        other => panic!("{other:?}"),
    }
    // A full directory takes one when it gives one up, and another directory is not full.
    let swap = Batch::new().create(key("d/more"), "x").delete(key("d/000"), first.unwrap());
    store.commit(&term, swap.create(key("e/1"), "x")).await.unwrap();
    assert_eq!(store.list(&Dir::parse("d").unwrap()).await.unwrap().len(), limit::CHILDREN);
}

async fn one_leads_and_the_next_follows(store: Arc<dyn Store>) {
    let first = lead(&*store).await;
    assert!(!first.is_lost());
    let other = store.campaign("another election", TTL).await.unwrap();
    let waiting = tokio::spawn(store.campaign("test", TTL));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let epoch = first.epoch();
    first.resign();
    first.lost().await;
    assert!(first.is_lost() && !other.is_lost());
    let second = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert!(second.epoch() > epoch);
    // The former leader ends nothing any more.
    drop(first);
    assert!(!second.is_lost());
    drop(second);
    tokio::time::timeout(PATIENCE, store.campaign("test", TTL)).await.unwrap().unwrap();
}

async fn a_deposed_writer_is_refused(store: Arc<dyn Store>) {
    let deposed = lead(&*store).await;
    store.commit(&deposed, Batch::new().create(key("a/b"), "1")).await.unwrap();
    deposed.resign();
    let check = async || match store.commit(&deposed, Batch::new().create(key("a/c"), "1")).await {
        Err(CommitError::Deposed { election }) => assert_eq!(election, "test"),
        other => panic!("{other:?}"),
    };
    check().await;
    let leader = lead(&*store).await;
    check().await;
    store.commit(&leader, Batch::new().create(key("a/d"), "1")).await.unwrap();
    assert_eq!(value(&*store, "a/c").await, None);
}

async fn next(follower: &mut Follower) -> Change {
    let change = tokio::time::timeout(PATIENCE, follower.next()).await.expect("a change in time");
    change.unwrap().expect("an open store")
}

async fn followers_are_told_what_to_read_again(store: Arc<dyn Store>) {
    let term = lead(&*store).await;
    let there = store.commit(&term, Batch::new().create(key("f/there"), "1")).await.unwrap()[0];
    let mut follower = store.follow(&Dir::parse("f").unwrap());
    match next(&mut follower).await {
        Change::Resync(snapshot) => assert_eq!(snapshot.keys().collect::<Vec<_>>(), ["there"]),
        other => panic!("{other:?}"),
    }
    store.commit(&term, Batch::new().create(key("g/elsewhere"), "1")).await.unwrap();
    let batch = Batch::new().create(key("f/new"), "1").create(key("f/g/below"), "1");
    store.commit(&term, batch).await.unwrap();
    let refused = Batch::new().create(key("f/new"), "2");
    assert!(store.commit(&term, refused).await.is_err());
    store.commit(&term, Batch::new().delete(key("f/there"), there)).await.unwrap();
    assert_eq!(next(&mut follower).await, Change::Changed(key("f/new")));
    assert_eq!(next(&mut follower).await, Change::Changed(key("f/there")));
}

async fn a_follower_left_behind_starts_over(store: Arc<dyn Store>) {
    let term = lead(&*store).await;
    let mut follower = store.follow(&Dir::parse("f").unwrap());
    assert_eq!(next(&mut follower).await, Change::Resync(Default::default()));
    let mut last = None;
    for n in 0..400u32 {
        let batch = Batch::new().put(key("f/n"), last, n.to_string());
        last = Some(store.commit(&term, batch).await.unwrap()[0]);
    }
    // Told of every change or to start over, it has read the last value when it is told no more.
    let seen = loop {
        let seen = match next(&mut follower).await {
            Change::Resync(snapshot) => snapshot.get("n").map(|entry| entry.version),
            Change::Changed(key) => store.get(&key).await.unwrap().map(|entry| entry.version),
        };
        if seen == last {
            break seen;
        }
    };
    assert_eq!(seen, last);
}

/// Counters that many writers increment, each retrying when it lost the race: what a lost write or a
/// commit that was applied twice would show in the sum.
async fn writers_at_once_lose_nothing(store: Arc<dyn Store>) {
    let term = Arc::new(lead(&*store).await);
    let (writers, rounds) = (8, 20);
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..writers {
        let (store, term) = (store.clone(), term.clone());
        running.spawn(async move {
            for _ in 0..rounds {
                loop {
                    let found = store.get(&key("c/n")).await.unwrap();
                    let number: u32 = found
                        .as_ref()
                        .map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse().unwrap());
                    let version = found.map(|entry| entry.version);
                    let batch = Batch::new().put(key("c/n"), version, (number + 1).to_string());
                    match store.commit(&term, batch).await {
                        Ok(_) => break,
                        Err(CommitError::Conflict { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    assert_eq!(value(&*store, "c/n").await, Some((writers * rounds).to_string().into()));
}
