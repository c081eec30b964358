//! One block of 512 bytes that describes an entry: v7, ustar and GNU.

use super::sparse::Segments;
use crate::meta::{EntryKind, Meta};

/// The unit of a tar.
pub(crate) const BLOCK: usize = 512;

/// One header block.
pub(crate) struct Header<'a>(pub(crate) &'a [u8; BLOCK]);

/// What a header introduces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// An entry.
    Entry(EntryKind),
    /// A file with holes, GNU's old way: the map is in the header and the blocks after it.
    OldSparse,
    /// A GNU directory with a list of names as contents, which is skipped.
    DumpDirectory,
    /// Fields that overrule those of the next header.
    Pax,
    /// Fields for all headers from here on.
    PaxGlobal,
    /// The name of the next entry.
    GnuLongName,
    /// The link target of the next entry.
    GnuLongLink,
    /// The name of the volume: no entry.
    VolumeLabel,
    /// Something else.
    Unknown(u8),
}

impl Header<'_> {
    pub(crate) fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// Whether the checksum is right, of unsigned or (as some old programs had it) signed bytes.
    pub(crate) fn is_intact(&self) -> bool {
        let Some(stated) = number(&self.0[148..156]) else { return false };
        let (mut unsigned, mut signed) = (0u64, 0i64);
        for (at, byte) in self.0.iter().enumerate() {
            let byte = if (148..156).contains(&at) { b' ' } else { *byte };
            unsigned += u64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        stated == i128::from(unsigned) || stated == i128::from(signed)
    }

    fn is_ustar(&self) -> bool {
        &self.0[257..263] == b"ustar\0"
    }

    fn is_gnu(&self) -> bool {
        &self.0[257..265] == b"ustar  \0"
    }

    pub(crate) fn kind(&self) -> Type {
        match self.0[156] {
            // Before ustar a directory was a file with a slash at its end.
            0 | b'0' | b'7' if self.name().last() == Some(&b'/') => Type::Entry(EntryKind::Directory),
            0 | b'0' | b'7' => Type::Entry(EntryKind::File),
            b'1' => Type::Entry(EntryKind::HardLink),
            b'2' => Type::Entry(EntryKind::Symlink),
            b'3' => Type::Entry(EntryKind::CharacterDevice),
            b'4' => Type::Entry(EntryKind::BlockDevice),
            b'5' => Type::Entry(EntryKind::Directory),
            b'6' => Type::Entry(EntryKind::Fifo),
            b'x' | b'X' => Type::Pax,
            b'g' => Type::PaxGlobal,
            b'L' => Type::GnuLongName,
            b'K' => Type::GnuLongLink,
            b'S' => Type::OldSparse,
            b'D' => Type::DumpDirectory,
            b'V' => Type::VolumeLabel,
            other => Type::Unknown(other),
        }
    }

    fn name(&self) -> &[u8] {
        until_zero(&self.0[..100])
    }

    /// Writes the name, with ustar's prefix before it.
    pub(crate) fn path(&self, into: &mut Vec<u8>) {
        into.clear();
        if self.is_ustar() {
            let prefix = until_zero(&self.0[345..500]);
            if !prefix.is_empty() {
                into.extend_from_slice(prefix);
                into.push(b'/');
            }
        }
        into.extend_from_slice(self.name());
    }

    pub(crate) fn link(&self) -> &[u8] {
        until_zero(&self.0[157..257])
    }

    /// Bytes that follow; none if the field is no such number.
    pub(crate) fn size(&self) -> Option<u64> {
        number(&self.0[124..136])
            .and_then(|size| u64::try_from(size).ok())
            .filter(|size| *size <= i64::MAX as u64)
    }

    /// Mode, owner and time. Broken fields are zero: they lose a detail, not the entry.
    pub(crate) fn meta(&self, meta: &mut Meta) {
        let field = |range: std::ops::Range<usize>| number(&self.0[range]).unwrap_or(0);
        meta.mode = u32::try_from(field(100..108) & 0o7777).unwrap_or(0);
        meta.uid = u64::try_from(field(108..116)).unwrap_or(0);
        meta.gid = u64::try_from(field(116..124)).unwrap_or(0);
        meta.seconds = i64::try_from(field(136..148)).unwrap_or(0);
        meta.nanoseconds = 0;
        meta.attributes.clear();
    }

    /// Major and minor number of a device.
    pub(crate) fn device(&self) -> Option<(u32, u32)> {
        if !self.is_ustar() && !self.is_gnu() {
            return Some((0, 0));
        }
        let part = |range: std::ops::Range<usize>| u32::try_from(number(&self.0[range])?).ok();
        Some((part(329..337)?, part(337..345)?))
    }

    /// The start of an old GNU sparse map: its segments, whether blocks of it follow, and the size
    /// of the file with its holes.
    pub(crate) fn sparse(&self) -> Option<(Segments, bool, u64)> {
        let mut segments = Vec::new();
        segments_of(&self.0[386..482], &mut segments)?;
        Some((segments, self.0[482] != 0, u64::try_from(number(&self.0[483..495])?).ok()?))
    }

    /// A further block of an old GNU sparse map. Gives whether another one follows.
    pub(crate) fn more_sparse(&self, segments: &mut Segments) -> Option<bool> {
        segments_of(&self.0[..504], segments)?;
        Some(self.0[504] != 0)
    }
}

fn segments_of(fields: &[u8], segments: &mut Segments) -> Option<()> {
    for field in fields.chunks_exact(24) {
        if field[0] == 0 {
            break;
        }
        let part = |bytes: &[u8]| u64::try_from(number(bytes)?).ok();
        segments.push((part(&field[..12])?, part(&field[12..])?));
    }
    Some(())
}

fn until_zero(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number in octal digits between blanks, or in GNU's base 256. An empty field is zero.
pub(crate) fn number(field: &[u8]) -> Option<i128> {
    if let Some(first) = field.first().filter(|first| *first & 0x80 != 0) {
        // The second bit is the sign; fields have at most 12 bytes, so nothing is lost.
        let start =
            if first & 0x40 == 0 { i128::from(first & 0x3f) } else { i128::from(first & 0x7f) - 0x80 };
        return Some(field[1..].iter().fold(start, |value, byte| value << 8 | i128::from(*byte)));
    }
    let is_blank = |byte: &u8| matches!(*byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_blank(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(is_blank).unwrap_or(digits.len());
    digits[..end].iter().try_fold(0i128, |value, digit| match digit {
        b'0'..=b'7' => Some(value << 3 | i128::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        let check = |field: &[u8], expect| assert_eq!(number(field), expect, "{field:?}");
        check(b"0000644\0", Some(0o644));
        check(b"   644 \0", Some(0o644));
        check(b"\0\0\0\0", Some(0));
        check(b"77777777777 ", Some(0o77777777777));
        check(b"12\0 34", Some(0o12));
        check(b"8", None);
        check(b"-1", None);
        check(&[0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], Some(1 << 32));
        check(&[0xff; 12], Some(-1));
        check(&[0xff, 0xff, 0xff, 0xfe], Some(-2));
        check(&[0xbf, 0xff], Some(0x3fff));
    }
}
