//! The differences that are meant, as `docs/compat/mesos.md` lists them.

use std::path::Path;

use crate::compare::Difference;

/// The heading below which the table stands.
const HEADING: &str = "## Deliberate differences";

/// One row: which exchanges, where in the answer, and what stands there if the row is about that alone.
#[derive(Clone, Debug)]
struct Row {
    exchange: String,
    place: String,
    ours: Option<String>,
    mesos: Option<String>,
}

/// The table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deliberate {
    rows: Vec<Row>,
}

impl Deliberate {
    /// Reads the table out of the document.
    pub(crate) fn read(document: &Path) -> std::io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string(document)?))
    }

    fn parse(text: &str) -> Self {
        let section = text.split_once(HEADING).map_or("", |(_, rest)| rest);
        let section = section.split("\n## ").next().unwrap_or_default();
        let rows = section.lines().filter(|line| line.starts_with("| `")).filter_map(|line| {
            let mut cells = line.trim_matches('|').split(" | ").map(quoted);
            Some(Row {
                exchange: cells.next()??,
                place: cells.next()??,
                ours: cells.next()?,
                mesos: cells.next()?,
            })
        });
        Self { rows: rows.collect() }
    }

    /// Whether that difference in the answer to `exchange` is meant.
    pub(crate) fn covers(&self, exchange: &str, difference: &Difference) -> bool {
        let is = |pattern: &Option<String>, text: &str| {
            pattern.as_ref().is_none_or(|pattern| matches(pattern, text))
        };
        self.rows.iter().any(|row| {
            matches(&row.exchange, exchange)
                && matches(&row.place, &difference.place)
                && is(&row.ours, &difference.ours)
                && is(&row.mesos, &difference.mesos)
        })
    }
}

/// What a cell that is quoted as a whole holds: a pattern. Other cells are for who reads.
fn quoted(cell: &str) -> Option<String> {
    let inner = cell.trim().strip_prefix('`')?.strip_suffix('`')?;
    (!inner.contains('`')).then(|| inner.to_owned())
}

/// Whether a pattern, in which `*` stands for anything, is the whole of `text`.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|&at| rest.is_char_boundary(at)).any(|at| matches(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_what_is_meant() {
        let text = "# x\n## Deliberate differences\n| exchange | place |\n|---|---|\n\
                    | `master GET /__processes__` | `*` | a | b | c |\n| `* GET_FLAGS` | `body.*.flags[]` | a | b | c |\n\
                    | `* GET *` | `status` | `HTTP/1.0 *` | `HTTP/1.1 *` | c |\n\
                    ## More\n| `*` | `*` | a | b | c |\n";
        let table = Deliberate::parse(text);
        let check = |exchange: &str, place: &str, mesos: &str, ours: &str, covered: bool| {
            assert_eq!(
                table.covers(exchange, &Difference::new(place, mesos, ours)),
                covered,
                "{exchange} {place}"
            );
        };
        check("master GET /__processes__", "status", "", "", true);
        check("master POST /api/v1 GET_FLAGS", "body.get_flags.flags[]", "", "", true);
        check("master POST /api/v1 GET_FLAGS", "status", "", "", false);
        check("master GET /state", "status", "HTTP/1.1 200 OK", "HTTP/1.0 200 OK", true);
        check("master GET /state", "status", "HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found", false);
    }
}
