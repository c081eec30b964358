//! The master core from outside: inputs in, effects out, invariants checked after every input.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod agents;
mod cluster;
mod frameworks;
mod launch;
mod launch_group;
mod maintenance;
mod operations;
mod operators;
mod simulation;
