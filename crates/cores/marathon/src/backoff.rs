use std::time::Duration;

use api_marathon::AppDefinition;
use base::{Mono, Wall};

/// The delay before the next launch of an app whose tasks fail.
///
/// Marathon: `RateLimiter`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Backoff {
    /// The configuration that failed: another one starts without delay.
    config: Wall,
    delay: Duration,
    /// Until when nothing is launched.
    pub(crate) until: Mono,
}

impl Backoff {
    /// The delay after a task of `app` failed: the next longer one, up to the cap; the shortest again if, since the
    /// last delay was over, all was well for as long as the cap.
    pub(crate) fn after_failure(previous: Option<Backoff>, app: &AppDefinition, now: Mono) -> Backoff {
        let cap = Duration::from_secs(app.max_launch_delay_seconds.into());
        let first = Duration::from_secs(app.backoff_seconds.into());
        let config = app.config_version();
        let delay = match previous {
            Some(last) if last.config == config && now <= last.until + cap => {
                Duration::try_from_secs_f64(last.delay.as_secs_f64() * app.backoff_factor).unwrap_or(cap)
            }
            _ => first,
        };
        let delay = delay.min(cap);
        Backoff { config, delay, until: now + delay }
    }

    /// Until when the app waits; `None` if it does not.
    pub(crate) fn waits_until(self, app: &AppDefinition, now: Mono) -> Option<Mono> {
        (self.config == app.config_version() && self.until > now).then_some(self.until)
    }
}

#[cfg(test)]
mod tests {
    use api_marathon::AppId;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn delays_grow_to_the_cap_and_start_over_after_a_quiet_time() {
        let mut app = AppDefinition::empty(AppId::new("/a"), "*");
        app.version = Wall(1);
        let mut now = Mono(0);
        let mut backoff = None;
        let mut delays = Vec::new();
        for _ in 0..60 {
            let next = Backoff::after_failure(backoff, &app, now);
            delays.push(next.delay.as_secs_f64());
            now = next.until + Duration::from_secs(1);
            backoff = Some(next);
        }
        assert_eq!(delays[0], 1.0);
        assert!((delays[10] - 1.15_f64.powi(10)).abs() < 1e-6, "{}", delays[10]);
        assert_eq!(delays[59], 300.0);
        let after_cap = backoff.expect("it failed").until + Duration::from_secs(301);
        assert_eq!(Backoff::after_failure(backoff, &app, after_cap).delay, Duration::from_secs(1));
        app.version = Wall(2);
        assert_eq!(Backoff::after_failure(backoff, &app, now).delay, Duration::from_secs(1));
        assert_eq!(backoff.expect("it failed").waits_until(&app, now), None, "another configuration");
    }

    #[test]
    fn the_first_delay_is_capped_too() {
        let mut app = AppDefinition::empty(AppId::new("/a"), "*");
        (app.backoff_seconds, app.max_launch_delay_seconds) = (10, 2);
        assert_eq!(Backoff::after_failure(None, &app, Mono(0)).until, Mono(2 * SECOND));
    }
}
