use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What every running machine writes by itself: logs, seeds and stamps, locks and copies of shadow's.
const OF_THE_MACHINE: &[&str] = &[
    "dev",
    "etc/.pwd.lock",
    "etc/.updated",
    "etc/group-",
    "etc/gshadow-",
    "etc/machine-id",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "proc",
    "run",
    "sys",
    "tmp",
    "var/.updated",
    "var/lib/systemd",
    "var/log/btmp",
    "var/log/faillog",
    "var/log/journal",
    "var/log/lastlog",
    "var/log/wtmp",
    "var/tmp",
];

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Absent,
    /// A directory.
    Directory {
        /// Permissions.
        mode: u32,
        /// The numbers of user and group.
        owner: (u32, u32),
    },
    /// A file.
    File {
        /// Permissions.
        mode: u32,
        /// The numbers of user and group.
        owner: (u32, u32),
        /// In bytes.
        size: u64,
        /// Of the content.
        hash: u64,
    },
    /// A symbolic link.
    Link {
        /// Where to, as it is written.
        target: PathBuf,
    },
    /// A device, socket or fifo.
    Special {
        /// Type and permissions.
        mode: u32,
    },
}

/// What lies where in a tree of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where everything lies that `entries` says nothing about.
    base: Option<PathBuf>,
    entries: BTreeMap<PathBuf, Entry>,
}

impl Snapshot {
    /// Of all files below `root`, by their paths relative to it.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn of(root: &Path) -> io::Result<Snapshot> {
        let mut entries = BTreeMap::new();
        walk(root, Path::new(""), &[], &mut |path| {
            entries.insert(path.to_owned(), Entry::at(&root.join(path))?);
            Ok(())
        })?;
        Ok(Snapshot { base: None, entries })
    }

    /// Of the files below `merged`, an overlay of this machine's root with the upper layer `upper`; without
    /// what every running machine writes.
    pub(crate) fn of_overlay(upper: &Path, merged: &Path) -> io::Result<Snapshot> {
        let mut entries = BTreeMap::new();
        walk(upper, Path::new(""), OF_THE_MACHINE, &mut |path| {
            entries.insert(path.to_owned(), Entry::at(&merged.join(path))?);
            Ok(())
        })?;
        Ok(Snapshot { base: Some(PathBuf::from("/")), entries })
    }

    /// What is at a path.
    pub fn get(&self, path: impl AsRef<Path>) -> Entry {
        let path = path.as_ref();
        let base = || self.base.as_ref().and_then(|base| Entry::at(&base.join(path)).ok());
        self.entries.get(path).cloned().or_else(base).unwrap_or(Entry::Absent)
    }

    /// All paths that it says something about, in order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.entries.keys().map(PathBuf::as_path)
    }

    /// Without what lies at paths that `out` is true of.
    pub fn without(mut self, out: impl Fn(&Path) -> bool) -> Snapshot {
        self.entries.retain(|path, _| !out(path));
        self
    }

    /// A line for each path at which `later` has something else.
    pub fn differences(&self, later: &Snapshot) -> Vec<String> {
        let mut paths: Vec<&Path> = self.paths().chain(later.paths()).collect();
        paths.sort_unstable();
        paths.dedup();
        let different = paths.into_iter().filter(|path| self.get(path) != later.get(path));
        different
            .map(|path| format!("{}: {:?} -> {:?}", path.display(), self.get(path), later.get(path)))
            .collect()
    }
}

impl Entry {
    /// What is at `path`; links are not followed.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn at(path: &Path) -> io::Result<Entry> {
        let meta = match path.symlink_metadata() {
            Ok(meta) => meta,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Entry::Absent);
            }
            Err(error) => return Err(error),
        };
        let (mode, owner) = (meta.mode() & 0o7777, (meta.uid(), meta.gid()));
        Ok(match meta.file_type() {
            kind if kind.is_dir() => Entry::Directory { mode, owner },
            kind if kind.is_symlink() => Entry::Link { target: fs::read_link(path)? },
            kind if kind.is_file() => {
                let mut hasher = DefaultHasher::new();
                fs::read(path)?.hash(&mut hasher);
                Entry::File { mode, owner, size: meta.len(), hash: hasher.finish() }
            }
            kind if kind.is_char_device() && meta.rdev() == 0 => Entry::Absent,
            _ => Entry::Special { mode: meta.mode() },
        })
    }
}

/// Tells of every path below `root`, relative to it, but those that `out` names.
fn walk(
    root: &Path,
    below: &Path,
    out: &[&str],
    tell: &mut impl FnMut(&Path) -> io::Result<()>,
) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if out.iter().any(|out| Path::new(out) == path) {
            continue;
        }
        tell(&path)?;
        if entry.file_type()?.is_dir() {
            walk(root, &path, out, tell)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn every_change_is_a_difference() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/f"), "one").unwrap();
        symlink("f", at("d/l")).unwrap();
        let mut last = Snapshot::of(dir.path()).unwrap();
        assert_eq!(last.paths().count(), 3);
        let mut check = |paths: &[&str], change: &dyn Fn()| {
            change();
            let now = Snapshot::of(dir.path()).unwrap();
            let found = last.differences(&now);
            let named: Vec<&str> = found.iter().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
            assert_eq!(named, paths);
            last = now;
        };
        check(&[], &|| ());
        check(&["d/f"], &|| fs::write(at("d/f"), "two").unwrap());
        check(&["d/f"], &|| fs::set_permissions(at("d/f"), fs::Permissions::from_mode(0o600)).unwrap());
        check(&["d/l"], &|| {
            fs::remove_file(at("d/l")).unwrap();
            symlink("g", at("d/l")).unwrap();
        });
        check(&["e"], &|| fs::create_dir(at("e")).unwrap());
        check(&["d", "d/f", "d/l"], &|| fs::remove_dir_all(at("d")).unwrap());
    }
}
