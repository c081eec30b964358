use std::io::Read as _;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api_pkgpanda::step::{ActiveSet, CURRENT, GENERATIONS, GenerationState, JOURNAL, LOCK, SET, STATE};
use host::{FileLock, LockError};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::Error;
use crate::tree::{Observer, Opened, Tree, names, open_below, write_all};

/// The longest file of our own that is read, in bytes.
const FILE_LIMIT: u64 = 64 << 20;
/// Added to a file's name while it is written.
const UNFINISHED: &str = ".unfinished";
/// The files at the top that are written this way, and the link that becomes `current`.
pub(crate) const UNFINISHED_FILES: [&str; 3] =
    ["install_progress.unfinished", "made.json.unfinished", "current.unfinished"];

/// A directory in which sets are activated. Reading needs no lock: the flip is one rename.
#[derive(Debug)]
pub struct Root {
    pub(crate) top: Opened,
    pub(crate) durable: bool,
    pub(crate) unit_directory: Option<PathBuf>,
}

/// A generation of the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number; later ones are greater.
    pub number: u64,
    /// What it consists of.
    pub set: ActiveSet,
    /// What became of it.
    pub state: GenerationState,
}

/// How a root is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootLayout {
    /// Nothing was ever activated.
    Empty,
    /// In generations, as this crate does.
    Generations,
    /// By the original: `active` is a directory. With the names in it and where they point, sorted.
    Original(Vec<(String, PathBuf)>),
    /// By the original, which left `active.old` or `active.new` behind and no `active`.
    OriginalBroken,
}

impl Root {
    /// Opens an existing directory.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { top: Opened::open(path)?, durable: true, unit_directory: None })
    }

    /// Opens a directory, and makes it and those above it first where they are not there.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub fn create(path: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(path).map_err(|source| Error::file("make directory", path, source))?;
        Self::open(path)
    }

    /// Without waiting for the disk: for trees that are built and thrown away.
    pub fn without_sync(mut self) -> Self {
        self.durable = false;
        self
    }

    /// Where links of units are, for repairs after which no file tells any more.
    pub fn with_units_in(mut self, directory: &Path) -> Self {
        self.unit_directory = Some(directory.to_owned());
        self
    }

    /// Where the root is.
    pub fn path(&self) -> &Path {
        &self.top.path
    }

    /// Whether a change was begun and not ended: it is under way, or has to be recovered.
    pub fn is_interrupted(&self) -> bool {
        rustix::fs::statat(&self.top.fd, JOURNAL, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// How the root is laid out.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn layout(&self) -> Result<RootLayout, Error> {
        let kind = |name: &str| match rustix::fs::statat(&self.top.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::file("look at", self.path().join(name), errno)),
        };
        if self.current_number()?.is_some() {
            return Ok(RootLayout::Generations);
        }
        if kind("active")? == Some(FileType::Directory) {
            return Ok(RootLayout::Original(self.active()?));
        }
        match (kind("active.old")?, kind("active.new")?) {
            (None, None) => Ok(RootLayout::Empty),
            _ => Ok(RootLayout::OriginalBroken),
        }
    }

    /// Names of active packages with where they lie, sorted, as the links in `active` tell: in any layout.
    ///
    /// # Errors
    /// A directory or link cannot be read. [`std::io::ErrorKind::NotFound`]: nothing is active.
    pub fn active(&self) -> Result<Vec<(String, PathBuf)>, Error> {
        let path = self.path().join("active");
        let failed = |errno| Error::file("read directory", &path, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.top.fd, "active", flags, Mode::empty()).map_err(failed)?;
        let mut active = Vec::new();
        for name in names(opened.as_fd()).map_err(failed)? {
            let text = name.to_string_lossy().into_owned();
            match rustix::fs::readlinkat(&opened, name.as_c_str(), Vec::new()) {
                Ok(target) => active.push((text, target.to_string_lossy().into_owned().into())),
                // Not a link: nothing that pkgpanda made.
                Err(Errno::INVAL) => {}
                Err(errno) => return Err(Error::file("read link", path.join(text), errno)),
            }
        }
        Ok(active)
    }

    /// The active generation's number.
    ///
    /// # Errors
    /// `current` is no link to a generation.
    pub fn current_number(&self) -> Result<Option<u64>, Error> {
        let path = || self.path().join(CURRENT);
        match rustix::fs::readlinkat(&self.top.fd, CURRENT, Vec::new()) {
            Ok(target) => {
                let text = target.to_string_lossy();
                let number =
                    text.strip_prefix(GENERATIONS).and_then(|rest| rest.strip_prefix('/')?.parse().ok());
                let reason = || Error::Damaged {
                    path: path(),
                    reason: format!("it points to {text}, which is no generation"),
                };
                number.map(Some).ok_or_else(reason)
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::file("read link", path(), errno)),
        }
    }

    /// The active generation.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn current(&self) -> Result<Option<Generation>, Error> {
        self.current_number()?.map(|number| self.generation(number)).transpose()
    }

    /// The generation that is returned to if the active one is no good.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn last_good(&self) -> Result<Option<Generation>, Error> {
        let Some(current) = self.current_number()? else { return Ok(None) };
        self.state(current)?.last_good.map(|number| self.generation(number)).transpose()
    }

    /// A generation by its number.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn generation(&self, number: u64) -> Result<Generation, Error> {
        let path = format!("{GENERATIONS}/{number}/{SET}");
        let text = self.read(&path)?.ok_or_else(|| self.damaged(&path, "it is not there"))?;
        let set: ActiveSet =
            serde_json::from_slice(&text).map_err(|error| self.damaged(&path, &error.to_string()))?;
        if set.format != ActiveSet::FORMAT {
            let reason = format!("its format is {}, known is {}", set.format, ActiveSet::FORMAT);
            return Err(self.damaged(&path, &reason));
        }
        Ok(Generation { number, set, state: self.state(number)? })
    }

    /// Numbers of all generations that have a directory, sorted.
    pub(crate) fn generations(&self) -> Result<Vec<u64>, Error> {
        let failed = |errno| Error::file("read directory", self.path().join(GENERATIONS), errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match rustix::fs::openat(&self.top.fd, GENERATIONS, flags, Mode::empty()) {
            Ok(opened) => opened,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(errno) => return Err(failed(errno)),
        };
        let names = names(opened.as_fd()).map_err(failed)?;
        let mut numbers: Vec<u64> =
            names.iter().filter_map(|name| name.to_str().ok()?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The state of a generation; the first one's if it has none.
    pub(crate) fn state(&self, number: u64) -> Result<GenerationState, Error> {
        let path = format!("{GENERATIONS}/{number}/{STATE}");
        let Some(text) = self.read(&path)? else { return Ok(GenerationState::default()) };
        serde_json::from_slice(&text).map_err(|error| self.damaged(&path, &error.to_string()))
    }

    pub(crate) fn damaged(&self, path: &str, reason: &str) -> Error {
        Error::Damaged { path: self.path().join(path), reason: reason.to_owned() }
    }

    /// The bytes of a file of ours, if it is there.
    pub(crate) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let failed = |source: std::io::Error| Error::file("read", self.path().join(path), source);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.top.fd, path, flags, Mode::empty()) {
            Ok(file) => std::fs::File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno.into())),
        };
        let mut bytes =
            Vec::with_capacity(file.metadata().map_or(0, |meta| meta.len().min(FILE_LIMIT)) as usize + 1);
        let read = file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
        match read as u64 > FILE_LIMIT {
            true => Err(self.damaged(path, "it is longer than any such file")),
            false => Ok(Some(bytes)),
        }
    }

    /// Takes the lock of all who write, waiting for it at most `wait`. `waiting` is told once who has it.
    ///
    /// # Errors
    /// [`Error::Busy`] after that time; [`Error::File`] if there can be no lock file.
    pub fn lock(&self, wait: Duration, waiting: impl FnOnce(Option<u32>)) -> Result<Locked<'_>, Error> {
        match FileLock::take_within(&self.path().join(LOCK), wait, waiting) {
            Ok(lock) => Ok(Locked { root: self, observer: None, _lock: lock }),
            Err(LockError::Held { owner, .. }) => {
                Err(Error::Busy { path: self.path().to_owned(), owner, waited: wait })
            }
            Err(LockError::Lock { path, source }) => Err(Error::file("lock", path, source)),
        }
    }
}

/// A root that nobody else changes.
pub struct Locked<'a> {
    pub(crate) root: &'a Root,
    pub(crate) observer: Option<Box<Observer<'a>>>,
    _lock: FileLock,
}

impl std::fmt::Debug for Locked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Locked").field("root", self.root).finish_non_exhaustive()
    }
}

impl<'a> Locked<'a> {
    /// Has every single change told as it is made, in a few words.
    pub fn observed(mut self, observer: impl FnMut(std::fmt::Arguments<'_>) + 'a) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// The root.
    pub fn root(&self) -> &'a Root {
        self.root
    }

    pub(crate) fn done(&mut self, what: std::fmt::Arguments<'_>) {
        if let Some(observer) = &mut self.observer {
            observer(what);
        }
    }

    /// Marks the active generation as one whose checks passed, or did not.
    ///
    /// # Errors
    /// Nothing is active, or its state cannot be written.
    pub fn set_proven(&mut self, proven: bool) -> Result<(), Error> {
        let Some(number) = self.root.current_number()? else {
            return Err(self.root.damaged(CURRENT, "nothing is active"));
        };
        let state = GenerationState { proven, ..self.root.state(number)? };
        self.write_state(number, state)
    }

    /// Gives the last good generation up, and says which one it was.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn drop_last_good(&mut self) -> Result<Option<u64>, Error> {
        let Some(number) = self.root.current_number()? else { return Ok(None) };
        let state = self.root.state(number)?;
        let Some(last_good) = state.last_good else { return Ok(None) };
        self.write_state(number, GenerationState { last_good: None, ..state })?;
        self.remove_generations(&[number])?;
        Ok(Some(last_good))
    }

    fn write_state(&mut self, number: u64, state: GenerationState) -> Result<(), Error> {
        let text = serde_json::to_string(&state).expect("numbers and booleans are JSON");
        self.replace(&format!("{GENERATIONS}/{number}/{STATE}"), text.as_bytes())
    }

    /// Removes all generations but these.
    pub(crate) fn remove_generations(&mut self, kept: &[u64]) -> Result<(), Error> {
        for number in self.root.generations()?.into_iter().filter(|number| !kept.contains(number)) {
            let path = self.root.path().join(GENERATIONS).join(number.to_string());
            ::host::remove_tree(&path).map_err(|source| Error::file("remove", path, source))?;
            self.done(format_args!("remove generation {number}"));
        }
        Ok(())
    }

    /// Writes a file of ours as a whole: readers see the former one or this, after a crash, too.
    pub(crate) fn replace(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let top = &self.root.top;
        let (directory, name) = crate::tree::split(path);
        let unfinished = format!("{name}{UNFINISHED}");
        let root = self.root;
        let failed = |errno: Errno| Error::file("write", root.path().join(path), errno);
        let opened = open_below(top.fd.as_fd(), directory).map_err(failed)?;
        let write = || {
            let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&opened, &unfinished, flags, Mode::from_raw_mode(0o644))?;
            write_all(file.as_fd(), bytes)?;
            if self.root.durable { rustix::fs::fsync(&file) } else { Ok(()) }
        };
        let written = write();
        self.done(format_args!("write {unfinished}"));
        let renamed = written.and_then(|()| rustix::fs::renameat(&opened, &unfinished, &opened, name));
        if let Err(errno) = renamed {
            let _ = rustix::fs::unlinkat(&opened, &unfinished, AtFlags::empty());
            return Err(failed(errno));
        }
        if directory.is_empty() {
            self.sync_top()?;
        }
        self.done(format_args!("write {path}"));
        Ok(())
    }

    /// Waits until what was renamed in the root's own directory is on the disk.
    pub(crate) fn sync_top(&self) -> Result<(), Error> {
        match self.root.durable {
            true => rustix::fs::fsync(&self.root.top.fd)
                .map_err(|errno| Error::file("write to disk", self.root.path(), errno)),
            false => Ok(()),
        }
    }

    /// Waits until all that was changed is on the disk: one call instead of one for each of thousands of links.
    pub(crate) fn sync(&self, units: Option<&Opened>) -> Result<(), Error> {
        if !self.root.durable {
            return Ok(());
        }
        for opened in [Some(&self.root.top), units].into_iter().flatten() {
            rustix::fs::syncfs(&opened.fd)
                .map_err(|errno| Error::file("write to disk", &opened.path, errno))?;
        }
        Ok(())
    }

    /// Where steps are carried out.
    pub(crate) fn tree(&mut self, units: Option<Opened>, generation: Option<Opened>) -> Tree<'_> {
        Tree {
            root: &self.root.top,
            units,
            generation,
            observer: self.observer.as_mut().map(|observer| &mut **observer as &mut Observer<'_>),
        }
    }
}
