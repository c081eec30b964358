//! The HTTP words that Mesos' master and agent share: the JSON of the v0 API, which encodings a client
//! may use, the version. And what docker's options mean here: [`docker_parameters`].
//!
//! The v0 API is not protobuf's JSON: it has shapes of its own, written by [`json`] and [`messages`] byte
//! for byte as Mesos prints them. The v1 API's JSON is in `mesos-proto`.
//!
//! Deliberately absent: routes, states and the rules behind them.

mod authentication;
pub mod docker_parameters;
pub mod json;
pub mod logging;
pub mod messages;
mod mode;
mod negotiation;
mod query;
pub mod version;

pub use authentication::{
    Authentication, Credential, Credentials, CredentialsError, NoCredentials, Unproved,
};
pub use mode::mode_text;
pub use negotiation::{Encoding, accepts};
pub use query::Query;
