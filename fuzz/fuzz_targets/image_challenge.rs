//! The header with which a registry demands credentials.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &str| images::fuzz::challenges(header));
