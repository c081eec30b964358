//! Container images: from registries (v2 API) and tarballs into directories that overlayfs takes as
//! lower directories, each layer once.

mod digest;
mod docker_config;
mod error;
mod image;
mod reference;

use std::path::PathBuf;
use std::sync::Arc;

pub use digest::{Digest, DigestError};
pub use docker_config::{DockerConfig, DockerConfigError};
pub use error::{HoldError, OpenError, PullError, RemoveError};
pub use image::{Image, ImageConfig, ImageSummary, Phase, Progress, Pruned};
pub use reference::{Named, Reason, Reference, ReferenceError};

/// Where images live and how they are got.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory of layers and records. One process owns it.
    pub dir: PathBuf,
    /// Bytes that images may take on the disk. Beyond it those that no container uses are taken away,
    /// the least recently used first; images in use are never taken, so together they may exceed it.
    pub quota_bytes: u64,
    /// The logins for pulls that bring none: a docker `config.json`, read at each pull.
    pub docker_config: Option<PathBuf>,
    /// Registries (`host[:port]`) that are spoken to without TLS. Loopback addresses and `localhost`
    /// always may be.
    pub insecure_registries: Vec<String>,
    /// What one layer may become when it is unpacked.
    pub limits: Limits,
}

/// Bounds of what an image may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one unpacked layer.
    pub layer_bytes: u64,
    /// Files, directories and links of one unpacked layer.
    pub layer_entries: u64,
}

impl Default for Limits {
    /// 20 GiB and 2 million entries: more than any image that is run in practice.
    fn default() -> Limits {
        Limits { layer_bytes: 20 << 30, layer_entries: 2_000_000 }
    }
}

/// How to pull.
#[derive(Clone)]
pub struct Pull {
    /// Ask the registry (or read the tarball) again, even if the image is there: a tag may have moved.
    pub force: bool,
    /// Logins of this pull instead of the configured ones.
    pub credentials: Option<DockerConfig>,
    /// Told of progress while the pull is waited for, at most ten times a second. It must not block.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
}

impl Default for Pull {
    fn default() -> Pull {
        Pull { force: false, credentials: None, progress: Arc::new(|_| {}) }
    }
}
