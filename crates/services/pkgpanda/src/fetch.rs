//! Downloads of packages.
