//! Manifests, indexes, configurations and docker's logins as strangers serve them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| images::fuzz::documents(bytes));
