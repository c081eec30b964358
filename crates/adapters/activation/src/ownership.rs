//! Giving a directory with all that is in it to a user.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Uid};
use rustix::io::Errno;

/// How deep a directory may be; each level holds a descriptor.
const DEPTH_LIMIT: usize = 128;

/// Makes `uid` the owner of the directory and of all that is in it, as `chown -R` does. Goes by descriptors
/// and follows no link: the directory is its user's already, who may change it meanwhile.
///
/// # Errors
/// What the kernel refuses. Ends at once then.
pub(crate) fn give(path: &Path, uid: u32) -> io::Result<()> {
    let uid = Uid::from_raw(uid);
    let directory = open(CWD, path)?;
    give_level(directory.as_fd(), uid, 0)?;
    // After what is in it: who may not enter the one may not change the other.
    own(directory.as_fd(), c"", AtFlags::EMPTY_PATH, uid)
}

fn give_level(directory: BorrowedFd<'_>, uid: Uid, depth: usize) -> io::Result<()> {
    if depth > DEPTH_LIMIT {
        return Err(io::Error::other(format!("it holds more than {DEPTH_LIMIT} directories in each other")));
    }
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
            match open(directory, name) {
                Ok(below) => give_level(below.as_fd(), uid, depth + 1)?,
                // No directory, or none any more.
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        own(directory, name, AtFlags::SYMLINK_NOFOLLOW, uid)?;
    }
    Ok(())
}

fn own(directory: BorrowedFd<'_>, name: &CStr, flags: AtFlags, uid: Uid) -> io::Result<()> {
    let gone = |errno| if errno == Errno::NOENT { Ok(()) } else { Err(io::Error::from(errno)) };
    match rustix::fs::statat(directory, name, flags) {
        Ok(stat) if stat.st_uid == uid.as_raw() => Ok(()),
        Ok(_) => rustix::fs::chownat(directory, name, Some(uid), None, flags).or_else(gone),
        Err(errno) => gone(errno),
    }
}

fn open(from: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(from, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn all_that_is_in_a_directory_is_given_but_not_what_links_lead_to() {
        if !::host::is_root() {
            eprintln!("SKIP giving files away: it needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        fs::create_dir_all(state.join("a/b")).unwrap();
        fs::write(state.join("a/b/file"), "").unwrap();
        fs::write(dir.path().join("outside"), "").unwrap();
        symlink(dir.path(), state.join("a/link")).unwrap();
        let uid = |path: &Path| fs::symlink_metadata(path).unwrap().uid();
        for _ in 0..2 {
            give(&state, 4321).unwrap();
            for path in ["", "a", "a/b", "a/b/file", "a/link"] {
                assert_eq!(uid(&state.join(path)), 4321, "{path}");
            }
        }
        assert_eq!((uid(dir.path()), uid(&dir.path().join("outside"))), (0, 0));
        let link = dir.path().join("link");
        symlink(&state, &link).unwrap();
        assert!(give(&link, 0).is_err(), "a link in the place of the directory is no directory");
    }
}
