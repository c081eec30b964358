//! Reading JSON values into typed ones, noting every problem with the codes that Marathon's JSON library uses.
//!
//! Every function gives `None` after noting a problem, so that reading goes on and finds the others.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::problems::Problems;
use crate::reference::{Field, Kind};

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
    ///
    /// # Panics
    /// In tests, if the reference has no such field.
    pub(crate) fn member(&self, name: &str) -> Option<At<'v>> {
        debug_assert!(
            Field::at(&format!("{}/{name}", self.path)).is_some(),
            "{}/{name} is read, and is not in the reference",
            self.path
        );
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

    /// Notes it if this is no object; reading its members goes on with none.
    pub(crate) fn object(&mut self, at: &At<'_>) -> Option<()> {
        if at.value.is_object() { Some(()) } else { self.wrong(at, "error.expected.jsobject") }
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

    /// A whole number of 32 bits, within the field's bounds.
    pub(crate) fn int(&mut self, at: &At<'_>) -> Option<u32> {
        let value = self.whole(at, i32::MIN.into(), i32::MAX.into(), "error.expected.int")?;
        self.within(at, value).and_then(|value| u32::try_from(value).ok())
    }

    /// A whole number of 64 bits, within the field's bounds.
    pub(crate) fn long(&mut self, at: &At<'_>) -> Option<u64> {
        let value = self.whole(at, i64::MIN, i64::MAX, "error.expected.long")?;
        self.within(at, value)
    }

    fn within(&mut self, at: &At<'_>, value: i64) -> Option<u64> {
        let (min, max) = match kind(at) {
            Some(Kind::Whole(min, max)) => (i128::from(min), i128::from(max)),
            kind => unreachable!("{} is {kind:?} in the reference, as tests of every field show", at.path),
        };
        self.bounded(at, i128::from(value), min, max).and_then(|value| u64::try_from(value).ok())
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

    /// A number within the field's bounds.
    pub(crate) fn number(&mut self, at: &At<'_>) -> Option<f64> {
        let (min, max) = match kind(at) {
            Some(Kind::Number(min, max)) => (min, max),
            kind => unreachable!("{} is {kind:?} in the reference, as tests of every field show", at.path),
        };
        match at.value.as_f64() {
            Some(value) => self.bounded(at, value, min, max),
            None => self.wrong(at, "error.expected.jsnumber"),
        }
    }

    /// One of `all`, by its name without regard to case. `kind` is the name of the type in the explanation.
    ///
    /// # Panics
    /// In tests, if the reference has other names.
    pub(crate) fn one_of<T: Copy>(&mut self, at: &At<'_>, kind: &str, all: &[(&str, T)]) -> Option<T> {
        debug_assert!(
            !matches!(self::kind(at), Some(Kind::Word(words)) if !words.iter().eq(all.iter().map(|(name, _)| name))),
            "{} has other words in the reference",
            at.path
        );
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

/// What the reference says that a field may be.
fn kind(at: &At<'_>) -> Option<Kind> {
    Field::at(&at.path).map(|field| field.kind)
}
