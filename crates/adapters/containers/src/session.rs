//! One more process in a running container.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use base::ContainerId;
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use crate::process::{Exit, ProcessIdentity};

/// What is to run in a running container, and how it is talked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnterSpec {
    /// The container to enter.
    pub container_id: ContainerId,
    /// Names the session among those of the container; the same letters as a container's id.
    pub session_id: String,
    /// The executable, looked up inside the container, by `PATH` if it is a bare name.
    pub program: PathBuf,
    /// Its arguments; the first is what it sees as its own name.
    pub argv: Vec<String>,
    /// Its whole environment. With a terminal `TERM` is added if it is missing.
    pub env: Vec<(String, String)>,
    /// Where it starts; `None`: where the container's init did.
    pub working_directory: Option<PathBuf>,
    /// `name`, `uid`, `name:group` or `uid:gid`, looked up inside the container; `None`: the agent's user.
    pub user: Option<String>,
    /// A pseudo-terminal of this size as its input and output; `None`: three pipes.
    pub terminal: Option<WindowSize>,
}

impl EnterSpec {
    /// The most sessions of one container that are recorded at a time.
    pub const SESSIONS_LIMIT: usize = 64;
}

/// The size of a terminal's window, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

impl From<WindowSize> for rustix::termios::Winsize {
    fn from(size: WindowSize) -> Self {
        Self { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
    }
}

/// A process that was started in a running container.
#[derive(Debug)]
pub struct Entered {
    /// Who it is.
    pub process: ProcessIdentity,
    /// Its input and output.
    pub streams: Streams,
    pub(crate) exit: oneshot::Receiver<Exit>,
}

/// The end of a session's process, still to come.
#[derive(Debug)]
pub struct Ending(oneshot::Receiver<Exit>);

impl Ending {
    /// How the process ended, once it has. To be asked once more only if the wait was cancelled.
    pub async fn wait(&mut self) -> Exit {
        (&mut self.0).await.unwrap_or(Exit::Unknown)
    }
}

impl Entered {
    /// The streams for those who carry them, and the end for who waits for it.
    pub fn split(self) -> (Streams, Ending) {
        (self.streams, Ending(self.exit))
    }

    /// How the process ended, once it has. To be asked once more only if the wait was cancelled.
    pub async fn wait(&mut self) -> Exit {
        (&mut self.exit).await.unwrap_or(Exit::Unknown)
    }
}

/// The agent's ends of a session's input and output.
#[derive(Debug)]
pub enum Streams {
    /// All three are one terminal.
    Terminal(Terminal),
    /// One pipe each.
    Pipes {
        /// What is written here it reads; dropping it is the end of its input.
        stdin: pipe::Sender,
        /// What it writes to its standard output.
        stdout: pipe::Receiver,
        /// What it writes to its standard error.
        stderr: pipe::Receiver,
    },
}

/// The outer side of a pseudo-terminal. Dropping it hangs up: the foreground processes get SIGHUP.
#[derive(Debug)]
pub struct Terminal {
    master: AsyncFd<OwnedFd>,
}

impl Terminal {
    #[allow(unsafe_code)]
    pub(crate) fn new(master: OwnedFd) -> io::Result<Terminal> {
        // SAFETY: an OwnedFd names the same open descriptor for as long as it lives, and the AsyncFd owns it.
        Ok(Terminal { master: unsafe { AsyncFd::register(master)? } })
    }

    /// Waits for output and reads some of it; 0 when nobody has the terminal open any more.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.master.readable().await?;
            match ready.try_io(|master| Ok(rustix::io::read(master, &mut *buffer)?)) {
                // How the kernel tells that the other side is closed.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Ok(0),
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// Types all of `input`. Waits while the session does not read.
    pub async fn write_all(&self, mut input: &[u8]) -> io::Result<()> {
        while !input.is_empty() {
            let mut ready = self.master.writable().await?;
            if let Ok(written) = ready.try_io(|master| Ok(rustix::io::write(master, input)?)) {
                input = &input[written?..];
            }
        }
        Ok(())
    }

    /// Tells the session that its window has another size now: its foreground processes get SIGWINCH.
    pub fn resize(&self, size: WindowSize) -> io::Result<()> {
        Ok(rustix::termios::tcsetwinsize(self.master.get_ref(), size.into())?)
    }
}

/// Why no process could be started in a container. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The session's id cannot name a file.
    #[error("session id {0:?}: only letters, digits, -, _ and ., at most 200 of them, not beginning with .")]
    Id(String),
    /// A session of this id exists in the container.
    #[error("session {0} exists already")]
    Exists(String),
    /// The container has [`EnterSpec::SESSIONS_LIMIT`] sessions.
    #[error("container {0} has {limit} sessions, as many as are allowed", limit = EnterSpec::SESSIONS_LIMIT)]
    TooMany(ContainerId),
    /// There is no such container, or it has ended.
    #[error("container {0} does not run")]
    NotRunning(ContainerId),
    /// The session could not be recorded.
    #[error("cannot {attempt} {}", path.display())]
    Record {
        /// What was attempted.
        attempt: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The helper process did not do its work.
    #[error(transparent)]
    Helper(#[from] crate::LaunchError),
    /// The session's streams could not be set up.
    #[error("cannot set up the session's input and output")]
    Streams(#[source] io::Error),
}
