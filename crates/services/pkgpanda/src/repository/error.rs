use std::io;
use std::path::PathBuf;

use api_pkgpanda::{IdProblem, ManifestProblem, PackageId, PkgInfoProblem};

use super::contents::ContentsError;
use super::verify::Difference;

/// How many differences an error tells one by one.
const SHOWN: usize = 10;

/// Why the repository did not do what was asked. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such package. The text is the id alone, as pkgpanda always told it.
    #[error("{0}")]
    Missing(PackageId),
    /// The package is active.
    #[error("Refusing to remove active package {0}")]
    Active(PackageId),
    /// A tarball's name is not of the form that says which package it is.
    #[error(
        "{}: the name of a package's tarball is ID.tar.xz, such as mesos--1.11.0.tar.xz; nothing was added",
        .path.display()
    )]
    Suffix {
        /// The file that was given.
        path: PathBuf,
    },
    /// A tarball's name is of the right form, but what stands for the id is none.
    #[error("{}: {problem}; nothing was added", .path.display())]
    FileName {
        /// The file that was given.
        path: PathBuf,
        /// What is wrong with it.
        problem: IdProblem,
    },
    /// The id could not be told from a leftover.
    #[error("{0}: ids that end with _tmp are kept for packages that are being unpacked")]
    Reserved(PackageId),
    /// The tarball is compressed in another way, or not at all.
    #[error("{id}: the tarball is not compressed with xz ({found})")]
    Compression {
        /// Of which package.
        id: PackageId,
        /// What it is instead.
        found: &'static str,
    },
    /// The tarball cannot be unpacked.
    #[error("{id}: the tarball cannot be unpacked")]
    Unpack {
        /// Of which package.
        id: PackageId,
        /// What is wrong with it, or with the disk.
        source: archive::Error,
    },
    /// There is more in the file than an archive and what fills up its last record.
    #[error("{id}: more than {limit} bytes follow the end of the archive")]
    Trailing {
        /// Of which package.
        id: PackageId,
        /// How many may.
        limit: u64,
    },
    /// A file that is not root's would let its owner change what root runs.
    #[error("{id}: {path:?} belongs to user {uid}, group {gid}; everything in a package has to be root's")]
    Owner {
        /// Of which package.
        id: PackageId,
        /// Whose owner it is.
        path: String,
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// It does not say what it is.
    #[error("{0} is no package: it has no pkginfo.json")]
    NoPkgInfo(PackageId),
    /// What the package says about itself cannot be read.
    #[error("{id}: {problem}")]
    PkgInfo {
        /// Of which package.
        id: PackageId,
        /// What is wrong with it.
        problem: PkgInfoProblem,
    },
    /// What the package says about its build is not JSON.
    #[error("{id}: buildinfo.full.json is not JSON: {problem}")]
    BuildInfo {
        /// Of which package.
        id: PackageId,
        /// What is wrong with it.
        problem: String,
    },
    /// The list of what has to be in the package cannot be read.
    #[error("{id}: {problem}")]
    Manifest {
        /// Of which package.
        id: PackageId,
        /// What is wrong with it.
        problem: ManifestProblem,
    },
    /// What is in the package is not what its manifest lists.
    #[error("{id} is not what it was built as: {}", listed(.differences))]
    Damaged {
        /// Which package.
        id: PackageId,
        /// At least one.
        differences: Vec<Difference>,
    },
    /// There is something in the package that no package has.
    #[error("{id}: {problem}")]
    Contents {
        /// Of which package.
        id: PackageId,
        /// What it is.
        problem: ContentsError,
    },
    /// A directory could not be copied.
    #[error(transparent)]
    Copy(#[from] crate::FileError),
    /// Another process writes to the repository.
    #[error("another program writes to {}{}; waited {seconds} s for it", .path.display(), by(*.owner))]
    Locked {
        /// The repository.
        path: PathBuf,
        /// The process, if it is known.
        owner: Option<u32>,
        /// How long was waited.
        seconds: u64,
    },
    /// The file system refused.
    #[error("cannot {attempt} {}", .path.display())]
    Io {
        /// "read", "make directory", ...
        attempt: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// What the message begins with (pkgpanda: main).
    pub(crate) fn prefix(&self) -> &'static str {
        match self {
            Error::Missing(_)
            | Error::NoPkgInfo(_)
            | Error::PkgInfo { .. }
            | Error::BuildInfo { .. }
            | Error::Manifest { .. }
            | Error::Contents { .. }
            | Error::Damaged { .. } => "Package Error: ",
            Error::Active(_) | Error::FileName { .. } => "Validation Error: ",
            _ => "ERROR: ",
        }
    }

    /// Whether it was the tarball that was wrong, so that reading it once more brings nothing.
    pub fn is_of_tarball(&self) -> bool {
        match self {
            Error::Unpack { source, .. } => !matches!(source, archive::Error::Write { .. }),
            Error::Compression { .. }
            | Error::Trailing { .. }
            | Error::Owner { .. }
            | Error::NoPkgInfo(_)
            | Error::PkgInfo { .. }
            | Error::BuildInfo { .. }
            | Error::Manifest { .. }
            | Error::Contents { .. }
            | Error::Damaged { .. } => true,
            _ => false,
        }
    }

    pub(crate) fn io(attempt: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { attempt, path, source }
    }
}

fn by(owner: Option<u32>) -> String {
    owner.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

fn listed(differences: &[Difference]) -> String {
    let mut text: Vec<String> = differences.iter().take(SHOWN).map(Difference::to_string).collect();
    if differences.len() > SHOWN {
        text.push(format!("and {} more", differences.len() - SHOWN));
    }
    text.join(", ")
}
