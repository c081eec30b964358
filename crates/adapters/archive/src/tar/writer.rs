//! Writing the tar format: ustar, and PAX where a field of it is too small.

use std::io::{self, Write};

use super::header::BLOCK;

/// An extended attribute: its name with the namespace, and its value.
pub(crate) type Attribute<'a> = (&'a [u8], Vec<u8>);

/// What a header says of one entry. Owners are all 0 and without names.
#[derive(Clone, Debug)]
pub(crate) struct Head<'a> {
    /// With `./` before it, and with `/` after it for a directory.
    pub(crate) path: &'a [u8],
    pub(crate) kind: u8,
    pub(crate) link: &'a [u8],
    pub(crate) mode: u32,
    pub(crate) size: u64,
    pub(crate) seconds: u64,
    /// In the order in which they are written.
    pub(crate) attributes: &'a [Attribute<'a>],
}

/// The largest number of a field of eleven octal digits.
const MAX_NUMBER: u64 = 0o777_7777_7777;
/// The name of what describes the next entry; only programs that do not know PAX make a file of it.
const PAX_NAME: &[u8] = b"./PaxHeaders/entry";

/// Writes the header of an entry, whose contents and [`pad`] follow.
pub(crate) fn head(to: &mut impl Write, head: &Head<'_>) -> io::Result<()> {
    let mut records = Vec::new();
    let split = split(head.path);
    if split.is_none() {
        record(&mut records, b"path", head.path);
    }
    if head.link.len() > 100 {
        record(&mut records, b"linkpath", head.link);
    }
    if head.size > MAX_NUMBER {
        record(&mut records, b"size", head.size.to_string().as_bytes());
    }
    if head.seconds > MAX_NUMBER {
        record(&mut records, b"mtime", head.seconds.to_string().as_bytes());
    }
    for (name, value) in head.attributes {
        record(&mut records, &[b"SCHILY.xattr.", *name].concat(), value);
    }
    if !records.is_empty() {
        let size = records.len() as u64;
        let pax = Head { path: PAX_NAME, kind: b'x', link: b"", mode: 0o644, size, attributes: &[], ..*head };
        to.write_all(&block(&pax, (b"", PAX_NAME)))?;
        to.write_all(&records)?;
        pad(to, size)?;
    }
    let cut = (&b""[..], &head.path[..head.path.len().min(100)]);
    to.write_all(&block(head, split.unwrap_or(cut)))
}

/// Fills up to a whole block after `size` bytes.
pub(crate) fn pad(to: &mut impl Write, size: u64) -> io::Result<()> {
    let over = usize::try_from(size % BLOCK as u64).expect("it is less than a block");
    if over == 0 { Ok(()) } else { to.write_all(&[0; BLOCK][over..]) }
}

/// Writes what ends an archive.
pub(crate) fn end(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&[0; 2 * BLOCK])
}

/// A path in ustar's two fields, prefix and name; `None` if it does not fit.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    // The last slash may be the directory's own.
    let inner = &path[..path.len() - 1];
    let (first, last) = (path.len().saturating_sub(101), inner.len().min(156));
    let slash = (first..last).find(|at| inner[*at] == b'/').filter(|at| *at > 0)?;
    Some((&path[..slash], &path[slash + 1..]))
}

fn block(head: &Head<'_>, (prefix, name): (&[u8], &[u8])) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name);
    put(100, format!("{:07o}\0", head.mode & 0o7777).as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    // What does not fit stands in a PAX header.
    put(124, format!("{:011o}\0", head.size.min(MAX_NUMBER)).as_bytes());
    put(136, format!("{:011o}\0", head.seconds.min(MAX_NUMBER)).as_bytes());
    put(156, &[head.kind]);
    put(157, &head.link[..head.link.len().min(100)]);
    put(257, b"ustar\x0000");
    put(329, b"0000000\x000000000\0");
    put(345, prefix);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// One record, whose length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for value in [0, 1, 83, 84, 85, 86, 87, 88, 89, 90, 91, 980, 985, 990, 991, 992, 993, 994, 1000] {
            let mut records = Vec::new();
            record(&mut records, b"path", &vec![b'x'; value]);
            let text = String::from_utf8(records).unwrap();
            let (length, _) = text.split_once(' ').unwrap();
            assert_eq!(length.parse::<usize>().unwrap(), text.len(), "{value}");
        }
    }

    #[test]
    fn paths_are_split_where_both_parts_fit() {
        let check = |path: &str, expected: Option<(usize, usize)>| {
            let found = split(path.as_bytes()).map(|(prefix, name)| (prefix.len(), name.len()));
            assert_eq!(found, expected, "{path}");
        };
        let (a99, a100, a155) = ("a".repeat(99), "a".repeat(100), "b".repeat(155));
        check(&a100, Some((0, 100)));
        check(&format!("x/{a100}"), Some((1, 100)));
        check(&format!("x/{a100}/"), None);
        check(&format!("x/{a99}/"), Some((1, 100)));
        check(&format!("{a155}/{a100}"), Some((155, 100)));
        check(&format!("b{a155}/{a100}"), None);
        check(&format!("/{a100}"), None);
        check(&"c".repeat(101), None);
        check(&format!("{a155}/"), None);
    }
}
