//! Mesos' JSON (Mesos: stout/protobuf.hpp): names as declared, enums by name, bytes in base64, 64-bit
//! integers as numbers, doubles always with a fraction, fields that have a default written even when
//! they are not set, unknown fields ignored.

mod read;
mod write;

#[cfg(test)]
mod tests;

use prost::Name;

use crate::binary::{DecodeError, check_initialized};
use crate::table::Message;

/// Reads a message from JSON text.
///
/// # Errors
/// Any [`DecodeError`]; its text is what Mesos says.
pub fn from_json<T: prost::Message + Name + Default>(text: &[u8]) -> Result<T, DecodeError> {
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| syntax(text, &error))?;
    from_value(&value)
}

/// Reads a list of messages from JSON text.
///
/// # Errors
/// Any [`DecodeError`]; its text is what Mesos says.
pub fn from_json_list<T: prost::Message + Name + Default>(text: &[u8]) -> Result<Vec<T>, DecodeError> {
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| syntax(text, &error))?;
    let serde_json::Value::Array(list) = value else { return Err(DecodeError::NotAList) };
    list.iter().map(from_value).collect()
}

/// Reads a message from JSON that is already parsed.
///
/// # Errors
/// Any [`DecodeError`] but [`DecodeError::Syntax`].
pub fn from_value<T: prost::Message + Name + Default>(value: &serde_json::Value) -> Result<T, DecodeError> {
    let serde_json::Value::Object(object) = value else { return Err(DecodeError::NotAnObject) };
    let message = Message::of::<T>();
    let mut bytes = Vec::new();
    read::message(message, object, &mut bytes)?;
    check_initialized(message, &bytes)?;
    T::decode(&*bytes).map_err(|_| DecodeError::Malformed)
}

/// The message as JSON text.
pub fn to_json<T: prost::Message + Name>(message: &T) -> String {
    let mut out = Vec::new();
    write_json(message, &mut out);
    String::from_utf8(out).expect("the writer puts strings of strings together")
}

/// Appends the message as JSON text to `out`.
pub fn write_json<T: prost::Message + Name>(message: &T, out: &mut Vec<u8>) {
    write::message(Message::of::<T>(), &message.encode_to_vec(), out);
}

/// Appends `number` as Mesos writes doubles: the shortest digits that read back the same, and `.0`
/// behind a whole number.
pub fn write_f64(number: f64, out: &mut Vec<u8>) {
    write::double(number, out);
}

/// Appends `text` as a JSON string with its quotes.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    write::string(text, out);
}

fn syntax(text: &[u8], error: &serde_json::Error) -> DecodeError {
    let rest = text.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let near = rest.get(error.column().saturating_sub(1)..).unwrap_or_default();
    let near = String::from_utf8_lossy(&near[..near.len().min(256)]).into_owned();
    DecodeError::Syntax { line: error.line().max(1), near }
}
