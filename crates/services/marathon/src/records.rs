//! The durable state: records of the core in the store.

use std::collections::BTreeMap;

use marathon_core::{Key as RecordKey, Record, Seq, Write};
use store::{Batch, Buckets, CommitError, Dir, Key, KeyError, ReadError, Store, Term, Version, limit};

/// The election that whoever writes here has won.
pub(crate) const ELECTION: &str = "marathon";

/// Part of what is stored: may not change. Room for 64,000 versions of apps, and 256,000 instances.
const APP_BUCKETS: u16 = 64;
const INSTANCE_BUCKETS: u16 = 256;

/// Why state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordsError {
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store cannot be written.
    #[error("could not write to the store")]
    Commit(#[from] CommitError),
    /// A record is none of this program's.
    #[error("could not read the record {key}")]
    Decode {
        /// Its key.
        key: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A record's name is none that the store takes.
    #[error("could not keep a record")]
    Key(#[from] KeyError),
}

/// Where records are, and the state that the store has of each: every write is a compare-and-set.
pub(crate) struct Records<S> {
    store: S,
    term: Term,
    versions: BTreeMap<Key, Version>,
    apps: Buckets,
    instances: Buckets,
    deployments: Dir,
    framework: Key,
}

impl<S: Store> Records<S> {
    /// Reads everything. `term` is of the election [`ELECTION`].
    pub(crate) async fn load(store: S, term: Term) -> Result<(Records<S>, Vec<Record>), RecordsError> {
        let mut records = Records {
            store,
            term,
            versions: BTreeMap::new(),
            apps: Buckets::new(Dir::parse("marathon/apps")?, APP_BUCKETS),
            instances: Buckets::new(Dir::parse("marathon/instances")?, INSTANCE_BUCKETS),
            deployments: Dir::parse("marathon/deployments")?,
            framework: Key::parse("marathon/framework")?,
        };
        let mut found = Vec::new();
        let dirs: Vec<Dir> = records.apps.dirs().chain(records.instances.dirs()).collect();
        for dir in dirs.into_iter().chain([records.deployments.clone()]) {
            for (name, entry) in records.store.list(&dir).await? {
                records.take(dir.key(&name)?, &entry, &mut found)?;
            }
        }
        let framework = records.framework.clone();
        if let Some(entry) = records.store.get(&framework).await? {
            records.take(framework, &entry, &mut found)?;
        }
        Ok((records, found))
    }

    fn take(&mut self, key: Key, entry: &store::Entry, found: &mut Vec<Record>) -> Result<(), RecordsError> {
        let record = serde_json::from_slice(&entry.value)
            .map_err(|source| RecordsError::Decode { key: key.to_string(), source })?;
        found.push(record);
        self.versions.insert(key, entry.version);
        Ok(())
    }

    /// Makes all these writes durable, in order, with as few commits as the store's limits allow.
    pub(crate) async fn write(&mut self, writes: Vec<(Seq, Vec<Write>)>) -> Result<(), RecordsError> {
        let mut batch = Pending::default();
        for write in writes.into_iter().flat_map(|(_, writes)| writes) {
            let (key, value) = match write {
                Write::Put(record) => {
                    let value =
                        serde_json::to_vec(&*record).expect("records have string keys and cannot fail");
                    (self.key(&record.key())?, Some(value))
                }
                Write::Delete(key) => (self.key(&key)?, None),
            };
            if !batch.has_room(&key, value.as_deref()) {
                self.commit(std::mem::take(&mut batch)).await?;
            }
            batch.add(key, value);
        }
        self.commit(batch).await
    }

    async fn commit(&mut self, pending: Pending) -> Result<(), RecordsError> {
        let mut batch = Batch::new();
        let mut written = Vec::with_capacity(pending.values.len());
        for (key, value) in pending.values {
            let version = self.versions.get(&key).copied();
            let is_kept = value.is_some();
            batch = match (value, version) {
                (Some(value), version) => batch.put(key.clone(), version, value),
                (None, Some(version)) => batch.delete(key.clone(), version),
                // Written and deleted before it was ever durable.
                (None, None) => continue,
            };
            written.push((key, is_kept));
        }
        if batch.is_empty() {
            return Ok(());
        }
        let versions = self.store.commit(&self.term, batch).await?;
        for ((key, is_kept), version) in written.into_iter().zip(versions) {
            if is_kept {
                self.versions.insert(key, version);
            } else {
                self.versions.remove(&key);
            }
        }
        Ok(())
    }

    /// Where a record is kept. Flat names in buckets, because the store lists records and not directories.
    fn key(&self, key: &RecordKey) -> Result<Key, KeyError> {
        match key {
            RecordKey::App(id, version) => self.apps.key(&format!("{}:{version}", id.safe_path())),
            RecordKey::Current(id) => self.apps.key(&format!("{}:current", id.safe_path())),
            RecordKey::Failure(id) => self.apps.key(&format!("{}:failure", id.safe_path())),
            RecordKey::Instance(id) => self.instances.key(id.as_str()),
            RecordKey::Deployment(id) => self.deployments.key(id),
            RecordKey::Framework => Ok(self.framework.clone()),
        }
    }
}

/// A batch that is filled up.
#[derive(Default)]
struct Pending {
    values: BTreeMap<Key, Option<Vec<u8>>>,
    bytes: usize,
}

impl Pending {
    fn has_room(&self, key: &Key, value: Option<&[u8]>) -> bool {
        let bytes = self.bytes + size(key, value);
        self.values.is_empty() || (self.values.len() < limit::OPERATIONS && bytes <= limit::BATCH)
    }

    /// A later write of the same record takes the place of the earlier: the batch happens as a whole.
    fn add(&mut self, key: Key, value: Option<Vec<u8>>) {
        self.bytes += size(&key, value.as_deref());
        self.values.insert(key, value);
    }
}

fn size(key: &Key, value: Option<&[u8]>) -> usize {
    key.as_str().len() + value.map_or(0, <[u8]>::len)
}
