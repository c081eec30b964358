//! Reading JSON values into typed ones, noting every problem with the codes that Marathon's JSON library uses.
//!
//! Every function gives `None` after noting a problem, so that reading goes on and finds the others.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::problems::Problems;

/// Where problems go while a body is read.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) problems: Problems,
}

/// A value and the path to it.
#[derive(Clone, Debug)]
pub(crate) struct At<'v> {
    pub(crate) value: &'v Value,
    pub(crate) path: String,
}

impl<'v> At<'v> {
    pub(crate) fn root(value: &'v Value) -> At<'v> {
        At { value, path: String::new() }
    }

    /// The member `name`, unless absent or null. What is no object has no members.
    pub(crate) fn member(&self, name: &str) -> Option<At<'v>> {
        let value = self.value.get(name)?;
        (!value.is_null()).then(|| At { value, path: format!("{}/{name}", self.path) })
    }

    /// Whether this holds nothing: an empty array, object or string.
    pub(crate) fn is_empty(&self) -> bool {
        match self.value {
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::String(text) => text.is_empty(),
            _ => false,
        }
    }
}

impl Reader {
    /// Notes that the member `name` of `of` must be there.
    pub(crate) fn missing(&mut self, of: &At<'_>, name: &str) {
        self.problems.add(format!("{}/{name}", of.path), "error.path.missing");
    }

    pub(crate) fn string(&mut self, at: &At<'_>) -> Option<String> {
        match at.value {
            Value::String(text) => Some(text.clone()),
            _ => self.wrong(at, "error.expected.jsstring"),
        }
    }

    pub(crate) fn non_empty_string(&mut self, at: &At<'_>) -> Option<String> {
        let text = self.string(at)?;
        if text.is_empty() {
            self.problems.explain(&at.path, "error.minLength", "must not be empty");
            return None;
        }
        Some(text)
    }

    pub(crate) fn boolean(&mut self, at: &At<'_>) -> Option<bool> {
        match at.value {
            Value::Bool(value) => Some(*value),
            _ => self.wrong(at, "error.expected.jsboolean"),
        }
    }

    /// A whole number of 32 bits from `min` to `max`.
    pub(crate) fn int(&mut self, at: &At<'_>, min: i32, max: i32) -> Option<u32> {
        let value = self.whole(at, i32::MIN.into(), i32::MAX.into(), "error.expected.int")?;
        self.bounded(at, value, min.into(), max.into()).and_then(|value| u32::try_from(value).ok())
    }

    /// A whole number of 64 bits, not negative.
    pub(crate) fn long(&mut self, at: &At<'_>) -> Option<u64> {
        let value = self.whole(at, i64::MIN, i64::MAX, "error.expected.long")?;
        self.bounded(at, value, 0, i64::MAX).and_then(|value| u64::try_from(value).ok())
    }

    fn whole(&mut self, at: &At<'_>, min: i64, max: i64, error: &str) -> Option<i64> {
        let Value::Number(number) = at.value else {
            return self.wrong(at, "error.expected.jsnumber");
        };
        let whole = number.as_i64().or_else(|| {
            let float = number.as_f64()?;
            (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
        });
        match whole {
            Some(value) if (min..=max).contains(&value) => Some(value),
            _ => {
                self.problems.explain(&at.path, error, format!("found {number}, allowed is a whole number"));
                None
            }
        }
    }

    fn bounded<N: PartialOrd + std::fmt::Display>(
        &mut self,
        at: &At<'_>,
        value: N,
        min: N,
        max: N,
    ) -> Option<N> {
        if value < min {
            self.problems.explain(&at.path, "error.min", format!("found {value}, allowed is {min} or more"));
            None
        } else if value > max {
            self.problems.explain(&at.path, "error.max", format!("found {value}, allowed is {max} or less"));
            None
        } else {
            Some(value)
        }
    }

    pub(crate) fn number(&mut self, at: &At<'_>, min: f64, max: f64) -> Option<f64> {
        match at.value.as_f64() {
            Some(value) => self.bounded(at, value, min, max),
            None => self.wrong(at, "error.expected.jsnumber"),
        }
    }

    /// One of `all`, by its name without regard to case. `kind` is the name of the type in the explanation.
    pub(crate) fn one_of<T: Copy>(&mut self, at: &At<'_>, kind: &str, all: &[(&str, T)]) -> Option<T> {
        let found =
            at.value.as_str().and_then(|text| all.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)));
        if found.is_none() {
            let mut names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            let explanation = format!("found {}, allowed is {kind} ({})", at.value, names.join(", "));
            self.problems.explain(&at.path, "error.unknown.enum.literal", explanation);
        }
        found.map(|(_, value)| *value)
    }

    pub(crate) fn list<T>(
        &mut self,
        at: &At<'_>,
        mut item: impl FnMut(&mut Self, &At<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::Array(items) = at.value else {
            return self.wrong(at, "error.expected.jsarray");
        };
        let read: Vec<Option<T>> = items
            .iter()
            .enumerate()
            .map(|(index, value)| item(self, &At { value, path: format!("{}({index})", at.path) }))
            .collect();
        read.into_iter().collect()
    }

    pub(crate) fn map(
        &mut self,
        at: &At<'_>,
        mut item: impl FnMut(&mut Self, &At<'_>) -> Option<String>,
    ) -> Option<BTreeMap<String, String>> {
        let Value::Object(members) = at.value else {
            return self.wrong(at, "error.expected.jsobject");
        };
        let read: Vec<Option<(String, String)>> = members
            .iter()
            .map(|(name, value)| {
                let value = item(self, &At { value, path: format!("{}/{name}", at.path) })?;
                Some((name.clone(), value))
            })
            .collect();
        read.into_iter().collect()
    }

    fn wrong<T>(&mut self, at: &At<'_>, error: &str) -> Option<T> {
        self.problems.add(&at.path, error);
        None
    }
}
