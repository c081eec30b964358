//! What is in a package, by path.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

/// How deep packages may be: deeper than any that are built.
const MAX_DEPTH: usize = 100;
/// How many entries a package may have.
const MAX_ENTRIES: usize = 1_000_000;

/// What a path in a package is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link, wherever it leads.
    Symlink,
}

impl std::fmt::Display for EntryKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            EntryKind::Directory => "a directory",
            EntryKind::File => "a file",
            EntryKind::Symlink => "a link",
        })
    }
}

/// One path of a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// Relative to the package.
    pub(crate) path: Box<str>,
    /// What it is.
    pub(crate) kind: EntryKind,
}

/// Why a package's contents are not those of a package.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// Names become lines and links: they have to be text.
    #[error("the name {0:?} is not UTF-8")]
    Name(String),
    /// A device, FIFO or socket.
    #[error("{0:?} is neither a file nor a directory nor a link")]
    Special(String),
    /// Deeper than 100 directories.
    #[error("{0:?} is more than {MAX_DEPTH} directories deep")]
    Deep(String),
    /// More than a million.
    #[error("it has more than {MAX_ENTRIES} files")]
    Many,
    /// The file system refused.
    #[error("cannot read {path:?}: {why}")]
    Read {
        /// Which entry.
        path: String,
        /// What the kernel said.
        why: rustix::io::Errno,
    },
}

/// Opens the directory of a package.
pub(crate) fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// All that is in the package, sorted by path. Follows no link.
pub(crate) fn walk(package: BorrowedFd<'_>) -> Result<Vec<Entry>, ContentsError> {
    let mut walk = Walk { entries: Vec::new() };
    let mut path = String::new();
    let again = rustix::fs::openat(package, c".", DIRECTORY, Mode::empty());
    walk.directory(again.map_err(read(&path))?, &mut path, 0)?;
    walk.entries.sort_unstable();
    Ok(walk.entries)
}

const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

struct Walk {
    entries: Vec<Entry>,
}

impl Walk {
    fn directory(
        &mut self,
        directory: OwnedFd,
        path: &mut String,
        depth: usize,
    ) -> Result<(), ContentsError> {
        if depth > MAX_DEPTH {
            return Err(ContentsError::Deep(path.clone()));
        }
        let length = path.len();
        let mut entries = Dir::new(directory).map_err(read(path))?;
        while let Some(entry) = entries.read() {
            let entry = entry.map_err(read(path))?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            let name = entry.file_name().to_str();
            let name = name.map_err(|_| ContentsError::Name(format!("{path}{:?}", entry.file_name())))?;
            path.push_str(name);
            let here = entries.fd().map_err(read(path))?;
            let kind = kind(here, &entry, path)?;
            if self.entries.len() == MAX_ENTRIES {
                return Err(ContentsError::Many);
            }
            self.entries.push(Entry { path: path.as_str().into(), kind });
            if kind == EntryKind::Directory {
                let below = rustix::fs::openat(here, name, DIRECTORY, Mode::empty());
                let below = below.map_err(read(path))?;
                path.push('/');
                self.directory(below, path, depth + 1)?;
            }
            path.truncate(length);
        }
        Ok(())
    }
}

fn kind(here: BorrowedFd<'_>, entry: &rustix::fs::DirEntry, path: &str) -> Result<EntryKind, ContentsError> {
    let mut file_type = entry.file_type();
    if file_type == FileType::Unknown {
        // Not every file system tells kinds with names.
        let stat = rustix::fs::statat(here.as_fd(), entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
        file_type = FileType::from_raw_mode(stat.map_err(read(path))?.st_mode);
    }
    match file_type {
        FileType::Directory => Ok(EntryKind::Directory),
        FileType::RegularFile => Ok(EntryKind::File),
        FileType::Symlink => Ok(EntryKind::Symlink),
        _ => Err(ContentsError::Special(path.to_owned())),
    }
}

pub(crate) fn read(path: &str) -> impl FnOnce(rustix::io::Errno) -> ContentsError + use<'_> {
    move |why| ContentsError::Read { path: path.to_owned(), why }
}
