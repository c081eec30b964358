use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Digest, Reference};

/// An image whose layers are unpacked. While a value of it (or a clone) lives, nothing of it is
/// collected; what has to outlive the process is held by [`Images::hold`](crate::Images::hold).
#[derive(Clone, Debug)]
pub struct Image {
    /// What docker calls the image's id: the digest of its configuration, which names its layers.
    pub id: Digest,
    /// The reference that it was pulled by.
    pub reference: Reference,
    /// The digest of the manifest for this platform; none for what `docker save` wrote.
    pub manifest: Option<Digest>,
    /// The layers' directories, lowest first, ready to be overlayfs' lower directories: whiteouts are
    /// overlayfs', none comes twice. Empty for an image without layers.
    pub layers: Vec<PathBuf>,
    /// How its programs are to be run.
    pub config: ImageConfig,
    /// Bytes that its layers take on the disk, those that it shares included.
    pub bytes: u64,
    pub(crate) _pin: Pin,
}

/// Keeps an image from collection while it lives: collection counts the owners.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    _owned: Arc<[Arc<()>]>,
}

impl Pin {
    pub(crate) fn new(owned: Vec<Arc<()>>) -> Pin {
        Pin { _owned: owned.into() }
    }
}

/// How an image's author wants its programs run (`config` of the OCI image configuration).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// `ENTRYPOINT`: the program and its first arguments.
    pub entrypoint: Vec<String>,
    /// `CMD`: more arguments, or the program where there is no entrypoint.
    pub cmd: Vec<String>,
    /// `ENV`, as `NAME=value`, in the image's order.
    pub env: Vec<String>,
    /// `USER`: `user`, `uid`, `user:group`, `uid:gid`; empty: root.
    pub user: String,
    /// `WORKDIR`; empty: none was set.
    pub working_dir: String,
    /// `VOLUME`: paths whose content the image does not want in its layers.
    pub volumes: Vec<String>,
    /// `LABEL`.
    pub labels: BTreeMap<String, String>,
    /// `STOPSIGNAL`, as written: `SIGTERM`, `15`.
    pub stop_signal: Option<String>,
    /// `EXPOSE`: `80/tcp`.
    pub exposed_ports: Vec<String>,
}

/// How far a pull is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Bytes received (or read from the tarball) of the layers that were missing.
    pub bytes_done: u64,
    /// Bytes that have to be received; 0 while that is not known.
    pub bytes_total: u64,
    /// Layers that are there, those that were there before included.
    pub layers_done: u32,
    /// Layers of the image; 0 while that is not known.
    pub layers_total: u32,
}

/// The phases of a pull, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The manifest and the configuration are asked for; a tarball is fetched and looked through.
    #[default]
    Resolving,
    /// Layers arrive, and are unpacked as they do.
    Pulling,
    /// All is there.
    Done,
}

/// An image as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSummary {
    /// The reference that it was pulled by, in full.
    pub reference: String,
    /// The digest of its configuration.
    pub id: Digest,
    /// The digest of its manifest.
    pub manifest: Option<Digest>,
    /// Bytes on the disk, shared layers included.
    pub bytes: u64,
    /// How many layers it has.
    pub layers: u32,
    /// When it was pulled or last held: Unix seconds.
    pub used: u64,
    /// The containers that hold it.
    pub holders: Vec<String>,
}

/// What a collection took away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// The references that are gone.
    pub references: Vec<String>,
    /// Layers that no image needs any more.
    pub layers: u32,
    /// Bytes of disk that became free.
    pub bytes: u64,
}
