//! The host package manager: repository, activation, setup, HTTP API, command line.
//!
//! The decisions (what is a valid set, what activating it means) are `pkgpanda-core`'s, carrying them
//! out safely is the `activation` adapter's. Here is what holds them together on a host: the commands
//! and their texts, the repository of packages, users, state directories and units.
//!
//! Everything but downloads and the HTTP API blocks, on the caller's thread. Deliberately absent: the
//! building of packages (`mkpanda`), and any state of the process: what is true stands on the disk.

mod activate;
pub mod api;
mod bootstrap;
mod check;
mod cli;
pub mod config;
mod error;
pub mod fetch;
mod files;
pub mod install;
mod machine;
mod remove;
pub mod repository;
mod session;
mod setup;
mod uninstall;

pub use activate::{Afterwards, activate, rollback, swap};
pub use cli::{Streams, main, run};
pub use config::{Config, Units};
pub use error::Error;
pub use files::FileError;
pub use remove::remove;
