use std::collections::BTreeSet;

use crate::Mono;

/// Pending timers in the order of their times. None is ever cancelled: whoever is concerned knows, too,
/// until when there is something to wait for, and a timer that is no longer meant does nothing.
#[derive(Clone, Debug)]
pub struct Timers<T>(BTreeSet<(Mono, T)>);

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Timers(BTreeSet::new())
    }
}

impl<T: Ord> Timers<T> {
    /// Lets `timer` fire at this time, once however often it is set for it.
    pub fn set(&mut self, at: Mono, timer: T) {
        self.0.insert((at, timer));
    }

    /// When the first timer fires.
    pub fn next(&self) -> Option<Mono> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that fires by `now`, with the time it was set for.
    pub fn pop_due(&mut self, now: Mono) -> Option<(Mono, T)> {
        if self.next()? <= now { self.0.pop_first() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_and_not_before_their_time() {
        let mut timers = Timers::default();
        assert_eq!((timers.next(), timers.pop_due(Mono(9))), (None, None));
        for (at, timer) in [(5, "b"), (3, "c"), (5, "a"), (5, "b")] {
            timers.set(Mono(at), timer);
        }
        assert_eq!((timers.next(), timers.pop_due(Mono(2))), (Some(Mono(3)), None));
        assert_eq!(timers.pop_due(Mono(3)), Some((Mono(3), "c")));
        assert_eq!(timers.pop_due(Mono(4)), None);
        let rest: Vec<_> = std::iter::from_fn(|| timers.pop_due(Mono(9))).collect();
        assert_eq!(rest, [(Mono(5), "a"), (Mono(5), "b")]);
    }
}
