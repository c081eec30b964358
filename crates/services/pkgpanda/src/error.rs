//! What a command failed at.

use std::io;
use std::path::PathBuf;

use api_pkgpanda::IdProblem;
use systemd::SystemdError;

use crate::files::FileError;
use crate::{Config, repository};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the id of a package.
    #[error(transparent)]
    Id(#[from] IdProblem),
    /// Packages that cannot be active together here: all that is wrong.
    #[error("{}", .0.join("\n"))]
    Set(Vec<String>),
    /// There is nothing that a swap could replace.
    #[error("No package with name {name} currently active to swap with.")]
    NotActive {
        /// The package's name.
        name: String,
    },
    /// An active package cannot be removed.
    #[error("Refusing to remove active package {id}")]
    Active {
        /// The package.
        id: String,
    },
    /// An active package is not in the repository.
    #[error("{id}")]
    Missing {
        /// The package.
        id: String,
    },
    /// A host cannot become a node as was asked: all that is wrong.
    #[error("the host is left as it was:{}", .0.iter().map(|what| format!("\n  {what}")).collect::<String>())]
    Bootstrap(Vec<String>),
    /// What a server says the hash of a bootstrap is.
    #[error(
        "{name} says {found:?}, and not the 64 hexadecimal digits of a SHA-256: \
         upload the bootstrap anew, or give its hash with --sha256"
    )]
    NoHash {
        /// The file, below the repository's URL.
        name: String,
        /// How it begins.
        found: String,
    },
    /// The units of a bootstrap ran, and there is no node.
    #[error(
        "{unit} ended without a node: {problem}; \
         when that is repaired, run the same command again (journalctl -u {unit} tells more)"
    )]
    NoNode {
        /// The unit.
        unit: &'static str,
        /// What is missing.
        problem: String,
    },
    /// Nothing is installed in the root.
    #[error("Install directory {} has no active folder. Has it been bootstrapped?", .root.display())]
    NotInstalled {
        /// The root.
        root: PathBuf,
    },
    /// The original left a deployment half done.
    #[error(
        "Broken past deploy. {root}/active.new is what was to be active, {root}/active.old what was: \
         make one of them {root}/active, or run `pkgpanda activate` with the ids that are wanted",
        root = .root.display()
    )]
    Broken {
        /// The root.
        root: PathBuf,
    },
    /// No set is kept that could come back.
    #[error("there is no last good set of packages to go back to: activate the packages that are wanted")]
    NothingToRollBackTo,
    /// A set was not good when it was active.
    #[error("{failure}; {outcome}")]
    NoGood {
        /// What showed it.
        failure: String,
        /// What was done about it.
        outcome: String,
    },
    /// A change was interrupted, and this process may not recover it.
    #[error("a change of {} was interrupted: run `pkgpanda active` as root, which finishes it or takes it back", .root.display())]
    Interrupted {
        /// The root.
        root: PathBuf,
        /// Why not.
        source: activation::Error,
    },
    /// The active set has its units elsewhere.
    #[error(
        "units of the active packages are linked in {recorded}, not in {asked}: \
         say the same about --rooted-systemd as before, or uninstall first"
    )]
    OtherUnits {
        /// Where they are.
        recorded: String,
        /// Where they would be by the options.
        asked: String,
    },
    /// The host does not run systemd.
    #[error(
        "systemd does not run on this host ({0}): use --no-systemd, with which nothing but the links of units is changed"
    )]
    NoSystemd(String),
    /// A file of the host's configuration is wrong.
    #[error("{}: {problem}", .path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// What was found, and what is allowed.
        problem: String,
    },
    /// Something that must not be removed.
    #[error("Cowardly refusing to rm -rf '/' as part of uninstall.")]
    UninstallTop,
    /// Something that is no root.
    #[error("{} holds nothing that pkgpanda installed: nothing is removed there", .root.display())]
    UninstallForeign {
        /// What was given as the root.
        root: PathBuf,
    },
    /// All is removed but what is told.
    #[error("not all could be removed:\n{}", .0.join("\n"))]
    Left(Vec<String>),
    /// The directory of packages.
    #[error(transparent)]
    Repository(#[from] repository::Error),
    /// The root.
    #[error(transparent)]
    Root(#[from] activation::Error),
    /// A file of the host.
    #[error(transparent)]
    File(#[from] FileError),
    /// Units did not stop, start or reload.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// A package could not be fetched.
    #[error(transparent)]
    Fetch(#[from] crate::fetch::FetchError),
    /// What was asked for could not be printed, or a check's directory not be read.
    #[error("read or print")]
    Io(#[from] io::Error),
}

impl Error {
    /// What is to be done, where the message is one that pkgpanda always told and says nothing of it.
    pub(crate) fn hint(&self, config: &Config) -> Option<String> {
        let id = match self {
            Error::Missing { id } => id.as_str(),
            Error::Repository(repository::Error::Missing(id)) => id.as_str(),
            _ => return None,
        };
        let repository = config.repository.display();
        Some(format!(
            "{id} is not in the repository {repository}: `pkgpanda fetch --repository-url=URL {id}` or \
             `pkgpanda add {id}.tar.xz` brings it there"
        ))
    }

    /// What the message begins with (pkgpanda: main).
    pub(crate) fn prefix(&self) -> &'static str {
        match self {
            Error::Id(_) | Error::Set(_) | Error::NotActive { .. } | Error::Active { .. } => {
                "Validation Error: "
            }
            Error::Missing { .. } => "Package Error: ",
            Error::Repository(error) => error.prefix(),
            _ => "ERROR: ",
        }
    }
}
