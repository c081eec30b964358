use std::fmt;
use std::sync::Arc;

/// A record's name: a slash path of at least two segments, like `marathon/apps/web`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    path: Arc<str>,
    dir_len: usize,
}

/// A directory: a slash path of at least one segment, like `marathon/apps`. It exists by the records
/// in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dir(Arc<str>);

/// Why a text is no key or directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A segment is empty, `.` or `..`, or has a control character.
    #[error(
        "{path:?} has the segment {segment:?}; a segment has at least one character, no control \
         character, and is neither . nor .."
    )]
    Segment {
        /// The path.
        path: String,
        /// The segment.
        segment: String,
    },
    /// More than [`limit::KEY`](crate::limit::KEY) bytes.
    #[error("a path of {0} bytes; at most {limit} are allowed", limit = crate::limit::KEY)]
    TooLong(usize),
    /// A key needs a directory.
    #[error("{0:?} is in no directory; a key has at least two segments")]
    NoDirectory(String),
}

fn check(path: &str) -> Result<(), KeyError> {
    if path.len() > crate::limit::KEY {
        return Err(KeyError::TooLong(path.len()));
    }
    let bad = |segment: &&str| matches!(*segment, "" | "." | "..") || segment.contains(char::is_control);
    match path.split('/').find(bad) {
        Some(segment) => Err(KeyError::Segment { path: path.to_owned(), segment: segment.to_owned() }),
        None => Ok(()),
    }
}

impl Key {
    /// Reads a path.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn parse(path: &str) -> Result<Key, KeyError> {
        check(path)?;
        let dir_len = path.rfind('/').ok_or_else(|| KeyError::NoDirectory(path.to_owned()))?;
        Ok(Key { path: path.into(), dir_len })
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// The path of its directory.
    pub fn dir(&self) -> &str {
        &self.path[..self.dir_len]
    }

    /// Its last segment.
    pub fn name(&self) -> &str {
        &self.path[self.dir_len + 1..]
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl Dir {
    /// Reads a path.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn parse(path: &str) -> Result<Dir, KeyError> {
        check(path)?;
        Ok(Dir(path.into()))
    }

    /// The key of the record `name` here.
    ///
    /// # Errors
    /// When `name` is not one segment.
    pub fn key(&self, name: &str) -> Result<Key, KeyError> {
        if name.contains('/') {
            return Err(KeyError::Segment { path: self.0.to_string(), segment: name.to_owned() });
        }
        Key::parse(&format!("{}/{name}", self.0))
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Records spread over numbered directories, so that no directory grows beyond its limit:
/// `<dir>/00/<name>` to `<dir>/ff/<name>`. The number of buckets is part of what is stored: it may
/// not change later.
#[derive(Clone, Debug)]
pub struct Buckets {
    dir: Dir,
    count: u16,
}

impl Buckets {
    /// Buckets below `dir`; `count` is 1 to 256.
    pub fn new(dir: Dir, count: u16) -> Buckets {
        assert!((1..=256).contains(&count), "a bucket has two hexadecimal digits");
        Buckets { dir, count }
    }

    /// The key of the record `name`, which is always in the same bucket.
    ///
    /// # Errors
    /// When `name` is not one segment.
    pub fn key(&self, name: &str) -> Result<Key, KeyError> {
        // It is stored by this, so it can never be another function.
        self.bucket(base::fnv1a(name.as_bytes()) % u64::from(self.count)).key(name)
    }

    /// All the directories, to list or follow.
    pub fn dirs(&self) -> impl Iterator<Item = Dir> + '_ {
        (0..u64::from(self.count)).map(|number| self.bucket(number))
    }

    fn bucket(&self, number: u64) -> Dir {
        Dir(format!("{}/{number:02x}", self.dir).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_a_directory_and_a_name() {
        let key = Key::parse("a/b/c").unwrap();
        assert_eq!((key.as_str(), key.dir(), key.name()), ("a/b/c", "a/b", "c"));
        assert_eq!(Dir::parse("a/b").unwrap().key("c"), Ok(key));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let segment = |path: &str, segment: &str| {
            Err(KeyError::Segment { path: path.to_owned(), segment: segment.to_owned() })
        };
        let check = |path: &str, expected| assert_eq!(Key::parse(path), expected, "{path}");
        check("", segment("", ""));
        check("/a", segment("/a", ""));
        check("a/", segment("a/", ""));
        check("a/../b", segment("a/../b", ".."));
        check("a/b\0", segment("a/b\0", "b\0"));
        check("a", Err(KeyError::NoDirectory("a".into())));
        check(&format!("a/{}", "b".repeat(1023)), Err(KeyError::TooLong(1025)));
        assert_eq!(Dir::parse("a").unwrap().key("b/c"), segment("a", "b/c"));
    }

    #[test]
    fn buckets_are_what_they_were() {
        let buckets = Buckets::new(Dir::parse("apps").unwrap(), 256);
        let check = |name, key| assert_eq!(buckets.key(name).unwrap().as_str(), key);
        check("web", "apps/f1/web");
        check("a", "apps/8c/a");
        assert_eq!(buckets.dirs().count(), 256);
        let one = Buckets::new(Dir::parse("apps").unwrap(), 1);
        assert_eq!(one.key("web").unwrap().as_str(), "apps/00/web");
    }
}
