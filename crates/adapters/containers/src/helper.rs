//! The agent's side of the helper process.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::CWD;
use rustix::mount::OpenTreeFlags;
use rustix::process::{Pid, WaitOptions};

use crate::channel;
use crate::clone::add_mount_attributes;
use crate::containers::LaunchError;
use crate::init::{Failure, Report, Request};
use crate::process::ProcessIdentity;

/// This very program, also when its file was replaced meanwhile.
pub const OWN_PROGRAM: &str = "/proc/self/exe";
/// What a process list shows as the name of [`OWN_PROGRAM`].
pub const OWN_NAME: &str = "dcos";

/// The command that runs the helper.
#[derive(Debug)]
pub(crate) struct Helper {
    name: OsString,
    arguments: Vec<OsString>,
    program: PathBuf,
    /// What `program` names.
    _file: Option<OwnedFd>,
}

impl Helper {
    /// With `closed` the program is executed from a read-only mount of its own. A container gets to execute
    /// `/proc/self/exe` in the helper's place, by a link or by the first line of a script, and then to open
    /// that file: it must not be the host's, which its root could write to.
    ///
    /// `None` if the command is empty.
    pub(crate) fn new(command: &[OsString], closed: bool) -> Option<Helper> {
        let (program, arguments) = command.split_first()?;
        let name = if program == OWN_PROGRAM { OWN_NAME.into() } else { program.clone() };
        // Not possible before Linux 5.12, which has no roots of their own either, nor for a program on no
        // mount of this namespace.
        let file = if closed { read_only_copy(Path::new(program)).ok() } else { None };
        let program = match &file {
            Some(file) => format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
            None => program.into(),
        };
        Some(Helper { name, arguments: arguments.to_vec(), program, _file: file })
    }
}

/// A file in a read-only mount of its own.
fn read_only_copy(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let file = rustix::mount::open_tree(CWD, path, flags)?;
    add_mount_attributes(file.as_fd(), libc::MOUNT_ATTR_RDONLY, false)?;
    Ok(file)
}

/// A helper that was spawned and waits for its request. Killed and reaped when dropped.
pub(crate) struct Running {
    child: Child,
    channel: UnixStream,
}

/// What the helper has done.
pub(crate) struct Done {
    pub(crate) process: ProcessIdentity,
    /// A session's streams.
    pub(crate) streams: Vec<OwnedFd>,
}

impl Running {
    pub(crate) fn spawn(helper: &Helper) -> Result<Running, LaunchError> {
        let failed = |source| LaunchError::Helper { attempt: "start", source };
        let (channel, theirs) = UnixStream::pair().map_err(failed)?;
        let child = Command::new(&helper.program)
            .arg0(&helper.name)
            .args(&helper.arguments)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            // A terminal's Ctrl-C is for the agent, not for a container half made.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Running { child, channel })
    }

    /// Has the request carried out. `prepare` is called when the new process waits at its gate for it.
    pub(crate) fn ask(
        self,
        request: &Request,
        timeout: Duration,
        prepare: impl FnOnce(u32) -> Result<(), String>,
    ) -> Result<Done, LaunchError> {
        let mut deadline = Instant::now() + timeout;
        let failed = |attempt| {
            move |source: io::Error| match source.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => LaunchError::Timeout(timeout),
                io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::InvalidData => LaunchError::NoAnswer(source.to_string()),
                _ => LaunchError::Helper { attempt, source },
            }
        };
        self.channel.set_write_timeout(Some(timeout)).map_err(failed("ask"))?;
        channel::send(&self.channel, request, &[]).map_err(failed("ask"))?;
        let mut prepare = Some(prepare);
        let mut refusal = None;
        let mut streams = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Zero would mean no limit.
            self.channel
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))
                .map_err(failed("hear"))?;
            let report = match channel::receive(&self.channel) {
                Ok(Some((report, descriptors))) => {
                    streams.extend(descriptors);
                    report
                }
                Ok(None) => return Err(LaunchError::NoAnswer("it closed its channel".to_owned())),
                Err(error) => return Err(failed("hear")(error)),
            };
            match report {
                Report::Created { pid } => {
                    let began = Instant::now();
                    let prepared = prepare.take().map_or(Ok(()), |prepare| prepare(pid));
                    deadline += began.elapsed();
                    let go = prepared.is_ok();
                    refusal = prepared.err();
                    channel::send(&self.channel, &go, &[]).map_err(failed("ask"))?;
                }
                Report::Streams => {}
                Report::Started(process) => return Ok(Done { process, streams }),
                Report::Stopped { pid } => {
                    reap(pid);
                    return Err(LaunchError::Prepare(refusal.unwrap_or_default()));
                }
                Report::Failed(Failure { attempt, why, pid }) => {
                    if let Some(pid) = pid {
                        reap(pid);
                    }
                    return Err(LaunchError::Failed { attempt, why });
                }
            }
        }
    }
}

/// Takes the status of a process that the helper has killed, so this does not block for long.
fn reap(pid: u32) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        // It is no child of ours if the helper got no further than failing to clone.
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has answered and exits anyway, or it must not go on.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
