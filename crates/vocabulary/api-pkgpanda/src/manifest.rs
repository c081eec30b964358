use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The file at a package's root that lists everything else in it.
pub const MANIFEST: &str = "pkgpanda.manifest.json";

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestProblem {
    /// Not JSON, or not of the form of a manifest.
    #[error("{MANIFEST}: {0}")]
    Syntax(String),
    /// Written by a later program.
    #[error("{MANIFEST}: version is {0}, known is 1")]
    Version(u32),
    /// A path that does not stay below the package, or is not written in the one way it can be.
    #[error("{MANIFEST}: {0:?} is no path below the package (no leading `/`, no empty, `.` or `..` part)")]
    Path(String),
    /// A mode with bits that no file has.
    #[error("{MANIFEST}: {path:?} has mode {mode:o}, allowed is at most 7777")]
    Mode {
        /// Whose mode.
        path: String,
        /// Which one.
        mode: u32,
    },
    /// A hash that is none.
    #[error("{MANIFEST}: {path:?} has sha256 {sha256:?}, needed are 64 hexadecimal digits in lower case")]
    Hash {
        /// Whose hash.
        path: String,
        /// What was found.
        sha256: String,
    },
    /// One path as two things.
    #[error("{MANIFEST}: {0:?} is listed twice")]
    Twice(String),
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Permission bits, written in octal.
    #[serde(with = "octal")]
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Of the contents, 64 hexadecimal digits in lower case.
    pub sha256: String,
}

/// Everything in a package but the manifest itself, by path relative to its root: written when it is built, compared
/// when it is added and when it is verified. Packages of the original have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 1.
    pub version: u32,
    /// Directories with their permission bits; the package's own is not among them.
    #[serde(with = "octal::map")]
    pub directories: BTreeMap<String, u32>,
    /// Regular files. Hard links are files of their own.
    pub files: BTreeMap<String, File>,
    /// Symbolic links with their targets, as they are.
    pub symlinks: BTreeMap<String, String>,
}

impl Manifest {
    /// An empty one of the current version.
    pub fn new() -> Self {
        Self { version: 1, ..Self::default() }
    }

    /// Reads the text of a manifest and checks every path, mode and hash in it.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestProblem> {
        let manifest: Self =
            serde_json::from_slice(text).map_err(|error| ManifestProblem::Syntax(error.to_string()))?;
        if manifest.version != 1 {
            return Err(ManifestProblem::Version(manifest.version));
        }
        for path in manifest.directories.keys().chain(manifest.files.keys()).chain(manifest.symlinks.keys()) {
            if path.split('/').any(|part| matches!(part, "" | "." | ".."))
                || path.contains('\0')
                || path == MANIFEST
            {
                return Err(ManifestProblem::Path(path.clone()));
            }
        }
        let modes = manifest.directories.iter().map(|(path, mode)| (path, *mode));
        for (path, mode) in modes.chain(manifest.files.iter().map(|(path, file)| (path, file.mode))) {
            if mode > 0o7777 {
                return Err(ManifestProblem::Mode { path: path.clone(), mode });
            }
        }
        for (path, file) in &manifest.files {
            if file.sha256.len() != 64 || !file.sha256.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
            {
                return Err(ManifestProblem::Hash { path: path.clone(), sha256: file.sha256.clone() });
            }
            if manifest.directories.contains_key(path) {
                return Err(ManifestProblem::Twice(path.clone()));
            }
        }
        if let Some(path) = manifest
            .symlinks
            .keys()
            .find(|path| manifest.directories.contains_key(*path) || manifest.files.contains_key(*path))
        {
            return Err(ManifestProblem::Twice(path.clone()));
        }
        Ok(manifest)
    }

    /// The text that is written to [`MANIFEST`].
    pub fn to_text(&self) -> String {
        crate::json::pretty(self)
    }
}

/// Modes as octal texts of four digits.
mod octal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{mode:04o}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        read(&text).map_err(D::Error::custom)
    }

    fn read(text: &str) -> Result<u32, String> {
        u32::from_str_radix(text, 8).map_err(|_| format!("{text:?} is no octal mode"))
    }

    pub(super) mod map {
        use std::collections::BTreeMap;

        use serde::de::Error;
        use serde::{Deserialize, Deserializer, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(
            modes: &BTreeMap<String, u32>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            serializer.collect_map(modes.iter().map(|(path, mode)| (path, format!("{mode:04o}"))))
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<BTreeMap<String, u32>, D::Error> {
            let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
            texts
                .into_iter()
                .map(|(path, text)| Ok((path, super::read(&text).map_err(D::Error::custom)?)))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let mut manifest = Manifest::new();
        manifest.directories.insert("bin".to_owned(), 0o755);
        manifest.files.insert("bin/a".to_owned(), File { mode: 0o4755, size: 3, sha256: "0".repeat(64) });
        manifest.symlinks.insert("bin/b".to_owned(), "a".to_owned());
        manifest
    }

    #[test]
    fn there_and_back() {
        let text = sample().to_text();
        assert!(text.contains("\"bin\":\"0755\"") && text.contains("\"mode\":\"4755\""), "{text}");
        assert_eq!(Manifest::parse(text.as_bytes()).unwrap(), sample());
    }

    #[test]
    fn bad_ones() {
        let check = |from: &str, to: &str, expected: &str| {
            let text = sample().to_text();
            assert!(text.contains(from), "{from}");
            let problem = Manifest::parse(text.replace(from, to).as_bytes()).unwrap_err().to_string();
            assert!(problem.contains(expected), "{to}: {problem}");
        };
        check("\"version\":1", "\"version\":2", "version is 2, known is 1");
        check("\"bin/b\":", "\"../b\":", "\"../b\" is no path below the package");
        check("\"bin/b\":", "\"/b\":", "\"/b\" is no path below the package");
        check("\"bin/b\":", "\"pkgpanda.manifest.json\":", "is no path below the package");
        check("\"bin/b\":", "\"bin\":", "\"bin\" is listed twice");
        check("\"0755\"", "\"10755\"", "\"bin\" has mode 10755");
        check("\"0755\"", "\"9\"", "\"9\" is no octal mode");
        check(&"0".repeat(64), "AB", "has sha256 \"AB\"");
        check("\"symlinks\":", "\"hardlinks\":", "unknown field `hardlinks`");
    }
}
