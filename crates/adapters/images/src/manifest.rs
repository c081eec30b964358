//! The documents of an image: index, manifest, configuration. Pure; every one comes from strangers.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Digest, ImageConfig};

/// Bytes of a manifest or index.
pub(crate) const MANIFEST_BYTES: usize = 4 << 20;
/// Bytes of a configuration.
pub(crate) const CONFIG_BYTES: usize = 8 << 20;
/// Docker stops at 127 layers; overlayfs takes 500.
pub(crate) const LAYERS: usize = 127;
/// Manifests that one index may name.
const INDEX_ENTRIES: usize = 1000;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SCHEMA1: &[&str] = &[
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];
const CONFIGS: &[&str] =
    &["application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json"];
const LAYER_KINDS: &[&str] = &[
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
];
const FOREIGN: &[&str] =
    &["application/vnd.docker.image.rootfs.foreign.", "application/vnd.oci.image.layer.nondistributable."];

/// What a registry is told that can be read here.
pub(crate) const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.index.v1+json";

/// Why a document cannot be used. The caller knows the image's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It breaks its format's rules.
    Malformed(String),
    /// It is of a kind that cannot be run here.
    Unsupported(String),
    /// There are variants, but none for this machine.
    Platform(Vec<String>),
}

fn malformed(reason: impl Into<String>) -> Refusal {
    Refusal::Malformed(reason.into())
}

/// A blob that a document points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// What a manifest's address leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    /// One image.
    Manifest(Manifest),
    /// The manifest for this machine.
    Index(Descriptor),
}

/// One image for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    /// Lowest first.
    pub(crate) layers: Vec<Descriptor>,
}

/// What an image's configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) config: ImageConfig,
    /// The digests of the unpacked layers, lowest first.
    pub(crate) diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    // Of schema 1.
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: Option<String>,
    digest: String,
    size: u64,
    urls: Option<Vec<serde::de::IgnoredAny>>,
    platform: Option<RawPlatform>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl RawDescriptor {
    fn descriptor(&self) -> Result<Descriptor, Refusal> {
        let digest = Digest::parse(&self.digest).map_err(|error| malformed(error.to_string()))?;
        Ok(Descriptor { digest, size: self.size })
    }
}

/// This machine's architecture in the words of images.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// `linux/amd64`.
pub(crate) fn platform() -> String {
    format!("linux/{}", architecture())
}

/// Reads a manifest or an index; `kind` is the media type that it was served or described with.
pub(crate) fn document(bytes: &[u8], kind: Option<&str>) -> Result<Document, Refusal> {
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let schema1 = || {
        Refusal::Unsupported(
            "its manifest is of docker's old schema 1, which is not supported; push it again with a docker of \
             this decade"
                .to_owned(),
        )
    };
    if kind.is_some_and(|kind| SCHEMA1.contains(&kind)) {
        return Err(schema1());
    }
    let raw: RawDocument = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    if raw.schema_version == Some(1) || raw.fs_layers.is_some() {
        return Err(schema1());
    }
    let own = raw.media_type.as_deref();
    if let Some(odd) =
        own.filter(|own| ![DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX].contains(own))
    {
        return Err(Refusal::Unsupported(format!("its manifest is of the unsupported kind {odd:?}")));
    }
    match (raw.manifests, raw.layers, raw.config) {
        // One that is both could be taken for either, with different content (CVE-2021-41190).
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            Err(malformed("it is an index and a manifest at once"))
        }
        (Some(manifests), None, None) => {
            if own.or(kind).is_some_and(|kind| [DOCKER_MANIFEST, OCI_MANIFEST].contains(&kind)) {
                return Err(malformed("it calls itself a manifest, but is an index"));
            }
            choose(&manifests).map(Document::Index)
        }
        (None, Some(layers), Some(config)) => {
            if own.or(kind).is_some_and(|kind| [DOCKER_LIST, OCI_INDEX].contains(&kind)) {
                return Err(malformed("it calls itself an index, but is a manifest"));
            }
            manifest(&config, &layers).map(Document::Manifest)
        }
        _ => Err(malformed("it has neither config and layers nor manifests")),
    }
}

fn manifest(config: &RawDescriptor, layers: &[RawDescriptor]) -> Result<Manifest, Refusal> {
    if let Some(odd) = config.media_type.as_deref().filter(|kind| !CONFIGS.contains(kind)) {
        return Err(Refusal::Unsupported(format!(
            "it is no container image: its configuration is of the kind {odd:?}; allowed are {}",
            CONFIGS.join(", ")
        )));
    }
    if config.size > CONFIG_BYTES as u64 {
        return Err(malformed(format!(
            "its configuration has {} bytes; allowed are {CONFIG_BYTES}",
            config.size
        )));
    }
    if layers.len() > LAYERS {
        return Err(malformed(format!("it has {} layers; allowed are {LAYERS}", layers.len())));
    }
    let layers = layers.iter().map(layer).collect::<Result<_, _>>()?;
    Ok(Manifest { config: config.descriptor()?, layers })
}

fn layer(raw: &RawDescriptor) -> Result<Descriptor, Refusal> {
    let kind = raw.media_type.as_deref().unwrap_or_default();
    let foreign = FOREIGN.iter().any(|start| kind.starts_with(start));
    if foreign || raw.urls.as_ref().is_some_and(|urls| !urls.is_empty()) {
        return Err(Refusal::Unsupported(format!(
            "its layer {} is a foreign one, to be fetched from elsewhere, which is not done here",
            raw.digest
        )));
    }
    if !LAYER_KINDS.contains(&kind) {
        return Err(Refusal::Unsupported(format!(
            "its layer {} is of the unsupported kind {kind:?}; allowed are {}",
            raw.digest,
            LAYER_KINDS.join(", ")
        )));
    }
    raw.descriptor()
}

/// The manifest for this machine: the plainest variant of its architecture.
fn choose(manifests: &[RawDescriptor]) -> Result<Descriptor, Refusal> {
    if manifests.len() > INDEX_ENTRIES {
        let found = manifests.len();
        return Err(malformed(format!("its index has {found} entries; allowed are {INDEX_ENTRIES}")));
    }
    let rank = |platform: &RawPlatform| match platform.variant.as_deref().unwrap_or_default() {
        "" => 0,
        "v1" => 1,
        "v8" if platform.architecture == "arm64" => 0,
        _ => 2,
    };
    let fits = |platform: &&RawPlatform| platform.os == "linux" && platform.architecture == architecture();
    let mine = manifests
        .iter()
        .filter_map(|entry| Some((rank(entry.platform.as_ref().filter(fits)?), entry)))
        .min_by_key(|(rank, _)| *rank);
    if let Some((_, entry)) = mine {
        return sized(entry);
    }
    match manifests {
        // Layouts that one build wrote often name no platform; the configuration does.
        [only] if only.platform.is_none() => sized(only),
        _ => Err(Refusal::Platform(platforms(manifests))),
    }
}

fn sized(entry: &RawDescriptor) -> Result<Descriptor, Refusal> {
    if entry.size > MANIFEST_BYTES as u64 {
        return Err(malformed(format!(
            "its manifest has {} bytes; allowed are {MANIFEST_BYTES}",
            entry.size
        )));
    }
    if entry.media_type.as_deref().is_some_and(|kind| SCHEMA1.contains(&kind)) {
        return Err(Refusal::Unsupported(
            "its manifest for this machine is of docker's old schema 1".to_owned(),
        ));
    }
    entry.descriptor()
}

fn platforms(manifests: &[RawDescriptor]) -> Vec<String> {
    let known = manifests.iter().filter_map(|entry| entry.platform.as_ref());
    let mut found: Vec<String> = known
        // Attestations of builds.
        .filter(|platform| platform.os != "unknown")
        .map(|platform| match platform.variant.as_deref().unwrap_or_default() {
            "" => format!("{}/{}", platform.os, platform.architecture),
            variant => format!("{}/{}/{variant}", platform.os, platform.architecture),
        })
        .take(20)
        .collect();
    if found.is_empty() {
        found.push("no platform that it names".to_owned());
    }
    found
}

/// The manifests that the index of an OCI layout leads to. One that holds several images is refused:
/// the path cannot say which is meant.
pub(crate) fn layout_index(bytes: &[u8]) -> Result<Descriptor, Refusal> {
    let raw: RawDocument = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    let manifests = raw.manifests.ok_or_else(|| malformed("index.json has no manifests"))?;
    match manifests.as_slice() {
        [] => Err(malformed("index.json names no image")),
        [only] if only.platform.is_none() => sized(only),
        several => {
            let names: Vec<&str> = several.iter().filter_map(name).collect();
            let mut distinct = names.clone();
            distinct.sort_unstable();
            distinct.dedup();
            if distinct.len() > 1 {
                return Err(Refusal::Unsupported(format!(
                    "it holds {} images ({}); a tarball that is run holds one",
                    several.len(),
                    names.join(", ")
                )));
            }
            choose(several)
        }
    }
}

fn name(entry: &RawDescriptor) -> Option<&str> {
    let name = entry.annotations.as_ref()?.get("org.opencontainers.image.ref.name")?;
    Some(name.as_str())
}

/// What `docker save` says of the image in its tarball (`manifest.json`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    /// The configuration's path in the tarball.
    pub(crate) config: String,
    /// The layers' paths, lowest first.
    pub(crate) layers: Vec<String>,
    /// What its maker called the image.
    pub(crate) names: Vec<String>,
}

/// Reads `manifest.json` of `docker save`.
pub(crate) fn saved(bytes: &[u8]) -> Result<Saved, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        config: String,
        repo_tags: Option<Vec<String>>,
        layers: Option<Vec<String>>,
    }
    let entries: Vec<Entry> = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    match <[Entry; 1]>::try_from(entries) {
        Ok([entry]) => {
            let layers = entry.layers.unwrap_or_default();
            if layers.len() > LAYERS {
                return Err(malformed(format!("it has {} layers; allowed are {LAYERS}", layers.len())));
            }
            Ok(Saved { config: entry.config, layers, names: entry.repo_tags.unwrap_or_default() })
        }
        Err(entries) if entries.is_empty() => Err(malformed("manifest.json names no image")),
        Err(entries) => {
            let tags: Vec<String> =
                entries.into_iter().flat_map(|entry| entry.repo_tags.unwrap_or_default()).collect();
            let tags = tags.join(", ");
            Err(Refusal::Unsupported(format!(
                "it holds several images ({tags}); a tarball that is run holds one: docker save just that"
            )))
        }
    }
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    config: Option<RawRuntime>,
    rootfs: Option<RawRootfs>,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawRuntime {
    entrypoint: Option<Words>,
    cmd: Option<Words>,
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
    volumes: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    labels: Option<BTreeMap<String, String>>,
    stop_signal: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}

/// Very old images have a bare word where newer ones have a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Many(Vec<String>),
    One(String),
}

impl Words {
    fn list(words: Option<Words>) -> Vec<String> {
        match words {
            Some(Words::Many(words)) => words,
            Some(Words::One(word)) => vec![word],
            None => Vec::new(),
        }
    }
}

/// Reads an image's configuration; an image for another platform is refused.
pub(crate) fn config(bytes: &[u8]) -> Result<Parsed, Refusal> {
    let raw: RawConfig = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    let (os, arch) = (raw.os.unwrap_or_default(), raw.architecture.unwrap_or_default());
    let fits = |found: &str, wanted: &str| found.is_empty() || found == wanted;
    if !fits(&os, "linux") || !fits(&arch, architecture()) {
        return Err(Refusal::Platform(vec![format!("{os}/{arch}")]));
    }
    let rootfs = raw.rootfs.ok_or_else(|| malformed("it has no rootfs"))?;
    let diff_ids = rootfs.diff_ids.unwrap_or_default();
    if diff_ids.len() > LAYERS {
        return Err(malformed(format!("it has {} layers; allowed are {LAYERS}", diff_ids.len())));
    }
    let diff_ids = diff_ids.iter().map(|id| Digest::parse(id)).collect::<Result<_, _>>();
    let diff_ids = diff_ids.map_err(|error| malformed(format!("rootfs.diff_ids: {error}")))?;
    let runtime = raw.config.unwrap_or_default();
    let keys =
        |map: Option<BTreeMap<String, serde::de::IgnoredAny>>| map.unwrap_or_default().into_keys().collect();
    let config = ImageConfig {
        entrypoint: Words::list(runtime.entrypoint),
        cmd: Words::list(runtime.cmd),
        env: runtime.env.unwrap_or_default(),
        user: runtime.user.unwrap_or_default(),
        working_dir: runtime.working_dir.unwrap_or_default(),
        volumes: keys(runtime.volumes),
        labels: runtime.labels.unwrap_or_default(),
        stop_signal: runtime.stop_signal.filter(|signal| !signal.is_empty()),
        exposed_ports: keys(runtime.exposed_ports),
    };
    Ok(Parsed { config, diff_ids })
}

#[cfg(test)]
#[path = "manifest/tests.rs"]
mod tests;
