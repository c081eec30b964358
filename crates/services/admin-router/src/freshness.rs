//! Looking again before a service is said not to be there: what followers know is some milliseconds old.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// Who wants to know the newest, and how far the follower is. Any number of askers cause one reading.
pub(crate) struct Freshness {
    asked: AtomicU64,
    wake: Notify,
    answered: watch::Sender<u64>,
}

impl Freshness {
    pub(crate) fn new() -> Freshness {
        Freshness { asked: AtomicU64::new(0), wake: Notify::new(), answered: watch::Sender::new(0) }
    }

    /// Returns after a reading that began after this call, or when none ends within the time.
    pub(crate) async fn renew(&self, within: Duration) {
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut answered = self.answered.subscribe();
        self.wake.notify_one();
        // Too late, or the router is ending: what is known has to do.
        let _ = timeout(within, answered.wait_for(|answered| *answered >= ticket)).await;
    }

    /// Waits until somebody asks.
    pub(crate) async fn wanted(&self) {
        self.wake.notified().await;
    }

    /// To be taken before a reading begins, and given back when it is done.
    pub(crate) fn begin(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn done(&self, ticket: u64) {
        self.answered.send_replace(ticket);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_reading_that_began_later_counts() {
        let freshness = Arc::new(Freshness::new());
        let early = freshness.begin();
        let asker = tokio::spawn({
            let freshness = Arc::clone(&freshness);
            async move { freshness.renew(Duration::from_secs(60)).await }
        });
        freshness.wanted().await;
        freshness.done(early);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!asker.is_finished(), "the reading had begun before the question");
        freshness.done(freshness.begin());
        tokio::time::timeout(Duration::from_secs(1), asker).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let begun = tokio::time::Instant::now();
        Freshness::new().renew(Duration::from_secs(1)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
    }
}
