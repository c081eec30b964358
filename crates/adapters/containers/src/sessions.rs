//! Starting, finding and ending the sessions of containers.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::ContainerId;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use crate::containers::{Containers, DestroyError, LaunchError, Shared};
use crate::helper::{self, Done};
use crate::init::{Request, Visit};
use crate::plain;
use crate::process::{self, Exit, ProcessIdentity};
use crate::record::Record;
use crate::session::{EnterError, EnterSpec, Entered, Streams, Terminal};
use crate::spec::{ContainerSpec, Isolation};
use crate::tree::{SESSION_ID_VARIABLE, session_mark};

impl Containers {
    /// Starts one more process in the namespaces, groups, root and confinement of a running container. It
    /// ends with its container, or by [`Containers::end_session`], which is also to be called after it ended by
    /// itself. If this future is dropped nothing is left, unless it was done just then: that is for
    /// [`Containers::end_session`], too.
    pub async fn enter(&self, spec: EnterSpec) -> Result<Entered, EnterError> {
        if !ContainerSpec::id_is_valid(&spec.session_id) {
            return Err(EnterError::Id(spec.session_id));
        }
        if !ContainerSpec::id_is_valid(spec.container_id.as_str()) {
            return Err(EnterError::NotRunning(spec.container_id));
        }
        let has_terminal = spec.terminal.is_some();
        let shared = Arc::clone(&self.shared);
        let permit = Arc::clone(&self.shared.launches).acquire_owned().await;
        let permit = permit.map_err(|_| LaunchError::Cancelled)?;
        let runtime = tokio::runtime::Handle::current();
        let (answer, entered) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let (container_id, session_id) = (spec.container_id.clone(), spec.session_id.clone());
            let done = shared.enter(spec).and_then(|Done { process, streams }| {
                // Here, so that it is reaped also if nobody waits for this result any more: the container's
                // init could not end before its zombies are gone.
                let (told, exit) = oneshot::channel();
                runtime.spawn(reap(process.clone(), told));
                let _registers = runtime.enter();
                let streams = understand(streams, has_terminal).map_err(EnterError::Streams);
                streams.map(|streams| Entered { process, streams, exit }).inspect_err(|_| {
                    shared.abandon(&container_id, &session_id);
                })
            });
            drop(permit);
            if let Err(Ok(_)) = answer.send(done) {
                // Whoever asked is gone, and may have ended what had not begun yet.
                shared.abandon(&container_id, &session_id);
            }
        });
        entered.await.unwrap_or(Err(EnterError::Helper(LaunchError::Cancelled)))
    }

    /// Ends a session and all that it started, and forgets it. Needs nothing but the ids, and no error if
    /// there is no such session.
    pub async fn end_session(
        &self,
        container_id: &ContainerId,
        session_id: &str,
    ) -> Result<(), DestroyError> {
        let valid = ContainerSpec::id_is_valid;
        if !valid(container_id.as_str()) || !valid(session_id) {
            return Ok(());
        }
        let timeout = self.shared.config.destroy_timeout;
        let failed = |attempt| {
            let container_id = container_id.clone();
            move |source| DestroyError::Io { attempt, container_id, source }
        };
        let path = self.shared.session_file(container_id, session_id);
        if let Some(process) = read_identity(&path) {
            let marker = marker(container_id, session_id);
            let leader = process.clone();
            let stopped = tokio::task::spawn_blocking(move || plain::end_members(&leader, &marker, timeout));
            stopped.await.map_err(|_| DestroyError::Cancelled)?;
            if let Some(pidfd) = process.open().map_err(failed("open a session"))? {
                process::kill(&pidfd).map_err(failed("kill a session"))?;
                let pidfd = process::watch(pidfd).map_err(failed("watch a session"))?;
                if tokio::time::timeout(timeout, pidfd.readable()).await.is_err() {
                    let what = format!("process {} of session {session_id}", process.pid);
                    let container_id = container_id.clone();
                    return Err(DestroyError::Survives { container_id, after: timeout, what });
                }
            }
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(failed("remove the record of a session")),
        }
    }

    /// The sessions of a container that are recorded, also those whose process has ended meanwhile. An agent
    /// that was restarted has lost their clients and ends them.
    pub fn sessions(&self, container_id: &ContainerId) -> io::Result<Vec<String>> {
        if !ContainerSpec::id_is_valid(container_id.as_str()) {
            return Ok(Vec::new());
        }
        let entries = match fs::read_dir(self.shared.session_dir(container_id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            found.extend(name.to_str().and_then(|name| name.strip_suffix(".json")).map(str::to_owned));
        }
        found.sort();
        Ok(found)
    }

    /// The environment that the container's init was started with; `None` if it does not run.
    pub fn environment(&self, container_id: &ContainerId) -> Option<Vec<(String, String)>> {
        let init = self.shared.read_state(container_id.as_str())?;
        let text = fs::read(format!("/proc/{}/environ", init.pid)).ok()?;
        // Still the one that was asked about.
        if !init.is_alive() {
            return None;
        }
        let variable = |entry: &[u8]| {
            let entry = String::from_utf8_lossy(entry);
            entry.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        Some(text.split(|byte| *byte == 0).filter_map(variable).collect())
    }
}

/// Takes a session's status as soon as it has ended.
async fn reap(process: ProcessIdentity, told: oneshot::Sender<Exit>) {
    let Ok(Some(pidfd)) = process.open() else { return };
    let Ok(pidfd) = process::watch(pidfd) else { return };
    // An error means that the runtime goes away.
    let _ = pidfd.readable().await;
    let exit = process::exit(pidfd.get_ref());
    process::reap(pidfd.get_ref());
    // Nobody may want to know.
    let _ = told.send(exit);
}

fn understand(streams: Vec<OwnedFd>, has_terminal: bool) -> io::Result<Streams> {
    let mut streams = streams.into_iter();
    let mut next = || streams.next().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof));
    if has_terminal {
        return Ok(Streams::Terminal(Terminal::new(next()?)?));
    }
    Ok(Streams::Pipes {
        stdin: pipe::Sender::from_owned_fd(next()?)?,
        stdout: pipe::Receiver::from_owned_fd(next()?)?,
        stderr: pipe::Receiver::from_owned_fd(next()?)?,
    })
}

/// What all processes of a session are found by.
fn marker(container_id: &ContainerId, session_id: &str) -> String {
    format!("{SESSION_ID_VARIABLE}={}", session_mark(container_id.as_str(), session_id))
}

fn read_identity(path: &Path) -> Option<ProcessIdentity> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

impl Shared {
    fn session_dir(&self, container_id: &ContainerId) -> PathBuf {
        self.config.runtime_dir.join(container_id.as_str()).join("sessions")
    }

    fn session_file(&self, container_id: &ContainerId, session_id: &str) -> PathBuf {
        self.session_dir(container_id).join(format!("{session_id}.json"))
    }

    fn enter(&self, spec: EnterSpec) -> Result<Done, EnterError> {
        let id = spec.container_id.clone();
        let running = self.read_state(id.as_str()).filter(ProcessIdentity::is_alive);
        let record = self.read_record(id.as_str());
        let (Some(init), Some(record)) = (running, record) else { return Err(EnterError::NotRunning(id)) };
        let state_file = self.claim(&spec)?;
        let session_id = spec.session_id.clone();
        let done = self.start_session(spec, init, record, state_file);
        done.inspect_err(|_| self.abandon(&id, &session_id))
    }

    /// Ends and forgets a session that was begun. It may be of an end of its own that the helper did not hear
    /// of: a container can stop whoever enters it.
    fn abandon(&self, container_id: &ContainerId, session_id: &str) {
        let state_file = self.session_file(container_id, session_id);
        if let Some(process) = read_identity(&state_file) {
            let timeout = self.config.destroy_timeout;
            plain::end_members(&process, &marker(container_id, session_id), timeout);
            // Not left to the container's end: its init has to wait until this one is reaped.
            if let Ok(Some(pidfd)) = process.open() {
                let _ = process::kill(&pidfd);
                process::wait(&pidfd, timeout);
                process::reap(&pidfd);
            }
        }
        // What is left of it if this fails is a record of nothing.
        let _ = fs::remove_file(state_file);
    }

    /// Makes the session's file, which nobody else can have then.
    fn claim(&self, spec: &EnterSpec) -> Result<PathBuf, EnterError> {
        let directory = self.session_dir(&spec.container_id);
        match fs::create_dir(&directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // It was destroyed just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(EnterError::NotRunning(spec.container_id.clone()));
            }
            Err(source) => return Err(EnterError::Record { attempt: "make", path: directory, source }),
        }
        let count = fs::read_dir(&directory).map_or(0, Iterator::count);
        if count >= EnterSpec::SESSIONS_LIMIT {
            return Err(EnterError::TooMany(spec.container_id.clone()));
        }
        let path = self.session_file(&spec.container_id, &spec.session_id);
        match fs::File::create_new(&path) {
            Ok(_) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(EnterError::Exists(spec.session_id.clone()))
            }
            Err(source) => Err(EnterError::Record { attempt: "make", path, source }),
        }
    }

    fn start_session(
        &self,
        spec: EnterSpec,
        init: ProcessIdentity,
        record: Record,
        state_file: PathBuf,
    ) -> Result<Done, EnterError> {
        let helper = helper::Running::spawn(&self.helper)?;
        let isolation = self.config.isolation;
        let group = self.group_of(spec.container_id.as_str(), Some(&record));
        debug_assert!(isolation == Isolation::Full || record.upper_dir.is_none());
        let visit = Visit { spec, isolation, group, init, record, state_file };
        Ok(helper.ask(&Request::Enter(Box::new(visit)), self.config.launch_timeout, |_| Ok(()))?)
    }
}
