//! One run of the program, from the folder it was started in to what is in the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use api_pkgpanda::{PackageId, PackageName};
use mkpanda_core::{PackageKey, PackageSet, Variant};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use web_client::WebClient;

use crate::bootstrap::Bootstrap;
use crate::build::Workshop;
use crate::cache::{Cache, CacheError, Output};
use crate::container::Builders;
use crate::download::Remote;
use crate::error::BuildError;
use crate::image::Images;
use crate::interrupt;
use crate::obtain::Obtain;
use crate::packages::{self, Packages};
use crate::plan::{Planned, Planner};
use crate::repository::Repository;
use crate::schedule::{self, Work};
use crate::upstream;

/// How a run is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Where packages may be had.
    pub(crate) repository_url: Option<String>,
    /// Builds at one time.
    pub(crate) jobs: Option<usize>,
    /// Whether the folders of builds stay.
    pub(crate) keep: bool,
}

/// Everything that went wrong.
pub(crate) type Failures = Vec<BuildError>;

/// What was asked for, with where it is.
pub(crate) type Made = Vec<(Variant, PathBuf)>;

/// A tree that is built.
struct Tree<'a> {
    variant: &'a Variant,
    packages: BTreeSet<PackageId>,
    bootstrap: Option<Bootstrap>,
}

impl<'a> Tree<'a> {
    fn of(
        variant: &'a Variant,
        set: &PackageSet,
        ids: &BTreeMap<&PackageKey, &PackageId>,
        mkbootstrap: bool,
    ) -> Tree<'a> {
        let ids_of = |keys: &BTreeSet<PackageKey>| keys.iter().map(|key| ids[key].clone()).collect();
        let bootstrap = mkbootstrap.then(|| Bootstrap::of(variant, ids_of(&set.bootstrap)));
        Tree { variant, packages: ids_of(&set.all), bootstrap }
    }

    /// What the tree's user is after.
    fn path(&self, cache: &Cache) -> PathBuf {
        match &self.bootstrap {
            Some(bootstrap) => bootstrap.tarball(cache),
            None => cache.complete(self.variant.name()),
        }
    }

    /// The files that say what the tree consists of now.
    fn note(&self, cache: &Cache, outputs: &mut Vec<Output>) -> Result<(), CacheError> {
        let id = self.bootstrap.as_ref().map(|bootstrap| bootstrap.id.as_str());
        if let Some(bootstrap) = &self.bootstrap {
            outputs.extend(cache.update(bootstrap.latest(cache), &bootstrap.id)?);
        }
        let text = mkpanda_core::complete_json(id, &self.packages);
        outputs.extend(cache.update(cache.complete(self.variant.name()), &text)?);
        Ok(())
    }
}

/// A run in a folder of packages.
pub(crate) struct Run {
    cache: Cache,
    packages: Packages,
    images: Images,
    remote: Option<Remote>,
    jobs: usize,
    cores: usize,
    keep: bool,
    runtime: Runtime,
    cancelled: watch::Receiver<bool>,
}

impl Run {
    /// Takes hold of the cache and reads what there is to be built.
    pub(crate) fn open(root: &Path, options: &Options) -> Result<Run, BuildError> {
        let client = WebClient::new(web_client::Config::from_environment());
        let remote = options.repository_url.as_deref().map(|url| Remote::parse(url, &client));
        let remote = remote.transpose().map_err(BuildError::Remote)?;
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(BuildError::Runtime)?;
        let cancelled = interrupt::watch(runtime.handle()).map_err(BuildError::Runtime)?;
        let cache = Cache::open(root)?;
        if !cache.is_swept() {
            // Containers first: they may still be writing.
            drop(Builders::open(cache.path(), runtime.handle(), cancelled.clone())?);
        }
        cache.sweep()?;
        let upstream = match packages::upstream(root)? {
            Some(source) => Some(upstream::packages(root, source, &cache)?),
            None => None,
        };
        let packages = Packages::read(root, upstream.as_deref())?;
        let images = Images::new(&root.join("../docker"), cache.path());
        let jobs = options.jobs.unwrap_or(cores);
        Ok(Run { cache, packages, images, remote, jobs, cores, keep: options.keep, runtime, cancelled })
    }

    /// Builds a package with all its variants, and what they require if that is asked for.
    pub(crate) fn package(&self, name: &PackageName, recursive: bool) -> Result<Made, Failures> {
        let graph = &self.packages.graph;
        let variants = graph.variants(name).cloned();
        let keys: Vec<PackageKey> =
            variants.map(|variant| PackageKey { name: name.clone(), variant }).collect();
        let wanted: BTreeSet<&PackageKey> = keys.iter().collect();
        let order = graph.build_order(&keys).map_err(one)?;
        let planned = self.plan(&order, |key| recursive || wanted.contains(key)).map_err(one)?;
        self.build(&planned, &Repository::new(&self.cache))?;
        let made = planned.iter().filter(|planned| wanted.contains(&planned.key));
        Ok(made.map(|planned| (planned.key.variant.clone(), self.cache.tarball(&planned.id))).collect())
    }

    /// Builds all packages of the trees, or of the one that is named, and bootstraps if they are asked for.
    pub(crate) fn trees(&self, variant: Option<&str>, mkbootstrap: bool) -> Result<Made, Failures> {
        let trees = self.wanted_trees(variant).map_err(one)?;
        let all: BTreeSet<&PackageKey> = trees.values().flat_map(|set| &set.all).collect();
        let order = self.packages.graph.build_order(all).map_err(one)?;
        let planned = self.plan(&order, |_| true).map_err(one)?;
        let ids: BTreeMap<&PackageKey, &PackageId> =
            planned.iter().map(|planned| (&planned.key, &planned.id)).collect();
        let trees: Vec<Tree<'_>> =
            trees.iter().map(|(variant, set)| Tree::of(variant, set, &ids, mkbootstrap)).collect();
        let repository = Repository::new(&self.cache);
        self.build(&planned, &repository)?;
        let bootstraps = trees.iter().filter_map(|tree| tree.bootstrap.as_ref());
        self.make_bootstraps(bootstraps, &repository, &planned)?;
        let mut outputs = Vec::new();
        for tree in &trees {
            tree.note(&self.cache, &mut outputs).map_err(one)?;
        }
        self.cache.publish(&outputs).map_err(one)?;
        Ok(trees.iter().map(|tree| (tree.variant.clone(), tree.path(&self.cache))).collect())
    }

    fn wanted_trees(&self, variant: Option<&str>) -> Result<BTreeMap<&Variant, PackageSet>, BuildError> {
        let all = &self.packages.trees;
        let names = || all.keys().map(Variant::to_string).collect::<Vec<_>>().join(", ");
        let is_wanted = |tree: &Variant| match (variant, tree.name()) {
            (None, _) => true,
            (Some("default" | "<default>"), None) => true,
            (Some(wanted), found) => found == Some(wanted),
        };
        let trees: BTreeMap<_, _> = all.iter().filter(|(tree, _)| is_wanted(tree)).collect();
        match variant {
            _ if all.is_empty() => {
                Err(BuildError::Tree("there is no tree here: no file [VARIANT.]treeinfo.json".to_owned()))
            }
            Some(wanted) if trees.is_empty() => {
                Err(BuildError::Tree(format!("there is no tree {wanted} here, only {}", names())))
            }
            _ => {
                let set = |(variant, tree)| {
                    let set = self.packages.graph.package_set(tree);
                    set.map(|set| (variant, set))
                        .map_err(|source| BuildError::TreeSet { tree: Variant::clone(variant), source })
                };
                trees.into_iter().map(set).collect()
            }
        }
    }

    /// Finds out what the packages are called, in their order: those that are to be built by what they are made from,
    /// the others by what was built last.
    fn plan(
        &self,
        order: &[PackageKey],
        is_built: impl Fn(&PackageKey) -> bool,
    ) -> Result<Vec<Planned>, BuildError> {
        let mut planner = Planner {
            packages: &self.packages,
            cache: &self.cache,
            images: &self.images,
            ids: BTreeMap::new(),
        };
        let mut planned = Vec::new();
        for key in order {
            match is_built(key) {
                true => planned.push(planner.plan(key)?),
                false => planner.take_latest(key)?,
            }
        }
        Ok(planned)
    }

    /// Builds what is not in the cache, and notes what was built last.
    fn build(&self, planned: &[Planned], repository: &Repository<'_>) -> Result<(), Failures> {
        let (there, missing): (Vec<&Planned>, Vec<&Planned>) =
            planned.iter().partition(|planned| self.cache.tarball(&planned.id).exists());
        if !missing.is_empty() {
            self.build_missing(&missing, repository)?;
        }
        let mut outputs: Vec<Output> = Vec::new();
        for Planned { key, id, .. } in there {
            let latest = self.cache.latest(key.name.as_str(), key.variant.name());
            outputs.extend(self.cache.update(latest, id.as_str()).map_err(one)?);
        }
        self.cache.publish(&outputs).map_err(one)
    }

    fn build_missing(&self, missing: &[&Planned], repository: &Repository<'_>) -> Result<(), Failures> {
        let number: BTreeMap<&PackageId, usize> =
            missing.iter().enumerate().map(|(number, planned)| (&planned.id, number)).collect();
        let works: Vec<Work> = missing
            .iter()
            .map(|planned| Work {
                name: planned.key.to_string(),
                after: planned.requires.iter().filter_map(|id| number.get(id).copied()).collect(),
            })
            .collect();
        let runtime = self.runtime.handle();
        let builders = Builders::open(self.cache.path(), runtime, self.cancelled.clone()).map_err(one)?;
        let workshop = Workshop {
            cache: &self.cache,
            builders: &builders,
            runtime,
            repository,
            keep: self.keep,
            cores: self.cores,
            packing: Mutex::default(),
        };
        let obtain = Obtain { workshop, remote: self.remote.as_ref(), cancelled: &self.cancelled };
        schedule::run(&works, self.jobs, &self.cache, &self.cancelled, &|number, tell| {
            obtain.package(missing[number], tell)
        })
    }
}

impl Run {
    fn make_bootstraps<'b>(
        &self,
        bootstraps: impl Iterator<Item = &'b Bootstrap>,
        repository: &Repository<'_>,
        planned: &[Planned],
    ) -> Result<(), Failures> {
        let planned = planned.iter().map(|planned| (&planned.id, planned)).collect();
        let missing: Vec<&Bootstrap> =
            bootstraps.filter(|bootstrap| !bootstrap.is_there(&self.cache)).collect();
        let works: Vec<Work> = missing
            .iter()
            .map(|bootstrap| Work { name: format!("bootstrap of {}", bootstrap.variant), after: Vec::new() })
            .collect();
        // One after the other: they share packages, and each takes all processors when it is packed.
        schedule::run(&works, 1, &self.cache, &self.cancelled, &|number, tell| {
            missing[number].make(&self.cache, repository, &planned, self.cores, tell)
        })
    }
}

fn one(error: impl Into<BuildError>) -> Failures {
    vec![error.into()]
}
