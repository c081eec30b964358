//! Images made by hand, and a place to pull them to.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use images::{Config, Digest, Image, Images, Limits, Progress, Pull, PullError, Reference};
use serde_json::{Value, json};
use web_client::WebClient;

/// A tar in the making.
#[derive(Clone, Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Tar {
        self.entry(name, b'0', 0o644, "", content.as_ref())
    }

    pub(crate) fn dir(self, name: &str) -> Tar {
        self.entry(name, b'5', 0o755, "", b"")
    }

    pub(crate) fn symlink(self, name: &str, to: &str) -> Tar {
        self.entry(name, b'2', 0o777, to, b"")
    }

    pub(crate) fn entry(mut self, name: &str, kind: u8, mode: u32, link: &str, content: &[u8]) -> Tar {
        let mut header = [0; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", content.len()));
        put(136, "14736045000");
        put(148, "        ");
        put(157, link);
        put(257, "ustar\x0000");
        header[156] = kind;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// An image as a registry keeps it. Tests change what they like before it is served.
#[derive(Clone)]
pub(crate) struct Built {
    pub(crate) manifest: Vec<u8>,
    pub(crate) kind: String,
    pub(crate) config: Digest,
    /// By digest.
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    /// Blobs of layers, lowest first.
    pub(crate) layers: Vec<Digest>,
    pub(crate) diff_ids: Vec<Digest>,
}

/// How a layer is compressed.
#[derive(Clone, Copy)]
pub(crate) enum Packed {
    Plain,
    Gzip,
    Zstd,
}

/// An OCI image of these layers.
pub(crate) fn oci(layers: &[(Vec<u8>, Packed)], runtime: Value) -> Built {
    build(layers, runtime, architecture(), OCI)
}

/// The usual: one layer per tar, compressed with gzip, as docker pushes them.
pub(crate) fn docker(layers: &[Tar]) -> Built {
    let layers: Vec<_> = layers.iter().map(|tar| (tar.clone().end(), Packed::Gzip)).collect();
    build(&layers, json!({"Cmd": ["/hello"]}), architecture(), DOCKER)
}

pub(crate) fn build(layers: &[(Vec<u8>, Packed)], runtime: Value, architecture: &str, kind: &str) -> Built {
    let mut blobs = BTreeMap::new();
    let mut described = Vec::new();
    let mut digests = Vec::new();
    for (tar, packed) in layers {
        let (blob, ending) = match packed {
            Packed::Plain => (tar.clone(), ""),
            Packed::Gzip => (gzip(tar), "+gzip"),
            Packed::Zstd => (zstd::encode_all(&tar[..], 1).unwrap(), "+zstd"),
        };
        let digest = Digest::of(&blob);
        let layer = if kind == OCI { format!("{OCI_LAYER}{ending}") } else { DOCKER_LAYER.to_owned() };
        described.push(json!({"mediaType": layer, "digest": digest, "size": blob.len()}));
        blobs.insert(digest.to_string(), blob);
        digests.push(digest);
    }
    let diff_ids: Vec<Digest> = layers.iter().map(|(tar, _)| Digest::of(tar)).collect();
    let config = json!({
        "os": "linux", "architecture": architecture, "config": runtime,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string().into_bytes();
    let digest = Digest::of(&config);
    let config_kind = if kind == OCI { OCI_CONFIG } else { DOCKER_CONFIG };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "layers": described,
        "config": {"mediaType": config_kind, "digest": digest, "size": config.len()},
    });
    blobs.insert(digest.to_string(), config);
    let manifest = manifest.to_string().into_bytes();
    Built { manifest, kind: kind.to_owned(), config: digest, blobs, layers: digests, diff_ids }
}

impl Built {
    /// With a change in its manifest.
    pub(crate) fn changed(mut self, change: impl FnOnce(&mut Value)) -> Built {
        let mut manifest: Value = serde_json::from_slice(&self.manifest).unwrap();
        change(&mut manifest);
        self.manifest = manifest.to_string().into_bytes();
        self
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }
}

/// An index of images, each for its architecture.
pub(crate) fn index(images: &[(&Built, &str)]) -> Vec<u8> {
    let entries: Vec<Value> = images
        .iter()
        .map(|(image, architecture)| {
            json!({"mediaType": image.kind, "digest": image.digest(), "size": image.manifest.len(),
                "platform": {"os": "linux", "architecture": architecture}})
        })
        .collect();
    let kind = "application/vnd.oci.image.index.v1+json";
    json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).to_string().into_bytes()
}

/// Images in a directory of their own.
pub(crate) struct Here {
    pub(crate) images: Images,
    pub(crate) config: Config,
    /// Removes the directory at last.
    pub(crate) root: tempfile::TempDir,
}

pub(crate) fn web() -> web_client::Config {
    web_client::Config {
        connect_timeout: Duration::from_secs(5),
        head_timeout: Duration::from_millis(500),
        stall_timeout: Duration::from_millis(500),
        ..web_client::Config::default()
    }
}

impl Here {
    pub(crate) async fn new() -> Here {
        Here::with(|_| {}, web()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config), web: web_client::Config) -> Here {
        let root = tempfile::tempdir().unwrap();
        let mut config = Config {
            dir: root.path().join("images"),
            quota_bytes: 1 << 30,
            docker_config: None,
            insecure_registries: Vec::new(),
            limits: Limits { layer_bytes: 8 << 20, layer_entries: 1000, tarball_bytes: 8 << 20 },
        };
        change(&mut config);
        let images = Images::open(config.clone(), WebClient::new(web)).await.unwrap();
        Here { images, config, root }
    }

    /// As after a restart of the agent.
    pub(crate) async fn reopened(self) -> Here {
        let Here { images, config, root } = self;
        drop(images);
        let images = Images::open(config.clone(), WebClient::new(web())).await.unwrap();
        Here { images, config, root }
    }

    pub(crate) async fn pull(&self, reference: &str) -> Result<Image, PullError> {
        self.images.pull(&parse(reference), Pull::default()).await
    }

    pub(crate) async fn force(&self, reference: &str) -> Result<Image, PullError> {
        self.images.pull(&parse(reference), Pull { force: true, ..Pull::default() }).await
    }

    /// With all the progress that was told.
    pub(crate) async fn pull_watched(&self, reference: &str) -> (Result<Image, PullError>, Vec<Progress>) {
        let told: Arc<Mutex<Vec<Progress>>> = Arc::default();
        let list = told.clone();
        let progress = Arc::new(move |now| list.lock().unwrap().push(now));
        let image = self
            .images
            .pull(&parse(reference), Pull { force: true, names: false, progress, credentials: None })
            .await;
        let told = told.lock().unwrap().clone();
        (image, told)
    }

    /// The pull fails with these words, and leaves nothing.
    pub(crate) async fn refuse(&self, reference: &str, words: &[&str]) {
        let error = self.pull(reference).await.expect_err(reference).to_string();
        for word in words {
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
        self.is_empty().await;
    }

    /// Waits until nothing is left of pulls, and no image is there.
    pub(crate) async fn is_empty(&self) {
        self.comes_to_rest(0).await;
        assert!(self.images.list().is_empty());
    }

    /// Waits until only so many layers are there and nothing is in the making or being removed.
    pub(crate) async fn comes_to_rest(&self, layers: usize) {
        let count = |name: &str| std::fs::read_dir(self.config.dir.join(name)).unwrap().count();
        let state = || (count("incoming"), count("trash"), count("layers"));
        until(|| state() == (0, 0, layers), || format!("(incoming, trash, layers) is {:?}", state())).await;
    }
}

/// Waits for a condition.
pub(crate) async fn until(mut reached: impl FnMut() -> bool, state: impl Fn() -> String) {
    let waited = std::time::Instant::now();
    while !reached() {
        assert!(waited.elapsed() < Duration::from_secs(20), "{}", state());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn parse(reference: &str) -> Reference {
    Reference::parse(reference).unwrap()
}

/// The content of a file of the uppermost layer that has it.
pub(crate) fn read(image: &Image, name: &str) -> String {
    let found = image.layers.iter().rev().map(|layer| layer.join(name)).find(|path| path.exists());
    std::fs::read_to_string(found.unwrap_or_else(|| panic!("no layer has {name}"))).unwrap()
}

/// Bytes that hardly compress, always the same.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next).take(length.div_ceil(8)).flatten().collect();
    bytes.truncate(length);
    bytes
}

pub(crate) fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path
}
