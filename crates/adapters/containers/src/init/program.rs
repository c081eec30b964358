//! What a container's init executes.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::root::attach;
use super::{Attempt, Failure};
use crate::helper::OWN_PROGRAM;
use crate::spec::ContainerSpec;

pub(super) enum Program {
    /// Resolved inside the container.
    Path(PathBuf),
    /// This program's own file, which no root needs to hold.
    Open(File),
}

impl Program {
    /// To be called in the mount namespace that this program was started in, from a read-only mount: not even
    /// a container's root can write to the host's file through `/proc/1/exe`.
    pub(super) fn of(spec: &ContainerSpec) -> Result<Program, Failure> {
        if spec.root.is_none() || spec.program != Path::new(OWN_PROGRAM) {
            return Ok(Program::Path(spec.program.clone()));
        }
        Ok(Program::Open(File::open(OWN_PROGRAM).attempt(|| "open this program".into())?))
    }

    pub(super) fn path(&self) -> PathBuf {
        match self {
            Program::Path(path) => path.clone(),
            Program::Open(file) => attach::path_of(file),
        }
    }
}
