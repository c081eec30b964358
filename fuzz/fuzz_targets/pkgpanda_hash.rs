//! The canonical hash of any JSON. How the JSON is laid out does not change it, nor does the order of keys.
#![no_main]

use api_pkgpanda::{hash, json};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// The same value, its keys put in from the last to the first.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().rev().map(|(key, value)| (key.clone(), reversed(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().rev().map(reversed).collect(),
        other => other.clone(),
    }
}

fuzz_target!(|text: &str| {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    let Ok(found) = hash::canonical(&value) else { return };
    assert_eq!(hash::canonical(&reversed(&value)).as_ref(), Ok(&found));
    let written = serde_json::from_str::<Value>(&json::pretty(&value)).expect("it is written as JSON");
    assert_eq!(hash::canonical(&written), Ok(found));
});
