//! The binary encoding, refusing what protobuf for C++ refuses: a message without a required field.

use prost::Name;

use crate::table::{Field, Kind, Label, Message};
use crate::wire::{Reader, Value};

/// Why bytes or JSON are no message. The texts are Mesos'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no protobuf, or a field has another type.
    #[error("not a protobuf message")]
    Malformed,
    /// The text is no JSON.
    #[error("syntax error at line {line} near: {near}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// The rest of that line.
        near: String,
    },
    /// The JSON is a list, string, number, boolean or null.
    #[error("Expecting a JSON object")]
    NotAnObject,
    /// The JSON is no list.
    #[error("Expecting a JSON array")]
    NotAList,
    /// The JSON value of a field has a type that the field cannot take.
    #[error("Not expecting a JSON {found} for field '{field}'")]
    Unexpected {
        /// The field's name, without those it lies in.
        field: &'static str,
        /// The JSON type found.
        found: &'static str,
    },
    /// A required field has a name that its enum does not know.
    #[error("Failed to find enum for '{0}'")]
    UnknownEnum(String),
    /// A string stands where a number or boolean belongs and does not read as one.
    #[error("Failed to parse '{text}' as a JSON {wanted} for field '{field}'")]
    Unparsable {
        /// The field's name.
        field: &'static str,
        /// The text found.
        text: String,
        /// What it had to read as.
        wanted: &'static str,
    },
    /// A field of bytes is not in base64.
    #[error("Failed to base64 decode bytes field '{0}'")]
    Base64(&'static str),
    /// Required fields, each by its path, are not set.
    #[error("Missing required fields: {}", .0.join(", "))]
    Missing(Vec<String>),
}

/// Decodes a message in which every required field is set, at every depth.
///
/// # Errors
/// [`DecodeError::Malformed`] or [`DecodeError::Missing`].
pub fn decode_checked<T: prost::Message + Name + Default>(bytes: &[u8]) -> Result<T, DecodeError> {
    check_initialized(Message::of::<T>(), bytes)?;
    T::decode(bytes).map_err(|_| DecodeError::Malformed)
}

/// Encodes a message.
pub fn encode<T: prost::Message>(message: &T) -> Vec<u8> {
    message.encode_to_vec()
}

/// As deep as prost decodes.
const NESTED: usize = 100;
/// No more missing fields than this are named.
const NAMED: usize = 16;

pub(crate) fn check_initialized(message: &Message, bytes: &[u8]) -> Result<(), DecodeError> {
    let mut missing = Vec::new();
    find_missing(message, bytes, "", NESTED, &mut missing)?;
    if missing.is_empty() { Ok(()) } else { Err(DecodeError::Missing(missing)) }
}

/// Required fields come first, then those inside of messages, as protobuf's own list has them.
fn find_missing(
    message: &Message,
    bytes: &[u8],
    path: &str,
    depth: usize,
    missing: &mut Vec<String>,
) -> Result<(), DecodeError> {
    if depth == 0 {
        return Err(DecodeError::Malformed);
    }
    let mut seen = [0u64; 2];
    let mut reader = Reader::new(bytes);
    let mut has_messages = false;
    while let Some((number, _)) = reader.next().map_err(|_| DecodeError::Malformed)? {
        if let Some((place, field)) = message.field_by_number(number) {
            seen[place / 64 % 2] |= 1 << (place % 64);
            has_messages |= matches!(field.kind, Kind::Message(_));
        }
    }
    for (place, field) in message.fields.iter().enumerate() {
        let is_set = seen[place / 64 % 2] & (1 << (place % 64)) != 0;
        if field.label == Label::Required && !is_set && missing.len() < NAMED {
            missing.push(format!("{path}{}", field.name));
        }
    }
    if has_messages { find_missing_inside(message, bytes, path, depth, missing) } else { Ok(()) }
}

fn find_missing_inside(
    message: &Message,
    bytes: &[u8],
    path: &str,
    depth: usize,
    missing: &mut Vec<String>,
) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut occurrences = vec![0usize; message.fields.len()];
    while let Some((number, value)) = reader.next().map_err(|_| DecodeError::Malformed)? {
        let Some((place, Field { kind: Kind::Message(index), label, name, .. })) =
            message.field_by_number(number)
        else {
            continue;
        };
        let Value::Bytes(inner) = value else { return Err(DecodeError::Malformed) };
        let before = missing.len();
        find_missing(Message::at(*index), inner, "", depth - 1, missing)?;
        for found in &mut missing[before..] {
            *found = match label {
                Label::Repeated => format!("{path}{name}[{}].{found}", occurrences[place]),
                _ => format!("{path}{name}.{found}"),
            };
        }
        occurrences[place] += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::MESSAGES;
    use crate::v1::{self, scheduler};

    #[test]
    fn no_message_has_more_fields_than_are_tracked() {
        assert!(MESSAGES.iter().all(|message| message.fields.len() <= 128));
    }

    #[test]
    fn what_is_complete_comes_back() {
        let call = scheduler::Call {
            framework_id: Some(v1::FrameworkId { value: "f".into() }),
            r#type: Some(scheduler::call::Type::Teardown as i32),
            ..Default::default()
        };
        assert_eq!(decode_checked::<scheduler::Call>(&encode(&call)), Ok(call));
    }

    #[test]
    fn every_missing_required_field_is_named_by_its_path() {
        // offers { url { path: "/" } } with neither ids nor address
        let offer = [0x62, 0x03, 0x1a, 0x01, b'/'];
        let mut event = vec![0x1a, 7, 0x0a, 5];
        event.extend(offer);
        let refused = decode_checked::<scheduler::Event>(&event).unwrap_err();
        let DecodeError::Missing(fields) = &refused else { panic!("{refused}") };
        assert_eq!(fields.first().map(String::as_str), Some("offers.offers[0].id"));
        assert!(fields.iter().any(|field| field == "offers.offers[0].hostname"), "{refused}");
        assert!(refused.to_string().starts_with("Missing required fields: offers.offers[0].id, "));
    }

    #[test]
    fn bytes_that_are_no_protobuf_are_refused() {
        for bytes in
            [&b"\xff\xff"[..], b"\x0a\x05ab", b"\x00\x01", b"\x0f", b"\x0a\x02\x0a\x05", b"\x0b\x0b\x0b"]
        {
            assert_eq!(decode_checked::<scheduler::Call>(bytes), Err(DecodeError::Malformed), "{bytes:?}");
        }
    }
}
