//! kill -9 of a process that writes: what it was told is written is there, and nothing else.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use store::{Batch, Dir, Embedded, Key, OpenError, Store};

const TTL: Duration = Duration::from_secs(10);
/// Set for the child process alone: the file it is to write to.
const FILE: &str = "STORE_CRASH_FILE";

/// Not a test but what the tests below run in a process of its own: writes pairs of records for ever,
/// and prints each number once it was told that its pair is written.
#[tokio::test]
async fn write_until_killed() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let store = Embedded::open(&path).await.unwrap();
    let term = store.campaign("test", TTL).await.unwrap();
    let start = store.list(&Dir::parse("left").unwrap()).await.unwrap().len();
    println!("start {start}");
    for number in start.. {
        let key = |dir: &str| Key::parse(&format!("{dir}/{number:04}")).unwrap();
        let batch = Batch::new().create(key("left"), "x".repeat(100)).create(key("right"), "y".repeat(5000));
        store.commit(&term, batch).await.unwrap();
        println!("wrote {number}");
        std::io::stdout().flush().unwrap();
    }
}

fn writer(path: &Path) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::write_until_killed", "--nocapture", "--test-threads=1"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.map_while(Result::ok))
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_it_was_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let mut told = 0;
    for round in 1..=5 {
        let (mut child, lines) = writer(&path);
        let mut lines = lines.filter_map(|line| line.strip_prefix("wrote ")?.parse::<usize>().ok());
        told = lines.by_ref().nth(7 * round).expect("it writes on");
        child.kill().unwrap();
        // What it had printed before it died counts, too.
        told = lines.last().unwrap_or(told);
        child.wait().unwrap();
        let store = Embedded::open(&path).await.unwrap();
        let left = store.list(&Dir::parse("left").unwrap()).await.unwrap();
        let right = store.list(&Dir::parse("right").unwrap()).await.unwrap();
        assert!(left.len() > told, "{} records, told of number {told}", left.len());
        assert!(left.len() <= told + 2, "at most one more was on its way: {} for {told}", left.len());
        assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
        assert!(left.keys().enumerate().all(|(at, name)| *name == format!("{at:04}")));
    }
    assert!(told > 0);
}

#[tokio::test]
async fn a_file_in_use_names_who_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let (mut child, mut lines) = writer(&path);
    lines.find(|line| line.starts_with("wrote ")).expect("it writes");
    let refused = Embedded::open(&path).await;
    let expected = format!("{} is in use by process {}", path.display(), child.id());
    match refused {
        Err(error @ OpenError::InUse { .. }) => assert_eq!(error.to_string(), expected),
        other => panic!("{other:?}"),
    }
    child.kill().unwrap();
    child.wait().unwrap();
    Embedded::open(&path).await.unwrap();
}
