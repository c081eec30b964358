//! The machine a node runs on: what it has, which boot and which processes these are, who listens on
//! a port, which blocks of ports are leased to whom.
//!
//! Everything is read from procfs and sysfs when asked for; nothing is cached and nothing is changed
//! but lock files. Deliberately absent: containers, cgroup limits of tasks, networks.

mod lock;

pub use lock::{FileLock, LockError};
