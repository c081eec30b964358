//! By what the agent tells its clients, and by what its master tells it.

use std::path::{Path, PathBuf};

use api_mesos::{Authentication, Credential, Credentials, CredentialsError, NoCredentials};

use crate::Config;
use crate::http::{READONLY, READWRITE};

/// Why a file of credentials could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be read.
    #[error("read the credentials in {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("use the credentials in {}", .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CredentialsError,
    },
    /// Clients are to be authenticated and there is nothing to tell them by.
    #[error("authenticate clients; --http_credentials is to name the file of their secrets")]
    None(#[from] NoCredentials),
}

/// Who has to prove who they are.
pub(crate) fn of_clients(config: &Config) -> Result<Authentication, Error> {
    let credentials =
        config.http_credentials.as_deref().map(|path| read(path, Credentials::parse)).transpose()?;
    let realms =
        [(config.authenticate_http_readonly, READONLY), (config.authenticate_http_readwrite, READWRITE)];
    let realms = realms.into_iter().filter_map(|(asked, realm)| asked.then_some(realm));
    Ok(Authentication::new(config.auth.clone(), credentials, realms)?)
}

/// What the master is shown, if it is not the cluster's token.
pub(crate) fn credential(config: &Config) -> Result<Option<Credential>, Error> {
    config.credential.as_deref().map(|path| read(path, Credential::parse)).transpose()
}

fn read<T>(path: &Path, parse: impl Fn(&str) -> Result<T, CredentialsError>) -> Result<T, Error> {
    let text = runtime::read_secret(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    parse(&text).map_err(|source| Error::Form { path: path.to_owned(), source })
}
