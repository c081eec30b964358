//! Builds packages, trees of them and bootstraps.
