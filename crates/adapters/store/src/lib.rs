//! Durable small records behind one trait, [`Store`], whose contract is that of the weakest backend
//! that is to fit it: a ZooKeeper ensemble.
//!
//! - Records are [`Key`]s (slash paths) with values of at most [`limit::VALUE`] bytes; a key's
//!   directory is everything before its last slash and holds at most [`limit::CHILDREN`] records.
//!   Who has more spreads them over [`Buckets`].
//! - Nothing is written without a [`Term`]: a writer that was deposed is refused.
//! - Every write is a compare-and-set on an opaque [`Version`]. So a commit whose outcome is
//!   [`CommitError::Unknown`] may safely be tried again after reading again.
//! - A [`Follower`] is level-triggered: it says what to read again, never what was written.
//! - A name is not used again after its deletion: a backend may start its versions anew.
//!
//! Backends: [`Embedded`] (one file, one process, durable when the commit returns) and [`Memory`].
//! Deliberately absent: what the records mean, how they are encoded, and any cache.
//!
//! ```
//! # use store::*;
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Memory::new();
//! let term = store.campaign("marathon", std::time::Duration::from_secs(10)).await?;
//! let key = Key::parse("marathon/framework-id")?;
//! let versions = store.commit(&term, Batch::new().create(key.clone(), "a-0000")).await?;
//! store.commit(&term, Batch::new().update(key.clone(), versions[0], "a-0001")).await?;
//! assert_eq!(store.get(&key).await?.map(|entry| entry.value), Some("a-0001".into()));
//! # Ok(()) }
//! ```

mod batch;
mod embedded;
mod follow;
mod key;
mod memory;
mod rules;
mod term;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

pub use batch::{Action, Batch, Op, limit};
pub use embedded::{Embedded, OpenError};
pub use follow::{Change, Follower};
pub use key::{Buckets, Dir, Key, KeyError};
pub use memory::Memory;
pub use term::Term;

/// What a store's verbs return.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// A backend's own error.
pub type BackendError = Box<dyn std::error::Error + Send + Sync>;

/// Tells one state of a record from every other. Only compared for equality, and only with versions
/// of the same key; what the number means is the backend's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(u64);

/// A record's value and the version to expect when writing it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes that were written last.
    pub value: Bytes,
    /// The state that these bytes are.
    pub version: Version,
}

/// The records of one directory, by the last segment of their keys. Subdirectories are not in it.
pub type Snapshot = BTreeMap<String, Entry>;

/// The five verbs. Futures do not borrow the store; they do nothing until polled, and commits take
/// effect in the order in which their futures were first polled.
pub trait Store: Send + Sync + 'static {
    /// The record at `key`.
    fn get(&self, key: &Key) -> StoreFuture<Result<Option<Entry>, ReadError>>;

    /// All records of a directory; empty if there is none. Not promised to be atomic: records may be
    /// of different moments.
    fn list(&self, dir: &Dir) -> StoreFuture<Result<Snapshot, ReadError>>;

    /// Writes all of `batch` or nothing, durably, if `term` still leads and every expectation holds.
    /// Returns the new version for each operation, in order; for a deletion or a check the version
    /// that was found.
    fn commit(&self, term: &Term, batch: Batch) -> StoreFuture<Result<Vec<Version>, CommitError>>;

    /// Follows the records of a directory, from its state now on.
    fn follow(&self, dir: &Dir) -> Follower;

    /// Waits until this caller leads the election `name`, and returns its term. The term ends when
    /// it is resigned or dropped, or when the backend has not heard of this process for `ttl`.
    fn campaign(&self, name: &str, ttl: Duration) -> StoreFuture<Result<Term, CampaignError>>;
}

/// Why reading failed.
#[derive(Debug, thiserror::Error)]
#[error("read {path} from the store")]
pub struct ReadError {
    /// The key or directory.
    pub path: String,
    /// What the backend said.
    #[source]
    pub source: BackendError,
}

/// Why a batch was not written; it left no trace, unless the outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// An expectation did not hold: somebody wrote `key` in between.
    #[error("{key} is {}, expected {}", state(.found), state(.expected))]
    Conflict {
        /// The first key whose expectation failed.
        key: Key,
        /// The version that the batch expected; none: that there is no record.
        expected: Option<Version>,
        /// The version there is; none: there is no record.
        found: Option<Version>,
    },
    /// The term has ended: somebody else may lead now.
    #[error("no longer leads the election {election}")]
    Deposed {
        /// The election's name.
        election: String,
    },
    /// The batch breaks a limit of the contract.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The batch may have been written or not: read again.
    #[error("the outcome of a write to the store is not known")]
    Unknown(#[source] BackendError),
}

fn state(version: &Option<Version>) -> String {
    version.map_or_else(|| "absent".to_owned(), |Version(version)| format!("at version {version}"))
}

/// Which limit of the contract a batch breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// A value of more than [`limit::VALUE`] bytes.
    #[error("value of {key} has {bytes} bytes, at most {} are allowed", limit::VALUE)]
    Value {
        /// Whose value.
        key: Key,
        /// Its length.
        bytes: usize,
    },
    /// More than [`limit::OPERATIONS`] operations.
    #[error("batch has {0} operations, at most {limit} are allowed", limit = limit::OPERATIONS)]
    Operations(usize),
    /// Keys and values of more than [`limit::BATCH`] bytes together.
    #[error("batch has {0} bytes, at most {limit} are allowed", limit = limit::BATCH)]
    Batch(usize),
    /// Two operations on one key.
    #[error("batch has more than one operation on {0}")]
    Repeated(Key),
    /// A directory would hold more than [`limit::CHILDREN`] records.
    #[error("directory {0} would hold more than {limit} records", limit = limit::CHILDREN)]
    Children(Dir),
}

/// Why a campaign could not be led.
#[derive(Debug, thiserror::Error)]
#[error("campaign in the election {election}")]
pub struct CampaignError {
    /// The election's name.
    pub election: String,
    /// What the backend said.
    #[source]
    pub source: BackendError,
}
