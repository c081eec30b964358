//! Frames of the connection between agent and master.
#![no_main]

use agent_link::Decoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    while let Ok(Some(frame)) = decoder.next_frame() {
        let _ = agent_link::encode(&frame);
    }
});
