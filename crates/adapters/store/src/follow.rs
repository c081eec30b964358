use std::sync::Arc;

use tokio::sync::broadcast;

use crate::{Dir, Key, ReadError, Snapshot, StoreFuture};

/// What a follower is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The whole directory, at first and whenever changes were missed: forget what was known.
    Resync(Snapshot),
    /// This record was written or removed: read it again.
    Changed(Key),
}

/// The changes of one directory's records.
pub struct Follower {
    dir: Dir,
    lister: Arc<dyn Lister>,
    changed: broadcast::Receiver<Arc<[Key]>>,
    pending: Vec<Key>,
    resync: bool,
}

/// What a follower reads with.
pub(crate) trait Lister: Send + Sync {
    fn list(self: Arc<Self>, dir: &Dir) -> StoreFuture<Result<Snapshot, ReadError>>;
}

/// How many commits a follower may be behind before it is told to start over.
pub(crate) const BACKLOG: usize = 256;

impl Follower {
    /// `changed` must have been subscribed before the first listing, so that no change falls between.
    pub(crate) fn new(
        dir: Dir,
        lister: Arc<dyn Lister>,
        changed: broadcast::Receiver<Arc<[Key]>>,
    ) -> Follower {
        Follower { dir, lister, changed, pending: Vec::new(), resync: true }
    }

    /// The next change; none when the store was closed. The first is a [`Change::Resync`]. A change
    /// may be told that the last resync already had.
    ///
    /// # Errors
    /// When the directory cannot be read; the next call tries again.
    pub async fn next(&mut self) -> Result<Option<Change>, ReadError> {
        loop {
            if self.resync {
                self.pending.clear();
                let snapshot = self.lister.clone().list(&self.dir).await?;
                self.resync = false;
                return Ok(Some(Change::Resync(snapshot)));
            }
            if let Some(key) = self.pending.pop() {
                return Ok(Some(Change::Changed(key)));
            }
            match self.changed.recv().await {
                Ok(keys) => {
                    let here = |key: &&Key| key.dir() == self.dir.as_str();
                    self.pending.extend(keys.iter().filter(here).rev().cloned());
                }
                Err(broadcast::error::RecvError::Lagged(_)) => self.resync = true,
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
            }
        }
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("dir", &self.dir).finish_non_exhaustive()
    }
}
