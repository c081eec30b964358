use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, IFlags, Mode, OFlags};
use rustix::io::Errno;

/// How deep trees are walked. What lies deeper is moved up first, so that a tree of any depth takes neither
/// more stack nor more descriptors than this.
const DEPTH_LIMIT: usize = 64;

/// Removes what is at `path`: a directory with all that is in it, however deep, or a single file or link. No error
/// if there is nothing. Follows no link, and takes away what keeps files from being removed: marks (`chattr +i`),
/// and modes that keep their owner out.
///
/// [`std::fs::remove_dir_all`] holds a descriptor and a piece of the stack for each level: a stranger who nests
/// 15,000 directories would end this process.
///
/// # Errors
/// What the kernel refuses. A part may be removed then.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let top = match open_directory(CWD, path) {
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(rustix::fs::unlink(path)?),
        opened => opened?,
    };
    let mut removal = Removal { top: top.as_fd(), moved: 0 };
    // What was moved up may have come behind the place that had been reached.
    while removal.empty(top.try_clone()?, 0)? {}
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::PERM) => {
            free(top.as_fd())?;
            Ok(rustix::fs::rmdir(path)?)
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
        let mut freed = false;
        loop {
            self.moved += 1;
            match rustix::fs::renameat(from, name, self.top, format!(".removed-{}", self.moved)) {
                // Somebody has chosen the same name.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                Err(Errno::PERM | Errno::ACCESS) if !freed => {
                    [from, below, self.top].into_iter().try_for_each(free)?;
                    freed = true;
                }
                result => return result,
            }
        }
    }
}

fn remove(from: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(from, name, flags) {
        Err(Errno::NOENT) => Ok(()),
        // Root is refused this only where a privileged container forbade it, others where a mode does.
        Err(Errno::PERM | Errno::ACCESS) => {
            free(from)?;
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

fn open_directory(from: impl AsFd, name: impl rustix::path::Arg + Copy) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&from, name, flags | OFlags::RDONLY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let closed = rustix::fs::openat(&from, name, flags | OFlags::PATH, Mode::empty())?;
            // By the descriptor, so that nobody puts a link in its place meanwhile.
            rustix::fs::chmod(format!("/proc/self/fd/{}", closed.as_raw_fd()), Mode::RWXU)?;
            rustix::fs::openat(from, name, flags | OFlags::RDONLY, Mode::empty())
        }
        opened => opened,
    }
}

/// Lets entries of the directory be removed.
fn free(directory: BorrowedFd<'_>) -> rustix::io::Result<()> {
    unmark(directory)?;
    // Only an owner may, and only a mode that keeps the owner out is in the way.
    let _ = rustix::fs::fchmod(directory, Mode::RWXU);
    Ok(())
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Makes `depth` directories in each other, below `path`, a link in every hundredth, a file in the last.
    fn nest(path: &Path, depth: usize) {
        let mut at = open_directory(CWD, path).unwrap();
        for level in 0..depth {
            rustix::fs::mkdirat(&at, c"d", Mode::RWXU).unwrap();
            if level % 100 == 0 {
                rustix::fs::symlinkat("/", &at, "root").unwrap();
            }
            at = open_directory(&at, c"d").unwrap();
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
        remove_tree(&tree).expect("nothing to remove");
    }

    #[test]
    fn a_file_or_a_link_goes_alone() {
        let around = tempfile::tempdir().unwrap();
        let (kept, link) = (around.path().join("kept"), around.path().join("link"));
        fs::create_dir(&kept).unwrap();
        std::os::unix::fs::symlink(&kept, &link).unwrap();
        remove_tree(&link).unwrap();
        assert!(kept.exists() && !link.exists());
        fs::write(&link, "").unwrap();
        remove_tree(&link).unwrap();
        assert!(!link.exists());
    }

    #[test]
    fn modes_that_keep_the_owner_out_are_no_hindrance() {
        let around = tempfile::tempdir().unwrap();
        let tree = around.path().join("tree");
        fs::create_dir_all(tree.join("closed/below")).unwrap();
        fs::write(tree.join("closed/below/file"), "").unwrap();
        for (path, mode) in [("closed/below", 0o500), ("closed", 0), ("", 0o500)] {
            fs::set_permissions(tree.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }
}
