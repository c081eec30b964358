//! Files as they lie here: what tells them from others, copies of them, and trees that are the same everywhere.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use api_pkgpanda::hash::{self, ContentHash, FolderEntry};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

/// 1980-01-01: the time of everything that builds start from, and the earliest that zip files can tell.
const TIME: i64 = 315_532_800;
/// The most files and directories of a source on this machine.
const ENTRIES: usize = 1_000_000;
/// How deep directories are looked into.
const DEPTH: usize = 128;
/// How much of a file is read at once.
const PIECE: usize = 64 << 10;

/// Why files could not be read or copied.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The file system refused.
    #[error("{attempt} {}", .path.display())]
    File {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is neither file nor directory nor link.
    #[error("{} is neither a file nor a directory nor a link", .path.display())]
    Special {
        /// What.
        path: PathBuf,
    },
    /// Names are part of a package's id, which is made of text.
    #[error("{}: the name is not UTF-8", .path.display())]
    Name {
        /// Which one.
        path: PathBuf,
    },
    /// More than anybody means to build from.
    #[error("{} has more than {ENTRIES} files, or is deeper than {DEPTH} directories", .path.display())]
    Large {
        /// The folder.
        path: PathBuf,
    },
    /// A directory would come to lie where a link leads away.
    #[error("{} is a link to {}: nothing can be put into it", .path.display(), .target.display())]
    LeadsAway {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// It changed between the moment when it was looked at and the moment when it was copied.
    #[error("{} has changed while it was built from", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

fn failed(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TreeError {
    let path = path.to_owned();
    move |source| TreeError::File { attempt, path, source }
}

/// What is at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Directory,
    File { sha1: String, is_executable: bool },
    Link(String),
}

/// A file, or a folder with all that is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    /// By the path relative to the folder; a single file by its name.
    entries: BTreeMap<String, Found>,
    is_folder: bool,
}

impl Listing {
    /// What is at `path`. If that is a link, what it leads to; other links are links.
    pub(crate) fn of(path: &Path) -> Result<Listing, TreeError> {
        let meta = fs::metadata(path).map_err(failed("read", path))?;
        let mut listing = Listing { entries: BTreeMap::new(), is_folder: meta.is_dir() };
        if meta.is_dir() {
            listing.add_folder(path, path, DEPTH)?;
        } else {
            let name = path.file_name().map(PathBuf::from).unwrap_or_default();
            listing.add(path, text(&name, path)?, &meta)?;
        }
        Ok(listing)
    }

    fn add_folder(&mut self, top: &Path, folder: &Path, depth: usize) -> Result<(), TreeError> {
        for entry in fs::read_dir(folder).map_err(failed("read the directory", folder))? {
            let entry = entry.map_err(failed("read the directory", folder))?;
            let path = entry.path();
            if depth == 0 || self.entries.len() >= ENTRIES {
                return Err(TreeError::Large { path: top.to_owned() });
            }
            let name = text(path.strip_prefix(top).unwrap_or(&path), &path)?;
            let meta = entry.metadata().map_err(failed("read", &path))?;
            self.add(&path, name, &meta)?;
            if meta.is_dir() {
                self.add_folder(top, &path, depth - 1)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, name: String, meta: &Metadata) -> Result<(), TreeError> {
        let found = if meta.is_dir() {
            Found::Directory
        } else if meta.is_file() {
            let sha1 = digest(path).map_err(failed("read", path))?;
            Found::File { sha1, is_executable: meta.mode() & 0o100 != 0 }
        } else if meta.is_symlink() {
            let target = fs::read_link(path).map_err(failed("read the link", path))?;
            Found::Link(text(&target, path)?)
        } else {
            return Err(TreeError::Special { path: path.to_owned() });
        };
        self.entries.insert(name, found);
        Ok(())
    }

    /// What tells it from all others: the canonical hash of a folder, in which files that can be executed, and links,
    /// are told from plain files.
    pub(crate) fn contents(&self) -> String {
        let mut entries = BTreeMap::new();
        // A directory is directly followed by what is in it, but for names that sort before `/`.
        for (name, found) in &self.entries {
            if let Some(above) = name.rsplit_once('/').map(|(above, _)| above) {
                entries.remove(above);
            }
            let entry = match found {
                Found::Directory => FolderEntry::EmptyDirectory,
                Found::File { sha1, is_executable: false } => FolderEntry::File(sha1.clone()),
                Found::File { sha1, is_executable: true } => FolderEntry::File(format!("{sha1} executable")),
                Found::Link(target) => FolderEntry::File(format!("link to {target}")),
            };
            entries.insert(name.clone(), entry);
        }
        hash::folder(&entries)
    }

    /// Copies it from `from` into the folder `into`; a single file gets its name there.
    ///
    /// # Errors
    /// Also when it is not what was found any more.
    pub(crate) fn copy(&self, from: &Path, into: &Path) -> Result<(), TreeError> {
        for (name, found) in &self.entries {
            let (source, to) =
                (if self.is_folder { from.join(name) } else { from.to_owned() }, into.join(name));
            match found {
                Found::Directory => make_directory(&to)?,
                Found::File { sha1, is_executable } => {
                    clear(&to)?;
                    fs::copy(&source, &to).map_err(failed("copy", &source))?;
                    let mode = if *is_executable { 0o755 } else { 0o644 };
                    fs::set_permissions(&to, fs::Permissions::from_mode(mode))
                        .map_err(failed("change the mode of", &to))?;
                    if digest(&to).map_err(failed("read", &to))? != *sha1 {
                        return Err(TreeError::Changed { path: source });
                    }
                }
                Found::Link(target) => {
                    clear(&to)?;
                    std::os::unix::fs::symlink(target, &to).map_err(failed("make the link", &to))?;
                }
            }
        }
        Ok(())
    }
}

/// Makes a directory, unless there is one, or a link to one nearby such as `bin` to `usr/bin`.
fn make_directory(path: &Path) -> Result<(), TreeError> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => return Ok(()),
        Ok(meta) if meta.is_symlink() => {
            // What is copied into a root file system must not follow its links out of it.
            let target = fs::read_link(path).map_err(failed("read the link", path))?;
            let is_near = target.components().all(|part| matches!(part, Component::Normal(_)));
            return match is_near && path.is_dir() {
                true => Ok(()),
                false => Err(TreeError::LeadsAway { path: path.to_owned(), target }),
            };
        }
        _ => {}
    }
    fs::create_dir(path).map_err(failed("make the directory", path))?;
    // Whatever the umask is.
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(failed("change the mode of", path))
}

/// Takes away a file or link that is to be replaced, so that nothing is written through it.
fn clear(path: &Path) -> Result<(), TreeError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("replace", path)(error)),
        _ => Ok(()),
    }
}

fn text(name: &Path, path: &Path) -> Result<String, TreeError> {
    name.to_str().map(str::to_owned).ok_or_else(|| TreeError::Name { path: path.to_owned() })
}

/// The SHA-1 of a file.
pub(super) fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut piece) = (ContentHash::default(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hash.finish()),
            Ok(read) => hash.update(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What becomes of the modes of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Modes {
    /// Directories and what its owner can execute are 0755, all else is 0644.
    Plain,
    /// They stay.
    Kept,
}

/// Gives everything below `top`, and `top` itself, one time, and the modes that are wanted.
pub(crate) fn settle(top: &Path, modes: Modes) -> Result<(), TreeError> {
    settle_below(top, modes, DEPTH)
}

fn settle_below(path: &Path, modes: Modes, depth: usize) -> Result<(), TreeError> {
    let meta = fs::symlink_metadata(path).map_err(failed("read", path))?;
    if modes == Modes::Plain && !meta.is_symlink() {
        let wanted = if meta.is_dir() || meta.mode() & 0o100 != 0 { 0o755 } else { 0o644 };
        if meta.mode() & 0o7777 != wanted {
            fs::set_permissions(path, fs::Permissions::from_mode(wanted))
                .map_err(failed("change the mode of", path))?;
        }
    }
    if meta.is_dir() {
        if depth == 0 {
            return Err(TreeError::Large { path: path.to_owned() });
        }
        for entry in fs::read_dir(path).map_err(failed("read the directory", path))? {
            let entry = entry.map_err(failed("read the directory", path))?;
            settle_below(&entry.path(), modes, depth - 1)?;
        }
    }
    let time = Timespec { tv_sec: TIME, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| failed("set the time of", path)(errno.into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::folder::folder_hash;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/empty")).unwrap();
        fs::create_dir_all(dir.path().join("a-b")).unwrap();
        fs::write(dir.path().join("a/file"), "x").unwrap();
        fs::write(dir.path().join("a-b/file"), "y").unwrap();
        dir
    }

    #[test]
    fn plain_folders_have_their_canonical_hash() {
        let dir = folder();
        let contents = || Listing::of(dir.path()).unwrap().contents();
        assert_eq!(contents(), folder_hash(dir.path()).unwrap());
        assert_eq!(
            Listing::of(&dir.path().join("a/empty")).unwrap().contents(),
            hash::folder(&BTreeMap::new())
        );
    }

    #[test]
    fn all_that_is_copied_counts() {
        let dir = folder();
        let mut seen = vec![Listing::of(dir.path()).unwrap().contents()];
        let mut check = |what: &str| {
            let contents = Listing::of(dir.path()).unwrap().contents();
            assert!(!seen.contains(&contents), "{what}");
            seen.push(contents);
        };
        fs::write(dir.path().join("a/file"), "z").unwrap();
        check("another content");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path().join("a/file"), executable).unwrap();
        check("another mode");
        symlink("file", dir.path().join("a/link")).unwrap();
        check("a link");
        fs::remove_file(dir.path().join("a/link")).unwrap();
        symlink("nowhere", dir.path().join("a/link")).unwrap();
        check("another link");
        fs::remove_dir(dir.path().join("a/empty")).unwrap();
        check("a directory less");
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        check("another name");
    }

    #[test]
    fn copies_are_the_same_under_any_mode() {
        let dir = folder();
        symlink("file", dir.path().join("a/link")).unwrap();
        fs::write(dir.path().join("run"), "#!").unwrap();
        let listing = Listing::of(dir.path()).unwrap();
        fs::set_permissions(dir.path().join("run"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(dir.path().join("a/file"), fs::Permissions::from_mode(0o600)).unwrap();
        let listing_of_private = Listing::of(dir.path()).unwrap();
        assert_ne!(listing, listing_of_private);
        let to = tempfile::tempdir().unwrap();
        listing_of_private.copy(dir.path(), to.path()).unwrap();
        settle(to.path(), Modes::Plain).unwrap();
        assert_eq!(Listing::of(to.path()).unwrap(), listing_of_private);
        let meta = |name: &str| fs::symlink_metadata(to.path().join(name)).unwrap();
        assert_eq!((meta("run").mode() & 0o7777, meta("a/file").mode() & 0o7777), (0o755, 0o644));
        for name in ["", "a", "a/empty", "a/link", "a/file", "run"] {
            assert_eq!(meta(name).mtime(), TIME, "{name}");
        }
    }

    #[test]
    fn a_single_file_is_copied_under_its_name() {
        let dir = folder();
        let file = dir.path().join("a/file");
        let listing = Listing::of(&file).unwrap();
        let to = tempfile::tempdir().unwrap();
        listing.copy(&file, to.path()).unwrap();
        assert_eq!(fs::read_to_string(to.path().join("file")).unwrap(), "x");
        fs::write(&file, "changed").unwrap();
        let error = listing.copy(&file, to.path()).unwrap_err();
        assert!(matches!(&error, TreeError::Changed { path } if *path == file), "{error}");
    }

    #[test]
    fn copies_follow_no_link_out_of_where_they_go() {
        let dir = folder();
        let listing = Listing::of(dir.path()).unwrap();
        let around = tempfile::tempdir().unwrap();
        let (to, outside) = (around.path().join("to"), around.path().join("outside"));
        for path in [&to, &outside, &to.join("usr")] {
            fs::create_dir(path).unwrap();
        }
        let check = |target: &str, is_good: bool| {
            symlink(target, to.join("a")).unwrap();
            let copied = listing.copy(dir.path(), &to);
            assert_eq!(copied.is_ok(), is_good, "{target}: {copied:?}");
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{target}");
            fs::remove_file(to.join("a")).unwrap();
        };
        check("usr", true);
        assert_eq!(fs::read_to_string(to.join("usr/file")).unwrap(), "x");
        check("../outside", false);
        check(outside.to_str().unwrap(), false);
        check("nowhere", false);
    }

    #[test]
    fn what_cannot_be_a_source_is_named() {
        let dir = folder();
        let error = Listing::of(&dir.path().join("absent")).unwrap_err();
        assert!(base::with_causes(&error).contains("absent: No such file"), "{error}");
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(matches!(Listing::of(dir.path()), Err(TreeError::Special { path }) if path == fifo));
    }
}
