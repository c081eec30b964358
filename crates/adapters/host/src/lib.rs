//! The machine a node runs on: what it has, which boot and which processes these are, who listens on
//! a port, which blocks of ports and which subnets are leased to whom, who the user is, and which
//! accounts there are. And how a tree of files is removed that a stranger wrote, and how a program is
//! run within a time.
//!
//! Everything is read from procfs and sysfs when asked for; nothing is cached, and nothing is changed
//! but lock files, accounts that are asked for, and what is removed. Names of users are read from
//! `/etc/passwd`: this program is linked statically and has no name service plug-ins; where it matters
//! that somebody else may know a name, `getent` is asked. Deliberately absent: containers, cgroup limits of tasks, networks.

mod accounts;
mod capacity;
mod command;
mod discovery;
mod leases;
mod lock;
mod ports;
mod process;
mod removal;
mod sockets;
mod subnets;
mod user;

pub use accounts::{AccountError, Accounts, Group};
pub use capacity::{Capacity, CapacityError};
pub use command::{Ran, RunError, run};
pub use discovery::{DiscoveryError, discover_address};
pub use lock::{FileLock, LockError, lock_owner};
pub use ports::{PortLease, PortLeaseError, PortLeases};
pub use process::{ProcessIdentity, boot_id, command_line, environment, hostname, oldest_child, terminate};
pub use removal::remove_tree;
pub use sockets::{Listener, listener};
pub use subnets::{SubnetLease, SubnetLeaseError, SubnetLeases};
pub use user::{User, is_root, state_directory};
