//! Images in files: what `docker save` writes, and OCI layouts, as a tar or as a directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use archive::{Compression, EntryKind, Limits, tar_entries};

use crate::manifest::{self, Document, Refusal};
use crate::{Digest, PullError};

/// Files in a tarball.
const ENTRIES: u64 = 100_000;
/// Bytes of their names together, which are kept in memory.
const NAMES: usize = 1 << 20;
/// Symbolic links that lead to each other; `docker save` writes one for a layer that comes twice.
const LINKS: u32 = 4;
/// Indexes may lead to indexes.
const DEPTH: u32 = 4;
/// Bytes of `index.json` and `manifest.json`.
const INDEX_BYTES: u64 = manifest::MANIFEST_BYTES as u64;

/// An image's files, ready to be read in any order.
pub(crate) enum Stored {
    /// A tar that is not compressed, with where its files begin and how long they are.
    Tar { file: Arc<File>, index: BTreeMap<String, Place> },
    /// An OCI layout.
    Directory(PathBuf),
}

/// A file in a tar.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    At { offset: u64, size: u64 },
    Link(String),
}

/// What stored files say an image is.
pub(crate) struct Contents {
    pub(crate) manifest: Option<Digest>,
    pub(crate) id: Digest,
    pub(crate) parsed: manifest::Parsed,
    /// Lowest first, as many as there are diff ids.
    pub(crate) layers: Vec<StoredLayer>,
    /// What the tarball calls it.
    pub(crate) names: Vec<String>,
}

/// A layer's file.
pub(crate) struct StoredLayer {
    pub(crate) name: String,
    /// Of the file, where that is known.
    pub(crate) blob: Option<Digest>,
    pub(crate) size: u64,
}

impl Stored {
    /// Looks through a tarball; `scratch` gives a file for what is in a compressed one. Blocks.
    pub(crate) fn tarball(
        image: &str,
        mut file: File,
        bytes: u64,
        scratch: impl FnOnce() -> Result<File, PullError>,
    ) -> Result<Stored, PullError> {
        let broken = |reason: String| malformed(image, "the tarball", reason);
        let detected = Compression::detect(&file).map_err(|error| broken(base::with_causes(&error)))?;
        if detected.compression() != Compression::None {
            let mut reader = detected.reader().map_err(|error| broken(base::with_causes(&error)))?;
            let mut plain = scratch()?;
            let copied = io::copy(&mut (&mut reader).take(bytes), &mut plain);
            match copied {
                Ok(copied) if copied == bytes => {
                    return Err(broken(format!("it has more than {bytes} bytes when decompressed")));
                }
                Ok(_) => {}
                Err(error) if is_full(&error) => return Err(full(image)),
                Err(error) => return Err(broken(error.to_string())),
            }
            drop(reader);
            file = plain;
        }
        let (mut index, mut names) = (BTreeMap::new(), 0);
        let limits = Limits { bytes, entries: ENTRIES };
        let whole = Positioned { file: &file, at: 0 };
        tar_entries(whole, limits, |entry, _| -> Result<ControlFlow<()>, archive::Error> {
            let Some(name) = entry.path.to_str() else { return Ok(ControlFlow::Continue(())) };
            let place = match (entry.kind, entry.link) {
                (EntryKind::File, _) => Some(Place::At { offset: entry.offset, size: entry.size }),
                (EntryKind::Symlink, Some(to)) => link(entry.path, to).map(Place::Link),
                (EntryKind::HardLink, Some(to)) => to.to_str().map(|to| Place::Link(to.to_owned())),
                _ => None,
            };
            names += name.len() + entry.link.map_or(0, |link| link.as_os_str().len());
            if names > NAMES {
                return Err(archive::Error::Malformed {
                    offset: entry.offset,
                    problem: format!("the names of its files have more than {NAMES} bytes"),
                });
            }
            if let Some(place) = place {
                index.insert(name.to_owned(), place);
            }
            Ok(ControlFlow::Continue(()))
        })
        .map_err(|error| broken(base::with_causes(&error)))?;
        Ok(Stored::Tar { file: Arc::new(file), index })
    }

    /// A file of the image, with its length. `name` is from a manifest, so it may be anything.
    pub(crate) fn open(&self, name: &str) -> Result<(Box<dyn Read + Send>, u64), String> {
        let missing = || format!("it has no file {name:?}");
        match self {
            Stored::Tar { file, index } => {
                let (offset, size) = find(index, name).ok_or_else(missing)?;
                Ok((Box::new(Slice { file: file.clone(), at: offset, left: size }), size))
            }
            Stored::Directory(dir) => {
                let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
                if !plain || name.is_empty() {
                    return Err(format!("{name:?} leads out of it"));
                }
                let file = open_regular(&dir.join(name)).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => missing(),
                    _ => format!("{name}: {error}"),
                })?;
                let size = file.metadata().map_err(|error| format!("{name}: {error}"))?.len();
                Ok((Box::new(file), size))
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Stored::Tar { index, .. } => find(index, name).is_some(),
            Stored::Directory(dir) => dir.join(name).is_file(),
        }
    }

    /// Reads what the image is. Blocks.
    pub(crate) fn contents(&self, image: &str) -> Result<Contents, PullError> {
        // Newer versions of `docker save` write both; index.json leads to everything by digests.
        if self.has("index.json") {
            self.layout(image)
        } else if self.has("manifest.json") {
            self.saved(image)
        } else {
            let reason = "it has neither index.json (an OCI layout) nor manifest.json (docker save)";
            Err(malformed(image, "the tarball", reason.to_owned()))
        }
    }

    fn layout(&self, image: &str) -> Result<Contents, PullError> {
        let refused =
            |what: &'static str| move |refusal: Refusal| crate::registry::refused(image, refusal, what);
        let index = self.small(image, "index.json", INDEX_BYTES)?;
        let mut next = manifest::layout_index(&index).map_err(refused("index.json"))?;
        for _ in 0..DEPTH {
            let bytes = self.blob(image, "the manifest", &next.digest, INDEX_BYTES)?;
            let found = match manifest::document(&bytes, None).map_err(refused("the manifest"))? {
                Document::Index(descriptor) => {
                    next = descriptor;
                    continue;
                }
                Document::Manifest(found) => found,
            };
            let config =
                self.blob(image, "the configuration", &found.config.digest, manifest::CONFIG_BYTES as u64)?;
            let parsed = manifest::config(&config).map_err(refused("the configuration"))?;
            let layers = found.layers.into_iter().map(|layer| StoredLayer {
                name: blob_name(&layer.digest),
                blob: Some(layer.digest),
                size: layer.size,
            });
            let layers = layers.collect();
            return Ok(Contents {
                manifest: Some(next.digest),
                id: found.config.digest,
                parsed,
                layers,
                names: Vec::new(),
            });
        }
        Err(malformed(image, "the tarball", format!("more than {DEPTH} indexes lead to each other")))
    }

    fn saved(&self, image: &str) -> Result<Contents, PullError> {
        let refused =
            |what: &'static str| move |refusal: Refusal| crate::registry::refused(image, refusal, what);
        let text = self.small(image, "manifest.json", INDEX_BYTES)?;
        let saved = manifest::saved(&text).map_err(refused("manifest.json"))?;
        let config = self.small(image, &saved.config, manifest::CONFIG_BYTES as u64)?;
        let id = Digest::of(&config);
        if let Some(expected) = digest_of_name(&saved.config).filter(|expected| *expected != id) {
            let (image, what) = (image.to_owned(), "the configuration".to_owned());
            return Err(PullError::Digest { image, what, expected, found: id });
        }
        let parsed = manifest::config(&config).map_err(refused("the configuration"))?;
        let mut layers = Vec::new();
        for name in saved.layers {
            let (_, size) = self.open(&name).map_err(|reason| malformed(image, "the tarball", reason))?;
            layers.push(StoredLayer { blob: digest_of_name(&name), name, size });
        }
        Ok(Contents { manifest: None, id, parsed, layers, names: saved.names })
    }

    fn blob(&self, image: &str, what: &str, digest: &Digest, limit: u64) -> Result<Vec<u8>, PullError> {
        let bytes = self.small(image, &blob_name(digest), limit)?;
        let mut hasher = digest.hasher();
        hasher.update(&bytes);
        let found = hasher.finish();
        if found == *digest {
            return Ok(bytes);
        }
        let (image, what) = (image.to_owned(), what.to_owned());
        Err(PullError::Digest { image, what, expected: digest.clone(), found })
    }

    fn small(&self, image: &str, name: &str, limit: u64) -> Result<Vec<u8>, PullError> {
        let broken = |reason: String| malformed(image, "the tarball", reason);
        let (reader, size) = self.open(name).map_err(broken)?;
        if size > limit {
            return Err(broken(format!("{name} has {size} bytes; allowed are {limit}")));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        let read = reader.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| broken(format!("{name}: {error}")))?;
        Ok(bytes)
    }
}

/// Opens a file that is neither a device nor a pipe, which could hold up its reader.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(nonblocking).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The directory is filled in by who knows it.
pub(crate) fn full(image: &str) -> PullError {
    PullError::DiskFull { image: image.to_owned(), dir: PathBuf::new() }
}

pub(crate) fn malformed(image: &str, what: &str, reason: String) -> PullError {
    PullError::Malformed { image: image.to_owned(), what: what.to_owned(), reason }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// Names that promise a content: `blobs/sha256/<hex>` and `<hex>.json` or `<hex>.tar`.
fn digest_of_name(name: &str) -> Option<Digest> {
    let hex = match name.strip_prefix("blobs/sha256/") {
        Some(hex) => hex,
        None => name.strip_suffix(".json")?,
    };
    Digest::parse(&format!("sha256:{hex}")).ok()
}

fn find(index: &BTreeMap<String, Place>, name: &str) -> Option<(u64, u64)> {
    let mut name = name.strip_prefix("./").unwrap_or(name);
    for _ in 0..LINKS {
        match index.get(name)? {
            Place::At { offset, size } => return Some((*offset, *size)),
            Place::Link(to) => name = to,
        }
    }
    None
}

/// Where a symbolic link in a tar leads, within it.
fn link(from: &Path, to: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    let parent = from.parent().unwrap_or(Path::new(""));
    for part in parent.components().chain(to.components()) {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// A part of a file, read without moving anything that others read by.
struct Slice {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Slice {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut into[..most], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// A file from its beginning, wherever it stands.
struct Positioned<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(into, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_within_the_tarball() {
        let check = |from: &str, to: &str, expected: Option<&str>| {
            assert_eq!(link(Path::new(from), Path::new(to)).as_deref(), expected, "{from} -> {to}");
        };
        check("a/layer.tar", "../b/layer.tar", Some("b/layer.tar"));
        check("a", "./b", Some("b"));
        check("a/b", "../../c", None);
        check("a", "/etc/passwd", None);
    }

    #[test]
    fn circles_of_links_end() {
        let place = |to: &str| Place::Link(to.to_owned());
        let index = BTreeMap::from([
            ("a".to_owned(), place("b")),
            ("b".to_owned(), place("a")),
            ("c".to_owned(), place("d")),
            ("d".to_owned(), Place::At { offset: 1, size: 2 }),
        ]);
        assert_eq!(find(&index, "a"), None);
        assert_eq!(find(&index, "./c"), Some((1, 2)));
    }

    #[test]
    fn names_that_are_digests_are_promises() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let empty = Some(Digest::of(b""));
        assert_eq!(digest_of_name(&format!("{hex}.json")), empty);
        assert_eq!(digest_of_name(&format!("blobs/sha256/{hex}")), empty);
        assert_eq!(digest_of_name(&format!("{hex}/layer.tar")), None);
        assert_eq!(digest_of_name("config.json"), None);
    }
}
