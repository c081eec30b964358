//! All kinds of sources, from real repositories, a real server and this machine's apt.

mod archives;
mod bad;
mod debian;
mod downloads;
mod repositories;
mod server;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mkpanda_core::{BuildInfo, Source, SourceId};

use super::Fetcher;

/// A package's folder and its part of the cache, alone in a directory.
pub(super) struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    pub(super) fn new() -> Scene {
        let scene = Scene { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(scene.path("packages/tool")).unwrap();
        fs::create_dir_all(scene.path("src")).unwrap();
        scene
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the cache has of the source `s`.
    pub(super) fn cached(&self, name: &str) -> PathBuf {
        self.path("cache/packages/tool/s").join(name)
    }

    /// Where the source `s` comes out.
    pub(super) fn out(&self, name: &str) -> PathBuf {
        self.path("src/s").join(name)
    }

    /// The package with the one source `s` that the JSON describes.
    pub(super) fn fetcher(&self, source: &str) -> Fetcher {
        Fetcher::new(&self.path("packages/tool"), &self.path("cache/packages/tool"), &sources(source))
    }

    pub(super) fn id(&self, source: &str) -> Result<SourceId, String> {
        match self.fetcher(source).ids() {
            Ok(mut ids) => Ok(ids.remove("s").unwrap()),
            Err(error) => Err(base::with_causes(&error)),
        }
    }

    /// Brings the source into an empty folder; gives what was said meanwhile.
    pub(super) fn checkout(&self, source: &str) -> Result<Vec<String>, String> {
        let into = self.path("src");
        host::remove_tree(&into).unwrap();
        fs::create_dir(&into).unwrap();
        let mut fetcher = self.fetcher(source);
        let said = RefCell::new(Vec::new());
        let done = fetcher
            .ids()
            .and_then(|_| fetcher.checkout_to(&into, &|text: &str| said.borrow_mut().push(text.to_owned())));
        done.map(|()| said.into_inner()).map_err(|error| base::with_causes(&error))
    }

    /// Expects the error to have all of these in it.
    #[track_caller]
    pub(super) fn check_fails(&self, source: &str, expected: &[&str]) {
        let error = self.checkout(source).unwrap_err();
        for text in expected {
            assert!(error.contains(text), "{error:?} has no {text:?}");
        }
    }
}

fn sources(source: &str) -> BTreeMap<String, Source> {
    let text = format!(r#"{{"sources": {{"s": {source}}}}}"#);
    BuildInfo::parse(&"tool".parse().unwrap(), &text)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .sources
}

/// All names below a folder, with kind, mode, time and contents.
pub(super) fn listed(folder: &Path) -> BTreeMap<PathBuf, (u32, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(name) = open.pop() {
        let path = folder.join(&name);
        let meta = fs::symlink_metadata(&path).unwrap();
        let contents = if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| name.join(entry.unwrap().file_name())));
            Vec::new()
        } else if meta.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else {
            fs::read(&path).unwrap()
        };
        found.insert(name, (meta.mode(), meta.mtime(), contents));
    }
    found
}

/// The names in a folder, sorted.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
