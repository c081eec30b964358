use crate::error::{ApiError, Detail};

/// Collects everything that is wrong with a request, by path, in the order in which the paths first came up.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Detail>);

impl Problems {
    pub(crate) fn add(&mut self, path: impl AsRef<str>, error: impl Into<String>) {
        let (detail, error) = (self.at(path.as_ref()), error.into());
        if !detail.errors.contains(&error) {
            detail.errors.push(error);
        }
    }

    /// An error that is but a code, with what it means.
    pub(crate) fn explain(&mut self, path: impl AsRef<str>, error: &str, explanation: impl Into<String>) {
        self.add(path.as_ref(), error);
        self.at(path.as_ref()).explanation.get_or_insert_with(|| explanation.into());
    }

    pub(crate) fn check(&mut self, holds: bool, path: impl AsRef<str>, error: impl Into<String>) {
        if !holds {
            self.add(path, error);
        }
    }

    /// `value`, unless there are problems: then the refusal that `refusal` makes of them.
    pub(crate) fn or<T>(self, value: Option<T>, refusal: fn(Vec<Detail>) -> ApiError) -> Result<T, ApiError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(refusal(self.0)),
        }
    }

    fn at(&mut self, path: &str) -> &mut Detail {
        let index = self.0.iter().position(|detail| detail.path == path).unwrap_or_else(|| {
            self.0.push(Detail { path: path.to_owned(), errors: Vec::new(), explanation: None });
            self.0.len() - 1
        });
        &mut self.0[index]
    }
}
