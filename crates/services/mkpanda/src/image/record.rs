use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::error::ImageProblem;

/// What is known of an image that was made or fetched, by what it was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// What it was made from, in words.
    pub(super) name: String,
    /// The image's id.
    pub(super) id: String,
    /// Its layers: below the folder of images, the lowest first.
    pub(super) layers: Vec<PathBuf>,
    /// Its environment.
    pub(super) environment: BTreeMap<String, String>,
    /// The packages in it.
    #[serde(default)]
    pub(super) debian: Vec<debian::Deb>,
}

/// The records that are kept: definitions that nobody uses any more fall out, with their images.
const KEPT: usize = 16;

/// The record under this key, if it is there and whole.
pub(super) fn find(images: &Path, key: &str) -> Option<Record> {
    let text = fs::read_to_string(path(images, key)).ok()?;
    // One that another version has written is made anew.
    serde_json::from_str(&text).ok()
}

/// Writes it down: whole or not at all.
pub(super) fn write(images: &Path, key: &str, record: &Record) -> Result<(), ImageProblem> {
    let to = path(images, key);
    let new = to.with_extension("new");
    let text = serde_json::to_string_pretty(record).expect("texts are writable");
    let write = || -> io::Result<()> {
        fs::create_dir_all(to.parent().unwrap_or(images))?;
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &to)
    };
    write().map_err(ImageProblem::file("write", &to))
}

/// Removes the oldest records beyond those that are kept, but never this one, and gives those that stay.
pub(super) fn forget_oldest(images: &Path, key: &str) -> Vec<Record> {
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(images.join("resolved")).into_iter().flatten().flatten() {
        let made = entry.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            found.push((made, path));
        }
    }
    let current = path(images, key);
    found.sort();
    let surplus = found.len().saturating_sub(KEPT);
    let mut kept = Vec::new();
    for (number, (_, path)) in found.into_iter().enumerate() {
        if number < surplus && path != current && fs::remove_file(&path).is_ok() {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        kept.extend(serde_json::from_str::<Record>(&text).ok());
    }
    kept
}

fn path(images: &Path, key: &str) -> PathBuf {
    images.join("resolved").join(format!("{key}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_records_fall_out() {
        let dir = tempfile::tempdir().unwrap();
        let record = |name: &str| Record {
            name: name.to_owned(),
            id: format!("sha256:{name}"),
            layers: vec![name.into()],
            environment: BTreeMap::new(),
            debian: Vec::new(),
        };
        for number in 0..KEPT + 3 {
            let name = number.to_string();
            write(dir.path(), &name, &record(&name)).unwrap();
            let file = File::open(path(dir.path(), &name)).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
            file.set_modified(time).unwrap();
        }
        assert_eq!(find(dir.path(), "0"), Some(record("0")));
        let kept = forget_oldest(dir.path(), "0");
        assert_eq!(kept.len(), KEPT + 1, "the current one is old, and stays");
        assert_eq!(find(dir.path(), "0"), Some(record("0")));
        assert_eq!((find(dir.path(), "1"), find(dir.path(), "2")), (None, None));
        assert_eq!(find(dir.path(), "3"), Some(record("3")));
        fs::write(path(dir.path(), "3"), "{\"half\"").unwrap();
        assert_eq!(find(dir.path(), "3"), None);
    }
}
