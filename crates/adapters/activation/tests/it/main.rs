//! Real trees on a real file system: killed after every single change, on full disks, laid out by the original.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod changes;
mod crash;
mod full;
mod site;
mod takeover;
