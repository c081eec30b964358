use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The right to write, from winning an election until it is lost, resigned or dropped.
#[derive(Debug)]
pub struct Term {
    pub(crate) election: Arc<str>,
    pub(crate) epoch: u64,
    lost: watch::Receiver<bool>,
    elections: Weak<Elections>,
}

impl Term {
    /// The election's name.
    pub fn election(&self) -> &str {
        &self.election
    }

    /// Which leader of this election this is: greater for every later one, also after a restart.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Completes when the term has ended.
    pub async fn lost(&self) {
        let _ = self.lost.clone().wait_for(|lost| *lost).await;
    }

    /// Whether the term has ended. A commit may be refused before this says so.
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow() || self.lost.has_changed().is_err()
    }

    /// Ends the term: the next candidate leads. Commits that are not written yet are refused.
    pub fn resign(&self) {
        if let Some(elections) = self.elections.upgrade() {
            elections.end(&self.election, self.epoch);
        }
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        self.resign();
    }
}

/// The elections among the candidates of one process, for backends that no other process can open.
#[derive(Debug, Default)]
pub(crate) struct Elections {
    named: Mutex<BTreeMap<Arc<str>, Election>>,
}

#[derive(Debug)]
struct Election {
    seat: Arc<Semaphore>,
    leader: Option<Leader>,
}

#[derive(Debug)]
struct Leader {
    epoch: u64,
    lost: watch::Sender<bool>,
    _seat: OwnedSemaphorePermit,
}

impl Elections {
    /// Waits for the seat of an election; whoever holds it decides the epoch and is then sworn in.
    pub(crate) async fn seat(&self, name: &Arc<str>) -> OwnedSemaphorePermit {
        let election = || Election { seat: Arc::new(Semaphore::new(1)), leader: None };
        let seat = self.named().entry(name.clone()).or_insert_with(election).seat.clone();
        seat.acquire_owned().await.expect("a seat's semaphore is never closed")
    }

    /// Makes the holder of the seat the leader.
    pub(crate) fn swear_in(self: &Arc<Self>, name: Arc<str>, epoch: u64, seat: OwnedSemaphorePermit) -> Term {
        let (lost, seen) = watch::channel(false);
        if let Some(election) = self.named().get_mut(&name) {
            election.leader = Some(Leader { epoch, lost, _seat: seat });
        }
        Term { election: name, epoch, lost: seen, elections: Arc::downgrade(self) }
    }

    /// Whether that term has not ended.
    pub(crate) fn leads(&self, name: &str, epoch: u64) -> bool {
        let named = self.named();
        let leader = named.get(name).and_then(|election| election.leader.as_ref());
        leader.is_some_and(|leader| leader.epoch == epoch)
    }

    fn end(&self, name: &str, epoch: u64) {
        let mut named = self.named();
        let Some(election) = named.get_mut(name) else { return };
        if let Some(leader) = election.leader.take_if(|leader| leader.epoch == epoch) {
            leader.lost.send_replace(true);
        }
    }

    fn named(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Election>> {
        // Every change under the lock is a single assignment, so a panic leaves nothing half done.
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
