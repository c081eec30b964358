//! Manifests of host packages, which come out of tarballs.
#![no_main]

use api_pkgpanda::{Contents, Manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let contents = Contents::of_manifest(bytes);
    if let Ok(manifest) = Manifest::parse(bytes) {
        assert!(contents.is_ok(), "what is a manifest has contents");
        assert_eq!(Manifest::parse(manifest.to_text().as_bytes()), Ok(manifest));
    }
});
