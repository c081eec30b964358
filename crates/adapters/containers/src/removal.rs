//! Removing trees that containers wrote.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, IFlags, Mode, OFlags};
use rustix::io::Errno;

/// How deep trees are walked. What lies deeper is moved up first, so that a tree of any depth takes neither
/// more stack nor more descriptors than this.
const DEPTH_LIMIT: usize = 64;

/// Removes a directory with all that is in it, however deep; no error if there is none. Follows no link, and
/// takes away the marks by which files are kept from being removed (`chattr +i`).
///
/// # Errors
/// What the kernel refuses. A part may be removed then.
pub fn remove_tree(directory: &Path) -> io::Result<()> {
    let top = match open_directory(CWD, directory) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let mut removal = Removal { top: top.as_fd(), moved: 0 };
    // What was moved up may have come behind the place that had been reached.
    while removal.empty(top.try_clone()?, 0)? {}
    match rustix::fs::rmdir(directory) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::PERM) => {
            unmark(top.as_fd())?;
            Ok(rustix::fs::rmdir(directory)?)
        }
        Err(errno) => Err(errno.into()),
    }
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    /// Numbers what was moved up.
    moved: u64,
}

impl Removal<'_> {
    /// Removes all that is in `directory`; says whether there was anything.
    fn empty(&mut self, directory: OwnedFd, depth: usize) -> rustix::io::Result<bool> {
        let mut found = false;
        let mut entries = Dir::new(directory)?;
        // Those of a descriptor that others have used go on where they stopped.
        entries.rewind();
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            found = true;
            let here = entries.fd()?;
            if entry.file_type() != FileType::Directory {
                match remove(here, name, AtFlags::empty()) {
                    // The file system does not tell kinds.
                    Err(Errno::ISDIR) => {}
                    result => {
                        result?;
                        continue;
                    }
                }
            }
            match open_directory(here, name) {
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
                Ok(below) if depth < DEPTH_LIMIT => {
                    self.empty(below, depth + 1)?;
                    remove(here, name, AtFlags::REMOVEDIR)?;
                }
                Ok(below) => self.move_up(here, name, below.as_fd())?,
            }
        }
        Ok(found)
    }

    fn move_up(
        &mut self,
        from: BorrowedFd<'_>,
        name: &CStr,
        below: BorrowedFd<'_>,
    ) -> rustix::io::Result<()> {
        let mut unmarked = false;
        loop {
            self.moved += 1;
            match rustix::fs::renameat(from, name, self.top, format!(".removed-{}", self.moved)) {
                // Somebody has chosen the same name.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                Err(Errno::PERM) if !unmarked => {
                    [from, below, self.top].into_iter().try_for_each(unmark)?;
                    unmarked = true;
                }
                result => return result,
            }
        }
    }
}

fn remove(from: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(from, name, flags) {
        Err(Errno::NOENT) => Ok(()),
        // Root is refused this only where a privileged container forbade it.
        Err(Errno::PERM) => {
            unmark(from)?;
            let flags_of = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            // What cannot be opened, as a link, has no marks.
            if let Ok(file) = rustix::fs::openat(from, name, flags_of, Mode::empty()) {
                unmark(file.as_fd())?;
            }
            rustix::fs::unlinkat(from, name, flags)
        }
        result => result,
    }
}

fn open_directory(from: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(from, name, flags, Mode::empty())
}

fn unmark(file: BorrowedFd<'_>) -> rustix::io::Result<()> {
    // A file system that has no such marks keeps nothing from being removed.
    let Ok(marks) = rustix::fs::ioctl_getflags(file) else { return Ok(()) };
    let kept = IFlags::IMMUTABLE | IFlags::APPEND;
    if marks.intersects(kept) {
        rustix::fs::ioctl_setflags(file, marks - kept)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn trees_of_any_depth_go_and_links_are_not_followed() {
        let outside = std::env::temp_dir().join(format!("dcos-removal-{}", std::process::id()));
        let tree = outside.join("tree");
        fs::create_dir_all(tree.join(".removed-2/x")).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        fs::write(tree.join(".removed-1"), "").unwrap();
        std::os::unix::fs::symlink("..", tree.join("up")).unwrap();
        let mut here = open_directory(CWD, &tree).unwrap();
        for depth in 0..6000 {
            rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
            if depth % 100 == 0 {
                rustix::fs::symlinkat("/", &here, "root").unwrap();
            }
            here = open_directory(&here, "d").unwrap();
        }
        drop(here);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        remove_tree(&tree).expect("nothing to remove");
        remove_tree(&outside).unwrap();
    }
}
