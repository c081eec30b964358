//! Debian's packages by apt: found, fetched, checked, put together to a root.
//!
//! [`Apt`] asks this machine's apt, with its sources, keyrings and pins, as if nothing were installed: what it finds
//! depends on the archive alone, not on this machine's packages. [`extract`] unpacks one package; [`root`] puts
//! several together to a root file system that programs run in.
//!
//! Invariants: the machine's own package state is read, never written; no maintainer script runs; what apt says of a
//! package's contents (SHA-256) is checked again when it is here.
//!
//! Deliberately absent: upgrades, removals, a dpkg database inside of roots, other architectures than this machine's,
//! and sources that apt would not trust.

mod alternatives;
mod apt;
mod deb;
mod error;
mod root;

pub use apt::{Apt, Deb};
pub use deb::extract;
pub use error::Error;
pub use root::root;
