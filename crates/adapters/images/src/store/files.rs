use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::{HoldError, OpenError, RemoveError};

/// A file operation that did not work.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}: {source}", .path.display())]
pub(crate) struct Failed {
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl Failed {
    pub(super) fn open(self) -> OpenError {
        OpenError::Io { action: self.action, path: self.path, source: self.source }
    }

    pub(super) fn hold(self) -> HoldError {
        HoldError::Io { action: self.action, path: self.path, source: self.source }
    }

    pub(crate) fn remove(self) -> RemoveError {
        RemoveError::Io { action: self.action, path: self.path, source: self.source }
    }
}

pub(super) fn act<T>(action: &'static str, path: &Path, outcome: io::Result<T>) -> Result<T, Failed> {
    outcome.map_err(|source| Failed { action, path: path.to_owned(), source })
}

/// Writes a file that was not there. It is not synced: what is lost with the machine's power, a hold
/// or a reference, is of no use after it or can be had again; a torn one is dropped at open.
pub(super) fn write_new(path: &Path, text: &[u8]) -> Result<(), Failed> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text));
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    act("write", path, written)
}

pub(super) fn private(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

pub(super) fn public(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Sets the time of last use to now.
pub(super) fn touch(path: &Path) -> io::Result<()> {
    File::open(path)?.set_modified(std::time::SystemTime::now())
}

pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Everything written so far in the file system of `path` reaches the disk.
pub(super) fn sync_file_system(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

/// Removes a tree. What cannot be removed stays and is told.
pub(super) fn remove_tree(path: &Path) {
    if let Err(error) = host::remove_tree(path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove what is left of a layer");
    }
}
