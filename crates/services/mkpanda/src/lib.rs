//! Builds packages, trees of them and bootstraps.
//!
//! Deliberately absent: what packages, ids and trees *are* (that is `mkpanda-core`), and everything that is done
//! with a package on the host it is for (that is `pkgpanda`).

pub mod folder;
pub mod image;
pub mod sources;
