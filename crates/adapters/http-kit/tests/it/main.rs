//! Servers and clients of this crate against each other, and against raw sockets.

mod client;
mod kit;
