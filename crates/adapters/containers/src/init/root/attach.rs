//! Mounts by descriptors: what is mounted is held ready, and put where a descriptor leads.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use super::super::{Attempt, Failure};
use super::place::Kind;
use crate::clone::add_mount_attributes;
use crate::mounts::{Mount, MountSource};

/// How a path names an open file.
pub(in crate::init) fn path_of(file: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// What is attempted with a mount, for errors.
pub(in crate::init) fn describe(mount: &Mount) -> String {
    match &mount.source {
        MountSource::Host(path) => format!("bind {} to {}", path.display(), mount.target.display()),
        MountSource::Within { directory, path } => {
            format!("bind {} to {}", directory.join(path).display(), mount.target.display())
        }
        MountSource::Tmpfs { .. } => format!("mount a tmpfs at {}", mount.target.display()),
    }
}

/// A mount that has no place yet.
pub(in crate::init) struct Source {
    tree: OwnedFd,
    kind: Kind,
}

impl Source {
    /// Takes hold of what a mount shows. `closed`: no device in it can be opened.
    pub(in crate::init) fn open(mount: &Mount, closed: bool) -> Result<Source, Failure> {
        let what = || describe(mount);
        let mut attributes = if closed { libc::MOUNT_ATTR_NODEV } else { 0 };
        if mount.read_only {
            attributes |= libc::MOUNT_ATTR_RDONLY;
        }
        match &mount.source {
            MountSource::Host(path) if !path.is_absolute() => {
                Err(Failure::new(what(), "the host's path must be absolute"))
            }
            MountSource::Host(path) => Source::of(clone_tree(CWD, path), attributes).attempt(what),
            MountSource::Within { directory, path } => {
                Source::of(within(directory, path).and_then(|file| clone_tree(&file, "")), attributes)
                    .attempt(what)
            }
            MountSource::Tmpfs { bytes, mode } => {
                let mut options = vec![("mode", format!("{:o}", mode & 0o7777))];
                options.extend(bytes.map(|bytes| ("size", bytes.to_string())));
                let flags = attributes | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
                let tree = new_mount("tmpfs", &options, flags).attempt(what)?;
                Ok(Source { tree, kind: Kind::Directory })
            }
        }
    }

    fn of(tree: rustix::io::Result<OwnedFd>, attributes: u64) -> std::io::Result<Source> {
        let tree = tree?;
        let stat = rustix::fs::fstat(&tree)?;
        if attributes != 0 {
            add_mount_attributes(tree.as_fd(), attributes, true)?;
        }
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            _ => Kind::File,
        };
        Ok(Source { tree, kind })
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(in crate::init) fn attach(&self, target: &OwnedFd) -> rustix::io::Result<()> {
        put(&self.tree, target)
    }
}

fn within(directory: &Path, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags | OFlags::DIRECTORY, Mode::empty())?;
    if path.as_os_str().is_empty() {
        return Ok(directory);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(&directory, path, flags, Mode::empty(), resolve)
}

/// A copy of the mount that `path` leads to, with all below it.
pub(super) fn clone_tree(from: impl AsFd, path: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(from, path, flags)
}

/// A new file system with these options and mount attributes (`MOUNT_ATTR_*`).
pub(super) fn new_mount(
    kind: &str,
    options: &[(&str, String)],
    attributes: u64,
) -> rustix::io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        rustix::mount::fsconfig_set_string(&context, *name, value.as_str())?;
    }
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Puts a mount over what `target` leads to.
pub(super) fn put(mount: &OwnedFd, target: &OwnedFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags)
}
