//! Work that several callers want at once is done once.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The work under way, by what it is for.
pub(crate) struct Flights<K, M, T> {
    current: Mutex<BTreeMap<K, Weak<Flight<M, T>>>>,
}

/// One piece of work. It ends with the last caller that waits for it.
pub(crate) struct Flight<M, T> {
    /// How far it is.
    pub(crate) meter: Arc<M>,
    outcome: watch::Receiver<Option<T>>,
    task: AbortHandle,
}

impl<K: Ord + Clone, M: Default, T: Clone + Send + Sync + 'static> Flights<K, M, T> {
    pub(crate) fn new() -> Flights<K, M, T> {
        Flights { current: Mutex::default() }
    }

    /// The work for `key` that is under way, or else what `start` makes; with whether it was started.
    pub(crate) fn join<F>(&self, key: &K, start: impl FnOnce(Arc<M>) -> F) -> (Arc<Flight<M, T>>, bool)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // A finished one, perhaps a failure, is of no use to who comes now.
        let running = current.get(key).and_then(Weak::upgrade);
        if let Some(flight) = running.filter(|flight| !flight.is_over()) {
            return (flight, false);
        }
        current.retain(|_, flight| flight.strong_count() > 0);
        let meter = Arc::new(M::default());
        let (tell, outcome) = watch::channel(None);
        let work = start(meter.clone());
        let task = tokio::spawn(async move {
            let outcome = work.await;
            tell.send_replace(Some(outcome));
        });
        let flight = Arc::new(Flight { meter, outcome, task: task.abort_handle() });
        current.insert(key.clone(), Arc::downgrade(&flight));
        (flight, true)
    }
}

impl<M, T: Clone> Flight<M, T> {
    fn is_over(&self) -> bool {
        // Without a sender it was aborted or has panicked.
        self.outcome.borrow().is_some() || self.outcome.has_changed().is_err()
    }

    /// What came of it; none if the runtime ended it.
    pub(crate) async fn outcome(&self) -> Option<T> {
        let mut outcome = self.outcome.clone();
        let found = outcome.wait_for(Option::is_some).await;
        found.ok().and_then(|found| found.clone())
    }
}

impl<M, T> Drop for Flight<M, T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn callers_share_work_until_it_is_over() {
        let flights: Flights<u8, (), u32> = Flights::new();
        let (runs, go) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let join = || {
            let (runs, go) = (runs.clone(), go.clone());
            flights.join(&1, move |_| async move {
                go.notified().await;
                runs.fetch_add(1, Ordering::SeqCst)
            })
        };
        let ((one, first), (two, second)) = (join(), join());
        assert!(first && !second);
        go.notify_one();
        assert_eq!((one.outcome().await, two.outcome().await), (Some(0), Some(0)));
        let (three, third) = join();
        assert!(third);
        go.notify_one();
        assert_eq!(three.outcome().await, Some(1));
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_ends() {
        struct Ended(Option<tokio::sync::oneshot::Sender<()>>);
        impl Drop for Ended {
            fn drop(&mut self) {
                let _ = self.0.take().map(|tell| tell.send(()));
            }
        }
        let flights: Flights<u8, (), u32> = Flights::new();
        let (tell, told) = tokio::sync::oneshot::channel();
        let ended = Ended(Some(tell));
        let start = |_| async move {
            let _ended = ended;
            std::future::pending::<u32>().await
        };
        let (one, _) = flights.join(&1, start);
        let (two, first) = flights.join(&1, |_| async { 1 });
        assert!(!first);
        drop(one);
        assert!(!two.is_over());
        drop(two);
        told.await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_no_outcome() {
        let flights: Flights<u8, (), u32> = Flights::new();
        let (one, _) = flights.join(&1, |_| async { panic!("meant") });
        assert_eq!(one.outcome().await, None);
        let (two, first) = flights.join(&1, |_| async { 2 });
        assert!(first);
        assert_eq!(two.outcome().await, Some(2));
    }
}
