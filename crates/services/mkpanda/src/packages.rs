//! The folder of packages: what there is to be built.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use api_pkgpanda::PackageName;
use mkpanda_core::{BuildInfo, Graph, Invalid, MAX_FILE, PackageKey, Source, TreeInfo, Variant};

/// What describes a package.
const BUILDINFO: &str = "buildinfo.json";
/// What describes a tree.
const TREEINFO: &str = "treeinfo.json";
/// What says where more packages are.
const UPSTREAM: &str = "upstream.json";

/// Why the folder of packages cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// Something could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file that describes something is not as it has to be.
    #[error("{}", path.display())]
    Invalid {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: Invalid,
    },
    /// A file's or a folder's name is none that it may have.
    #[error("{}: {why}", path.display())]
    Name {
        /// Which one.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> FolderError + '_ {
    move |source| FolderError::Read { path: path.to_owned(), source }
}

/// All packages and trees of a folder.
#[derive(Clone, Debug)]
pub(crate) struct Packages {
    /// Packages with what they are built from.
    pub(crate) graph: Graph,
    /// Where each package is described.
    pub(crate) folders: BTreeMap<PackageName, PathBuf>,
    /// The trees.
    pub(crate) trees: BTreeMap<Variant, TreeInfo>,
}

impl Packages {
    /// Reads all that describes packages and trees in `root`, and in `upstream` the packages that `root` does not have.
    pub(crate) fn read(root: &Path, upstream: Option<&Path>) -> Result<Packages, FolderError> {
        let mut found = Vec::new();
        let mut folders = BTreeMap::new();
        for folder in [Some(root), upstream].into_iter().flatten() {
            read_folder(folder, &mut folders, &mut found)?;
        }
        let mut trees = BTreeMap::new();
        for (variant, path) in described(root, TREEINFO)? {
            let text = read_text(&path)?;
            let tree = TreeInfo::parse(&text);
            trees.insert(variant, tree.map_err(|source| FolderError::Invalid { path, source })?);
        }
        Ok(Packages { graph: Graph::of(found), folders, trees })
    }
}

/// Whether a package is described in this folder.
pub(crate) fn is_package(folder: &Path) -> Result<bool, FolderError> {
    Ok(!described(folder, BUILDINFO)?.is_empty())
}

/// Where more packages come from, if the folder says so.
pub(crate) fn upstream(root: &Path) -> Result<Option<Source>, FolderError> {
    let path = root.join(UPSTREAM);
    match path.try_exists() {
        Ok(false) => Ok(None),
        Ok(true) => {
            let text = read_text(&path)?;
            let source = Source::parse(&text);
            source.map(Some).map_err(|source| FolderError::Invalid { path, source })
        }
        Err(source) => Err(FolderError::Read { path, source }),
    }
}

/// Adds the packages of `root` whose names are not known.
fn read_folder(
    root: &Path,
    folders: &mut BTreeMap<PackageName, PathBuf>,
    found: &mut Vec<(PackageKey, BuildInfo)>,
) -> Result<(), FolderError> {
    let mut here = BTreeMap::new();
    for entry in fs::read_dir(root).map_err(failed(root))? {
        let entry = entry.map_err(failed(root))?;
        let path = entry.path();
        // What mkpanda makes, and what is hidden. Links to folders are packages, too.
        let is_other = entry.file_name() == "cache" || entry.file_name().as_encoded_bytes().starts_with(b".");
        if is_other || !path.is_dir() {
            continue;
        }
        let infos = described(&path, BUILDINFO)?;
        if infos.is_empty() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().parse::<PackageName>();
        let name = name.map_err(|error| FolderError::Name { path: path.clone(), why: error.to_string() })?;
        if folders.contains_key(&name) {
            continue;
        }
        for (variant, path) in infos {
            let text = read_text(&path)?;
            let info = BuildInfo::parse(&name, &text);
            let info = info.map_err(|source| FolderError::Invalid { path, source })?;
            found.push((PackageKey { name: name.clone(), variant }, info));
        }
        here.insert(name, path);
    }
    folders.extend(here);
    Ok(())
}

/// The files `[VARIANT.]base` of a folder.
fn described(folder: &Path, base: &str) -> Result<Vec<(Variant, PathBuf)>, FolderError> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        match Variant::of_file(name, base) {
            None => {}
            Some(Ok(variant)) => all.push((variant, path)),
            Some(Err(error)) => return Err(FolderError::Name { path, why: error.to_string() }),
        }
    }
    Ok(all)
}

/// Reads a file that people write; what is longer than such files are is not read.
fn read_text(path: &Path) -> Result<String, FolderError> {
    use std::io::Read;
    let mut text = String::new();
    let file = fs::File::open(path).map_err(failed(path))?;
    // One byte more, so that the reader of the text says that it is too long.
    file.take(MAX_FILE as u64 + 1).read_to_string(&mut text).map_err(failed(path))?;
    Ok(text)
}
