//! Fetches from real servers on loopback, well and badly behaved, into real directories.
#![allow(clippy::unwrap_used, reason = "tests")]

mod caching;
mod cancel;
mod delivering;
mod downloading;
mod server;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fetcher::{Config, Fetcher, Progress, Uri};
use web_client::WebClient;

/// A fetcher with its directories.
struct Kit {
    dir: tempfile::TempDir,
    fetcher: Fetcher,
    told: Arc<Mutex<Vec<Progress>>>,
}

impl Kit {
    fn new() -> Kit {
        Kit::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Kit {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sandbox")).unwrap();
        let fetcher = open(&dir.path().join("cache"), change);
        Kit { dir, fetcher, told: Arc::default() }
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn sandbox(&self) -> PathBuf {
        self.dir.path().join("sandbox")
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.sandbox().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Fetches; an error is its text.
    async fn fetch(&self, uris: &[Uri]) -> Result<(), String> {
        self.fetch_for(uris, None).await
    }

    async fn fetch_for(&self, uris: &[Uri], owner: Option<(u32, u32)>) -> Result<(), String> {
        let told = Arc::clone(&self.told);
        let progress = Arc::new(move |progress| told.lock().unwrap().push(progress));
        let sandbox = self.sandbox();
        let fetched = self.fetcher.fetch(uris, &sandbox, owner, progress);
        let fetched = tokio::time::timeout(Duration::from_secs(60), fetched).await.expect("it ends in time");
        fetched.map_err(|error| error.to_string())
    }

    /// Names in a directory, in order; those of the cache with keys made short.
    fn names(&self, directory: &Path) -> Vec<String> {
        let names = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Nothing but whole entries is in the cache's directory.
    fn check_no_parts(&self) {
        let names = self.names(&self.cache());
        assert!(!names.iter().any(|name| name.ends_with(".part")), "{names:?}");
    }
}

fn open(cache: &Path, change: impl FnOnce(&mut Config)) -> Fetcher {
    let mut config = Config::new(cache.to_owned());
    config.retry_pause = Duration::from_millis(5);
    config.reserve_bytes = 0;
    config.retries = 2;
    change(&mut config);
    let client = WebClient::new(web_client::Config {
        head_timeout: Duration::from_millis(1500),
        stall_timeout: Duration::from_millis(300),
        ..web_client::Config::default()
    });
    Fetcher::open(config, client).unwrap()
}

/// A URI as a task has it if it says nothing else.
fn uri(value: impl Into<String>) -> Uri {
    Uri {
        value: value.into(),
        executable: false,
        extract: true,
        cache: false,
        output_file: None,
        sha256: None,
    }
}

fn cached(value: impl Into<String>) -> Uri {
    Uri { cache: true, ..uri(value) }
}

/// So many bytes of no period that a wrong offset could hide in.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
