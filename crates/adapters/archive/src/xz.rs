//! Writing xz so that the same bytes come out whatever the machine, and reading xz by several threads.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::num::NonZeroU32;

use liblzma::stream::{Action, Check, MtStreamBuilder, Status, Stream};
use liblzma::write::XzEncoder;

use crate::compression::DICTIONARY_BYTES;

/// xz's own default: more takes twice the time for a few per cent.
const PRESET: u32 = 6;
/// Plain bytes of a block. Blocks are what threads share, in compressing and in decompressing; a match never
/// crosses one.
const BLOCK_BYTES: u64 = 8 << 20;
/// The most threads: one that compresses takes about 120 MB.
const MOST_THREADS: u32 = 16;
/// What threads that decompress may take together; beyond it there are fewer of them, down to one.
const THREADS_BYTES: u64 = 512 << 20;
/// Compressed bytes that are read at once.
const INPUT: usize = 64 << 10;

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

/// Reads xz by several threads, where it is made of blocks whose headers tell their sizes, as [`XzWriter`] makes
/// them. Other streams are read by one.
pub(crate) struct ParallelXz<R> {
    source: BufReader<R>,
    threads: u32,
    /// `None` between streams.
    stream: Option<Stream>,
}

impl<R: Read> ParallelXz<R> {
    pub(crate) fn new(source: R, threads: NonZeroU32) -> io::Result<ParallelXz<R>> {
        let threads = threads.get().min(MOST_THREADS);
        let stream = Some(decoder(threads)?);
        let source = BufReader::with_capacity(INPUT, source);
        Ok(ParallelXz { source, threads, stream })
    }

    /// Goes to the next stream. `false` if there is none.
    fn next_stream(&mut self) -> io::Result<bool> {
        let mut padding = 0u64;
        loop {
            let input = self.source.fill_buf()?;
            let zeros = input.iter().take_while(|byte| **byte == 0).count();
            let is_over = zeros == input.len() && zeros > 0;
            let is_end = input.is_empty();
            self.source.consume(zeros);
            padding += zeros as u64;
            if is_over {
                continue;
            }
            if !padding.is_multiple_of(4) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "corrupt padding after an xz stream"));
            }
            if !is_end {
                self.stream = Some(decoder(self.threads)?);
            }
            return Ok(!is_end);
        }
    }
}

fn decoder(threads: u32) -> io::Result<Stream> {
    let mut builder = MtStreamBuilder::new();
    builder.threads(threads).memlimit_threading(THREADS_BYTES).memlimit_stop(DICTIONARY_BYTES);
    Ok(builder.decoder()?)
}

impl<R: Read> Read for ParallelXz<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if self.stream.is_none() && !self.next_stream()? {
                return Ok(0);
            }
            let stream = self.stream.as_mut().expect("there is one, or the function has returned");
            let input = self.source.fill_buf()?;
            let is_end = input.is_empty();
            let action = if is_end { Action::Finish } else { Action::Run };
            let (before_in, before_out) = (stream.total_in(), stream.total_out());
            let status = stream.process(input, into, action)?;
            let consumed = usize::try_from(stream.total_in() - before_in).expect("it is part of the input");
            let read = usize::try_from(stream.total_out() - before_out).expect("it is part of the output");
            self.source.consume(consumed);
            if status == Status::StreamEnd {
                self.stream = None;
            }
            if read > 0 {
                return Ok(read);
            }
            if status != Status::StreamEnd && is_end {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "premature end of an xz stream"));
            }
        }
    }
}
