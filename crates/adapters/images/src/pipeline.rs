//! From the bytes of a layer as they are stored to a directory, in one go: one thread hashes and
//! decompresses, another hashes again and writes files.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use archive::{Compression, Options, Unpacked};
use http_kit::Bytes;

use crate::Digest;
use crate::digest::Hasher;
use crate::meter::LayerMeter;

/// Decompressed bytes that go from thread to thread at once.
const BLOCK: usize = 256 << 10;
/// Blocks between the threads.
const BLOCKS: usize = 8;
/// Of a blob that cannot be unpacked so much more is read to see whether it is the right blob at all.
const REST: u64 = 64 << 20;

/// What a layer is expected to be.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Of the stored bytes, where that is known.
    pub(crate) blob: Option<Digest>,
    /// Of the unpacked tar.
    pub(crate) diff_id: Digest,
}

/// Why a layer was not unpacked.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The stored bytes are others.
    Blob { expected: Digest, found: Digest },
    /// The tar is another.
    Diff { expected: Digest, found: Digest },
    /// It is not one that is unpacked here, in words.
    Refused(String),
    /// No room.
    DiskFull,
    /// The source broke off; whoever feeds it knows why.
    Source(io::Error),
}

/// Unpacks what `source` gives into `tree` and verifies it. Blocks, in two threads.
pub(crate) fn unpack(
    source: impl Read + Send + 'static,
    expected: &Expected,
    tree: &Path,
    options: &Options,
) -> Result<Unpacked, Trouble> {
    let (full, blocks) = sync_channel(BLOCKS);
    let (empty, returned) = channel();
    let hasher = expected.blob.as_ref().map(Digest::hasher);
    let reader = std::thread::Builder::new()
        .name("image-layer".to_owned())
        .spawn(move || feed(Hashed::new(source, hasher), &full, &returned))
        .map_err(Trouble::Source)?;
    let blocks = Blocks { blocks, empty, block: Vec::new(), at: 0 };
    let unpacked = extract(blocks, &expected.diff_id, tree, options);
    // It panics for no input; if it did, that is this thread's panic too.
    let (blob, source) = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    if let Some(error) = source {
        return Err(Trouble::Source(error));
    }
    if let Some((expected, found)) = expected.blob.as_ref().zip(blob)
        && *expected != found
    {
        return Err(Trouble::Blob { expected: expected.clone(), found });
    }
    unpacked
}

/// The second half: hash and write.
fn extract(blocks: Blocks, diff_id: &Digest, tree: &Path, options: &Options) -> Result<Unpacked, Trouble> {
    let mut hashed = Hashed::new(blocks, Some(diff_id.hasher()));
    let unpacked = archive::unpack_tar(&mut hashed, tree, options).map_err(|error| {
        if error.is_no_space() { Trouble::DiskFull } else { Trouble::Refused(base::with_causes(&error)) }
    })?;
    // What follows the end of the tar is hashed as well, but is no way to keep a machine busy.
    let limit = options.limits.bytes.saturating_sub(unpacked.bytes).max(1 << 20);
    let drained = io::copy(&mut hashed.by_ref().take(limit), &mut io::sink());
    match drained.map_err(|error| Trouble::Refused(error.to_string()))? {
        rest if rest == limit => {
            return Err(Trouble::Refused(format!("more than {limit} bytes follow the end of its tar")));
        }
        _ => {}
    }
    let found = hashed.finish().expect("it was given a hasher");
    if found == *diff_id { Ok(unpacked) } else { Err(Trouble::Diff { expected: diff_id.clone(), found }) }
}

/// The first half: hash and decompress. Returns the digest of the whole blob, if it could be read to its
/// end, and the error of the source.
fn feed(
    mut source: Hashed<impl Read>,
    full: &SyncSender<io::Result<Vec<u8>>>,
    returned: &Receiver<Vec<u8>>,
) -> (Option<Digest>, Option<io::Error>) {
    let decompressed = decompress(&mut source, full, returned);
    if let Err(error) = decompressed
        && source.failed.is_none()
    {
        // The receiver may be gone already: then it has an error of its own.
        let _ = full.send(Err(error));
    }
    let rest = io::copy(&mut source.by_ref().take(REST), &mut io::sink());
    let whole = matches!(rest, Ok(rest) if rest < REST);
    let failed = source.failed.take();
    if let Some(error) = &failed {
        let _ = full.send(Err(io::Error::new(error.kind(), error.to_string())));
    }
    (source.finish().filter(|_| whole), failed)
}

fn decompress(
    source: &mut Hashed<impl Read>,
    full: &SyncSender<io::Result<Vec<u8>>>,
    returned: &Receiver<Vec<u8>>,
) -> io::Result<()> {
    let other = |error: archive::Error| io::Error::other(base::with_causes(&error));
    let detected = Compression::detect(source).map_err(other)?;
    match detected.compression() {
        Compression::None | Compression::Gzip | Compression::Zstd => {}
        odd => return Err(io::Error::other(format!("layers are compressed with gzip or zstd, not {odd:?}"))),
    }
    let mut reader = detected.reader().map_err(other)?;
    loop {
        let mut block = returned.try_recv().unwrap_or_else(|_| vec![0; BLOCK]);
        block.resize(BLOCK, 0);
        let mut length = 0;
        while length < BLOCK {
            match reader.read(&mut block[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if length == 0 {
            return Ok(());
        }
        block.truncate(length);
        if full.send(Ok(block)).is_err() {
            // Unpacking has ended early, for a reason that it tells itself.
            return Ok(());
        }
    }
}

/// What comes out of the other thread.
struct Blocks {
    blocks: Receiver<io::Result<Vec<u8>>>,
    /// Used up blocks go back.
    empty: Sender<Vec<u8>>,
    block: Vec<u8>,
    at: usize,
}

impl Read for Blocks {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() {
            let Ok(next) = self.blocks.recv() else { return Ok(0) };
            let used = std::mem::replace(&mut self.block, next?);
            self.at = 0;
            if used.capacity() >= BLOCK {
                let _ = self.empty.send(used);
            }
        }
        let count = into.len().min(self.block.len() - self.at);
        into[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// A reader whose bytes are hashed as they are read; it remembers how its source failed.
struct Hashed<R> {
    source: R,
    hasher: Option<Hasher>,
    failed: Option<io::Error>,
}

impl<R: Read> Hashed<R> {
    fn new(source: R, hasher: Option<Hasher>) -> Hashed<R> {
        Hashed { source, hasher, failed: None }
    }

    fn finish(self) -> Option<Digest> {
        self.hasher.map(Hasher::finish)
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.source.read(into) {
            Ok(count) => {
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(&into[..count]);
                }
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                self.failed.get_or_insert(error);
                Err(told)
            }
        }
    }
}

/// What a download feeds to a pipeline.
pub(crate) enum Piece {
    Bytes(Bytes),
    /// All was sent. Without it the download broke off or was given up.
    End,
}

/// The blocking end of a download.
pub(crate) struct Pieces {
    pieces: tokio::sync::mpsc::Receiver<Piece>,
    piece: Bytes,
    ended: bool,
}

impl Pieces {
    pub(crate) fn new(pieces: tokio::sync::mpsc::Receiver<Piece>) -> Pieces {
        Pieces { pieces, piece: Bytes::new(), ended: false }
    }
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            if self.ended {
                return Ok(0);
            }
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(piece)) => self.piece = piece,
                Some(Piece::End) => self.ended = true,
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the download ended early")),
            }
        }
        let count = into.len().min(self.piece.len());
        into[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// Counts what is read of a file.
pub(crate) struct Metered<R> {
    pub(crate) source: R,
    pub(crate) meter: Arc<LayerMeter>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(into)?;
        self.meter.add(count as u64);
        Ok(count)
    }
}
