use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

/// How many levels are open at once.
const LEVELS: usize = 32;

/// Removes a directory with all that is in it, however deep. Follows no link.
///
/// [`fs::remove_dir_all`] holds a descriptor and a piece of the stack for each level: a tree of a
/// stranger, who nests 15,000 directories, would end this process. Here what lies too deep is moved to
/// the top first.
///
/// # Errors
/// The kernel's; [`io::ErrorKind::NotFound`] if nothing is there. Some of it may be gone then.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path);
    }
    let top = open(CWD, path)?;
    let mut moved = 0;
    loop {
        let before = moved;
        empty(&top, open(&top, c".")?, 0, &mut moved)?;
        // What was moved here while this was read may not have been seen.
        if moved == before {
            return fs::remove_dir(path);
        }
    }
}

fn empty(top: &OwnedFd, directory: OwnedFd, level: usize, moved: &mut u64) -> Result<(), Errno> {
    let mut entries = Dir::new(directory)?;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let (name, directory) = (entry.file_name(), entries.fd()?);
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR) if level == LEVELS => move_up(top, directory, name, moved)?,
            Err(Errno::ISDIR) => {
                empty(top, open(directory, name)?, level + 1, moved)?;
                gone(rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR))?;
            }
            other => gone(other)?,
        }
    }
    Ok(())
}

/// Moves a directory to the top, under a name that is free.
fn move_up(top: &OwnedFd, from: BorrowedFd<'_>, name: &CStr, moved: &mut u64) -> Result<(), Errno> {
    loop {
        *moved += 1;
        match rustix::fs::renameat(from, name, top, format!(".removed-{moved}")) {
            // The tree has that name already.
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR | Errno::INVAL) => {}
            other => return gone(other),
        }
    }
}

fn open(at: impl std::os::fd::AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn gone(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes `depth` directories in each other, below `path`, with a file in the last.
    fn nest(path: &Path, depth: usize) {
        let mut at = open(CWD, path).unwrap();
        for _ in 0..depth {
            rustix::fs::mkdirat(&at, c"d", Mode::RWXU).unwrap();
            at = open(&at, c"d").unwrap();
        }
        let flags = OFlags::CREATE | OFlags::WRONLY;
        rustix::fs::openat(&at, c"file", flags, Mode::RWXU).unwrap();
    }

    #[test]
    fn a_tree_of_any_depth_goes_and_what_its_links_lead_to_stays() {
        let around = tempfile::tempdir().unwrap();
        let tree = around.path().join("tree");
        fs::create_dir_all(tree.join("wide")).unwrap();
        fs::write(around.path().join("kept"), "").unwrap();
        std::os::unix::fs::symlink("..", tree.join("link")).unwrap();
        for number in 0..100 {
            fs::write(tree.join(format!("wide/{number}")), "").unwrap();
        }
        // Names that the removal would take itself.
        fs::write(tree.join(".removed-1"), "").unwrap();
        fs::create_dir_all(tree.join(".removed-2/full")).unwrap();
        nest(&tree, 20_000);
        nest(&tree.join("wide"), 100);
        remove_tree(&tree).unwrap();
        assert_eq!(fs::read_dir(around.path()).unwrap().count(), 1);
        assert_eq!(remove_tree(&tree).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::os::unix::fs::symlink("kept", around.path().join("link")).unwrap();
        remove_tree(&around.path().join("link")).unwrap();
        assert!(around.path().join("kept").exists());
    }
}
