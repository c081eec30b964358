//! What is on the disk.
//!
//! ```text
//! lock                       the owning process
//! format                     "1"
//! layers/<diff id>/fs/       an unpacked layer, appears by rename when it is verified
//! layers/<diff id>/layer.json
//! images/<hash of reference>.json   which layers a reference means; its mtime is its last use
//! holds/<holder>             which image and layers a container uses
//! incoming/                  layers in the making, moved to trash at open
//! trash/                     what is being removed
//! ```
//! Opening reads records, never layers. A layer that was published but not yet on the disk for sure
//! when the machine stopped is dropped at the next boot: its record carries the boot until the file
//! system was synced.

mod collect;
mod files;
mod records;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use host::FileLock;

use crate::image::Pin;
use crate::{Digest, HoldError, Image, ImageSummary, OpenError, Reference};

pub(crate) use files::Failed;
use files::{act, sync_dir, write_new};
pub(crate) use records::{Hold, LayerRecord, Record};

const FORMAT: &str = "1\n";
/// The directory of a layer that containers see.
const TREE: &str = "fs";
const LAYER_RECORD: &str = "layer.json";
/// Bytes that an entry of a layer costs beside its content: its inode, its name, half a block.
const ENTRY_BYTES: u64 = 2304;

/// The images' directory. All of it blocks.
pub(crate) struct Store {
    dir: PathBuf,
    boot: String,
    state: Mutex<State>,
    /// Names of temporary files and directories of this process.
    next: AtomicU64,
    sweeping: Arc<AtomicBool>,
    _lock: FileLock,
}

#[derive(Default)]
struct State {
    layers: BTreeMap<Digest, Layer>,
    /// By reference, in full.
    records: BTreeMap<String, Kept>,
    /// By holder.
    holds: BTreeMap<String, Hold>,
}

struct Layer {
    record: LayerRecord,
    pin: Arc<()>,
}

/// A record and what is only known of it while the process runs.
struct Kept {
    record: Record,
    used: SystemTime,
    pin: Arc<()>,
}

impl Store {
    /// Takes the directory, makes what is missing, moves away what a killed process left.
    pub(crate) fn open(dir: &Path) -> Result<Store, OpenError> {
        let failed = |failed: Failed| failed.open();
        act("make directory", dir, fs::create_dir_all(dir)).map_err(failed)?;
        let lock = FileLock::take(&dir.join("lock"))?;
        let format = dir.join("format");
        match fs::read_to_string(&format) {
            Ok(found) if found == FORMAT => {}
            Ok(found) => return Err(OpenError::Format { path: format, found, known: FORMAT }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                act("write", &format, fs::write(&format, FORMAT)).map_err(failed)?;
            }
            Err(source) => return Err(OpenError::Io { action: "read", path: format, source }),
        }
        for name in ["layers", "images", "holds", "incoming", "trash"] {
            let path = dir.join(name);
            act("make directory", &path, fs::create_dir_all(&path)).map_err(failed)?;
            act("set the mode of", &path, files::private(&path)).map_err(failed)?;
        }
        let boot = host::boot_id().map_err(|source| OpenError::Io {
            action: "read",
            path: "/proc/sys/kernel/random/boot_id".into(),
            source,
        })?;
        let store = Store {
            dir: dir.to_owned(),
            boot,
            state: Mutex::default(),
            next: AtomicU64::new(0),
            sweeping: Arc::default(),
            _lock: lock,
        };
        store.empty_incoming().map_err(failed)?;
        let state = store.read().map_err(failed)?;
        *store.state() = state;
        store.sweep();
        Ok(store)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The layer, if it is there; it stays while the pin lives.
    pub(crate) fn layer(&self, diff_id: &Digest) -> Option<Arc<()>> {
        self.state().layers.get(diff_id).map(|layer| layer.pin.clone())
    }

    /// A place for a layer in the making.
    pub(crate) fn begin(&self) -> Result<Incoming, Failed> {
        let dir = self.dir.join("incoming").join(self.unique());
        act("make directory", &dir, fs::create_dir(&dir))?;
        let incoming = Incoming { dir };
        let tree = incoming.tree();
        act("make directory", &tree, fs::create_dir(&tree))?;
        // What tars that do not speak of their top get.
        act("set the mode of", &tree, files::public(&tree))?;
        Ok(incoming)
    }

    /// An unnamed file for a tarball, gone when it is closed.
    pub(crate) fn scratch(&self) -> Result<fs::File, Failed> {
        let path = self.dir.join("incoming").join(self.unique());
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = act("make file", &path, file)?;
        act("unlink", &path, fs::remove_file(&path))?;
        Ok(file)
    }

    /// Makes a verified layer visible.
    pub(crate) fn publish(
        &self,
        incoming: Incoming,
        diff_id: &Digest,
        unpacked: &archive::Unpacked,
    ) -> Result<Arc<()>, Failed> {
        let record = LayerRecord {
            bytes: unpacked.bytes.saturating_add(unpacked.entries.saturating_mul(ENTRY_BYTES)),
            entries: unpacked.entries,
            opaque: unpacked.opaque,
            unsynced_in_boot: Some(self.boot.clone()),
        };
        let path = incoming.dir.join(LAYER_RECORD);
        act("write", &path, fs::write(&path, records::text(&record)))?;
        let mut state = self.state();
        if let Some(layer) = state.layers.get(diff_id) {
            return Ok(layer.pin.clone());
        }
        let place = self.layer_dir(diff_id);
        act("publish layer", &place, fs::rename(&incoming.dir, &place))?;
        let pin = Arc::new(());
        state.layers.insert(diff_id.clone(), Layer { record, pin: pin.clone() });
        Ok(pin)
    }

    /// Remembers what a reference means; its layers are there, and `pins` keep them until now.
    pub(crate) fn remember(&self, reference: &Reference, record: Record) -> Result<Image, Failed> {
        let path = self.record_path(&record.reference);
        let temporary = self.dir.join("incoming").join(self.unique());
        write_new(&temporary, records::text(&record).as_bytes())?;
        let mut state = self.state();
        act("publish image", &path, fs::rename(&temporary, &path))?;
        let kept = Kept { used: SystemTime::now(), pin: Arc::new(()), record };
        let image = state.image(self, reference, &kept);
        state.records.insert(kept.record.reference.clone(), kept);
        Ok(image)
    }

    /// The image that a reference means, if it is there, and where it came from.
    pub(crate) fn find(&self, reference: &Reference) -> Option<(Image, Option<String>)> {
        let text = reference.to_string();
        let mut state = self.state();
        let kept = state.records.get_mut(&text)?;
        kept.used = SystemTime::now();
        let kept = &state.records[&text];
        Some((state.image(self, reference, kept), kept.record.identity.clone()))
    }

    /// Writes down that `holder` uses the image, instead of any other.
    pub(crate) fn hold(&self, image: &Image, holder: &str) -> Result<(), HoldError> {
        let path = self.hold_path(holder)?;
        let layers = image.layers.iter().filter_map(|dir| {
            let name = dir.parent()?.file_name()?.to_str()?;
            Digest::of_file_name(name)
        });
        let hold = Hold { image: image.id.clone(), layers: layers.collect() };
        let temporary = self.dir.join("incoming").join(self.unique());
        write_new(&temporary, records::text(&hold).as_bytes()).map_err(Failed::hold)?;
        let mut state = self.state();
        act("publish hold", &path, fs::rename(&temporary, &path)).map_err(Failed::hold)?;
        state.holds.insert(holder.to_owned(), hold);
        let reference = image.reference.to_string();
        if let Some(kept) = state.records.get_mut(&reference) {
            kept.used = SystemTime::now();
            // Only the order of collection after a restart depends on it.
            let _ = files::touch(&self.record_path(&reference));
        }
        Ok(())
    }

    /// Forgets what `holder` uses; nothing if it uses nothing.
    pub(crate) fn release(&self, holder: &str) -> Result<(), HoldError> {
        let path = self.hold_path(holder)?;
        let mut state = self.state();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(HoldError::Io { action: "remove", path, source: error });
            }
            _ => state.holds.remove(holder),
        };
        Ok(())
    }

    pub(crate) fn holders(&self) -> Vec<String> {
        self.state().holds.keys().cloned().collect()
    }

    pub(crate) fn list(&self) -> Vec<ImageSummary> {
        let state = self.state();
        let summary = |kept: &Kept| ImageSummary {
            reference: kept.record.reference.clone(),
            id: kept.record.id.clone(),
            manifest: kept.record.manifest.clone(),
            bytes: state.bytes_of(&kept.record),
            layers: kept.record.layers.len() as u32,
            used: records::seconds(kept.used),
            holders: state.holders_of(&kept.record.id),
        };
        state.records.values().map(summary).collect()
    }

    /// Brings all published layers to the disk, and writes down that they are.
    pub(crate) fn sync(&self) -> Result<(), Failed> {
        let unsynced = |state: &State| {
            let layers = state.layers.iter().filter(|(_, layer)| layer.record.unsynced_in_boot.is_some());
            // Not pinned: syncing may take long, and nothing of it is lost if a layer goes meanwhile.
            layers.map(|(id, layer)| (id.clone(), Arc::downgrade(&layer.pin))).collect::<Vec<_>>()
        };
        let layers = unsynced(&self.state());
        if layers.is_empty() {
            return Ok(());
        }
        let dir = self.dir.join("layers");
        act("sync the file system of", &dir, files::sync_file_system(&dir))?;
        for (id, pin) in layers {
            let mut state = self.state();
            let same = |layer: &&mut Layer| Weak::ptr_eq(&pin, &Arc::downgrade(&layer.pin));
            let Some(layer) = state.layers.get_mut(&id).filter(same) else { continue };
            layer.record.unsynced_in_boot = None;
            let temporary = self.dir.join("incoming").join(self.unique());
            write_new(&temporary, records::text(&layer.record).as_bytes())?;
            let path = self.layer_dir(&id).join(LAYER_RECORD);
            act("rename", &path, fs::rename(&temporary, &path))?;
        }
        act("sync", &dir, sync_dir(&dir))
    }

    fn layer_dir(&self, diff_id: &Digest) -> PathBuf {
        self.dir.join("layers").join(diff_id.file_name())
    }

    fn record_path(&self, reference: &str) -> PathBuf {
        self.dir.join("images").join(format!("{}.json", Digest::of(reference.as_bytes()).hex()))
    }

    fn hold_path(&self, holder: &str) -> Result<PathBuf, HoldError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let fine =
            (1..=200).contains(&holder.len()) && holder.bytes().all(allowed) && !holder.starts_with('.');
        if !fine {
            return Err(HoldError::Holder { holder: holder.to_owned() });
        }
        Ok(self.dir.join("holds").join(holder))
    }

    /// A name that no file of this directory has, of this process or of one before.
    fn unique(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{now:x}-{}-{count}", std::process::id())
    }
}

impl State {
    fn image(&self, store: &Store, reference: &Reference, kept: &Kept) -> Image {
        let record = &kept.record;
        let known = |id: &Digest| self.layers.get(id);
        // What lies below a layer that hides everything is not mounted: overlayfs does not look at the
        // mark on a layer's own top.
        let opaque = record.layers.iter().rposition(|id| known(id).is_some_and(|layer| layer.record.opaque));
        let visible = &record.layers[opaque.unwrap_or(0)..];
        let layers = visible.iter().map(|id| store.layer_dir(id).join(TREE)).collect();
        let pins = record.layers.iter().filter_map(|id| known(id).map(|layer| layer.pin.clone()));
        Image {
            id: record.id.clone(),
            reference: reference.clone(),
            manifest: record.manifest.clone(),
            layers,
            config: record.config.clone(),
            bytes: self.bytes_of(record),
            _pin: Pin::new(pins.chain([kept.pin.clone()]).collect()),
        }
    }

    fn bytes_of(&self, record: &Record) -> u64 {
        let bytes = record.layers.iter().filter_map(|id| self.layers.get(id)).map(|layer| layer.record.bytes);
        bytes.fold(0, u64::saturating_add)
    }

    fn holders_of(&self, image: &Digest) -> Vec<String> {
        let holds = self.holds.iter().filter(|(_, hold)| hold.image == *image);
        holds.map(|(holder, _)| holder.clone()).collect()
    }
}

/// A layer in the making; dropping it removes what there is of it.
pub(crate) struct Incoming {
    dir: PathBuf,
}

impl Incoming {
    /// Where to unpack to.
    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.join(TREE)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Published, it is not there any more.
        if self.dir.exists() {
            files::remove_tree(&self.dir);
        }
    }
}
