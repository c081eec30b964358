//! A `/dev` of the container's own.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, makedev};
use rustix::io::Errno;

use super::super::{Attempt, Failure};
use super::attach::{clone_tree, new_mount, put};
use super::place;
use crate::clone::add_mount_attributes;
use crate::spec::Devices;

/// Name, major and minor of the devices that every container has. The console is a null device: the
/// machine's own is not for containers, and writers to a missing one would make it a file.
const NODES: &[(&str, u32, u32)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("console", 1, 3),
];

const LINKS: &[(&str, &str)] = &[
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// The group `tty`, which has this number everywhere.
const TTY_GROUP: &str = "5";
/// The most of the host's nodes that a privileged container gets: enough for any machine.
const HOST_NODES_LIMIT: usize = 8192;
/// How deep the host's `/dev` is looked through.
const HOST_DEPTH_LIMIT: usize = 4;

const CLOSED: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

/// Mounts and fills `/dev`; returns the root of it.
pub(super) fn make(root: &OwnedFd, devices: Devices, shm_bytes: u64) -> Result<OwnedFd, Failure> {
    let what = || "mount /dev".to_owned();
    let target = place::own_directory(root, "dev").attempt(what)?;
    let options = [("mode", "755".to_owned()), ("size", "65536k".to_owned())];
    let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    let dev = new_mount("tmpfs", &options, attributes).attempt(what)?;
    put(&dev, &target).attempt(what)?;
    for (name, major, minor) in NODES {
        make_node(&dev, name, FileType::CharacterDevice, 0o666, makedev(*major, *minor))
            .attempt(|| format!("make /dev/{name}"))?;
    }
    for (name, leads_to) in LINKS {
        rustix::fs::symlinkat(*leads_to, &dev, *name).attempt(|| format!("make /dev/{name}"))?;
    }
    match devices {
        Devices::All => copy_hosts(&dev, Path::new("/dev"), &mut 0, 0)?,
        Devices::Default => close(&dev).attempt(what)?,
    }
    let pts = [("ptmxmode", "0666".to_owned()), ("mode", "0620".to_owned()), ("gid", TTY_GROUP.to_owned())];
    let shm = [("mode", "1777".to_owned()), ("size", shm_bytes.to_string())];
    let mount = |name, kind, options: &[_], attributes| {
        mount_below(&dev, name, kind, options, attributes).attempt(|| format!("mount /dev/{name}"))
    };
    mount("pts", "devpts", &pts, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC)?;
    mount("shm", "tmpfs", &shm, CLOSED)?;
    mount("mqueue", "mqueue", &[], CLOSED)?;
    Ok(dev)
}

fn mount_below(
    dev: &OwnedFd,
    name: &str,
    kind: &str,
    options: &[(&str, String)],
    attributes: u64,
) -> rustix::io::Result<()> {
    match rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(dev, name, flags, Mode::empty())?;
    put(&new_mount(kind, options, attributes)?, &target)
}

fn make_node(dev: &OwnedFd, name: &str, kind: FileType, mode: u32, number: u64) -> rustix::io::Result<()> {
    rustix::fs::mknodat(dev, name, kind, Mode::from_raw_mode(mode), number)
}

/// Lets the nodes there are be used, and no other that somebody makes: each becomes a mount of its own
/// without `nodev`, which `/dev` itself then gets.
fn close(dev: &OwnedFd) -> rustix::io::Result<()> {
    let copies: Vec<OwnedFd> =
        NODES.iter().map(|(name, ..)| clone_tree(dev, *name)).collect::<Result<_, _>>()?;
    add_mount_attributes(dev.as_fd(), libc::MOUNT_ATTR_NODEV, false)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for (copy, (name, ..)) in copies.iter().zip(NODES) {
        put(copy, &rustix::fs::openat(dev, *name, flags, Mode::empty())?)?;
    }
    Ok(())
}

/// Makes what the host has in its `/dev`, with its owners and permissions, where there is nothing yet.
fn copy_hosts(dev: &OwnedFd, from: &Path, made: &mut usize, depth: usize) -> Result<(), Failure> {
    // What vanishes meanwhile is not there to be copied.
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    for entry in entries.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let Ok(metadata) = entry.metadata() else { continue };
        let what = || format!("copy {}", path.display());
        let kind = metadata.file_type();
        if kind.is_dir() {
            let own = depth == 0 && ["pts", "shm", "mqueue"].iter().any(|own| name == *own);
            if own || depth >= HOST_DEPTH_LIMIT {
                continue;
            }
            let mode = Mode::from_raw_mode(metadata.mode() & 0o7777);
            rustix::fs::mkdirat(dev, &name, mode).attempt(what)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let below = rustix::fs::openat(dev, &name, flags, Mode::empty()).attempt(what)?;
            copy_hosts(&below, &path, made, depth + 1)?;
            continue;
        }
        let node = match (kind.is_char_device(), kind.is_block_device()) {
            (true, _) => FileType::CharacterDevice,
            (_, true) => FileType::BlockDevice,
            _ => continue,
        };
        *made += 1;
        if *made > HOST_NODES_LIMIT {
            return Err(Failure::new(what(), format!("more than {HOST_NODES_LIMIT} devices")));
        }
        let mode = Mode::from_raw_mode(metadata.mode() & 0o7777);
        match rustix::fs::mknodat(dev, &name, node, mode, metadata.rdev()) {
            Ok(()) => {
                let uid = rustix::fs::Uid::from_raw(metadata.uid());
                let gid = rustix::fs::Gid::from_raw(metadata.gid());
                let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::chownat(dev, &name, Some(uid), Some(gid), flags).attempt(what)?;
            }
            // One of the container's own.
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(Failure::new(what(), errno)),
        }
    }
    Ok(())
}
