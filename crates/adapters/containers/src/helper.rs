//! The agent's side of the helper process.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, WaitOptions};

use crate::containers::LaunchError;
use crate::init::{Outcome, Plan};
use crate::process::ProcessIdentity;

/// This very program, also when its file was replaced meanwhile.
pub const OWN_PROGRAM: &str = "/proc/self/exe";
/// What a process list shows as the name of [`OWN_PROGRAM`].
pub const OWN_NAME: &str = "dcos";

/// The longest answer that is read.
const ANSWER_LIMIT: u64 = 64 << 10;

/// A helper that was spawned and waits for its plan. Killed and reaped when dropped.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    pub(crate) fn spawn(command: &[OsString]) -> Result<Running, LaunchError> {
        let (program, arguments) = command.split_first().ok_or(LaunchError::Cancelled)?;
        let mut helper = Command::new(program);
        if program == OWN_PROGRAM {
            helper.arg0(OWN_NAME);
        }
        let child = helper
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            // A terminal's Ctrl-C is for the agent, not for a container half made.
            .process_group(0)
            .spawn()
            .map_err(|source| LaunchError::Helper { attempt: "start", source })?;
        Ok(Running { child })
    }

    /// Hands over the plan and waits for the answer.
    pub(crate) fn ask(mut self, plan: &Plan, timeout: Duration) -> Result<ProcessIdentity, LaunchError> {
        let deadline = Instant::now() + timeout;
        let failed = |attempt| move |source| LaunchError::Helper { attempt, source };
        let text = serde_json::to_vec(plan).map_err(|error| failed("ask")(error.into()))?;
        if let Some(mut stdin) = self.child.stdin.take() {
            stdin.write_all(&text).map_err(failed("ask"))?;
        }
        let Some(stdout) = self.child.stdout.take() else { return Err(LaunchError::Cancelled) };
        let answer = read_until(OwnedFd::from(stdout), deadline).map_err(failed("hear"))?;
        let Some(answer) = answer else { return Err(LaunchError::Timeout(timeout)) };
        match serde_json::from_slice(&answer) {
            Ok(Outcome::Started(identity)) => Ok(identity),
            Ok(Outcome::Failed(failure)) => {
                if let Some(pid) = failure.pid.and_then(|pid| Pid::from_raw(pid as i32)) {
                    // The helper has killed it, so this does not block for long. It is no child of ours if
                    // the helper got no further than failing to clone.
                    let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
                }
                Err(LaunchError::Failed { attempt: failure.attempt, why: failure.why })
            }
            Err(error) => Err(LaunchError::NoAnswer(error.to_string())),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has answered and exits anyway, or it must not go on.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            drop(self.child.stdin.take());
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Everything until the end of the pipe; `None` if that does not come in time.
fn read_until(pipe: OwnedFd, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    let mut pipe = File::from(pipe).take(ANSWER_LIMIT);
    let mut answer = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut ready = [PollFd::new(pipe.get_ref(), PollFlags::IN)];
        match rustix::event::poll(&mut ready, Some(&left)) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let mut chunk = [0; 1024];
        match pipe.read(&mut chunk)? {
            0 => return Ok(Some(answer)),
            read => answer.extend_from_slice(&chunk[..read]),
        }
    }
}
