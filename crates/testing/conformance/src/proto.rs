//! Protobuf without its definition: fields by number, for comparing.

use serde_json::{Map, Value, json};

/// How deep messages may lie in one another.
const DEPTH: usize = 32;

/// The fields of a message by their numbers; the bytes as text if it is none.
pub(crate) fn tree(bytes: &[u8]) -> Value {
    message(bytes, DEPTH).unwrap_or_else(|| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}

fn message(mut bytes: &[u8], depth: usize) -> Option<Value> {
    let mut fields = Map::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let value = match tag & 7 {
            0 => json!(varint(&mut bytes)?),
            1 => json!(f64::from_le_bytes(take(&mut bytes, 8)?.try_into().ok()?)),
            5 => json!(u32::from_le_bytes(take(&mut bytes, 4)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                inner(take(&mut bytes, length)?, depth)
            }
            _ => return None,
        };
        if tag >> 3 == 0 {
            return None;
        }
        let list = fields.entry((tag >> 3).to_string()).or_insert_with(|| Value::Array(Vec::new()));
        list.as_array_mut()?.push(value);
    }
    Some(Value::Object(fields))
}

/// A text if it reads like one, else a message, else bytes.
fn inner(bytes: &[u8], depth: usize) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|character| character.is_control() && character != '\n') => text.into(),
        _ if depth > 0 => message(bytes, depth - 1).unwrap_or_else(|| format!("{bytes:?}").into()),
        _ => format!("{bytes:?}").into(),
    }
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_without_their_definition() {
        assert_eq!(tree(b"\x08\x01\x12\x02\x08\x01"), json!({"1": [1], "2": [{"1": [1]}]}));
        assert_eq!(tree(b"\x12\x04root"), json!({"2": ["root"]}));
        assert_eq!(tree(b"text"), json!("text"));
    }
}
