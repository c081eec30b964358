//! Bootstraps: the packages of a tree as they are active, in one tarball.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api_pkgpanda::PackageId;
use mkpanda_core::{Component, Variant};
use pkgpanda_core::Package;

use crate::SOURCE_DATE_EPOCH;
use crate::active;
use crate::cache::{Cache, Output};
use crate::error::BuildError;
use crate::pack;
use crate::plan::Planned;
use crate::repository::{Repository, Unpacked};
use crate::schedule::{Built, Tell};

/// The file by which `pkgpanda setup` knows a bootstrap.
const MARKER: &str = "bootstrap";

/// A bootstrap that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Bootstrap {
    /// Of which tree.
    pub(crate) variant: Variant,
    /// Its packages.
    pub(crate) packages: BTreeSet<PackageId>,
    /// Its id.
    pub(crate) id: String,
}

impl Bootstrap {
    /// The bootstrap of these packages.
    pub(crate) fn of(variant: &Variant, packages: BTreeSet<PackageId>) -> Bootstrap {
        let id = mkpanda_core::bootstrap_id(&packages);
        Bootstrap { variant: variant.clone(), packages, id }
    }

    /// Its tarball in the cache.
    pub(crate) fn tarball(&self, cache: &Cache) -> PathBuf {
        self.file(cache, "bootstrap.tar.xz")
    }

    fn file(&self, cache: &Cache, ending: &str) -> PathBuf {
        cache.bootstrap().join(format!("{}.{ending}", self.id))
    }

    /// Whether all of it is in the cache.
    pub(crate) fn is_there(&self, cache: &Cache) -> bool {
        let endings = ["bootstrap.tar.xz", "bootstrap.tar.xz.sha256", "bootstrap.spdx.json", "active.json"];
        endings.iter().all(|ending| self.file(cache, ending).exists())
    }

    /// What says that this is the tree's latest bootstrap.
    pub(crate) fn latest(&self, cache: &Cache) -> PathBuf {
        cache.bootstrap().join(self.variant.file("bootstrap.latest"))
    }

    /// Makes it. Nobody else may use its packages meanwhile.
    pub(crate) fn make(
        &self,
        cache: &Cache,
        repository: &Repository<'_>,
        planned: &BTreeMap<&PackageId, &Planned>,
        threads: usize,
        tell: &Tell,
    ) -> Result<Built, BuildError> {
        tell.phase("unpacking its packages");
        let unpacked = self.packages.iter().map(|id| Ok(repository.get(id)?));
        let unpacked = unpacked.collect::<Result<Vec<Arc<Unpacked>>, BuildError>>()?;
        tell.phase("activating its packages");
        let root = cache.fresh("bootstrap");
        cache.empty(&root)?;
        let active: Vec<&Package> = unpacked.iter().map(|unpacked| &*unpacked.package).collect();
        active::activate(&root, &active)?;
        let marker = root.join(MARKER);
        fs::write(&marker, "").map_err(|source| BuildError::file("write", &marker, source))?;
        let from = cache.fresh("tarball");
        tell.phase("packing");
        let sha256 = Borrowed::take(&root.join("packages"), &unpacked)?.pack(&root, &from, threads);
        let what = || format!("bootstrap of {}", self.variant);
        let sha256 = sha256.map_err(|source| BuildError::Pack { what: what(), source })?;
        cache.remove(&root)?;
        let tarball = self.tarball(cache);
        let name = format!("{}.bootstrap.tar.xz", self.id);
        let active = mkpanda_core::active_json(&self.packages);
        let outputs = vec![
            Output { from, to: tarball },
            cache.write(self.file(cache, "bootstrap.tar.xz.sha256"), &format!("{sha256}  {name}\n"))?,
            cache.write(self.file(cache, "bootstrap.spdx.json"), &self.sbom(cache, planned)?)?,
            cache.write(self.file(cache, "active.json"), &active)?,
        ];
        Ok(Built { how: format!("{} is made", self.id), outputs })
    }
}

impl Bootstrap {
    /// What it consists of, for who looks for flaws in it.
    fn sbom(&self, cache: &Cache, planned: &BTreeMap<&PackageId, &Planned>) -> Result<String, BuildError> {
        let mut sums = Vec::new();
        for id in &self.packages {
            let tarball = cache.tarball(id);
            sums.push(pack::sha256(&tarball).map_err(|source| BuildError::file("read", &tarball, source))?);
        }
        let mut components = Vec::new();
        for (id, sha256) in self.packages.iter().zip(&sums) {
            components.push(Component { id, inputs: planned[id].inputs(), sha256: Some(sha256) });
        }
        let created = SOURCE_DATE_EPOCH.unsigned_abs();
        Ok(mkpanda_core::bootstrap_sbom(&self.id, &self.variant, &components, created))
    }
}

/// Packages that are moved into a bootstrap, because copies would take time and space, and moved back again.
struct Borrowed<'a> {
    moved: Vec<(PathBuf, &'a Path)>,
}

impl<'a> Borrowed<'a> {
    fn take(packages: &Path, unpacked: &'a [Arc<Unpacked>]) -> Result<Borrowed<'a>, BuildError> {
        fs::create_dir_all(packages).map_err(|source| BuildError::file("make", packages, source))?;
        let mut borrowed = Borrowed { moved: Vec::new() };
        for unpacked in unpacked {
            let to = packages.join(&unpacked.package.id);
            fs::rename(&unpacked.dir, &to)
                .map_err(|source| BuildError::file("move", &unpacked.dir, source))?;
            borrowed.moved.push((to, &unpacked.dir));
        }
        Ok(borrowed)
    }

    fn pack(self, root: &Path, to: &Path, threads: usize) -> Result<String, pack::TarballError> {
        pack::write(root, to, threads)
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        for (here, home) in &self.moved {
            // What cannot go back is missed by whoever wants it next, and said then.
            let _ = fs::rename(here, home);
        }
    }
}
