//! The protobuf wire format, as far as the interpreters need it: reading a message's fields one after
//! the other, and writing single fields.

/// One field as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// Walks over the fields of an encoded message.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

/// The bytes are no protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

const GROUPS_NESTED: usize = 32;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field's number and value; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        while !self.rest.is_empty() {
            let (number, wire_type) = self.tag()?;
            let value = match wire_type {
                0 => Value::Varint(self.varint()?),
                1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
                2 => Value::Bytes(self.length_delimited()?),
                3 => {
                    self.skip_group(number, 0)?;
                    continue;
                }
                5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
                _ => return Err(Malformed),
            };
            return Ok(Some((number, value)));
        }
        Ok(None)
    }

    /// The next element of a packed list; `None` at the end.
    pub(crate) fn next_packed(&mut self, width: PackedWidth) -> Result<Option<Value<'a>>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        Ok(Some(match width {
            PackedWidth::Varint => Value::Varint(self.varint()?),
            PackedWidth::Fixed64 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            PackedWidth::Fixed32 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
        }))
    }

    fn tag(&mut self) -> Result<(u32, u8), Malformed> {
        let tag = u32::try_from(self.varint()?).map_err(|_| Malformed)?;
        if tag >> 3 == 0 {
            return Err(Malformed);
        }
        Ok((tag >> 3, (tag & 7) as u8))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for (place, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                self.rest = &self.rest[place + 1..];
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn length_delimited(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Groups are nowhere in our definitions, so one on the wire is an unknown field.
    fn skip_group(&mut self, number: u32, depth: usize) -> Result<(), Malformed> {
        if depth > GROUPS_NESTED {
            return Err(Malformed);
        }
        loop {
            let (inner, wire_type) = self.tag()?;
            match wire_type {
                0 => drop(self.varint()?),
                1 => drop(self.array::<8>()?),
                2 => drop(self.length_delimited()?),
                3 => self.skip_group(inner, depth + 1)?,
                4 if inner == number => return Ok(()),
                5 => drop(self.array::<4>()?),
                _ => return Err(Malformed),
            }
        }
    }
}

/// How the elements of a packed list are written.
#[derive(Clone, Copy)]
pub(crate) enum PackedWidth {
    Varint,
    Fixed64,
    Fixed32,
}

pub(crate) fn put_varint_field(number: u32, value: u64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3, out);
    put_varint(value, out);
}

pub(crate) fn put_fixed64_field(number: u32, value: u64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 1, out);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_fixed32_field(number: u32, value: u32, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 5, out);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_bytes_field(number: u32, value: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, out);
    put_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
