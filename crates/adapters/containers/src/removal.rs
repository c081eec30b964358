//! Removing trees that containers wrote.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{IFlags, Mode, OFlags};

/// Removes a directory with all that is in it; no error if there is none. Follows no link.
pub(crate) fn remove_all(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Root is refused this only where a privileged container forbade it (`chattr +i`).
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            allow_removal(directory)?;
            fs::remove_dir_all(directory)
        }
        result => result,
    }
}

/// Takes the marks away that keep files from being removed.
fn allow_removal(directory: &Path) -> io::Result<()> {
    // A list, not recursion: the tree may be as deep as its author liked.
    let mut ahead = vec![directory.to_owned()];
    while let Some(path) = ahead.pop() {
        let kind = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if kind.is_file() || kind.is_dir() {
            unmark(&path)?;
        }
        if kind.is_dir() {
            for entry in fs::read_dir(&path)? {
                ahead.push(entry?.path());
            }
        }
    }
    Ok(())
}

fn unmark(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    // A file system that has no such marks keeps nothing from being removed.
    let Ok(marks) = rustix::fs::ioctl_getflags(&file) else { return Ok(()) };
    let kept = IFlags::IMMUTABLE | IFlags::APPEND;
    if marks.intersects(kept) {
        rustix::fs::ioctl_setflags(&file, marks - kept)?;
    }
    Ok(())
}
