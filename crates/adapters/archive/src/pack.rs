//! Writing a directory as a tar: the same directory always as the same bytes.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::shown;
use crate::tar::writer::{self, Attribute, Head};

/// The most directories within directories, as in what is extracted.
const DEEPEST: usize = 256;
/// Bytes of a file that are read at once.
const BUFFER: usize = 256 << 10;
/// Bits that only the owner may have: what a umask of 022 would have taken.
const MASKED: u32 = 0o022;
/// The one extended attribute that is part of what a file does; the others tell of the machine it lay on.
const CAPABILITY: &str = "security.capability";
/// The largest value of it, with room.
const CAPABILITY_BYTES: usize = 256;

/// How a directory is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackOptions {
    /// The time of every entry, in seconds since the epoch.
    pub seconds: u64,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Bytes of files' contents.
    pub bytes: u64,
    /// Entries, the directory itself included.
    pub entries: u64,
}

/// Why a directory was not written, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The file system refused.
    #[error("{attempt} \"{entry}\"")]
    Read {
        /// What was attempted: "open", "read", ...
        attempt: &'static str,
        /// The path below the directory, with `./` before it.
        entry: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The bytes were not taken.
    #[error("write the archive")]
    Write(#[source] io::Error),
    /// A device, FIFO or socket.
    #[error("\"{entry}\" is a {kind}, which has no place in an archive")]
    Special {
        /// Its path.
        entry: String,
        /// What it is.
        kind: &'static str,
    },
    /// A file that somebody else was still writing.
    #[error("\"{entry}\" changed while it was read")]
    Changed {
        /// Its path.
        entry: String,
    },
    /// Too many directories within each other.
    #[error("\"{entry}\" is more than {DEEPEST} directories deep")]
    Deep {
        /// The directory.
        entry: String,
    },
}

/// Writes all that is in `dir` as a tar to `to`, which is not flushed.
///
/// The bytes depend on names, modes, contents and links alone: entries are sorted, `./` is the first, every one
/// belongs to user and group 0 and has the same time. A mode keeps set-user-id, set-group-id and sticky, and loses
/// what group and others may write. Of the names of one file the first is the file, the others are hard links to
/// it. Of extended attributes only `security.capability` is kept.
///
/// # Errors
/// [`PackError`]; what has been written by then is of no use.
pub fn pack_tar(dir: &Path, to: impl Write, options: &PackOptions) -> Result<Packed, PackError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(dir, flags, Mode::empty()).map_err(|error| failed("open", b".", error))?;
    let mut pack = Pack {
        to,
        seconds: options.seconds,
        links: HashMap::new(),
        buffer: vec![0; BUFFER],
        path: b"./".to_vec(),
        packed: Packed::default(),
    };
    let stat = rustix::fs::fstat(&top).map_err(|error| failed("examine", b"./", error))?;
    pack.directory(top, &stat, 0)?;
    writer::end(&mut pack.to).map_err(PackError::Write)?;
    Ok(pack.packed)
}

struct Pack<W> {
    to: W,
    seconds: u64,
    /// The first name of each file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
    /// The entry at hand; a directory's ends with a slash.
    path: Vec<u8>,
    packed: Packed,
}

impl<W: Write> Pack<W> {
    /// The directory at `path` and all that is in it.
    fn directory(&mut self, fd: OwnedFd, stat: &Stat, depth: usize) -> Result<(), PackError> {
        if depth > DEEPEST {
            return Err(PackError::Deep { entry: shown(&self.path) });
        }
        self.head(b'5', stat.st_mode, b"", 0, &[])?;
        let length = self.path.len();
        for name in self.names(&fd)? {
            self.path.extend_from_slice(&name);
            self.entry(fd.as_fd(), &name, depth)?;
            self.path.truncate(length);
        }
        Ok(())
    }

    fn entry(&mut self, dir: BorrowedFd<'_>, name: &[u8], depth: usize) -> Result<(), PackError> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| failed("examine", &self.path, error))?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let fd = self.open(dir, name, OFlags::DIRECTORY)?;
                self.path.push(b'/');
                return self.directory(fd, &stat, depth + 1);
            }
            FileType::RegularFile => return self.file(dir, name, &stat),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new())
                    .map_err(|error| failed("read the link", &self.path, error))?;
                return self.head(b'2', 0o777, target.as_bytes(), 0, &[]);
            }
            FileType::Fifo => "FIFO",
            FileType::Socket => "socket",
            FileType::CharacterDevice => "character device",
            FileType::BlockDevice => "block device",
            FileType::Unknown => "file of unknown kind",
        };
        Err(PackError::Special { entry: shown(&self.path), kind })
    }

    fn file(&mut self, dir: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> Result<(), PackError> {
        if stat.st_nlink > 1 {
            let identity = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&identity).cloned() {
                return self.head(b'1', stat.st_mode, &first, 0, &[]);
            }
            self.links.insert(identity, self.path.clone());
        }
        let fd = self.open(dir, name, OFlags::empty())?;
        let size = u64::try_from(stat.st_size).expect("a file has no negative size");
        let attributes = self.capability(fd.as_fd())?;
        self.head(b'0', stat.st_mode, b"", size, attributes.as_slice())?;
        self.contents(&fd, size)?;
        self.packed.bytes += size;
        writer::pad(&mut self.to, size).map_err(PackError::Write)
    }

    /// Exactly `size` bytes: the header has promised them.
    fn contents(&mut self, fd: &OwnedFd, size: u64) -> Result<(), PackError> {
        let mut left = size;
        loop {
            let count = match rustix::io::read(fd, &mut *self.buffer) {
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(failed("read", &self.path, error)),
            };
            left = match left.checked_sub(count as u64) {
                Some(left) if count > 0 || left == 0 => left,
                _ => return Err(PackError::Changed { entry: shown(&self.path) }),
            };
            if count == 0 {
                return Ok(());
            }
            self.to.write_all(&self.buffer[..count]).map_err(PackError::Write)?;
        }
    }

    fn capability(&self, fd: BorrowedFd<'_>) -> Result<Vec<Attribute<'static>>, PackError> {
        let mut value = vec![0; CAPABILITY_BYTES];
        match rustix::fs::fgetxattr(fd, CAPABILITY, &mut value) {
            Ok(length) => {
                value.truncate(length);
                Ok(vec![(CAPABILITY.as_bytes(), value)])
            }
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(Vec::new()),
            Err(error) => Err(failed("read the capabilities of", &self.path, error)),
        }
    }

    fn head(
        &mut self,
        kind: u8,
        mode: u32,
        link: &[u8],
        size: u64,
        attributes: &[Attribute<'_>],
    ) -> Result<(), PackError> {
        let mode = if kind == b'2' { mode } else { mode & !MASKED };
        let head = Head { path: &self.path, kind, link, mode, size, seconds: self.seconds, attributes };
        writer::head(&mut self.to, &head).map_err(PackError::Write)?;
        self.packed.entries += 1;
        Ok(())
    }

    /// What is in a directory, sorted by bytes.
    fn names(&self, fd: &OwnedFd) -> Result<Vec<Vec<u8>>, PackError> {
        let list = || -> Result<Vec<Vec<u8>>, Errno> {
            let mut names = Vec::new();
            for entry in Dir::read_from(fd)? {
                let name = entry?.file_name().to_bytes().to_vec();
                if name != b"." && name != b".." {
                    names.push(name);
                }
            }
            names.sort_unstable();
            Ok(names)
        };
        list().map_err(|error| failed("list", &self.path, error))
    }

    fn open(&self, dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, PackError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | flags;
        rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|error| failed("open", &self.path, error))
    }
}

fn failed(attempt: &'static str, entry: &[u8], error: Errno) -> PackError {
    PackError::Read { attempt, entry: shown(entry), source: error.into() }
}
