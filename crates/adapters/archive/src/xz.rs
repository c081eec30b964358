//! Writing xz so that the same bytes come out whatever the machine, and reading xz by several threads.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::num::NonZeroU32;

use liblzma::stream::{Action, Check, Filters, LzmaOptions, MatchFinder, MtStreamBuilder, Status, Stream};
use liblzma::write::XzEncoder;

use crate::compression::DICTIONARY_BYTES;

/// xz's own default: more takes twice the time for a few per cent.
const PRESET: u32 = 6;
/// Plain bytes of a block. Blocks are what threads share, in compressing and in decompressing; a match never
/// crosses one.
const BLOCK_BYTES: u64 = 8 << 20;
/// What is at most as long is compressed as one piece.
const SHORT: usize = 512 << 10;
/// For that, with chains in place of trees to find matches in: two thirds of the time, at half a per cent more.
const SHORT_PRESET: u32 = 5;
/// What is at most as long takes longer to look through than to write.
const TINY: usize = 64 << 10;
/// For that: a quarter of the time, and some hundred bytes more.
const TINY_PRESET: u32 = 3;
/// The shortest dictionary that there is.
const LEAST_DICTIONARY: usize = 4096;
/// The most threads: one that compresses takes about 120 MB.
const MOST_THREADS: u32 = 16;
/// What threads that decompress may take together; beyond it there are fewer of them, down to one.
const THREADS_BYTES: u64 = 512 << 20;
/// Compressed bytes that are read at once.
const INPUT: usize = 64 << 10;

/// Compresses what is written to it as xz. What comes out depends on what goes in, and on nothing else: not on the
/// number of threads, nor on how the bytes are cut into writes.
pub struct XzWriter<W: Write> {
    state: State<W>,
    threads: u32,
}

enum State<W: Write> {
    /// What is written so far is short: no encoder is worth its memory yet.
    Short {
        to: W,
        plain: Vec<u8>,
    },
    Blocks(XzEncoder<W>),
    /// There was no memory for an encoder.
    Failed,
}

impl<W: Write> XzWriter<W> {
    /// Compresses to `to` with so many threads, at most 16. What is shorter than half a megabyte takes no thread and
    /// only the memory that its length demands: setting the threads up would take longer than compressing.
    #[must_use]
    pub fn new(to: W, threads: NonZeroU32) -> XzWriter<W> {
        let state = State::Short { to, plain: Vec::new() };
        XzWriter { state, threads: threads.get().min(MOST_THREADS) }
    }

    /// Writes what is left, and gives back what was written to. Without it the stream has no end.
    ///
    /// # Errors
    /// From what is written to, or when there is no memory to compress with.
    pub fn finish(self) -> io::Result<W> {
        match self.state {
            State::Short { to, plain } => {
                let mut encoder = XzEncoder::new_stream(to, short_encoder(plain.len())?);
                encoder.write_all(&plain)?;
                encoder.finish()
            }
            State::Blocks(encoder) => encoder.finish(),
            State::Failed => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }

    /// From the first bytes to blocks.
    fn begin_blocks(&mut self) -> io::Result<()> {
        let State::Short { to, plain } = std::mem::replace(&mut self.state, State::Failed) else {
            return Ok(());
        };
        let stream = MtStreamBuilder::new()
            .preset(PRESET)
            .block_size(BLOCK_BYTES)
            .check(Check::Crc64)
            .threads(self.threads)
            .encoder()?;
        let mut encoder = XzEncoder::new_stream(to, stream);
        encoder.write_all(&plain)?;
        self.state = State::Blocks(encoder);
        Ok(())
    }
}

/// An encoder whose dictionary is as long as what is compressed.
fn short_encoder(bytes: usize) -> io::Result<Stream> {
    let dictionary = bytes.next_power_of_two().max(LEAST_DICTIONARY);
    let preset = if bytes <= TINY { TINY_PRESET } else { SHORT_PRESET };
    let mut options = LzmaOptions::new_preset(preset)?;
    options.match_finder(MatchFinder::HashChain4);
    options.dict_size(u32::try_from(dictionary).expect("what is short is shorter than 4 GB"));
    Ok(Stream::new_stream_encoder(Filters::new().lzma2(&options), Check::Crc64)?)
}

impl<W: Write> Write for XzWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.state {
            State::Short { plain, .. } if plain.len() + bytes.len() <= SHORT => {
                plain.extend_from_slice(bytes);
                return Ok(bytes.len());
            }
            State::Short { .. } => self.begin_blocks()?,
            State::Blocks(_) | State::Failed => {}
        }
        match &mut self.state {
            State::Blocks(encoder) => encoder.write(bytes),
            _ => Err(io::ErrorKind::OutOfMemory.into()),
        }
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
