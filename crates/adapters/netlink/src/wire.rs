//! Messages of netlink: a header, a fixed part, and attributes that may hold attributes. Numbers of the
//! header and of rtnetlink are in the machine's byte order.

use std::borrow::Cow;

/// Bytes of a message's header.
const HEADER: usize = 16;

/// The kernel is asked for something.
pub(crate) const REQUEST: u16 = 0x1;
/// It shall answer also if nothing went wrong.
pub(crate) const ACK: u16 = 0x4;
/// It shall answer with everything there is.
pub(crate) const DUMP: u16 = 0x300;
/// What exists already is replaced.
pub(crate) const REPLACE: u16 = 0x100;
/// What exists already is an error.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// What does not exist is made.
pub(crate) const CREATE: u16 = 0x400;

/// Answers: an error or an acknowledgement, and the end of a dump.
pub(crate) const ERROR: u16 = 2;
pub(crate) const DONE: u16 = 3;

/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;

/// Messages that are sent together. Each says in words what it asks for, for the error if it is refused.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    /// Of each message: whether it is acknowledged, and what it asks for.
    asked: Vec<(bool, Cow<'static, str>)>,
}

impl Messages {
    /// Adds a message of `kind`; `fill` adds what follows its header.
    pub(crate) fn add(
        &mut self,
        kind: u16,
        flags: u16,
        asks: impl Into<Cow<'static, str>>,
        fill: impl FnOnce(&mut Body<'_>),
    ) {
        let start = self.bytes.len();
        self.bytes.resize(start + HEADER, 0);
        fill(&mut Body { bytes: &mut self.bytes });
        let length = (self.bytes.len() - start) as u32;
        let sequence = self.asked.len() as u32;
        let header = &mut self.bytes[start..start + HEADER];
        header[0..4].copy_from_slice(&length.to_ne_bytes());
        header[4..6].copy_from_slice(&kind.to_ne_bytes());
        header[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        header[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.asked.push((flags & ACK != 0, asks.into()));
    }

    /// Counts the messages on from `first`, so that answers to earlier ones are told apart.
    pub(crate) fn number_from(&mut self, first: u32) {
        let mut at = 0;
        let mut number = first;
        while at < self.bytes.len() {
            let length = u32_at(&self.bytes, at).unwrap_or(0) as usize;
            self.bytes[at + 8..at + 12].copy_from_slice(&number.to_ne_bytes());
            number = number.wrapping_add(1);
            at += length.max(HEADER).next_multiple_of(4);
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn asked(&self) -> &[(bool, Cow<'static, str>)] {
        &self.asked
    }
}

/// What follows the header of a message, while it is written.
pub(crate) struct Body<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Body<'_> {
    /// Adds a fixed part.
    pub(crate) fn fixed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    /// Adds an attribute.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |body| body.bytes.extend_from_slice(value));
    }

    /// Adds an attribute that is text and ends with a zero.
    pub(crate) fn text(&mut self, kind: u16, text: &str) {
        self.nest(kind, |body| {
            body.bytes.extend_from_slice(text.as_bytes());
            body.bytes.push(0);
        });
    }

    /// Adds an attribute that is a number in the machine's byte order.
    pub(crate) fn number(&mut self, kind: u16, number: u32) {
        self.attribute(kind, &number.to_ne_bytes());
    }

    /// Adds an attribute that is a number in the network's byte order, as netfilter has them.
    pub(crate) fn network_number(&mut self, kind: u16, number: u32) {
        self.attribute(kind, &number.to_be_bytes());
    }

    /// Adds an attribute that holds what `fill` adds.
    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Body<'_>)) {
        self.nest(kind | NESTED, fill);
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Body<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        fill(&mut Body { bytes: self.bytes });
        // What is written here is names, addresses and lists that their writers keep short.
        let length = u16::try_from(self.bytes.len() - start).expect("an attribute is shorter than 64 KiB");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A message that the kernel sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// The messages of a datagram; ends at the first that is broken.
pub(crate) fn answers(mut bytes: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let body = bytes.get(HEADER..length)?;
        let answer = Answer { kind: u16_at(bytes, 4)?, sequence: u32_at(bytes, 8)?, body };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(answer)
    })
}

/// The attributes in `bytes`, each with its kind; ends at the first that is broken.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let value = bytes.get(4..length)?;
        let kind = u16_at(bytes, 2)? & 0x3fff;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// The attribute of `kind` in `bytes`.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut messages = Messages::default();
        messages.add(16, CREATE | ACK, "one", |body| {
            body.fixed(&[7; 5]);
            body.text(3, "eth0");
            body.nested(18, |body| {
                body.number(1, 4711);
                body.network_number(2, 1);
            });
        });
        messages.add(17, 0, "two", |_| {});
        messages.number_from(40);
        let found: Vec<Answer<'_>> = answers(messages.bytes()).collect();
        let heads: Vec<(u16, u32)> = found.iter().map(|answer| (answer.kind, answer.sequence)).collect();
        assert_eq!(heads, [(16, 40), (17, 41)]);
        let attributes = &found[0].body[8..];
        assert_eq!(attribute(attributes, 3), Some(&b"eth0\0"[..]));
        let nested = attribute(attributes, 18).unwrap();
        assert_eq!(u32_at(attribute(nested, 1).unwrap(), 0), Some(4711));
        assert_eq!(attribute(nested, 2), Some(&[0, 0, 0, 1][..]));
        assert_eq!(attribute(nested, 3), None);
        assert_eq!(messages.asked()[0], (true, "one".into()));
    }

    #[test]
    fn broken_lengths_end_the_reading() {
        for bytes in [&[][..], &[3, 0, 0, 0], &[255; 20], &[0; 64]] {
            assert_eq!(answers(bytes).count(), 0, "{bytes:?}");
        }
        for bytes in [&[3, 0, 1, 0][..], &[9, 0, 1, 0, 0, 0, 0, 0], &[0; 8], &[4, 0]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }
}
