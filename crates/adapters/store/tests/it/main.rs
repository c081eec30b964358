//! The contract of the store, on every backend; and what only the durable one promises.

#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod conformance;
mod crash;
mod embedded;
