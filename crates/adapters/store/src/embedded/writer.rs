//! The thread that writes: it takes what is queued, writes it as one transaction, and replies when
//! that is on the disk.

use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadableTable, Table, WriteTransaction};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{CHILDREN, EPOCHS, META, RECORDS};
use crate::rules::{self, Records};
use crate::term::Elections;
use crate::{BackendError, Batch, CommitError, Key, Version};

/// The most requests of one transaction: bounds what a crash can make unknown and how long the first
/// of them waits.
const GROUP: usize = 256;

pub(super) enum Request {
    Commit {
        election: Arc<str>,
        epoch: u64,
        batch: Batch,
        reply: oneshot::Sender<Result<Vec<Version>, CommitError>>,
    },
    NextEpoch {
        election: Arc<str>,
        reply: oneshot::Sender<Result<u64, BackendError>>,
    },
}

pub(super) struct Writer {
    database: Arc<Database>,
    queue: mpsc::Receiver<Request>,
    elections: Arc<Elections>,
    changed: broadcast::Sender<Arc<[Key]>>,
    sequence: u64,
}

/// What a request came to, to be told when the group is on the disk.
enum Outcome {
    Commit(Result<Vec<Version>, CommitError>),
    Epoch(u64),
}

impl Writer {
    pub(super) fn new(
        database: Arc<Database>,
        queue: mpsc::Receiver<Request>,
        elections: Arc<Elections>,
        changed: broadcast::Sender<Arc<[Key]>>,
        sequence: u64,
    ) -> Writer {
        Writer { database, queue, elections, changed, sequence }
    }

    /// Writes until the store is dropped.
    pub(super) fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP);
        while let Some(first) = self.queue.blocking_recv() {
            group.push(first);
            while group.len() < GROUP
                && let Ok(request) = self.queue.try_recv()
            {
                group.push(request);
            }
            match self.write(&group) {
                Ok(outcomes) => self.reply(group.drain(..), outcomes),
                Err(error) => fail(group.drain(..), &error.to_string()),
            }
        }
    }

    fn write(&mut self, group: &[Request]) -> Result<Vec<Outcome>, redb::Error> {
        let transaction = self.database.begin_write()?;
        let mut sequence = self.sequence;
        let outcomes = self.fill(&transaction, group, &mut sequence)?;
        let wrote = |outcome: &Outcome| !matches!(outcome, Outcome::Commit(Err(_)));
        if outcomes.iter().any(wrote) {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        self.sequence = sequence;
        Ok(outcomes)
    }

    fn fill(
        &self,
        transaction: &WriteTransaction,
        group: &[Request],
        sequence: &mut u64,
    ) -> Result<Vec<Outcome>, redb::Error> {
        let mut tables =
            Tables { records: transaction.open_table(RECORDS)?, children: transaction.open_table(CHILDREN)? };
        let mut epochs = transaction.open_table(EPOCHS)?;
        let mut outcomes = Vec::with_capacity(group.len());
        for request in group {
            outcomes.push(match request {
                Request::Commit { election, epoch, .. } if !self.elections.leads(election, *epoch) => {
                    Outcome::Commit(Err(CommitError::Deposed { election: election.to_string() }))
                }
                Request::Commit { batch, .. } => {
                    let result = rules::apply(&mut tables, batch, Version(*sequence + 1))?;
                    *sequence += u64::from(result.is_ok());
                    Outcome::Commit(result)
                }
                Request::NextEpoch { election, .. } => {
                    let last = epochs.get(&**election)?.map_or(0, |last| last.value());
                    epochs.insert(&**election, last + 1)?;
                    Outcome::Epoch(last + 1)
                }
            });
        }
        transaction.open_table(META)?.insert("sequence", *sequence)?;
        Ok(outcomes)
    }

    /// Tells followers before callers, so that a caller's own change is never news to it later.
    fn reply(&self, group: impl Iterator<Item = Request>, outcomes: Vec<Outcome>) {
        for (request, outcome) in group.zip(outcomes) {
            // A caller that is gone, or no followers: nobody to tell.
            match (request, outcome) {
                (Request::Commit { batch, reply, .. }, Outcome::Commit(result)) => {
                    if result.is_ok() {
                        let _ = self.changed.send(rules::changed(&batch).collect());
                    }
                    let _ = reply.send(result);
                }
                (Request::NextEpoch { reply, .. }, Outcome::Epoch(epoch)) => {
                    let _ = reply.send(Ok(epoch));
                }
                _ => unreachable!("each request has an outcome of its kind"),
            }
        }
    }
}

fn fail(group: impl Iterator<Item = Request>, error: &str) {
    tracing::error!(error, "the store could not write");
    for request in group {
        match request {
            Request::Commit { reply, .. } => {
                let _ = reply.send(Err(CommitError::Unknown(error.into())));
            }
            Request::NextEpoch { reply, .. } => {
                let _ = reply.send(Err(error.into()));
            }
        }
    }
}

struct Tables<'txn> {
    records: Table<'txn, (&'static str, &'static str), (u64, &'static [u8])>,
    children: Table<'txn, &'static str, u64>,
}

impl Records for Tables<'_> {
    type Error = redb::Error;

    fn version(&self, key: &Key) -> Result<Option<Version>, redb::Error> {
        Ok(self.records.get((key.dir(), key.name()))?.map(|found| Version(found.value().0)))
    }

    fn children(&self, dir: &str) -> Result<usize, redb::Error> {
        let count = self.children.get(dir)?.map_or(0, |count| count.value());
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn put(&mut self, key: &Key, version: Version, value: &Bytes) -> Result<(), redb::Error> {
        self.records.insert((key.dir(), key.name()), (version.0, &value[..]))?;
        Ok(())
    }

    fn remove(&mut self, key: &Key) -> Result<(), redb::Error> {
        self.records.remove((key.dir(), key.name()))?;
        Ok(())
    }

    fn set_children(&mut self, dir: &str, count: usize) -> Result<(), redb::Error> {
        if count == 0 {
            self.children.remove(dir)?;
        } else {
            self.children.insert(dir, count as u64)?;
        }
        Ok(())
    }
}
