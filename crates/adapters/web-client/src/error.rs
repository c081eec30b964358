use std::time::Duration;

use crate::url::{ParseUrlError, Url};

/// Why a call brought no (whole) answer. The texts name the URL, and have no credentials in them.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    /// The text is no URL.
    #[error(transparent)]
    Url(#[from] ParseUrlError),
    /// No address is known for the host.
    #[error("{url}: the name '{host}' cannot be resolved: {why}")]
    Name { url: Url, host: String, why: String },
    /// No address of the host took a connection.
    #[error("{url}: cannot connect to {address}: {why}")]
    Connect { url: Url, address: String, why: String },
    /// No agreement on keys, or a certificate that is not trusted.
    #[error("{url}: TLS with {host} failed: {why}")]
    Tls { url: Url, host: String, why: String },
    /// The certificates to trust cannot be read.
    #[error("cannot read certificates from {path}: {why}")]
    Roots { path: String, why: String },
    /// The proxy is no URL, or did not open a way to the server.
    #[error("{url}: the proxy {proxy} does not help: {why}")]
    Proxy { url: Url, proxy: String, why: String },
    /// The server took the request and did not answer it in time.
    #[error("{url}: no answer within {} s", after.as_secs())]
    NoAnswer { url: Url, after: Duration },
    /// The server closed the connection, or spoke no HTTP.
    #[error("{url}: the connection broke before an answer: {why}")]
    Closed { url: Url, why: String },
    /// The body paused for too long.
    #[error("{url}: nothing came for {} s, after {received} bytes", after.as_secs())]
    Stalled { url: Url, after: Duration, received: u64 },
    /// The body ended before its announced end.
    #[error("{url}: the download broke off after {received} bytes{}: {why}", of(*expected))]
    BrokenOff { url: Url, received: u64, expected: Option<u64>, why: String },
    /// The body is longer than the reader allows.
    #[error("{url}: the answer is longer than the {limit} bytes allowed")]
    TooLong { url: Url, limit: u64 },
    /// Redirects went round and round.
    #[error("{url}: more than {limit} redirects")]
    Redirects { url: Url, limit: u32 },
    /// A redirect led nowhere, or from https to http.
    #[error("{url}: redirected to '{location}', which is not followed: {why}")]
    Redirect { url: Url, location: String, why: &'static str },
}

fn of(expected: Option<u64>) -> String {
    expected.map(|expected| format!(" of {expected}")).unwrap_or_default()
}

impl Error {
    /// Whether trying again may help: the network or the server failed, not what was asked.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Connect { .. }
            | Error::NoAnswer { .. }
            | Error::Closed { .. }
            | Error::Stalled { .. }
            | Error::BrokenOff { .. } => true,
            Error::Url(_)
            | Error::Name { .. }
            | Error::Tls { .. }
            | Error::Roots { .. }
            | Error::Proxy { .. }
            | Error::TooLong { .. }
            | Error::Redirects { .. }
            | Error::Redirect { .. } => false,
        }
    }
}
