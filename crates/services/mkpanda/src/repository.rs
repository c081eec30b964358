//! Packages as directories, for builds that require them and for bootstraps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api_pkgpanda::step::{CURRENT, GENERATIONS, Place, Step};
use api_pkgpanda::{BUILDINFO, Contents, Kind, MANIFEST, Manifest, PKGINFO, PackageId, PkgInfo};
use archive::{Compression, Limits, Options, Ownership, Whiteouts};
use pkgpanda_core::{Layout, Package, Set};

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
    /// A plan for a new root that changes an old one.
    #[error("the plan of a new root holds {0}; this is a defect of mkpanda")]
    Step(String),
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

/// A package as a directory.
#[derive(Clone, Debug)]
pub(crate) struct Unpacked {
    /// Where it is.
    pub(crate) dir: PathBuf,
    /// The directory below which it is where builds look for it (`opt/mesosphere/packages/ID`), if it is.
    pub(crate) layer: Option<PathBuf>,
    /// What activation sees of it.
    pub(crate) package: Package,
}

/// A package that is there, or that somebody is about to unpack.
type Slot = Arc<Mutex<Option<Arc<Unpacked>>>>;

/// The packages that this run has built or unpacked.
#[derive(Debug)]
pub(crate) struct Repository<'a> {
    cache: &'a Cache,
    slots: Mutex<BTreeMap<PackageId, Slot>>,
}

impl<'a> Repository<'a> {
    pub(crate) fn new(cache: &'a Cache) -> Self {
        Repository { cache, slots: Mutex::default() }
    }

    fn slot(&self, id: &PackageId) -> Slot {
        Arc::clone(guard(&self.slots).entry(id.clone()).or_default())
    }

    /// Takes note of a package that is a directory already.
    pub(crate) fn put(&self, unpacked: Unpacked) {
        let slot = self.slot(&unpacked.package.id);
        *guard(&slot) = Some(Arc::new(unpacked));
    }

    /// The package as a directory, unpacked from the cache if nobody has done so yet.
    pub(crate) fn get(&self, id: &PackageId) -> Result<Arc<Unpacked>, RepositoryError> {
        let slot = self.slot(id);
        // Whoever comes second waits for the first, and no one else does.
        let mut slot = guard(&slot);
        if let Some(unpacked) = &*slot {
            return Ok(Arc::clone(unpacked));
        }
        let layer = self.cache.fresh("package");
        let unpacked = Arc::new(unpack(&self.cache.tarball(id), id, layer)?);
        Ok(Arc::clone(slot.insert(unpacked)))
    }
}

impl Repository<'_> {
    /// A layer for a container: its `/opt/mesosphere` has these packages active.
    pub(crate) fn root(&self, ids: &BTreeSet<PackageId>) -> Result<PathBuf, RepositoryError> {
        let unpacked = ids.iter().map(|id| self.get(id)).collect::<Result<Vec<_>, _>>()?;
        let layer = self.cache.fresh("root");
        let root = layer.join("opt/mesosphere");
        fs::create_dir_all(&root).map_err(failed("make", &root))?;
        activate(&root, unpacked.iter().map(|unpacked| &unpacked.package))?;
        Ok(layer)
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a thread that panicked left is whole: it is replaced at once, or not at all.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a package is in a layer of a build's root.
pub(crate) fn in_layer(layer: &Path, id: &PackageId) -> PathBuf {
    layer.join("opt/mesosphere/packages").join(id)
}

/// Unpacks a tarball into a new layer and makes sure that it is the package `id`, whole.
pub(crate) fn unpack(tarball: &Path, id: &PackageId, layer: PathBuf) -> Result<Unpacked, RepositoryError> {
    let dir = in_layer(&layer, id);
    let unreadable = |source| RepositoryError::Unpack { path: tarball.to_owned(), source };
    let file = File::open(tarball).map_err(failed("read", tarball))?;
    fs::create_dir_all(&dir).map_err(failed("make", &dir))?;
    let options =
        Options { limits: LIMITS, ownership: Ownership::Keep, whiteouts: Whiteouts::Plain, devices: false };
    let reader = Compression::detect(file).and_then(|detected| detected.reader()).map_err(unreadable)?;
    archive::unpack_tar(reader, &dir, &options).map_err(unreadable)?;
    let package = read(tarball, id, &dir)?;
    Ok(Unpacked { dir, layer: Some(layer), package })
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

/// Makes `root` look as `/opt/mesosphere` does when these packages are active in it: in place of a root that nobody
/// uses yet, no journal is needed.
pub(crate) fn activate<'p>(
    root: &Path,
    packages: impl IntoIterator<Item = &'p Package>,
) -> Result<(), RepositoryError> {
    let packages: Vec<Package> = packages.into_iter().cloned().collect();
    let set = Set::of(&packages, &[], &Layout::of_bootstrap()).map_err(RepositoryError::Set)?;
    let plan = pkgpanda_core::plan(None, &set);
    let generation = format!("{GENERATIONS}/1");
    fs::create_dir_all(root.join(GENERATIONS)).map_err(failed("make", root))?;
    for step in plan.build.iter().chain(&plan.before) {
        do_step(root, &root.join(&generation), step)?;
    }
    let current = root.join(CURRENT);
    symlink(&generation, &current).map_err(failed("make", &current))
}

/// Does a step of making a root anew: nothing of it is there yet.
fn do_step(root: &Path, generation: &Path, step: &Step) -> Result<(), RepositoryError> {
    let at = |place: &Place| match place {
        Place::Generation => generation,
        _ => root,
    };
    match step {
        Step::Directory { place, path } => {
            let path = at(place).join(path);
            fs::create_dir(&path).map_err(failed("make", &path))
        }
        Step::File { place, path, text } => {
            let path = at(place).join(path);
            fs::write(&path, text).map_err(failed("write", &path))
        }
        Step::Link { place, path, target } => {
            let path = at(place).join(path);
            symlink(target, &path).map_err(failed("make", &path))
        }
        Step::Links { place, directory, prefix, names } => {
            let directory = at(place).join(directory);
            names.iter().try_for_each(|name| {
                let path = directory.join(name);
                symlink(format!("{prefix}{name}"), &path).map_err(failed("make", &path))
            })
        }
        // They change what is there.
        step => Err(RepositoryError::Step(format!("{step:?}"))),
    }
}
