use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use agent_core::{Agent, Framework};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::FilesError;
use crate::sandbox::sandbox_path;

/// The name under which the agent's log is read (Mesos: `AGENT_LOG_VIRTUAL_PATH`).
const LOG: &str = "/slave/log";

/// Which paths mean something.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The agent's directory, absolute.
    dir: PathBuf,
    log: Option<PathBuf>,
}

/// A file or directory that exists and may be shown.
#[derive(Debug)]
pub(crate) struct Found {
    /// The sandbox (or the log) that it must not leave; without links.
    base: PathBuf,
    /// Below `base`; empty for the base itself. Without links when it was looked at.
    rest: PathBuf,
}

impl Files {
    pub(crate) fn new(dir: PathBuf, log: Option<PathBuf>) -> Files {
        Files { dir, log }
    }

    /// Finds what a path means.
    pub(crate) fn resolve(&self, path: &str) -> Result<Found, FilesError> {
        let trimmed = path.trim_end_matches('/');
        if trimmed == LOG {
            let log = self.log.as_deref().ok_or(FilesError::NotFound)?;
            return Ok(Found { base: canonical(log)?, rest: PathBuf::new() });
        }
        let (base, rest) = self.split(Path::new(trimmed)).ok_or(FilesError::NotFound)?;
        let base = canonical(&base)?;
        let target = canonical(&base.join(&rest))?;
        match target.strip_prefix(&base) {
            Ok(rest) => Ok(Found { rest: rest.to_owned(), base }),
            Err(_) => {
                let wanted = base.join(rest);
                Err(FilesError::Invalid(format!("'{}' is inaccessible.\n", wanted.display())))
            }
        }
    }

    /// The sandbox that a path begins with, and what comes after.
    fn split(&self, path: &Path) -> Option<(PathBuf, PathBuf)> {
        /// `<agent>/frameworks/<fw>/executors/<ex>/runs/<container>`
        const REAL: [Option<&str>; 7] =
            [None, Some("frameworks"), None, Some("executors"), None, Some("runs"), None];
        const VIRTUAL: &[Option<&str>] = REAL.split_at(1).1;
        let slaves = self.dir.join("slaves");
        let (root, below, shape) = match path.strip_prefix(&slaves) {
            Ok(below) => (slaves, below, &REAL[..]),
            // `runs/latest` is a link on disk, so the names lead there as they are.
            Err(_) => (slaves.join(self.latest_agent()?), path.strip_prefix("/").unwrap_or(path), VIRTUAL),
        };
        let mut parts = below.components();
        let mut base = root;
        for expected in shape {
            let Some(Component::Normal(name)) = parts.next() else { return None };
            if expected.is_some_and(|expected| name != expected) {
                return None;
            }
            base.push(name);
        }
        Some((base, parts.as_path().to_owned()))
    }

    fn latest_agent(&self) -> Option<PathBuf> {
        fs::read_link(self.dir.join("meta/slaves/latest")).ok()
    }

    /// Virtual paths of living executors and where they lead.
    pub(crate) fn attached(&self, agent: &Agent) -> Vec<(String, String)> {
        let Some(agent_id) = agent.id() else { return Vec::new() };
        let mut all = Vec::new();
        for executor in agent.frameworks().flat_map(Framework::executors) {
            let sandbox = sandbox_path(&self.dir, agent_id, executor.run());
            let text = sandbox.display().to_string();
            let latest = sandbox.with_file_name("latest").display().to_string();
            let (framework, id) = (executor.framework_id(), executor.id());
            all.push((format!("/frameworks/{framework}/executors/{id}/runs/latest"), text.clone()));
            all.push((text.clone(), text.clone()));
            all.push((latest, text));
        }
        if let Some(log) = &self.log {
            all.push((LOG.to_owned(), log.display().to_string()));
        }
        all.sort();
        all
    }
}

/// The path without links.
fn canonical(path: &Path) -> Result<PathBuf, FilesError> {
    fs::canonicalize(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FilesError::NotFound,
        _ => FilesError::Invalid(format!(
            "Failed to determine canonical path of '{}': {error}.\n",
            path.display()
        )),
    })
}

impl Found {
    /// The last part of its path.
    pub(super) fn name(&self) -> String {
        let path = if self.rest.as_os_str().is_empty() { &self.base } else { &self.rest };
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The directory that nothing shown may leave.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    pub(super) fn path(&self) -> PathBuf {
        if self.rest.as_os_str().is_empty() { self.base.clone() } else { self.base.join(&self.rest) }
    }

    /// Opens a regular file and tells its size. `attempt` is what for, for the error.
    pub(super) fn open(&self, attempt: &str) -> Result<(File, u64), FilesError> {
        let file = self.open_beneath(OFlags::empty()).map_err(|error| match error {
            // The latter two: a link was put there since the path was looked at.
            Errno::NOENT | Errno::LOOP | Errno::XDEV => FilesError::NotFound,
            _ => {
                FilesError::Failed(format!("Failed to open file at '{}': {error}.\n", self.path().display()))
            }
        })?;
        let data = file.metadata().map_err(|error| FilesError::Failed(format!("{error}.\n")))?;
        if data.is_dir() {
            return Err(FilesError::Invalid(format!("Cannot {attempt} a directory.\n")));
        }
        if !data.is_file() {
            // A pipe of the task's would hold the reader for ever.
            return Err(FilesError::Invalid(format!("Cannot {attempt} what is not a regular file.\n")));
        }
        Ok((file, data.len()))
    }

    /// Opens a directory, to list it; an error if it is none (any more).
    pub(super) fn open_directory(&self) -> Result<File, Errno> {
        self.open_beneath(OFlags::DIRECTORY)
    }

    /// Opens without following any link: between the look at the path and now the task may have put one
    /// there, and the agent can read what the task cannot.
    fn open_beneath(&self, more: OFlags) -> Result<File, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | more;
        if self.rest.as_os_str().is_empty() {
            return Ok(rustix::fs::open(&self.base, flags | OFlags::NOFOLLOW, Mode::empty())?.into());
        }
        let base =
            rustix::fs::open(&self.base, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(rustix::fs::openat2(base, &self.rest, flags, Mode::empty(), resolve)?.into())
    }
}
