//! Container images: from registries (v2 API) and tarballs (`docker save`, OCI layouts) into directories
//! that overlayfs takes as lower directories, each layer once.
//!
//! [`Images::pull`] streams: a layer is hashed, decompressed, hashed again and unpacked while it
//! arrives, several at once, and becomes visible by a rename when both digests are right. What
//! containers use is [held](Images::hold) in files, so that it outlives a killed process; what nobody
//! uses goes when the quota is reached, the least recently used first.
//!
//! Invariants: every byte that is kept was verified by a digest; no file of an image lands outside its
//! layer's directory; whatever comes from strangers has a limit; a pull that fails or is dropped leaves
//! nothing but whole layers.
//!
//! Deliberately absent: mounting (that is `containers`), pushing, building, schema 1 manifests,
//! foreign layers, signatures, and credential helper programs.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use images::{Config, Images, Limits, Pull, Reference};
//! let config = Config {
//!     dir: "/var/lib/dcos/images".into(),
//!     quota_bytes: 20 << 30,
//!     docker_config: None,
//!     insecure_registries: Vec::new(),
//!     limits: Limits::default(),
//! };
//! let images = Images::open(config, web_client::WebClient::new(web_client::Config::default())).await?;
//! let image = images.pull(&Reference::parse("127.0.0.1:5000/busybox:1")?, Pull::default()).await?;
//! images.hold(&image, &"container-1".into()).await?;
//! println!("{:?} {:?}", image.layers, image.config.entrypoint);
//! # Ok(()) }
//! ```

mod challenge;
mod digest;
mod docker_config;
mod download;
mod error;
mod flights;
#[doc(hidden)]
pub mod fuzz;
mod image;
mod images;
mod manifest;
mod meter;
mod pipeline;
mod pull;
mod reference;
mod registry;
mod store;
mod stored;

use std::path::PathBuf;
use std::sync::Arc;

pub use digest::{Digest, DigestError};
pub use docker_config::{DockerConfig, DockerConfigError};
pub use error::{HoldError, OpenError, PullError, RemoveError};
pub use image::{Image, ImageConfig, ImageSummary, Phase, Progress, Pruned};
pub use images::Images;
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
    /// Bytes of a tarball, as it comes and when it is decompressed.
    pub tarball_bytes: u64,
}

impl Default for Limits {
    /// 20 GiB and 2 million entries a layer, 40 GiB a tarball: more than any image that is run in
    /// practice.
    fn default() -> Limits {
        Limits { layer_bytes: 20 << 30, layer_entries: 2_000_000, tarball_bytes: 40 << 30 }
    }
}

/// How to pull.
#[derive(Clone)]
pub struct Pull {
    /// Ask the registry (or read the tarball) again, even if the image is there: a tag may have moved.
    pub force: bool,
    /// Make the image known by the names that a tarball of `docker save` gives it, too, as `docker load` does. For
    /// operators only: what a tarball says of itself is what others then run under that name.
    pub names: bool,
    /// Logins of this pull instead of the configured ones.
    pub credentials: Option<DockerConfig>,
    /// Told of progress while the pull is waited for, at most ten times a second. It must not block.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
}

impl Default for Pull {
    fn default() -> Pull {
        Pull { force: false, names: false, credentials: None, progress: Arc::new(|_| {}) }
    }
}
