use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use api_pkgpanda::{Contents, Kind};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};

use crate::Error;

/// How deep packages are walked.
const DEPTH_LIMIT: usize = 64;

/// Looks through a package that has no manifest. Only the directories that are merged are walked, with `services` all of
/// them, for their `*.service` files.
///
/// # Errors
/// What cannot be read, is nested deeper than 64 directories, or has a name that is not UTF-8.
pub fn contents(package: &Path, services: bool) -> Result<Contents, Error> {
    let mut found = Contents::default();
    walk(package, "", services, 0, &mut found)?;
    Ok(found)
}

fn walk(
    package: &Path,
    below: &str,
    services: bool,
    depth: usize,
    found: &mut Contents,
) -> Result<(), Error> {
    let place = package.join(below);
    let failed = |errno| Error::file("read directory", &place, errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // The package itself may be a link to where it lies.
    let flags = if below.is_empty() { flags - OFlags::NOFOLLOW } else { flags };
    let opened = rustix::fs::openat(CWD, &place, flags, Mode::empty()).map_err(failed)?;
    let mut directories = Vec::new();
    let mut entries = Dir::new(opened).map_err(failed)?;
    while let Some(entry) = entries.read() {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let damaged = |reason: &str| Error::Damaged {
            path: place.join(OsStr::from_bytes(name)),
            reason: reason.to_owned(),
        };
        let name = str::from_utf8(name).map_err(|_| damaged("its name is not UTF-8"))?;
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            let here = entries.fd().map_err(failed)?;
            let stat = rustix::fs::statat(here, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            kind = FileType::from_raw_mode(stat.st_mode);
        }
        if kind != FileType::Directory {
            found.add(&path, Kind::File);
            continue;
        }
        found.add(&path, Kind::Directory);
        if !below.is_empty() || services || Contents::is_merged(name) {
            if depth == DEPTH_LIMIT {
                return Err(damaged("it is nested too deep"));
            }
            directories.push(path);
        }
    }
    drop(entries);
    directories.iter().try_for_each(|path| walk(package, path, services, depth + 1, found))
}
