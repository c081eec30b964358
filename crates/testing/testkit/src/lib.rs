//! Starts the real program for tests and benchmarks, talks to it as a client would, and tears it down.
//!
//! Everything here blocks and uses no runtime: a test reads from top to bottom. Each cluster has a
//! subnet, a directory and processes of its own, so that tests run side by side.
//!
//! Deliberately absent: stand-ins for our own parts. What a test needs of them it starts for real.

mod cluster;
mod http;
mod machine;
mod network;
mod processes;
mod snapshot;
mod sse;
mod wait;

pub use cluster::{Cluster, Options, own_subnet};
pub use http::{HttpError, Response, request};
pub use machine::{Machine, MachineOptions, Running};
pub use network::in_own_network;
pub use processes::{Process, descendants, pss_kib, running};
pub use snapshot::{Entry, Snapshot};
pub use sse::Events;
pub use wait::{eventually, until};
