use std::io;
use std::path::PathBuf;

use host::RunError;

/// Why Debian's packages could not be had, or not be put together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name of a package, or its version, is none that Debian could have.
    #[error("'{found}' names no Debian package: {rule}")]
    Name {
        /// What was asked for.
        found: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// The archive does not have the package.
    #[error("this machine's apt sources have no package '{package}'")]
    Unknown {
        /// The package.
        package: String,
    },
    /// The archive does not have this version of the package.
    #[error(
        "this machine's apt sources have no version '{version}' of the package '{package}': they offer {offered}"
    )]
    Version {
        /// The package.
        package: String,
        /// What was asked for.
        version: String,
        /// What apt would install.
        offered: String,
    },
    /// What the archive has is not what was expected.
    #[error("{package} {version} has the SHA-256 {found}, but {expected} was expected")]
    Hash {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// The expected digest.
        expected: String,
        /// The one that the archive announces, or the file has.
        found: String,
    },
    /// apt could not be run.
    #[error("ask apt")]
    Run(#[source] RunError),
    /// apt could not do what it was asked to do.
    #[error("apt could not {attempt}: {said}")]
    Apt {
        /// What was attempted.
        attempt: &'static str,
        /// Its last lines.
        said: String,
    },
    /// apt answered what is not understood.
    #[error("apt answered '{line}' when it was asked to {attempt}")]
    Answer {
        /// What was attempted.
        attempt: &'static str,
        /// The line.
        line: String,
    },
    /// A file is no Debian package, or a broken one.
    #[error("{} is no valid Debian package: {problem}", .file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// What is in a package could not be unpacked.
    #[error("unpack {}", .file.display())]
    Unpack {
        /// The package's file.
        file: PathBuf,
        /// Why.
        source: archive::Error,
    },
    /// Two packages bring different things to one place once `/bin` is `/usr/bin`.
    #[error("{} and {} are both there and differ: they cannot be one", .first.display(), .second.display())]
    Merge {
        /// Below the root.
        first: PathBuf,
        /// Below the root.
        second: PathBuf,
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

impl Error {
    /// For `map_err`.
    pub(crate) fn file(attempt: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::File { attempt, path, source }
    }
}
