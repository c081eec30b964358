//! One apt for images and for sources.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use debian::{Apt, Error};
use host::{FileLock, LockError};

/// How long somebody else's downloads are waited for.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How often the lock is tried meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// Does something with apt, whose state is in the folder `cache`, while nobody else does.
pub(crate) fn with<T, E: From<Error>>(
    cache: &Path,
    work: impl FnOnce(&mut Apt) -> Result<T, E>,
) -> Result<T, E> {
    let dir = cache.join("apt");
    let failed = |attempt| {
        let path = dir.clone();
        move |source| Error::File { attempt, path, source }
    };
    fs::create_dir_all(&dir).map_err(failed("make the directory"))?;
    let _lock = lock(&dir.join("lock")).map_err(io::Error::other).map_err(failed("lock"))?;
    work(&mut Apt::open(&dir)?)
}

fn lock(path: &Path) -> Result<FileLock, LockError> {
    let until = Instant::now() + PATIENCE;
    // Never anything comes: it is a pause.
    let (_held, never) = mpsc::channel::<()>();
    loop {
        match FileLock::take(path) {
            Err(LockError::Held { .. }) if Instant::now() < until => {
                let _ = never.recv_timeout(PAUSE);
            }
            taken => return taken,
        }
    }
}
