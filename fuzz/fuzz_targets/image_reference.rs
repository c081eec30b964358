//! Image references as users write them. What is read is written and read again to the same reference.
#![no_main]

use images::Reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(found) = Reference::parse(text) {
        for written in [found.to_string(), found.familiar()] {
            assert_eq!(Reference::parse(&written).as_ref(), Ok(&found), "{text:?}");
        }
    }
});
