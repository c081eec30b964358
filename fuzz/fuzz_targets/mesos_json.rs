//! JSON as clients send it. What is read is written and read again to the same text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesos_proto::json::{from_json, to_json};
use mesos_proto::v1::scheduler::Call;

fuzz_target!(|text: &[u8]| {
    if let Ok(call) = from_json::<Call>(text) {
        let written = to_json(&call);
        // JSON has no infinity, which a client may give as a string and Mesos writes bare.
        if !written.contains("Infinity") {
            let again = from_json::<Call>(written.as_bytes()).expect("what was written can be read");
            assert_eq!(to_json(&again), written);
        }
    }
});
