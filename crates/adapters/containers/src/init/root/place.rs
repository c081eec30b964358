//! Places inside a root that nobody has to trust.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

/// What is to be found or made at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    /// Anything that is no directory.
    File,
}

/// The most symbolic links followed on one way, as in the kernel.
const LINKS_LIMIT: u32 = 40;

const PROC_SUPER_MAGIC: u64 = 0x9fa0;
const SYSFS_MAGIC: u64 = 0x6265_6572;

/// Opens the place that `path` leads to if `root` is the root directory; makes what is missing. Every step
/// starts at an open directory and follows no link by itself, so that none can lead out, not even one that
/// somebody changes meanwhile.
pub(super) fn find(root: &OwnedFd, path: &Path, kind: Kind) -> Result<OwnedFd, String> {
    let mut way: Vec<OwnedFd> = Vec::new();
    let mut ahead: VecDeque<OsString> = VecDeque::new();
    let mut links = 0;
    push_front(&mut ahead, path);
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            way.pop();
            continue;
        }
        if name == "/" {
            way.clear();
            continue;
        }
        let here = way.last().unwrap_or(root);
        let last = ahead.is_empty();
        let found = open(here, &name, if last { kind } else { Kind::Directory })
            .map_err(|errno| format!("{}: {errno}", Path::new(&name).display()))?;
        match file_type(&found).map_err(|errno| errno.to_string())? {
            FileType::Directory => way.push(found),
            FileType::Symlink => {
                links += 1;
                if links > LINKS_LIMIT {
                    return Err(Errno::LOOP.to_string());
                }
                let target = rustix::fs::readlinkat(&found, "", Vec::new()).map_err(|e| e.to_string())?;
                push_front(&mut ahead, Path::new(&OsString::from_vec(target.into_bytes())));
            }
            _ if last && kind == Kind::File => return sound(found),
            _ if last => {
                return Err("it is a file in the container, and what is mounted is a directory".into());
            }
            _ => return Err(format!("{}: {}", Path::new(&name).display(), Errno::NOTDIR)),
        }
    }
    match way.pop() {
        None => Err("it leads to the root itself".into()),
        Some(_) if kind == Kind::File => {
            Err("it is a directory in the container, and what is mounted is a file".into())
        }
        Some(found) => sound(found),
    }
}

/// Puts the names of `path` before those that are left.
fn push_front(ahead: &mut VecDeque<OsString>, path: &Path) {
    for part in path.components().rev() {
        if part != Component::CurDir {
            ahead.push_front(part.as_os_str().to_owned());
        }
    }
}

/// Opens `name` without following it, after making it if it is missing.
fn open(here: &OwnedFd, name: &OsStr, kind: Kind) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(here, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    let made = match kind {
        Kind::Directory => rustix::fs::mkdirat(here, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let new = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(here, name, new, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match made {
        // Somebody was faster; what it is shows below.
        Ok(()) | Err(Errno::EXIST) => rustix::fs::openat(here, name, flags, Mode::empty()),
        Err(errno) => Err(errno),
    }
}

fn file_type(of: &OwnedFd) -> rustix::io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(of)?.st_mode))
}

/// What the kernel says about itself must not be replaced: programs and the masks rely on it.
fn sound(place: OwnedFd) -> Result<OwnedFd, String> {
    let kind = rustix::fs::fstatfs(&place).map_err(|errno| errno.to_string())?.f_type as u64;
    match kind {
        PROC_SUPER_MAGIC => Err("it leads into /proc".into()),
        SYSFS_MAGIC => Err("it leads into /sys".into()),
        _ => Ok(place),
    }
}

/// The directory `name` of the root itself; made if it is missing. An image in which it is anything else has
/// no use for it that could be meant well.
pub(super) fn own_directory(root: &OwnedFd, name: &str) -> Result<OwnedFd, String> {
    let found = open(root, OsStr::new(name), Kind::Directory).map_err(|errno| errno.to_string())?;
    match file_type(&found).map_err(|errno| errno.to_string())? {
        FileType::Directory => Ok(found),
        other => Err(format!("the image's /{name} is no directory but a {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn inode(fd: &OwnedFd) -> (u64, u64) {
        let stat = rustix::fs::fstat(fd).unwrap();
        (stat.st_dev, stat.st_ino)
    }

    #[test]
    fn no_link_leads_out_of_the_root() {
        let name = format!("dcos-place-{}", std::process::id());
        let outside = std::env::temp_dir().join(name);
        let root = outside.join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(outside.join("etc")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        for (target, link) in [
            ("/", "top"),
            ("../../..", "up"),
            ("/etc", "abs"),
            ("a/b/../b", "inside"),
            ("loop", "loop"),
            ("missing/below", "dangling"),
            ("/file/x", "through"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let fd = rustix::fs::open(&root, flags, Mode::empty()).unwrap();
        let check = |path: &str, kind, expect: Result<&str, &str>| {
            let found = find(&fd, Path::new(path), kind);
            match (found, expect) {
                (Ok(found), Ok(expect)) => {
                    let expect = rustix::fs::open(root.join(expect), OFlags::PATH, Mode::empty()).unwrap();
                    assert_eq!(inode(&found), inode(&expect), "{path}");
                }
                (Err(why), Err(expect)) => assert!(why.contains(expect), "{path}: {why}"),
                (found, expect) => panic!("{path}: {found:?} is not {expect:?}"),
            }
        };
        use Kind::{Directory, File};
        check("/a/b", Directory, Ok("a/b"));
        check("/../../a", Directory, Ok("a"));
        check("/up/a", Directory, Ok("a"));
        check("/inside", Directory, Ok("a/b"));
        check("/top/top/a", Directory, Ok("a"));
        check("/abs", Directory, Ok("etc"));
        check("/abs/resolv.conf", File, Ok("etc/resolv.conf"));
        check("/new/er/dir", Directory, Ok("new/er/dir"));
        check("/dangling", Directory, Ok("missing/below"));
        check("/file", File, Ok("file"));
        check("/", Directory, Err("the root itself"));
        check("/top", Directory, Err("the root itself"));
        check("/a/..", Directory, Err("the root itself"));
        check("/loop", Directory, Err("symbolic links"));
        check("/file", Directory, Err("it is a file in the container"));
        check("/a", File, Err("it is a directory in the container"));
        check("/file/x", Directory, Err("Not a directory"));
        check("/through", File, Err("Not a directory"));
        assert_eq!(fs::read_dir(outside.join("etc")).unwrap().count(), 0, "nothing was made outside");
        fs::remove_dir_all(outside).unwrap();
    }
}
