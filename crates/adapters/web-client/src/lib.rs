//! HTTP and HTTPS to servers outside the cluster: names, TLS, redirects, credentials, stalls.
//!
//! [`WebClient::send`] sends a [`Call`] and follows redirects; the [`Answer`]'s [`Download`] streams. Names are
//! resolved without the C library, which a static program cannot load plug-ins into. Certificates are checked
//! against the system's bundle and what [`Config::extra_roots`] adds.
//!
//! Invariants: credentials never reach another origin than the one they were meant for, and no error text shows any;
//! nothing waits for ever.
//!
//! Deliberately absent: connections kept between calls, cookies, content codings, HTTP/2, client certificates, and
//! anything about what is downloaded.

mod call;
mod client;
mod config;
mod connection;
mod download;
mod error;
mod names;
mod proxy;
mod tls;
mod url;

pub use call::{Answer, Call};
pub use client::WebClient;
pub use config::Config;
pub use connection::Connection;
pub use download::Download;
pub use error::Error;
pub use url::{ParseUrlError, Url};
