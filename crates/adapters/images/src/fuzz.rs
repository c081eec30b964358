//! What fuzzing throws foreign bytes at.

use crate::{DockerConfig, challenge, manifest};

/// Everything that reads a document of an image, a login or a tarball's index.
pub fn documents(bytes: &[u8]) {
    for kind in [None, Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8")] {
        let _ = manifest::document(bytes, kind);
    }
    let _ = manifest::layout_index(bytes);
    let _ = manifest::saved(bytes);
    let _ = manifest::config(bytes);
    let _ = DockerConfig::parse(bytes);
}

/// A registry's challenges.
pub fn challenges(header: &str) {
    let _ = challenge::challenges(header);
}
