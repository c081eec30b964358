//! From a file that is here into a sandbox: moved, copied, extracted. Blocks.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use archive::{Compression, Limits, Options, Place, ReadAhead};
use sha2::{Digest, Sha256};

use crate::error::Problem;
use crate::part::{Part, hexadecimal};
use crate::source::{Extract, Source};
use crate::space;
use crate::uri::Step;

/// Bytes that are copied before anybody is asked or told.
const CHUNK: u64 = 8 << 20;
/// Bytes that are hashed at once.
const BUFFER: usize = 256 << 10;
/// The most entries of an archive.
const ENTRIES: u64 = 2_000_000;
/// An archive of more bytes is decompressed by a thread of its own.
const LARGE: u64 = 1 << 20;

/// Where bytes come from.
#[derive(Debug)]
pub(crate) enum From {
    /// A download that nobody else needs.
    Part(Part),
    /// The cache. An archive is not copied, only what is in it.
    Cache(File),
    /// A file of this machine; the same if it is cached, so to speak.
    Local { file: File, cached: bool },
}

/// A delivery.
pub(crate) struct Delivery<'a> {
    pub(crate) source: &'a Source,
    pub(crate) sandbox: &'a Path,
    pub(crate) owner: Option<(u32, u32)>,
    /// Bytes of the disk that stay free.
    pub(crate) reserve: u64,
    /// Set when nobody wants it any more.
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) progress: Arc<dyn Fn(Step, u64, Option<u64>) + Send + Sync>,
}

impl Delivery<'_> {
    /// Delivers.
    ///
    /// # Errors
    /// What the user has to know. A file that was begun is removed; what an archive brought stays.
    pub(crate) fn run(&self, from: From) -> Result<(), Problem> {
        if let (From::Local { file, .. }, Some(expected)) = (&from, &self.source.sha256) {
            let found = self.hash(file).map_err(|source| self.store("read the file", source))?;
            if found != *expected {
                return Err(Problem::Sha256 { expected: expected.clone(), found });
            }
        }
        if let (From::Cache(file) | From::Local { file, cached: true }, Some(extract)) =
            (&from, self.source.extract)
        {
            return self
                .extract(file.try_clone().map_err(|source| self.store("open the file", source))?, extract);
        }
        let place = self.place(&self.source.output)?;
        match from {
            From::Part(part) => self.take(&part, &place)?,
            From::Cache(file) => self.copy(file, &place, 0o644)?,
            From::Local { file, .. } => {
                // As `cp` would, whose file Mesos' fetcher gives to the task.
                let mode = file.metadata().map_or(0o644, |meta| meta.mode() & 0o755 | 0o600);
                self.copy(file, &place, mode)?;
            }
        }
        match self.source.extract {
            None => Ok(()),
            Some(extract) => {
                let file = place.open().map_err(|source| self.store("open the archive", source))?;
                self.extract(file, extract)
            }
        }
    }

    fn place(&self, name: &str) -> Result<Place, Problem> {
        let options = Options::sandbox(Limits { bytes: 0, entries: 0 }, self.owner);
        Place::find(self.sandbox, OsStr::new(name), &options).map_err(|error| Problem::Place { error })
    }

    fn take(&self, part: &Part, place: &Place) -> Result<(), Problem> {
        let failed = |source| self.store("move the file into the sandbox", source);
        let file = File::open(part.path()).map_err(failed)?;
        self.finish(&file, 0o644).map_err(failed)?;
        match place.take(part.path()) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => self.copy(file, place, 0o644),
            other => other.map_err(failed),
        }
    }

    fn copy(&self, mut from: File, place: &Place, mode: u32) -> Result<(), Problem> {
        let failed = |source| self.store("copy the file into the sandbox", source);
        let total = from.metadata().map_err(failed)?.len();
        let mut into = place.create().map_err(failed)?;
        let result = self
            .copy_all(&mut from, &mut into, total)
            .and_then(|()| self.finish(&into, mode).map_err(failed));
        if result.is_err() {
            // It was just made; whether it can be removed changes nothing.
            let _ = place.remove();
        }
        result
    }

    fn copy_all(&self, from: &mut File, into: &mut File, total: u64) -> Result<(), Problem> {
        let failed = |source| self.store("copy the file into the sandbox", source);
        space::check(&*into, self.reserve, Some(total), self.sandbox)?;
        from.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut done = 0;
        loop {
            self.go_on().map_err(failed)?;
            (self.progress)(Step::Copy, done, Some(total));
            // The kernel copies, and shares the blocks where it can.
            let copied = io::copy(&mut Read::by_ref(from).take(CHUNK), into).map_err(failed)?;
            if copied == 0 {
                return Ok(());
            }
            done += copied;
        }
    }

    /// Gives the file its mode and its owner.
    fn finish(&self, file: &File, mode: u32) -> io::Result<()> {
        let mode = if self.source.executable { 0o755 } else { mode };
        file.set_permissions(Permissions::from_mode(mode))?;
        if let Some((uid, gid)) = self.owner {
            let meta = file.metadata()?;
            if (meta.uid(), meta.gid()) != (uid, gid) {
                fchown(file, Some(uid), Some(gid))?;
            }
        }
        Ok(())
    }

    fn extract(&self, mut file: File, extract: Extract) -> Result<(), Problem> {
        let failed = |source| self.store("read the archive", source);
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let total = file.metadata().map_err(failed)?.len();
        let sandbox = File::open(self.sandbox).map_err(|source| self.store("open the sandbox", source))?;
        let free = space::free(&sandbox, self.reserve).unwrap_or(u64::MAX);
        let options = Options::sandbox(Limits { bytes: free, entries: ENTRIES }, self.owner);
        let reader = Watched {
            file,
            done: 0,
            told: 0,
            total,
            cancelled: Arc::clone(&self.cancelled),
            progress: Arc::clone(&self.progress),
        };
        (self.progress)(Step::Extract, 0, Some(total));
        let result = match extract {
            Extract::Zip => archive::unpack_zip(reader, self.sandbox, &options).map(drop),
            Extract::Tar => self.unpack_tar(reader, &options, total),
            Extract::File(extension) => return self.decompress(reader, extension, free),
        };
        result.map_err(|error| match error {
            archive::Error::TooLarge { .. } => self.no_space(free),
            error if error.is_no_space() => self.no_space(space::free(&sandbox, 0).unwrap_or(0)),
            error => Problem::Extract { error },
        })
    }

    fn unpack_tar(&self, reader: Watched, options: &Options, total: u64) -> Result<(), archive::Error> {
        let detected = Compression::detect(reader)?;
        let packed = detected.compression() != Compression::None;
        let reader = detected.reader()?;
        if packed && total > LARGE {
            let reader = ReadAhead::new(reader).map_err(archive::Error::Read)?;
            archive::unpack_tar(reader, self.sandbox, options)?;
        } else {
            archive::unpack_tar(reader, self.sandbox, options)?;
        }
        Ok(())
    }

    /// One compressed file: it is decompressed beside where it would be, at the top of the sandbox.
    fn decompress(&self, reader: Watched, extension: usize, free: u64) -> Result<(), Problem> {
        let name = self.source.output.rsplit('/').next().unwrap_or_default();
        let place = self.place(&name[..name.len() - extension])?;
        let failed = |source| self.store("write the decompressed file", source);
        let detected = Compression::detect(reader).map_err(|error| Problem::Extract { error })?;
        if detected.compression() == Compression::None {
            let problem = "it is not compressed, though its name says so".to_owned();
            return Err(Problem::Extract { error: archive::Error::Malformed { offset: 0, problem } });
        }
        let mut reader =
            detected.reader().map_err(|error| Problem::Extract { error })?.take(free.saturating_add(1));
        let mut into = place.create().map_err(failed)?;
        let mut buffer = vec![0; BUFFER];
        let result = loop {
            let length = match reader.read(&mut buffer) {
                Ok(0) if reader.limit() == 0 => break Err(self.no_space(free)),
                Ok(0) => break self.finish(&into, 0o644).map_err(failed),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => break Err(Problem::Extract { error: archive::Error::Read(error) }),
            };
            if let Err(error) = io::Write::write_all(&mut into, &buffer[..length]) {
                break Err(failed(error));
            }
        };
        if result.is_err() {
            let _ = place.remove();
        }
        result
    }

    fn hash(&self, mut file: &File) -> io::Result<String> {
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
        loop {
            self.go_on()?;
            match file.read(&mut buffer) {
                Ok(0) => return Ok(hexadecimal(&hash.finalize())),
                Ok(length) => hash.update(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn go_on(&self) -> io::Result<()> {
        if self.cancelled.load(Ordering::Relaxed) { Err(io::Error::other("cancelled")) } else { Ok(()) }
    }

    fn no_space(&self, free: u64) -> Problem {
        Problem::NoSpace { needed: None, free, directory: self.sandbox.to_owned() }
    }

    fn store(&self, attempt: &str, source: io::Error) -> Problem {
        Problem::Store { attempt: attempt.to_owned(), source }
    }
}

/// A file that is read for somebody who may lose interest.
struct Watched {
    file: File,
    done: u64,
    told: u64,
    total: u64,
    cancelled: Arc<AtomicBool>,
    progress: Arc<dyn Fn(Step, u64, Option<u64>) + Send + Sync>,
}

impl Read for Watched {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        let length = self.file.read(into)?;
        self.done += length as u64;
        if self.done - self.told >= CHUNK / 8 || (length == 0 && self.told != self.done) {
            self.told = self.done;
            (self.progress)(Step::Extract, self.done.min(self.total), Some(self.total));
        }
        Ok(length)
    }
}

impl Seek for Watched {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

/// That the sandbox is a directory, before anything is downloaded for it.
///
/// # Errors
/// [`Problem::Store`].
pub(crate) fn check_sandbox(sandbox: &Path) -> Result<(), Problem> {
    let found = fs::metadata(sandbox)
        .and_then(|meta| if meta.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) });
    found.map_err(|source| Problem::Store {
        attempt: format!("open the sandbox {}", sandbox.display()),
        source,
    })
}
