//! What tests stand on.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod machines;
