use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::leases::{self, LeaseDir, LeaseDirError};
use crate::sockets::listening_ports;
use crate::{FileLock, lock_owner};

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
    dir: LeaseDir,
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
        PortLeases { dir: LeaseDir::new(dir) }
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
        let blocks = blocks();
        let names: Vec<String> = blocks.iter().map(name).collect();
        let usable = |at: usize, mine: bool| mine || !listening_ports(blocks[at].clone());
        let taken = self.dir.take(&names, owner, usable).map_err(|error| match error {
            LeaseDirError::Foreign { dir } => PortLeaseError::Foreign { dir },
            LeaseDirError::File { path, source } => PortLeaseError::File { path, source },
        })?;
        let found = taken.map(|(at, lock)| PortLease { ports: blocks[at].clone(), lock });
        found.ok_or_else(|| PortLeaseError::Exhausted {
            dir: self.dir.path().to_owned(),
            blocks: blocks.len(),
        })
    }

    /// Gives up every block of the owners whose name starts with `prefix` and that do not run, when
    /// their tasks are gone for good.
    pub fn forget(&self, prefix: &str) {
        let names: Vec<String> = blocks().iter().map(name).collect();
        self.dir
            .idle(&names, |owner| owner.starts_with(prefix))
            .iter()
            .for_each(|(_, lock)| leases::give_up(lock));
    }

    /// The owners that run now.
    pub fn running(&self) -> Vec<String> {
        let runs = |name: &String| lock_owner(&self.dir.path().join(name)).is_some();
        let names = blocks().iter().map(name).filter(runs).collect::<Vec<String>>();
        names.iter().filter_map(|name| self.dir.owner(name)).collect()
    }
}

fn blocks() -> Vec<RangeInclusive<u16>> {
    (FIRST..=LAST).step_by(usize::from(BLOCK)).map(|first| first..=first + (BLOCK - 1)).collect()
}

/// The file of a block.
fn name(block: &RangeInclusive<u16>) -> String {
    format!("{}-{}", block.start(), block.end())
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
        assert_eq!(leases.running(), names);
        drop(first);
        assert!(leases.running().is_empty());
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
        mode(leases.dir.path(), 0o770);
        assert!(refused());
        mode(leases.dir.path(), 0o755);
        mode(dir.path(), 0o777);
        assert!(refused(), "what is above it counts");
        mode(dir.path(), 0o700);
        drop(leases.take("mine").unwrap());
        let elsewhere = dir.path().join("elsewhere");
        std::fs::rename(leases.dir.path(), &elsewhere).unwrap();
        symlink(&elsewhere, leases.dir.path()).unwrap();
        assert!(refused());
        if crate::is_root() {
            std::fs::remove_file(leases.dir.path()).unwrap();
            std::fs::rename(&elsewhere, leases.dir.path()).unwrap();
            chown(leases.dir.path(), Some(4711), None).unwrap();
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
        assert_eq!(leases.dir.owner(&name(&given_up)), None);
        assert_eq!(leases.dir.owner(&name(&kept.ports())).as_deref(), Some("/other agent 1"));
    }
}
