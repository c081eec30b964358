use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A lock on a file that one process of the machine holds; the kernel releases it when the process
/// ends, however it ends.
#[derive(Debug)]
pub struct FileLock {
    path: PathBuf,
    _file: File,
}

/// Why a file could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody holds it: the process `owner`, where the kernel tells.
    #[error("{} is locked by {}", .path.display(), match .owner {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    })]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, if it is of this pid namespace.
        owner: Option<u32>,
    },
    /// The file could not be made or locked.
    #[error("lock {}", .path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl FileLock {
    /// Takes the lock on `path` without waiting; makes the file (mode 0600) where there is none. The
    /// file stays when the lock is released: removing it would let two processes lock two files of
    /// one name.
    ///
    /// # Errors
    /// [`LockError::Held`] names the owner.
    pub fn take(path: &Path) -> Result<FileLock, LockError> {
        let failed = |source| LockError::Lock { path: path.to_owned(), source };
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .map_err(failed)?;
            match file.try_lock() {
                // Whoever had it may have removed it, with all that it protected: then another can have the next.
                Ok(()) if !is_at(&file, path).map_err(failed)? => {}
                Ok(()) => return Ok(FileLock { path: path.to_owned(), _file: file }),
                Err(TryLockError::WouldBlock) => {
                    let owner = owner(file.metadata().ok());
                    return Err(LockError::Held { path: path.to_owned(), owner });
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }

    /// The locked file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether that file is still the one of this name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The process that holds the lock on `path`, without taking it; none if nobody does, or a process of
/// another pid namespace. The file need not be readable.
pub fn lock_owner(path: &Path) -> Option<u32> {
    owner(std::fs::metadata(path).ok())
}

/// Who holds the flock on the file of this metadata, by `/proc/locks`.
fn owner(meta: Option<Metadata>) -> Option<u32> {
    let meta = meta?;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    owner_in(&locks, rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()), meta.ino())
}

/// Finds the owner in the text of `/proc/locks`, whose lines are
/// `1: FLOCK  ADVISORY  WRITE 812 fe:00:1311 0 EOF`.
fn owner_in(locks: &str, major: u32, minor: u32, inode: u64) -> Option<u32> {
    let wanted = format!("{major:02x}:{minor:02x}:{inode}");
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (kind, _, _, pid, file) =
            (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
        // A waiter's line has `->` for its kind.
        (kind == "FLOCK" && file == wanted).then(|| pid.parse().ok().filter(|pid| *pid > 0)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_names_its_owner_and_is_free_after() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert_eq!(lock_owner(&path), None);
        let held = FileLock::take(&path).unwrap();
        assert_eq!(lock_owner(&path), Some(std::process::id()));
        match FileLock::take(&path) {
            Err(LockError::Held { owner, .. }) => assert_eq!(owner, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(held);
        FileLock::take(&path).unwrap();
    }

    #[test]
    fn a_lock_that_goes_away_with_what_it_protects_is_held_by_one() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let busy = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5000 {
                        let Ok(held) = FileLock::take(&path) else { continue };
                        assert!(!busy.swap(true, Ordering::SeqCst), "two hold it");
                        std::thread::yield_now();
                        busy.store(false, Ordering::SeqCst);
                        std::fs::remove_file(&path).unwrap();
                        drop(held);
                    }
                });
            }
        });
    }

    #[test]
    fn owners_are_read_from_the_kernels_table() {
        let table = "1: FLOCK  ADVISORY  WRITE 812 fe:00:1311 0 EOF\n\
                     1: -> FLOCK  ADVISORY  WRITE 813 fe:00:1311 0 EOF\n\
                     2: OFDLCK ADVISORY  WRITE -1 fe:00:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 0 fe:00:78 0 EOF\n";
        let check = |inode, owner| assert_eq!(owner_in(table, 0xfe, 0, inode), owner, "{inode}");
        check(1311, Some(812));
        check(77, None);
        check(78, None);
        check(79, None);
        assert_eq!(owner_in("", 1, 1, 1), None);
    }
}
