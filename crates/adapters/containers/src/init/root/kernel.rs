//! `/proc` and `/sys`, and what of them a container does not get to see or change.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::super::{Attempt, Failure};
use super::attach::{clone_tree, new_mount, put};
use super::place;
use crate::clone::add_mount_attributes;
use crate::spec::KernelFiles;

/// Shown empty, as docker does: hardware, the kernel's memory, keys and timers.
const MASKED_IN_PROC: &[&str] = &[
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
];
const MASKED_IN_SYS: &[&str] = &["firmware", "devices/virtual/powercap"];
/// Shown, but not writable.
const READ_ONLY_IN_PROC: &[&str] = &["bus", "fs", "irq", "sys", "sysrq-trigger"];

const CLOSED: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

/// Mounts a `/proc` of the container's pid namespace; returns the root of it.
pub(super) fn mount_proc(root: &OwnedFd) -> Result<OwnedFd, Failure> {
    mount(root, "proc", "proc", CLOSED)
}

/// Mounts a `/sys` of the container's network namespace; returns the root of it.
pub(super) fn mount_sys(root: &OwnedFd, shown: KernelFiles) -> Result<OwnedFd, Failure> {
    let more = if shown == KernelFiles::Masked { libc::MOUNT_ATTR_RDONLY } else { 0 };
    mount(root, "sys", "sysfs", CLOSED | more)
}

fn mount(root: &OwnedFd, name: &str, kind: &str, attributes: u64) -> Result<OwnedFd, Failure> {
    let what = || format!("mount /{name}");
    let target = place::own_directory(root, name).attempt(what)?;
    let mount = new_mount(kind, &[], attributes).attempt(what)?;
    put(&mount, &target).attempt(what)?;
    Ok(mount)
}

/// Hides and protects. Files are looked for below the mounts themselves, whatever paths lead there; those
/// that are hidden become the container's own null device.
pub(super) fn mask(proc: &OwnedFd, sys: &OwnedFd, dev: &OwnedFd) -> Result<(), Failure> {
    let mut empty = Empty { dev, directory: None };
    for (below, names) in [(proc, MASKED_IN_PROC), (sys, MASKED_IN_SYS)] {
        for name in names {
            empty.cover(below, name).attempt(|| format!("mask {name}"))?;
        }
    }
    for name in READ_ONLY_IN_PROC {
        protect(proc, name).attempt(|| format!("make /proc/{name} read-only"))?;
    }
    Ok(())
}

/// What stands for masked files and directories: one mount each, copied to every place.
struct Empty<'a> {
    dev: &'a OwnedFd,
    directory: Option<OwnedFd>,
}

impl Empty<'_> {
    fn cover(&mut self, below: &OwnedFd, name: &str) -> rustix::io::Result<()> {
        let Some(target) = open(below, name)? else { return Ok(()) };
        if FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) != FileType::Directory {
            return put(&clone_tree(self.dev, c"null")?, &target);
        }
        if let Some(known) = &self.directory {
            return put(&clone_tree(known, c"")?, &target);
        }
        let attributes = CLOSED | libc::MOUNT_ATTR_RDONLY;
        let new = new_mount("tmpfs", &[("mode", "555".into()), ("nr_inodes", "1".into())], attributes)?;
        put(&new, &target)?;
        self.directory = Some(new);
        Ok(())
    }
}

fn protect(below: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    let Some(target) = open(below, name)? else { return Ok(()) };
    let copy = clone_tree(&target, c"")?;
    add_mount_attributes(copy.as_fd(), libc::MOUNT_ATTR_RDONLY, true)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    put(&copy, &target)
}

/// `None` if this kernel does not have it.
fn open(below: &OwnedFd, name: &str) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(below, name, flags, Mode::empty()) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
