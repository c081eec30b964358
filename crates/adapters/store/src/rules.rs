//! The contract's rules about records, the same for every backend that keeps them itself.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::batch::Action;
use crate::{Batch, CommitError, Dir, Key, LimitError, Version, limit};

/// The records as one transaction sees them.
pub(crate) trait Records {
    type Error;
    fn version(&self, key: &Key) -> Result<Option<Version>, Self::Error>;
    fn children(&self, dir: &str) -> Result<usize, Self::Error>;
    fn put(&mut self, key: &Key, version: Version, value: &Bytes) -> Result<(), Self::Error>;
    fn remove(&mut self, key: &Key) -> Result<(), Self::Error>;
    fn set_children(&mut self, dir: &str, count: usize) -> Result<(), Self::Error>;
}

/// Applies `batch` as the state `version`, all of it or nothing. The outer error is the backend's and
/// means that the transaction is of no use any more.
pub(crate) fn apply<R: Records>(
    records: &mut R,
    batch: &Batch,
    version: Version,
) -> Result<Result<Vec<Version>, CommitError>, R::Error> {
    let mut versions = Vec::with_capacity(batch.ops.len());
    let mut grown: BTreeMap<&str, isize> = BTreeMap::new();
    for op in &batch.ops {
        let found = records.version(&op.key)?;
        if found != op.expected {
            let (key, expected) = (op.key.clone(), op.expected);
            return Ok(Err(CommitError::Conflict { key, expected, found }));
        }
        match (&op.action, found) {
            (Action::Put(_), None) => *grown.entry(op.key.dir()).or_default() += 1,
            (Action::Delete, Some(_)) => *grown.entry(op.key.dir()).or_default() -= 1,
            _ => {}
        }
        versions.push(match op.action {
            Action::Put(_) => version,
            Action::Delete | Action::Check => found.unwrap_or(version),
        });
    }
    let mut counts = Vec::with_capacity(grown.len());
    for (dir, by) in grown {
        let count = records.children(dir)?.saturating_add_signed(by);
        if by > 0 && count > limit::CHILDREN {
            let dir = Dir::parse(dir).expect("a key's directory is a directory");
            return Ok(Err(LimitError::Children(dir).into()));
        }
        counts.push((dir, count));
    }
    for op in &batch.ops {
        match &op.action {
            Action::Put(value) => records.put(&op.key, version, value)?,
            Action::Delete => records.remove(&op.key)?,
            Action::Check => {}
        }
    }
    for (dir, count) in counts {
        records.set_children(dir, count)?;
    }
    Ok(Ok(versions))
}

/// The keys a batch changes, to tell followers.
pub(crate) fn changed(batch: &Batch) -> impl Iterator<Item = Key> + '_ {
    batch.ops.iter().filter(|op| op.action != Action::Check).map(|op| op.key.clone())
}
