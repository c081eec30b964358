//! How much a disk may take.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use crate::error::Problem;

/// Bytes that may be written to the disk of an open file, beyond what has to stay free.
pub(crate) fn free(of: impl AsFd, reserve: u64) -> io::Result<u64> {
    let disk = rustix::fs::fstatvfs(of)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(reserve))
}

/// That `needed` bytes fit, if it is known how many they are, or anything at all.
///
/// # Errors
/// [`Problem::NoSpace`].
pub(crate) fn check(
    of: impl AsFd,
    reserve: u64,
    needed: Option<u64>,
    directory: &Path,
) -> Result<(), Problem> {
    // Where a file system does not tell, writing will.
    let Ok(free) = free(of, reserve) else { return Ok(()) };
    if needed.map_or(free == 0, |needed| needed > free) {
        return Err(Problem::NoSpace { needed, free, directory: directory.to_owned() });
    }
    Ok(())
}
