//! A pull from beginning to end.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use archive::{Options, Ownership};
use futures_util::future::try_join_all;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;
use web_client::WebClient;

use crate::docker_config::{DockerConfig, LIMIT};
use crate::download::{self, Address, PIECES, Tarball};
use crate::flights::Flights;
use crate::manifest::{self, Descriptor, Parsed};
use crate::meter::{ImageMeter, LayerMeter};
use crate::pipeline::{self, Expected, Metered, Pieces, Trouble};
use crate::registry::{Known, Registry};
use crate::store::{Failed, Record, Store};
use crate::stored::{self, Stored, malformed};
use crate::{Config, Digest, Image, Named, PullError, Reference};

/// Layers that are unpacked at once, over all pulls. Each keeps about two processors busy.
const LAYERS_AT_ONCE: usize = 3;

/// What an entry of a tar may take beside its contents.
const ENTRY_OVERHEAD: u64 = 4096;

/// What pulls share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Arc<Store>,
    pub(crate) images: Flights<ImageKey, ImageMeter, Result<Image, PullError>>,
    web: WebClient,
    known: Arc<Known>,
    layers: Flights<Digest, LayerMeter, Result<Arc<()>, PullError>>,
    slots: Semaphore,
}

/// Pulls that are the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ImageKey {
    pub(crate) reference: Reference,
    pub(crate) force: bool,
    pub(crate) credentials: Option<DockerConfig>,
    pub(crate) names: bool,
}

/// What an image consists of, and where its layers are.
struct Plan {
    manifest: Option<Digest>,
    id: Digest,
    identity: Option<String>,
    config: crate::ImageConfig,
    layers: Vec<Layer>,
    /// What a tarball calls the image.
    names: Vec<String>,
}

#[derive(Clone)]
struct Layer {
    diff_id: Digest,
    size: u64,
    source: Source,
}

#[derive(Clone)]
enum Source {
    Registry(Arc<Registry>, Descriptor),
    Stored { stored: Arc<Stored>, name: String, blob: Option<Digest> },
}

impl Shared {
    pub(crate) fn new(config: Config, store: Store, web: WebClient) -> Shared {
        Shared {
            config,
            store: Arc::new(store),
            images: Flights::new(),
            web,
            known: Arc::default(),
            layers: Flights::new(),
            slots: Semaphore::new(LAYERS_AT_ONCE),
        }
    }

    /// Brings an image here.
    pub(crate) async fn pull(
        self: Arc<Shared>,
        ImageKey { reference, force, credentials, names }: ImageKey,
        meter: Arc<ImageMeter>,
    ) -> Result<Image, PullError> {
        // Who wants its names wants the tarball read.
        let force = force || names;
        let mut plan = match &reference {
            Reference::Registry(named) => self.plan_registry(named, credentials).await?,
            Reference::File(path) => match self.plan_file(&reference, path, force).await? {
                Planned::There(image) => return Ok(image),
                Planned::New(plan) => plan,
            },
            Reference::Url(url) => match self.plan_url(&reference, url, force, &meter).await? {
                Planned::There(image) => return Ok(image),
                Planned::New(plan) => plan,
            },
        };
        if !names {
            plan.names.clear();
        }
        self.bring(reference, plan, &meter).await
    }

    async fn plan_registry(
        &self,
        named: &Named,
        credentials: Option<DockerConfig>,
    ) -> Result<Plan, PullError> {
        let refuse = |reason| PullError::Credentials { registry: named.registry.clone(), reason };
        let config = match (credentials, &self.config.docker_config) {
            (Some(config), _) => config,
            (None, Some(path)) => docker_config(path.clone()).await.map_err(refuse)?,
            (None, None) => DockerConfig::default(),
        };
        let login = config.login(&named.registry).map_err(refuse)?.cloned();
        let insecure = &self.config.insecure_registries;
        let registry = Registry::new(self.web.clone(), named.clone(), login, self.known.clone(), insecure);
        let (digest, manifest) = registry.manifest().await?;
        let config = registry.config(&manifest.config).await?;
        let parsed =
            manifest::config(&config).map_err(|refusal| registry.refused(refusal, "the configuration"))?;
        let registry = Arc::new(registry);
        let sources = manifest.layers.into_iter().map(|layer| {
            let size = layer.size;
            (size, Source::Registry(registry.clone(), layer))
        });
        let layers = pair(registry.image(), &parsed, sources.collect())?;
        Ok(Plan {
            manifest: Some(digest),
            id: manifest.config.digest,
            identity: None,
            config: parsed.config,
            layers,
            names: Vec::new(),
        })
    }

    async fn plan_file(&self, reference: &Reference, path: &Path, force: bool) -> Result<Planned, PullError> {
        let known = self.store.find(reference).filter(|_| !force);
        let (image, path, store) = (reference.to_string(), path.to_owned(), self.store.clone());
        let limit = self.config.limits.tarball_bytes;
        let planned = blocking(reference, move || {
            let missing = |error: std::io::Error| PullError::NoTarball {
                image: image.clone(),
                reason: error.to_string(),
            };
            let meta = std::fs::metadata(&path).map_err(missing)?;
            if meta.is_dir() {
                // Its files may change behind its back: it is read each time, and layers are known.
                return Ok(Planned::New(stored_plan(&image, Stored::Directory(path), None)?));
            }
            let file = stored::open_regular(&path).map_err(missing)?;
            let meta = file.metadata().map_err(missing)?;
            let time = (meta.mtime(), meta.mtime_nsec());
            let identity =
                format!("file {} {}.{:09} {}:{}", meta.len(), time.0, time.1, meta.dev(), meta.ino());
            if let Some((found, of)) = known
                && of.as_ref() == Some(&identity)
            {
                return Ok(Planned::There(found));
            }
            let scratch = || store.scratch().map_err(|failed| io_error(&image, &store, failed));
            let stored = Stored::tarball(&image, file, limit, scratch)?;
            Ok(Planned::New(stored_plan(&image, stored, Some(identity))?))
        });
        planned.await.map_err(|error| self.with_dir(error))
    }

    async fn plan_url(
        &self,
        reference: &Reference,
        url: &str,
        force: bool,
        meter: &ImageMeter,
    ) -> Result<Planned, PullError> {
        let known = self.store.find(reference).filter(|_| !force);
        let image = reference.to_string();
        let identity = known.as_ref().and_then(|(_, identity)| identity.as_deref());
        let limit = self.config.limits.tarball_bytes;
        let scratch = || self.store.scratch().map_err(|failed| io_error(&image, &self.store, failed));
        let address = Address { web: &self.web, url, known: identity, limit };
        let fetched = match (address.fetch(scratch()?, meter).await, known) {
            // Without a word of the server's about its versions, the one that is there stays.
            (Ok(Tarball::Same), Some((found, _))) => return Ok(Planned::There(found)),
            (Ok(Tarball::New(_, of)), Some((found, identity))) if of.is_some() && of == identity => {
                return Ok(Planned::There(found));
            }
            (Err(error @ PullError::Transfer { .. }), Some((found, _))) => {
                tracing::warn!(%error, "an image's tarball cannot be asked for; the one that is here is taken");
                return Ok(Planned::There(found));
            }
            (Err(error), _) => return Err(self.with_dir(error)),
            (Ok(fetched), _) => fetched,
        };
        let Tarball::New(file, identity) = fetched else {
            let reason = "its server answers 304 to a question without condition".to_owned();
            return Err(PullError::NoTarball { image, reason });
        };
        let store = self.store.clone();
        let planned = blocking(reference, move || {
            let scratch = || store.scratch().map_err(|failed| io_error(&image, &store, failed));
            let stored = Stored::tarball(&image, file, limit, scratch)?;
            Ok(Planned::New(stored_plan(&image, stored, identity)?))
        });
        planned.await.map_err(|error| self.with_dir(error))
    }

    /// That no layer announces more than it may become: a stream that unpacks to nothing would never end.
    fn affordable(&self, image: &str, layers: &[Layer]) -> Result<(), PullError> {
        let limits = &self.config.limits;
        let most = limits.layer_bytes.saturating_add(limits.layer_entries.saturating_mul(ENTRY_OVERHEAD));
        match layers.iter().find(|layer| layer.size > most) {
            None => Ok(()),
            Some(Layer { diff_id, size, .. }) => {
                let reason = format!("it has {size} bytes; allowed are {most}");
                Err(PullError::Layer { image: image.to_owned(), layer: diff_id.clone(), reason })
            }
        }
    }

    /// Gets the layers that are missing, and remembers the image.
    async fn bring(
        self: Arc<Shared>,
        reference: Reference,
        plan: Plan,
        meter: &ImageMeter,
    ) -> Result<Image, PullError> {
        let image = reference.familiar();
        self.affordable(&image, &plan.layers)?;
        let layers = distinct(plan.layers);
        let mut pins = Vec::new();
        let mut missing = Vec::new();
        for layer in &layers {
            match self.store.layer(&layer.diff_id) {
                Some(pin) => pins.push(pin),
                None => missing.push(layer.clone()),
            }
        }
        meter.start(pins.len() as u32);
        let missing = missing.into_iter().map(|layer| self.clone().layer(image.clone(), layer, meter));
        let fresh = try_join_all(missing).await?;
        let record = Record {
            reference: reference.to_string(),
            id: plan.id,
            manifest: plan.manifest,
            identity: plan.identity,
            layers: layers.into_iter().map(|layer| layer.diff_id).collect(),
            config: plan.config,
        };
        let shared = self.clone();
        let asked = reference.clone();
        let found = blocking(&asked, move || {
            let failed = |failed| io_error(&image, &shared.store, failed);
            for name in named(&plan.names) {
                let record = Record { reference: name.to_string(), identity: None, ..record.clone() };
                shared.store.remember(&name, record).map_err(failed)?;
            }
            let found = shared.store.remember(&reference, record).map_err(failed)?;
            shared.store.collect(shared.config.quota_bytes).map_err(failed)?;
            Ok(found)
        });
        let found = found.await?;
        drop((pins, fresh));
        // Nobody waits for the disk: what is not on it when the machine stops is got again.
        let store = self.store.clone();
        drop(spawn_blocking(move || {
            if let Err(error) = store.sync() {
                tracing::warn!(%error, "layers may have to be pulled again after a loss of power");
            }
        }));
        Ok(found)
    }

    /// One layer, got by whoever wants it first.
    async fn layer(
        self: Arc<Shared>,
        image: String,
        layer: Layer,
        meter: &ImageMeter,
    ) -> Result<Arc<()>, PullError> {
        loop {
            let shared = self.clone();
            let (flight, started) = self.layers.join(&layer.diff_id, |meter| {
                let (image, layer) = (image.clone(), layer.clone());
                async move {
                    let outcome = shared.unpack(image, layer, meter.clone()).await;
                    meter.finish();
                    outcome
                }
            });
            meter.layer(layer.size, flight.meter.clone());
            match flight.outcome().await {
                Some(Ok(pin)) => return Ok(pin),
                Some(Err(error)) if started => return Err(error),
                None if started => return Err(PullError::Closed { image }),
                // Another image's registry failed, or refused another one's login: that is not ours.
                _ => meter.forget(&flight.meter),
            }
        }
    }

    async fn unpack(
        self: Arc<Shared>,
        image: String,
        layer: Layer,
        meter: Arc<LayerMeter>,
    ) -> Result<Arc<()>, PullError> {
        let _slot = self.slots.acquire().await.map_err(|_| PullError::Closed { image: image.clone() })?;
        if let Some(pin) = self.store.layer(&layer.diff_id) {
            return Ok(pin);
        }
        let shared = self.clone();
        let Layer { diff_id, source, .. } = layer;
        match source {
            Source::Registry(registry, descriptor) => {
                let expected = Expected { blob: Some(descriptor.digest.clone()), diff_id };
                let (feed, pieces) = mpsc::channel(PIECES);
                let pieces = Pieces::new(pieces);
                let name = image.clone();
                let work = spawn_blocking(move || shared.unpack_from(&name, pieces, &expected));
                let fed = download::layer(&registry, &descriptor, feed, &meter).await;
                let unpacked = work.await.unwrap_or(Err(PullError::Closed { image }));
                // The pipeline only knows that its source dried up.
                fed.and(unpacked)
            }
            Source::Stored { stored, name, blob } => {
                let expected = Expected { blob, diff_id };
                let unwanted = Unwanted(Arc::new(AtomicBool::new(false)));
                let stop = unwanted.0.clone();
                let work = spawn_blocking(move || {
                    let (source, _) =
                        stored.open(&name).map_err(|reason| malformed(&image, "the tarball", reason))?;
                    let source = Stoppable { source: Metered { source, meter }, stop };
                    shared.unpack_from(&image, source, &expected)
                });
                let unpacked = work.await;
                drop(unwanted);
                unpacked.unwrap_or_else(|_| Err(PullError::Closed { image: "a tarball".to_owned() }))
            }
        }
    }

    /// Unpacks, verifies, publishes. Blocks.
    fn unpack_from(
        &self,
        image: &str,
        source: impl Read + Send + 'static,
        expected: &Expected,
    ) -> Result<Arc<()>, PullError> {
        let failed = |failed| io_error(image, &self.store, failed);
        let incoming = self.store.begin().map_err(failed)?;
        let limits = self.config.limits;
        let limits = archive::Limits { bytes: limits.layer_bytes, entries: limits.layer_entries };
        let mut options = Options::layer(limits);
        if !host::is_root() {
            options.ownership = Ownership::Current;
        }
        let image = image.to_owned();
        let unpacked = pipeline::unpack(source, expected, &incoming.tree(), &options);
        let unpacked = unpacked.map_err(|trouble| match trouble {
            Trouble::Blob { expected, found } => {
                PullError::Digest { image: image.clone(), what: format!("layer {expected}"), expected, found }
            }
            Trouble::Diff { expected, found } => PullError::Digest {
                image: image.clone(),
                what: "an unpacked layer".to_owned(),
                expected,
                found,
            },
            Trouble::Refused(reason) => {
                PullError::Layer { image: image.clone(), layer: expected.diff_id.clone(), reason }
            }
            Trouble::DiskFull => {
                PullError::DiskFull { image: image.clone(), dir: self.store.dir().to_owned() }
            }
            Trouble::Source(error) => PullError::Layer {
                image: image.clone(),
                layer: expected.diff_id.clone(),
                reason: base::with_causes(&error),
            },
        })?;
        self.store.publish(incoming, &expected.diff_id, &unpacked).map_err(failed)
    }

    /// Errors of parts that do not know the directory.
    fn with_dir(&self, error: PullError) -> PullError {
        match error {
            PullError::DiskFull { image, .. } => {
                PullError::DiskFull { image, dir: self.store.dir().to_owned() }
            }
            other => other,
        }
    }
}

enum Planned {
    There(Image),
    New(Plan),
}

fn stored_plan(image: &str, stored: Stored, identity: Option<String>) -> Result<Plan, PullError> {
    let contents = stored.contents(image)?;
    let stored = Arc::new(stored);
    let sources = contents.layers.into_iter().map(|layer| {
        let source = Source::Stored { stored: stored.clone(), name: layer.name, blob: layer.blob };
        (layer.size, source)
    });
    let layers = pair(image, &contents.parsed, sources.collect())?;
    let (manifest, id) = (contents.manifest, contents.id);
    Ok(Plan { manifest, id, identity, config: contents.parsed.config, layers, names: contents.names })
}

/// The manifest's layers with the configuration's diff ids.
fn pair(image: &str, parsed: &Parsed, sources: Vec<(u64, Source)>) -> Result<Vec<Layer>, PullError> {
    if sources.len() != parsed.diff_ids.len() {
        let (found, named) = (sources.len(), parsed.diff_ids.len());
        let reason = format!("the manifest has {found} layers, the configuration names {named}");
        return Err(malformed(image, "the manifest", reason));
    }
    let pairs = parsed.diff_ids.iter().cloned().zip(sources);
    Ok(pairs.map(|(diff_id, (size, source))| Layer { diff_id, size, source }).collect())
}

/// Each layer once. Overlayfs refuses one that comes twice, and the upper one hides the lower one
/// completely.
fn distinct(layers: Vec<Layer>) -> Vec<Layer> {
    let last: BTreeMap<Digest, usize> =
        layers.iter().enumerate().map(|(at, layer)| (layer.diff_id.clone(), at)).collect();
    let layers = layers.into_iter().enumerate();
    layers.filter(|(at, layer)| last[&layer.diff_id] == *at).map(|(_, layer)| layer).collect()
}

/// The names of images in registries among these; others mean nothing elsewhere.
fn named(names: &[String]) -> impl Iterator<Item = Reference> {
    let parsed = names.iter().filter_map(|name| Reference::parse(name).ok());
    parsed.filter(|reference| matches!(reference, Reference::Registry(_)))
}

async fn docker_config(path: PathBuf) -> Result<DockerConfig, String> {
    let shown = path.display().to_string();
    let read = spawn_blocking(move || {
        let mut text = Vec::new();
        stored::open_regular(&path)?.take(LIMIT).read_to_end(&mut text).map(|_| text)
    });
    let text = match read.await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(DockerConfig::default()),
        Ok(Err(error)) => return Err(format!("read {shown}: {error}")),
        Err(_) => return Err(format!("read {shown}: the agent is stopping")),
    };
    DockerConfig::parse(&text).map_err(|error| format!("{shown}: {error}"))
}

async fn blocking<T: Send + 'static>(
    reference: &Reference,
    work: impl FnOnce() -> Result<T, PullError> + Send + 'static,
) -> Result<T, PullError> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(PullError::Closed { image: reference.familiar() }))
}

fn io_error(image: &str, store: &Store, failed: Failed) -> PullError {
    let image = image.to_owned();
    match stored::is_full(&failed.source) {
        true => PullError::DiskFull { image, dir: store.dir().to_owned() },
        false => {
            let (action, path) = (failed.action, failed.path);
            PullError::Io { image, action, path, source: Arc::new(failed.source) }
        }
    }
}

/// Dropped with the pull, it stops what a blocking thread reads for it.
struct Unwanted(Arc<AtomicBool>);

impl Drop for Unwanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Stoppable<R> {
    source: R,
    stop: Arc<AtomicBool>,
}

impl<R: Read> Read for Stoppable<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("the pull was given up"));
        }
        self.source.read(into)
    }
}
