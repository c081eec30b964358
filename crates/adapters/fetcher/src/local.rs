//! Files of this machine, read with the rights of the task's user.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, ResolveFlags};

use crate::error::Problem;

/// The file system of `/proc`: this process's own secrets are files there.
const PROC_MAGIC: u64 = 0x9fa0;

/// Opens a file as that user and group would. Nothing but plain files is opened.
///
/// # Errors
/// [`Problem::Source`] and [`Problem::NotAFile`].
pub(crate) fn open(path: &Path, owner: Option<(u32, u32)>) -> Result<File, Problem> {
    let failed = |source: io::Error| Problem::Source { path: path.to_owned(), source };
    let opened = match owner {
        Some((uid, gid)) if uid != 0 && rustix::process::geteuid().is_root() => {
            // In a thread of its own, which ends with the rights that it has given up.
            std::thread::scope(|scope| scope.spawn(|| open_with_rights_of(path, uid, gid)).join())
                .unwrap_or_else(|_| Err(io::Error::other("the opening thread panicked")))
        }
        _ => open_any(path),
    };
    let file = opened.map_err(failed)?;
    let not_a_file = |kind| Problem::NotAFile { path: path.to_owned(), kind };
    let stat = rustix::fs::fstat(&file).map_err(|errno| failed(errno.into()))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(not_a_file("directory")),
        FileType::Fifo => return Err(not_a_file("FIFO")),
        _ => return Err(not_a_file("device")),
    }
    let system = rustix::fs::fstatfs(&file).map_err(|errno| failed(errno.into()))?;
    if system.f_type as u64 == PROC_MAGIC {
        return Err(not_a_file("view of a process"));
    }
    Ok(file.into())
}

/// Never waits for a FIFO's other end, and never follows the links of `/proc` into other processes.
fn open_any(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?)
}

/// Runs in a thread that ends afterwards: it loses the rights of root over files.
///
/// Only the ids for file access change. With its real id the user could send signals to this thread,
/// and so to the whole process.
fn open_with_rights_of(path: &Path, uid: u32, gid: u32) -> io::Result<OwnedFd> {
    rustix::thread::set_thread_groups(&[Gid::from_raw(gid)])?;
    // SAFETY: both calls take plain numbers and touch the credentials of this thread only.
    let (now_uid, now_gid) = unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
        // They do not tell whether they did it; an impossible id makes them tell what is.
        (libc::setfsuid(u32::MAX), libc::setfsgid(u32::MAX))
    };
    if (now_uid.cast_unsigned(), now_gid.cast_unsigned()) != (uid, gid) {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
    }
    open_any(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn check(path: &Path, owner: Option<(u32, u32)>, expect: Result<(), &str>) {
        let opened = open(path, owner).map(|_| ()).map_err(|problem| problem.to_string());
        assert_eq!(opened, expect.map_err(|what| what.replace("PATH", &path.display().to_string())));
    }

    #[test]
    fn only_plain_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(CWD, &fifo, Mode::from_raw_mode(0o600)).unwrap();
        fs::write(dir.path().join("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
        check(&dir.path().join("file"), None, Ok(()));
        check(&dir.path().join("link"), None, Ok(()));
        check(dir.path(), None, Err("PATH is a directory, not a file"));
        check(&fifo, None, Err("PATH is a FIFO, not a file"));
        check(Path::new("/dev/zero"), None, Err("PATH is a device, not a file"));
        check(Path::new("/proc/self/environ"), None, Err("PATH is a view of a process, not a file"));
        check(
            Path::new("/proc/self/exe"),
            None,
            Err("PATH cannot be read: Too many levels of symbolic links (os error 40)"),
        );
        check(
            &dir.path().join("none"),
            None,
            Err("PATH cannot be read: No such file or directory (os error 2)"),
        );
    }

    #[test]
    fn rights_are_those_of_the_tasks_user() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP rights_are_those_of_the_tasks_user: needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let make = |name: &str, mode, uid, gid| {
            let path = dir.path().join(name);
            fs::write(&path, "x").unwrap();
            std::os::unix::fs::chown(&path, Some(uid), Some(gid)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let denied = Err("PATH cannot be read: Permission denied (os error 13)");
        check(&make("roots", 0o600, 0, 0), Some((1234, 2345)), denied);
        check(&make("root-groups", 0o640, 0, 0), Some((1234, 2345)), denied);
        check(&make("others", 0o644, 0, 0), Some((1234, 2345)), Ok(()));
        check(&make("own", 0o400, 1234, 0), Some((1234, 2345)), Ok(()));
        check(&make("groups", 0o040, 0, 2345), Some((1234, 2345)), Ok(()));
        check(&make("roots-again", 0o600, 1, 1), Some((0, 0)), Ok(()));
        // This thread is still root's.
        assert!(fs::read(dir.path().join("own")).is_ok());
    }
}
