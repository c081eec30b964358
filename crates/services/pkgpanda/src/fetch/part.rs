//! A tarball on its way: `.downloads/ID.tar.xz` in the repository, and beside it what tells whether a server still
//! has the same.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use api_pkgpanda::{PackageId, TARBALL_SUFFIX};
use host::{FileLock, LockError};
use serde::{Deserialize, Serialize};
use web_client::Url;

use super::FetchError;
use crate::repository::DOWNLOADS;

/// How long is waited for another process that downloads the same package.
const WAIT: Duration = Duration::from_secs(10);

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
    _lock: FileLock,
    known: Known,
    written: u64,
}

impl Part {
    /// Takes up what is there of the package from this URL, or begins with nothing.
    pub(crate) fn open(repository: &Path, id: &PackageId, url: &Url) -> Result<Part, FetchError> {
        let dir = repository.join(DOWNLOADS);
        std::fs::create_dir_all(&dir).map_err(FetchError::store("make directory", &dir))?;
        let path = dir.join(format!("{id}{TARBALL_SUFFIX}"));
        let (file, lock) = open(&path)?;
        let url = url.to_string();
        let mut part = Part {
            file,
            path,
            _lock: lock,
            known: Known { url: url.clone(), ..Known::default() },
            written: 0,
        };
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

/// The file, open for this process alone. It is removed under the lock only: the one that is locked is the one that is
/// opened.
fn open(path: &Path) -> Result<(File, FileLock), FetchError> {
    let lock = FileLock::take_within(path, WAIT, |_| {}).map_err(|error| match error {
        LockError::Held { .. } => FetchError::Locked { path: path.to_owned(), seconds: WAIT.as_secs() },
        LockError::Lock { source, .. } => FetchError::store("open", path)(source),
    })?;
    let file = OpenOptions::new().read(true).write(true).open(path);
    Ok((file.map_err(FetchError::store("open", path))?, lock))
}
