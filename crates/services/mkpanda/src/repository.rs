//! Packages as directories, for builds that require them and for bootstraps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api_pkgpanda::{BUILDINFO, Contents, Kind, MANIFEST, Manifest, PKGINFO, PackageId, PkgInfo};
use archive::{Compression, Limits, Options, Ownership, Whiteouts};
use containers::{Mount, RootFs};
use pkgpanda_core::Package;

use crate::active;
use crate::cache::{Cache, CacheError};
use crate::result::{self, ResultError};

/// What may come out of a package. More was not meant.
const LIMITS: Limits = Limits { bytes: 64 << 30, entries: 4_000_000 };

/// The most bytes of a file by which a package tells of itself: a manifest of a million files is shorter.
const MAX_TEXT: u64 = 256 << 20;

/// Why a package cannot be had as a directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepositoryError {
    /// Something could not be read or made.
    #[error("cannot {attempt} {}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A tarball is not as it has to be.
    #[error("cannot unpack {}", path.display())]
    Unpack {
        /// The tarball.
        path: PathBuf,
        /// Why.
        source: archive::Error,
    },
    /// What came out is no package, or another one.
    #[error("{}: {why}", path.display())]
    Contents {
        /// The tarball.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// What came out could not be listed.
    #[error("{}", path.display())]
    List {
        /// The tarball.
        path: PathBuf,
        /// Why.
        source: ResultError,
    },
    /// Packages do not fit together.
    #[error("these packages cannot be active together:{}", lines(.0))]
    Set(Vec<pkgpanda_core::Problem>),
    /// A root could not be made.
    #[error(transparent)]
    Activation(#[from] activation::Error),
    /// The scratch folder could not be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

fn lines(problems: &[pkgpanda_core::Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

fn failed<'a>(attempt: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> RepositoryError + 'a {
    move |source| RepositoryError::Io { attempt, path: path.to_owned(), source }
}

/// Where a root is in a layer of a build's root.
const ROOT: &str = "opt/mesosphere";

/// Where builds have their packages.
pub(crate) const PACKAGES: &str = "/opt/mesosphere/packages";

/// What is left for packages when the image, what all roots have and what a root says are layers, too.
const MOST_LAYERS: usize = RootFs::LAYERS_LIMIT - 2;

/// A package as a directory.
#[derive(Clone, Debug)]
pub(crate) struct Unpacked {
    /// Where it is.
    pub(crate) dir: PathBuf,
    /// What activation sees of it.
    pub(crate) package: Arc<Package>,
}

/// The packages of a build, active: what its image has on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Active {
    /// The lowest first.
    pub(crate) layers: Vec<PathBuf>,
    /// Packages that are in no layer.
    pub(crate) mounts: Vec<Mount>,
}

/// A package that is there, or that somebody is about to unpack.
#[derive(Debug, Default)]
struct Entry {
    unpacked: Option<Arc<Unpacked>>,
    /// What a root has of it. The package itself is in it, too, if nobody is to find it where it was.
    layer: Option<PathBuf>,
}

type Slot = Arc<Mutex<Entry>>;

/// The packages that this run has built or unpacked.
#[derive(Debug)]
pub(crate) struct Repository<'a> {
    cache: &'a Cache,
    slots: Mutex<BTreeMap<PackageId, Slot>>,
    /// The layer with what all roots have.
    bottom: Mutex<Option<PathBuf>>,
    /// Layers with what roots say, by the packages in them.
    tops: Mutex<BTreeMap<BTreeSet<PackageId>, PathBuf>>,
}

impl<'a> Repository<'a> {
    pub(crate) fn new(cache: &'a Cache) -> Self {
        Repository { cache, slots: Mutex::default(), bottom: Mutex::default(), tops: Mutex::default() }
    }

    fn slot(&self, id: &PackageId) -> Slot {
        Arc::clone(guard(&self.slots).entry(id.clone()).or_default())
    }

    /// Takes note of a package that is a directory already.
    pub(crate) fn put(&self, unpacked: Unpacked) {
        let slot = self.slot(&unpacked.package.id);
        *guard(&slot) = Entry { unpacked: Some(Arc::new(unpacked)), layer: None };
    }

    /// The package as a directory, unpacked from the cache if nobody has done so yet. While packages are built it may
    /// move.
    pub(crate) fn get(&self, id: &PackageId) -> Result<Arc<Unpacked>, RepositoryError> {
        // Whoever comes second waits for the first, and no one else does.
        self.get_to(id, &mut guard(&self.slot(id)))
    }

    fn get_to(&self, id: &PackageId, entry: &mut Entry) -> Result<Arc<Unpacked>, RepositoryError> {
        if let Some(unpacked) = &entry.unpacked {
            return Ok(Arc::clone(unpacked));
        }
        let unpacked = Arc::new(unpack(&self.cache.tarball(id), id, self.cache.fresh("package"))?);
        Ok(Arc::clone(entry.unpacked.insert(unpacked)))
    }

    /// The package where it stays, and the layer with what a root has of it.
    fn layer(&self, id: &PackageId) -> Result<(Arc<Unpacked>, PathBuf), RepositoryError> {
        let slot = self.slot(id);
        let mut entry = guard(&slot);
        let mut unpacked = self.get_to(id, &mut entry)?;
        if let Some(layer) = &entry.layer {
            return Ok((unpacked, layer.clone()));
        }
        let (layer, root) = self.fresh_layer("layer")?;
        active::link(&root, &unpacked.package)?;
        if unpacked.dir.starts_with(self.cache.scratch()) {
            let packages = root.join("packages");
            fs::create_dir(&packages).map_err(failed("make", &packages))?;
            let dir = packages.join(id);
            fs::rename(&unpacked.dir, &dir).map_err(failed("move", &unpacked.dir))?;
            unpacked = Arc::new(Unpacked { dir, package: Arc::clone(&unpacked.package) });
            entry.unpacked = Some(Arc::clone(&unpacked));
        }
        entry.layer = Some(layer.clone());
        Ok((unpacked, layer))
    }

    /// A new layer, and the place of the root in it.
    fn fresh_layer(&self, what: &str) -> Result<(PathBuf, PathBuf), RepositoryError> {
        let layer = self.cache.fresh(what);
        let root = layer.join(ROOT);
        fs::create_dir_all(&root).map_err(failed("make", &root))?;
        Ok((layer, root))
    }

    fn bottom(&self) -> Result<PathBuf, RepositoryError> {
        let mut bottom = guard(&self.bottom);
        if let Some(layer) = &*bottom {
            return Ok(layer.clone());
        }
        let (layer, root) = self.fresh_layer("bottom")?;
        active::activate(&root, &[])?;
        Ok(bottom.insert(layer).clone())
    }

    /// What a build needs to have these packages active in its `/opt/mesosphere`, over an image of so many layers.
    pub(crate) fn active(&self, ids: &BTreeSet<PackageId>, below: usize) -> Result<Active, RepositoryError> {
        let mut active = Active::default();
        if ids.is_empty() {
            return Ok(active);
        }
        let linked = ids.iter().map(|id| self.layer(id)).collect::<Result<Vec<_>, _>>()?;
        let packages: Vec<&Package> = linked.iter().map(|(unpacked, _)| &*unpacked.package).collect();
        let fit = below + linked.len() <= MOST_LAYERS;
        if fit {
            active.layers.push(self.bottom()?);
            active.layers.extend(linked.iter().map(|(_, layer)| layer.clone()));
            active.layers.push(self.top(ids, &packages)?);
        } else {
            let (layer, root) = self.fresh_layer("root")?;
            active::activate(&root, &packages)?;
            active.layers.push(layer);
        }
        // As layers they need no place that is made for them, and no mount each.
        let is_mounted =
            |(unpacked, layer): &&(Arc<Unpacked>, PathBuf)| !fit || !unpacked.dir.starts_with(layer);
        let mount = |(unpacked, _): &(Arc<Unpacked>, PathBuf)| {
            Mount::bind(&unpacked.dir, format!("{PACKAGES}/{}", unpacked.package.id)).read_only()
        };
        active.mounts = linked.iter().filter(is_mounted).map(mount).collect();
        Ok(active)
    }

    fn top(&self, ids: &BTreeSet<PackageId>, packages: &[&Package]) -> Result<PathBuf, RepositoryError> {
        if let Some(layer) = guard(&self.tops).get(ids) {
            return Ok(layer.clone());
        }
        // Two who want the same one at a time both make it.
        let (layer, root) = self.fresh_layer("top")?;
        active::tell(&root, packages)?;
        guard(&self.tops).insert(ids.clone(), layer.clone());
        Ok(layer)
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a thread that panicked left is whole: it is replaced at once, or not at all.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Unpacks a tarball into the new directory `dir` and makes sure that it is the package `id`, whole.
pub(crate) fn unpack(tarball: &Path, id: &PackageId, dir: PathBuf) -> Result<Unpacked, RepositoryError> {
    let unreadable = |source| RepositoryError::Unpack { path: tarball.to_owned(), source };
    let file = File::open(tarball).map_err(failed("read", tarball))?;
    fs::create_dir(&dir).map_err(failed("make", &dir))?;
    let options =
        Options { limits: LIMITS, ownership: Ownership::Keep, whiteouts: Whiteouts::Plain, devices: false };
    let reader = Compression::detect(file).and_then(|detected| detected.reader()).map_err(unreadable)?;
    archive::unpack_tar(reader, &dir, &options).map_err(unreadable)?;
    let package = Arc::new(read(tarball, id, &dir)?);
    Ok(Unpacked { dir, package })
}

/// Reads what a package says about itself, and checks it against its manifest.
fn read(tarball: &Path, id: &PackageId, dir: &Path) -> Result<Package, RepositoryError> {
    let wrong = |why: String| RepositoryError::Contents { path: tarball.to_owned(), why };
    let text = |name: &str| {
        let path = dir.join(name);
        match path.symlink_metadata() {
            // A link could lead to files of this machine.
            Ok(meta) if !meta.is_file() => return Err(wrong(format!("{name} is no file"))),
            Ok(meta) if meta.len() > MAX_TEXT => {
                return Err(wrong(format!("{name} has {} bytes; allowed are {MAX_TEXT}", meta.len())));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        let text = fs::read_to_string(path);
        text.map(Some).map_err(|error| wrong(format!("cannot read {name}: {error}")))
    };
    let info = text(PKGINFO)?.ok_or_else(|| wrong(format!("it has no {PKGINFO}")))?;
    let info = PkgInfo::parse(&info).map_err(|error| wrong(error.to_string()))?;
    let buildinfo = match text(BUILDINFO)? {
        Some(text) => {
            Some(serde_json::from_str(&text).map_err(|error| wrong(format!("{BUILDINFO}: {error}")))?)
        }
        None => None,
    };
    let mut manifest =
        result::list(dir).map_err(|source| RepositoryError::List { path: tarball.to_owned(), source })?;
    // It lists everything but itself.
    manifest.files.remove(MANIFEST);
    if let Some(text) = text(MANIFEST)? {
        let told = Manifest::parse(text.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        if let Some(path) = difference(&told, &manifest) {
            return Err(wrong(format!("{path} is not as {MANIFEST} says")));
        }
    }
    let contents = contents_of(&manifest);
    Ok(Package { info, contents, buildinfo, ..Package::new(id.clone()) })
}

/// What activation sees of the contents of a package.
pub(crate) fn contents_of(manifest: &Manifest) -> Contents {
    let mut contents = Contents::default();
    for path in manifest.directories.keys() {
        contents.add(path, Kind::Directory);
    }
    for path in manifest.files.keys().chain(manifest.symlinks.keys()) {
        contents.add(path, Kind::File);
    }
    contents
}

/// A path that is not in both, or not the same in both.
fn difference(told: &Manifest, found: &Manifest) -> Option<String> {
    fn of<V: PartialEq>(told: &BTreeMap<String, V>, found: &BTreeMap<String, V>) -> Option<String> {
        let differs = |(path, value): (&String, &V), in_other: &BTreeMap<String, V>| {
            (in_other.get(path) != Some(value)).then(|| path.clone())
        };
        told.iter()
            .find_map(|entry| differs(entry, found))
            .or_else(|| found.iter().find_map(|entry| differs(entry, told)))
    }
    of(&told.files, &found.files)
        .or_else(|| of(&told.directories, &found.directories))
        .or_else(|| of(&told.symlinks, &found.symlinks))
}

#[cfg(test)]
mod tests;
