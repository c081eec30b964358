//! Admin Router before upstreams that speak on real sockets.
// Clippy knows tests only by their attribute, not what they call.
#![allow(clippy::unwrap_used)]

mod access;
mod cluster;
mod follow;
mod packages;
mod proxy;
mod rolling;
mod streams;
