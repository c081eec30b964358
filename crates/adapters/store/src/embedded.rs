use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use host::{FileLock, LockError};
use redb::{Database, ReadableDatabase, TableDefinition};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::follow::{BACKLOG, Lister};
use crate::term::Elections;
use crate::{
    Batch, CampaignError, CommitError, Dir, Entry, Follower, Key, ReadError, Snapshot, Store, StoreFuture,
    Term, Version,
};

mod writer;

/// Directory and name to version and value.
const RECORDS: TableDefinition<'_, (&str, &str), (u64, &[u8])> = TableDefinition::new("records");
/// Directory to the number of its records.
const CHILDREN: TableDefinition<'_, &str, u64> = TableDefinition::new("children");
/// Election to its last epoch.
const EPOCHS: TableDefinition<'_, &str, u64> = TableDefinition::new("epochs");
/// `format`, and `sequence`: the last version given.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The layout of the tables above. A file of another format is refused.
const FORMAT: u64 = 1;
/// Pages kept in memory. State is small and read once; the page cache of the kernel does the rest.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// How many commits wait for the writer before further ones wait to be queued.
const QUEUE: usize = 1024;
/// How long to wait for this same process, which may still be closing the file after a restart of
/// the component that had it.
const OWN_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Records in one file of this machine, opened by one process at a time. A commit that returned is
/// on the disk. Commits that arrive while the disk is busy share the next write. Clones are the same
/// store; the file is closed when the last clone and the last follower are gone.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    requests: Option<mpsc::Sender<writer::Request>>,
    writer: Option<JoinHandle<()>>,
    database: Option<Arc<Database>>,
    elections: Arc<Elections>,
    changed: broadcast::Sender<Arc<[Key]>>,
    // Last, so that it is released when the database is closed.
    _lock: FileLock,
}

/// Why a store's file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by {}", .path.display(), match .owner {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    })]
    InUse {
        /// The file.
        path: PathBuf,
        /// The process, where the kernel tells.
        owner: Option<u32>,
    },
    /// It was written by another version of this program.
    #[error("{} has format {found}; this program reads format {FORMAT}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The directory or file could not be made or read.
    #[error("open {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The database could not be opened.
    #[error("open {}", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: Box<redb::Error>,
    },
}

impl Embedded {
    /// Opens the store in the file `path`, and makes it (with its directory) where there is none.
    ///
    /// # Errors
    /// [`OpenError::InUse`] names the process that has it open.
    pub async fn open(path: &Path) -> Result<Embedded, OpenError> {
        let lock = lock(path).await?;
        let (path, span) = (path.to_owned(), tracing::Span::current());
        let opening =
            tokio::task::spawn_blocking(move || span.in_scope(|| Embedded::open_locked(path, lock)));
        opening.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }

    fn open_locked(path: PathBuf, lock: FileLock) -> Result<Embedded, OpenError> {
        let io = |source| OpenError::Io { path: path.clone(), source };
        let database =
            |source: redb::Error| OpenError::Database { path: path.clone(), source: source.into() };
        if !path.exists() {
            // Made beside and renamed: a file that a crash left half made is never opened.
            let fresh = beside(&path, "new");
            let _ = std::fs::remove_file(&fresh);
            make(&fresh).map_err(database)?;
            std::fs::rename(&fresh, &path).map_err(io)?;
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
        }
        let opened = Arc::new(builder().open(&path).map_err(|error| database(error.into()))?);
        let (format, sequence) = meta(&opened).map_err(database)?;
        if format != FORMAT {
            return Err(OpenError::Format { path, found: format });
        }
        let (requests, queue) = mpsc::channel(QUEUE);
        let (changed, _) = broadcast::channel(BACKLOG);
        let elections = Arc::<Elections>::default();
        let writer = writer::Writer::new(opened.clone(), queue, elections.clone(), changed.clone(), sequence);
        let span = tracing::Span::current();
        let writer = std::thread::Builder::new()
            .name("store".to_owned())
            .stack_size(512 * 1024)
            .spawn(move || span.in_scope(|| writer.run()))
            .map_err(io)?;
        let shared = Shared {
            requests: Some(requests),
            writer: Some(writer),
            database: Some(opened),
            elections,
            changed,
            _lock: lock,
            path,
        };
        Ok(Embedded { shared: Arc::new(shared) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take() {
            // At most one group's write away: the queue is closed and its commits have no caller.
            let _ = writer.join();
        }
        self.database = None;
    }
}

async fn lock(path: &Path) -> Result<FileLock, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(io)?;
    }
    let until = tokio::time::Instant::now() + OWN_LOCK_TIMEOUT;
    loop {
        match FileLock::take(&beside(path, "lock")) {
            Ok(lock) => return Ok(lock),
            Err(LockError::Held { owner, .. }) => {
                if owner != Some(std::process::id()) || tokio::time::Instant::now() >= until {
                    return Err(OpenError::InUse { path: path.to_owned(), owner });
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(LockError::Lock { source, .. }) => return Err(io(source)),
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn make(path: &Path) -> Result<(), redb::Error> {
    let database = builder().create(path)?;
    let transaction = database.begin_write()?;
    transaction.open_table(RECORDS)?;
    transaction.open_table(CHILDREN)?;
    transaction.open_table(EPOCHS)?;
    let mut meta = transaction.open_table(META)?;
    meta.insert("format", FORMAT)?;
    meta.insert("sequence", 0)?;
    drop(meta);
    transaction.commit()?;
    Ok(())
}

/// Format and sequence.
fn meta(database: &Database) -> Result<(u64, u64), redb::Error> {
    let meta = database.begin_read()?.open_table(META)?;
    let number = |name| Ok::<u64, redb::Error>(meta.get(name)?.map_or(0, |number| number.value()));
    Ok((number("format")?, number("sequence")?))
}

fn get(database: &Database, key: &Key) -> Result<Option<Entry>, redb::Error> {
    let records = database.begin_read()?.open_table(RECORDS)?;
    Ok(records.get((key.dir(), key.name()))?.map(|found| entry(found.value())))
}

fn list(database: &Database, dir: &Dir) -> Result<Snapshot, redb::Error> {
    let records = database.begin_read()?.open_table(RECORDS)?;
    let mut snapshot = Snapshot::new();
    for found in records.range((dir.as_str(), "")..)? {
        let (key, value) = found?;
        let (of, name) = key.value();
        if of != dir.as_str() {
            break;
        }
        snapshot.insert(name.to_owned(), entry(value.value()));
    }
    Ok(snapshot)
}

fn entry((version, value): (u64, &[u8])) -> Entry {
    Entry { value: Bytes::copy_from_slice(value), version: Version(version) }
}

impl Shared {
    fn database(&self) -> &Database {
        self.database.as_ref().expect("the database is there until the drop")
    }

    /// Reads off the async threads: a page may have to come from the disk.
    fn read<T: Send + 'static>(
        self: &Arc<Self>,
        path: &str,
        read: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> StoreFuture<Result<T, ReadError>> {
        let (shared, path) = (self.clone(), path.to_owned());
        Box::pin(async move {
            let result = tokio::task::spawn_blocking(move || read(shared.database())).await;
            let result = result.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
            result.map_err(|source| ReadError { path, source: source.into() })
        })
    }

    fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        request: impl FnOnce(oneshot::Sender<T>) -> writer::Request + Send + 'static,
    ) -> impl Future<Output = Result<T, crate::BackendError>> + Send + 'static {
        let shared = self.clone();
        async move {
            let (reply, answer) = oneshot::channel();
            let requests = shared.requests.as_ref().expect("the queue is there until the drop");
            requests.send(request(reply)).await.map_err(|_| "the store's writer has ended")?;
            drop(shared);
            Ok(answer.await.map_err(|_| "the store's writer has ended")?)
        }
    }
}

impl Lister for Shared {
    fn list(self: Arc<Self>, dir: &Dir) -> StoreFuture<Result<Snapshot, ReadError>> {
        let wanted = dir.clone();
        self.read(dir.as_str(), move |database| list(database, &wanted))
    }
}

impl Store for Embedded {
    fn get(&self, key: &Key) -> StoreFuture<Result<Option<Entry>, ReadError>> {
        let wanted = key.clone();
        self.shared.read(key.as_str(), move |database| get(database, &wanted))
    }

    fn list(&self, dir: &Dir) -> StoreFuture<Result<Snapshot, ReadError>> {
        self.shared.clone().list(dir)
    }

    fn commit(&self, term: &Term, batch: Batch) -> StoreFuture<Result<Vec<Version>, CommitError>> {
        if let Err(broken) = batch.check_limits() {
            return Box::pin(std::future::ready(Err(broken.into())));
        }
        let (election, epoch) = (term.election.clone(), term.epoch);
        let answer = self.shared.ask(move |reply| writer::Request::Commit { election, epoch, batch, reply });
        Box::pin(async move { answer.await.unwrap_or_else(|gone| Err(CommitError::Unknown(gone))) })
    }

    fn follow(&self, dir: &Dir) -> Follower {
        Follower::new(dir.clone(), self.shared.clone(), self.shared.changed.subscribe())
    }

    fn campaign(&self, name: &str, _ttl: Duration) -> StoreFuture<Result<Term, CampaignError>> {
        let (shared, name) = (self.shared.clone(), Arc::<str>::from(name));
        Box::pin(async move {
            let seat = shared.elections.seat(&name).await;
            let election = name.clone();
            let epoch = shared.ask(move |reply| writer::Request::NextEpoch { election, reply }).await;
            match epoch.unwrap_or_else(Err) {
                Ok(epoch) => Ok(shared.elections.swear_in(name, epoch, seat)),
                Err(source) => Err(CampaignError { election: name.to_string(), source }),
            }
        })
    }
}
