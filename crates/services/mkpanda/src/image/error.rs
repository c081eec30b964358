use std::io;
use std::path::{Path, PathBuf};

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It is not defined.
    #[error("the image {name} is not defined: there is no folder {}", .folder.display())]
    Absent {
        /// As the buildinfo names it.
        name: String,
        /// Where its definition would be.
        folder: PathBuf,
    },
    /// It could not be made or fetched.
    #[error("the image {name} cannot be had")]
    Image {
        /// As the buildinfo names it.
        name: String,
        /// Why.
        source: Box<ImageProblem>,
    },
}

/// Why an image could not be made or fetched.
#[derive(Debug, thiserror::Error)]
pub enum ImageProblem {
    /// Its definition is wrong.
    #[error("{}: {problem}", .file.display())]
    Definition {
        /// The definition.
        file: PathBuf,
        /// The field, what was found, what is allowed.
        problem: String,
    },
    /// Only root can make files of other users.
    #[error("making an image needs root")]
    Root,
    /// Its packages could not be had or put together.
    #[error(transparent)]
    Debian(#[from] debian::Error),
    /// The name is no reference of an image.
    #[error("it is neither a folder below docker nor a reference of an image")]
    Reference(#[source] images::ReferenceError),
    /// The store of fetched images could not be used.
    #[error("open the store of fetched images")]
    Store(#[source] images::OpenError),
    /// It could not be fetched.
    #[error(transparent)]
    Pull(images::PullError),
    /// It could not be kept.
    #[error(transparent)]
    Hold(images::HoldError),
    /// What lies over it cannot be copied.
    #[error(transparent)]
    Tree(#[from] crate::sources::TreeError),
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

impl ImageProblem {
    /// For `map_err`.
    pub(super) fn file(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageProblem {
        let path = path.to_owned();
        move |source| ImageProblem::File { attempt, path, source }
    }
}
