//! Maps of files with holes.

/// The most segments of one file.
pub(crate) const SEGMENTS: usize = 1 << 20;

/// Offset and length of what is stored.
pub(crate) type Segments = Vec<(u64, u64)>;

/// Where the stored bytes of a file lie in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Map {
    /// In order, without overlap.
    pub(crate) segments: Segments,
    /// The file's size with its holes.
    pub(crate) size: u64,
}

impl Map {
    /// Checks a map against the bytes that are stored.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(segments: Segments, size: u64, stored: u64) -> Result<Map, String> {
        let (mut end, mut sum) = (0u64, 0u64);
        for (offset, length) in &segments {
            let next = offset.checked_add(*length).filter(|_| *offset >= end);
            end = next.ok_or("a sparse file's map is out of order")?;
            sum += length;
        }
        if end > size || size > i64::MAX as u64 {
            return Err("a sparse file's map is larger than the file".to_owned());
        }
        if sum != stored {
            return Err(format!("a sparse file's map has {sum} bytes, but {stored} are stored"));
        }
        Ok(Map { segments, size })
    }

    /// Pairs of offset and length.
    pub(crate) fn pairs(numbers: &[u64]) -> Option<Segments> {
        let (pairs, rest) = numbers.as_chunks::<2>();
        rest.is_empty().then(|| pairs.iter().map(|[offset, length]| (*offset, *length)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_checked() {
        let check = |segments: &[(u64, u64)], size, stored, expect: Result<(), &str>| {
            let found = Map::new(segments.to_vec(), size, stored).map(|_| ());
            assert_eq!(found, expect.map_err(str::to_owned), "{segments:?}");
        };
        check(&[], 100, 0, Ok(()));
        check(&[(0, 5), (10, 5), (100, 0)], 100, 10, Ok(()));
        check(&[(10, 5), (0, 5)], 100, 10, Err("a sparse file's map is out of order"));
        check(&[(0, 5), (4, 5)], 100, 10, Err("a sparse file's map is out of order"));
        check(&[(u64::MAX, 5)], 100, 5, Err("a sparse file's map is out of order"));
        check(&[(0, 5)], 4, 5, Err("a sparse file's map is larger than the file"));
        check(&[(0, 5)], 10, 6, Err("a sparse file's map has 5 bytes, but 6 are stored"));
    }
}
