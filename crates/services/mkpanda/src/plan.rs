//! What is to be built: packages with everything that names them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api_pkgpanda::{MANIFEST, PackageId, hash};
use debian::Deb;
use mkpanda_core::{BuildInfo, DebianPackage, FileSum, Inputs, PackageBill, PackageKey, SourceId};

use crate::SOURCE_DATE_EPOCH;
use crate::cache::Cache;
use crate::error::BuildError;
use crate::folder::folder_hash;
use crate::image::{Image, Images};
use crate::packages::Packages;
use crate::result::SBOM;
use crate::sources::{Fetcher, Listing, Modes, TreeError, settle};

/// The folder of a package with files that its build may read.
const EXTRA: &str = "extra";

/// A package with everything that its id depends on.
pub(crate) struct Planned {
    pub(crate) key: PackageKey,
    pub(crate) id: PackageId,
    pub(crate) info: BuildInfo,
    /// Where it is described.
    folder: PathBuf,
    pub(crate) image: Arc<Image>,
    fetcher: Fetcher,
    source_ids: BTreeMap<String, SourceId>,
    /// The build script: what its hash is of, whatever becomes of the file meanwhile.
    pub(crate) script: Vec<u8>,
    /// The hash of the build script.
    build: String,
    /// The hash of the folder `extra`.
    extra_source: Option<String>,
    /// All that it requires, and that these require.
    pub(crate) requires: BTreeSet<PackageId>,
}

impl Planned {
    /// Copies the folder of further files, if there is one, into the new folder `to`; says whether there is one.
    /// Times and modes are the same everywhere then, but that what can be executed stays so.
    ///
    /// # Errors
    /// Also when it is not what the package's id is made of any more.
    pub(crate) fn copy_extra(&self, to: &Path) -> Result<bool, BuildError> {
        let Some(planned) = &self.extra_source else { return Ok(false) };
        let failed = |source| BuildError::Extra { key: self.key.clone(), source };
        let folder = self.folder.join(EXTRA);
        fs::create_dir(to).map_err(|source| BuildError::file("make", to, source))?;
        Listing::of(&folder).and_then(|listing| listing.copy(&folder, to)).map_err(failed)?;
        if folder_hash(&folder)? != *planned {
            return Err(failed(TreeError::Changed { path: folder }));
        }
        settle(to, Modes::Plain).map_err(failed)?;
        Ok(true)
    }

    /// What the package's id is made of.
    pub(crate) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            key: &self.key,
            buildinfo: &self.info,
            source_ids: &self.source_ids,
            build: &self.build,
            docker: &self.image.id,
            extra_source: self.extra_source.as_deref(),
            requires: &self.requires,
        }
    }

    /// Whether it is made from more than its own folder.
    pub(crate) fn has_sources(&self) -> bool {
        !self.info.sources.is_empty()
    }

    /// What is in it and what it was made from, for who looks for flaws in it.
    pub(crate) fn sbom(&self, files: &[FileSum]) -> String {
        let tool = |deb: &Deb| DebianPackage {
            package: deb.package.clone(),
            version: deb.version.clone(),
            architecture: deb.architecture.clone(),
            sha256: Some(deb.sha256.clone()),
        };
        let tools: Vec<DebianPackage> = self.image.debs.iter().map(tool).collect();
        let created = SOURCE_DATE_EPOCH.unsigned_abs();
        let (id, inputs) = (&self.id, self.inputs());
        // The bill has no sum of itself, and the manifest has one of the bill.
        let left_out = &[MANIFEST, SBOM];
        mkpanda_core::package_sbom(&PackageBill { id, inputs, files, left_out, tools: &tools, created })
    }

    /// Brings its sources into the folder, each to one of its name.
    pub(crate) fn checkout_to(&self, dir: &Path, say: &dyn Fn(&str)) -> Result<(), BuildError> {
        let failed = |source| BuildError::Sources { key: self.key.clone(), source };
        self.fetcher.checkout_to(dir, say).map_err(failed)
    }
}

/// Finds ids out, one package after the other: those that a package requires first.
pub(crate) struct Planner<'a> {
    pub(crate) packages: &'a Packages,
    pub(crate) cache: &'a Cache,
    pub(crate) images: &'a Images,
    /// The ids of what was planned, or was built before.
    pub(crate) ids: BTreeMap<PackageKey, PackageId>,
}

impl Planner<'_> {
    /// Plans a package. What it requires has an id already.
    pub(crate) fn plan(&mut self, key: &PackageKey) -> Result<Planned, BuildError> {
        let graph = &self.packages.graph;
        let info = graph.find(key, "build")?.clone();
        let folder =
            self.packages.folders.get(&key.name).expect("a package in the graph has a folder").clone();
        let required = graph.requires(key)?;
        let requires: BTreeSet<PackageId> = required.iter().map(|key| self.ids[key].clone()).collect();
        let image = self.images.get(&info.docker, &|text| eprintln!("{text}"));
        let image = image.map_err(|source| BuildError::Image { key: key.clone(), source })?;
        let script = folder.join(&info.build_script);
        let script = fs::read(&script).map_err(|source| BuildError::file("read", &script, source))?;
        let sources = self.cache.package(key.name.as_str());
        let mut fetcher = Fetcher::new(&folder, &sources, &info.sources);
        let source_ids = fetcher.ids().map_err(|source| BuildError::Sources { key: key.clone(), source })?;
        let extra_source = extra_source(&folder.join(EXTRA))?;
        let (key, build) = (key.clone(), hash::content(&script));
        let inputs = Inputs {
            key: &key,
            buildinfo: &info,
            source_ids: &source_ids,
            build: &build,
            docker: &image.id,
            extra_source: extra_source.as_deref(),
            requires: &requires,
        };
        let id = inputs.package_id().map_err(|source| BuildError::Id { key: key.clone(), source })?;
        self.ids.insert(key.clone(), id.clone());
        let planned = Planned {
            key,
            id,
            info,
            folder,
            image,
            fetcher,
            source_ids,
            script,
            build,
            extra_source,
            requires,
        };
        Ok(planned)
    }

    /// Takes what was built last of a package, and must be in the cache.
    pub(crate) fn take_latest(&mut self, key: &PackageKey) -> Result<(), BuildError> {
        let path = self.cache.latest(key.name.as_str(), key.variant.name());
        let missing = || BuildError::NotBuilt(key.clone());
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(source) => return Err(BuildError::file("read", &path, source)),
        };
        let id = text.trim().parse::<PackageId>();
        let id = id.map_err(|error| BuildError::Latest { path: path.clone(), why: error.to_string() })?;
        if id.name() != key.name.as_str() {
            let why = format!("it names {id}, which is another package");
            return Err(BuildError::Latest { path, why });
        }
        if !self.cache.tarball(&id).exists() {
            return Err(missing());
        }
        self.ids.insert(key.clone(), id);
        Ok(())
    }
}

/// The hash of a folder, if there is one.
fn extra_source(folder: &Path) -> Result<Option<String>, BuildError> {
    match fs::metadata(folder) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(BuildError::file("look at", folder, source)),
    }
    Ok(Some(folder_hash(folder)?))
}
