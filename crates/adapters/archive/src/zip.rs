//! Zip files, whose directory is at their end.

use std::io::{self, Read, Seek};
use std::path::Path;

use rawzip::time::ZipDateTimeKind;
use rawzip::{CompressionMethod, ZipArchive, ZipFileHeaderRecord};

use crate::compression::Compression;
use crate::error::{Error, Refusal};
use crate::meta::Meta;
use crate::name::{NAME_BYTES, Name};
use crate::options::{Options, Unpacked};
use crate::tree::Tree;

/// Bytes decompressed at once; at least what a record of the directory may take.
const BUFFER: usize = 256 << 10;
/// Kinds of files in the mode of an entry.
const KIND: u32 = 0o170_000;
const LINK: u32 = 0o120_000;
const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
/// Systems of programs that part names by backslashes: MS-DOS, NTFS, VFAT.
const BACKSLASHED: [u8; 3] = [0, 10, 14];

/// Writes what a zip file holds below the directory `into`, which must be there. Contents may be
/// stored, deflated, or compressed by bzip2, xz or zstd.
///
/// # Errors
/// As [`unpack_tar`](crate::unpack_tar).
pub fn unpack_zip<R: Read + Seek>(source: R, into: &Path, options: &Options) -> Result<Unpacked, Error> {
    let mut tree = Tree::open(into, *options)?;
    let (mut buffer, mut records) = (vec![0; BUFFER], vec![0; BUFFER]);
    let archive = ZipArchive::from_seekable(source, &mut records).map_err(failed)?;
    let mut directory = archive.entries(&mut records);
    let (mut count, mut name, mut path) = (0, Name::default(), Vec::new());
    while let Some(record) = directory.next_entry().map_err(failed)? {
        count += 1;
        if count > options.limits.entries {
            return Err(Error::TooMany { limit: options.limits.entries });
        }
        read_path(&record, &mut path);
        name.set(&path).map_err(|refusal| Error::refused(&path, refusal))?;
        let meta = meta(&record);
        if path.ends_with(b"/") {
            tree.directory(&name, &meta)?;
            continue;
        }
        let kind = record.mode().value() & KIND;
        match kind {
            DIRECTORY => {
                tree.directory(&name, &meta)?;
                continue;
            }
            FILE | LINK => {}
            other => {
                let what = format!("zip mode {other:o}");
                return Err(Error::refused(name.bytes(), Refusal::Unknown(what)));
            }
        }
        if record.flags().is_encrypted() {
            return Err(Error::refused(name.bytes(), Refusal::Encrypted));
        }
        // What it says of itself; what comes out is counted again when it is written.
        tree.afford(name.bytes(), record.uncompressed_size_hint())?;
        let compression = compression(record.compression_method());
        let entry = archive.get_entry(record.wayfinder()).map_err(failed)?;
        let mut contents = entry.verifying_reader(open(compression, entry.reader(), name.bytes())?);
        if kind == LINK {
            let target = read_target(&mut contents, name.bytes())?;
            tree.symlink(&name, &target, &meta)?;
            continue;
        }
        let file = tree.file(&name, &meta)?;
        loop {
            let length = read(&mut contents, &mut buffer, name.bytes())?;
            if length == 0 {
                break;
            }
            tree.write(name.bytes(), &file, &buffer[..length])?;
        }
        tree.close(name.bytes(), file, &meta)?;
    }
    let (bytes, entries) = (tree.written(), count + tree.implied());
    Ok(Unpacked { bytes, entries, opaque: tree.finish()? })
}

/// How the contents of an entry are packed.
enum Packed {
    Deflated,
    Known(Compression),
    Unknown(String),
}

fn compression(method: CompressionMethod) -> Packed {
    match method {
        CompressionMethod::STORE => Packed::Known(Compression::None),
        CompressionMethod::DEFLATE => Packed::Deflated,
        CompressionMethod::BZIP2 => Packed::Known(Compression::Bzip2),
        CompressionMethod::XZ => Packed::Known(Compression::Xz),
        CompressionMethod::ZSTD => Packed::Known(Compression::Zstd),
        other => Packed::Unknown(format!(
            "zip compression {}{}",
            other.as_u16(),
            other.name().map(|name| format!(" ({name})")).unwrap_or_default()
        )),
    }
}

fn open<'a>(packed: Packed, reader: impl Read + 'a, entry: &[u8]) -> Result<Box<dyn Read + 'a>, Error> {
    Ok(match packed {
        Packed::Deflated => Box::new(flate2::read::DeflateDecoder::new(reader)),
        Packed::Known(compression) => Box::new(compression.reader(reader)?),
        Packed::Unknown(what) => return Err(Error::refused(entry, Refusal::Unknown(what))),
    })
}

fn read(contents: &mut impl Read, buffer: &mut [u8], entry: &[u8]) -> Result<usize, Error> {
    loop {
        match contents.read(buffer) {
            Ok(length) => return Ok(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(match error.kind() {
                    io::ErrorKind::UnexpectedEof => Error::Truncated { entry: crate::error::shown(entry) },
                    io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                        Error::refused(entry, Refusal::Damaged)
                    }
                    _ => Error::Read(error),
                });
            }
        }
    }
}

/// The contents of a symbolic link's entry are where it leads.
fn read_target(contents: &mut impl Read, entry: &[u8]) -> Result<Vec<u8>, Error> {
    let mut target = vec![0; NAME_BYTES + 1];
    let mut length = 0;
    loop {
        match read(contents, &mut target[length..], entry)? {
            0 if length > NAME_BYTES => return Err(Error::refused(entry, Refusal::LongName(NAME_BYTES))),
            0 => break,
            more => length += more,
        }
    }
    target.truncate(length);
    if target.contains(&0) {
        return Err(Error::refused(entry, Refusal::Nul));
    }
    Ok(target)
}

fn read_path(record: &ZipFileHeaderRecord<'_>, path: &mut Vec<u8>) {
    path.clear();
    path.extend_from_slice(record.file_path().as_bytes());
    // The upper byte of "version made by" is the system.
    let system = (record.version_made_by().as_u16() >> 8) as u8;
    if BACKSLASHED.contains(&system) && !path.contains(&b'/') {
        path.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
    }
}

fn meta(record: &ZipFileHeaderRecord<'_>) -> Meta {
    let (seconds, nanoseconds) = seconds(&record.last_modified());
    Meta { mode: record.mode().value() & 0o7777, seconds, nanoseconds, ..Meta::default() }
}

/// Since the epoch. A time without a zone, as most zips have it, is taken as UTC.
fn seconds(time: &ZipDateTimeKind) -> (i64, u32) {
    let (year, month, day) = (i64::from(time.year()), i64::from(time.month()), i64::from(time.day()));
    // Years that begin in March put the leap day at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1
        - 719_468;
    let clock = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    (days * 86_400 + clock, time.nanosecond())
}

/// An error of the zip's structure.
fn failed(error: rawzip::Error) -> Error {
    let offset = error.eocd_offset().unwrap_or(0);
    match error.into_kind() {
        rawzip::ErrorKind::IO(source) => Error::Read(source),
        rawzip::ErrorKind::MissingEndOfCentralDirectory => {
            Error::Malformed { offset, problem: "not a zip, or cut at its end".to_owned() }
        }
        rawzip::ErrorKind::Eof => Error::Truncated { entry: "the directory of the zip".to_owned() },
        other => Error::Malformed { offset, problem: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_since_the_epoch() {
        let check = |unix: i64| {
            let time = ZipDateTimeKind::Utc(rawzip::time::UtcDateTime::from_unix(unix));
            assert_eq!(seconds(&time), (unix, 0));
        };
        [0, 951_782_399, 951_782_400, 1_000_000_000, 1_709_251_199, 4_107_542_400]
            .into_iter()
            .for_each(check);
    }
}
