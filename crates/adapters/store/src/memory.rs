use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::follow::{BACKLOG, Lister};
use crate::rules::{self, Records};
use crate::term::Elections;
use crate::{
    Batch, CampaignError, CommitError, Dir, Entry, Follower, Key, ReadError, Snapshot, Store, StoreFuture,
    Term, Version,
};

/// Records in memory, gone with the last clone: for tests and for state that need not last. Clones
/// are the same store.
#[derive(Clone, Debug)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    elections: Arc<Elections>,
    changed: broadcast::Sender<Arc<[Key]>>,
}

#[derive(Debug, Default)]
struct State {
    sequence: u64,
    epoch: u64,
    dirs: BTreeMap<String, Snapshot>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Memory {
        let (changed, _) = broadcast::channel(BACKLOG);
        let (state, elections) = (Mutex::default(), Arc::default());
        Memory { shared: Arc::new(Shared { state, elections, changed }) }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Memory::new()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Batches are checked before they are applied, so a panic leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn get(&self, key: &Key) -> StoreFuture<Result<Option<Entry>, ReadError>> {
        let (shared, key) = (self.shared.clone(), key.clone());
        Box::pin(async move {
            let state = shared.state();
            Ok(state.dirs.get(key.dir()).and_then(|dir| dir.get(key.name())).cloned())
        })
    }

    fn list(&self, dir: &Dir) -> StoreFuture<Result<Snapshot, ReadError>> {
        self.shared.clone().list(dir)
    }

    fn commit(&self, term: &Term, batch: Batch) -> StoreFuture<Result<Vec<Version>, CommitError>> {
        let (shared, election, epoch) = (self.shared.clone(), term.election.clone(), term.epoch);
        Box::pin(async move {
            batch.check_limits()?;
            let mut state = shared.state();
            if !shared.elections.leads(&election, epoch) {
                return Err(CommitError::Deposed { election: election.to_string() });
            }
            let version = Version(state.sequence + 1);
            let Ok(versions) = rules::apply(&mut *state, &batch, version);
            if versions.is_ok() {
                state.sequence = version.0;
                // Under the lock, so that followers hear of commits in their order. An error only
                // says that there are no followers.
                let _ = shared.changed.send(rules::changed(&batch).collect());
            }
            versions
        })
    }

    fn follow(&self, dir: &Dir) -> Follower {
        Follower::new(dir.clone(), self.shared.clone(), self.shared.changed.subscribe())
    }

    fn campaign(&self, name: &str, _ttl: Duration) -> StoreFuture<Result<Term, CampaignError>> {
        let (shared, name) = (self.shared.clone(), Arc::<str>::from(name));
        Box::pin(async move {
            let seat = shared.elections.seat(&name).await;
            let epoch = {
                let mut state = shared.state();
                state.epoch += 1;
                state.epoch
            };
            Ok(shared.elections.swear_in(name, epoch, seat))
        })
    }
}

impl Lister for Shared {
    fn list(self: Arc<Self>, dir: &Dir) -> StoreFuture<Result<Snapshot, ReadError>> {
        let listed = self.state().dirs.get(dir.as_str()).cloned().unwrap_or_default();
        Box::pin(std::future::ready(Ok(listed)))
    }
}

impl Records for State {
    type Error = Infallible;

    fn version(&self, key: &Key) -> Result<Option<Version>, Infallible> {
        Ok(self.dirs.get(key.dir()).and_then(|dir| dir.get(key.name())).map(|entry| entry.version))
    }

    fn children(&self, dir: &str) -> Result<usize, Infallible> {
        Ok(self.dirs.get(dir).map_or(0, BTreeMap::len))
    }

    fn put(&mut self, key: &Key, version: Version, value: &Bytes) -> Result<(), Infallible> {
        let dir = self.dirs.entry(key.dir().to_owned()).or_default();
        dir.insert(key.name().to_owned(), Entry { value: value.clone(), version });
        Ok(())
    }

    fn remove(&mut self, key: &Key) -> Result<(), Infallible> {
        if let Some(dir) = self.dirs.get_mut(key.dir()) {
            dir.remove(key.name());
            if dir.is_empty() {
                self.dirs.remove(key.dir());
            }
        }
        Ok(())
    }

    fn set_children(&mut self, _dir: &str, _count: usize) -> Result<(), Infallible> {
        Ok(())
    }
}
