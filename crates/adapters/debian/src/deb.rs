use std::fs::File;
use std::io::{self, BufReader, Read, Take};
use std::ops::ControlFlow;
use std::path::Path;

use archive::{Compression, EntryKind, Limits, Options, Ownership, ReadAhead, Whiteouts};

use crate::error::Error;

/// What comes before the members of an `ar` archive.
const MAGIC: &[u8; 8] = b"!<arch>\n";
/// The length of a member's header.
const HEADER: usize = 60;
/// More than any package of Debian takes.
const LIMITS: Limits = Limits { bytes: 8 << 30, entries: 500_000 };
/// The most bytes of a maintainer script that is looked at.
const SCRIPT: u64 = 1 << 20;
/// What a package's description may take in all.
const CONTROL: Limits = Limits { bytes: 64 << 20, entries: 1000 };

/// Unpacks what the package in `file` (a `.deb`) installs into the directory `into`, which must be there; owners are
/// kept when root does it. No maintainer script runs.
///
/// # Errors
/// When it is no package, or cannot be written. What came before that is there.
pub fn extract(file: &Path, into: &Path) -> Result<(), Error> {
    let ownership = if host::is_root() { Ownership::Keep } else { Ownership::Current };
    let options = Options { limits: LIMITS, ownership, whiteouts: Whiteouts::Plain, devices: false };
    let reader = ReadAhead::new(member(file, "data.tar")?);
    let reader = reader.map_err(Error::file("start a thread for", file))?;
    match archive::unpack_tar(reader, into, &options) {
        Ok(_) => Ok(()),
        Err(source) => Err(Error::Unpack { file: file.to_owned(), source }),
    }
}

/// A script or file that describes the package in `file`, such as `postinst`; none if it has none.
pub(crate) fn control(file: &Path, name: &str) -> Result<Option<String>, Error> {
    let mut found = None;
    let read =
        archive::tar_entries::<_, archive::Error>(member(file, "control.tar")?, CONTROL, |entry, from| {
            if entry.path != Path::new(name) || entry.kind != EntryKind::File {
                return Ok(ControlFlow::Continue(()));
            }
            let mut bytes = Vec::new();
            from.take(SCRIPT).read_to_end(&mut bytes).map_err(archive::Error::Read)?;
            found = Some(String::from_utf8_lossy(&bytes).into_owned());
            Ok(ControlFlow::Break(()))
        });
    read.map_err(|source| Error::Unpack { file: file.to_owned(), source })?;
    Ok(found)
}

/// The decompressed member of a package whose name is `name` and maybe an ending.
fn member(file: &Path, name: &str) -> Result<impl Read + Send + use<>, Error> {
    let opened = File::open(file).map_err(Error::file("open", file))?;
    let malformed = |problem: String| Error::Malformed { file: file.to_owned(), problem };
    let found = find(BufReader::with_capacity(64 << 10, opened), name);
    let bytes = found.map_err(|problem| malformed(problem.to_string()))?;
    let detected = Compression::detect(bytes).and_then(archive::Detected::reader);
    detected.map_err(|source| Error::Unpack { file: file.to_owned(), source })
}

/// Goes to a member of an `ar` archive: `!<arch>\n`, then for each member a header of 60 bytes (its name in the first
/// 16, its size in ten digits from 48) and its bytes, filled up to an even number.
fn find<R: Read>(mut source: R, name: &str) -> io::Result<Take<R>> {
    let broken = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    let mut magic = [0; MAGIC.len()];
    source.read_exact(&mut magic).map_err(|_| broken("it is too short".into()))?;
    if magic != *MAGIC {
        return Err(broken("it does not begin as one".into()));
    }
    loop {
        let mut header = [0; HEADER];
        source.read_exact(&mut header).map_err(|_| broken(format!("it has no {name}")))?;
        let text = |range: std::ops::Range<usize>| std::str::from_utf8(&header[range]).map(str::trim_end);
        let size = text(48..58).ok().and_then(|size| size.parse::<u64>().ok());
        let (Ok(found), Some(size)) = (text(0..16), size) else {
            return Err(broken("a member has no name or no size".into()));
        };
        let found = found.trim_end_matches('/');
        if found.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
            return Ok(source.take(size));
        }
        let padded = size + size % 2;
        if io::copy(&mut source.by_ref().take(padded), &mut io::sink())? < padded {
            return Err(broken("it is cut".into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ar(members: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (name, contents) in members {
            let size = contents.len();
            bytes.extend(format!("{name:<16}{:<32}{size:<10}`\n", 0).bytes());
            bytes.extend(contents.bytes());
            bytes.extend(std::iter::repeat_n(b'\n', size % 2));
        }
        bytes
    }

    #[test]
    fn members_are_found_by_name() {
        let check = |name: &str, expected: Result<&str, &str>| {
            let archive = ar(&[("debian-binary", "2.0"), ("control.tar.xz/", "c"), ("data.tar", "data")]);
            let mut text = String::new();
            let found = find(&archive[..], name).and_then(|mut from| from.read_to_string(&mut text));
            let found = found.map(|_| text.as_str()).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{name}");
        };
        check("debian-binary", Ok("2.0"));
        check("control.tar", Ok("c"));
        check("data.tar", Ok("data"));
        check("data", Ok("data"));
        check("dat", Err("it has no dat"));
    }

    #[test]
    fn what_is_no_package_is_said() {
        let check = |bytes: &[u8], expected: &str| {
            let error = find(bytes, "data.tar").err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), Some(expected));
        };
        check(b"", "it is too short");
        check(b"PK\x03\x04 and more", "it does not begin as one");
        check(MAGIC, "it has no data.tar");
        let mut cut = ar(&[("debian-binary", "2.0 and a lot more")]);
        cut.truncate(cut.len() - 4);
        check(&cut, "it is cut");
        let mut huge = ar(&[("debian-binary", "2.0")]);
        huge[8 + 48..8 + 58].copy_from_slice(b"9999999999");
        check(&huge, "it is cut");
        huge[8 + 48..8 + 58].copy_from_slice(b"-1        ");
        check(&huge, "a member has no name or no size");
    }
}
