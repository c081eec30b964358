//! How many calls a second frameworks may make. Mesos: BoundedRateLimiter, `--rate_limits`.
//!
//! The limits are for principals, which only authentication proves; everybody else shares the default.
//! A framework that subscribes is not limited, as in Mesos, which knows its principal only then.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use base::Mono;
use mesos_proto::{json, v1};
use runtime::Clock;

/// The lanes of calls: one for each principal with a limit, one for all that are not named.
#[derive(Debug, Default)]
pub(crate) struct RateLimits {
    /// None of a principal is no limit.
    named: BTreeMap<String, Option<Mutex<Lane>>>,
    others: Option<Mutex<Lane>>,
}

/// A call that came when as many waited as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Message mesos.scheduler.Call dropped: capacity({0}) exceeded")]
pub(crate) struct Dropped(u64);

/// Calls that go on one after the other, at the same distance.
#[derive(Debug)]
struct Lane {
    distance: Duration,
    /// So many may wait; any number without it.
    capacity: Option<u64>,
    /// When the next one may go on.
    next: Mono,
}

impl RateLimits {
    /// Reads the flag.
    ///
    /// # Errors
    /// What is wrong with it, in Mesos' words where it has some.
    pub(crate) fn parse(text: &str) -> Result<RateLimits, String> {
        let read: v1::RateLimits = json::from_json(text.as_bytes()).map_err(|error| error.to_string())?;
        let mut limits = RateLimits::default();
        for limit in read.limits {
            let lane = limit.qps.map(|qps| Lane::new("qps", qps, limit.capacity)).transpose()?;
            if limits.named.insert(limit.principal.clone(), lane.map(Mutex::new)).is_some() {
                return Err(format!(
                    "Duplicate principal {} found in RateLimits configuration",
                    limit.principal
                ));
            }
        }
        let default = read.aggregate_default_qps;
        let default =
            default.map(|qps| Lane::new("aggregate_default_qps", qps, read.aggregate_default_capacity));
        limits.others = default.transpose()?.map(Mutex::new);
        Ok(limits)
    }

    /// Waits until a call of that principal may go on.
    ///
    /// # Errors
    /// When too many wait already.
    pub(crate) async fn admit(&self, principal: Option<&str>) -> Result<(), Dropped> {
        let lane = match principal.and_then(|principal| self.named.get(principal)) {
            Some(named) => named.as_ref(),
            None => self.others.as_ref(),
        };
        let Some(lane) = lane else { return Ok(()) };
        let wait = lane.lock().expect("nothing panics with it locked").admit(Clock::mono())?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

impl Lane {
    fn new(name: &str, qps: f64, capacity: Option<u64>) -> Result<Lane, String> {
        // More than one a nanosecond is no limit; one in centuries is as good as none going on.
        let distance = Some(qps).filter(|qps| *qps > 0.0).map(|qps| Duration::try_from_secs_f64(1.0 / qps));
        match distance {
            Some(Ok(distance)) => Ok(Lane { distance, capacity, next: Mono(0) }),
            _ => Err(format!("Invalid {name}: {qps}. It must be a positive number")),
        }
    }

    /// How long a call that comes now has to wait.
    fn admit(&mut self, now: Mono) -> Result<Duration, Dropped> {
        let next = self.next.max(now);
        let wait = next.since(now);
        let waiting = wait.as_nanos().div_ceil(self.distance.as_nanos().max(1));
        match self.capacity {
            Some(capacity) if waiting >= u128::from(capacity) => Err(Dropped(capacity)),
            _ => {
                self.next =
                    Mono(next.0.saturating_add(u64::try_from(self.distance.as_nanos()).unwrap_or(u64::MAX)));
                Ok(wait)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mm45_a_lane_lets_calls_on_at_its_rate_and_drops_what_exceeds_it() {
        let mut lane = Lane::new("qps", 10.0, Some(3)).unwrap();
        let second = 1_000_000_000;
        let mut check = |at: u64, expect: Result<u64, Dropped>| {
            let found = lane.admit(Mono(at)).map(|wait| wait.as_millis() as u64);
            assert_eq!(found, expect, "at {at}");
        };
        check(second, Ok(0));
        check(second, Ok(100));
        check(second, Ok(200));
        check(second, Err(Dropped(3)));
        check(second + second / 10, Ok(200));
        check(10 * second, Ok(0));
        assert_eq!(Dropped(3).to_string(), "Message mesos.scheduler.Call dropped: capacity(3) exceeded");
    }

    #[test]
    fn mm45_the_flag_is_read_or_refused_in_the_words_of_mesos() {
        let check =
            |text: &str, error: &str| assert_eq!(RateLimits::parse(text).unwrap_err(), error, "{text}");
        let both = r#"{"limits": [{"principal": "a", "qps": 1}, {"principal": "a"}]}"#;
        check(both, "Duplicate principal a found in RateLimits configuration");
        for qps in ["0", "-1"] {
            let text = format!(r#"{{"limits": [{{"principal": "a", "qps": {qps}}}]}}"#);
            check(&text, &format!("Invalid qps: {qps}. It must be a positive number"));
        }
        let text = "Invalid aggregate_default_qps: 0. It must be a positive number";
        check(r#"{"aggregate_default_qps": 0}"#, text);
        assert!(RateLimits::parse("nonsense").is_err());
        let read = r#"{"limits": [{"principal": "a", "qps": 55.5, "capacity": 100}, {"principal": "b"}]}"#;
        let limits = RateLimits::parse(read).unwrap();
        assert!(limits.named["a"].is_some() && limits.named["b"].is_none() && limits.others.is_none());
    }
}
