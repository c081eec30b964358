//! Images from a real registry, from registries that lie, and from tarballs.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

mod docker_registry;
mod fake;
mod kit;
mod liars;
mod registry;
mod store;
mod tarballs;
