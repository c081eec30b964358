//! The canonical hash: what package versions, bootstrap ids and folders are named by.
//!
//! SHA-1 names things here as it does in the original and in git: equal ids for equal inputs. It
//! protects nothing; what is downloaded is checked against SHA-256.

use std::collections::BTreeMap;

use serde_json::Value;
use sha1::{Digest, Sha1};

/// A value that has no canonical hash.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HashError {
    /// Null and fractions are no part of it.
    #[error(
        "{at}: found {found}; allowed are strings, whole numbers, booleans, lists of strings and objects"
    )]
    Kind {
        /// Where, as `a.b[2]`; `value` for the whole.
        at: String,
        /// What was found, as JSON.
        found: String,
    },
    /// Lists are sorted before they are hashed, so they hold nothing but strings.
    #[error("{at}: found {found}; a list may hold only strings")]
    Item {
        /// Where, as `a.b[2]`.
        at: String,
        /// What was found, as JSON.
        found: String,
    },
    /// Deeper than any file that people write.
    #[error("{at}: nested deeper than {MAX_DEPTH} levels")]
    Depth {
        /// Where.
        at: String,
    },
}

/// Objects within objects: JSON texts are not read any deeper, either.
const MAX_DEPTH: usize = 128;

/// The canonical hash of a value as 40 hexadecimal digits (pkgpanda: `hash_checkout`).
///
/// The order of keys and of list items does not matter; a boolean is not the string of its name in
/// lower case, but an integer is the string of its digits.
///
/// # Errors
/// Null, a fraction, or a list that holds anything but strings.
pub fn canonical(value: &Value) -> Result<String, HashError> {
    hash_value(value, &mut Vec::new())
}

/// The canonical hash of a string: of its UTF-8 bytes.
#[must_use]
pub fn text(text: &str) -> String {
    content(text.as_bytes())
}

/// The hash of bytes, such as a file's content.
#[must_use]
pub fn content(bytes: &[u8]) -> String {
    hex(&Sha1::digest(bytes))
}

/// The canonical hash of a list of strings: of their hashes, in the order of the strings.
#[must_use]
pub fn list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let mut items: Vec<S> = items.into_iter().collect();
    items.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
    let hashes: Vec<String> = items.iter().map(|item| text(item.as_ref())).collect();
    text(&hashes.join(","))
}

/// What a folder holds at one path, as far as its hash tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FolderEntry {
    /// A file, or a link to one: [`content`] of what it holds. Modes do not count.
    File(String),
    /// A directory with nothing in it. The folder itself is none.
    EmptyDirectory,
}

/// The hash of a folder by the paths relative to it (pkgpanda: `hash_folder`).
///
/// A directory with something in it and a link to a directory are not part of it.
#[must_use]
pub fn folder(entries: &BTreeMap<String, FolderEntry>) -> String {
    let parts: Vec<String> = entries
        .iter()
        .map(|(path, entry)| {
            let value = match entry {
                FolderEntry::File(sha1) => sha1,
                FolderEntry::EmptyDirectory => "",
            };
            format!("{path}={}", text(value))
        })
        .collect();
    text(&parts.join(","))
}

/// A hash of content that comes in pieces.
#[derive(Clone, Debug, Default)]
pub struct ContentHash(Sha1);

impl ContentHash {
    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The same as [`content`] of all pieces together.
    #[must_use]
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// One step from the whole value to a part of it.
#[derive(Clone, Copy)]
enum Step<'v> {
    Key(&'v str),
    Index(usize),
}

fn hash_value<'v>(value: &'v Value, path: &mut Vec<Step<'v>>) -> Result<String, HashError> {
    if path.len() > MAX_DEPTH {
        return Err(HashError::Depth { at: shown(path) });
    }
    match value {
        Value::String(string) => Ok(text(string)),
        Value::Bool(true) => Ok(text("True")),
        Value::Bool(false) => Ok(text("False")),
        Value::Number(number) if !number.is_f64() => Ok(text(&number.to_string())),
        Value::Array(items) => hash_array(items, path),
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            let mut parts = Vec::with_capacity(members.len());
            for (key, value) in members {
                path.push(Step::Key(key));
                parts.push(format!("{key}={}", hash_value(value, path)?));
                path.pop();
            }
            Ok(text(&parts.join(",")))
        }
        Value::Null | Value::Number(_) => Err(HashError::Kind { at: shown(path), found: value.to_string() }),
    }
}

fn hash_array<'v>(items: &'v [Value], path: &mut Vec<Step<'v>>) -> Result<String, HashError> {
    let mut strings = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match item {
            Value::String(string) => strings.push(string),
            other => {
                path.push(Step::Index(index));
                return Err(HashError::Item { at: shown(path), found: other.to_string() });
            }
        }
    }
    Ok(list(strings))
}

fn shown(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    if text.is_empty() { "value".to_owned() } else { text }
}

fn hex(digest: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    digest
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| DIGITS[nibble as usize] as char)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(value: Value, expected: &str) {
        assert_eq!(canonical(&value).unwrap(), expected, "{value}");
    }

    #[track_caller]
    fn check_refused(value: Value, expected: &str) {
        assert_eq!(canonical(&value).unwrap_err().to_string(), expected, "{value}");
    }

    #[test]
    fn vectors_of_the_original() {
        for empty in [json!(""), json!([]), json!({})] {
            check(empty, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        }
        check(json!(1), "356a192b7913b04c54574d18c28d46e6395428ab");
        check(json!("1"), "356a192b7913b04c54574d18c28d46e6395428ab");
        check(json!(true), "88b33e4e12f75ac8bf792aebde41f1a090f3a612");
        check(json!(["b", "a"]), "0421aff1ede93c890870a448b6fcfe3b0079f5ec");
        check(json!({"k": "v"}), "9bf02880d3bd6999f0308d739452e2a3db67bba5");
        check(json!({"a": ["x", "y"], "b": {"c": 1}}), "7c0eee11f996862e3997e48b3c345d00d65c897e");
    }

    #[test]
    fn what_has_no_hash_is_told_with_its_place() {
        let kinds = "allowed are strings, whole numbers, booleans, lists of strings and objects";
        check_refused(json!(null), &format!("value: found null; {kinds}"));
        check_refused(json!({"a": {"b": 1.5}}), &format!("a.b: found 1.5; {kinds}"));
        check_refused(json!({"a": ["x", 2]}), "a[1]: found 2; a list may hold only strings");
        check_refused(json!([[]]), "[0]: found []; a list may hold only strings");
    }

    #[test]
    fn what_is_nested_too_deep_is_refused() {
        let mut value = json!({});
        for _ in 0..200 {
            value = json!({ "a": value });
        }
        assert!(matches!(canonical(&value), Err(HashError::Depth { .. })));
    }

    #[test]
    fn a_folder_is_its_files_and_its_empty_directories() {
        let of = |entries: &[(&str, FolderEntry)]| {
            folder(&entries.iter().map(|(path, entry)| ((*path).to_owned(), entry.clone())).collect())
        };
        let file = |bytes: &[u8]| FolderEntry::File(content(bytes));
        assert_eq!(of(&[]), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        let whole = of(&[("a/b", file(b"x")), ("empty", FolderEntry::EmptyDirectory)]);
        let same = canonical(&json!({"a/b": content(b"x"), "empty": ""})).unwrap();
        assert_eq!(whole, same);
        assert_ne!(whole, of(&[("a/b", file(b"y")), ("empty", FolderEntry::EmptyDirectory)]));
        assert_ne!(whole, of(&[("a/b", file(b"x"))]));
    }

    #[test]
    fn content_in_pieces_is_content() {
        let mut hash = ContentHash::default();
        hash.update(b"one ");
        hash.update(b"two");
        assert_eq!(hash.finish(), content(b"one two"));
    }
}
