use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest id in bytes: with what repository and activation append, it stays a legal file name.
pub const MAX_ID: usize = 240;

/// Why a text is no id or name of a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdProblem {
    /// Not exactly one `--`.
    #[error(
        "{id:?} is not a package id: it needs exactly one `--`, between name and version (NAME--VERSION)"
    )]
    Separator {
        /// What was given.
        id: String,
    },
    /// The name breaks its rule.
    #[error(
        "{name:?} is not a package name: allowed are letters, digits and @._+- (the first one no `.` and no `-`)"
    )]
    Name {
        /// What was given as the name.
        name: String,
    },
    /// The version breaks its rule.
    #[error("{version:?} is not a package version: allowed are letters, digits and @._+: (no `-`)")]
    Version {
        /// What was given as the version.
        version: String,
    },
    /// Longer than [`MAX_ID`].
    #[error("a package id of {bytes} bytes is too long: {MAX_ID} are allowed")]
    Long {
        /// How long it was.
        bytes: usize,
    },
}

/// The id of a package: `NAME--VERSION`. Ordered as its text, as `list` and `active` show ids.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId {
    text: Box<str>,
    name: usize,
}

impl PackageId {
    /// Joins a name and a version: only checked parts, or an [`IdProblem`].
    pub fn new(name: &str, version: &str) -> Result<Self, IdProblem> {
        let bytes = name.len() + "--".len() + version.len();
        if bytes > MAX_ID {
            return Err(IdProblem::Long { bytes });
        }
        // A name may hold `--` by its rule, but no id can be told apart then.
        if name.contains("--") || name.ends_with('-') {
            return Err(IdProblem::Separator { id: format!("{name}--{version}") });
        }
        check_name(name)?;
        if version.is_empty() || !version.bytes().all(|c| c.is_ascii_alphanumeric() || b"@_+:.".contains(&c))
        {
            return Err(IdProblem::Version { version: version.to_owned() });
        }
        Ok(Self { text: format!("{name}--{version}").into(), name: name.len() })
    }

    /// The part before `--`.
    pub fn name(&self) -> &str {
        &self.text[..self.name]
    }

    /// The part after `--`.
    pub fn version(&self) -> &str {
        &self.text[self.name + 2..]
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for PackageId {
    type Err = IdProblem;

    /// pkgpanda: `PackageId`, but a trailing newline is refused.
    fn from_str(text: &str) -> Result<Self, IdProblem> {
        let mut parts = text.split("--");
        match (parts.next(), parts.next(), parts.next()) {
            (Some(name), Some(version), None) => Self::new(name, version),
            _ => Err(IdProblem::Separator { id: shown(text) }),
        }
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.text)
    }
}

impl AsRef<str> for PackageId {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl AsRef<std::path::Path> for PackageId {
    fn as_ref(&self) -> &std::path::Path {
        std::path::Path::new(&*self.text)
    }
}

impl Serialize for PackageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for PackageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The name of a package, without version: `^[a-zA-Z0-9@_+][a-zA-Z0-9@._+-]*$`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PackageName(Box<str>);

impl PackageName {
    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PackageName {
    type Err = IdProblem;

    fn from_str(text: &str) -> Result<Self, IdProblem> {
        if text.len() > MAX_ID {
            return Err(IdProblem::Long { bytes: text.len() });
        }
        check_name(text)?;
        Ok(Self(text.into()))
    }
}

impl From<&PackageId> for PackageName {
    fn from(id: &PackageId) -> Self {
        Self(id.name().into())
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl AsRef<str> for PackageName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for PackageName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for PackageName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether a file name is meant as an id: it has exactly one `--`. `a---b` looks like one and is none.
pub fn looks_like_id(text: &str) -> bool {
    text.matches("--").count() == 1
}

fn check_name(name: &str) -> Result<(), IdProblem> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"@._+-".contains(&c);
    if name.is_empty() || name.starts_with(['.', '-']) || !name.bytes().all(allowed) {
        return Err(IdProblem::Name { name: shown(name) });
    }
    Ok(())
}

/// At most so much of a stranger's text is repeated in an error.
fn shown(text: &str) -> String {
    text.chars().take(MAX_ID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(&str, &str), &str>) {
        match (text.parse::<PackageId>(), expected) {
            (Ok(id), Ok(parts)) => {
                assert_eq!((id.name(), id.version()), parts);
                assert_eq!(id.to_string(), text);
                assert_eq!(
                    serde_json::from_str::<PackageId>(&serde_json::to_string(&id).unwrap()).unwrap(),
                    id
                );
            }
            (Err(problem), Err(part)) => assert!(problem.to_string().contains(part), "{problem}"),
            (found, expected) => panic!("{text:?}: {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn ids() {
        check("mesos--0f81c7b", Ok(("mesos", "0f81c7b")));
        check("dcos-config--setup_61f0", Ok(("dcos-config", "setup_61f0")));
        check("@a.b_+--:1.0@+_", Ok(("@a.b_+", ":1.0@+_")));
        check("a---b", Err("\"-b\" is not a package version"));
        check("-a--b", Err("\"-a\" is not a package name"));
        check(".a--b", Err("is not a package name"));
        check("a--b--c", Err("exactly one `--`"));
        check("a----c", Err("exactly one `--`"));
        check("a-b", Err("exactly one `--`"));
        check("", Err("exactly one `--`"));
        check("--", Err("is not a package name"));
        check("a--", Err("is not a package version"));
        check("a--b\n", Err("is not a package version"));
        check("a--b_tmp/../x", Err("is not a package version"));
        check("a/b--c", Err("is not a package name"));
        check("ä--c", Err("is not a package name"));
        check(&format!("{}--b", "a".repeat(MAX_ID - 2)), Err("too long: 240"));
    }

    #[test]
    fn a_name_that_no_id_can_hold() {
        assert!(PackageId::new("a--b", "1").is_err());
        assert!(PackageId::new("a-", "1").is_err());
        assert!("a-b".parse::<PackageName>().is_ok());
        assert!("-b".parse::<PackageName>().is_err());
    }

    #[test]
    fn what_looks_like_an_id() {
        for (text, expected) in
            [("a--b", true), ("a---b", true), ("a--b_tmp", true), ("a----b", false), ("a-b", false)]
        {
            assert_eq!(looks_like_id(text), expected, "{text}");
        }
    }

    #[test]
    fn ids_are_ordered_as_texts() {
        let mut ids: Vec<PackageId> =
            ["b--1", "a--2", "a-b--1", "a--10"].iter().map(|id| id.parse().unwrap()).collect();
        ids.sort();
        let texts: Vec<_> = ids.iter().map(PackageId::as_str).collect();
        assert_eq!(texts, ["a--10", "a--2", "a-b--1", "b--1"]);
    }
}
