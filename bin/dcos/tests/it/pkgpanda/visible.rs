//! What an activation is to have done, as everybody on the machine sees it: not how it is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::host::names;

/// How many links may lead to one another.
const LINKS: usize = 20;

/// Where links to units lie.
const UNITS: &str = "etc/systemd/system";

/// Where files lie that activations write, under another name each time.
const WRITTEN: &str = "opt/mesosphere/generations";

/// What everybody reads of the active set, by path: contents of files that are written, and the files that
/// links lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Visible(BTreeMap<PathBuf, String>);

impl Visible {
    pub(super) fn on(root: &Path) -> Visible {
        let mut seen = BTreeMap::new();
        let mesosphere = root.join("opt/mesosphere");
        for part in ["active", "bin", "etc", "include", "lib"] {
            let place = resolve(root, &Path::new("opt/mesosphere").join(part));
            look(root, &Path::new("opt/mesosphere").join(part), &root.join(place), &mut seen);
        }
        for file in ["environment", "environment.export", "active.buildinfo.full.json"] {
            let path = Path::new("opt/mesosphere").join(file);
            if let Ok(content) = fs::read_to_string(root.join(resolve(root, &path))) {
                seen.insert(path, content);
            }
        }
        for name in names(&root.join(UNITS)) {
            let path = Path::new(UNITS).join(&name);
            let leads_to = resolve(root, &path);
            if name.starts_with("dcos") && !root.join(&path).is_dir() {
                seen.insert(path, leads_to.display().to_string());
            }
        }
        look(
            root,
            &Path::new(UNITS).join("dcos.target.wants"),
            &root.join(UNITS).join("dcos.target.wants"),
            &mut seen,
        );
        let journal = mesosphere.join("install_progress");
        if journal.exists() {
            seen.insert("install_progress".into(), "an activation is half done".into());
        }
        Visible(seen)
    }

    /// A line for each path at which `other` shows something else.
    pub(super) fn differences(&self, other: &Visible) -> Vec<String> {
        let mut paths: Vec<&PathBuf> = self.0.keys().chain(other.0.keys()).collect();
        paths.sort_unstable();
        paths.dedup();
        let different = paths.into_iter().filter(|path| self.0.get(*path) != other.0.get(*path));
        different
            .map(|path| format!("{}: {:?} -> {:?}", path.display(), self.0.get(path), other.0.get(path)))
            .collect()
    }
}

/// Notes where everything below `place` leads, which is shown as `shown`.
fn look(root: &Path, shown: &Path, place: &Path, seen: &mut BTreeMap<PathBuf, String>) {
    for name in names(place) {
        let (shown, place) = (shown.join(&name), place.join(&name));
        let Ok(meta) = place.symlink_metadata() else { continue };
        if meta.is_dir() {
            seen.insert(shown.clone(), "directory".into());
            look(root, &shown, &place, seen);
        } else {
            let path = place.strip_prefix(root).expect("below the root");
            let leads_to = resolve(root, path);
            seen.insert(shown, content(root, &leads_to));
        }
    }
}

/// What is said about the file at `path`: where it lies, or what it says if it was written by an activation.
fn content(root: &Path, path: &Path) -> String {
    match root.join(path) {
        file if path.starts_with(WRITTEN) => {
            fs::read_to_string(file).unwrap_or_else(|error| error.to_string())
        }
        file if file.exists() => path.display().to_string(),
        _ => format!("{} (missing)", path.display()),
    }
}

/// Follows the links of a path, as the machine with that root does; both are relative to the root.
fn resolve(root: &Path, path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match follow_first(root, &path) {
            Some(next) => path = next,
            None => return path,
        }
    }
    panic!("{} leads nowhere", path.display());
}

/// The path with its first link replaced by where that leads; none if it has no link.
fn follow_first(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut walked = PathBuf::new();
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        match part {
            Component::ParentDir => drop(walked.pop()),
            Component::Normal(name) => {
                let next = walked.join(name);
                if let Ok(target) = fs::read_link(root.join(&next)) {
                    let base = if target.is_absolute() { PathBuf::new() } else { walked };
                    let target = target.strip_prefix("/").map(Path::to_owned).unwrap_or(target);
                    return Some(base.join(target).join(parts.as_path()));
                }
                walked = next;
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    (walked != path).then_some(walked)
}
