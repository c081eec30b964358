//! The executor as a process in its container, against an agent that speaks the real protocol.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod agent;
mod checks;
mod image;
mod lifecycle;
mod reconnect;
mod scene;
