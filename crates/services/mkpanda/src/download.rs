//! Packages that somebody else has built.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use api_pkgpanda::{PackageId, TARBALL_SUFFIX};
use tokio::runtime::Handle;
use tokio::sync::watch;
use web_client::{Call, Url, WebClient};

/// The longest tarball that is taken.
const LIMIT: u64 = 64 << 30;

/// Why a package could not be looked for or taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    /// Someone asked for the end.
    #[error("interrupted")]
    Cancelled,
    /// The repository's URL is none.
    #[error("--repository-url is {url:?}: {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server did not answer, or broke off.
    #[error(transparent)]
    Web(#[from] web_client::Error),
    /// The server refused.
    #[error("{url} answered {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// What came.
        status: u16,
    },
    /// It is too long to be meant.
    #[error("{url} is longer than {LIMIT} bytes")]
    Long {
        /// What was asked for.
        url: String,
    },
    /// A file could not be read or written.
    #[error("cannot {attempt} {}", path.display())]
    File {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

fn failed<'a>(attempt: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DownloadError + 'a {
    move |source| DownloadError::File { attempt, path: path.to_owned(), source }
}

/// A repository: a server, or a folder of this machine.
#[derive(Clone)]
pub(crate) enum Remote {
    /// `http://` or `https://`.
    Server {
        /// Without `/` at its end.
        url: String,
        client: WebClient,
    },
    /// `file://`, or a path.
    Folder(PathBuf),
}

impl Remote {
    /// The repository at `url`. Nothing is asked yet.
    pub(crate) fn parse(url: &str, client: &WebClient) -> Result<Remote, DownloadError> {
        let url = url.trim().trim_end_matches('/');
        if let Some(path) = url.strip_prefix("file://") {
            return Ok(Remote::Folder(path.into()));
        }
        let wrong = |why: String| DownloadError::Url { url: url.to_owned(), why };
        match url.contains("://") {
            true => {
                url.parse::<Url>().map_err(|error| wrong(error.to_string()))?;
                Ok(Remote::Server { url: url.to_owned(), client: client.clone() })
            }
            false if url.is_empty() => {
                Err(wrong("allowed is a URL with http://, https:// or file://, or a path".to_owned()))
            }
            false => Ok(Remote::Folder(url.into())),
        }
    }

    /// Brings a package's tarball to `into`; says whether the repository has it.
    /// A download ends when `cancelled` becomes true.
    pub(crate) fn fetch(
        &self,
        id: &PackageId,
        into: &Path,
        runtime: &Handle,
        cancelled: &watch::Receiver<bool>,
    ) -> Result<bool, DownloadError> {
        let name = format!("packages/{}/{id}{TARBALL_SUFFIX}", id.name());
        match self {
            Remote::Folder(folder) => {
                let from = folder.join(name);
                match fs::copy(&from, into) {
                    Ok(_) => Ok(true),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                    Err(error) => Err(failed("copy", &from)(error)),
                }
            }
            Remote::Server { url, client } => {
                let url = format!("{url}/{name}");
                let mut cancelled = cancelled.clone();
                runtime.block_on(async {
                    tokio::select! {
                        done = download(client, &url, into) => done,
                        Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => Err(DownloadError::Cancelled),
                    }
                })
            }
        }
    }
}

async fn download(client: &WebClient, url: &str, into: &Path) -> Result<bool, DownloadError> {
    let parsed = url
        .parse::<Url>()
        .map_err(|error| DownloadError::Url { url: url.to_owned(), why: error.to_string() })?;
    let answer = client.send(Call::get(parsed)).await?;
    match answer.status.as_u16() {
        200 => {}
        404 => return Ok(false),
        status => return Err(DownloadError::Status { url: url.to_owned(), status }),
    }
    let mut file = File::create(into).map_err(failed("write", into))?;
    let mut body = answer.body;
    while let Some(piece) = body.next().await {
        file.write_all(&piece?).map_err(failed("write", into))?;
        if body.received() > LIMIT {
            return Err(DownloadError::Long { url: url.to_owned() });
        }
    }
    Ok(true)
}
