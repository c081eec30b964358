use std::time::Duration;

/// Nanoseconds of each unit, the largest first.
const UNITS: [(u128, &str); 8] = [
    (604_800_000_000_000, "weeks"),
    (86_400_000_000_000, "days"),
    (3_600_000_000_000, "hrs"),
    (60_000_000_000, "mins"),
    (1_000_000_000, "secs"),
    (1_000_000, "ms"),
    (1_000, "us"),
    (1, "ns"),
];

/// As Mesos writes durations: in the largest unit that it holds one of, or in the next smaller if only
/// that makes it whole, `10mins`, `90secs`; else with a fraction of 15 digits in all.
/// Mesos: operator<< of Duration.
pub fn duration_text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let largest = UNITS.iter().position(|(unit, _)| nanos >= *unit).unwrap_or(UNITS.len() - 1);
    let candidates = UNITS[largest..].iter().take(2);
    if let Some((unit, name)) = candidates.clone().find(|(unit, _)| nanos.is_multiple_of(*unit)) {
        return format!("{}{name}", nanos / unit);
    }
    let (unit, name) = UNITS[largest];
    let whole_digits = (nanos / unit).to_string().len();
    let text = format!("{:.*}", 15_usize.saturating_sub(whole_digits), nanos as f64 / unit as f64);
    format!("{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Reads what [`duration_text`] writes: a number and a unit, `1.5hrs`; none of anything else.
/// Mesos: `Duration::parse`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, name) = text.split_at(unit_at);
    let (unit, _) = UNITS.into_iter().find(|(_, unit)| *unit == name)?;
    let unit_seconds = unit as f64 / 1e9;
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit_seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_mesos_writes_them() {
        let check =
            |text, millis: Option<u64>| assert_eq!(parse_duration(text), millis.map(Duration::from_millis));
        check("5secs", Some(5_000));
        check("1.5hrs", Some(5_400_000));
        check("200ms", Some(200));
        check("2weeks", Some(1_209_600_000));
        for text in ["", "5", "5 secs", "fivesecs", "-5secs", "infsecs", "5minutes", "1e999days", "nansecs"] {
            check(text, None);
        }
    }

    #[test]
    fn durations_read_as_in_mesos() {
        let check =
            |nanos: u64, text| assert_eq!(duration_text(Duration::from_nanos(nanos)), text, "{nanos}ns");
        let (us, ms, s) = (1_000, 1_000_000, 1_000_000_000);
        check(0, "0ns");
        check(999, "999ns");
        check(1_001, "1001ns");
        check(ms, "1ms");
        check(ms + us, "1001us");
        check(ms + 1, "1.000001ms");
        check(500 * ms, "500ms");
        check(1500 * ms, "1500ms");
        check(15 * s, "15secs");
        check(60 * s, "1mins");
        check(90 * s, "90secs");
        check(100 * s + ms, "1.66668333333333mins");
        check(90 * 60 * s, "90mins");
        check(5_400 * s + 60 * ms, "1.50001666666667hrs");
        check(86_400 * s, "1days");
        check(10 * 86_400 * s, "10days");
        check(14 * 86_400 * s, "2weeks");
    }
}
