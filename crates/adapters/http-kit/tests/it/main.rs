//! Servers and clients of this crate against each other, and against raw sockets.
// Clippy knows tests only by their attribute, not what they call.
#![allow(clippy::unwrap_used)]

mod client;
mod kit;
mod server;
mod streams;
mod upgrades;
