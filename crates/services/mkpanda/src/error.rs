//! Why something was not built.

use std::io;
use std::path::{Path, PathBuf};

use api_pkgpanda::IdProblem;
use mkpanda_core::{GraphError, PackageKey, Variant};

use crate::cache::CacheError;
use crate::container::ContainerError;
use crate::download::DownloadError;
use crate::folder::FolderHashError;
use crate::image::ImageError;
use crate::pack::TarballError;
use crate::packages::FolderError;
use crate::repository::RepositoryError;
use crate::result::ResultError;
use crate::sources::{SourceError, TreeError};

/// Why something was not built. Shown after `ERROR: `.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// The cache could not be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Containers could not be used.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The folder of packages could not be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Packages do not fit together.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The repository's URL is none.
    #[error(transparent)]
    Remote(#[from] DownloadError),
    /// A package could not be had as a directory.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A folder could not be hashed.
    #[error(transparent)]
    FolderHash(#[from] FolderHashError),
    /// Something could not be read or written.
    #[error("cannot {attempt} {}", path.display())]
    File {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A package that no id can name.
    #[error("{key}")]
    Id {
        /// Which one.
        key: PackageKey,
        /// Why.
        source: IdProblem,
    },
    /// The script of a package failed.
    #[error(transparent)]
    Script(Box<ScriptFailure>),
    /// What the script made is no package.
    #[error("{key}")]
    Result {
        /// Which package.
        key: PackageKey,
        /// Why.
        source: ResultError,
    },
    /// The tarball could not be made.
    #[error("{what}")]
    Pack {
        /// Of what.
        what: String,
        /// Why.
        source: TarballError,
    },
    /// A package that is required, and not built with what requires it.
    #[error("{0} is required and has not been built: build it first, or all that is required by --recursive")]
    NotBuilt(PackageKey),
    /// What says which one was built last does not say it.
    #[error("{}: {why}; build the package again", path.display())]
    Latest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Containers and the owners of files need root.
    #[error("packages are built in containers, which only root can make; this is {0}")]
    NotRoot(String),
    /// An image could not be had.
    #[error("{key}")]
    Image {
        /// Which package it is for.
        key: PackageKey,
        /// Why.
        source: ImageError,
    },
    /// The sources could not be had.
    #[error("{key}")]
    Sources {
        /// Which package they are of.
        key: PackageKey,
        /// Why.
        source: SourceError,
    },
    /// The folder of further files could not be had.
    #[error("{key}")]
    Extra {
        /// Of which package.
        key: PackageKey,
        /// Why.
        source: TreeError,
    },
    /// The packages of others could not be had.
    #[error("upstream.json")]
    Upstream {
        /// Why.
        source: SourceError,
    },
    /// A tree that cannot be built.
    #[error("tree {tree}")]
    TreeSet {
        /// Which one.
        tree: Variant,
        /// Why.
        source: GraphError,
    },
    /// What waits for containers and downloads could not be started.
    #[error("cannot start threads that wait")]
    Runtime(#[source] io::Error),
    /// There is no tree at all, or not this one.
    #[error("{0}")]
    Tree(String),
    /// A build thread ended without a word.
    #[error("the build of {0} broke off; this is a defect of mkpanda")]
    Lost(String),
    /// Someone asked for it.
    #[error("interrupted")]
    Cancelled,
}

/// How a build script failed, and what can be seen of it.
#[derive(Debug, thiserror::Error)]
#[error(
    "{key}: the build script {how}{}. Its log is {}{}", outside_text(.outside.as_deref()), log.display(),
    tail_text(.tail)
)]
pub(crate) struct ScriptFailure {
    /// Which package.
    pub(crate) key: PackageKey,
    /// How it ended.
    pub(crate) how: String,
    /// What it tried to write to, though it is not its own.
    pub(crate) outside: Option<String>,
    /// The log.
    pub(crate) log: PathBuf,
    /// Its last lines.
    pub(crate) tail: Vec<String>,
}

impl BuildError {
    /// Something that could not be done to a file.
    pub(crate) fn file(attempt: &'static str, path: &Path, source: io::Error) -> BuildError {
        BuildError::File { attempt, path: path.to_owned(), source }
    }
}

fn outside_text(path: Option<&str>) -> String {
    let Some(path) = path else { return String::new() };
    format!(
        ": it tried to write to {path}, outside of its destination (only $PKG_PATH, /pkg/src and /tmp are its own)"
    )
}

fn tail_text(lines: &[String]) -> String {
    match lines {
        [] => ", and it is empty".to_owned(),
        lines => lines.iter().fold(", its last lines:".to_owned(), |text, line| text + "\n  | " + line),
    }
}
