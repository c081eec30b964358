//! The directory of packages.
//!
//! `ID/` is a package: it came there by one rename, whole and, if it has a manifest, verified. `ID_tmp` is what
//! a process was unpacking or removing when it ended; nothing looks at it but the next one that writes. Beside
//! them: `.lock`, held by whoever writes; `.verified/ID`, what [`Repository::load_verified`] knows without
//! reading contents again; `.downloads/`, tarballs on their way.

mod add;
mod contents;
mod error;
mod record;
#[cfg(test)]
pub(crate) mod tests;
mod verify;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use api_pkgpanda::{BUILDINFO, Contents, Kind, MANIFEST, Manifest, PKGINFO, PackageId, PkgInfo};
use host::{FileLock, LockError};
use pkgpanda_core::Package;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub use add::Added;
pub use contents::{ContentsError, EntryKind};
pub use error::Error;
pub use verify::{Difference, What};

use contents::Entry;
use record::Record;

/// What stands behind the id of a package that is being unpacked or removed.
const LEFTOVER: &str = "_tmp";
/// The version of packages that are made on the host, which stays the same when they change.
const SETUP: &str = "setup";
/// How long a writer waits for another.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// The largest `pkginfo.json`, `buildinfo.full.json` and manifest that are read.
const MAX_JSON: u64 = 256 << 20;

/// What may come out of one tarball, unless said otherwise.
const LIMITS: archive::Limits = archive::Limits { bytes: 8 << 30, entries: 500_000 };

/// A directory of packages.
#[derive(Clone, Debug)]
pub struct Repository {
    dir: PathBuf,
    limits: archive::Limits,
}

/// What [`Repository::verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// All of it is as it was built.
    Whole {
        /// How many files, directories and links.
        entries: usize,
        /// Bytes of the files.
        bytes: u64,
    },
    /// It is not; at least one difference, sorted by path.
    Damaged(Vec<Difference>),
    /// It has no manifest, as packages that the original mkpanda built: nothing can be said.
    NoManifest,
}

impl Repository {
    /// The repository in that directory, which need not be there.
    pub fn new(dir: impl Into<PathBuf>) -> Repository {
        Repository { dir: dir.into(), limits: LIMITS }
    }

    /// The same with other bounds on what comes out of one tarball.
    pub fn with_limits(self, limits: archive::Limits) -> Repository {
        Repository { limits, ..self }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a package is, or would be.
    pub fn path(&self, id: &PackageId) -> PathBuf {
        self.dir.join(id)
    }

    /// Whether the package is there.
    pub fn has(&self, id: &PackageId) -> bool {
        is_package(id) && self.path(id).is_dir()
    }

    /// Whether the package is to be had from elsewhere: it is not there, or it is and every file was looked at, and it
    /// is not what it was built as.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn lacks(&self, id: &PackageId) -> Result<bool, Error> {
        if !self.has(id) {
            return Ok(true);
        }
        let looked = self.verify(id).and_then(|found| self.read_info(id, &self.path(id)).map(|_| found));
        match looked {
            Ok(found) => Ok(matches!(found, Verification::Damaged(_))),
            Err(error) if error.is_of_tarball() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// All packages, sorted. A directory that is not there has none. What a package holds is not looked at.
    pub fn list(&self) -> Result<Vec<PackageId>, Error> {
        let entries = match std::fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::io("read", &self.dir))?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &self.dir))?;
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<PackageId>().ok()) else {
                continue;
            };
            let kind = entry.file_type().map_err(Error::io("read", entry.path()))?;
            if is_package(&id) && (kind.is_dir() || (kind.is_symlink() && entry.path().is_dir())) {
                ids.push(id);
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Reads what the package says about itself and which files it has. Their contents are not looked at.
    pub fn load(&self, id: &PackageId) -> Result<Package, Error> {
        let package = self.open(id)?;
        let entries = contents::walk(package.as_fd()).map_err(of_contents(id))?;
        self.read(id, package.as_fd(), entries.iter())
    }

    /// [`Repository::load`] for a package that is to be activated: it has to be what its manifest lists, if it has
    /// one. What was compared before is compared again only if the attributes of a file in it have changed.
    ///
    /// # Errors
    /// [`Error::Damaged`] says how it differs.
    pub fn load_verified(&self, id: &PackageId) -> Result<Package, Error> {
        let package = self.open(id)?;
        if let Some(record) = self.record(id).filter(|record| record.still_holds(package.as_fd())) {
            return self.read(id, package.as_fd(), record.entries.iter().map(|(entry, _)| entry));
        }
        match self.verify(id)? {
            Verification::Damaged(differences) => Err(Error::Damaged { id: id.clone(), differences }),
            Verification::Whole { .. } | Verification::NoManifest => self.load(id),
        }
    }

    /// Compares every file of the package with its manifest, and remembers the result if all is well.
    pub fn verify(&self, id: &PackageId) -> Result<Verification, Error> {
        let package = self.open(id)?;
        let Some(manifest) = self.manifest(id, &self.path(id))? else { return Ok(Verification::NoManifest) };
        let compared = verify::compare(package.as_fd(), &manifest, mode_bits()).map_err(of_contents(id))?;
        if !compared.differences.is_empty() {
            self.forget(id);
            return Ok(Verification::Damaged(compared.differences));
        }
        self.remember(id, &compared.record);
        Ok(Verification::Whole { entries: compared.record.entries.len(), bytes: compared.bytes })
    }

    /// Removes a package that is not among `active`. Gives false if there is none.
    pub fn remove(&self, id: &PackageId, active: &BTreeSet<PackageId>) -> Result<bool, Error> {
        if active.contains(id) {
            return Err(Error::Active(id.clone()));
        }
        if !self.has(id) {
            return Ok(false);
        }
        let _lock = self.lock()?;
        let (path, leftover) = (self.path(id), self.leftover(id));
        host::remove_tree(&leftover).map_err(Error::io("remove", &leftover))?;
        match std::fs::rename(&path, &leftover) {
            // Somebody else has removed it while this process waited.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            renamed => renamed.map_err(Error::io("remove", &path))?,
        }
        self.forget(id);
        host::remove_tree(&leftover).map_err(Error::io("remove", &leftover))?;
        Ok(true)
    }

    /// Removes what processes left behind that ended in the middle: half unpacked and half removed packages, and
    /// what is remembered of packages that are gone. Every writer does it for the package it writes; this is for
    /// all others.
    pub fn sweep(&self) -> Result<(), Error> {
        let entries = match std::fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(Error::io("read", &self.dir))?,
        };
        let _lock = self.lock()?;
        for entry in entries {
            let path = entry.map_err(Error::io("read", &self.dir))?.path();
            if is_leftover(&path) {
                host::remove_tree(&path).map_err(Error::io("remove", &path))?;
            }
        }
        self.sweep_downloads();
        let Ok(records) = std::fs::read_dir(self.dir.join(VERIFIED)) else { return Ok(()) };
        for record in records.flatten() {
            let id = record.file_name().to_str().and_then(|name| name.parse::<PackageId>().ok());
            if !id.is_some_and(|id| self.has(&id)) {
                // Only time is lost if it stays.
                let _ = std::fs::remove_file(record.path());
            }
        }
        Ok(())
    }

    /// Downloads that nobody went on with. Only room is lost by one that stays.
    fn sweep_downloads(&self) {
        let Ok(parts) = std::fs::read_dir(self.dir.join(DOWNLOADS)) else { return };
        for part in parts.flatten() {
            let written = part.metadata().and_then(|meta| meta.modified()).ok();
            if written.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > MAX_DOWNLOAD_AGE) {
                let _ = std::fs::remove_file(part.path());
            }
        }
    }

    /// Keeps other writers away for as long as it is held. Waits ten seconds for one that is there.
    fn lock(&self) -> Result<FileLock, Error> {
        let path = self.dir.join(".lock");
        FileLock::take_within(&path, LOCK_WAIT, |_| {}).map_err(|error| match error {
            LockError::Held { owner, .. } => {
                Error::Locked { path: self.dir.clone(), owner, seconds: LOCK_WAIT.as_secs() }
            }
            LockError::Lock { source, path } => Error::Io { attempt: "lock", path, source },
        })
    }

    fn leftover(&self, id: &PackageId) -> PathBuf {
        self.dir.join(format!("{id}{LEFTOVER}"))
    }

    fn open(&self, id: &PackageId) -> Result<OwnedFd, Error> {
        if !is_package(id) {
            return Err(Error::Missing(id.clone()));
        }
        let path = self.path(id);
        contents::open(&path).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => Error::Missing(id.clone()),
            errno => Error::io("open", path)(errno.into()),
        })
    }

    /// Reads the two files that say what a package is.
    fn read<'a>(
        &self,
        id: &PackageId,
        package: BorrowedFd<'_>,
        entries: impl Iterator<Item = &'a Entry> + Clone,
    ) -> Result<Package, Error> {
        let (info, buildinfo) = self.read_info(id, &self.path(id))?;
        let mut contents = Contents::default();
        for entry in entries.clone() {
            let kind = match entry.kind {
                EntryKind::Directory => Kind::Directory,
                EntryKind::File | EntryKind::Symlink => Kind::File,
            };
            contents.add(&entry.path, kind);
        }
        // The ids of all others change with their contents.
        let fingerprint = match id.version() == SETUP {
            true => Some(verify::fingerprint(package, entries).map_err(of_contents(id))?),
            false => None,
        };
        Ok(Package { id: id.clone(), info, contents, buildinfo, fingerprint })
    }

    fn read_info(&self, id: &PackageId, dir: &Path) -> Result<(PkgInfo, Option<serde_json::Value>), Error> {
        let text = read_small(&dir.join(PKGINFO))?.ok_or_else(|| Error::NoPkgInfo(id.clone()))?;
        let info = PkgInfo::parse(&String::from_utf8_lossy(&text));
        let info = info.map_err(|problem| Error::PkgInfo { id: id.clone(), problem })?;
        let build_info = read_small(&dir.join(BUILDINFO))?;
        let build_info = build_info.map(|text| serde_json::from_slice(&text)).transpose();
        let broken =
            |error: serde_json::Error| Error::BuildInfo { id: id.clone(), problem: error.to_string() };
        Ok((info, build_info.map_err(broken)?))
    }

    fn manifest(&self, id: &PackageId, dir: &Path) -> Result<Option<Manifest>, Error> {
        let Some(text) = read_small(&dir.join(MANIFEST))? else { return Ok(None) };
        let broken = |problem| Error::Manifest { id: id.clone(), problem };
        Manifest::parse(&text).map(Some).map_err(broken)
    }

    fn record(&self, id: &PackageId) -> Option<Record> {
        Record::parse(&std::fs::read(self.dir.join(VERIFIED).join(id)).ok()?)
    }

    /// Remembers that the package is what its manifest lists. Where that cannot be written, as on a read-only
    /// root or by somebody who is not root, it is compared again the next time: no reason to fail.
    fn remember(&self, id: &PackageId, record: &Record) {
        let dir = self.dir.join(VERIFIED);
        let new = dir.join(format!("{id}{LEFTOVER}"));
        let written = std::fs::create_dir_all(&dir)
            .and_then(|()| std::fs::write(&new, record.to_bytes()))
            .and_then(|()| std::fs::rename(&new, dir.join(id)));
        if written.is_err() {
            self.forget(id);
        }
    }

    fn forget(&self, id: &PackageId) {
        // A record that stays is compared with the attributes of files, and does not hold for others.
        let _ = std::fs::remove_file(self.dir.join(VERIFIED).join(id));
    }
}

/// The directory of tarballs on their way, in that of the packages.
pub(crate) const DOWNLOADS: &str = ".downloads";
/// How long a download that stopped is kept to be gone on with.
const MAX_DOWNLOAD_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The directory of records, in that of the packages.
const VERIFIED: &str = ".verified";

/// Whether it is not the name of a leftover, which is of the form of ids.
fn is_package(id: &PackageId) -> bool {
    !id.as_str().ends_with(LEFTOVER)
}

/// Whether it is what was left of unpacking or removing a package.
fn is_leftover(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let id = name.and_then(|name| name.strip_suffix(LEFTOVER));
    id.is_some_and(|id| id.parse::<PackageId>().is_ok())
}

/// Which permission bits count. Whoever is not root unpacks without set-user-id and the like.
fn mode_bits() -> u32 {
    if host::is_root() { 0o7777 } else { 0o777 }
}

fn of_contents(id: &PackageId) -> impl FnOnce(ContentsError) -> Error + use<'_> {
    move |problem| Error::Contents { id: id.clone(), problem }
}

/// A file that is read as a whole; none if there is none.
fn read_small(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    use std::io::Read;
    let refused = |why: String| Error::io("read", path)(io::Error::other(why));
    // Of a package that nobody knows yet: a link may lead to what has no end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(refused("it is a link, and has to be a file".to_owned())),
        file => std::fs::File::from(file.map_err(|errno| Error::io("read", path)(errno.into()))?),
    };
    let meta = file.metadata().map_err(Error::io("read", path))?;
    if !meta.is_file() {
        return Err(refused("it is no file".to_owned()));
    }
    let length = meta.len();
    if length > MAX_JSON {
        return Err(refused(format!("it has {length} bytes, allowed are {MAX_JSON}")));
    }
    let mut text = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(MAX_JSON).read_to_end(&mut text).map_err(Error::io("read", path))?;
    Ok(Some(text))
}
