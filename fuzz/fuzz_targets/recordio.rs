//! A stream of records, in arrivals of any size: the first byte says of which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesos_proto::recordio::Decoder;

fuzz_target!(|bytes: &[u8]| {
    let Some((size, stream)) = bytes.split_first() else { return };
    let mut decoder = Decoder::new(1 << 16);
    for arrived in stream.chunks(usize::from(*size).max(1)) {
        decoder.push(arrived);
        loop {
            match decoder.next_record() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
});
