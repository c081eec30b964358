use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A root file system made of an image's layers and a writable one of the container's own. It is mounted by
/// the container's init for itself alone: the host never sees the mount, and it ends with the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// The image's layers as overlayfs lower directories, the lowest first; at least one, at most
    /// [`RootFs::LAYERS_LIMIT`].
    pub layers: Vec<PathBuf>,
    /// A directory of the container's own for what it writes. Made if missing, on a file system that
    /// overlayfs takes as its upper layer; [`Containers::destroy`](crate::Containers::destroy) removes it. Of a
    /// read-only root nothing is kept in it.
    pub upper_dir: PathBuf,
    /// Whether the container may write to its mounts only.
    pub read_only: bool,
}

impl RootFs {
    /// The most layers that the kernel stacks (Linux: `OVL_MAX_STACK`).
    pub const LAYERS_LIMIT: usize = 500;
}

/// Something made visible at a place inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is made visible.
    pub source: MountSource,
    /// Where the container sees it, absolute. In a root of the container's own it is made if it is missing,
    /// and an image's symbolic links on the way lead to no place outside of that root. On the host's file
    /// system it must exist as the same kind.
    pub target: PathBuf,
    /// Whether the container may not write to it, nor to anything mounted below it.
    pub read_only: bool,
}

/// Where a mount's content comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or directory of the host, with all that is mounted below it.
    Host(PathBuf),
    /// What `path` leads to from `directory` of the host, with all that is mounted below it. No link on the
    /// way is followed: whoever owns something in `directory` chooses what is there, and not what is shown.
    Within {
        /// Absolute; whoever could change what it leads to is trusted.
        directory: PathBuf,
        /// Below it. Empty: all of it.
        path: PathBuf,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// How much it may hold; `None`: half of the machine's memory, the kernel's default.
        bytes: Option<u64>,
        /// The directory's permissions, such as `0o1777`.
        mode: u32,
    },
}

impl Mount {
    /// The host's `source` at `target`, writable.
    pub fn bind(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Mount {
        Mount { source: MountSource::Host(source.into()), target: target.into(), read_only: false }
    }

    /// The same, read-only.
    pub fn read_only(self) -> Mount {
        Mount { read_only: true, ..self }
    }

    /// An empty directory in memory that everybody may write to.
    pub fn tmpfs(target: impl Into<PathBuf>, bytes: Option<u64>) -> Mount {
        let source = MountSource::Tmpfs { bytes, mode: 0o1777 };
        Mount { source, target: target.into(), read_only: false }
    }
}
