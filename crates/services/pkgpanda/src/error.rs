//! What a command failed at.

use std::io;
use std::path::PathBuf;

use api_pkgpanda::IdProblem;
use host::AccountError;
use systemd::SystemdError;

use crate::files::FileError;

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
    /// The package is not in the repository.
    #[error("{id}")]
    Missing {
        /// The package.
        id: String,
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
    /// A user that was there a moment ago is gone.
    #[error("user {user} does not exist: create it (useradd --system {user}) and try again")]
    NoUser {
        /// The user.
        user: String,
    },
    /// A user could not be made.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A file of the host.
    #[error(transparent)]
    File(#[from] FileError),
    /// Units did not stop, start or reload.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// Checks failed after an activation that was to be taken back then.
    #[error("checks failed: {outcome}")]
    Checks {
        /// What was done about it.
        outcome: String,
    },
    /// The repository of packages.
    #[error(transparent)]
    Repository(#[from] crate::repository::Error),
    /// A package could not be fetched.
    #[error(transparent)]
    Fetch(#[from] crate::fetch::FetchError),
    /// What was asked for could not be printed.
    #[error("print")]
    Output(#[from] io::Error),
}

impl Error {
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
