//! Whether a package is what it was built as.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;

use api_pkgpanda::{MANIFEST, Manifest};
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use sha2::{Digest, Sha256};

use super::contents::{ContentsError, Entry, EntryKind, read, walk};
use super::record::{Record, Stamp};

/// Bytes that are hashed at once.
const BUFFER: usize = 128 << 10;

/// Something about a package that is not as its manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which path of the package.
    pub path: String,
    /// What about it.
    pub what: What,
}

/// What is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It is not there.
    Missing,
    /// It is there and should not be.
    Extra,
    /// It is something else.
    Kind {
        /// What it is.
        found: EntryKind,
        /// What it should be.
        expected: EntryKind,
    },
    /// Its permission bits.
    Mode {
        /// What they are.
        found: u32,
        /// What they should be.
        expected: u32,
    },
    /// Its size in bytes.
    Size {
        /// What it is.
        found: u64,
        /// What it should be.
        expected: u64,
    },
    /// Its contents, at the right size.
    Contents,
    /// Where the link leads.
    Target {
        /// Where it does.
        found: String,
        /// Where it should.
        expected: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.what {
            What::Missing => write!(f, "{path:?} is missing"),
            What::Extra => write!(f, "{path:?} does not belong to it"),
            What::Kind { found, expected } => write!(f, "{path:?} is {found} instead of {expected}"),
            What::Mode { found, expected } => {
                write!(f, "{path:?} has mode {found:04o} instead of {expected:04o}")
            }
            What::Size { found, expected } => {
                write!(f, "{path:?} has {found} bytes instead of {expected}")
            }
            What::Contents => write!(f, "{path:?} has other contents"),
            What::Target { found, expected } => {
                write!(f, "{path:?} is a link to {found:?} instead of {expected:?}")
            }
        }
    }
}

/// A comparison of a package with its manifest.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Sorted by path; empty if all is well.
    pub(crate) differences: Vec<Difference>,
    /// What was found, as it was just before it was read.
    pub(crate) record: Record,
    /// Bytes of all files.
    pub(crate) bytes: u64,
}

/// Compares every path, mode, target and content. `mode_bits` says which permission bits count: whoever is not
/// root cannot unpack all of them.
pub(crate) fn compare(
    package: BorrowedFd<'_>,
    manifest: &Manifest,
    mode_bits: u32,
) -> Result<Comparison, ContentsError> {
    let top = Stamp::of_top(&rustix::fs::fstat(package).map_err(read("."))?);
    let mut expected = expected(manifest);
    let mut compare = Compare {
        package,
        mode_bits,
        differences: Vec::new(),
        bytes: 0,
        buffer: vec![0; BUFFER],
        stamps: Vec::new(),
    };
    for entry in walk(package)? {
        match expected.remove(&*entry.path) {
            Some(expected) => compare.entry(entry, &expected)?,
            None if &*entry.path == MANIFEST => {
                let stat = compare.stat(&entry.path)?;
                compare.stamps.push((entry, Stamp::of(&stat)));
            }
            None => compare.differs(&entry.path, What::Extra),
        }
    }
    for path in expected.keys() {
        compare.differs(path, What::Missing);
    }
    let Compare { mut differences, bytes, stamps, .. } = compare;
    differences.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Comparison { differences, record: Record { top, entries: stamps }, bytes })
}

/// What a path should be.
enum Expected<'a> {
    Directory(u32),
    File(&'a api_pkgpanda::File),
    Symlink(&'a str),
}

impl Expected<'_> {
    fn kind(&self) -> EntryKind {
        match self {
            Expected::Directory(_) => EntryKind::Directory,
            Expected::File(_) => EntryKind::File,
            Expected::Symlink(_) => EntryKind::Symlink,
        }
    }
}

fn expected(manifest: &Manifest) -> BTreeMap<&str, Expected<'_>> {
    let Manifest { directories, files, symlinks, .. } = manifest;
    let directories = directories.iter().map(|(path, mode)| (path.as_str(), Expected::Directory(*mode)));
    let files = files.iter().map(|(path, file)| (path.as_str(), Expected::File(file)));
    let symlinks = symlinks.iter().map(|(path, target)| (path.as_str(), Expected::Symlink(target)));
    directories.chain(files).chain(symlinks).collect()
}

struct Compare<'a> {
    package: BorrowedFd<'a>,
    mode_bits: u32,
    differences: Vec<Difference>,
    bytes: u64,
    buffer: Vec<u8>,
    stamps: Vec<(Entry, Stamp)>,
}

impl Compare<'_> {
    fn differs(&mut self, path: &str, what: What) {
        self.differences.push(Difference { path: path.to_owned(), what });
    }

    fn stat(&self, path: &str) -> Result<Stat, ContentsError> {
        rustix::fs::statat(self.package, path, AtFlags::SYMLINK_NOFOLLOW).map_err(read(path))
    }

    fn entry(&mut self, entry: Entry, expected: &Expected<'_>) -> Result<(), ContentsError> {
        if entry.kind != expected.kind() {
            let (found, expected) = (entry.kind, expected.kind());
            self.differs(&entry.path, What::Kind { found, expected });
            return Ok(());
        }
        let stamp = match expected {
            Expected::Directory(mode) => {
                let stat = self.stat(&entry.path)?;
                self.mode(&entry.path, &stat, *mode);
                Stamp::of(&stat)
            }
            Expected::File(file) => self.file(&entry.path, file)?,
            Expected::Symlink(target) => {
                let stat = self.stat(&entry.path)?;
                let found = rustix::fs::readlinkat(self.package, &*entry.path, Vec::new());
                let found = found.map_err(read(&entry.path))?.to_string_lossy().into_owned();
                if found != **target {
                    let expected = (*target).to_owned();
                    self.differs(&entry.path, What::Target { found, expected });
                }
                Stamp::of(&stat)
            }
        };
        self.stamps.push((entry, stamp));
        Ok(())
    }

    fn mode(&mut self, path: &str, stat: &Stat, expected: u32) {
        let (found, expected) = (stat.st_mode & self.mode_bits, expected & self.mode_bits);
        if found != expected {
            self.differs(path, What::Mode { found, expected });
        }
    }

    fn file(&mut self, path: &str, expected: &api_pkgpanda::File) -> Result<Stamp, ContentsError> {
        let (file, stat) = open_file(self.package, path)?;
        self.mode(path, &stat, expected.mode);
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.bytes += size;
        if size != expected.size {
            self.differs(path, What::Size { found: size, expected: expected.size });
        } else if hash(file, path, &mut self.buffer)? != expected.sha256 {
            self.differs(path, What::Contents);
        }
        Ok(Stamp::of(&stat))
    }
}

fn open_file(package: BorrowedFd<'_>, path: &str) -> Result<(File, Stat), ContentsError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(package, path, flags, Mode::empty()).map_err(read(path))?;
    let stat = rustix::fs::fstat(&file).map_err(read(path))?;
    Ok((File::from(file), stat))
}

/// The SHA-256 of what is left to read of the file.
fn hash(mut file: File, path: &str, buffer: &mut [u8]) -> Result<String, ContentsError> {
    let mut hash = Sha256::new();
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
                return Err(read(path)(errno));
            }
        }
    }
}

/// A hash of all paths, modes, targets and contents.
pub(crate) fn fingerprint<'a>(
    package: BorrowedFd<'_>,
    entries: impl Iterator<Item = &'a Entry>,
) -> Result<String, ContentsError> {
    let mut whole = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    for Entry { path, kind } in entries {
        let (mode, contents) = match kind {
            EntryKind::Directory => (0, String::new()),
            EntryKind::File => {
                let (file, stat) = open_file(package, path)?;
                (stat.st_mode, hash(file, path, &mut buffer)?)
            }
            EntryKind::Symlink => {
                let target = rustix::fs::readlinkat(package, &**path, Vec::new()).map_err(read(path))?;
                (0, target.to_string_lossy().into_owned())
            }
        };
        // No path and no target has a zero byte.
        whole.update(format!("{path}\0{kind}\0{mode:o}\0{contents}\0"));
    }
    Ok(hex(&whole.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
