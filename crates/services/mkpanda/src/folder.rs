//! Folders by what is in them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use api_pkgpanda::hash::{self, ContentHash, FolderEntry};

/// How much of a file is read at once.
const PIECE: usize = 64 << 10;

/// A folder that has no hash.
#[derive(Debug, thiserror::Error)]
pub enum FolderHashError {
    /// Something in it could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It has no content that could be read to its end.
    #[error("{} is neither a file nor a directory nor a link to one", path.display())]
    Special {
        /// Which one.
        path: PathBuf,
    },
    /// The names of files are part of the hash, as text.
    #[error("{}: the name is not UTF-8", path.display())]
    Name {
        /// Which one.
        path: PathBuf,
    },
}

/// The canonical hash of a folder (pkgpanda: `hash_folder`): links to files count as the files, links to directories
/// do not count, and neither do modes.
///
/// # Errors
/// What cannot be read, and names that are no text.
pub fn folder_hash(folder: &Path) -> Result<String, FolderHashError> {
    let mut entries = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    let mut piece = vec![0; PIECE];
    while let Some(relative) = open.pop() {
        let above = folder.join(&relative);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FolderHashError::Read { path, source }
        };
        let mut is_empty = true;
        for entry in fs::read_dir(&above).map_err(failed(&above))? {
            is_empty = false;
            let entry = entry.map_err(failed(&above))?;
            let path = entry.path();
            let name = relative.join(entry.file_name());
            let kind = entry.file_type().map_err(failed(&path))?;
            if kind.is_dir() {
                open.push(name);
                continue;
            }
            // Of a link, what it leads to.
            let meta = fs::metadata(&path).map_err(failed(&path))?;
            if meta.is_file() {
                let sha1 = content_hash(&path, &mut piece).map_err(failed(&path))?;
                entries.insert(text(name, &path)?, FolderEntry::File(sha1));
            } else if !meta.is_dir() {
                return Err(FolderHashError::Special { path });
            }
        }
        if is_empty && !relative.as_os_str().is_empty() {
            let name = text(relative, &above)?;
            entries.insert(name, FolderEntry::EmptyDirectory);
        }
    }
    Ok(hash::folder(&entries))
}

fn text(name: PathBuf, path: &Path) -> Result<String, FolderHashError> {
    name.into_os_string().into_string().map_err(|_| FolderHashError::Name { path: path.to_owned() })
}

fn content_hash(path: &Path, piece: &mut [u8]) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = ContentHash::default();
    loop {
        match file.read(piece)? {
            0 => return Ok(hash.finish()),
            read => hash.update(&piece[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_to_files_count_and_links_to_directories_do_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(folder_hash(dir.path()).unwrap(), hash::folder(&BTreeMap::new()));
        fs::create_dir_all(dir.path().join("a/empty")).unwrap();
        fs::create_dir_all(dir.path().join("linked")).unwrap();
        fs::write(dir.path().join("a/file"), "x").unwrap();
        symlink("file", dir.path().join("a/to_file")).unwrap();
        symlink("../a", dir.path().join("linked/to_directory")).unwrap();
        let file = || FolderEntry::File(hash::content(b"x"));
        let expect = [("a/empty", FolderEntry::EmptyDirectory), ("a/file", file()), ("a/to_file", file())];
        let expect = expect.into_iter().map(|(path, entry)| (path.to_owned(), entry)).collect();
        assert_eq!(folder_hash(dir.path()).unwrap(), hash::folder(&expect));
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(matches!(folder_hash(dir.path()), Err(FolderHashError::Special { path }) if path == fifo));
        fs::remove_file(fifo).unwrap();
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        let error = folder_hash(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("/dangling"), "{error}");
    }
}
