//! Writing xz so that the same bytes come out whatever the machine.

use std::io::{self, Write};
use std::num::NonZeroU32;

use liblzma::stream::{Check, MtStreamBuilder};
use liblzma::write::XzEncoder;

/// xz's own default: more takes twice the time for a few per cent.
const PRESET: u32 = 6;
/// Plain bytes of a block. Blocks are what threads share, in compressing and in decompressing; a match never
/// crosses one.
const BLOCK_BYTES: u64 = 16 << 20;
/// The most threads: each takes about 110 MB.
const MOST_THREADS: u32 = 16;

/// Compresses what is written to it as xz. What comes out depends on what goes in, and on nothing else: not on the
/// number of threads, nor on how the bytes are cut into writes.
pub struct XzWriter<W: Write>(XzEncoder<W>);

impl<W: Write> XzWriter<W> {
    /// Compresses to `to` with so many threads, at most 16.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn new(to: W, threads: NonZeroU32) -> io::Result<XzWriter<W>> {
        let stream = MtStreamBuilder::new()
            .preset(PRESET)
            .block_size(BLOCK_BYTES)
            .check(Check::Crc64)
            .threads(threads.get().min(MOST_THREADS))
            .encoder()?;
        Ok(XzWriter(XzEncoder::new_stream(to, stream)))
    }

    /// Writes what is left, and gives back what was written to. Without it the stream has no end.
    ///
    /// # Errors
    /// From what is written to.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for XzWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// Flushing a stream of blocks would end a block and change what comes out: only [`XzWriter::finish`] ends it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
