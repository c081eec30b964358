//! From JSON to the binary encoding.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use crate::binary::DecodeError;
use crate::table::{Enum, Field, Kind, Label, Message};
use crate::wire::{put_bytes_field, put_fixed32_field, put_fixed64_field, put_varint_field};

pub(super) fn message(
    message: &Message,
    object: &Map<String, Value>,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    for (name, value) in object {
        if let Some(found) = message.field_by_name(name) {
            field(found, value, out)?;
        }
    }
    Ok(())
}

fn field(field: &'static Field, value: &Value, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    match value {
        Value::Null => Ok(()),
        Value::Array(items) if field.label == Label::Repeated => {
            items.iter().try_for_each(|item| self::field(field, item, out))
        }
        Value::Array(_) => unexpected(field, "array"),
        Value::Object(object) => nested(field, object, out),
        Value::String(text) => from_text(field, text, out),
        Value::Number(found) => number(field, found, out),
        Value::Bool(found) if field.kind == Kind::Bool => {
            put_varint_field(field.number, u64::from(*found), out);
            Ok(())
        }
        Value::Bool(_) => unexpected(field, "boolean"),
    }
}

fn nested(field: &'static Field, object: &Map<String, Value>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let Kind::Message(index) = field.kind else { return unexpected(field, "object") };
    let inner = Message::at(index);
    if !inner.map_entry {
        let mut bytes = Vec::new();
        message(inner, object, &mut bytes)?;
        put_bytes_field(field.number, &bytes, out);
        return Ok(());
    }
    let [key, value] = inner.fields else { unreachable!("a map entry is a key and a value") };
    for (name, found) in object {
        let mut entry = Vec::new();
        from_text(key, name, &mut entry)?;
        self::field(value, found, &mut entry)?;
        put_bytes_field(field.number, &entry, out);
    }
    Ok(())
}

fn from_text(field: &'static Field, text: &str, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    match field.kind {
        Kind::String => put_bytes_field(field.number, text.as_bytes(), out),
        Kind::Bytes => {
            let decoded = STANDARD.decode(text).map_err(|_| DecodeError::Base64(field.name))?;
            put_bytes_field(field.number, &decoded, out);
        }
        Kind::Enum(index) => match Enum::at(index).number_of(text) {
            Some(value) => put_varint_field(field.number, i64::from(value) as u64, out),
            None if field.label == Label::Required => return Err(DecodeError::UnknownEnum(text.to_owned())),
            // Binary protobuf drops a value it does not know, too.
            None => {}
        },
        Kind::Bool => {
            let found = match text {
                "true" => true,
                "false" => false,
                _ => return unparsable(field, text, "boolean"),
            };
            put_varint_field(field.number, u64::from(found), out);
        }
        Kind::Message(_) => return unexpected(field, "string"),
        Kind::Double | Kind::Float if matches!(text, "Infinity" | "-Infinity") => {
            let found = if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY };
            put_float(field, found, out);
        }
        _ => match serde_json::from_str::<Number>(text) {
            Ok(found) => return number(field, &found, out),
            Err(_) => return unparsable(field, text, "number"),
        },
    }
    Ok(())
}

fn number(field: &'static Field, number: &Number, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    match field.kind {
        Kind::Double | Kind::Float => put_float(field, number.as_f64().unwrap_or(0.0), out),
        Kind::Int64 => put_varint_field(field.number, as_i64(number) as u64, out),
        Kind::Uint64 => put_varint_field(field.number, as_u64(number), out),
        Kind::Int32 => put_varint_field(field.number, i64::from(as_i64(number) as i32) as u64, out),
        Kind::Uint32 => put_varint_field(field.number, u64::from(as_u64(number) as u32), out),
        Kind::Sint32 => {
            let value = as_i64(number) as i32;
            put_varint_field(field.number, u64::from(((value << 1) ^ (value >> 31)) as u32), out);
        }
        Kind::Sint64 => {
            let value = as_i64(number);
            put_varint_field(field.number, ((value << 1) ^ (value >> 63)) as u64, out);
        }
        Kind::Fixed64 => put_fixed64_field(field.number, as_u64(number), out),
        Kind::Sfixed64 => put_fixed64_field(field.number, as_i64(number) as u64, out),
        Kind::Fixed32 => put_fixed32_field(field.number, as_u64(number) as u32, out),
        Kind::Sfixed32 => put_fixed32_field(field.number, as_i64(number) as u32, out),
        Kind::Bool | Kind::String | Kind::Bytes | Kind::Message(_) | Kind::Enum(_) => {
            return unexpected(field, "number");
        }
    }
    Ok(())
}

fn put_float(field: &Field, value: f64, out: &mut Vec<u8>) {
    if field.kind == Kind::Float {
        put_fixed32_field(field.number, (value as f32).to_bits(), out);
    } else {
        put_fixed64_field(field.number, value.to_bits(), out);
    }
}

/// A fraction is cut off, as a C++ cast does.
fn as_i64(number: &Number) -> i64 {
    match (number.as_i64(), number.as_u64()) {
        (Some(value), _) => value,
        (None, Some(value)) => value as i64,
        (None, None) => number.as_f64().unwrap_or(0.0) as i64,
    }
}

fn as_u64(number: &Number) -> u64 {
    match (number.as_u64(), number.as_i64()) {
        (Some(value), _) => value,
        (None, Some(value)) => value as u64,
        (None, None) => number.as_f64().unwrap_or(0.0) as u64,
    }
}

fn unexpected(field: &'static Field, found: &'static str) -> Result<(), DecodeError> {
    Err(DecodeError::Unexpected { field: field.name, found })
}

fn unparsable(field: &'static Field, text: &str, wanted: &'static str) -> Result<(), DecodeError> {
    let text = text.chars().take(256).collect();
    Err(DecodeError::Unparsable { field: field.name, text, wanted })
}
