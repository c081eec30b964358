//! What `/logging/toggle`, `/profiler/*`, `/memory-profiler/*` and `?timeout=` say and answer.
//! Mesos: process::Logging, Profiler, MemoryProfiler, Metrics.

use std::time::Duration;

use base::parse_duration;

use crate::Query;
use crate::json::document;

/// The answer to `/profiler/start` and `/profiler/stop`: there is no such profiler in this program.
pub const NO_PROFILER: &str =
    "Perftools is disabled. To enable perftools, configure libprocess with --enable-perftools.\n";

/// The answer to `/memory-profiler/*` that need one: memory is not given out by jemalloc here.
pub const NO_MEMORY_PROFILER: &str = "
The current binary doesn't seem to be linked against jemalloc,
or the currently used jemalloc library was compiled without
support for statistics collection.

If the current binary was not compiled against jemalloc,
consider adding the path to libjemalloc to the LD_PRELOAD
environment variable, for example LD_PRELOAD=/usr/lib/libjemalloc.so

If you're running a mesos binary and want to have it linked
against jemalloc by default, consider using the
--enable-jemalloc-allocator configuration option.
";

/// `/memory-profiler/state` of a process without that profiler.
pub fn memory_profiler_state() -> Vec<u8> {
    document(|o| {
        o.object("memory_profiler", |o| {
            o.object("current_run", |o| {
                o.raw("id", |out| out.extend_from_slice(b"null"));
            });
            o.field("jemalloc_detected", false).field("tmp_dir", "Not yet generated");
        });
    })
}

/// The answer to a request below `/profiler/` or `/memory-profiler/`: a document, or the reason of a 400.
/// None means that there is no such path.
pub fn profiler(path: &str) -> Option<Result<Vec<u8>, &'static str>> {
    Some(match path.trim_start_matches('/') {
        "profiler/start" | "profiler/stop" => Err(NO_PROFILER),
        "memory-profiler/start" | "memory-profiler/stop" | "memory-profiler/statistics" => {
            Err(NO_MEMORY_PROFILER)
        }
        "memory-profiler/download/raw" => Err("Cannot access raw profile: Not yet generated.\n"),
        "memory-profiler/download/text" | "memory-profiler/download/graph" => {
            Err("No source profile exists: Not yet generated.\n")
        }
        "memory-profiler/state" => Ok(memory_profiler_state()),
        _ => return None,
    })
}

/// The level of verbosity that `/logging/toggle` asks for, and for how long; none asks for nothing.
///
/// # Errors
/// Mesos' text for the client.
pub fn toggle(query: &Query) -> Result<Option<(u32, Duration)>, String> {
    let (level, duration) = match (query.get("level"), query.get("duration")) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err("Expecting 'duration=value' in query.\n".to_owned()),
        (None, Some(_)) => return Err("Expecting 'level=value' in query.\n".to_owned()),
        (Some(level), Some(duration)) => (level, duration),
    };
    let number: i32 = level.parse().map_err(|_| format!("Failed to convert '{level}' to number.\n"))?;
    let level = u32::try_from(number).map_err(|_| format!("Invalid level '{number}'.\n"))?;
    let duration = duration_or_text(duration).map_err(|why| format!("{why}.\n"))?;
    Ok(Some((level, duration)))
}

/// How long `/metrics/snapshot` may take. All numbers are at hand here, so that it never matters.
///
/// # Errors
/// Mesos' text for the client.
pub fn timeout(query: &Query) -> Result<Option<Duration>, String> {
    let invalid = |text: &str, why: String| format!("Invalid timeout '{text}': {why}.\n");
    query.get("timeout").map(|text| duration_or_text(text).map_err(|why| invalid(text, why))).transpose()
}

/// A duration, or Mesos' words for why it is none. Mesos: Duration::parse.
fn duration_or_text(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| {
        let Some(at) = text.find(|c: char| !c.is_ascii_digit() && c != '.') else {
            return format!("Invalid duration '{text}'");
        };
        let (number, unit) = text.split_at(at);
        match (number.parse::<f64>(), unit) {
            (Err(_), _) => format!("Failed to convert '{number}' to number"),
            (Ok(_), "ns" | "us" | "ms" | "secs" | "mins" | "hrs" | "days" | "weeks") => {
                "Argument out of the range that a Duration can represent due to int64_t's size limit".to_owned()
            }
            (Ok(_), unit) => format!(
                "Unknown duration unit '{unit}'; supported units are 'ns', 'us', 'ms', 'secs', 'mins', 'hrs', \
                 'days', and 'weeks'"
            ),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mp26_levels_are_asked_for_in_the_words_of_mesos() {
        let check = |query: &str, expect: Result<Option<(u32, u64)>, &str>| {
            let found = toggle(&Query::parse(query).unwrap());
            let found = found.map(|found| found.map(|(level, duration)| (level, duration.as_secs())));
            assert_eq!(found, expect.map_err(str::to_owned), "{query}");
        };
        check("", Ok(None));
        check("level=1&duration=10secs", Ok(Some((1, 10))));
        check("level=0&duration=2mins", Ok(Some((0, 120))));
        check("level=1", Err("Expecting 'duration=value' in query.\n"));
        check("duration=1secs", Err("Expecting 'level=value' in query.\n"));
        check("level=x&duration=1secs", Err("Failed to convert 'x' to number.\n"));
        check("level=-1&duration=1secs", Err("Invalid level '-1'.\n"));
        check("level=1&duration=5", Err("Invalid duration '5'.\n"));
        check("level=1&duration=secs", Err("Failed to convert '' to number.\n"));
        check("level=1&duration=-5secs", Err("Failed to convert '' to number.\n"));
        let unit = "Unknown duration unit 's'; supported units are 'ns', 'us', 'ms', 'secs', 'mins', 'hrs', \
                    'days', and 'weeks'.\n";
        check("level=1&duration=5s", Err(unit));
    }

    #[test]
    fn mp24_a_timeout_is_a_duration() {
        let check = |query: &str, expect: Result<Option<u64>, &str>| {
            let found =
                timeout(&Query::parse(query).unwrap()).map(|found| found.map(|it| it.as_millis() as u64));
            assert_eq!(found, expect.map_err(str::to_owned), "{query}");
        };
        check("", Ok(None));
        check("timeout=1.5secs", Ok(Some(1500)));
        check("timeout=5", Err("Invalid timeout '5': Invalid duration '5'.\n"));
        check("timeout=", Err("Invalid timeout '': Invalid duration ''.\n"));
    }

    #[test]
    fn mp26_there_is_no_profiler() {
        assert_eq!(profiler("profiler/start"), Some(Err(NO_PROFILER)));
        assert!(profiler("/memory-profiler/start").is_some_and(|answer| answer.is_err()));
        let state = profiler("memory-profiler/state").unwrap().unwrap();
        let text = r#"{"memory_profiler":{"current_run":{"id":null},"jemalloc_detected":false,"tmp_dir":"Not yet generated"}}"#;
        assert_eq!(String::from_utf8(state).unwrap(), text);
        assert_eq!(profiler("profiler"), None);
    }
}
