//! Reading JSON values into typed ones: every function notes what is wrong and gives `None`, so that
//! reading goes on and finds the rest.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::problem::{Invalid, Problem};

/// Where problems go while a file is read.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    pub(crate) fn note(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// How many problems there are by now.
    pub(crate) fn noted(&self) -> usize {
        self.problems.len()
    }

    /// `value`, unless there are problems.
    pub(crate) fn or<T>(self, value: Option<T>) -> Result<T, Invalid> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => {
                debug_assert!(!self.problems.is_empty(), "what cannot be read has a problem");
                Err(Invalid { problems: self.problems })
            }
        }
    }

    /// Notes a key that `what` does not have.
    pub(crate) fn unknown(&mut self, at: &str, name: &str, allowed: &[&str], what: &str) {
        let meant = match base::nearest(name, allowed.iter().copied()) {
            Some(meant) => format!(" (did you mean {meant}?)"),
            None => String::new(),
        };
        let message = format!("unknown key{meant}; {what} may have {}", allowed.join(", "));
        self.note(Problem::new(at, message));
    }

    pub(crate) fn object<'v>(&mut self, at: &str, value: &'v Value) -> Option<&'v Map<String, Value>> {
        value.as_object().or_else(|| self.wrong(at, value, "an object"))
    }

    pub(crate) fn list<'v>(&mut self, at: &str, value: &'v Value) -> Option<&'v Vec<Value>> {
        value.as_array().or_else(|| self.wrong(at, value, "a list"))
    }

    pub(crate) fn bool(&mut self, at: &str, value: &Value) -> Option<bool> {
        value.as_bool().or_else(|| self.wrong(at, value, "true or false"))
    }

    /// A text that is not empty.
    pub(crate) fn text(&mut self, at: &str, value: &Value) -> Option<String> {
        match value {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            _ => self.wrong(at, value, "a text that is not empty"),
        }
    }

    /// A text for which `holds`, else `allowed` is told.
    pub(crate) fn text_that(
        &mut self,
        at: &str,
        value: &Value,
        holds: impl Fn(&str) -> bool,
        allowed: &str,
    ) -> Option<String> {
        match value {
            Value::String(text) if holds(text) => Some(text.clone()),
            _ => self.wrong(at, value, allowed),
        }
    }

    /// Every member of an object, by what `read` makes of it.
    pub(crate) fn members<T>(
        &mut self,
        at: &str,
        value: &Value,
        mut read: impl FnMut(&mut Reader, &str, &Value) -> Option<T>,
    ) -> Option<BTreeMap<String, T>> {
        let members = self.object(at, value)?;
        let noted = self.noted();
        let mut found = BTreeMap::new();
        for (name, value) in members {
            if let Some(item) = read(self, &format!("{at}.{name}"), value) {
                found.insert(name.clone(), item);
            }
        }
        (self.noted() == noted).then_some(found)
    }

    /// Notes it if `text` is anything but `digits` hexadecimal digits, not all zero.
    pub(crate) fn hex(&mut self, at: &str, text: &str, digits: usize, allowed: &str) {
        let is_hex = text.len() == digits && text.bytes().all(|c| c.is_ascii_hexdigit());
        if !is_hex || text.bytes().all(|c| c == b'0') {
            self.note(Problem::wrong(at, &text.into(), allowed));
        }
    }

    /// The same, in lower case: it is compared with what is computed.
    pub(crate) fn lower_hex(&mut self, at: &str, text: &str, digits: usize) {
        let allowed = format!("{digits} hexadecimal digits in lower case");
        if text.bytes().any(|c| c.is_ascii_uppercase()) {
            self.note(Problem::wrong(at, &text.into(), allowed));
        } else {
            self.hex(at, text, digits, &allowed);
        }
    }

    /// Notes it if `text` could be an option to the program it is given to, or spans lines.
    pub(crate) fn argument(&mut self, at: &str, text: &str) {
        if text.starts_with('-') || text.contains(char::is_control) {
            self.note(Problem::wrong(at, &text.into(), "a text of one line that does not begin with -"));
        }
    }

    /// Notes it if `text` is no relative path. It may lead upwards.
    pub(crate) fn relative(&mut self, at: &str, text: &str) {
        if text.starts_with('/') || text.contains(char::is_control) {
            let allowed = "a path relative to the package's folder, so that it is valid in every clone";
            self.note(Problem::wrong(at, &text.into(), allowed));
        }
    }

    pub(crate) fn wrong<T>(&mut self, at: &str, found: &Value, allowed: &str) -> Option<T> {
        self.note(Problem::wrong(at, found, allowed));
        None
    }
}
