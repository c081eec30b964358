//! Instances that did not take a connection a moment ago, and are asked last for a while.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an instance is asked last.
const WHILE: Duration = Duration::from_secs(2);
/// How many instances are remembered; the oldest is forgotten first.
const MOST: usize = 256;

/// Without it every request would wait for the connection to a host that is gone, until Marathon
/// notices, too.
#[derive(Debug, Default)]
pub(crate) struct Shunned(Mutex<Vec<(SocketAddr, Instant)>>);

impl Shunned {
    pub(crate) fn add(&self, address: SocketAddr, now: Instant) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|(other, _)| *other != address);
        if list.len() >= MOST {
            list.remove(0);
        }
        list.push((address, now));
    }

    /// Moves the shunned ones to the end, keeping the order otherwise.
    pub(crate) fn sort(&self, addresses: &mut [SocketAddr], now: Instant) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|(_, since)| now.saturating_duration_since(*since) < WHILE);
        if !list.is_empty() {
            addresses.sort_by_key(|address| list.iter().any(|(other, _)| other == address));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shunned_ones_come_last_for_a_while() {
        let (shunned, now) = (Shunned::default(), Instant::now());
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let sorted = |now| {
            let mut addresses = [at(1), at(2), at(3)];
            shunned.sort(&mut addresses, now);
            addresses.map(|address| address.port())
        };
        assert_eq!(sorted(now), [1, 2, 3]);
        shunned.add(at(1), now);
        shunned.add(at(2), now + WHILE / 2);
        assert_eq!(sorted(now + WHILE / 2), [3, 1, 2]);
        assert_eq!(sorted(now + WHILE), [1, 3, 2]);
        assert_eq!(sorted(now + WHILE * 2), [1, 2, 3]);
        for port in 10..1000 {
            shunned.add(at(port), now);
        }
        assert_eq!(shunned.0.lock().unwrap().len(), MOST);
    }
}
