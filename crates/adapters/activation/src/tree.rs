//! One step, carried out relative to directories that are open.

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use api_pkgpanda::step::{Place, STAGED, STAGED_UNITS, Step};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use crate::Error;

const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A place that is open.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) fd: OwnedFd,
}

impl Opened {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| Error::file("open directory", path, errno))?;
        Ok(Self { path: path.to_owned(), fd })
    }
}

/// Who is told of every single change that has been made.
pub(crate) type Observer<'a> = dyn FnMut(fmt::Arguments<'_>) + 'a;

/// Where steps are carried out.
pub(crate) struct Tree<'a> {
    pub(crate) root: &'a Opened,
    pub(crate) units: Option<Opened>,
    pub(crate) generation: Option<Opened>,
    pub(crate) observer: Option<&'a mut Observer<'a>>,
}

impl Tree<'_> {
    /// Tells that a change has been made.
    pub(crate) fn done(&mut self, what: fmt::Arguments<'_>) {
        if let Some(observer) = &mut self.observer {
            observer(what);
        }
    }

    fn place(&self, place: Place) -> Result<&Opened, Error> {
        let (opened, what) = match place {
            Place::Root => (Some(self.root), ""),
            Place::Units => (self.units.as_ref(), "it has steps below a directory of units and names none"),
            Place::Generation => (self.generation.as_ref(), "it has steps below a generation and names none"),
        };
        let reason = || Error::Damaged { path: self.root.path.clone(), reason: format!("a plan: {what}") };
        opened.ok_or_else(reason)
    }

    /// The absolute path of a place's path, for errors.
    fn path(&self, place: Place, path: &str) -> PathBuf {
        let opened = self.place(place).map_or_else(|_| PathBuf::new(), |opened| opened.path.clone());
        if path.is_empty() { opened } else { opened.join(path) }
    }

    fn open(&self, place: Place, directory: &str) -> Result<OwnedFd, Error> {
        let opened = open_below(self.place(place)?.fd.as_fd(), directory);
        opened.map_err(|errno| Error::file("open directory", self.path(place, directory), errno))
    }

    /// Opens a directory to take something out of it: none if it is not there any more.
    fn open_if_there(&self, place: Place, directory: &str) -> Result<Option<OwnedFd>, Error> {
        match open_below(self.place(place)?.fd.as_fd(), directory) {
            Ok(opened) => Ok(Some(opened)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(Error::file("open directory", self.path(place, directory), errno)),
        }
    }

    /// Carries one step out.
    pub(crate) fn apply(&mut self, step: &Step) -> Result<(), Error> {
        match step {
            Step::Directory { place, path } => self.directory(*place, path),
            Step::File { place, path, text } => self.file(*place, path, text),
            Step::Link { place, path, target } => {
                let (directory, name) = split(path);
                let opened = self.open(*place, directory)?;
                self.link(*place, opened.as_fd(), directory, name, target)
            }
            Step::Links { place, directory, prefix, names } => {
                let opened = self.open(*place, directory)?;
                let mut target = prefix.clone();
                for name in names {
                    target.truncate(prefix.len());
                    target.push_str(name);
                    self.link(*place, opened.as_fd(), directory, name, &target)?;
                }
                Ok(())
            }
            Step::PutLinks { place, directory, prefix, names } => {
                self.put_links(*place, directory, prefix, names)
            }
            Step::PutDirectory { place, path } => self.put_directory(*place, path),
            Step::RemoveLinks { place, directory, prefix, names } => {
                self.remove_links(*place, directory, prefix, names)
            }
            Step::RemoveOurs { place, directory, prefixes } => self.remove_ours(*place, directory, prefixes),
            Step::RemoveDirectory { place, path } => self.remove_directory(*place, path),
            Step::RemoveTree { place, path } => self.remove_tree(*place, path),
        }
    }

    fn directory(&mut self, place: Place, path: &str) -> Result<(), Error> {
        if path.is_empty() {
            return Ok(());
        }
        let (above, name) = split(path);
        let opened = self.open(place, above)?;
        match rustix::fs::mkdirat(&opened, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => self.done(format_args!("directory {path}")),
            Err(Errno::EXIST) => drop(self.open(place, path)?),
            Err(errno) => return Err(Error::file("make directory", self.path(place, path), errno)),
        }
        Ok(())
    }

    fn file(&mut self, place: Place, path: &str, text: &str) -> Result<(), Error> {
        let (above, name) = split(path);
        let opened = self.open(place, above)?;
        let failed = |errno: Errno| Error::file("write", self.path(place, path), errno);
        let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&opened, name, flags, Mode::from_raw_mode(0o644)).map_err(failed)?;
        write_all(file.as_fd(), text.as_bytes()).map_err(failed)?;
        self.done(format_args!("file {path}"));
        Ok(())
    }

    fn link(
        &mut self,
        place: Place,
        opened: BorrowedFd<'_>,
        directory: &str,
        name: &str,
        target: &str,
    ) -> Result<(), Error> {
        match rustix::fs::symlinkat(target, opened, name) {
            Ok(()) => self.done(format_args!("link {directory}/{name}")),
            Err(Errno::EXIST) if points_to(opened, name, target) => {}
            Err(errno) => {
                return Err(Error::file("make link", self.path(place, directory).join(name), errno));
            }
        }
        Ok(())
    }

    /// Where replacements for what is in a directory wait.
    fn staging(&self, place: Place, directory: &str) -> Result<Option<OwnedFd>, Error> {
        let (place, top) = match place {
            Place::Units => (Place::Units, STAGED_UNITS),
            Place::Root | Place::Generation => (Place::Generation, STAGED),
        };
        match directory {
            "" => self.open_if_there(place, top),
            _ => self.open_if_there(place, &format!("{top}/{directory}")),
        }
    }

    fn put_links(
        &mut self,
        place: Place,
        directory: &str,
        prefix: &str,
        names: &[String],
    ) -> Result<(), Error> {
        let opened = self.open(place, directory)?;
        let staged = self.staging(place, directory)?;
        for name in names {
            if points_to(opened.as_fd(), name, &format!("{prefix}{name}")) {
                continue;
            }
            let failed = |errno| Error::file("replace", self.path(place, directory).join(name), errno);
            let staged = staged.as_ref().ok_or_else(|| failed(Errno::NOENT))?;
            match rustix::fs::renameat(staged, name.as_str(), &opened, name.as_str()) {
                Ok(()) => {}
                Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                    let there = self.path(place, directory).join(name);
                    exchange(staged.as_fd(), opened.as_fd(), name, &there).map_err(failed)?;
                }
                Err(errno) => return Err(failed(errno)),
            }
            self.done(format_args!("put {directory}/{name}"));
        }
        Ok(())
    }

    fn put_directory(&mut self, place: Place, path: &str) -> Result<(), Error> {
        let (above, name) = split(path);
        let opened = self.open(place, above)?;
        let failed = |errno| Error::file("replace", self.path(place, path), errno);
        match rustix::fs::openat(&opened, name, DIRECTORY, Mode::empty()) {
            Ok(_) => return Ok(()),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let staged = self.staging(place, above)?.ok_or_else(|| failed(Errno::NOENT))?;
                exchange(staged.as_fd(), opened.as_fd(), name, &self.path(place, path)).map_err(failed)?;
            }
            Err(Errno::NOENT) => {
                let staged = self.staging(place, above)?.ok_or_else(|| failed(Errno::NOENT))?;
                rustix::fs::renameat(&staged, name, &opened, name).map_err(failed)?;
            }
            Err(errno) => return Err(failed(errno)),
        }
        self.done(format_args!("put {path}"));
        Ok(())
    }

    fn remove_links(
        &mut self,
        place: Place,
        directory: &str,
        prefix: &str,
        names: &[String],
    ) -> Result<(), Error> {
        let Some(opened) = self.open_if_there(place, directory)? else { return Ok(()) };
        let mut target = prefix.to_owned();
        for name in names {
            target.truncate(prefix.len());
            target.push_str(name);
            if points_to(opened.as_fd(), name, &target) {
                self.unlink(place, opened.as_fd(), directory, name)?;
            }
        }
        Ok(())
    }

    fn remove_ours(&mut self, place: Place, directory: &str, prefixes: &[String]) -> Result<(), Error> {
        if self.open_if_there(place, directory)?.is_none() {
            return Ok(());
        }
        let failed = |errno| Error::file("read directory", self.path(place, directory), errno);
        let below = if directory.is_empty() { "." } else { directory };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened =
            rustix::fs::openat(&self.place(place)?.fd, below, flags, Mode::empty()).map_err(failed)?;
        for name in names(opened.as_fd()).map_err(failed)? {
            let Ok(target) = rustix::fs::readlinkat(&opened, name.as_c_str(), Vec::new()) else { continue };
            if prefixes.iter().any(|prefix| target.to_bytes().starts_with(prefix.as_bytes())) {
                self.unlink(place, opened.as_fd(), directory, &name.to_string_lossy())?;
            }
        }
        Ok(())
    }

    fn unlink(
        &mut self,
        place: Place,
        opened: BorrowedFd<'_>,
        directory: &str,
        name: &str,
    ) -> Result<(), Error> {
        match rustix::fs::unlinkat(opened, name, AtFlags::empty()) {
            Ok(()) => self.done(format_args!("remove {directory}/{name}")),
            Err(Errno::NOENT) => {}
            Err(errno) => {
                return Err(Error::file("remove", self.path(place, directory).join(name), errno));
            }
        }
        Ok(())
    }

    fn remove_directory(&mut self, place: Place, path: &str) -> Result<(), Error> {
        let (above, name) = split(path);
        let Some(opened) = self.open_if_there(place, above)? else { return Ok(()) };
        match rustix::fs::unlinkat(&opened, name, AtFlags::REMOVEDIR) {
            Ok(()) => self.done(format_args!("remove directory {path}")),
            // Somebody else's files are in it, or it is nobody's any more.
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            Err(errno) => return Err(Error::file("remove directory", self.path(place, path), errno)),
        }
        Ok(())
    }

    fn remove_tree(&mut self, place: Place, path: &str) -> Result<(), Error> {
        let (above, name) = split(path);
        let Some(opened) = self.open_if_there(place, above)? else { return Ok(()) };
        if matches!(rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT)) {
            return Ok(());
        }
        let there = self.path(place, path);
        ::host::remove_tree(&there).map_err(|source| Error::file("remove", there, source))?;
        self.done(format_args!("remove tree {path}"));
        Ok(())
    }
}

/// The directory of a path, and the name in it.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Opens a directory below another without following any link.
pub(crate) fn open_below(top: BorrowedFd<'_>, directory: &str) -> rustix::io::Result<OwnedFd> {
    if directory.is_empty() {
        return rustix::fs::openat(top, ".", DIRECTORY, Mode::empty());
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(top, directory, DIRECTORY, Mode::empty(), resolve) {
        // A kernel before 5.6, or a filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => {
            let mut parts = directory.split('/');
            let first = parts.next().expect("a split text has a first part");
            let first = rustix::fs::openat(top, first, DIRECTORY, Mode::empty())?;
            parts.try_fold(first, |above, part| rustix::fs::openat(above, part, DIRECTORY, Mode::empty()))
        }
        opened => opened,
    }
}

/// Whether a link of this target is there.
pub(crate) fn points_to(directory: BorrowedFd<'_>, name: &str, target: &str) -> bool {
    rustix::fs::readlinkat(directory, name, Vec::with_capacity(target.len() + 1))
        .is_ok_and(|found| found.to_bytes() == target.as_bytes())
}

/// The names in a directory.
pub(crate) fn names(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

pub(crate) fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Lets what is staged and what is there, a directory on at least one side, change places.
fn exchange(
    staged: BorrowedFd<'_>,
    opened: BorrowedFd<'_>,
    name: &str,
    there: &Path,
) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(staged, name, opened, name, RenameFlags::EXCHANGE) {
        // Not every file system can: then there is a moment with neither, which recovery gets over.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV) => {
            ::host::remove_tree(there).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            rustix::fs::renameat(staged, name, opened, name)
        }
        result => result,
    }
}
