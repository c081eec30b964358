use std::io;
use std::path::{Path, PathBuf};

use mkpanda_core::Source;

use super::tree::TreeError;

/// Why a source could not be had.
#[derive(Debug, thiserror::Error)]
#[error("source {name} ({kind})")]
pub struct SourceError {
    /// As the buildinfo names it.
    pub name: String,
    /// `git`, `url`, ...
    pub kind: &'static str,
    /// What went wrong.
    #[source]
    pub problem: Box<SourceProblem>,
}

impl SourceError {
    pub(super) fn new(name: &str, source: &Source, problem: SourceProblem) -> SourceError {
        SourceError { name: name.to_owned(), kind: source.kind(), problem: Box::new(problem) }
    }
}

/// What went wrong with a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceProblem {
    /// git could not do it.
    #[error(transparent)]
    Git(#[from] git::Error),
    /// There are changes that are in no commit.
    #[error(
        "{} has changes that are not committed, so that no commit tells what is built: {}", .path.display(),
        .changes.join(", ")
    )]
    Changes {
        /// The repository.
        path: PathBuf,
        /// The first of them, as `git status --porcelain` writes them.
        changes: Vec<String>,
    },
    /// The commit is not, or not any more, in the repository.
    #[error("{url} has no commit {commit}: 'ref' must be the id of a commit that can be fetched")]
    NoCommit {
        /// The repository.
        url: String,
        /// What was looked for.
        commit: String,
    },
    /// The URL is none.
    #[error(transparent)]
    Url(#[from] web_client::ParseUrlError),
    /// It could not be downloaded.
    #[error("after {attempts} attempts")]
    Download {
        /// How often it was tried.
        attempts: u32,
        /// What happened last.
        source: web_client::Error,
    },
    /// The server refused.
    #[error("{url} answered {status} (after {attempts} attempts)")]
    Status {
        /// What was asked for, without credentials.
        url: String,
        /// What came.
        status: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// It is longer than anything that is a source.
    #[error("{url} is longer than the {limit} bytes allowed")]
    Long {
        /// What was asked for.
        url: String,
        /// The most bytes.
        limit: u64,
    },
    /// What was downloaded is not what was expected.
    #[error("{url} has the SHA-1 {found}, but the buildinfo wants {expected}; it is kept as {}", .kept.display())]
    Sha1 {
        /// Where it came from.
        url: String,
        /// What the buildinfo says.
        expected: String,
        /// What it is.
        found: String,
        /// Where it lies.
        kept: PathBuf,
    },
    /// An archive could not be unpacked.
    #[error("unpack {}", .file.display())]
    Archive {
        /// The archive.
        file: PathBuf,
        /// Why.
        source: archive::Error,
    },
    /// An archive that does not hold exactly one directory.
    #[error("{} must hold one directory with everything in it, but has at its top: {}", .file.display(), .found)]
    Top {
        /// The archive.
        file: PathBuf,
        /// Some names.
        found: String,
    },
    /// Debian's package could not be had.
    #[error(transparent)]
    Debian(#[from] debian::Error),
    /// Files could not be copied or read.
    #[error(transparent)]
    Tree(#[from] TreeError),
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

impl SourceProblem {
    /// For `map_err`.
    pub(super) fn file(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SourceProblem {
        let path = path.to_owned();
        move |source| SourceProblem::File { attempt, path, source }
    }
}
