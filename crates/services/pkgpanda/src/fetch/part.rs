//! A tarball on its way: `.downloads/ID.tar.xz` in the repository, and beside it what tells whether a server still
//! has the same.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use api_pkgpanda::{PackageId, TARBALL_SUFFIX};
use serde::{Deserialize, Serialize};
use web_client::Url;

use super::FetchError;
use crate::repository::DOWNLOADS;

/// How long is waited for another process that downloads the same package.
const WAIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// What is known of the file at the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Where it is, without credentials.
    pub(crate) url: String,
    /// An `ETag` that is the same for the same bytes only, or else a `Last-Modified`.
    pub(crate) validator: Option<String>,
    /// How many bytes it has.
    pub(crate) size: Option<u64>,
}

/// A part file that only this process writes.
#[derive(Debug)]
pub(crate) struct Part {
    file: File,
    path: PathBuf,
    known: Known,
    written: u64,
}

impl Part {
    /// Takes up what is there of the package from this URL, or begins with nothing.
    pub(crate) fn open(repository: &Path, id: &PackageId, url: &Url) -> Result<Part, FetchError> {
        let dir = repository.join(DOWNLOADS);
        std::fs::create_dir_all(&dir).map_err(FetchError::store("make directory", &dir))?;
        let path = dir.join(format!("{id}{TARBALL_SUFFIX}"));
        let file = lock(&path)?;
        let url = url.to_string();
        let mut part = Part { file, path, known: Known { url: url.clone(), ..Known::default() }, written: 0 };
        let known = std::fs::read(part.known_path()).ok();
        let known = known.and_then(|known| serde_json::from_slice::<Known>(&known).ok());
        match known.filter(|known| known.url == url && known.validator.is_some()) {
            Some(known) => {
                part.known = known;
                let end = part.file.seek(SeekFrom::End(0));
                part.written = end.map_err(FetchError::store("read", &part.path))?;
            }
            None => part.restart(part.known.clone())?,
        }
        Ok(part)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    /// Bytes that are there.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether it is known that no byte is missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.known.size == Some(self.written)
    }

    /// Begins with nothing, of a file that is another one now.
    pub(crate) fn restart(&mut self, known: Known) -> Result<(), FetchError> {
        // In this order: bytes are never taken for those of another file.
        let _ = std::fs::remove_file(self.known_path());
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(FetchError::store("empty", &self.path))?;
        (self.known, self.written) = (known, 0);
        if self.known.validator.is_some() {
            let text = serde_json::to_vec(&self.known).expect("texts and numbers are JSON");
            let path = self.known_path();
            std::fs::write(&path, text).map_err(FetchError::store("write", path))?;
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        let written = self.file.write_all(bytes);
        if let Err(error) = written {
            // As much as was counted is there, and can be gone on from.
            let _ = self.file.set_len(self.written);
            return Err(FetchError::store("write", &self.path)(error));
        }
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Removes it. What cannot be removed is taken up by the next fetch, and does no harm.
    pub(crate) fn remove(self) {
        let _ = std::fs::remove_file(self.known_path());
        let _ = std::fs::remove_file(&self.path);
    }

    fn known_path(&self) -> PathBuf {
        self.path.with_extension("json")
    }
}

/// Opens the file for this process alone. It may be removed by the one before while this one waits for it.
fn lock(path: &Path) -> Result<File, FetchError> {
    let failed = |error| FetchError::store("open", path)(error);
    let until = Instant::now() + WAIT;
    loop {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) if is_at(&file, path).map_err(failed)? => return Ok(file),
            Ok(()) => continue,
            Err(TryLockError::WouldBlock) if Instant::now() < until => {}
            Err(TryLockError::WouldBlock) => {
                return Err(FetchError::Locked { path: path.to_owned(), seconds: WAIT.as_secs() });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        #[allow(clippy::disallowed_methods, reason = "a rest between two looks, with a deadline")]
        std::thread::sleep(POLL);
    }
}

/// Whether that file is still the one of this name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
