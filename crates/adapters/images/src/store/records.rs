use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::files::{Failed, act};
use super::{Kept, LAYER_RECORD, Layer, State, Store};
use crate::{Digest, ImageConfig};

/// What a reference means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// In full.
    pub(crate) reference: String,
    pub(crate) id: Digest,
    #[serde(default)]
    pub(crate) manifest: Option<Digest>,
    /// What a tarball was when it was read: another identity, another content.
    #[serde(default)]
    pub(crate) identity: Option<String>,
    /// Diff ids, lowest first, none twice.
    pub(crate) layers: Vec<Digest>,
    pub(crate) config: ImageConfig,
}

/// An unpacked layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    /// On the disk, about.
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    #[serde(default)]
    pub(crate) opaque: bool,
    /// The boot that published it, until it surely is on the disk.
    #[serde(default)]
    pub(crate) unsynced_in_boot: Option<String>,
}

/// What a container uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) image: Digest,
    pub(crate) layers: Vec<Digest>,
}

pub(super) fn text(record: &impl Serialize) -> String {
    serde_json::to_string(record).expect("records have string keys only")
}

impl Store {
    /// Everything in `incoming` is of a process that was killed.
    pub(super) fn empty_incoming(&self) -> Result<(), Failed> {
        for entry in entries(&self.dir.join("incoming"))? {
            self.discard(&entry.path())?;
        }
        Ok(())
    }

    /// Reads all records. What cannot be used is taken away.
    pub(super) fn read(&self) -> Result<State, Failed> {
        let mut state = State { layers: self.read_layers()?, ..State::default() };
        for (path, hold) in read_all::<Hold>(&self.dir.join("holds"))? {
            match (path.file_name().and_then(|name| name.to_str()), hold) {
                (Some(holder), Some(hold)) => drop(state.holds.insert(holder.to_owned(), hold)),
                _ => self.discard(&path)?,
            }
        }
        for (path, record) in read_all::<Record>(&self.dir.join("images"))? {
            let whole = |record: &Record| record.layers.iter().all(|id| state.layers.contains_key(id));
            match record.filter(whole) {
                Some(record) => {
                    let used = fs::metadata(&path).and_then(|meta| meta.modified());
                    let kept = Kept { used: used.unwrap_or(SystemTime::now()), pin: Arc::new(()), record };
                    state.records.insert(kept.record.reference.clone(), kept);
                }
                None => self.discard(&path)?,
            }
        }
        Ok(state)
    }

    fn read_layers(&self) -> Result<BTreeMap<Digest, Layer>, Failed> {
        let mut layers = BTreeMap::new();
        for entry in entries(&self.dir.join("layers"))? {
            let path = entry.path();
            let id = entry.file_name().to_str().and_then(Digest::of_file_name);
            let record = read_record::<LayerRecord>(&path.join(LAYER_RECORD));
            let safe =
                |record: &LayerRecord| record.unsynced_in_boot.as_ref().is_none_or(|boot| *boot == self.boot);
            match (id, record.filter(safe)) {
                (Some(id), Some(record)) => {
                    layers.insert(id, Layer { record, pin: Arc::new(()) });
                }
                _ => self.discard(&path)?,
            }
        }
        Ok(layers)
    }

    /// Moves something out of sight; the sweeper removes it.
    pub(super) fn discard(&self, path: &Path) -> Result<(), Failed> {
        let to = self.dir.join("trash").join(self.unique());
        act("move to the trash", path, fs::rename(path, to))
    }
}

fn entries(dir: &Path) -> Result<Vec<DirEntry>, Failed> {
    let entries = act("read directory", dir, fs::read_dir(dir))?;
    act("read directory", dir, entries.collect())
}

fn read_all<T: DeserializeOwned>(dir: &Path) -> Result<Vec<(PathBuf, Option<T>)>, Failed> {
    let paths = entries(dir)?.into_iter().map(|entry| entry.path());
    Ok(paths.map(|path| (path.clone(), read_record(&path))).collect())
}

/// A record, unless it is missing or torn: its writer did not survive, and nobody relied on it.
fn read_record<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = fs::read(path).ok()?;
    match serde_json::from_slice(&text) {
        Ok(record) => Some(record),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a record that cannot be read is dropped");
            None
        }
    }
}

/// Seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
