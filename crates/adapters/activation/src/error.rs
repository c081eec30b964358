use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::HostError;

/// Why a root could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something about one path.
    #[error("{attempted} {}{}", .path.display(), hint(.source))]
    File {
        /// What was attempted, such as `make link`.
        attempted: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error(
        "another pkgpanda{} is at work on {}, and still was after {} s: wait for it, or end it (its work is recovered)",
        .owner.map(|pid| format!(" (process {pid})")).unwrap_or_default(), .path.display(), .waited.as_secs()
    )]
    Busy {
        /// The root.
        path: PathBuf,
        /// Which process, where the kernel tells.
        owner: Option<u32>,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Files that no package and no pkgpanda put there are in the way; nothing was changed.
    #[error("not of any package, but in the way of one: {}; move them away", list(.0))]
    InTheWay(Vec<PathBuf>),
    /// A file of pkgpanda's own cannot be used.
    #[error("{} cannot be used: {reason}", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The original pkgpanda was interrupted in an activation, which nobody can recover for it.
    #[error(
        "{} tells of an activation that the former pkgpanda began and did not finish: finish it with that one, or uninstall",
        .0.display()
    )]
    OriginalInterrupted(PathBuf),
    /// The host refused; the tree is as it was.
    #[error("{attempted}")]
    Host {
        /// What was attempted.
        attempted: String,
        /// What the host said.
        source: HostError,
    },
    /// The change is done, but units do not start.
    #[error("the new set is active, but not all of its units start")]
    Start {
        /// What the host said.
        source: HostError,
    },
    /// Units that were stopped for a change that was taken back do not start again.
    #[error("the former set is active, but not all of its units start again")]
    Restart {
        /// What the host said.
        source: HostError,
    },
    /// The change failed, and taking it back failed, too.
    #[error(
        "taking the change back failed ({rollback}); the next pkgpanda takes it back. It was begun, and failed: {failure}"
    )]
    NotTakenBack {
        /// What failed first.
        #[source]
        failure: Box<Error>,
        /// What failed then.
        rollback: Box<Error>,
    },
    /// The new set is active, but something is left to be done.
    #[error("the new set is active, but not all is done: the next pkgpanda finishes it")]
    Unfinished {
        /// What failed.
        source: Box<Error>,
    },
}

impl Error {
    pub(crate) fn file(
        attempted: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::File { attempted, path: path.into(), source: source.into() }
    }

    /// Whether the disk was full, of blocks or of inodes.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::File { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::NotTakenBack { failure: source, .. } | Self::Unfinished { source } => source.is_no_space(),
            _ => false,
        }
    }
}

/// What to do about it.
fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull => " (make space: `df` and `df -i` tell which is missing)",
        io::ErrorKind::ReadOnlyFilesystem => " (mount it writable)",
        io::ErrorKind::PermissionDenied => " (run it as root)",
        _ => "",
    }
}

fn list(paths: &[PathBuf]) -> String {
    const SHOWN: usize = 20;
    let mut text: Vec<String> = paths.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
    if paths.len() > SHOWN {
        text.push(format!("{} more", paths.len() - SHOWN));
    }
    text.join(", ")
}
