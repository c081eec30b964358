//! The durable part of the master's state: the core's registry operations on records of the store.
//!
//! The core names records `<kind>/<name>`; here they are spread over buckets, because a directory of
//! the store holds a thousand records and a cluster has more agents than that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use master_core::{REGISTRY_KINDS, RegistryOp};
use store::{
    Batch, Buckets, CampaignError, CommitError, Dir, Key, KeyError, ReadError, Store, Term, Version, limit,
};
use tokio::sync::{mpsc, watch};

/// The directory of all that is the master's, and the name of its election.
const HOME: &str = "master";
/// Buckets of each kind of record, which is a directory: part of what is stored, so it can never be another number.
const BUCKETS: u16 = 256;
/// How long the store may wait for a leader of this election that is gone.
const TERM_TTL: Duration = Duration::from_secs(10);

/// One commit that the core asked for.
#[derive(Debug)]
pub(crate) struct Write {
    /// Its number.
    pub(crate) seq: u64,
    /// What to write.
    pub(crate) ops: Vec<RegistryOp>,
}

/// Why the registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Leading the election of masters failed.
    #[error("lead the masters of this store")]
    Campaign(#[from] CampaignError),
    /// A directory could not be read.
    #[error("read the registry")]
    Read(#[from] ReadError),
    /// A write was refused or its outcome is not known.
    #[error("write to the registry")]
    Commit(#[from] CommitError),
    /// A record's name is none that the store takes.
    #[error("registry record {key} has no name that the store takes")]
    Name {
        /// The core's key.
        key: String,
        /// What is wrong with it.
        source: Option<KeyError>,
    },
}

/// The registry of the leading master.
pub(crate) struct Registry {
    store: Arc<dyn Store>,
    term: Term,
    versions: BTreeMap<Key, Version>,
}

impl Registry {
    /// Leads, and reads all records: the core's keys with their values.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
    ) -> Result<(Registry, Vec<(String, Vec<u8>)>), RegistryError> {
        let term = store.campaign(HOME, TERM_TTL).await?;
        let mut registry = Registry { store, term, versions: BTreeMap::new() };
        let mut records = Vec::new();
        for kind in REGISTRY_KINDS {
            for dir in buckets(kind).dirs() {
                for (name, entry) in registry.store.list(&dir).await? {
                    let path = format!("{kind}/{name}");
                    let key = dir
                        .key(&name)
                        .map_err(|source| RegistryError::Name { key: path.clone(), source: Some(source) })?;
                    registry.versions.insert(key, entry.version);
                    records.push((path, entry.value.to_vec()));
                }
            }
        }
        Ok((registry, records))
    }

    /// Writes in the order in which it is asked, many requests with one commit where they wait, and
    /// shows after each the highest number that is durable. Ends when nobody can ask any more, or at
    /// the first write that fails: a master that cannot write must stop.
    pub(crate) async fn write(
        mut self,
        mut asked: mpsc::Receiver<Write>,
        durable: watch::Sender<u64>,
    ) -> Result<(), RegistryError> {
        let mut waiting = Vec::new();
        while asked.recv_many(&mut waiting, limit::OPERATIONS).await > 0 {
            let mut group = Group::default();
            for write in waiting.drain(..) {
                if !group.takes(&write.ops) {
                    self.commit(std::mem::take(&mut group), &durable).await?;
                }
                group.add(write);
            }
            self.commit(group, &durable).await?;
        }
        Ok(())
    }

    async fn commit(&mut self, group: Group, durable: &watch::Sender<u64>) -> Result<(), RegistryError> {
        let mut batch = Batch::new();
        let mut changes = Vec::with_capacity(group.ops.len());
        for (path, value) in group.ops {
            let key = key(&path)?;
            let stays = value.is_some();
            batch = match (value, self.versions.get(&key).copied()) {
                (Some(value), expected) => batch.put(key.clone(), expected, value),
                (None, Some(expected)) => batch.delete(key.clone(), expected),
                // It is not there, which is what was asked for.
                (None, None) => continue,
            };
            changes.push((key, stays));
        }
        if !batch.is_empty() {
            let versions = self.store.commit(&self.term, batch).await?;
            for ((key, stays), version) in changes.into_iter().zip(versions) {
                if stays {
                    self.versions.insert(key, version);
                } else {
                    self.versions.remove(&key);
                }
            }
        }
        if let Some(seq) = group.last {
            durable.send_replace(seq);
        }
        Ok(())
    }
}

/// Writes that go into one commit. Of several operations on one record the last counts: the store
/// takes one a batch, and nobody can see those between.
#[derive(Default)]
struct Group {
    ops: BTreeMap<String, Option<Vec<u8>>>,
    bytes: usize,
    last: Option<u64>,
}

/// What a record may need in a batch beyond its value: the path of its bucket.
const KEY_ALLOWANCE: usize = 64;

impl Group {
    /// Whether the operations still fit. One write alone always does: it is what the core wants whole.
    fn takes(&self, ops: &[RegistryOp]) -> bool {
        let bytes: usize = ops.iter().map(cost).sum();
        self.ops.is_empty()
            || (self.ops.len() + ops.len() <= limit::OPERATIONS && self.bytes + bytes <= limit::BATCH)
    }

    fn add(&mut self, write: Write) {
        self.bytes += write.ops.iter().map(cost).sum::<usize>();
        self.ops.extend(write.ops.into_iter().map(|op| (op.key, op.value)));
        self.last = Some(write.seq);
    }
}

fn cost(op: &RegistryOp) -> usize {
    KEY_ALLOWANCE + op.key.len() + op.value.as_ref().map_or(0, Vec::len)
}

fn key(path: &str) -> Result<Key, RegistryError> {
    let named = |source| RegistryError::Name { key: path.to_owned(), source };
    let (kind, name) = path.split_once('/').ok_or_else(|| named(None))?;
    let kind = REGISTRY_KINDS.into_iter().find(|known| *known == kind).ok_or_else(|| named(None))?;
    buckets(kind).key(name).map_err(|source| named(Some(source)))
}

fn buckets(kind: &str) -> Buckets {
    let dir = Dir::parse(&format!("{HOME}/{kind}")).expect("the kinds are segments");
    Buckets::new(dir, BUCKETS)
}

#[cfg(test)]
mod tests {
    use store::Memory;

    use super::*;

    fn put(name: &str, value: &str) -> RegistryOp {
        RegistryOp { key: format!("agents/{name}"), value: Some(value.into()) }
    }

    fn remove(name: &str) -> RegistryOp {
        RegistryOp { key: format!("agents/{name}"), value: None }
    }

    /// Writes `writes` to `store`, returns the last number told and what a later opening finds.
    async fn check(store: &Memory, writes: Vec<Vec<RegistryOp>>) -> (u64, Vec<(String, String)>) {
        let (registry, _) = Registry::open(Arc::new(store.clone())).await.unwrap();
        let (ask, asked) = mpsc::channel(1000);
        for (seq, ops) in (1..).zip(writes) {
            ask.try_send(Write { seq, ops }).unwrap();
        }
        drop(ask);
        let (durable, told) = watch::channel(0);
        registry.write(asked, durable).await.unwrap();
        let (_, mut records) = Registry::open(Arc::new(store.clone())).await.unwrap();
        records.sort();
        let text = |(key, value)| (key, String::from_utf8(value).unwrap());
        (*told.borrow(), records.into_iter().map(text).collect())
    }

    #[tokio::test]
    async fn what_was_written_is_found_again() {
        let store = Memory::new();
        let (told, found) =
            check(&store, vec![vec![put("a", "1"), put("b", "1")], vec![put("a", "2")]]).await;
        assert_eq!(told, 2);
        let record = |name: &str, value: &str| (format!("agents/{name}"), value.to_owned());
        assert_eq!(found, [record("a", "2"), record("b", "1")]);
        let (_, found) = check(&store, vec![vec![remove("b"), remove("never")], vec![put("a", "3")]]).await;
        assert_eq!(found, [record("a", "3")]);
    }

    #[tokio::test]
    async fn more_than_a_batch_takes_several_commits_and_more_than_a_directory_is_spread() {
        let store = Memory::new();
        let writes = (0..3000).map(|i| vec![put(&format!("{i:04}"), "x")]);
        let mut all = Vec::new();
        for chunk in writes.collect::<Vec<_>>().chunks(1000) {
            let (told, found) = check(&store, chunk.to_vec()).await;
            assert_eq!(told, 1000);
            all = found;
        }
        assert_eq!(all.len(), 3000);
    }

    #[tokio::test]
    async fn a_deposed_master_cannot_write() {
        let store = Memory::new();
        let (registry, _) = Registry::open(Arc::new(store)).await.unwrap();
        registry.term.resign();
        let (ask, asked) = mpsc::channel(1);
        ask.try_send(Write { seq: 1, ops: vec![put("a", "1")] }).unwrap();
        let (durable, told) = watch::channel(0);
        let ended = registry.write(asked, durable).await;
        assert!(matches!(ended, Err(RegistryError::Commit(CommitError::Deposed { .. }))), "{ended:?}");
        assert_eq!(*told.borrow(), 0);
    }

    #[test]
    fn unknown_kinds_are_refused() {
        for path in ["agents", "unknown/a", "agents/..", "agents/a/b"] {
            assert!(matches!(key(path), Err(RegistryError::Name { .. })), "{path}");
        }
    }
}
