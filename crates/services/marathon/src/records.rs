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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use api_marathon::{AppDefinition, AppId};
    use base::Wall;
    use store::Memory;

    use super::*;

    async fn load(store: &Memory) -> (Records<Memory>, Vec<Record>) {
        let term = store.campaign(ELECTION, Duration::from_secs(10)).await.expect("nobody else leads");
        Records::load(store.clone(), term).await.expect("the store is whole")
    }

    fn app(id: &str, version: u64, cmd: &str) -> Record {
        let mut app = AppDefinition::empty(AppId::new(id), "*");
        (app.version, app.cmd) = (Wall::from_millis(version), Some(cmd.to_owned()));
        Record::App(Arc::new(app))
    }

    fn put(record: &Record) -> Write {
        Write::Put(Box::new(record.clone()))
    }

    fn by_key(records: Vec<Record>) -> BTreeMap<RecordKey, Record> {
        records.into_iter().map(|record| (record.key(), record)).collect()
    }

    #[tokio::test]
    async fn what_was_written_is_found_however_much_it_is() {
        let store = Memory::new();
        let (mut records, found) = load(&store).await;
        assert!(found.is_empty());
        // More operations and more bytes than one batch may have.
        let big = "x".repeat(30_000);
        let mut expected: Vec<Record> = (0..250).map(|n| app(&format!("/shop/app-{n}"), n, &big)).collect();
        expected.push(Record::Framework { id: "f".to_owned() });
        expected.push(Record::Current { id: AppId::new("/shop/app-1"), version: Wall::from_millis(1) });
        records.write(vec![(Seq(1), expected.iter().map(put).collect())]).await.expect("written");
        drop(records);
        let (_, found) = load(&store).await;
        assert_eq!(by_key(found), by_key(expected));
    }

    #[tokio::test]
    async fn the_last_write_of_a_group_holds() {
        let store = Memory::new();
        let (mut records, _) = load(&store).await;
        let first = app("/a", 1, "one");
        let second = app("/a", 1, "two");
        let gone = app("/b", 1, "never");
        let group = vec![
            (Seq(1), vec![put(&first), put(&gone)]),
            (Seq(2), vec![put(&second), Write::Delete(gone.key())]),
        ];
        records.write(group).await.expect("written");
        records
            .write(vec![(Seq(3), vec![Write::Delete(RecordKey::Framework)])])
            .await
            .expect("nothing to delete");
        drop(records);
        let (mut records, found) = load(&store).await;
        assert_eq!(found, [second]);
        records.write(vec![(Seq(4), vec![put(&first)])]).await.expect("versions were read, too");
        records.write(vec![(Seq(5), vec![Write::Delete(first.key())])]).await.expect("deleted");
        drop(records);
        assert!(load(&store).await.1.is_empty());
    }

    #[tokio::test]
    async fn who_was_deposed_writes_nothing() {
        let store = Memory::new();
        let (mut records, _) = load(&store).await;
        records.term.resign();
        let refused = records.write(vec![(Seq(1), vec![put(&app("/a", 1, "run"))])]).await;
        assert!(matches!(refused, Err(RecordsError::Commit(CommitError::Deposed { .. }))), "{refused:?}");
        drop(records);
        assert!(load(&store).await.1.is_empty());
    }
}
