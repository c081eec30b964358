use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one who waits rests between two looks: no wait is told of the end of another process.
const REST: Duration = Duration::from_millis(20);
/// How often the kernel's table is read, at most, until it says the same twice.
const LOOKS: usize = 20;
/// The bytes of the table that are asked for at once, and the most of them all.
const PIECE: usize = 64 << 10;
const MAX_TABLE: u64 = 16 << 20;

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

    /// Takes the lock on `path`, waiting for it at most `wait`. `waiting` is told once who has it, where the kernel
    /// tells. Blocks its thread.
    ///
    /// # Errors
    /// [`LockError::Held`] after that time.
    pub fn take_within(
        path: &Path,
        wait: Duration,
        waiting: impl FnOnce(Option<u32>),
    ) -> Result<FileLock, LockError> {
        let begun = Instant::now();
        let mut waiting = Some(waiting);
        loop {
            match FileLock::take(path) {
                Err(LockError::Held { owner, .. }) if begun.elapsed() < wait => {
                    if let Some(waiting) = waiting.take() {
                        waiting(owner);
                    }
                    #[allow(
                        clippy::disallowed_methods,
                        reason = "a rest between two looks, with a deadline"
                    )]
                    std::thread::sleep(REST.min(wait.saturating_sub(begun.elapsed())));
                }
                taken => return taken,
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

/// Who holds the flock on the file of this metadata, by `/proc/locks`. The kernel gives that table in pieces, and leaves
/// out a line when one of an earlier piece goes meanwhile: that nobody holds it is believed of a table that stands still.
fn owner(meta: Option<Metadata>) -> Option<u32> {
    let meta = meta?;
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let mut before = None;
    for _ in 0..LOOKS {
        let locks = table().ok()?;
        let owner = owner_in(&locks, major, minor, meta.ino());
        if owner.is_some() || before.as_ref() == Some(&locks) {
            return owner;
        }
        before = Some(locks);
    }
    None
}

/// The text of `/proc/locks`, in as few pieces as the kernel gives.
fn table() -> io::Result<String> {
    let mut locks = String::with_capacity(PIECE);
    File::open("/proc/locks")?.take(MAX_TABLE).read_to_string(&mut locks)?;
    Ok(locks)
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
    fn an_owner_is_found_while_others_come_and_go() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let _held = FileLock::take(&path).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (dir, done) = (dir.path(), &done);
                scope.spawn(move || {
                    while !done.load(Ordering::SeqCst) {
                        let take = |at| FileLock::take(&dir.join(format!("{thread}-{at}"))).unwrap();
                        let _all: Vec<FileLock> = (0..150).map(take).collect();
                    }
                });
            }
            let missed = (0..3000).filter(|_| lock_owner(&path) != Some(std::process::id())).count();
            done.store(true, Ordering::SeqCst);
            assert_eq!(missed, 0);
        });
    }

    #[test]
    fn who_waits_is_told_for_whom_and_gets_it_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = FileLock::take(&path).unwrap();
        let (told, mut owners) = (std::sync::mpsc::channel(), Vec::new());
        let refused = FileLock::take_within(&path, Duration::from_millis(50), |owner| owners.push(owner));
        assert!(matches!(refused, Err(LockError::Held { .. })), "{refused:?}");
        assert_eq!(owners, [Some(std::process::id())]);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                FileLock::take_within(&path, Duration::from_secs(60), |owner| told.0.send(owner).unwrap())
            });
            told.1.recv().unwrap();
            drop(held);
            waiter.join().unwrap().unwrap();
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
