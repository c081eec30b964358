//! From entries to files.

use std::ffi::OsStr;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::SeekFrom;

use crate::error::{Error, Refusal};
use crate::meta::EntryKind;
use crate::name::Name;
use crate::options::{Limits, Options, Unpacked};
use crate::tar::{Entry, Reader};
use crate::tree::Tree;

/// Writes what a tar holds below the directory `into`, which must be there. `source` is the tar
/// itself: see [`Compression`](crate::Compression) for what is around it. It is read up to the
/// archive's end, not to its own: who checks a digest reads on.
///
/// # Errors
/// At the first entry that is refused, cut, too large or cannot be written. What came before it is
/// there: the directory is the caller's to remove.
pub fn unpack_tar<R: Read>(source: R, into: &Path, options: &Options) -> Result<Unpacked, Error> {
    let mut tree = Tree::open(into, *options)?;
    let mut reader = Reader::new(source, options.limits);
    let (mut entry, mut name) = (Entry::new(), Name::default());
    while reader.next(&mut entry)? {
        name.set(&entry.path).map_err(|refusal| Error::refused(&entry.path, refusal))?;
        if tree.whiteout(&name)? {
            continue;
        }
        match entry.kind {
            EntryKind::File => write_file(&mut tree, &mut reader, &name, &entry)?,
            EntryKind::Directory => tree.directory(&name, &entry.meta)?,
            EntryKind::Symlink => {
                if entry.link.contains(&0) {
                    return Err(Error::refused(&entry.path, Refusal::Nul));
                }
                tree.symlink(&name, &entry.link, &entry.meta)?;
            }
            EntryKind::HardLink => tree.hard_link(&name, &entry.link)?,
            kind @ (EntryKind::CharacterDevice | EntryKind::BlockDevice | EntryKind::Fifo) => {
                tree.special(&name, kind, entry.device, &entry.meta)?;
            }
        }
    }
    let (bytes, entries) = (tree.written(), reader.entries() + tree.implied());
    Ok(Unpacked { bytes, entries, opaque: tree.finish()? })
}

fn write_file<R: Read>(
    tree: &mut Tree,
    reader: &mut Reader<R>,
    name: &Name,
    entry: &Entry,
) -> Result<(), Error> {
    tree.afford(name.bytes(), entry.stored)?;
    let file = tree.file(name, &entry.meta)?;
    match &entry.map {
        None => loop {
            let bytes = reader.chunk(name.bytes())?;
            if bytes.is_empty() {
                break;
            }
            let count = bytes.len();
            tree.write(name.bytes(), &file, bytes)?;
            reader.consume(count);
        },
        Some(map) => {
            let failed = |errno| Error::write("write file", name.bytes(), errno);
            for (offset, length) in &map.segments {
                if *length > 0 {
                    rustix::fs::seek(&file, SeekFrom::Start(*offset)).map_err(failed)?;
                    write_segment(tree, reader, name, &file, *length)?;
                }
            }
            rustix::fs::ftruncate(&file, map.size).map_err(failed)?;
        }
    }
    tree.close(name.bytes(), file, &entry.meta)
}

fn write_segment<R: Read>(
    tree: &mut Tree,
    reader: &mut Reader<R>,
    name: &Name,
    file: &OwnedFd,
    mut length: u64,
) -> Result<(), Error> {
    while length > 0 {
        let bytes = reader.chunk(name.bytes())?;
        let count = bytes.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        tree.write(name.bytes(), file, &bytes[..count])?;
        reader.consume(count);
        length -= count as u64;
    }
    Ok(())
}

/// An entry of a tar that is only looked through.
#[derive(Clone, Copy, Debug)]
pub struct TarEntry<'a> {
    /// Its checked name: relative, without `.` and `..`; empty for the top.
    pub path: &'a Path,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of its contents.
    pub size: u64,
    /// Where its contents begin in the tar, for who reads them later; a file with holes is not stored
    /// in one piece.
    pub offset: u64,
    /// Where a link leads, as it stands there.
    pub link: Option<&'a Path>,
}

/// Looks through a tar: calls `each` with every entry and its contents, which it may read or not,
/// until it breaks off or the archive ends. Nothing is written.
///
/// # Errors
/// Those of the archive, as `E`, and those of `each`.
pub fn tar_entries<R: Read, E: From<Error>>(
    source: R,
    limits: Limits,
    mut each: impl FnMut(TarEntry<'_>, &mut dyn Read) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let mut reader = Reader::new(source, limits);
    let (mut entry, mut name) = (Entry::new(), Name::default());
    while reader.next(&mut entry)? {
        name.set(&entry.path).map_err(|refusal| Error::refused(&entry.path, refusal))?;
        let is_link = matches!(entry.kind, EntryKind::Symlink | EntryKind::HardLink);
        let shown = TarEntry {
            path: Path::new(OsStr::from_bytes(name.bytes())),
            kind: entry.kind,
            size: entry.size(),
            offset: reader.offset(),
            link: is_link.then(|| Path::new(OsStr::from_bytes(&entry.link))),
        };
        if each(shown, &mut reader.contents(name.bytes()))?.is_break() {
            break;
        }
    }
    Ok(())
}
