//! What has come of a download so far.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use http_kit::Bytes;
use sha2::{Digest, Sha256};

/// The ending of files that belong to a running download.
pub(crate) const ENDING: &str = "part";

/// A file that is removed with this value, unless it was moved away.
#[derive(Debug)]
pub(crate) struct Part {
    path: PathBuf,
}

impl Part {
    /// Makes an empty file that nobody else can read.
    pub(crate) fn create(directory: &Path, number: u64) -> io::Result<(Part, File)> {
        let path = directory.join(format!("{number}.{ENDING}"));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((Part { path }, file))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have been moved to where it belongs.
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes and hashes; blocks.
pub(crate) struct Sink {
    file: File,
    hash: Option<Sha256>,
    written: u64,
}

impl Sink {
    pub(crate) fn new(file: File, hash: bool) -> Sink {
        Sink { file, hash: hash.then(Sha256::new), written: 0 }
    }

    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn write(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        for piece in pieces {
            self.file.write_all(piece)?;
            if let Some(hash) = &mut self.hash {
                hash.update(piece);
            }
            self.written += piece.len() as u64;
        }
        Ok(())
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.hash = self.hash.take().map(|_| Sha256::new());
        self.written = 0;
        Ok(())
    }

    /// The SHA-256 in hexadecimal, if it was asked for.
    pub(crate) fn finish(self) -> Option<String> {
        self.hash.map(|hash| hexadecimal(&hash.finalize()))
    }
}

/// Lower case.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
