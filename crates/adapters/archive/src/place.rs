//! One file below a directory that strangers have written into.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::name::{NAME_DEPTH, Name};
use crate::options::{Limits, Options};
use crate::replace;
use crate::tree::Tree;

/// Where one file is to be, found once and by descriptor: links that appear later change nothing.
#[derive(Debug)]
pub struct Place {
    directory: OwnedFd,
    name: Vec<u8>,
}

impl Place {
    /// Finds the place `name` below `into`, and makes the directories on the way, as an archive
    /// with such an entry would.
    ///
    /// # Errors
    /// As for such an entry: names that lead out are refused.
    pub fn find(into: &Path, name: &OsStr, options: &Options) -> Result<Place, Error> {
        let mut checked = Name::default();
        checked.set(name.as_bytes()).map_err(|refusal| Error::refused(name.as_bytes(), refusal))?;
        let limits = Limits { bytes: 0, entries: NAME_DEPTH as u64 };
        let directory = Tree::open(into, Options { limits, ..*options })?.parent(&checked)?;
        let directory = match Rc::try_unwrap(directory) {
            Ok(directory) => Ok(directory.fd),
            Err(shared) => shared.fd.try_clone(),
        };
        let directory = directory.map_err(|source| Error::Write {
            attempt: "open the directory of",
            entry: crate::error::shown(name.as_bytes()),
            source,
        })?;
        Ok(Place { directory, name: checked.last().to_vec() })
    }

    /// Makes a new, empty file there that only its owner can reach, instead of what is there; a
    /// directory only if it is empty.
    ///
    /// # Errors
    /// The kernel's.
    pub fn create(&self) -> io::Result<File> {
        self.clear()?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.directory, &*self.name, flags, Mode::from_raw_mode(0o600))?.into())
    }

    /// Moves the file `from` there, instead of what is there; a directory only if it is empty.
    ///
    /// # Errors
    /// The kernel's; [`io::ErrorKind::CrossesDevices`] where `from` is of another file system.
    pub fn take(&self, from: &Path) -> io::Result<()> {
        match rustix::fs::renameat(rustix::fs::CWD, from, &self.directory, &*self.name) {
            Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {
                self.clear()?;
                Ok(rustix::fs::renameat(rustix::fs::CWD, from, &self.directory, &*self.name)?)
            }
            other => Ok(other?),
        }
    }

    /// Opens what is there for reading, if it is no link.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.directory, &*self.name, flags, Mode::empty())?.into())
    }

    /// Removes what is there, unless it is a directory.
    ///
    /// # Errors
    /// The kernel's; that nothing is there is none.
    pub fn remove(&self) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.directory, &*self.name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => Ok(other?),
        }
    }

    fn clear(&self) -> io::Result<()> {
        replace::remove(&self.directory, &self.name, false)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    #[test]
    fn a_file_gets_its_place_and_never_another() {
        let around = tempfile::tempdir().unwrap();
        let into = around.path().join("into");
        fs::create_dir_all(into.join("full/x")).unwrap();
        fs::write(around.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink("..", into.join("out")).unwrap();
        std::os::unix::fs::symlink("../secret", into.join("link")).unwrap();
        let options = Options::sandbox(Limits { bytes: 0, entries: 0 }, None);
        let find = |name: &str| Place::find(&into, OsStr::new(name), &options);
        let place = find("a/b/c").unwrap();
        place.create().unwrap().write_all(b"hi").unwrap();
        assert_eq!(fs::read_to_string(into.join("a/b/c")).unwrap(), "hi");
        find("link").unwrap().create().unwrap().write_all(b"mine").unwrap();
        assert_eq!(fs::read_to_string(around.path().join("secret")).unwrap(), "secret");
        assert!(find("link").unwrap().open().is_ok());
        fs::write(around.path().join("from"), "moved").unwrap();
        find("a/b/c").unwrap().take(&around.path().join("from")).unwrap();
        assert_eq!(fs::read_to_string(into.join("a/b/c")).unwrap(), "moved");
        assert!(find("full").unwrap().take(&into.join("a/b/c")).is_err());
        place.remove().unwrap();
        place.remove().unwrap();
        assert!(!into.join("a/b/c").exists());
        let refused = |name: &str| find(name).unwrap_err().to_string();
        assert_eq!(refused("../x"), "entry \"../x\" has \"..\" in its name");
        assert_eq!(
            refused("out/x"),
            "entry \"out/x\" lies behind a symbolic link that leads out of the target directory"
        );
    }
}
