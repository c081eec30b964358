use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// Why a text is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{role:?} is not a role: allowed are letters, digits and ._- (the first one no `.` and no `-`), 64 at most"
)]
pub struct RoleProblem {
    /// What was given.
    pub role: String,
}

/// A role of a host, such as `master`, `slave` or `slave_public`: it decides which `DIR_ROLE` directories count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Role(Box<str>);

impl Role {
    /// The role as the name of its file below `roles`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Role {
    type Err = RoleProblem;

    fn from_str(text: &str) -> Result<Self, RoleProblem> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
        if text.is_empty() || text.len() > 64 || text.starts_with(['.', '-']) || !text.bytes().all(allowed) {
            return Err(RoleProblem { role: text.chars().take(64).collect() });
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl AsRef<str> for Role {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles() {
        for text in ["master", "slave_public", "aws-master", "a.b"] {
            assert_eq!(text.parse::<Role>().unwrap().as_str(), text);
        }
        for text in ["", ".hidden", "-x", "a/b", "a b", "a\n"] {
            assert!(text.parse::<Role>().is_err(), "{text:?}");
        }
    }
}
