//! What a build script has left in its destination: checked, listed, and made the same on every machine.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use api_pkgpanda::hash::{self, ContentHash};
use api_pkgpanda::{BUILDINFO, MANIFEST, Manifest, PKGINFO, RESERVED_UNITS, WANTS};
use mkpanda_core::FileSum;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use sha2::{Digest, Sha256};

use crate::SOURCE_DATE_EPOCH;

/// The file in a package that says what it was made of.
pub(crate) const SBOM: &str = "sbom.spdx.json";

/// The most entries of a package; a package that has more was not meant.
const ENTRIES_LIMIT: usize = 2_000_000;

/// What is taken from everything, as a umask of 022 does.
const OTHERS_WRITE: u32 = 0o022;

/// How much of a file is read at once.
const PIECE: usize = 128 << 10;

/// Why what a script made is no package.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResultError {
    /// Something could not be read or changed.
    #[error("cannot {attempt} {}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Units of these names come with the bootstrap.
    #[error("the build has made {path}, but no package may bring a unit of that name (reserved: {})", RESERVED_UNITS.join(", "))]
    ReservedUnit {
        /// Which one, relative to the package.
        path: String,
    },
    /// What mkpanda writes itself.
    #[error("the build has made {path}, which mkpanda writes itself")]
    ReservedFile {
        /// Which one, relative to the package.
        path: String,
    },
    /// Neither file, directory nor link.
    #[error(
        "the build has made {path}, which is {kind}; a package holds files, directories and symbolic links"
    )]
    Kind {
        /// Which one, relative to the package.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// Manifests are text.
    #[error("the build has made {path:?}, whose name is not UTF-8")]
    Name {
        /// Which one, relative to the package.
        path: PathBuf,
    },
    /// It does not end.
    #[error("the build has made more than {ENTRIES_LIMIT} files and directories")]
    Entries,
}

fn failed<'a>(attempt: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> ResultError + 'a {
    move |source| ResultError::Io { attempt, path: path.to_owned(), source }
}

/// What is in a package.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) manifest: Manifest,
    /// The files of the manifest as bills of materials have them, in any order.
    pub(crate) sums: Vec<FileSum>,
}

impl Listed {
    /// Takes note of a file with this text and the usual mode.
    pub(crate) fn add(&mut self, name: &str, text: &str) {
        let sha256 = hex(&Sha256::digest(text.as_bytes()));
        let sum =
            FileSum { path: name.to_owned(), sha1: hash::content(text.as_bytes()), sha256: sha256.clone() };
        self.sums.push(sum);
        let file = api_pkgpanda::File { mode: 0o644, size: text.len() as u64, sha256 };
        self.manifest.files.insert(name.to_owned(), file);
    }
}

/// Looks through `result`, refuses what no package may hold, and gives everything one owner (root) and one time.
/// Follows no link. Each file is read once.
pub(crate) fn settle(result: &Path) -> Result<Listed, ResultError> {
    walk(result, true)
}

/// Lists a package with all that is in it.
pub(crate) fn list(package: &Path) -> Result<Manifest, ResultError> {
    walk(package, false).map(|listed| listed.manifest)
}

/// With `settle` the directory is what a script has made: it is changed, and sums for its bill are made.
fn walk(result: &Path, settle: bool) -> Result<Listed, ResultError> {
    let (mut manifest, mut sums) = (Manifest::new(), Vec::new());
    let mut directories = vec![PathBuf::new()];
    let mut reached = 0;
    let mut buffer = vec![0; PIECE];
    // In the order in which they are found: parents before their children.
    while let Some(directory) = directories.get(reached).cloned() {
        reached += 1;
        let above = result.join(&directory);
        for entry in fs::read_dir(&above).map_err(failed("read", &above))? {
            let entry = entry.map_err(failed("read", &above))?;
            let relative = directory.join(entry.file_name());
            let Some(name) = relative.to_str() else { return Err(ResultError::Name { path: relative }) };
            let (name, path) = (name.to_owned(), entry.path());
            let meta = entry.metadata().map_err(failed("look at", &path))?;
            refuse_kind(&name, &meta)?;
            if manifest.files.len() + manifest.symlinks.len() + directories.len() >= ENTRIES_LIMIT {
                return Err(ResultError::Entries);
            }
            if settle {
                refuse_name(&name)?;
                own(&path, &meta)?;
            }
            let mode = mode_of(&meta, settle);
            if meta.is_dir() {
                manifest.directories.insert(name, mode);
                directories.push(relative);
                continue;
            }
            if meta.is_symlink() {
                let target = fs::read_link(&path).map_err(failed("read", &path))?;
                let Some(target) = target.to_str() else { return Err(ResultError::Name { path: relative }) };
                manifest.symlinks.insert(name, target.to_owned());
            } else {
                let mut sha1 = settle.then(ContentHash::default);
                let hashed = hash(&path, &mut buffer, sha1.as_mut());
                let (size, sha256) = hashed.map_err(failed("read", &path))?;
                if let Some(sha1) = sha1 {
                    let (path, sha256) = (name.clone(), sha256.clone());
                    sums.push(FileSum { path, sha1: sha1.finish(), sha256 });
                }
                manifest.files.insert(name, api_pkgpanda::File { mode, size, sha256 });
            }
            if settle {
                set_time(&path).map_err(failed("set the time of", &path))?;
            }
        }
    }
    // Changing what is in a directory changes its time.
    for directory in directories.iter().rev().filter(|_| settle) {
        let path = result.join(directory);
        set_time(&path).map_err(failed("set the time of", &path))?;
    }
    Ok(Listed { manifest, sums })
}

fn refuse_name(name: &str) -> Result<(), ResultError> {
    if [PKGINFO, BUILDINFO, MANIFEST, SBOM].contains(&name) {
        return Err(ResultError::ReservedFile { path: name.to_owned() });
    }
    let Some((directory, unit)) = name.split_once('/') else { return Ok(()) };
    let role = directory.strip_prefix(WANTS);
    let is_wants = role.is_some_and(|role| role.is_empty() || role.starts_with('_'));
    match is_wants && RESERVED_UNITS.contains(&unit) {
        true => Err(ResultError::ReservedUnit { path: name.to_owned() }),
        false => Ok(()),
    }
}

fn refuse_kind(name: &str, meta: &Metadata) -> Result<(), ResultError> {
    let kind = meta.file_type();
    let kind = match () {
        () if kind.is_file() || kind.is_dir() || kind.is_symlink() => return Ok(()),
        () if kind.is_socket() => "a socket",
        () if kind.is_fifo() => "a FIFO",
        () => "a device",
    };
    Err(ResultError::Kind { path: name.to_owned(), kind })
}

/// Permissions in a package; what others may write is nobody's business there.
fn mode_of(meta: &Metadata, settle: bool) -> u32 {
    let mode = meta.mode() & 0o7777;
    if settle { mode & !OTHERS_WRITE } else { mode }
}

/// Makes it root's, with the permissions that things have in packages.
fn own(path: &Path, meta: &Metadata) -> Result<(), ResultError> {
    let is_roots = (meta.uid(), meta.gid()) == (0, 0);
    if !is_roots {
        lchown(path, Some(0), Some(0)).map_err(failed("give root", path))?;
    }
    let mode = mode_of(meta, true);
    // With the owner the kernel takes the set-user-id bits.
    let is_right = mode == mode_of(meta, false) && (is_roots || mode & 0o6000 == 0);
    if is_right || meta.is_symlink() {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("set the mode of", path))
}

/// Sets the time of last change to the one that everything in packages has.
pub(crate) fn set_time(path: &Path) -> io::Result<()> {
    let time = Timespec { tv_sec: SOURCE_DATE_EPOCH, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// A file's size and SHA-256, and where it is wanted its SHA-1.
fn hash(path: &Path, buffer: &mut [u8], mut sha1: Option<&mut ContentHash>) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut size = 0;
    loop {
        let read = file.read(buffer)?;
        if read == 0 {
            return Ok((size, hex(&hash.finalize())));
        }
        size += read as u64;
        hash.update(&buffer[..read]);
        if let Some(sha1) = &mut sha1 {
            sha1.update(&buffer[..read]);
        }
    }
}

/// Hexadecimal digits in lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).expect("a nibble is a digit");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn scene() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("bin")).unwrap();
        fs::write(dir.path().join("bin/a"), "abc").unwrap();
        fs::set_permissions(dir.path().join("bin/a"), fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("/nowhere", dir.path().join("link")).unwrap();
        dir
    }

    #[test]
    fn everything_is_listed_and_has_one_time() {
        let dir = scene();
        let Listed { manifest, mut sums } = settle(dir.path()).unwrap();
        assert_eq!(manifest.directories.len(), 1);
        let sum = sums.pop().unwrap();
        assert_eq!(
            (sum.path.as_str(), &sum.sha256, sums.len()),
            ("bin/a", &manifest.files["bin/a"].sha256, 0)
        );
        assert_eq!(sum.sha1, "a9993e364706816aba3e25717850c26c9cd0d89d");
        let file = &manifest.files["bin/a"];
        assert_eq!((file.mode, file.size), (0o4755, 3));
        assert_eq!(file.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(manifest.symlinks["link"], "/nowhere");
        for path in ["", "bin", "bin/a", "link"] {
            let meta = fs::symlink_metadata(dir.path().join(path)).unwrap();
            assert_eq!(meta.mtime(), SOURCE_DATE_EPOCH, "{path}");
        }
    }

    #[test]
    fn what_no_package_may_hold_is_named() {
        let check = |make: fn(&Path), expect: &str| {
            let dir = scene();
            make(dir.path());
            let found = settle(dir.path()).unwrap_err().to_string();
            assert!(found.contains(expect), "{found}");
        };
        check(
            |dir| {
                fs::create_dir(dir.join("dcos.target.wants_master")).unwrap();
                fs::write(dir.join("dcos.target.wants_master/dcos-setup.service"), "").unwrap();
            },
            "made dcos.target.wants_master/dcos-setup.service, but no package may bring a unit of that name",
        );
        check(|dir| fs::write(dir.join("pkginfo.json"), "").unwrap(), "pkginfo.json, which mkpanda writes");
        check(
            |dir| drop(std::os::unix::net::UnixListener::bind(dir.join("bin/s")).unwrap()),
            "bin/s, which is a socket",
        );
        check(
            |dir| {
                use std::os::unix::ffi::OsStrExt;
                fs::write(dir.join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
            },
            "whose name is not UTF-8",
        );
    }

    #[test]
    fn units_that_only_look_reserved_are_taken() {
        let dir = scene();
        for path in ["dcos.target.wants", "dcos.target.wantsmore", "other"] {
            fs::create_dir(dir.path().join(path)).unwrap();
        }
        for path in
            ["dcos.target.wants/a.service", "dcos.target.wantsmore/dcos.target", "other/dcos-setup.service"]
        {
            fs::write(dir.path().join(path), "").unwrap();
        }
        settle(dir.path()).unwrap();
    }
}
