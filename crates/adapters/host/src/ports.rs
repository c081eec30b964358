use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::sockets::listening_ports;
use crate::{FileLock, LockError};

/// Ports of one block.
const BLOCK: u16 = 1000;
/// First ports of the first and the last block: below the range that Linux gives to outgoing
/// connections (32768), and without any port of a component of DC/OS.
const FIRST: u16 = 10_000;
const LAST: u16 = 31_000;

/// The blocks of host ports that agents of this machine share out among themselves. Tasks that bind
/// the wildcard address share the kernel's ports, whatever the addresses of their agents: two agents
/// with one range would offer the same port twice.
///
/// A block is a file that its owner locks and writes its name to. The lock says who runs now; the
/// name says whose tasks may still run, so that the owner gets the block back when it is started
/// again.
#[derive(Clone, Debug)]
pub struct PortLeases {
    dir: PathBuf,
}

/// A block of ports, leased until it is dropped or the process ends.
#[derive(Debug)]
pub struct PortLease {
    ports: RangeInclusive<u16>,
    lock: FileLock,
}

/// Why no block could be leased.
#[derive(Debug, thiserror::Error)]
pub enum PortLeaseError {
    /// Every block is in use.
    #[error(
        "all {blocks} blocks of {BLOCK} host ports are leased (see {}); stop another cluster of this \
         machine, or give the agents their ports, as in --resources 'ports:[10000-10999]'",
        .dir.display()
    )]
    Exhausted {
        /// Where the leases are.
        dir: PathBuf,
        /// How many blocks there are.
        blocks: usize,
    },
    /// Somebody else can write where the leases are.
    #[error(
        "host ports are not leased in {}: it must be a directory that belongs to this user and that nobody \
         else can write to; remove it, or set XDG_RUNTIME_DIR",
        .dir.display()
    )]
    Foreign {
        /// The directory, or the one above it.
        dir: PathBuf,
    },
    /// A lease file could not be used.
    #[error("lease host ports in {}", .path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl PortLeases {
    /// The leases in `dir`.
    pub fn in_dir(dir: PathBuf) -> PortLeases {
        PortLeases { dir }
    }

    /// The machine's leases: in `/run/dcos/ports` for root, else in the user's runtime directory
    /// (`runtime_dir`, the value of `XDG_RUNTIME_DIR`) or one of `/tmp`.
    pub fn of_host(runtime_dir: Option<&Path>) -> PortLeases {
        let user = rustix::process::geteuid();
        PortLeases::in_dir(match runtime_dir {
            _ if user.is_root() => PathBuf::from("/run/dcos/ports"),
            Some(dir) if dir.is_absolute() => dir.join("dcos/ports"),
            _ => PathBuf::from(format!("/tmp/dcos-{}/ports", user.as_raw())),
        })
    }

    /// Leases a block to `owner`, a line of text: the one it had before, else one that nobody had,
    /// else one whose owner does not run and on which nothing listens.
    ///
    /// # Errors
    /// When all are leased, or the directory cannot be used.
    pub fn take(&self, owner: &str) -> Result<PortLease, PortLeaseError> {
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|source| PortLeaseError::File { path: self.dir.clone(), source })?;
        self.dir.ancestors().take(2).try_for_each(check_own)?;
        let blocks: Vec<u16> = (FIRST..=LAST).step_by(usize::from(BLOCK)).collect();
        let owners: Vec<Option<String>> = blocks.iter().map(|first| self.owner(*first)).collect();
        let mine = |at: &usize| owners[*at].as_deref() == Some(owner);
        let nobodys = |at: &usize| owners[*at].is_none();
        let others = |at: &usize| !mine(at) && !nobodys(at);
        let all = 0..blocks.len();
        let in_order = all.clone().filter(mine).chain(all.clone().filter(nobodys)).chain(all.filter(others));
        for at in in_order {
            let ports = blocks[at]..=blocks[at] + (BLOCK - 1);
            if !mine(&at) && listening_ports(ports.clone()) {
                continue;
            }
            let path = self.path(blocks[at]);
            match FileLock::take(&path) {
                Ok(lock) => {
                    write(&path, owner)?;
                    return Ok(PortLease { ports, lock });
                }
                Err(LockError::Held { .. }) => {}
                Err(LockError::Lock { path, source }) => return Err(PortLeaseError::File { path, source }),
            }
        }
        Err(PortLeaseError::Exhausted { dir: self.dir.clone(), blocks: blocks.len() })
    }

    /// Gives up every block of the owners whose name starts with `prefix` and that do not run, when
    /// their tasks are gone for good.
    pub fn forget(&self, prefix: &str) {
        if self.dir.ancestors().take(2).any(|dir| check_own(dir).is_err()) {
            return;
        }
        for first in (FIRST..=LAST).step_by(usize::from(BLOCK)) {
            if self.owner(first).is_some_and(|owner| owner.starts_with(prefix))
                && let Ok(lock) = FileLock::take(&self.path(first))
            {
                // What cannot be forgotten is taken back later by who needs a block.
                let _ = write(lock.path(), "");
            }
        }
    }

    fn path(&self, first: u16) -> PathBuf {
        self.dir.join(format!("{first}-{}", first + (BLOCK - 1)))
    }

    fn owner(&self, first: u16) -> Option<String> {
        let owner = std::fs::read_to_string(self.path(first)).ok()?;
        let owner = owner.trim_end();
        (!owner.is_empty()).then(|| owner.to_owned())
    }
}

/// A directory in `/tmp` may have been made by another user before, with links to this user's files in the
/// place of leases.
fn check_own(dir: &Path) -> Result<(), PortLeaseError> {
    let data = std::fs::symlink_metadata(dir);
    let data = data.map_err(|source| PortLeaseError::File { path: dir.to_owned(), source })?;
    let own = data.is_dir() && data.uid() == rustix::process::geteuid().as_raw() && data.mode() & 0o022 == 0;
    own.then_some(()).ok_or_else(|| PortLeaseError::Foreign { dir: dir.to_owned() })
}

fn write(path: &Path, owner: &str) -> Result<(), PortLeaseError> {
    // Written in place: a renamed file would not be the locked one.
    std::fs::write(path, owner).map_err(|source| PortLeaseError::File { path: path.to_owned(), source })
}

impl PortLease {
    /// The leased ports.
    pub fn ports(&self) -> RangeInclusive<u16> {
        self.ports.clone()
    }

    /// The file of the lease.
    pub fn path(&self) -> &Path {
        self.lock.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases() -> (tempfile::TempDir, PortLeases) {
        let dir = tempfile::tempdir().unwrap();
        let leases = PortLeases::in_dir(dir.path().join("ports"));
        (dir, leases)
    }

    #[test]
    fn blocks_do_not_overlap_and_come_back_to_their_owner() {
        let (_dir, leases) = leases();
        let names = ["a", "b", "c"];
        let first: Vec<PortLease> = names.iter().map(|name| leases.take(name).unwrap()).collect();
        let ports: Vec<_> = first.iter().map(PortLease::ports).collect();
        for (at, block) in ports.iter().enumerate() {
            assert!(ports[at + 1..].iter().all(|other| other.start() > block.end()), "{ports:?}");
        }
        drop(first);
        let again: Vec<PortLease> = names.iter().rev().map(|name| leases.take(name).unwrap()).collect();
        let again: Vec<_> = again.iter().rev().map(PortLease::ports).collect();
        assert_eq!(again, ports);
    }

    #[test]
    fn when_all_are_leased_that_is_said_and_a_dead_owners_block_is_taken() {
        let (_dir, leases) = leases();
        let mut held = Vec::new();
        let error = loop {
            match leases.take(&format!("owner {}", held.len())) {
                Ok(lease) => held.push(lease),
                Err(error) => break error,
            }
            assert!(held.len() < 100);
        };
        assert!(matches!(error, PortLeaseError::Exhausted { blocks: 22, .. }), "{error}");
        let freed = held.swap_remove(3).ports();
        assert_eq!(leases.take("another").unwrap().ports(), freed);
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        use std::os::unix::fs::{PermissionsExt, chown, symlink};
        let (dir, leases) = leases();
        let refused = || matches!(leases.take("mine"), Err(PortLeaseError::Foreign { .. }));
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        drop(leases.take("mine").unwrap());
        mode(&leases.dir, 0o770);
        assert!(refused());
        mode(&leases.dir, 0o755);
        mode(dir.path(), 0o777);
        assert!(refused(), "what is above it counts");
        mode(dir.path(), 0o700);
        drop(leases.take("mine").unwrap());
        let elsewhere = dir.path().join("elsewhere");
        std::fs::rename(&leases.dir, &elsewhere).unwrap();
        symlink(&elsewhere, &leases.dir).unwrap();
        assert!(refused());
        if crate::is_root() {
            std::fs::remove_file(&leases.dir).unwrap();
            std::fs::rename(&elsewhere, &leases.dir).unwrap();
            chown(&leases.dir, Some(4711), None).unwrap();
            assert!(refused());
        } else {
            eprintln!("SKIP another user's directory: needs root");
        }
    }

    #[test]
    fn what_is_forgotten_belongs_to_nobody() {
        let (_dir, leases) = leases();
        let kept = leases.take("/other agent 1").unwrap();
        let given_up = leases.take("/mine agent 1").unwrap().ports();
        leases.forget("/mine ");
        leases.forget("/other ");
        assert_eq!(leases.owner(*given_up.start()), None);
        assert_eq!(leases.owner(*kept.ports().start()).as_deref(), Some("/other agent 1"));
    }
}
