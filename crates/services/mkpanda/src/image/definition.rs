use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::ImageProblem;
use crate::sources::Listing;

/// Counts up when the same packages are put together in another way: the images are others then.
const FORMAT: u32 = 1;
/// The file that defines an image.
const FILE: &str = "image.json";
/// The folder of files that lie over the packages.
const OVER: &str = "root";
/// The most bytes of a definition.
const LIMIT: u64 = 1 << 20;

/// `image.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    /// Debian's packages, `NAME` or `NAME=VERSION`; what they depend on comes with them.
    pub(super) debian: Vec<String>,
    /// What the environment of builds has beside what every build has.
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
}

/// An image as it is defined.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) written: Written,
    /// The folder whose files lie over the packages, and what is in it.
    pub(super) over: Option<(PathBuf, Listing)>,
}

impl Definition {
    /// Reads what is in `docker/NAME`.
    pub(super) fn read(folder: &Path) -> Result<Definition, ImageProblem> {
        let file = folder.join(FILE);
        let wrong = |problem: String| ImageProblem::Definition { file: file.clone(), problem };
        let mut text = String::new();
        let read = File::open(&file).and_then(|file| file.take(LIMIT + 1).read_to_string(&mut text));
        if read.map_err(ImageProblem::file("read", &file))? as u64 > LIMIT {
            return Err(wrong(format!("it is longer than the {LIMIT} bytes allowed")));
        }
        let mut written: Written = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        written.debian.sort();
        written.debian.dedup();
        for (name, value) in &written.environment {
            check_variable(name, value).map_err(wrong)?;
        }
        let over = folder.join(OVER);
        let over = match fs::symlink_metadata(&over) {
            Ok(_) => Some((over.clone(), Listing::of(&over)?)),
            Err(_) => None,
        };
        if written.debian.is_empty() && over.is_none() {
            let problem = "debian: found an empty list; allowed are names of Debian packages, and none only \
                           with a folder root beside";
            return Err(wrong(problem.into()));
        }
        Ok(Definition { written, over })
    }

    /// What tells it from other definitions, and from the same one on other machines: 64 digits.
    pub(super) fn key(&self) -> String {
        let over = self.over.as_ref().map(|(_, listing)| listing.contents());
        let all = (FORMAT, std::env::consts::ARCH, &self.written, over);
        digest(&serde_json::to_string(&all).expect("texts and numbers are writable"))
    }

    /// The id of the image that is made of these packages.
    pub(super) fn id(&self, debs: &[debian::Deb]) -> String {
        let debs: Vec<_> =
            debs.iter().map(|deb| (&deb.package, &deb.version, &deb.architecture, &deb.sha256)).collect();
        let all = (self.key(), debs);
        format!("sha256:{}", digest(&serde_json::to_string(&all).expect("texts are writable")))
    }
}

fn check_variable(name: &str, value: &str) -> Result<(), String> {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(is_first) || !name.chars().all(|c| is_first(c) || c.is_ascii_digit()) {
        return Err(format!("environment: found the name {name:?}; allowed are letters, digits and _"));
    }
    if value.contains('\0') {
        return Err(format!("environment.{name}: found a zero byte; allowed is any other text"));
    }
    Ok(())
}

/// The SHA-256 of a text: 64 digits.
pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), text).unwrap();
        dir
    }

    #[test]
    fn what_is_wrong_with_a_definition_is_said() {
        let check = |text: &str, expected: &str| {
            let dir = folder(text);
            let error = base::with_causes(&Definition::read(dir.path()).unwrap_err());
            assert!(error.contains("image.json") && error.contains(expected), "{text}: {error}");
        };
        check("", "EOF while parsing");
        check("[]", "invalid length 0");
        check("{}", "missing field `debian`");
        check(r#"{"debian": []}"#, "debian: found an empty list");
        check(r#"{"debain": ["bash"]}"#, "unknown field `debain`, expected `debian` or `environment`");
        check(r#"{"debian": "bash"}"#, "expected a sequence");
        check(r#"{"debian": ["bash"], "environment": {"A B": ""}}"#, "found the name \"A B\"");
        check(r#"{"debian": ["bash"], "environment": {"": ""}}"#, "found the name \"\"");
        check(r#"{"debian": ["bash"], "environment": {"A": "\u0000"}}"#, "environment.A: found a zero byte");
        check(r#"{"debian": ["bash"], "environment": {"A": 1}}"#, "expected a string");
        check(&" ".repeat(LIMIT as usize + 1), "longer than");
        let absent = tempfile::tempdir().unwrap();
        let error = base::with_causes(&Definition::read(absent.path()).unwrap_err());
        assert!(error.contains("image.json: No such file"), "{error}");
    }

    #[test]
    fn a_key_is_that_of_the_contents() {
        let key = |text: &str| Definition::read(folder(text).path()).unwrap().key();
        let one = key(r#"{"debian": ["bash", "sed"]}"#);
        assert_eq!(one, key(r#"{"environment": {}, "debian": ["sed", "bash", "sed"]}"#));
        assert_ne!(one, key(r#"{"debian": ["bash"]}"#));
        assert_ne!(one, key(r#"{"debian": ["bash", "sed"], "environment": {"A": "1"}}"#));
        let dir = folder(r#"{"debian": ["bash", "sed"]}"#);
        fs::create_dir(dir.path().join(OVER)).unwrap();
        let with = |text: &str| {
            fs::write(dir.path().join("root/file"), text).unwrap();
            Definition::read(dir.path()).unwrap().key()
        };
        let (first, second) = (with("1"), with("2"));
        assert!(first != second && first != one && first == with("1"));
    }
}
