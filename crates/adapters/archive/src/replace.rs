//! Removing what an entry takes the place of.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// The deepest tree that is removed; each level holds a descriptor.
const DEPTH: usize = 300;

/// What was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// Nothing that a name leads through.
    Other,
    /// A directory: names below it are gone.
    Directory,
    /// A symbolic link: names through it are gone.
    Symlink,
}

/// Removes `name` from `parent`, a directory with what is in it only if `whole`, else
/// [`Errno::NOTEMPTY`]. That something vanished meanwhile is fine.
pub(crate) fn remove(parent: &OwnedFd, name: &[u8], whole: bool) -> Result<Removed, Errno> {
    let found = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => rustix::fs::FileType::from_raw_mode(found.st_mode),
        Err(Errno::NOENT) => return Ok(Removed::Other),
        Err(errno) => return Err(errno),
    };
    match found {
        rustix::fs::FileType::Directory => {
            if whole {
                empty(parent, name, 0)?;
            }
            gone(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR))?;
            Ok(Removed::Directory)
        }
        kind => {
            gone(rustix::fs::unlinkat(parent, name, AtFlags::empty()))?;
            Ok(if kind == rustix::fs::FileType::Symlink { Removed::Symlink } else { Removed::Other })
        }
    }
}

fn empty(parent: impl AsFd, name: &[u8], depth: usize) -> Result<(), Errno> {
    if depth == DEPTH {
        return Err(Errno::NAMETOOLONG);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    for entry in rustix::fs::Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                empty(&directory, name, depth + 1)?;
                gone(rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR))?;
            }
            other => gone(other)?,
        }
    }
    Ok(())
}

fn gone(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
