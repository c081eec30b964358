//! What packages say about themselves. What is read is written and read again to the same.
#![no_main]

use api_pkgpanda::{PkgInfo, json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(info) = PkgInfo::parse(text) {
        let written = json::pretty(&info.to_json());
        assert_eq!(PkgInfo::parse(&written).as_ref(), Ok(&info), "{written}");
    }
});
