//! Queues from an event loop to a peer: bounded by bytes, not by count, because one turn of the loop
//! may have thousands of small things to say to a peer that reads well (every task it asked about).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

/// How many bytes may wait for one peer. One that is further behind is cut off: it comes back and asks
/// for what it missed. A single message is taken whatever its size.
pub const LIMIT: usize = 64 << 20;

/// The loop's end.
#[derive(Debug)]
pub struct Outbox<T> {
    items: mpsc::UnboundedSender<(T, usize)>,
    waiting: Arc<AtomicUsize>,
    limit: usize,
}

/// The end of the task that writes to the peer.
#[derive(Debug)]
pub struct Unsent<T> {
    items: mpsc::UnboundedReceiver<(T, usize)>,
    waiting: Arc<AtomicUsize>,
}

/// Nothing more can be said to the peer: it is gone, or too far behind.
#[derive(Debug, PartialEq, Eq)]
pub struct Lost;

/// A queue of at most `limit` bytes.
pub fn outbox<T>(limit: usize) -> (Outbox<T>, Unsent<T>) {
    let (sender, items) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (Outbox { items: sender, waiting: waiting.clone(), limit }, Unsent { items, waiting })
}

impl<T> Outbox<T> {
    /// Queues an item of so many bytes.
    ///
    /// # Errors
    /// The reading end is gone, or the limit would be passed; the item is dropped.
    pub fn put(&self, item: T, bytes: usize) -> Result<(), Lost> {
        let waiting = self.waiting.load(Ordering::Acquire);
        if waiting > 0 && waiting + bytes > self.limit {
            return Err(Lost);
        }
        self.waiting.fetch_add(bytes, Ordering::AcqRel);
        self.items.send((item, bytes)).map_err(|_| Lost)
    }

    /// How many bytes are queued and not taken.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }
}

impl<T> Unsent<T> {
    /// The next item; none when the outbox was dropped and everything was taken.
    pub async fn next(&mut self) -> Option<T> {
        let (item, bytes) = self.items.recv().await?;
        self.waiting.fetch_sub(bytes, Ordering::AcqRel);
        Some(item)
    }

    /// The next item if there is one now.
    pub fn try_next(&mut self) -> Option<T> {
        let (item, bytes) = self.items.try_recv().ok()?;
        self.waiting.fetch_sub(bytes, Ordering::AcqRel);
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_are_bounded_and_counts_are_not() {
        let (outbox, mut unsent) = outbox(100);
        for number in 0..100 {
            assert_eq!(outbox.put(number, 1), Ok(()));
        }
        assert_eq!((outbox.put(100, 1), outbox.waiting()), (Err(Lost), 100));
        assert_eq!(unsent.next().await, Some(0));
        assert_eq!(outbox.put(100, 1), Ok(()));
        while unsent.try_next().is_some() {}
        assert_eq!(outbox.put(101, 1000), Ok(()), "alone it is taken");
        assert_eq!(outbox.put(102, 1), Err(Lost));
        drop(outbox);
        assert_eq!((unsent.next().await, unsent.next().await), (Some(101), None));
    }

    #[test]
    fn nobody_reads_any_more() {
        let (outbox, unsent) = outbox(100);
        drop(unsent);
        assert_eq!(outbox.put((), 1), Err(Lost));
    }
}
