use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How verbose this process' log is: 0 as it was started, more says more, for a while only. Clones are
/// the same. Mesos: process::Logging.
#[derive(Clone)]
pub struct Logging(Arc<Shared>);

struct Shared {
    apply: Box<dyn Fn(u32) + Send + Sync>,
    state: Mutex<State>,
    /// The end was changed.
    changed: Notify,
}

#[derive(Default)]
struct State {
    level: u32,
    /// When the level goes back to 0.
    until: Option<Instant>,
    /// Whether somebody waits for that moment.
    is_waited_for: bool,
}

impl Logging {
    /// The log that `apply` makes as verbose as it is told.
    pub fn new(apply: impl Fn(u32) + Send + Sync + 'static) -> Logging {
        let (state, changed) = (Mutex::default(), Notify::new());
        Logging(Arc::new(Shared { apply: Box::new(apply), state, changed }))
    }

    /// The level now.
    pub fn level(&self) -> u32 {
        self.lock().level
    }

    /// Makes the log that verbose for that long. The last one who asks counts. To be called within the
    /// tokio runtime.
    pub fn set(&self, level: u32, duration: Duration) {
        let mut state = self.lock();
        self.apply(&mut state, level);
        let until = (level > 0).then(|| Instant::now().checked_add(duration)).flatten();
        state.until = until;
        match (state.is_waited_for, until) {
            (true, _) => self.0.changed.notify_one(),
            (false, Some(_)) => {
                state.is_waited_for = true;
                tokio::spawn(self.clone().go_back());
            }
            (false, None) => {}
        }
    }

    /// Waits for the end, wherever it is moved to.
    async fn go_back(self) {
        loop {
            let until = {
                let mut state = self.lock();
                match state.until {
                    Some(until) if until > Instant::now() => until,
                    _ => {
                        (state.until, state.is_waited_for) = (None, false);
                        self.apply(&mut state, 0);
                        return;
                    }
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.0.changed.notified() => {}
            }
        }
    }

    fn apply(&self, state: &mut State, level: u32) {
        if state.level != level {
            state.level = level;
            (self.0.apply)(level);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics with it locked")
    }
}

/// A log that cannot be made more verbose: the level is kept, nothing follows from it.
impl Default for Logging {
    fn default() -> Self {
        Logging::new(|_| {})
    }
}

impl fmt::Debug for Logging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logging({})", self.level())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn mp26_the_level_goes_back_when_its_time_is_over() {
        let applied = Arc::new(Mutex::new(Vec::new()));
        let logging = Logging::new({
            let applied = Arc::clone(&applied);
            move |level| applied.lock().unwrap().push(level)
        });
        let after = async |millis, level| {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            assert_eq!(logging.level(), level, "after {millis} ms more");
        };
        logging.set(2, Duration::from_secs(10));
        after(9_000, 2).await;
        // Later.
        logging.set(3, Duration::from_secs(10));
        after(9_000, 3).await;
        // Sooner.
        logging.set(1, Duration::from_millis(100));
        after(50, 1).await;
        after(100, 0).await;
        // At once, and again.
        logging.set(1, Duration::from_secs(10));
        logging.set(0, Duration::from_secs(10));
        after(0, 0).await;
        logging.set(1, Duration::from_secs(1));
        after(500, 1).await;
        after(600, 0).await;
        assert_eq!(*applied.lock().unwrap(), [2, 3, 1, 0, 1, 0, 1, 0]);
    }
}
