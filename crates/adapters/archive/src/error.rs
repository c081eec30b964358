//! Why an archive was not extracted, in words for the person who brought it.

use std::fmt;
use std::io;

/// Why an archive was not extracted, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes could not be had, or are not what the compression promises.
    #[error("read the archive")]
    Read(#[source] io::Error),
    /// It stops before its end.
    #[error("the archive ends in the middle of {entry}")]
    Truncated {
        /// The entry, or the header, that is cut.
        entry: String,
    },
    /// It is not an archive of this kind, or a broken one.
    #[error("not a valid archive at byte {offset}: {problem}")]
    Malformed {
        /// Where, in decompressed bytes.
        offset: u64,
        /// What is wrong there.
        problem: String,
    },
    /// An entry is not one that may be extracted.
    #[error("entry \"{entry}\" {refusal}")]
    Refused {
        /// The entry's name.
        entry: String,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// More comes out than may: nothing of the entry beyond the limit was written.
    #[error("entry \"{entry}\" takes the contents beyond {limit} bytes")]
    TooLarge {
        /// The entry that crosses the limit.
        entry: String,
        /// [`Limits::bytes`](crate::Limits::bytes).
        limit: u64,
    },
    /// More entries than there may be.
    #[error("the archive has more than {limit} entries")]
    TooMany {
        /// [`Limits::entries`](crate::Limits::entries).
        limit: u64,
    },
    /// The file system refused.
    #[error("{attempt} \"{entry}\"")]
    Write {
        /// What was attempted: "make directory", "write file", ...
        attempt: &'static str,
        /// The entry's name, or the directory's that everything goes into.
        entry: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its name begins with `/`.
    Absolute,
    /// Its name has a component `..`.
    Parent,
    /// Its name is empty, or one that only a directory can have.
    NoName,
    /// Its name holds a byte zero.
    Nul,
    /// Its name is longer than this many bytes.
    LongName(usize),
    /// It is a link to a name of more than this many bytes.
    LongLink(usize),
    /// Its name has more than this many components.
    Deep(usize),
    /// A directory in its name is a link out of the directory that is extracted into.
    ParentLeadsOut,
    /// A directory in its name is something else.
    ParentNoDirectory,
    /// It is a hard link to this name, which leads outside.
    LinkLeadsOut(String),
    /// It is a hard link to this name, which is not there.
    LinkToNothing(String),
    /// It is a hard link to this name, which is a directory.
    LinkToDirectory(String),
    /// It is a device, FIFO or socket, named here, and these are not extracted.
    Special(&'static str),
    /// It would replace a directory that is not empty.
    ReplacesDirectory,
    /// It is a whiteout of no name.
    Whiteout,
    /// It is encrypted.
    Encrypted,
    /// It is of a kind, or compressed in a way, that is not known; named here.
    Unknown(String),
    /// Its contents are not what its checksum or size says.
    Damaged,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Absolute => f.write_str("has an absolute name"),
            Refusal::Parent => f.write_str("has \"..\" in its name"),
            Refusal::NoName => f.write_str("has no file name"),
            Refusal::Nul => f.write_str("has a zero byte in its name"),
            Refusal::LongName(most) => write!(f, "has a name of more than {most} bytes"),
            Refusal::LongLink(most) => write!(f, "is a link to a name of more than {most} bytes"),
            Refusal::Deep(most) => write!(f, "is more than {most} directories deep"),
            Refusal::ParentLeadsOut => {
                f.write_str("lies behind a symbolic link that leads out of the target directory")
            }
            Refusal::ParentNoDirectory => f.write_str("lies below something that is not a directory"),
            Refusal::LinkLeadsOut(to) => {
                write!(f, "is a hard link to \"{to}\", which is outside of the target directory")
            }
            Refusal::LinkToNothing(to) => write!(f, "is a hard link to \"{to}\", which does not exist"),
            Refusal::LinkToDirectory(to) => write!(f, "is a hard link to \"{to}\", which is a directory"),
            Refusal::Special(kind) => write!(f, "is a {kind}, which is not allowed here"),
            Refusal::ReplacesDirectory => f.write_str("would replace a directory that is not empty"),
            Refusal::Whiteout => f.write_str("is a whiteout of nothing"),
            Refusal::Encrypted => f.write_str("is encrypted"),
            Refusal::Unknown(what) => write!(f, "is of an unknown kind: {what}"),
            Refusal::Damaged => f.write_str("is damaged: its contents do not match its checksum"),
        }
    }
}

impl Error {
    pub(crate) fn refused(entry: &[u8], refusal: Refusal) -> Error {
        Error::Refused { entry: shown(entry), refusal }
    }

    pub(crate) fn write(attempt: &'static str, entry: &[u8], source: rustix::io::Errno) -> Error {
        Error::Write { attempt, entry: shown(entry), source: source.into() }
    }

    /// The file system is full, or the user's share of it.
    pub fn is_no_space(&self) -> bool {
        let Error::Write { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// The most characters of a foreign name that a message repeats.
const SHOWN: usize = 200;

/// A name from an archive, safe for terminals and logs, and short.
pub(crate) fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut shown = String::with_capacity(text.len().min(SHOWN));
    for (count, letter) in text.chars().enumerate() {
        if count == SHOWN {
            shown.push_str("...");
            break;
        }
        if letter.is_control() { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    shown
}
