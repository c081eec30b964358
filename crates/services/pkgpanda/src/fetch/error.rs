use std::io;
use std::path::PathBuf;

use http_kit::StatusCode;
use web_client::Url;

use crate::repository;

/// Why a package could not be fetched, and what can be done about it. No text has credentials in it.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not the place of a repository.
    #[error(
        "'{url}' is no repository URL: {why}; allowed are http://HOST/PATH, https://HOST/PATH, file:///PATH and a path"
    )]
    Origin {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server answered with something else than the package.
    #[error("{url}: the server answered {status}: {}", advice(*.status))]
    Status {
        /// What was asked for.
        url: Url,
        /// What it answered.
        status: StatusCode,
    },
    /// No answer, or no whole one.
    #[error("{error}; {}", advice_on(.error))]
    Web {
        /// What happened, with the URL.
        error: web_client::Error,
    },
    /// The server's answers do not fit together.
    #[error(
        "{url}: {found} bytes came instead of {expected}: fetch again, and look at the server if it stays so"
    )]
    Size {
        /// What was asked for.
        url: Url,
        /// How many came.
        found: u64,
        /// How many were announced.
        expected: u64,
    },
    /// More than any package has.
    #[error("{url}: it has more than {limit} bytes, which no package has: is the repository URL right?")]
    TooLarge {
        /// What was asked for.
        url: Url,
        /// How many it may have.
        limit: u64,
    },
    /// More than what was asked for may have.
    #[error("{name} has more than {limit} bytes: is the repository URL right?")]
    NotSmall {
        /// The file.
        name: String,
        /// How many bytes it may have.
        limit: usize,
    },
    /// What came is no package, or another one.
    #[error("{url}: {}; the file was removed: build or upload the package anew", base::with_causes(.problem))]
    Tarball {
        /// Where it came from.
        url: Url,
        /// What is wrong with it.
        problem: repository::Error,
    },
    /// It could not be put into the repository.
    #[error(transparent)]
    Repository(#[from] repository::Error),
    /// Another process downloads it.
    #[error("{} is being downloaded by another program; waited {seconds} s for it", .path.display())]
    Locked {
        /// The part file.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// The part file could not be written.
    #[error("cannot {attempt} {}", .path.display())]
    Store {
        /// "write", ...
        attempt: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Nothing to wait with.
    #[error("cannot start a download")]
    Runtime(#[source] io::Error),
}

impl FetchError {
    /// Whether trying again may help: the network or the server failed, not what was asked.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            FetchError::Web { error } => error.is_transient(),
            FetchError::Status { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 408 | 429)
            }
            FetchError::Size { .. } => true,
            _ => false,
        }
    }

    /// Whether the disk is full.
    pub(crate) fn is_no_space(&self) -> bool {
        let FetchError::Store { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    pub(crate) fn store(
        attempt: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> FetchError {
        let path = path.into();
        move |source| FetchError::Store { attempt, path, source }
    }
}

fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        404 | 410 => "the repository does not have it; are URL and id right, and was it uploaded?",
        401 | 403 => "it demands a login: give it in the URL, as in https://USER:PASSWORD@HOST/PATH",
        408 | 429 | 500.. => "it has a problem of its own; try again later",
        200..=399 => "only 200 and 206 bring a package; is the URL that of a repository?",
        _ => "it does not like the request; is the URL that of a repository?",
    }
}

fn advice_on(error: &web_client::Error) -> &'static str {
    use web_client::Error;
    match error {
        Error::Name { .. } => "is the host's name right, and does this machine reach a name server?",
        Error::Connect { .. } | Error::Proxy { .. } => {
            "is the server up, and is it reached from this machine?"
        }
        Error::Tls { .. } | Error::Roots { .. } => {
            "does this machine trust the server's certificate (/etc/ssl/certs), and is its clock right?"
        }
        Error::Stalled { .. } | Error::BrokenOff { .. } => {
            "what came is kept, and fetching again goes on from there"
        }
        Error::NoAnswer { .. } | Error::Closed { .. } => "try again later, or look at the server",
        Error::Url(_) | Error::TooLong { .. } | Error::Redirects { .. } | Error::Redirect { .. } => {
            "is the repository URL right?"
        }
    }
}
