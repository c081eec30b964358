//! Archives from strangers, unpacked within bounds and never outside their directory; and archives of our own,
//! the same bytes for the same directory.
//!
//! [`unpack_tar`] and [`unpack_zip`] write what an archive holds below one directory,
//! [`tar_entries`] looks through a tar without writing anything, [`Compression`] knows the four
//! compressions around them, [`ReadAhead`] lets a second processor decompress. [`pack_tar`] writes a
//! directory as a tar, [`XzWriter`] compresses it. All of it blocks: async callers take a blocking thread.
//!
//! Invariant: every path of an archive is resolved by the kernel relative to a descriptor of that
//! directory (`openat2` with `RESOLVE_BENEATH` or `RESOLVE_IN_ROOT`); no path is joined and opened
//! by name, and nothing is written through a link. What comes out is bounded by [`Limits`].
//!
//! What it deliberately does not do: write zips or add to archives, guess a format by a file's name, decrypt,
//! check digests, or delete what a failed extraction has left behind (the directory is the caller's).
//!
//! ```no_run
//! # fn example() -> Result<(), archive::Error> {
//! let file = std::fs::File::open("app.tar.gz").unwrap();
//! let reader = archive::Compression::detect(file)?.reader()?;
//! let options = archive::Options::sandbox(archive::Limits { bytes: 1 << 30, entries: 100_000 }, None);
//! archive::unpack_tar(reader, std::path::Path::new("/var/lib/sandbox"), &options)?;
//! # Ok(())
//! # }
//! ```

mod compression;
mod error;
mod meta;
mod name;
mod options;
mod pack;
mod place;
mod read_ahead;
mod replace;
mod tar;
mod tree;
mod unpack;
mod xz;
mod zip;

pub use compression::{Compression, Decoder, Detected};
pub use error::{Error, Refusal};
pub use meta::EntryKind;
pub use options::{Limits, Options, Ownership, Unpacked, Whiteouts};
pub use pack::{PackError, PackOptions, Packed, pack_tar};
pub use place::Place;
pub use read_ahead::ReadAhead;
pub use unpack::{TarEntry, tar_entries, unpack_tar};
pub use xz::XzWriter;
pub use zip::unpack_zip;
