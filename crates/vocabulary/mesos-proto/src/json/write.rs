//! From the binary encoding to JSON.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::table::{Enum, Field, Kind, Label, Message};
use crate::wire::{Malformed, PackedWidth, Reader, Value};

/// A field found in the bytes, by its place in the declaration.
#[derive(Clone, Copy)]
struct Found<'a> {
    place: usize,
    value: Value<'a>,
}

pub(super) fn message(message: &Message, bytes: &[u8], out: &mut Vec<u8>) {
    Writer { found: Vec::with_capacity(32), out }.message(message, bytes);
}

/// One list of found fields serves all depths: each message uses what lies behind its start.
struct Writer<'a, 'o> {
    found: Vec<Found<'a>>,
    out: &'o mut Vec<u8>,
}

impl<'a> Writer<'a, '_> {
    fn message(&mut self, message: &Message, bytes: &'a [u8]) {
        let start = self.found.len();
        let collected = self.collect(message, bytes);
        debug_assert!(collected.is_ok(), "{} was encoded by prost", message.name);
        // Stable: the elements of a list keep their order.
        self.found[start..].sort_by_key(|found| found.place);
        let end = self.found.len();
        self.out.push(b'{');
        let mut next = start;
        let mut first = true;
        for (place, field) in message.fields.iter().enumerate() {
            let from = next;
            while next < end && self.found[next].place == place {
                next += 1;
            }
            if from == next && field.default.is_none() {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            string(field.name, self.out);
            self.out.push(b':');
            match field.default {
                Some(default) if from == next => self.out.extend_from_slice(default.as_bytes()),
                _ => self.field(field, from, next),
            }
        }
        self.out.push(b'}');
        self.found.truncate(start);
    }

    fn collect(&mut self, message: &Message, bytes: &'a [u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.next()? {
            let Some((place, field)) = message.field_by_number(number) else { continue };
            match (value, packed_width(field)) {
                (Value::Bytes(list), Some(width)) => {
                    let mut elements = Reader::new(list);
                    while let Some(value) = elements.next_packed(width)? {
                        self.found.push(Found { place, value });
                    }
                }
                // An enum value that the definitions do not know counts as not set.
                (Value::Varint(number), _) if is_unknown_enum(field, number) => {}
                _ => self.found.push(Found { place, value }),
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, from: usize, to: usize) {
        if field.label != Label::Repeated {
            return self.value(field, self.found[to - 1].value);
        }
        if let Kind::Message(index) = field.kind
            && Message::at(index).map_entry
        {
            return self.map(Message::at(index), from, to);
        }
        self.out.push(b'[');
        for at in from..to {
            if at > from {
                self.out.push(b',');
            }
            self.value(field, self.found[at].value);
        }
        self.out.push(b']');
    }

    fn map(&mut self, entry: &Message, from: usize, to: usize) {
        self.out.push(b'{');
        for at in from..to {
            if at > from {
                self.out.push(b',');
            }
            let Value::Bytes(bytes) = self.found[at].value else { continue };
            self.map_entry(entry, bytes);
        }
        self.out.push(b'}');
    }

    fn map_entry(&mut self, entry: &Message, bytes: &'a [u8]) {
        let [key_field, value_field] = entry.fields else { return };
        let (mut key, mut value) = (Value::Bytes(b""), None);
        let mut reader = Reader::new(bytes);
        while let Ok(Some((number, found))) = reader.next() {
            if number == key_field.number {
                key = found;
            } else if number == value_field.number {
                value = Some(found);
            }
        }
        self.value(key_field, key);
        self.out.push(b':');
        match (value, value_field.kind) {
            (Some(value), _) => self.value(value_field, value),
            (None, Kind::Message(index)) => self.message(Message::at(index), b""),
            (None, _) => self.out.extend_from_slice(b"\"\""),
        }
    }

    fn value(&mut self, field: &Field, value: Value<'a>) {
        match (field.kind, value) {
            (Kind::Message(index), Value::Bytes(bytes)) => self.message(Message::at(index), bytes),
            (Kind::String, Value::Bytes(bytes)) => string(&String::from_utf8_lossy(bytes), self.out),
            (Kind::Bytes, Value::Bytes(bytes)) => string(&STANDARD.encode(bytes), self.out),
            (Kind::Enum(index), Value::Varint(number)) => {
                string(Enum::at(index).name_of(number as i32).unwrap_or_default(), self.out);
            }
            (Kind::Bool, Value::Varint(number)) => {
                self.out.extend_from_slice(if number != 0 { b"true" } else { b"false" });
            }
            (Kind::Double, Value::Fixed64(bits)) => double(f64::from_bits(bits), self.out),
            (Kind::Float, Value::Fixed32(bits)) => double(f64::from(f32::from_bits(bits)), self.out),
            (Kind::Int64, Value::Varint(number)) => display(number as i64, self.out),
            (Kind::Int32, Value::Varint(number)) => display(number as i32, self.out),
            (Kind::Uint64, Value::Varint(number)) => display(number, self.out),
            (Kind::Uint32, Value::Varint(number)) => display(number as u32, self.out),
            (Kind::Sint32, Value::Varint(number)) => display(unzigzag(number) as i32, self.out),
            (Kind::Sint64, Value::Varint(number)) => display(unzigzag(number), self.out),
            (Kind::Fixed64, Value::Fixed64(number)) => display(number, self.out),
            (Kind::Sfixed64, Value::Fixed64(number)) => display(number as i64, self.out),
            (Kind::Fixed32, Value::Fixed32(number)) => display(number, self.out),
            (Kind::Sfixed32, Value::Fixed32(number)) => display(number as i32, self.out),
            _ => self.out.extend_from_slice(b"null"),
        }
    }
}

fn is_unknown_enum(field: &Field, number: u64) -> bool {
    matches!(field.kind, Kind::Enum(index) if Enum::at(index).name_of(number as i32).is_none())
}

fn packed_width(field: &Field) -> Option<PackedWidth> {
    if field.label != Label::Repeated {
        return None;
    }
    match field.kind {
        Kind::String | Kind::Bytes | Kind::Message(_) => None,
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Some(PackedWidth::Fixed64),
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Some(PackedWidth::Fixed32),
        _ => Some(PackedWidth::Varint),
    }
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn display(number: impl std::fmt::Display, out: &mut Vec<u8>) {
    write!(out, "{number}").expect("a Vec takes all that is written");
}

/// As rapidjson's writer with its flag for infinities, which Mesos uses.
pub(super) fn double(number: f64, out: &mut Vec<u8>) {
    if number.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if number.is_infinite() {
        out.extend_from_slice(if number > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else if number != 0.0 && !(1e-6..1e21).contains(&number.abs()) {
        display(format_args!("{number:e}"), out);
    } else {
        let start = out.len();
        display(number, out);
        if !out[start..].contains(&b'.') {
            out.extend_from_slice(b".0");
        }
    }
}

pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push(b'"');
    let mut clean_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            0x08 => b"\\b",
            0x0c => b"\\f",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => &[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]],
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[clean_from..at]);
        out.extend_from_slice(escape);
        clean_from = at + 1;
    }
    out.extend_from_slice(&text.as_bytes()[clean_from..]);
    out.push(b'"');
}
