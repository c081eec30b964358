//! PAX extended headers: records `<length> <key>=<value>\n` that overrule fields of a header.

/// The most extended attributes of one entry.
const ATTRIBUTES: usize = 100;

/// What extended headers said, those of one entry or those of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    /// Seconds and nanoseconds.
    pub(crate) time: Option<(i64, u32)>,
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) sparse: Sparse,
    /// Bytes of the headers that were read.
    bytes: usize,
}

/// GNU's fields for files with holes, in its three versions 0.0, 0.1 and 1.0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sparse {
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) real_size: Option<u64>,
    /// The map of 0.1, or that of 0.0 in the same shape: offset, length, offset, length...
    pub(crate) map: Option<Vec<u64>>,
}

impl Pax {
    /// Reads the contents of one extended header on top of what is known, if all of it together has
    /// at most `limit` bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(&mut self, mut records: &[u8], limit: usize) -> Result<(), String> {
        self.bytes += records.len();
        if self.bytes > limit {
            return Err(format!("extended headers have more than {limit} bytes together"));
        }
        while !records.is_empty() {
            // Some programs fill up with zeros.
            if records.iter().all(|byte| *byte == 0) {
                return Ok(());
            }
            let record = record(records).ok_or("an extended header has a record without an end")?;
            records = &records[record.length..];
            self.set(record.key, record.value).ok_or_else(|| {
                format!("an extended header has a bad value of {}", crate::error::shown(record.key))
            })?;
            if self.attributes.len() > ATTRIBUTES {
                return Err(format!("an entry has more than {ATTRIBUTES} extended attributes"));
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        // An empty value takes back what a global header said.
        let bytes = || (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = bytes(),
            b"linkpath" => self.link = bytes(),
            b"size" => self.size = optional(value)?.filter(|size| *size <= i64::MAX as u64),
            b"uid" => self.uid = optional(value)?,
            b"gid" => self.gid = optional(value)?,
            b"mtime" => self.time = if value.is_empty() { None } else { Some(time(value)?) },
            b"GNU.sparse.major" => self.sparse.major = optional(value)?,
            b"GNU.sparse.minor" => self.sparse.minor = optional(value)?,
            b"GNU.sparse.name" => self.sparse.name = bytes(),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.real_size = optional(value)?,
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.sparse.map.get_or_insert_default().push(decimal(value)?);
            }
            b"GNU.sparse.map" => {
                let numbers = value.split(|byte| *byte == b',').filter(|number| !number.is_empty());
                self.sparse.map = Some(numbers.map(decimal).collect::<Option<_>>()?);
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.attributes.retain(|(known, _)| known != name);
                    self.attributes.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Some(())
    }
}

struct Record<'a> {
    length: usize,
    key: &'a [u8],
    value: &'a [u8],
}

fn record(bytes: &[u8]) -> Option<Record<'_>> {
    // No record is longer than a header may be, which has seven digits.
    let space = bytes.iter().take(10).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some(Record { length, key: &record[..equals], value: &record[equals + 1..] })
}

fn optional(value: &[u8]) -> Option<Option<u64>> {
    if value.is_empty() { Some(None) } else { decimal(value).map(Some) }
}

/// A number in decimal digits and nothing else.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// `[-]seconds[.fraction]`, as seconds before and nanoseconds after.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let (seconds, fraction) = match value.iter().position(|byte| *byte == b'.') {
        Some(at) => (&value[..at], &value[at + 1..]),
        None => (value, &b""[..]),
    };
    let seconds = if seconds.is_empty() { 0 } else { i64::try_from(decimal(seconds)?).ok()? };
    let mut nanoseconds = 0u32;
    for place in 0..9 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        nanoseconds = nanoseconds * 10 + u32::from(digit.is_ascii_digit().then_some(digit - b'0')?);
    }
    Some(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    #[test]
    fn records_are_read() {
        let mut pax = Pax::default();
        pax.read(b"11 path=abc\n15 linkpath=d=e\n12 size=1234\n20 mtime=12.5000000\n30 SCHILY.xattr.user.a=\x00\n\n\n=\n\0\0", LIMIT)
            .unwrap_err();
        let mut pax = Pax::default();
        pax.read(b"12 path=abc\n16 linkpath=d=e\n13 size=1234\n14 mtime=12.5\n14 comment=hi\n\0\0", LIMIT)
            .unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"abc"[..]));
        assert_eq!(pax.link.as_deref(), Some(&b"d=e"[..]));
        assert_eq!((pax.size, pax.time), (Some(1234), Some((12, 500_000_000))));
        pax.read(b"8 path=\n", LIMIT).unwrap();
        assert_eq!(pax.path, None);
        pax.read(b"27 SCHILY.xattr.user.a=\n=\n\n", LIMIT).unwrap();
        assert_eq!(pax.attributes, [(b"user.a".to_vec(), b"\n=\n".to_vec())]);
    }

    #[test]
    fn bad_records_say_what_is_bad() {
        let check = |bytes: &[u8], expect: &str| {
            assert_eq!(Pax::default().read(bytes, LIMIT), Err(expect.to_owned()))
        };
        for endless in
            [&b"x"[..], b"5", b"5 a=", b"0 a=\n", b"3 a", b"99999999999999999999 a=b\n", b"6 ab=\n\n"]
        {
            check(endless, "an extended header has a record without an end");
        }
        check(b"10 size=x\n", "an extended header has a bad value of size");
        check(b"12 mtime=1-\n", "an extended header has a bad value of mtime");
    }

    #[test]
    fn times_may_lie_before_the_epoch() {
        let check = |text: &[u8], expect| assert_eq!(time(text), expect, "{text:?}");
        check(b"0", Some((0, 0)));
        check(b"1.000000001", Some((1, 1)));
        check(b"1.0000000019999", Some((1, 1)));
        check(b"-1", Some((-1, 0)));
        check(b"-1.25", Some((-2, 750_000_000)));
        check(b".5", Some((0, 500_000_000)));
        check(b"1.x", None);
        check(b"99999999999999999999", None);
    }
}
