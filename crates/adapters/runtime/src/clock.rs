use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base::{Mono, Now, Wall};

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock;

impl Clock {
    /// The time on both clocks. `mono` counts from the first call in this process.
    pub fn now() -> Now {
        Now { mono: Self::mono(), wall: Self::wall() }
    }

    /// The monotonic clock alone, for who measures a span.
    pub fn mono() -> Mono {
        // A constant of the process, not state: every component must see the same zero.
        static START: OnceLock<Instant> = OnceLock::new();
        let nanos = START.get_or_init(Instant::now).elapsed().as_nanos();
        Mono(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The wall clock alone. A clock set before 1970 reads as 1970.
    pub fn wall() -> Wall {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Wall(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// 64 random bits of the operating system, to seed a [`base::Rng`] with.
pub fn entropy() -> u64 {
    let mut bytes = [0u8; 8];
    // Eight bytes come whole or not at all (getrandom(2): up to 256 bytes are never interrupted).
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => u64::from_ne_bytes(bytes),
        other => unreachable!("the kernel gives entropy to everybody, and said {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_and_entropy_differs() {
        let first = Clock::now();
        let second = Clock::now();
        assert!(second.mono >= first.mono);
        assert!(second.wall.as_secs_f64() > 1_600_000_000.0);
        assert_ne!(entropy(), entropy());
    }
}
