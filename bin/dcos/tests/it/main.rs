//! The real program, driven as a user drives it.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod apps;
mod cli;
mod clusters;
mod examples;
mod exec;
mod guest;
mod guide;
mod hosts;
mod images;
mod leftovers;
mod machines;
mod mkpanda;
mod names;
mod networks;
mod nodes;
mod packaged;
mod packages;
mod pkgpanda;
mod pkgpanda_api;
mod plain;
mod reasons;
mod refusals;
mod reservations;
mod survival;
mod traces;
mod units;
mod up;
mod web;
