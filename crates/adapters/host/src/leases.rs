use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{FileLock, LockError};

/// How long an own lease may still be held by an earlier run.
const DYING: Duration = Duration::from_secs(1);

/// A directory whose files are leases of something that this machine has once: its owner locks the file
/// and writes its name to it. The lock says who runs now; the name says whose tasks may still run, so that
/// the owner gets the same again when it is restarted.
#[derive(Clone, Debug)]
pub(crate) struct LeaseDir {
    dir: PathBuf,
}

#[derive(Debug)]
pub(crate) enum LeaseDirError {
    /// Somebody else can write where the leases are.
    Foreign { dir: PathBuf },
    /// A lease file could not be used.
    File { path: PathBuf, source: io::Error },
}

impl LeaseDir {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// Leases one of `names` to `owner`, and says which: one that it had before, else one that nobody had,
    /// else one whose owner does not run. `usable` is asked with the place among `names` and whether the
    /// lease was the owner's before.
    pub(crate) fn take(
        &self,
        names: &[String],
        owner: &str,
        usable: impl Fn(usize, bool) -> bool,
    ) -> Result<Option<(usize, FileLock)>, LeaseDirError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|source| LeaseDirError::File { path: self.dir.clone(), source })?;
        self.check_own()?;
        let owners: Vec<Option<String>> = names.iter().map(|name| self.owner(name)).collect();
        let mine = |at: &usize| owners[*at].as_deref() == Some(owner);
        let nobodys = |at: &usize| owners[*at].is_none();
        let others = |at: &usize| !mine(at) && !nobodys(at);
        let all = 0..names.len();
        let in_order = all.clone().filter(mine).chain(all.clone().filter(nobodys)).chain(all.filter(others));
        for at in in_order {
            if !usable(at, mine(&at)) {
                continue;
            }
            let path = self.dir.join(&names[at]);
            match lock(&path, mine(&at)) {
                Ok(lock) => {
                    // Who dies while the name is written anew would have lost what it has.
                    if !mine(&at) {
                        write(&path, owner)?;
                    }
                    return Ok(Some((at, lock)));
                }
                Err(LockError::Held { .. }) => {}
                Err(LockError::Lock { path, source }) => return Err(LeaseDirError::File { path, source }),
            }
        }
        Ok(None)
    }

    /// Takes every lease of `names` that `is_meant`, by its owner's name, and whose owner does not run.
    pub(crate) fn idle(&self, names: &[String], is_meant: impl Fn(&str) -> bool) -> Vec<(usize, FileLock)> {
        if self.check_own().is_err() {
            return Vec::new();
        }
        let meant = |name: &&String| self.owner(name).is_some_and(|owner| is_meant(&owner));
        let place = |(at, name): (usize, &String)| {
            meant(&name).then(|| lock(&self.dir.join(name), true).ok()).flatten().map(|lock| (at, lock))
        };
        names.iter().enumerate().filter_map(place).collect()
    }

    /// The name in the lease `name`.
    pub(crate) fn owner(&self, name: &str) -> Option<String> {
        let owner = std::fs::read_to_string(self.dir.join(name)).ok()?;
        let owner = owner.trim_end();
        (!owner.is_empty()).then(|| owner.to_owned())
    }

    /// A directory in `/tmp` may have been made by another user before, with links to this user's files in
    /// the place of leases.
    fn check_own(&self) -> Result<(), LeaseDirError> {
        self.dir.ancestors().take(2).try_for_each(|dir| {
            let data = std::fs::symlink_metadata(dir);
            let data = data.map_err(|source| LeaseDirError::File { path: dir.to_owned(), source })?;
            let own = data.is_dir()
                && data.uid() == rustix::process::geteuid().as_raw()
                && data.mode() & 0o022 == 0;
            own.then_some(()).ok_or_else(|| LeaseDirError::Foreign { dir: dir.to_owned() })
        })
    }
}

/// Locks the file of a lease. One whose owner is meant (`mine`) is tried for a moment: a process that an earlier run was
/// just forking has the lock until it executes its program.
fn lock(path: &Path, mine: bool) -> Result<FileLock, LockError> {
    FileLock::take_within(path, if mine { DYING } else { Duration::ZERO }, |_| {})
}

/// Makes a lease nobody's. What cannot be given up is taken back later by who needs it.
pub(crate) fn give_up(lock: &FileLock) {
    let _ = write(lock.path(), "");
}

fn write(path: &Path, owner: &str) -> Result<(), LeaseDirError> {
    // Written in place: a renamed file would not be the locked one.
    std::fs::write(path, owner).map_err(|source| LeaseDirError::File { path: path.to_owned(), source })
}
