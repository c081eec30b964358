//! The program on folders of packages, with its containers: needs root, and says so where it is skipped.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod bootstraps;
mod broken;
mod killed;
mod refusals;
mod remote;
mod same;
mod scene;
mod trees;
