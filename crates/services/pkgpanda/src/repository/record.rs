//! What is remembered of packages that were compared with their manifests: by it activation tells from the
//! attributes of files alone that nothing changed since.
//!
//! One file per package, `.verified/ID` in the repository. A record that cannot be read, in part or at all, is
//! as good as none: the package is compared in full then.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Stat};

use super::contents::{Entry, EntryKind};

/// The first line of a record, with its version.
const MAGIC: &[u8] = b"pkgpanda verified 1\n";
/// Bytes of one entry beside its path.
const FIXED: usize = 1 + 2 + 8 + 4 + 8 + 8 + 8;

/// The attributes that change with the contents of a file: whoever writes to it cannot help changing `ctime`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    mode: u32,
    size: u64,
    /// Nanoseconds.
    mtime: i64,
    /// Nanoseconds.
    ctime: i64,
}

impl Stamp {
    pub(crate) fn of(stat: &Stat) -> Stamp {
        let nanoseconds = |seconds: i64, rest: u64| {
            seconds.wrapping_mul(1_000_000_000).wrapping_add(i64::try_from(rest).unwrap_or(0))
        };
        Stamp {
            inode: stat.st_ino,
            mode: stat.st_mode,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            ctime: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// That of the package's own directory, whose `ctime` changes when the package is moved to its place.
    pub(crate) fn of_top(stat: &Stat) -> Stamp {
        Stamp { ctime: 0, ..Stamp::of(stat) }
    }
}

/// A package as it was when it was what its manifest lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) top: Stamp,
    /// Sorted by path; the manifest itself is among them.
    pub(crate) entries: Vec<(Entry, Stamp)>,
}

impl Record {
    /// Whether every file and directory is as it was. What came into a directory, or left it, changed the
    /// directory's own attributes.
    pub(crate) fn still_holds(&self, package: BorrowedFd<'_>) -> bool {
        let top = rustix::fs::fstat(package).map(|stat| Stamp::of_top(&stat));
        top == Ok(self.top)
            && self.entries.iter().all(|(entry, stamp)| {
                let stat = rustix::fs::statat(package, &*entry.path, AtFlags::SYMLINK_NOFOLLOW);
                stat.is_ok_and(|stat| Stamp::of(&stat) == *stamp)
            })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let paths: usize = self.entries.iter().map(|(entry, _)| entry.path.len()).sum();
        let mut bytes = Vec::with_capacity(MAGIC.len() + (self.entries.len() + 1) * FIXED + paths + 8);
        bytes.extend_from_slice(MAGIC);
        let top = Entry { path: "".into(), kind: EntryKind::Directory };
        let top = (top, self.top);
        for (entry, stamp) in std::iter::once(&top).chain(&self.entries) {
            bytes.push(match entry.kind {
                EntryKind::Directory => b'd',
                EntryKind::File => b'f',
                EntryKind::Symlink => b'l',
            });
            let length = u16::try_from(entry.path.len()).expect("paths that the kernel takes are shorter");
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(&stamp.inode.to_le_bytes());
            bytes.extend_from_slice(&stamp.mode.to_le_bytes());
            bytes.extend_from_slice(&stamp.size.to_le_bytes());
            bytes.extend_from_slice(&stamp.mtime.to_le_bytes());
            bytes.extend_from_slice(&stamp.ctime.to_le_bytes());
            bytes.extend_from_slice(entry.path.as_bytes());
        }
        let sum = base::fnv1a(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Record> {
        let (body, sum) = bytes.split_last_chunk::<8>()?;
        // A crash may have left any part of it.
        if base::fnv1a(body) != u64::from_le_bytes(*sum) {
            return None;
        }
        let mut rest = Bytes(body.strip_prefix(MAGIC)?);
        let mut entries = Vec::with_capacity(body.len() / (FIXED + 24));
        while !rest.0.is_empty() {
            entries.push(rest.entry()?);
        }
        let mut entries = entries.into_iter();
        let (_, top) = entries.next()?;
        Some(Record { top, entries: entries.collect() })
    }
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn entry(&mut self) -> Option<(Entry, Stamp)> {
        let kind = match self.take::<1>()? {
            [b'd'] => EntryKind::Directory,
            [b'f'] => EntryKind::File,
            [b'l'] => EntryKind::Symlink,
            _ => return None,
        };
        let length = usize::from(u16::from_le_bytes(self.take()?));
        let stamp = Stamp {
            inode: u64::from_le_bytes(self.take()?),
            mode: u32::from_le_bytes(self.take()?),
            size: u64::from_le_bytes(self.take()?),
            mtime: i64::from_le_bytes(self.take()?),
            ctime: i64::from_le_bytes(self.take()?),
        };
        let (path, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((Entry { path: std::str::from_utf8(path).ok()?.into(), kind }, stamp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        let stamp = |inode| Stamp { inode, mode: 0o100644, size: 5, mtime: -1, ctime: i64::MAX };
        let entry = |path: &str, kind| Entry { path: path.into(), kind };
        Record {
            top: stamp(1),
            entries: vec![
                (entry("bin", EntryKind::Directory), stamp(2)),
                (entry("bin/ä", EntryKind::File), stamp(3)),
                (entry("bin/b", EntryKind::Symlink), stamp(u64::MAX)),
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Record::parse(&sample().to_bytes()), Some(sample()));
    }

    #[test]
    fn no_part_of_a_record_is_taken_for_one_and_no_other_bytes_are() {
        let bytes = sample().to_bytes();
        for length in 0..bytes.len() {
            assert_eq!(Record::parse(&bytes[..length]), None, "{length} bytes");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert_eq!(Record::parse(&changed), None, "byte {at}");
        }
    }
}
