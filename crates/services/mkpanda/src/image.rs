//! The root file systems that packages are built in: `docker/NAME/image.json`, made of Debian's packages.
//!
//! A folder `docker/NAME/root/`, where there is one, is laid over them: files of the image's own. What an image is
//! made of is found out once and written down: after that, neither apt nor a network is asked, and who has the same
//! archive gets the same image. A name without such a folder is the reference of an image of a registry, or a
//! tarball.
//!
//! Whoever uses it holds the lock of the cache.

mod debian;
mod definition;
mod error;
mod record;
mod registry;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ::debian::Deb;

pub use error::ImageError;

/// A root file system that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What tells its contents from all others: `sha256:` and 64 digits.
    pub id: String,
    /// Its layers, the lowest first; directories, one at least.
    pub layers: Vec<PathBuf>,
    /// The environment that it gives to what runs in it, sorted by name.
    pub env: Vec<(String, String)>,
    /// The Debian packages it is made of: for bills of materials.
    pub debs: Vec<Deb>,
}

/// The images of a folder of packages, made or fetched when they are first asked for.
#[derive(Debug)]
pub struct Images {
    /// The folder `docker`.
    definitions: PathBuf,
    /// The folder `cache`.
    cache: PathBuf,
    /// Those that were asked for. Held while one is made: who asks meanwhile waits.
    known: Mutex<BTreeMap<String, Arc<Image>>>,
}

impl Images {
    /// Those that are defined below `definitions` (the folder `docker`) and kept in `cache`. Nothing is read yet.
    #[must_use]
    pub fn new(definitions: &Path, cache: &Path) -> Images {
        let known = Mutex::new(BTreeMap::new());
        Images { definitions: definitions.to_owned(), cache: cache.to_owned(), known }
    }

    /// The image that a buildinfo's `docker` names. It is made or fetched if it is not here; `say` is told so.
    ///
    /// # Errors
    /// Names the image, and what of it is wrong or cannot be had. Nothing half done is left.
    pub fn get(&self, docker: &str, say: &dyn Fn(&str)) -> Result<Arc<Image>, ImageError> {
        // What a panic leaves is removed by the next one that makes an image.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = known.get(docker) {
            return Ok(image.clone());
        }
        let failed = |source| ImageError::Image { name: docker.to_owned(), source: Box::new(source) };
        let name = folder_name(docker);
        let folder = self.definitions.join(name);
        let image = if is_plain(name) && folder.is_dir() {
            debian::get(name, &folder, &self.cache, say).map_err(failed)?
        } else if is_meant_for_a_folder(docker) {
            return Err(ImageError::Absent { name: docker.to_owned(), folder });
        } else {
            registry::get(docker, &self.cache, say).map_err(failed)?
        };
        let image = Arc::new(image);
        known.insert(docker.to_owned(), image.clone());
        Ok(image)
    }
}

/// What the original called the image that it made of the folder `NAME`.
const ORIGINAL: (&str, &str) = ("dcos/dcos-builder:", "_dockerdir-latest");

/// The folder that a name means, if it means one.
fn folder_name(docker: &str) -> &str {
    let (prefix, suffix) = ORIGINAL;
    docker.strip_prefix(prefix).and_then(|name| name.strip_suffix(suffix)).unwrap_or(docker)
}

/// A name that no registry would be asked for: without a tag, a digest or a path.
fn is_meant_for_a_folder(docker: &str) -> bool {
    folder_name(docker) != docker || !docker.contains(['/', ':', '@', '.'])
}

/// Whether a name stays within its folder.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && !name.starts_with('.')
}

#[cfg(test)]
mod tests;
