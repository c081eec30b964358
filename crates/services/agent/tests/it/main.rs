//! The agent with real containers and executors, under a master that does as the test says.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod authentication;
mod http;
mod images;
mod master;
mod nested;
mod node;
mod restart;
mod sessions;
mod tasks;
