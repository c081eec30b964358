//! Tarballs: the same bytes for the same contents.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroU32;
use std::path::Path;

use archive::{PackError, PackOptions, XzWriter};
use sha2::{Digest, Sha256};

use crate::SOURCE_DATE_EPOCH;
use crate::result::hex;

/// How much is written at once.
const PIECE: usize = 256 << 10;

/// Why a tarball was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarballError {
    /// Its contents could not be read.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// It could not be written.
    #[error("cannot write the tarball")]
    Write(#[from] io::Error),
}

/// Packs the directory into `to`, with so many threads; gives the tarball's SHA-256.
pub(crate) fn write(dir: &Path, to: &Path, threads: usize) -> Result<String, TarballError> {
    let threads = u32::try_from(threads).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    let hashed = Hashed { to: File::create(to)?, hash: Sha256::new() };
    let mut xz = XzWriter::new(BufWriter::with_capacity(PIECE, hashed), threads);
    let options = PackOptions { seconds: SOURCE_DATE_EPOCH.unsigned_abs() };
    archive::pack_tar(dir, &mut xz, &options)?;
    let hashed = xz.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(hex(&hashed.hash.finalize()))
}

/// The SHA-256 of a file.
pub(crate) fn sha256(path: &Path) -> io::Result<String> {
    let mut hash = Hashed { to: io::sink(), hash: Sha256::new() };
    io::copy(&mut File::open(path)?, &mut BufWriter::with_capacity(PIECE, &mut hash))?;
    Ok(hex(&hash.hash.finalize()))
}

/// Where something is written to, with the hash of it.
struct Hashed<W> {
    to: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
