//! Small files that outlive a crash, and directories copied as they are.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How deep a copied directory may be.
const DEPTH_LIMIT: usize = 64;

/// What went wrong with a file of the host.
#[derive(Debug, thiserror::Error)]
#[error("{attempted} {}", .path.display())]
pub struct FileError {
    /// What was attempted, like "write".
    pub attempted: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

/// The error of an attempt at `path`.
pub(crate) fn failed(attempted: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError { attempted, path, source }
}

/// The content of a file; none if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Replaces a file (mode 0644) by one with this content: after a crash there is the one or the other.
/// Nothing is written if the content is there already.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), FileError> {
    if fs::read(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let mut name = path.file_name().expect("callers name files").to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    // What a crash has left; opening it would follow a link.
    let _ = fs::remove_file(&fresh);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&fresh)
        .and_then(|mut file| {
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            file.write_all(content)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&fresh, path))
        .and_then(|()| sync_directory_of(path));
    written.map_err(|error| {
        let _ = fs::remove_file(&fresh);
        failed("write", path)(error)
    })
}

/// Removes a file or a link; fine if there is none.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes what was done to the entries of the file's directory outlive a crash.
pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Copies a directory to a new one with modes, owners and times, as `cp -rp` does.
///
/// # Errors
/// It holds anything but directories, files and links, is deeper than [`DEPTH_LIMIT`], or the kernel
/// refuses. A part may be copied then.
pub(crate) fn copy_directory(from: &Path, to: &Path) -> Result<(), FileError> {
    copy_level(from, to, 0)
}

fn copy_level(from: &Path, to: &Path, depth: usize) -> Result<(), FileError> {
    if depth > DEPTH_LIMIT {
        return Err(failed("copy", from)(io::Error::other(format!("deeper than {DEPTH_LIMIT} directories"))));
    }
    fs::create_dir(to).map_err(failed("make directory", to))?;
    for entry in fs::read_dir(from).map_err(failed("list", from))? {
        let entry = entry.map_err(failed("list", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed("look at", &source))?;
        if kind.is_dir() {
            copy_level(&source, &target, depth + 1)?;
        } else if kind.is_symlink() {
            copy_link(&source, &target).map_err(failed("copy", &source))?;
        } else if kind.is_file() {
            fs::copy(&source, &target).map_err(failed("copy", &source))?;
            let meta = fs::metadata(&source).map_err(failed("look at", &source))?;
            same_attributes(&meta, &target).map_err(failed("copy attributes to", &target))?;
        } else {
            let refused = io::Error::other("only directories, files and links are allowed in packages");
            return Err(failed("copy", &source)(refused));
        }
    }
    // Last, because what is put into a directory changes its time.
    let meta = fs::metadata(from).map_err(failed("look at", from))?;
    same_attributes(&meta, to).map_err(failed("copy attributes to", to))
}

fn copy_link(source: &Path, target: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(fs::read_link(source)?, target)?;
    let meta = fs::symlink_metadata(source)?;
    owned_as(&meta, target)
}

fn same_attributes(meta: &Metadata, target: &Path) -> io::Result<()> {
    owned_as(meta, target)?;
    // After the owner, whose change takes setuid away.
    fs::set_permissions(target, meta.permissions())?;
    File::open(target)?
        .set_times(fs::FileTimes::new().set_accessed(meta.accessed()?).set_modified(meta.modified()?))
}

fn owned_as(meta: &Metadata, target: &Path) -> io::Result<()> {
    match std::os::unix::fs::lchown(target, Some(meta.uid()), Some(meta.gid())) {
        // As `cp -p`: who is not root keeps what it makes.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !host::is_root() => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_left_alone_if_it_is_right() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(read(&path).unwrap(), None);
        // A leftover of a crash that leads elsewhere.
        let elsewhere = dir.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("file.new")).unwrap();
        replace(&path, b"one").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        replace(&path, b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
        replace(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("two"));
        assert!(!elsewhere.exists());
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let error = replace(&dir.path().join("no/file"), b"").unwrap_err();
        assert!(error.to_string().starts_with("write "), "{error}");
    }

    #[test]
    fn a_directory_is_copied_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("bin")).unwrap();
        fs::write(from.join("bin/x"), "x").unwrap();
        fs::set_permissions(from.join("bin/x"), fs::Permissions::from_mode(0o4711)).unwrap();
        fs::set_permissions(from.join("bin"), fs::Permissions::from_mode(0o711)).unwrap();
        std::os::unix::fs::symlink("bin/x", from.join("link")).unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000);
        File::open(from.join("bin/x")).unwrap().set_modified(long_ago).unwrap();
        File::open(from.join("bin")).unwrap().set_modified(long_ago).unwrap();
        copy_directory(&from, &to).unwrap();
        for path in ["bin", "bin/x"] {
            let (a, b) = (fs::metadata(from.join(path)).unwrap(), fs::metadata(to.join(path)).unwrap());
            assert_eq!((a.mode(), a.mtime(), a.uid()), (b.mode(), b.mtime(), b.uid()), "{path}");
        }
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("bin/x"));
    }

    #[test]
    fn what_is_no_part_of_a_package_is_not_copied() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        let error = copy_directory(&from, &dir.path().join("to")).unwrap_err();
        let error = base::with_causes(&error);
        assert!(error.contains("socket: only directories, files and links"), "{error}");
    }
}
