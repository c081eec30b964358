//! Entry after entry of a stream that ends when it ends, whatever its headers promise.

use std::io::{self, BufRead, BufReader, Read};

use super::header::{BLOCK, Header, Type};
use super::pax::{Pax, decimal};
use super::sparse::{Map, SEGMENTS, Segments};
use crate::error::{Error, Refusal, shown};
use crate::meta::{EntryKind, Meta};
use crate::name::NAME_BYTES;
use crate::options::Limits;

/// Bytes taken from the source at once, and written to a file at once.
const BUFFER: usize = 256 << 10;
/// The largest header that describes another one.
const EXTENDED_BYTES: u64 = 1 << 20;
/// All headers together that describe all others: every entry gets a copy.
const GLOBAL_BYTES: usize = 64 << 10;
/// What an entry may take of the stream beyond its counted contents: headers and padding.
const OVERHEAD: u64 = 4096;

/// One entry.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The name as it stands there.
    pub(crate) path: Vec<u8>,
    /// Where a link leads.
    pub(crate) link: Vec<u8>,
    pub(crate) kind: EntryKind,
    pub(crate) meta: Meta,
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    /// Bytes stored in the archive.
    pub(crate) stored: u64,
    /// Where they lie, in a file with holes.
    pub(crate) map: Option<Map>,
}

impl Entry {
    /// One to be filled by [`Reader::next`].
    pub(crate) fn new() -> Entry {
        Entry {
            path: Vec::new(),
            link: Vec::new(),
            kind: EntryKind::File,
            meta: Meta::default(),
            device: (0, 0),
            stored: 0,
            map: None,
        }
    }

    /// Bytes of the file with its holes.
    pub(crate) fn size(&self) -> u64 {
        self.map.as_ref().map_or(self.stored, |map| map.size)
    }
}

/// Reads a tar from its beginning to its end.
pub(crate) struct Reader<R> {
    source: BufReader<R>,
    limits: Limits,
    /// Bytes consumed, and how many may be.
    offset: u64,
    most: u64,
    entries: u64,
    /// Of the current entry: contents not read, and padding behind them.
    left: u64,
    padding: u64,
    /// What global headers said.
    global: Option<Pax>,
}

/// Contents of one entry.
pub(crate) struct Contents<'a, R> {
    reader: &'a mut Reader<R>,
    entry: &'a [u8],
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(source: R, limits: Limits) -> Reader<R> {
        let overhead = limits.entries.saturating_mul(OVERHEAD).saturating_add(EXTENDED_BYTES);
        Reader {
            source: BufReader::with_capacity(BUFFER, source),
            limits,
            offset: 0,
            most: limits.bytes.saturating_add(overhead),
            entries: 0,
            left: 0,
            padding: 0,
            global: None,
        }
    }

    /// Bytes of the tar consumed so far.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Entries and other headers read so far.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Goes on to the next entry. Gives false at the end of the archive.
    pub(crate) fn next(&mut self, entry: &mut Entry) -> Result<bool, Error> {
        self.skip(&entry.path)?;
        let (mut pax, mut long_name, mut long_link) = (None, None, None);
        loop {
            let mut block = [0; BLOCK];
            if !self.block(&mut block, pax.is_some() || long_name.is_some() || long_link.is_some())? {
                return Ok(false);
            }
            let header = Header(&block);
            if header.is_zero() {
                return Ok(false);
            }
            if !header.is_intact() {
                let first = self.offset == BLOCK as u64;
                return Err(self.malformed(if first { "not a tar" } else { "a header's checksum is wrong" }));
            }
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(Error::TooMany { limit: self.limits.entries });
            }
            let size = header.size().ok_or_else(|| self.malformed("a header's size is not a number"))?;
            match header.kind() {
                Type::Pax => {
                    let records = self.extended(size)?;
                    let mut known = pax.take().or_else(|| self.global.clone()).unwrap_or_default();
                    known
                        .read(&records, EXTENDED_BYTES as usize)
                        .map_err(|problem| self.malformed(problem))?;
                    pax = Some(known);
                }
                Type::PaxGlobal => {
                    let records = self.extended(size)?;
                    let mut global = self.global.take().unwrap_or_default();
                    global.read(&records, GLOBAL_BYTES).map_err(|problem| self.malformed(problem))?;
                    self.global = Some(global);
                }
                Type::GnuLongName => long_name = Some(self.extended_name(size)?),
                Type::GnuLongLink => long_link = Some(self.extended_name(size)?),
                Type::VolumeLabel => {
                    self.open(size, b"volume label")?;
                    self.skip(b"volume label")?;
                }
                Type::Unknown(letter) => {
                    header.path(&mut entry.path);
                    let what = format!("tar type '{}'", char::from(letter).escape_default());
                    return Err(Error::refused(&entry.path, Refusal::Unknown(what)));
                }
                kind @ (Type::Entry(_) | Type::OldSparse | Type::DumpDirectory) => {
                    let pax = pax.or_else(|| self.global.clone());
                    self.fill(entry, &header, kind, pax, (long_name, long_link), size)?;
                    return Ok(true);
                }
            }
        }
    }

    fn fill(
        &mut self,
        entry: &mut Entry,
        header: &Header<'_>,
        kind: Type,
        pax: Option<Pax>,
        (long_name, long_link): (Option<Vec<u8>>, Option<Vec<u8>>),
        size: u64,
    ) -> Result<(), Error> {
        header.path(&mut entry.path);
        header.meta(&mut entry.meta);
        entry.link.clear();
        entry.link.extend_from_slice(header.link());
        entry.map = None;
        entry.stored = size;
        entry.path = long_name.unwrap_or_else(|| std::mem::take(&mut entry.path));
        entry.link = long_link.unwrap_or_else(|| std::mem::take(&mut entry.link));
        let mut sparse = None;
        if let Some(pax) = pax {
            entry.path = pax.path.unwrap_or_else(|| std::mem::take(&mut entry.path));
            entry.link = pax.link.unwrap_or_else(|| std::mem::take(&mut entry.link));
            entry.stored = pax.size.unwrap_or(entry.stored);
            entry.meta.uid = pax.uid.unwrap_or(entry.meta.uid);
            entry.meta.gid = pax.gid.unwrap_or(entry.meta.gid);
            if let Some((seconds, nanoseconds)) = pax.time {
                (entry.meta.seconds, entry.meta.nanoseconds) = (seconds, nanoseconds);
            }
            entry.meta.attributes = pax.attributes;
            sparse = Some(pax.sparse);
        }
        entry.kind = match kind {
            Type::Entry(kind) => kind,
            Type::DumpDirectory => EntryKind::Directory,
            _ => EntryKind::File,
        };
        let is_link = matches!(entry.kind, EntryKind::Symlink | EntryKind::HardLink);
        if is_link && entry.link.len() > NAME_BYTES {
            return Err(Error::refused(&entry.path, Refusal::LongLink(NAME_BYTES)));
        }
        entry.device = match entry.kind {
            EntryKind::CharacterDevice | EntryKind::BlockDevice => {
                header.device().ok_or_else(|| self.malformed("a device has no number"))?
            }
            _ => (0, 0),
        };
        // Others have no contents, whatever their size field says; but the list of a dump is there.
        if entry.kind != EntryKind::File && kind != Type::DumpDirectory {
            entry.stored = 0;
        }
        let old = match kind {
            Type::OldSparse => Some(self.old_map(header)?),
            _ => None,
        };
        self.open(entry.stored, &entry.path)?;
        if kind == Type::DumpDirectory {
            entry.stored = 0;
        }
        if let Some((segments, real_size)) = old {
            let map =
                Map::new(segments, real_size, entry.stored).map_err(|problem| self.malformed(problem))?;
            entry.map = Some(map);
        } else if let Some(sparse) = sparse.filter(|_| entry.kind == EntryKind::File) {
            if let Some(name) = sparse.name {
                entry.path = name;
            }
            let segments = match (sparse.major, sparse.minor, sparse.map) {
                (Some(1), Some(0), _) => Some(self.map_in_contents(&entry.path)?),
                (_, _, Some(map)) => {
                    Some(Map::pairs(&map).ok_or_else(|| self.malformed("a sparse file's map is cut"))?)
                }
                _ => None,
            };
            if let Some(segments) = segments {
                entry.stored = self.left;
                let real_size = sparse.real_size.unwrap_or(entry.stored);
                let map =
                    Map::new(segments, real_size, entry.stored).map_err(|problem| self.malformed(problem))?;
                entry.map = Some(map);
            }
        }
        Ok(())
    }

    /// The next contents of the current entry; empty at their end. `entry` is for the message.
    pub(crate) fn chunk(&mut self, entry: &[u8]) -> Result<&[u8], Error> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let left = self.left;
        let bytes = fill(&mut self.source)?;
        if bytes.is_empty() {
            return Err(Error::Truncated { entry: shown(entry) });
        }
        Ok(&bytes[..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))])
    }

    /// Marks bytes of [`Reader::chunk`] as read.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.source.consume(bytes);
        self.left -= bytes as u64;
        self.offset += bytes as u64;
    }

    /// The contents of the current entry as a reader.
    pub(crate) fn contents<'a>(&'a mut self, entry: &'a [u8]) -> Contents<'a, R> {
        Contents { reader: self, entry }
    }

    /// Begins contents, unless they are a bomb: those that nobody wants count, too.
    fn open(&mut self, size: u64, entry: &[u8]) -> Result<(), Error> {
        let padded = size.next_multiple_of(BLOCK as u64);
        if padded > self.most.saturating_sub(self.offset) {
            return Err(Error::TooLarge { entry: shown(entry), limit: self.limits.bytes });
        }
        (self.left, self.padding) = (size, padded - size);
        Ok(())
    }

    /// Skips what is left of the current entry.
    fn skip(&mut self, entry: &[u8]) -> Result<(), Error> {
        self.left += std::mem::take(&mut self.padding);
        while self.left > 0 {
            let bytes = self.chunk(entry)?.len();
            self.consume(bytes);
        }
        Ok(())
    }

    /// Reads a header. Gives false where the stream ends before it, unless something announced it.
    fn block(&mut self, block: &mut [u8; BLOCK], announced: bool) -> Result<bool, Error> {
        let mut filled = 0;
        while filled < BLOCK {
            let bytes = fill(&mut self.source)?;
            if bytes.is_empty() {
                if self.offset == 0 && filled == 0 {
                    return Err(self.malformed("it is empty"));
                }
                if filled == 0 && !announced {
                    return Ok(false);
                }
                return Err(Error::Truncated { entry: "a header".to_owned() });
            }
            let count = bytes.len().min(BLOCK - filled);
            block[filled..filled + count].copy_from_slice(&bytes[..count]);
            self.source.consume(count);
            filled += count;
        }
        self.offset += BLOCK as u64;
        Ok(true)
    }

    /// The contents of a header that describes another one.
    fn extended(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        if size > EXTENDED_BYTES {
            return Err(self.malformed(format!("an extended header has {size} bytes")));
        }
        self.open(size, b"an extended header")?;
        let mut contents = Vec::new();
        self.append(&mut contents, size as usize, b"an extended header")?;
        self.skip(b"an extended header")?;
        Ok(contents)
    }

    fn extended_name(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        let mut name = self.extended(size)?;
        if let Some(end) = name.iter().position(|byte| *byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn append(&mut self, into: &mut Vec<u8>, mut count: usize, entry: &[u8]) -> Result<(), Error> {
        while count > 0 {
            let bytes = self.chunk(entry)?;
            if bytes.is_empty() {
                return Err(Error::Truncated { entry: shown(entry) });
            }
            let taken = bytes.len().min(count);
            into.extend_from_slice(&bytes[..taken]);
            self.consume(taken);
            count -= taken;
        }
        Ok(())
    }

    /// The map of GNU's old format: in the header, then in blocks before the contents.
    fn old_map(&mut self, header: &Header<'_>) -> Result<(Segments, u64), Error> {
        let bad = || "a sparse file's map is not of numbers";
        let (mut segments, mut more, size) = header.sparse().ok_or_else(|| self.malformed(bad()))?;
        while more {
            let mut block = [0; BLOCK];
            self.block(&mut block, true)?;
            more = Header(&block).more_sparse(&mut segments).ok_or_else(|| self.malformed(bad()))?;
            if segments.len() > SEGMENTS {
                return Err(self.malformed("a sparse file has too many segments"));
            }
        }
        Ok((segments, size))
    }

    /// The map of PAX sparse 1.0: decimal numbers, a line each, before the contents, filled up to a
    /// whole block: the number of segments, then offset and length of each.
    fn map_in_contents(&mut self, entry: &[u8]) -> Result<Segments, Error> {
        let (mut text, mut at) = (Vec::new(), 0);
        let mut line = |reader: &mut Self| -> Result<u64, Error> {
            loop {
                if let Some(end) = text[at..].iter().position(|byte| *byte == b'\n') {
                    let number = decimal(&text[at..at + end]);
                    at += end + 1;
                    return number.ok_or_else(|| reader.malformed("a sparse file's map is not of numbers"));
                }
                text.drain(..at);
                at = 0;
                // No number has more digits than fit into a block.
                if text.len() > BLOCK {
                    return Err(reader.malformed("a sparse file's map is not of numbers"));
                }
                reader.append(&mut text, BLOCK, entry)?;
            }
        };
        let count = line(self)?;
        if count > SEGMENTS as u64 {
            return Err(self.malformed("a sparse file has too many segments"));
        }
        (0..count).map(|_| Ok((line(self)?, line(self)?))).collect()
    }

    fn malformed(&self, problem: impl Into<String>) -> Error {
        Error::Malformed { offset: self.offset.saturating_sub(BLOCK as u64), problem: problem.into() }
    }
}

impl<R: Read> Read for Contents<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.reader.chunk(self.entry).map_err(|error| match error {
            Error::Read(source) => source,
            other => io::Error::new(io::ErrorKind::UnexpectedEof, other),
        })?;
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        self.reader.consume(count);
        Ok(count)
    }
}

/// [`BufRead::fill_buf`] that is not interrupted.
fn fill<R: Read>(source: &mut BufReader<R>) -> Result<&[u8], Error> {
    loop {
        match source.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Read(error)),
        }
    }
    Ok(source.buffer())
}
