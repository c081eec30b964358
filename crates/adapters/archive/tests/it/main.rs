//! Archives into directories.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bad;
mod bombs;
mod builder;
mod formats;
mod layers;
mod model;
mod pack;
mod sandbox;

use std::path::Path;

use archive::{Error, Limits, Options, Unpacked};

const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 1000 };

fn sandbox(tar: &[u8], into: &Path) -> Result<Unpacked, Error> {
    archive::unpack_tar(tar, into, &Options::sandbox(LIMITS, None))
}

fn layer(tar: &[u8], into: &Path) -> Result<Unpacked, Error> {
    archive::unpack_tar(tar, into, &Options::layer(LIMITS))
}

/// Whether this test may make devices; says so if not.
fn root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIP {test}: needs root");
    }
    root
}

/// An error with its causes, as a user sees it.
fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
