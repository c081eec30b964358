//! The agent's side of the helper process.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions};

use crate::channel;
use crate::containers::LaunchError;
use crate::init::{Failure, Report, Request};
use crate::process::ProcessIdentity;

/// This very program, also when its file was replaced meanwhile.
pub const OWN_PROGRAM: &str = "/proc/self/exe";
/// What a process list shows as the name of [`OWN_PROGRAM`].
pub const OWN_NAME: &str = "dcos";

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
    pub(crate) fn spawn(command: &[OsString]) -> Result<Running, LaunchError> {
        let (program, arguments) = command.split_first().ok_or(LaunchError::Cancelled)?;
        let failed = |source| LaunchError::Helper { attempt: "start", source };
        let (channel, theirs) = UnixStream::pair().map_err(failed)?;
        let mut helper = Command::new(program);
        if program == OWN_PROGRAM {
            helper.arg0(OWN_NAME);
        }
        let child = helper
            .args(arguments)
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
