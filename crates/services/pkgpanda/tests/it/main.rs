//! Whole commands on hosts of their own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod activation;
mod api;
mod bootstrap;
mod commands;
mod crash;
mod host;
mod scene;
mod setup;
