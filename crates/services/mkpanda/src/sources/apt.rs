//! One apt for images and for sources.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use debian::{Apt, Error};
use host::FileLock;

/// How long somebody else's downloads are waited for.
const PATIENCE: Duration = Duration::from_secs(3600);

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
    let _lock = FileLock::take_within(&dir.join("lock"), PATIENCE, |_| {})
        .map_err(io::Error::other)
        .map_err(failed("lock"))?;
    work(&mut Apt::open(&dir)?)
}
