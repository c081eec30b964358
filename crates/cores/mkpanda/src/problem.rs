use std::fmt;

use serde_json::Value;

/// Something that is wrong with a file that describes a build.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Problem {
    /// The field, as `sources.mesos.ref`; empty for the file itself.
    pub at: String,
    /// What was found there, and what is allowed.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(at: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { at: at.into(), message: message.into() }
    }

    pub(crate) fn wrong(at: impl Into<String>, found: &Value, allowed: impl fmt::Display) -> Problem {
        Problem::new(at, format!("found {}; allowed is {allowed}", shown(found)))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.at, self.message)
        }
    }
}

/// Everything that is wrong with one file. Shown with a line for each problem.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invalid {
    /// At least one, in the order of the file's fields.
    pub problems: Vec<Problem>,
}

impl Invalid {
    pub(crate) fn one(problem: Problem) -> Invalid {
        Invalid { problems: vec![problem] }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// A value as JSON, cut where it gets long.
pub(crate) fn shown(value: &Value) -> String {
    const MOST: usize = 120;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
