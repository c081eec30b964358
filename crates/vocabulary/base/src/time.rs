use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The time of one input, on both clocks. Timers use `mono`; what is persisted or shown uses `wall`.
/// Either may jump in simulation, `mono` never backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds since the process started.
    pub mono: Mono,
    /// Nanoseconds since the Unix epoch.
    pub wall: Wall,
}

/// A point on the monotonic clock: nanoseconds since the process started. Never persisted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

/// A point on the wall clock: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub u64);

impl Mono {
    /// The time from `earlier` to here; zero if `earlier` is later.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, by: Duration) -> Mono {
        Mono(self.0.saturating_add(nanos(by)))
    }
}

impl Sub<Duration> for Mono {
    type Output = Mono;
    fn sub(self, by: Duration) -> Mono {
        Mono(self.0.saturating_sub(nanos(by)))
    }
}

impl Wall {
    /// From whole milliseconds since the Unix epoch.
    pub fn from_millis(millis: u64) -> Wall {
        Wall(millis.saturating_mul(1_000_000))
    }

    /// Whole milliseconds since the Unix epoch.
    pub fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Seconds since the Unix epoch with a fraction, as Mesos writes timestamps.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The time from `earlier` to here; zero if `earlier` is later.
    pub fn since(self, earlier: Wall) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// ISO 8601 in UTC with milliseconds, as Marathon writes versions and timestamps:
    /// `2016-12-01T10:15:30.123Z`.
    pub fn to_iso8601(self) -> String {
        let millis = self.as_millis();
        let (days, in_day) = (millis / 86_400_000, millis % 86_400_000);
        let (year, month, day) = civil_from_days(days);
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            in_day / 3_600_000,
            in_day / 60_000 % 60,
            in_day / 1000 % 60,
            in_day % 1000
        )
    }

    /// Reads what [`Wall::to_iso8601`] writes; the fraction may have one to nine digits or be missing.
    pub fn parse_iso8601(text: &str) -> Option<Wall> {
        let text = text.strip_suffix('Z')?;
        let (date, time) = text.split_once('T')?;
        let mut date = date.splitn(3, '-').map(digits);
        let (year, month, day) = (date.next()??, date.next()??, date.next()??);
        let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let mut time = time.splitn(3, ':').map(digits);
        let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 60 || fraction.is_empty() || fraction.len() > 9 {
            return None;
        }
        let fraction = digits(fraction)? * 10u64.pow(9 - fraction.len() as u32);
        let days = days_from_civil(year, month, day);
        if civil_from_days(days) != (year, month, day) {
            return None;
        }
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
        Some(Wall(seconds.checked_mul(1_000_000_000)? + fraction))
    }
}

impl Add<Duration> for Wall {
    type Output = Wall;
    fn add(self, by: Duration) -> Wall {
        Wall(self.0.saturating_add(nanos(by)))
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_iso8601())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Days since 1970-01-01 to year, month, day: eras of 400 years, with years that begin in March so
/// that the leap day is the last day of a year.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso8601_of_known_points() {
        let check = |millis, text: &str| {
            assert_eq!(Wall::from_millis(millis).to_iso8601(), text);
            assert_eq!(Wall::parse_iso8601(text), Some(Wall::from_millis(millis)));
        };
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_399_999, "2000-02-28T23:59:59.999Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(1_480_587_330_123, "2016-12-01T10:15:30.123Z");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn every_day_of_four_centuries_round_trips() {
        for days in 0..146_097 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "Z",
            "2016-12-01",
            "2016-12-01T10:15:30",
            "2016-02-30T00:00:00Z",
            "2016-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2016-12-01T24:00:00Z",
            "2016-12-01T10:15:30.Z",
            "2016-12-01T10:15:30.1234567890Z",
            "+016-12-01T10:15:30Z",
        ] {
            assert_eq!(Wall::parse_iso8601(text), None, "{text}");
        }
    }

    #[test]
    fn clocks_saturate() {
        assert_eq!(Mono(5).since(Mono(9)), Duration::ZERO);
        assert_eq!(Mono(5) - Duration::from_secs(1), Mono(0));
        assert_eq!(Mono(5) + Duration::MAX, Mono(u64::MAX));
    }
}
