use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// What is kept of each of a program's outputs: its end, in bytes.
const KEPT: usize = 1 << 20;

/// A program that has run to its end.
#[derive(Clone, Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// The end of its standard output, at most 1 MiB.
    pub stdout: Vec<u8>,
    /// The end of its standard error, at most 1 MiB.
    pub stderr: Vec<u8>,
}

/// Why a program did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// This machine does not have it.
    #[error("{program} is not installed here")]
    Missing {
        /// The program.
        program: String,
    },
    /// It could not be started or followed.
    #[error("run {program}")]
    Run {
        /// The program.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It took too long and was killed, together with its process group.
    #[error("{program} did not end within {} s", .timeout.as_secs_f32())]
    TimedOut {
        /// The program.
        program: String,
        /// How long it had.
        timeout: Duration,
    },
}

impl Ran {
    /// The exit code; 128 and the number of the signal if one has ended it, as a shell says it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }

    /// The last `count` lines that are not blank of what it said, errors before output.
    pub fn last_lines(&self, count: usize) -> String {
        let said = if self.stderr.trim_ascii().is_empty() { &self.stdout } else { &self.stderr };
        let said = String::from_utf8_lossy(said);
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

/// Runs a program to its end, without a terminal and in a process group of its own, so that a
/// terminal's interrupt does not end it half way. Its outputs are read as they come.
///
/// # Errors
/// It is not there, cannot be started, or has not ended after `timeout`; then it is killed.
pub fn run(command: &mut Command, timeout: Duration) -> Result<Ran, RunError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| RunError::Run { program: program.clone(), source };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => RunError::Missing { program: program.clone() },
        _ => failed(source),
    })?;
    let followed = follow(&mut child, Instant::now() + timeout);
    if !matches!(followed, Ok(Some(_))) {
        kill(&child);
    }
    let status = child.wait().map_err(failed)?;
    match followed.map_err(failed)? {
        Some([stdout, stderr]) => Ok(Ran { status, stdout, stderr }),
        None => Err(RunError::TimedOut { program, timeout }),
    }
}

/// Reads both outputs until the program has ended; none if it has not by `end`. What those say that
/// it left behind is not waited for.
fn follow(child: &mut Child, end: Instant) -> io::Result<Option<[Vec<u8>; 2]>> {
    let pidfd = pidfd_open(pid(child), PidfdFlags::empty())?;
    let mut stdout = child.stdout.take().expect("run asked for a pipe");
    let mut stderr = child.stderr.take().expect("run asked for a pipe");
    rustix::io::ioctl_fionbio(&stdout, true)?;
    rustix::io::ioctl_fionbio(&stderr, true)?;
    let (mut said, mut open) = ([Vec::new(), Vec::new()], [true, true]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
        fds.extend(open[0].then(|| PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)));
        fds.extend(open[1].then(|| PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::IN)));
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let has_ended = !fds[0].revents().is_empty();
        open[0] = open[0] && take(&mut stdout, &mut said[0])?;
        open[1] = open[1] && take(&mut stderr, &mut said[1])?;
        if has_ended {
            return Ok(Some(said.map(the_end)));
        }
    }
}

/// Takes what is in a pipe now; false when its last writer has closed it.
fn take(pipe: &mut impl Read, said: &mut Vec<u8>) -> io::Result<bool> {
    let mut piece = [0; 16 << 10];
    loop {
        match pipe.read(&mut piece) {
            Ok(0) => return Ok(false),
            Ok(count) => said.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if said.len() > 2 * KEPT {
            *said = the_end(std::mem::take(said));
        }
    }
}

fn the_end(mut said: Vec<u8>) -> Vec<u8> {
    said.drain(..said.len().saturating_sub(KEPT));
    said
}

fn kill(child: &Child) {
    // It has not been waited for, so that its number is still its own.
    let _ = kill_process_group(pid(child), Signal::KILL);
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn sh(script: &str, timeout: Duration) -> Result<Ran, RunError> {
        run(Command::new("sh").args(["-c", script]), timeout)
    }

    #[test]
    fn a_program_runs_to_its_end() {
        let check = |script, code, stdout: &str, last: &str| {
            let ran = sh(script, LONG).unwrap();
            let said = (ran.code(), String::from_utf8_lossy(&ran.stdout).into_owned(), ran.last_lines(2));
            assert_eq!(said, (code, stdout.to_owned(), last.to_owned()), "{script}");
        };
        check("echo a; echo b; echo c", 0, "a\nb\nc\n", "b\nc");
        check("echo a; echo b >&2; exit 5", 5, "a\n", "b");
        check("kill -9 $$", 137, "", "");
        check("cat", 0, "", "");
    }

    #[test]
    fn what_is_left_behind_is_not_waited_for() {
        let ran = sh("sleep 3600 & echo $!", LONG).unwrap();
        let left = String::from_utf8(ran.stdout).unwrap().trim().parse().unwrap();
        crate::terminate(left).unwrap();
    }

    #[test]
    fn much_output_is_read_and_its_end_kept() {
        let ran = sh("seq 1 1000000; seq 1 1000000 >&2", LONG).unwrap();
        assert!(ran.stdout.ends_with(b"\n1000000\n") && ran.stdout.len() == KEPT);
        assert_eq!(ran.last_lines(1), "1000000");
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pid");
        let script = format!("sleep 3600 & echo $! > {}; wait", pids.display());
        let timeout = Duration::from_millis(500);
        match sh(&script, timeout) {
            Err(RunError::TimedOut { program, .. }) => assert_eq!(program, "sh"),
            other => panic!("{other:?}"),
        }
        let child: u32 = std::fs::read_to_string(pids).unwrap().trim().parse().unwrap();
        let end = Instant::now() + LONG;
        while crate::ProcessIdentity::of(child).is_some() {
            assert!(Instant::now() < end, "the child lives on");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program"), LONG).unwrap_err();
        assert_eq!(error.to_string(), "no-such-program is not installed here");
    }
}
