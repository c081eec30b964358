//! App definitions and changes of them as clients post them.
#![no_main]

use api_marathon::AppUpdate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let _ = AppUpdate::parse(body);
    let _ = AppUpdate::parse_all(body);
});
