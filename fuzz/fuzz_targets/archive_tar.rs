//! A tar, compressed or not, into a directory with a neighbour that has to stay as it is. The first
//! byte says for whom.
#![no_main]

use std::fs;

use archive::{Compression, Limits, Options, unpack_tar};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((whom, bytes)) = bytes.split_first() else { return };
    let around = tempfile::tempdir().expect("there is a place for files");
    let (into, neighbour) = (around.path().join("into"), around.path().join("neighbour"));
    fs::create_dir(&into).expect("it is new");
    fs::write(&neighbour, "untouched").expect("it can be written");
    let limits = Limits { bytes: 1 << 16, entries: 100 };
    let mut options = if whom & 1 == 0 { Options::sandbox(limits, None) } else { Options::layer(limits) };
    // Devices of this machine are not for chance to make.
    options.devices = false;
    let reader = Compression::detect(bytes).and_then(|detected| detected.reader());
    if let Ok(unpacked) = reader.and_then(|reader| unpack_tar(reader, &into, &options)) {
        assert!(unpacked.bytes <= limits.bytes && unpacked.entries <= limits.entries);
    }
    assert_eq!(fs::read(&neighbour).expect("it is there"), b"untouched");
    assert_eq!(fs::read_dir(around.path()).expect("it is there").count(), 2);
});
