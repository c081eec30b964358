use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::FileLock;
use crate::leases::{self, LeaseDir, LeaseDirError};

/// The third octet of the first subnet given away: they go downwards from here, away from where clouds
/// put the addresses of their machines.
const HIGHEST: u8 = 254;

/// The subnets that agents of this machine share out among themselves for their containers: each a /24 of
/// 172.31.0.0/16, downwards from 172.31.254.0. A subnet is a file that its owner locks and writes its name
/// to, as with [`PortLeases`](crate::PortLeases).
#[derive(Clone, Debug)]
pub struct SubnetLeases {
    dir: LeaseDir,
}

/// A subnet, leased until it is dropped or the process ends.
#[derive(Debug)]
pub struct SubnetLease {
    network: Ipv4Addr,
    lock: FileLock,
}

/// Why no subnet could be leased.
#[derive(Debug, thiserror::Error)]
pub enum SubnetLeaseError {
    /// Every subnet is in use.
    #[error(
        "all {subnets} subnets of 172.31.0.0/16 are leased or routed elsewhere (leases are in {}); stop \
         another cluster of this machine",
        .dir.display()
    )]
    Exhausted {
        /// Where the leases are.
        dir: PathBuf,
        /// How many subnets there are.
        subnets: usize,
    },
    /// Somebody else can write where the leases are.
    #[error(
        "subnets are not leased in {}: it must be a directory that belongs to this user and that nobody \
         else can write to; remove it",
        .dir.display()
    )]
    Foreign {
        /// The directory, or the one above it.
        dir: PathBuf,
    },
    /// A lease file could not be used.
    #[error("lease a subnet in {}: {source}", .path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl SubnetLeases {
    /// Bits of a subnet's network part.
    pub const PREFIX: u8 = 24;

    /// The leases in `dir`.
    pub fn in_dir(dir: PathBuf) -> SubnetLeases {
        SubnetLeases { dir: LeaseDir::new(dir) }
    }

    /// The machine's leases, in `/run/dcos/subnets`. Only root has container networks.
    pub fn of_host() -> SubnetLeases {
        SubnetLeases::in_dir(PathBuf::from("/run/dcos/subnets"))
    }

    /// Leases a subnet to `owner`, a line of text: the one it had before, else one that nobody had, else
    /// one whose owner does not run. `usable` is asked with its network address and whether it was the
    /// owner's before.
    ///
    /// # Errors
    /// When none is left, or the directory cannot be used.
    pub fn take(
        &self,
        owner: &str,
        usable: impl Fn(Ipv4Addr, bool) -> bool,
    ) -> Result<SubnetLease, SubnetLeaseError> {
        let (networks, names) = all();
        let taken = self.dir.take(&names, owner, |at, mine| usable(networks[at], mine));
        let taken = taken.map_err(|error| match error {
            LeaseDirError::Foreign { dir } => SubnetLeaseError::Foreign { dir },
            LeaseDirError::File { path, source } => SubnetLeaseError::File { path, source },
        })?;
        let found = taken.map(|(at, lock)| SubnetLease { network: networks[at], lock });
        found.ok_or_else(|| SubnetLeaseError::Exhausted {
            dir: self.dir.path().to_owned(),
            subnets: networks.len(),
        })
    }

    /// Whether `owner` has a subnet, from now or from before.
    pub fn has(&self, owner: &str) -> bool {
        all().1.iter().any(|name| self.dir.owner(name).as_deref() == Some(owner))
    }

    /// Takes what is leased to `owner`, if it does not run.
    pub fn idle(&self, owner: &str) -> Vec<SubnetLease> {
        let (networks, names) = all();
        let idle = self.dir.idle(&names, |found| found == owner).into_iter();
        idle.map(|(at, lock)| SubnetLease { network: networks[at], lock }).collect()
    }
}

fn all() -> (Vec<Ipv4Addr>, Vec<String>) {
    let networks: Vec<Ipv4Addr> = (0..=HIGHEST).rev().map(|third| Ipv4Addr::new(172, 31, third, 0)).collect();
    let names = networks.iter().map(Ipv4Addr::to_string).collect();
    (networks, names)
}

impl SubnetLease {
    /// The network address of the subnet, as in 172.31.254.0.
    pub fn network(&self) -> Ipv4Addr {
        self.network
    }

    /// Gives the subnet up: it is nobody's from now on.
    pub fn give_up(self) {
        leases::give_up(&self.lock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases() -> (tempfile::TempDir, SubnetLeases) {
        let dir = tempfile::tempdir().unwrap();
        let leases = SubnetLeases::in_dir(dir.path().join("subnets"));
        (dir, leases)
    }

    fn any(_: Ipv4Addr, _: bool) -> bool {
        true
    }

    #[test]
    fn subnets_go_downwards_and_come_back_to_their_owner() {
        let (_dir, leases) = leases();
        let first = leases.take("a", any).unwrap();
        let second = leases.take("b", any).unwrap();
        let networks = [first.network(), second.network()];
        assert_eq!(networks, [Ipv4Addr::new(172, 31, 254, 0), Ipv4Addr::new(172, 31, 253, 0)]);
        drop(first);
        drop(second);
        assert_eq!(leases.take("b", any).unwrap().network(), networks[1]);
        assert_eq!(leases.take("c", any).unwrap().network(), Ipv4Addr::new(172, 31, 252, 0));
    }

    #[test]
    fn an_own_lease_is_waited_for_while_an_earlier_run_dies() {
        let (_dir, leases) = leases();
        let earlier = leases.take("a", any).unwrap();
        let network = earlier.network();
        let dying = std::thread::spawn(move || {
            std::thread::yield_now();
            drop(earlier);
        });
        assert_eq!(leases.take("a", any).unwrap().network(), network);
        dying.join().unwrap();
    }

    #[test]
    fn what_is_routed_elsewhere_is_passed_over_unless_it_was_the_owners() {
        let (_dir, leases) = leases();
        drop(leases.take("a", any).unwrap());
        let elsewhere = Ipv4Addr::new(172, 31, 254, 0);
        let usable = |network, mine| mine || network != elsewhere;
        assert_eq!(leases.take("a", usable).unwrap().network(), elsewhere);
        assert_eq!(leases.take("b", usable).unwrap().network(), Ipv4Addr::new(172, 31, 253, 0));
        let error = leases.take("c", |_, _| false).unwrap_err();
        assert!(matches!(error, SubnetLeaseError::Exhausted { subnets: 255, .. }), "{error}");
    }

    #[test]
    fn what_is_given_up_belongs_to_nobody() {
        let (_dir, leases) = leases();
        let kept = leases.take("agent 1", any).unwrap();
        drop(leases.take("agent 10", any).unwrap());
        assert!(leases.idle("agent 1").is_empty(), "who runs keeps its own");
        let idle = leases.idle("agent 10");
        let networks: Vec<Ipv4Addr> = idle.iter().map(SubnetLease::network).collect();
        assert_eq!(networks, [Ipv4Addr::new(172, 31, 253, 0)]);
        idle.into_iter().for_each(SubnetLease::give_up);
        assert!(leases.idle("agent 10").is_empty());
        drop(kept);
        assert_eq!(leases.idle("agent 1").len(), 1);
        assert_eq!((leases.has("agent 1"), leases.has("agent 10")), (true, false));
    }
}
