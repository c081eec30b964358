//! The root file systems that packages are built in: `docker/NAME/image.json`, made of Debian's packages.
//!
//! A folder `docker/NAME/root/`, where there is one, is laid over them: files of the image's own.

use std::path::PathBuf;

/// A root file system that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What tells its contents from all others: `sha256:` and 64 digits.
    pub id: String,
    /// Its layers, the lowest first; directories, one at least.
    pub layers: Vec<PathBuf>,
    /// The environment that it gives to what runs in it, sorted by name.
    pub env: Vec<(String, String)>,
    /// The Debian packages it is made of, as `NAME=VERSION`, sorted: for bills of materials.
    pub debs: Vec<String>,
}
