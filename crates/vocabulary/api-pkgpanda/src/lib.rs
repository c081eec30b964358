//! Host packages in words: ids, pkginfo, manifests, the canonical hash.

pub mod hash;
