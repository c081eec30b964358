use std::time::{Duration, Instant};

/// How long to rest between two looks at a condition.
const REST: Duration = Duration::from_millis(10);

/// Waits until `look` finds something, and gives it back; `None` after `timeout`.
pub fn until<T>(timeout: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + timeout;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        #[allow(clippy::disallowed_methods, reason = "a rest between two looks, not a wait for luck")]
        std::thread::sleep(REST);
    }
}

/// Waits until `look` finds something.
///
/// # Panics
/// After 60 seconds, saying `what` did not come.
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    match until(Duration::from_secs(60), look) {
        Some(found) => found,
        None => panic!("not within 60 s: {what}"),
    }
}
