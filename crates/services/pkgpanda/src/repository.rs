//! The directory of packages.
