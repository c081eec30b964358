//! Container networks for real: every test has network namespaces of its own for hosts and containers, and
//! what it sends stays in them. Needs root.

#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod agents;
mod crashes;
mod errors;
mod filters;
mod scene;
mod traffic;
