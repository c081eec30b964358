//! The differences that are meant, as `docs/compat/mesos.md` lists them.

use std::path::Path;

use crate::compare::Difference;

/// The heading below which the table stands.
const HEADING: &str = "## Deliberate differences";

/// One row: which exchanges, where in the answer.
#[derive(Clone, Debug)]
struct Row {
    exchange: String,
    place: String,
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
            let mut cells =
                line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
            Some(Row { exchange: cells.next()?, place: cells.next()? })
        });
        Self { rows: rows.collect() }
    }

    /// Whether that difference in the answer to `exchange` is meant.
    pub(crate) fn covers(&self, exchange: &str, difference: &Difference) -> bool {
        self.rows.iter().any(|row| matches(&row.exchange, exchange) && matches(&row.place, &difference.place))
    }
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
                    ## More\n| `*` | `*` | a | b | c |\n";
        let table = Deliberate::parse(text);
        let difference = |place: &str| Difference::new(place, "", "");
        assert!(table.covers("master GET /__processes__", &difference("status")));
        assert!(table.covers("master POST /api/v1 GET_FLAGS", &difference("body.get_flags.flags[]")));
        assert!(!table.covers("master POST /api/v1 GET_FLAGS", &difference("status")));
        assert!(!table.covers("master GET /state", &difference("status")));
    }
}
