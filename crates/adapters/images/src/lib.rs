//! Container images: registries, tarballs, shared layers.
