//! What a container's init executes.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::OpenTreeFlags;

use super::root::attach;
use super::{Attempt, Failure};
use crate::clone::add_mount_attributes;
use crate::helper::OWN_PROGRAM;
use crate::spec::ContainerSpec;

pub(super) enum Program {
    /// Resolved inside the container.
    Path(PathBuf),
    /// This program's own file, which no root needs to hold.
    Open(OwnedFd),
}

impl Program {
    /// To be called in the mount namespace that this program was started in.
    pub(super) fn of(spec: &ContainerSpec) -> Result<Program, Failure> {
        if spec.root.is_none() || spec.program != Path::new(OWN_PROGRAM) {
            return Ok(Program::Path(spec.program.clone()));
        }
        let file = match read_only_copy() {
            Ok(file) => file,
            // The program's file is on no mount of this namespace, so it cannot be mounted once more.
            Err(_) => File::open(OWN_PROGRAM).attempt(|| "open this program".into())?.into(),
        };
        Ok(Program::Open(file))
    }

    pub(super) fn path(&self) -> PathBuf {
        match self {
            Program::Path(path) => path.clone(),
            Program::Open(file) => attach::path_of(file),
        }
    }
}

/// The program's file in a read-only mount of its own, so that not even a container's root can write to the
/// host's file through `/proc/1/exe`.
fn read_only_copy() -> std::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let file = rustix::mount::open_tree(CWD, OWN_PROGRAM, flags)?;
    add_mount_attributes(file.as_fd(), libc::MOUNT_ATTR_RDONLY, false)?;
    Ok(file)
}
