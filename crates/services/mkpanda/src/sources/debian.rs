//! Debian's packages as sources.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::SourceProblem;
use super::{Place, apt};

/// Unpacks a package of Debian. It is fetched if the cache does not have it.
pub(super) fn checkout(
    place: &Place<'_>,
    package: &str,
    version: &str,
    sha256: &str,
    to: &Path,
    say: &dyn Fn(&str),
) -> Result<(), SourceProblem> {
    let file = match kept(&place.cache, package, sha256) {
        Some(file) => file,
        None => {
            say(&format!("fetching the Debian package {package} {version}"));
            fetch(place, package, version, sha256)?
        }
    };
    Ok(::debian::extract(&file, to)?)
}

fn fetch(place: &Place<'_>, package: &str, version: &str, sha256: &str) -> Result<PathBuf, SourceProblem> {
    fs::create_dir_all(&place.cache).map_err(SourceProblem::file("make the directory", &place.cache))?;
    // `cache/packages/NAME/SOURCE`
    let cache = place.cache.ancestors().nth(3).unwrap_or(&place.cache);
    let mut files = apt::with(cache, |apt| {
        let found = apt.find(package, version)?;
        if found.sha256 != sha256 {
            let (package, version) = (package.to_owned(), version.to_owned());
            let (expected, found) = (sha256.to_owned(), found.sha256);
            return Err(::debian::Error::Hash { package, version, expected, found });
        }
        apt.fetch(&[found], &place.cache)
    })?;
    files.pop().ok_or_else(|| ::debian::Error::Unknown { package: package.to_owned() }.into())
}

/// The file that the cache has of the package, if it is the wanted one. Others of the package are older.
fn kept(cache: &Path, package: &str, sha256: &str) -> Option<PathBuf> {
    let begins = format!("{package}_");
    fs::read_dir(cache).ok()?.flatten().find_map(|entry| {
        let is_named = entry.file_name().to_str().is_some_and(|name| name.starts_with(&begins));
        (is_named && digest(&entry.path()).is_ok_and(|found| found == sha256)).then(|| entry.path())
    })
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hash = Hash(Sha256::new());
    io::copy(&mut fs::File::open(path)?, &mut hash)?;
    Ok(hash.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

struct Hash(Sha256);

impl io::Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
