//! A zip into a directory with a neighbour that has to stay as it is.
#![no_main]

use std::fs;
use std::io::Cursor;

use archive::{Limits, Options, unpack_zip};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let around = tempfile::tempdir().expect("there is a place for files");
    let (into, neighbour) = (around.path().join("into"), around.path().join("neighbour"));
    fs::create_dir(&into).expect("it is new");
    fs::write(&neighbour, "untouched").expect("it can be written");
    let limits = Limits { bytes: 1 << 16, entries: 100 };
    if let Ok(unpacked) = unpack_zip(Cursor::new(bytes), &into, &Options::sandbox(limits, None)) {
        assert!(unpacked.bytes <= limits.bytes && unpacked.entries <= limits.entries);
    }
    assert_eq!(fs::read(&neighbour).expect("it is there"), b"untouched");
    assert_eq!(fs::read_dir(around.path()).expect("it is there").count(), 2);
});
