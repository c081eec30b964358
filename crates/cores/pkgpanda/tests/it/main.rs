//! Plans against a naive model of a tree; what does not fit together.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod model;
mod plans;
mod sets;
mod units;

use api_pkgpanda::{Kind, PkgInfo, Requirement};
use pkgpanda_core::Package;

/// A package of these files; those that end with `/` are directories.
fn package(id: &str, requires: &[&str], paths: &[&str]) -> Package {
    let mut package = Package::new(id.parse().unwrap());
    let required = |name: &&str| Requirement { name: (*name).to_owned(), variant: None };
    package.info = PkgInfo { requires: requires.iter().map(required).collect(), ..PkgInfo::default() };
    for path in paths {
        match path.strip_suffix('/') {
            Some(directory) => package.contents.add(directory, Kind::Directory),
            None => package.contents.add(path, Kind::File),
        }
    }
    package
}
