//! URIs into sandboxes, through a cache: what Mesos' fetcher does for a task before it starts.
//!
//! [`Fetcher::fetch`] takes `http`, `https` and `file` URIs and absolute paths, makes files
//! executable or extracts them by their names, checks hashes, and gives all of it to the task's user.
//! Downloads go on where they broke off. What is cached is asked for again at its server, by user
//! and URI, and downloaded once however many want it.
//!
//! Invariants: nothing is written outside the sandbox and the cache's directory; local files are read
//! with the rights of the task's user; no error text has credentials in it; a dropped fetch leaves
//! nothing partial.
//!
//! What it deliberately does not do: `ftp`, `hdfs` and `s3`, which are refused by name; several URIs
//! of one task at once, as in Mesos.

mod cache;
mod deliver;
mod download;
mod error;
mod fetcher;
mod local;
mod part;
mod source;
mod space;
mod uri;

pub use error::{FetchError, OpenError, Problem};
pub use fetcher::{Config, Fetcher, OnProgress};
pub use uri::{Progress, Step, Uri};
