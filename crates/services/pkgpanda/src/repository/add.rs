//! From a tarball to a package.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use api_pkgpanda::{PackageId, TARBALL_SUFFIX};
use archive::{Compression, Ownership, ReadAhead, Whiteouts};
use rustix::fs::{AtFlags, CWD, RenameFlags};
use rustix::io::Errno;

use super::{Error, Repository, contents, is_package, mode_bits, of_contents, verify};

/// The most that may follow the end of an archive in its file: tar fills its last record up with zeros, at most
/// this much with any record size that is in use.
const PADDING: u64 = 1 << 20;

/// What came of adding a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is there now.
    New,
    /// It was there already, as far as its manifest tells as it was built; the tarball was not looked at.
    Already,
    /// It was there and damaged; another took its place.
    Replaced,
}

impl Repository {
    /// Adds the package of a tarball that is named after it: `ID.tar.xz`.
    ///
    /// # Errors
    /// Of whatever kind: nothing is there that was not there before.
    pub fn add(&self, tarball: &Path) -> Result<(PackageId, Added), Error> {
        let path = || tarball.to_owned();
        let name = tarball.file_name().and_then(|name| name.to_str());
        let stem = name.and_then(|name| name.strip_suffix(TARBALL_SUFFIX));
        let stem = stem.ok_or_else(|| Error::Suffix { path: path() })?;
        let id = stem.parse().map_err(|problem| Error::FileName { path: path(), problem })?;
        let added = self.add_as(&id, tarball)?;
        Ok((id, added))
    }

    /// Adds the package `id` of a tarball with any name. Waits ten seconds for another that writes.
    ///
    /// # Errors
    /// As [`Repository::add`].
    pub fn add_as(&self, id: &PackageId, tarball: &Path) -> Result<Added, Error> {
        let open = || File::open(tarball).map_err(Error::io("open", tarball));
        self.place(id, open, |file, new| self.unpack(id, file, new))
    }

    /// Adds the package `id` that lies in a directory, by copying it.
    ///
    /// # Errors
    /// As [`Repository::add`].
    pub fn add_directory(&self, id: &PackageId, directory: &Path) -> Result<Added, Error> {
        let ready = || Ok(());
        self.place(id, ready, |(), new| {
            crate::files::copy_directory(directory, new)?;
            self.check(id, new)
        })
    }

    /// Has a package made beside its place and puts it there, whole and on the disk. `open` comes before
    /// anything is changed.
    fn place<T>(
        &self,
        id: &PackageId,
        open: impl FnOnce() -> Result<T, Error>,
        build: impl FnOnce(T, &Path) -> Result<Option<super::Record>, Error>,
    ) -> Result<Added, Error> {
        if !is_package(id) {
            return Err(Error::Reserved(id.clone()));
        }
        if !self.lacks(id)? {
            return Ok(Added::Already);
        }
        let source = open()?;
        std::fs::create_dir_all(&self.dir).map_err(Error::io("make directory", &self.dir))?;
        let _lock = self.lock()?;
        // Another may have added it while this process waited.
        if !self.lacks(id)? {
            return Ok(Added::Already);
        }
        let (new, place) = (self.leftover(id), self.path(id));
        host::remove_tree(&new).map_err(Error::io("remove", &new))?;
        let added = build(source, &new).and_then(|record| {
            // Its contents are on the disk before its name is.
            sync(&new).map_err(Error::io("write", &new))?;
            let added = put(&new, &place).map_err(Error::io("make", &place))?;
            File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(Error::io("write", &self.dir))?;
            Ok((record, added))
        });
        match added {
            Ok((record, added)) => {
                match record {
                    Some(record) => self.remember(id, &record),
                    None => self.forget(id),
                }
                if added == Added::Replaced {
                    // The damaged one; what stays of it is a leftover, which the next writer removes.
                    let _ = host::remove_tree(&new);
                }
                Ok(added)
            }
            Err(error) => {
                // What stays is a leftover, which nobody takes for a package; the error is what counts.
                let _ = host::remove_tree(&new);
                Err(error)
            }
        }
    }

    /// Unpacks into a directory of its own and checks all that can be known of a package by itself.
    fn unpack(&self, id: &PackageId, file: File, into: &Path) -> Result<Option<super::Record>, Error> {
        let failed = |source| Error::Unpack { id: id.clone(), source };
        let detected = Compression::detect(file).map_err(failed)?;
        if detected.compression() != Compression::Xz {
            let found = match detected.compression() {
                Compression::None => "it is no compressed file that is known",
                Compression::Gzip => "but with gzip",
                Compression::Bzip2 => "but with bzip2",
                Compression::Zstd => "but with zstd",
                Compression::Xz => "but so it is",
            };
            return Err(Error::Compression { id: id.clone(), found });
        }
        let decoder = detected.reader().map_err(failed)?;
        let mut reader = ReadAhead::new(decoder).map_err(|error| failed(archive::Error::Read(error)))?;
        std::fs::create_dir(into).map_err(Error::io("make directory", into))?;
        let options = archive::Options {
            limits: self.limits,
            ownership: if host::is_root() { Ownership::Keep } else { Ownership::Current },
            whiteouts: Whiteouts::Plain,
            devices: false,
        };
        archive::unpack_tar(&mut reader, into, &options).map_err(failed)?;
        // The archive's end is not the file's: what follows has to be there whole, too.
        let rest = io::copy(&mut reader.by_ref().take(PADDING + 1), &mut io::sink());
        if rest.map_err(|error| failed(archive::Error::Read(error)))? > PADDING {
            return Err(Error::Trailing { id: id.clone(), limit: PADDING });
        }
        drop(reader);
        self.check(id, into)
    }

    /// Whether what was unpacked is a package; the record to remember if it could be compared with a manifest.
    fn check(&self, id: &PackageId, dir: &Path) -> Result<Option<super::Record>, Error> {
        self.read_info(id, dir)?;
        let package = contents::open(dir).map_err(|errno| Error::io("open", dir)(errno.into()))?;
        if host::is_root() {
            check_owners(id, package.as_fd())?;
        }
        let Some(manifest) = self.manifest(id, dir)? else { return Ok(None) };
        let compared = verify::compare(package.as_fd(), &manifest, mode_bits()).map_err(of_contents(id))?;
        match compared.differences.is_empty() {
            true => Ok(Some(compared.record)),
            false => Err(Error::Damaged { id: id.clone(), differences: compared.differences }),
        }
    }
}

/// Gives a package its place. One that has it, damaged and maybe active, is at `new` then.
fn put(new: &Path, place: &Path) -> io::Result<Added> {
    if place.symlink_metadata().is_err() {
        std::fs::rename(new, place)?;
        return Ok(Added::New);
    }
    match rustix::fs::renameat_with(CWD, new, CWD, place, RenameFlags::EXCHANGE) {
        // Not every file system can: then there is a moment with neither, and the same again after a crash in it.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV) => {
            host::remove_tree(place)?;
            std::fs::rename(new, place)?;
        }
        exchanged => exchanged?,
    }
    Ok(Added::Replaced)
}

/// Root's programs must not be anybody else's to change.
fn check_owners(id: &PackageId, package: std::os::fd::BorrowedFd<'_>) -> Result<(), Error> {
    for entry in contents::walk(package).map_err(of_contents(id))? {
        let stat = rustix::fs::statat(package, &*entry.path, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(|errno| of_contents(id)(contents::read(&entry.path)(errno)))?;
        if (stat.st_uid, stat.st_gid) != (0, 0) {
            let (path, uid, gid) = (entry.path.into(), stat.st_uid, stat.st_gid);
            return Err(Error::Owner { id: id.clone(), path, uid, gid });
        }
    }
    Ok(())
}

fn sync(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}
