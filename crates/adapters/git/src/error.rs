use std::io;
use std::path::PathBuf;

use host::RunError;

/// Why git could not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// git could not be run, or took too long.
    #[error("ask git")]
    Run(#[source] RunError),
    /// git refused.
    #[error("git could not {attempt} {on}: {said}")]
    Git {
        /// What was attempted.
        attempt: &'static str,
        /// The URL, without a password, or the directory.
        on: String,
        /// git's last lines.
        said: String,
    },
    /// A name that git would take for something else.
    #[error("'{found}' is no {what}")]
    Name {
        /// What was given.
        found: String,
        /// What it ought to be.
        what: &'static str,
    },
    /// The repository does not have the commit.
    #[error("{} has no commit {commit}", .repository.display())]
    NoCommit {
        /// The repository.
        repository: PathBuf,
        /// The commit.
        commit: String,
    },
    /// The directory is no repository, or not the top of one.
    #[error("{} is not the top of a git repository", .path.display())]
    NoRepository {
        /// The directory.
        path: PathBuf,
    },
    /// git answered what is not understood.
    #[error("git answered '{said}' when it was asked to {attempt} {on}")]
    Answer {
        /// What was attempted.
        attempt: &'static str,
        /// The directory.
        on: String,
        /// The answer.
        said: String,
    },
    /// The file system refused.
    #[error("{attempt} {}", .path.display())]
    File {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}
