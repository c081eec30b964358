//! Containers for real: as root on this machine's own cgroups, and plain ones without any privilege.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod confined;
mod escape;
mod full;
mod hostile;
mod image;
mod nested;
mod network;
mod plain;
mod scene;
mod session;
