//! RecordIO: a stream of records, each its length in decimal digits, a newline, and that many bytes.

use std::collections::VecDeque;

/// A record as it goes on the stream.
pub fn frame(record: &[u8]) -> Vec<u8> {
    let mut framed = record.len().to_string().into_bytes();
    framed.reserve(record.len() + 1);
    framed.push(b'\n');
    framed.extend_from_slice(record);
    framed
}

/// Why a stream of records cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordIoError {
    /// The length line holds something else than digits.
    #[error("failed to decode the length of a record: found '{0}'")]
    Length(String),
    /// A record is longer than the reader takes.
    #[error("a record of {found} bytes is longer than the {allowed} allowed")]
    TooLong {
        /// Its length in bytes.
        found: u64,
        /// The reader's limit in bytes.
        allowed: usize,
    },
}

/// Takes the bytes of a stream as they come and gives back whole records.
#[derive(Debug)]
pub struct Decoder {
    longest: usize,
    pending: VecDeque<u8>,
    awaited: Option<usize>,
}

/// `u64::MAX` has this many digits.
const LENGTH_DIGITS: usize = 20;

impl Decoder {
    /// A decoder that refuses records of more than `longest` bytes.
    pub fn new(longest: usize) -> Self {
        Self { longest, pending: VecDeque::new(), awaited: None }
    }

    /// Adds what arrived. Read the records with [`Decoder::next_record`] before adding more, so that no
    /// more than one record and one arrival are held.
    pub fn push(&mut self, arrived: &[u8]) {
        self.pending.extend(arrived);
    }

    /// The next whole record, or `None` until more arrives.
    ///
    /// # Errors
    /// The stream cannot be read on from there.
    pub fn next_record(&mut self) -> Result<Option<Vec<u8>>, RecordIoError> {
        let length = match self.awaited {
            Some(length) => length,
            None => match self.length()? {
                Some(length) => length,
                None => return Ok(None),
            },
        };
        if self.pending.len() < length {
            self.awaited = Some(length);
            return Ok(None);
        }
        self.awaited = None;
        let rest = self.pending.split_off(length);
        Ok(Some(std::mem::replace(&mut self.pending, rest).into()))
    }

    /// Whether the stream may end here: no part of a record is pending.
    pub fn is_at_boundary(&self) -> bool {
        self.pending.is_empty() && self.awaited.is_none()
    }

    fn length(&mut self) -> Result<Option<usize>, RecordIoError> {
        let Some(end) = self.pending.iter().take(LENGTH_DIGITS + 1).position(|byte| *byte == b'\n') else {
            if self.pending.len() > LENGTH_DIGITS {
                return Err(self.bad_length(LENGTH_DIGITS));
            }
            return Ok(None);
        };
        let digits: Vec<u8> = self.pending.iter().take(end).copied().collect();
        let found = std::str::from_utf8(&digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let Some(found) = found.and_then(|text| text.parse::<u64>().ok()) else {
            return Err(self.bad_length(end));
        };
        match usize::try_from(found) {
            Ok(length) if length <= self.longest => {
                self.pending.drain(..=end);
                Ok(Some(length))
            }
            _ => Err(RecordIoError::TooLong { found, allowed: self.longest }),
        }
    }

    fn bad_length(&self, end: usize) -> RecordIoError {
        let found: Vec<u8> = self.pending.iter().take(end).copied().collect();
        RecordIoError::Length(String::from_utf8_lossy(&found).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(stream: &[u8], arrivals_of: usize) -> Result<Vec<Vec<u8>>, RecordIoError> {
        let mut decoder = Decoder::new(100);
        let mut records = Vec::new();
        for arrived in stream.chunks(arrivals_of) {
            decoder.push(arrived);
            while let Some(record) = decoder.next_record()? {
                records.push(record);
            }
        }
        Ok(records)
    }

    #[test]
    fn records_come_out_however_they_arrive() {
        let records = [&b"one"[..], b"", b"three\nwith a newline"];
        let stream: Vec<u8> = records.iter().flat_map(|record| frame(record)).collect();
        for arrivals_of in 1..=stream.len() {
            assert_eq!(decode(&stream, arrivals_of).unwrap(), records, "in pieces of {arrivals_of}");
        }
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        let check = |stream: &[u8], text: &str| {
            assert_eq!(decode(stream, 7).unwrap_err().to_string(), text);
        };
        check(b"abc\n", "failed to decode the length of a record: found 'abc'");
        check(b"\n", "failed to decode the length of a record: found ''");
        check(b"-1\n", "failed to decode the length of a record: found '-1'");
        check(b"101\n", "a record of 101 bytes is longer than the 100 allowed");
        check(
            b"999999999999999999999999",
            "failed to decode the length of a record: found '99999999999999999999'",
        );
    }

    #[test]
    fn a_boundary_is_known() {
        let mut decoder = Decoder::new(10);
        assert!(decoder.is_at_boundary());
        decoder.push(b"2\n");
        assert_eq!(decoder.next_record(), Ok(None));
        assert!(!decoder.is_at_boundary());
        decoder.push(b"ab");
        assert_eq!(decoder.next_record(), Ok(Some(b"ab".to_vec())));
        assert!(decoder.is_at_boundary());
    }
}
