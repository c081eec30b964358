//! Resources in their text form. What is read is written and read again to the same resources.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resources::Resources;

fuzz_target!(|text: &str| {
    if let Ok(found) = Resources::parse(text) {
        let written = found.to_string();
        // Nothing and reservations are written for people, as Mesos writes them.
        if written != "{}" && !written.contains("(reservations") {
            assert_eq!(Resources::parse(&written).as_ref(), Ok(&found), "{text:?}");
        }
    }
});
