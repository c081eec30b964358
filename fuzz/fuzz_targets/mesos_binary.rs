//! Protobuf as clients send it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesos_proto::binary::decode_checked;
use mesos_proto::json::to_json;
use mesos_proto::v1::{executor, master, scheduler};

fuzz_target!(|bytes: &[u8]| {
    let _ = decode_checked::<scheduler::Call>(bytes).map(|call| to_json(&call));
    let _ = decode_checked::<executor::Call>(bytes).map(|call| to_json(&call));
    let _ = decode_checked::<master::Call>(bytes).map(|call| to_json(&call));
});
