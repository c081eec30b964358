//! The order of things: what is asked of whom, and when.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::{info, warn};
use web_client::{Url, WebClient};

use crate::cache::{self, Cache, Held};
use crate::deliver::{self, Delivery, From};
use crate::download::{Known, Outcome, Settings, Wish};
use crate::error::{FetchError, OpenError, Problem};
use crate::local;
use crate::source::{Location, Source};
use crate::uri::{Progress, Step, Uri};

/// Limits of a [`Fetcher`]. How long a server may be silent is the [`WebClient`]'s.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory of the cache and of running downloads, which is nobody else's: what is in it is
    /// removed. On the file system of the sandboxes a download is moved there, else it is copied.
    pub cache_dir: PathBuf,
    /// Bytes that the cache may hold; with 0 nothing is cached (Mesos: `--fetcher_cache_size`).
    pub cache_bytes: u64,
    /// Bytes that a fetch leaves free on each disk it writes to.
    pub reserve_bytes: u64,
    /// How often a download is tried again after attempts that brought nothing new.
    pub retries: u32,
    /// The pause before the second attempt; it doubles with each, up to 10 seconds.
    pub retry_pause: Duration,
}

impl Config {
    /// The usual limits: a cache of 2 GiB, as in Mesos; 5 retries; 64 MiB stay free.
    pub fn new(cache_dir: PathBuf) -> Config {
        Config {
            cache_dir,
            cache_bytes: 2 << 30,
            reserve_bytes: 64 << 20,
            retries: 5,
            retry_pause: Duration::from_millis(500),
        }
    }
}

/// Told how far a fetch is; called often.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// Fetches URIs into sandboxes. Clones share the cache.
#[derive(Clone)]
pub struct Fetcher {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    client: WebClient,
    cache: Arc<Cache>,
    downloads: AtomicU64,
}

impl Fetcher {
    /// Opens the cache: what an earlier process left complete is kept, all else is removed. Blocks shortly.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(config: Config, client: WebClient) -> Result<Fetcher, OpenError> {
        let cache = Cache::open(&config.cache_dir, config.cache_bytes)?;
        let settings =
            Settings { retries: config.retries, pause: config.retry_pause, reserve: config.reserve_bytes };
        let downloads = AtomicU64::new(0);
        Ok(Fetcher { shared: Arc::new(Shared { settings, client, cache, downloads }) })
    }

    /// Bytes of the cache in use.
    pub fn cached_bytes(&self) -> u64 {
        self.shared.cache.used()
    }

    /// Fetches all `uris`, one after the other, into `sandbox`, which must be there. All of it
    /// belongs to `owner` (user and group), with whose rights local files are read.
    ///
    /// Every URI is looked at before any is fetched. Dropping the future cancels: no download goes on,
    /// nothing partial is left; an extraction ends within moments.
    ///
    /// # Errors
    /// The first URI that cannot be fetched, and why.
    pub async fn fetch(
        &self,
        uris: &[Uri],
        sandbox: &Path,
        owner: Option<(u32, u32)>,
        progress: OnProgress,
    ) -> Result<(), FetchError> {
        let sources = uris.iter().map(Source::of).collect::<Result<Vec<_>, _>>();
        let sources = sources.map_err(|(uri, what)| FetchError { uri, problem: Problem::Invalid(what) })?;
        let count = sources.len();
        for (at, source) in sources.into_iter().enumerate() {
            let uri = source.shown.clone();
            let progress = {
                let (uri, progress, number) = (uri.clone(), Arc::clone(&progress), at + 1);
                move |step, bytes, total| {
                    progress(Progress { uri: uri.clone(), number, count, step, bytes, total });
                }
            };
            let one = Fetch { shared: &self.shared, source, sandbox, owner, progress: Arc::new(progress) };
            one.run(&uris[at]).await.map_err(|problem| FetchError { uri, problem })?;
        }
        Ok(())
    }
}

/// One URI on its way.
struct Fetch<'a> {
    shared: &'a Arc<Shared>,
    source: Source,
    sandbox: &'a Path,
    owner: Option<(u32, u32)>,
    progress: Arc<dyn Fn(Step, u64, Option<u64>) + Send + Sync>,
}

/// Sets the flag when it is dropped.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Fetch<'_> {
    async fn run(self, uri: &Uri) -> Result<(), Problem> {
        deliver::check_sandbox(self.sandbox)?;
        match self.source.location.clone() {
            Location::File(path) => {
                let (owner, cached) = (self.owner, self.source.cache);
                let opened = tokio::task::spawn_blocking(move || local::open(&path, owner)).await;
                let file = opened.map_err(|_| panicked())??;
                self.deliver(From::Local { file, cached }, None).await
            }
            Location::Web(url) if self.source.cache => self.fetch_cached(&url, &uri.value).await,
            Location::Web(url) => {
                let downloaded = self.download(&url, None, &|_, _| {}).await?;
                self.deliver_download(downloaded).await
            }
        }
    }

    async fn deliver_download(self, outcome: Outcome) -> Result<(), Problem> {
        let Outcome::Downloaded(downloaded) = outcome else {
            let source = std::io::Error::other("the server claims that nothing changed");
            return Err(Problem::Store { attempt: "download".to_owned(), source });
        };
        self.check_hash(downloaded.sha256.as_deref())?;
        self.deliver(From::Part(downloaded.part), None).await
    }

    async fn fetch_cached(self, url: &Url, value: &str) -> Result<(), Problem> {
        let cache = &self.shared.cache;
        let key = cache::key(self.owner.map(|(uid, _)| uid), value.trim_start());
        let lock = cache.lock(&key);
        let began = Instant::now();
        let turn = match lock.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                (self.progress)(Step::Wait, 0, None);
                lock.lock().await
            }
        };
        // A hash says more than a server could; and what came while this waited is new enough.
        let is_good = |held: &Held| {
            self.source.sha256.as_ref() == Some(&held.sha256)
                || held.checked.is_some_and(|checked| checked >= began)
        };
        let held = match cache.get(&key) {
            Some(held) if is_good(&held) => {
                drop(turn);
                return self.deliver_held(held).await;
            }
            other => other,
        };
        let reservation = std::sync::Mutex::new(None);
        let reserve = |_: u64, total: Option<u64>| {
            let mut reservation = reservation.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if reservation.is_none() {
                *reservation = total.and_then(|total| cache.reserve(total));
            }
        };
        let known = held.as_ref().map(|held| held.known.clone());
        let downloaded = match (self.download(url, known, &reserve).await, held) {
            (Ok(Outcome::Downloaded(downloaded)), held) => {
                drop(held);
                downloaded
            }
            (Ok(Outcome::Unchanged), Some(held)) => {
                cache.checked(&held);
                drop(turn);
                return self.deliver_held(held).await;
            }
            (Err(problem), Some(held)) if problem.is_outage() => {
                warn!(uri = %self.source.shown, %problem, "the copy in the cache is taken as it is");
                drop(turn);
                return self.deliver_held(held).await;
            }
            (Ok(outcome @ Outcome::Unchanged), None) => return self.deliver_download(outcome).await,
            (Err(problem), _) => return Err(problem),
        };
        self.check_hash(downloaded.sha256.as_deref())?;
        let reservation = reservation.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        match cache.insert(&key, downloaded, reservation) {
            Ok(held) => {
                drop(turn);
                self.deliver_held(held).await
            }
            Err(downloaded) => {
                drop(turn);
                info!(uri = %self.source.shown, bytes = downloaded.size, "there is no room for it in the cache");
                self.deliver(From::Part(downloaded.part), None).await
            }
        }
    }

    async fn deliver_held(self, held: Held) -> Result<(), Problem> {
        self.check_hash(Some(&held.sha256))?;
        let file = held
            .file
            .try_clone()
            .map_err(|source| Problem::Store { attempt: "open the file of the cache".to_owned(), source })?;
        self.deliver(From::Cache(file), Some(held)).await
    }

    async fn download(
        &self,
        url: &Url,
        known: Option<Known>,
        began: &(dyn Fn(u64, Option<u64>) + Send + Sync),
    ) -> Result<Outcome, Problem> {
        let shared = self.shared;
        let progress = |bytes, total| {
            began(bytes, total);
            (self.progress)(Step::Download, bytes, total);
        };
        let wish = Wish {
            client: &shared.client,
            url,
            settings: &shared.settings,
            directory: shared.cache.directory(),
            number: shared.downloads.fetch_add(1, Ordering::Relaxed),
            known,
            hash: self.source.cache || self.source.sha256.is_some(),
            progress: &progress,
        };
        wish.run().await
    }

    fn check_hash(&self, found: Option<&str>) -> Result<(), Problem> {
        match (&self.source.sha256, found) {
            (Some(expected), Some(found)) if expected != found => {
                Err(Problem::Sha256 { expected: expected.clone(), found: found.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Delivers in a thread that may block; `held` lives as long.
    async fn deliver(self, from: From, held: Option<Held>) -> Result<(), Problem> {
        let cancelled = CancelOnDrop(Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&cancelled.0);
        let (source, sandbox, owner) = (self.source, self.sandbox.to_owned(), self.owner);
        let (reserve, progress) = (self.shared.settings.reserve, self.progress);
        let work = tokio::task::spawn_blocking(move || {
            let _held = held;
            let delivery =
                Delivery { source: &source, sandbox: &sandbox, owner, reserve, cancelled: flag, progress };
            delivery.run(from)
        });
        work.await.map_err(|_| panicked())?
    }
}

impl Problem {
    /// Whether the server could not be asked, or could not answer.
    fn is_outage(&self) -> bool {
        match self {
            Problem::Web { .. } => true,
            Problem::Status { status, .. } => status.starts_with('5'),
            _ => false,
        }
    }
}

fn panicked() -> Problem {
    let source = std::io::Error::other("the working thread panicked");
    Problem::Store { attempt: "write into the sandbox".to_owned(), source }
}
