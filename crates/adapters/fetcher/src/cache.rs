//! Files that were downloaded before, within a limit, the longest unused going first.
//!
//! On disk an entry is `<key>` with its bytes and `<key>.json` that says what they are; the second
//! is written last and removed first, and speaks only of the boot that it was written in, because
//! nothing is synced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::warn;

use crate::download::{Downloaded, Known, Validators};
use crate::error::OpenError;
use crate::part::hexadecimal;

/// The most entries, however small.
const ENTRIES: usize = 10_000;
/// The largest description of an entry.
const DESCRIPTION_BYTES: u64 = 64 << 10;

/// A cache in a directory of its own.
#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
    limit: u64,
    boot: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<String, Entry>,
    /// Bytes of entries and of reservations.
    used: u64,
    /// Counts uses.
    clock: u64,
    /// Who downloads what.
    locks: BTreeMap<String, Weak<tokio::sync::Mutex<()>>>,
}

#[derive(Debug)]
struct Entry {
    about: About,
    /// When its server was last asked for it.
    checked: Option<Instant>,
    /// Tells it from a later entry of the same key.
    number: u64,
    last_use: u64,
    users: u32,
}

/// What the description of an entry says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct About {
    boot: String,
    size: u64,
    sha256: String,
    #[serde(flatten)]
    validators: Validators,
}

/// An entry in use, which is not evicted meanwhile.
#[derive(Debug)]
pub(crate) struct Held {
    cache: Arc<Cache>,
    key: String,
    number: u64,
    /// Its bytes; an own file position.
    pub(crate) file: File,
    pub(crate) sha256: String,
    pub(crate) checked: Option<Instant>,
    pub(crate) known: Known,
}

/// Room for a download that is not there yet.
#[derive(Debug)]
pub(crate) struct Reservation {
    cache: Arc<Cache>,
    bytes: u64,
}

/// What a user's fetch of a URI is called in the cache. The URI itself, which may have credentials
/// in it, is nowhere on disk.
pub(crate) fn key(user: Option<u32>, uri: &str) -> String {
    let user = user.map_or_else(|| "nobody".to_owned(), |uid| uid.to_string());
    hexadecimal(&Sha256::digest(format!("{user}\n{uri}")))
}

impl Cache {
    /// Takes over what an earlier process has left, and removes what it left unfinished.
    pub(crate) fn open(directory: &Path, limit: u64) -> Result<Arc<Cache>, OpenError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError { path, source }
        };
        fs::create_dir_all(directory).map_err(failed(directory))?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(directory, private).map_err(failed(directory))?;
        let boot = host::boot_id().unwrap_or_default();
        let mut found: Vec<(SystemTime, String, About)> = Vec::new();
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed(directory))? {
            let entry = entry.map_err(failed(directory))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if let Some(key) = name.strip_suffix(".json")
                && let Some((used, about)) = read(directory, key, &boot)
            {
                found.push((used, key.to_owned(), about));
            }
            names.push(name);
        }
        let is_known = |name: &str| {
            let key = name.strip_suffix(".json").unwrap_or(name);
            found.iter().any(|(_, known, _)| known == key)
        };
        for name in names.iter().filter(|name| !is_known(name)) {
            let path = directory.join(name);
            fs::remove_file(&path).map_err(failed(&path))?;
        }
        found.sort_by(|left, right| (left.0, &left.1).cmp(&(right.0, &right.1)));
        let mut state = State::default();
        for (_, key, about) in found {
            state.clock += 1;
            state.used += about.size;
            let (number, last_use) = (state.clock, state.clock);
            state.entries.insert(key, Entry { about, checked: None, number, last_use, users: 0 });
        }
        let cache = Cache { directory: directory.to_owned(), limit, boot, state: Mutex::new(state) };
        // The limit may have been lowered.
        cache.make_room(&mut cache.lock_state(), 0);
        Ok(Arc::new(cache))
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Bytes in entries and reservations.
    pub(crate) fn used(&self) -> u64 {
        self.lock_state().used
    }

    /// Who holds this lock downloads `key`; all others wait for it.
    pub(crate) fn lock(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut state = self.lock_state();
        if let Some(lock) = state.locks.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        state.locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        state.locks.insert(key.to_owned(), Arc::downgrade(&lock));
        lock
    }

    /// The entry of that key, if there is one.
    pub(crate) fn get(self: &Arc<Cache>, key: &str) -> Option<Held> {
        self.hold(&mut self.lock_state(), key)
    }

    fn hold(self: &Arc<Cache>, state: &mut State, key: &str) -> Option<Held> {
        state.clock += 1;
        let clock = state.clock;
        let entry = state.entries.get_mut(key)?;
        let path = self.directory.join(key);
        let file = File::open(&path);
        let file = file.and_then(|file| {
            let whole = file.metadata()?.len() == entry.about.size;
            if whole { Ok(file) } else { Err(io::Error::other("it has another size than it should have")) }
        });
        match file {
            Ok(file) => {
                entry.last_use = clock;
                entry.users += 1;
                // What an agent that starts anew sorts by.
                let description = File::options().append(true).open(self.description(key));
                let _ = description.and_then(|file| file.set_modified(SystemTime::now()));
                let about = &entry.about;
                let known = Known { size: about.size, validators: about.validators.clone() };
                Some(Held {
                    cache: Arc::clone(self),
                    key: key.to_owned(),
                    number: entry.number,
                    file,
                    sha256: about.sha256.clone(),
                    checked: entry.checked,
                    known,
                })
            }
            Err(error) => {
                warn!(path = %path.display(), %error, "a file of the fetcher's cache is unusable");
                self.forget(state, key);
                None
            }
        }
    }

    /// Notes that the server still has what is here.
    pub(crate) fn checked(&self, held: &Held) {
        if let Some(entry) =
            self.lock_state().entries.get_mut(&held.key).filter(|it| it.number == held.number)
        {
            entry.checked = Some(Instant::now());
        }
    }

    /// Makes room by removing what nobody uses, the longest unused first. None if that is not enough.
    pub(crate) fn reserve(self: &Arc<Cache>, bytes: u64) -> Option<Reservation> {
        let mut state = self.lock_state();
        if !self.make_room(&mut state, bytes) {
            return None;
        }
        state.used += bytes;
        Some(Reservation { cache: Arc::clone(self), bytes })
    }

    /// Takes a download in. It gets the room of its reservation, and gives back what it does not need.
    ///
    /// # Errors
    /// The download again if there is no room for it, or it cannot be moved.
    pub(crate) fn insert(
        self: &Arc<Cache>,
        key: &str,
        downloaded: Downloaded,
        reservation: Option<Reservation>,
    ) -> Result<Held, Downloaded> {
        drop(reservation);
        let Some(sha256) = downloaded.sha256.clone() else { return Err(downloaded) };
        let mut state = self.lock_state();
        // What was there is outdated in any case.
        self.forget(&mut state, key);
        if !self.make_room(&mut state, downloaded.size) {
            return Err(downloaded);
        }
        let about = About {
            boot: self.boot.clone(),
            size: downloaded.size,
            sha256,
            validators: downloaded.validators.clone(),
        };
        if let Err(error) = self.store(key, &downloaded, &about) {
            warn!(%error, "a download could not be taken into the fetcher's cache");
            // The part may be here or there by now.
            let _ = fs::rename(self.directory.join(key), downloaded.part.path());
            return Err(downloaded);
        }
        state.clock += 1;
        state.used += about.size;
        let (number, last_use) = (state.clock, state.clock);
        let entry = Entry { about, checked: Some(Instant::now()), number, last_use, users: 0 };
        state.entries.insert(key.to_owned(), entry);
        self.hold(&mut state, key).ok_or(downloaded)
    }

    fn store(&self, key: &str, downloaded: &Downloaded, about: &About) -> io::Result<()> {
        fs::rename(downloaded.part.path(), self.directory.join(key))?;
        let description = self.description(key);
        fs::write(&description, serde_json::to_vec(about).map_err(io::Error::other)?)
    }

    fn description(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.json"))
    }

    /// Whether `bytes` more fit, after removing what nobody uses.
    fn make_room(&self, state: &mut State, bytes: u64) -> bool {
        // Nothing is removed for what does not fit anyway.
        let kept: u64 =
            state.entries.values().filter(|entry| entry.users > 0).map(|entry| entry.about.size).sum();
        let idle: u64 = state.entries.values().map(|entry| entry.about.size).sum::<u64>() - kept;
        if state.used.saturating_sub(idle).saturating_add(bytes) > self.limit {
            return false;
        }
        while state.used.saturating_add(bytes) > self.limit || state.entries.len() >= ENTRIES {
            let idle = state.entries.iter().filter(|(_, entry)| entry.users == 0);
            let Some((key, _)) = idle.min_by_key(|(_, entry)| entry.last_use) else { return false };
            let key = key.clone();
            self.forget(state, &key);
        }
        true
    }

    /// Removes an entry. Who holds it still has its open file.
    fn forget(&self, state: &mut State, key: &str) {
        let Some(entry) = state.entries.remove(key) else { return };
        state.used = state.used.saturating_sub(entry.about.size);
        let _ = fs::remove_file(self.description(key));
        let _ = fs::remove_file(self.directory.join(key));
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        // Each change is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The description of an entry, if it is of this boot and its bytes are there.
fn read(directory: &Path, key: &str, boot: &str) -> Option<(SystemTime, About)> {
    let description = directory.join(format!("{key}.json"));
    let meta = fs::symlink_metadata(&description).ok().filter(|meta| meta.len() <= DESCRIPTION_BYTES)?;
    let about: About = serde_json::from_slice(&fs::read(&description).ok()?).ok()?;
    let bytes = fs::symlink_metadata(directory.join(key)).ok()?;
    let whole = bytes.is_file() && bytes.len() == about.size && about.boot == boot && !boot.is_empty();
    whole.then_some((meta.modified().ok()?, about))
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.cache.lock_state();
        if let Some(entry) = state.entries.get_mut(&self.key).filter(|entry| entry.number == self.number) {
            entry.users -= 1;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.cache.lock_state();
        state.used = state.used.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::Part;

    fn download(cache: &Cache, number: u64, bytes: &[u8]) -> Downloaded {
        let (part, _) = Part::create(&cache.directory, number).unwrap();
        fs::write(part.path(), bytes).unwrap();
        Downloaded {
            part,
            size: bytes.len() as u64,
            sha256: Some("0".repeat(64)),
            validators: Validators { etag: Some("\"1\"".into()), last_modified: None },
        }
    }

    fn insert(cache: &Arc<Cache>, key: &str, bytes: &[u8]) -> bool {
        cache.insert(key, download(cache, 7, bytes), None).is_ok()
    }

    #[test]
    fn the_longest_unused_goes_first_but_never_what_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 10).unwrap();
        assert!(insert(&cache, "a", b"aaaa") && insert(&cache, "b", b"bbbb"));
        let held = cache.get("a").unwrap();
        assert!(insert(&cache, "c", b"cccc"));
        assert!(cache.get("b").is_none() && cache.get("a").is_some());
        // Nothing is removed for what does not fit beside what is in use.
        assert!(!insert(&cache, "d", b"ddddddd"));
        assert!(cache.get("c").is_some());
        drop(held);
        assert!(insert(&cache, "d", b"ddddddd"));
        assert_eq!(cache.used(), 7);
        assert!(!insert(&cache, "e", b"larger than the cache"));
        assert_eq!(cache.used(), 7);
        let names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn reservations_count_and_are_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 10).unwrap();
        let reservation = cache.reserve(8).unwrap();
        assert!(cache.reserve(3).is_none() && !insert(&cache, "a", b"aaa"));
        assert!(cache.insert("b", download(&cache, 1, b"bbbb"), Some(reservation)).is_ok());
        assert_eq!(cache.used(), 4);
        drop(cache.reserve(6).unwrap());
        assert_eq!(cache.used(), 4);
    }

    #[test]
    fn a_new_content_replaces_the_old_one_which_its_users_still_have() {
        use std::io::Read;
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 10).unwrap();
        assert!(insert(&cache, "a", b"old"));
        let mut old = cache.get("a").unwrap();
        assert!(insert(&cache, "a", b"newer"));
        assert_eq!(cache.used(), 5);
        let mut text = String::new();
        old.file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "old");
        drop(old);
        assert_eq!(cache.get("a").unwrap().known.size, 5);
        assert!(insert(&cache, "b", b"bbbbbbbbbb"));
    }

    #[test]
    fn it_survives_its_process_and_what_is_unfinished_or_foreign_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 100).unwrap();
        assert!(insert(&cache, "a", b"aaaa") && insert(&cache, "b", b"bbbb") && insert(&cache, "c", b"cccc"));
        std::mem::forget(Part::create(dir.path(), 3).unwrap());
        fs::write(dir.path().join("stray"), "x").unwrap();
        fs::write(dir.path().join("b"), "cut").unwrap();
        let text = fs::read_to_string(dir.path().join("c.json")).unwrap();
        fs::write(dir.path().join("c.json"), text.replace(&host::boot_id().unwrap(), "another")).unwrap();
        drop(cache);
        let cache = Cache::open(dir.path(), 100).unwrap();
        assert_eq!(cache.used(), 4);
        let held = cache.get("a").unwrap();
        assert_eq!((held.known.validators.etag.as_deref(), held.checked), (Some("\"1\""), None));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        drop(held);
        drop(cache);
        assert_eq!(Cache::open(dir.path(), 3).unwrap().used(), 0);
    }

    #[test]
    fn keys_tell_users_and_uris_apart_and_hide_them() {
        let uri = "http://me:secret@h/a";
        assert_eq!(key(Some(1), uri), key(Some(1), uri));
        assert_ne!(key(Some(1), uri), key(Some(2), uri));
        assert_ne!(key(None, uri), key(Some(0), uri));
        assert_ne!(key(None, uri), key(None, "http://h/a"));
        assert_eq!(key(None, uri).len(), 64);
    }
}
