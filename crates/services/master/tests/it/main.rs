//! The master as its clients see it: the real service on a loopback address, driven with raw bytes by
//! requests, a scripted scheduler and a scripted agent. Expected texts are what the real Mesos 1.11.0
//! answered.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;
mod agent_life;
mod agents;
mod authentication;
mod bad_input;
mod documents;
mod fixture;
mod local;
mod operators;
mod raw;
mod requests;
mod scheduler;
mod schedulers;
