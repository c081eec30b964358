use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::{Error, sink};

/// The filter that a value of `DCOS_LOG` means: levels, alone or for a target and what is below it, with
/// commas between. Of an empty value `info`. Where nothing is said of a target, nothing of it is written.
pub(crate) fn parse(value: &str) -> Result<Targets, Error> {
    // Spans that name components are no lines: without them, lines would go to the wrong file.
    let mut targets = Targets::new().with_target(sink::TARGET, LevelFilter::ERROR);
    let mut parts = value.split(',').map(str::trim).filter(|part| !part.is_empty()).peekable();
    if parts.peek().is_none() {
        return Ok(targets.with_default(LevelFilter::INFO));
    }
    for part in parts {
        let wrong = || Error::Filter { value: value.to_owned(), part: part.to_owned() };
        let level = |text: &str| text.parse::<LevelFilter>().map_err(|_| wrong());
        targets = match part.split_once('=') {
            None => targets.with_default(level(part)?),
            Some((target, text)) if is_target(target) => targets.with_target(target, level(text)?),
            Some(_) => return Err(wrong()),
        };
    }
    Ok(targets)
}

/// The filter that says more: what nothing was said of, at `debug` (1) or `trace` (2 and more).
pub(crate) fn louder(usual: &Targets, level: u32) -> Targets {
    let default = match level {
        0 => return usual.clone(),
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    match usual.default_level() {
        Some(said) if said >= default => usual.clone(),
        _ => usual.clone().with_default(default),
    }
}

/// Whether this can be the path of a module. Filters by spans or fields are not offered.
fn is_target(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels_are_those_of_the_most_exact_part() {
        let check = |value: &str, target: &str, expected: Option<Level>| {
            let targets = parse(value).unwrap();
            let all = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
            let found = all.into_iter().filter(|level| targets.would_enable(target, level)).max();
            assert_eq!(found, expected, "{value:?} for {target}");
        };
        for info in ["", "info", "INFO", " info ,", "debug,info"] {
            check(info, "master::http", Some(Level::INFO));
        }
        check("warn,master=debug", "master::http", Some(Level::DEBUG));
        check("master=debug,warn", "agent", Some(Level::WARN));
        check("warn,master=debug,master::http=off", "master::http", None);
        check("master=debug", "agent", None);
        check("off", "master", None);
        check("off", sink::TARGET, Some(Level::ERROR));
    }

    #[test]
    fn mp26_louder_says_more_and_never_less() {
        let check = |value: &str, level: u32, target: &str, expected: Level| {
            let targets = louder(&parse(value).unwrap(), level);
            let all = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
            let found = all.into_iter().filter(|level| targets.would_enable(target, level)).max();
            assert_eq!(found, Some(expected), "{value:?} at {level} for {target}");
        };
        check("", 0, "master", Level::INFO);
        check("", 1, "master", Level::DEBUG);
        check("", 3, "master", Level::TRACE);
        check("trace", 1, "master", Level::TRACE);
        check("warn,master=info", 2, "master", Level::INFO);
        check("master=info", 1, "agent", Level::DEBUG);
    }

    #[test]
    fn what_is_no_filter_is_named() {
        let check = |value: &str, wrong: &str| {
            let error = parse(value).unwrap_err().to_string();
            let start =
                format!("DCOS_LOG is {value:?}, in which {wrong:?} is no filter: allowed are error, ");
            assert!(error.starts_with(&start), "{error}");
        };
        check("inof", "inof");
        check("info,master=loud", "master=loud");
        check("=info", "=info");
        check("master=info=warn", "master=info=warn");
        check("a[span]=info, warn", "a[span]=info");
    }
}
