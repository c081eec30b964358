//! Which process is meant: a pid alone is reused by the kernel.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Names one process for as long as it lives, across restarts of the agent and of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The process id in the agent's pid namespace.
    pub pid: u32,
    /// Clock ticks from boot to the process' start (`/proc/<pid>/stat`, field 22).
    pub start_time: u64,
    /// The kernel's id of the boot it was started in (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this status.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It is gone, but it was not our child any more, so the kernel does not say how.
    Unknown,
}

impl ProcessIdentity {
    /// The identity of a running process; an error of kind `NotFound` if there is none.
    pub fn of(pid: u32) -> io::Result<ProcessIdentity> {
        let stat = Stat::read(pid)?;
        Ok(ProcessIdentity { pid, start_time: stat.start_time, boot_id: boot_id()? })
    }

    /// Whether the process runs. A zombie does not.
    pub fn is_alive(&self) -> bool {
        let same_boot = boot_id().is_ok_and(|id| id == self.boot_id);
        same_boot
            && Stat::read(self.pid).is_ok_and(|stat| stat.start_time == self.start_time && !stat.is_dead())
    }

    /// A handle that stays bound to this very process; `None` if it is gone.
    pub(crate) fn open(&self) -> io::Result<Option<OwnedFd>> {
        if boot_id()? != self.boot_id {
            return Ok(None);
        }
        let Some(pid) = Pid::from_raw(self.pid as i32) else { return Ok(None) };
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        // Compared after opening: from here on the pid cannot be given to another process unnoticed.
        match Stat::read(self.pid) {
            Ok(stat) if stat.start_time == self.start_time => Ok(Some(pidfd)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Ends the process behind `pidfd`; no error if it has ended already.
pub(crate) fn kill(pidfd: &OwnedFd) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes `readable()` of the result wait for the process' end.
#[allow(unsafe_code)]
pub(crate) fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd names the same open descriptor for as long as it lives, and the AsyncFd owns it.
    unsafe { Ok(AsyncFd::register_with_interest(pidfd, Interest::READABLE)?) }
}

/// How an ended process ended, if it is our child. It stays a zombie until [`reap`].
pub(crate) fn exit(pidfd: &OwnedFd) -> Exit {
    take(pidfd, WaitIdOptions::NOWAIT)
}

/// Takes an ended process' status if it is our child, so that no zombie stays.
pub(crate) fn reap(pidfd: &OwnedFd) {
    take(pidfd, WaitIdOptions::empty());
}

fn take(pidfd: &OwnedFd, more: WaitIdOptions) -> Exit {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | more;
    match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options) {
        Ok(Some(status)) if status.exited() => Exit::Code(status.exit_status().unwrap_or(0)),
        Ok(Some(status)) => status.terminating_signal().map_or(Exit::Unknown, Exit::Signal),
        Ok(None) | Err(_) => Exit::Unknown,
    }
}

/// Blocks until the process behind `pidfd` has ended, or for that long.
pub(crate) fn wait(pidfd: &OwnedFd, at_most: Duration) {
    let mut ended = [PollFd::new(pidfd, PollFlags::IN)];
    // A time that is too long for the kernel is as good as none; a signal may cut it short.
    let at_most = at_most.try_into().ok();
    let _ = rustix::event::poll(&mut ended, at_most.as_ref());
}

/// The kernel's id of this boot.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The part of `/proc/<pid>/stat` that tells processes apart and relates them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: u8,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    pub(crate) user_ticks: u64,
    pub(crate) system_ticks: u64,
    pub(crate) start_time: u64,
    pub(crate) rss_pages: u64,
}

impl Stat {
    pub(crate) fn read(pid: u32) -> io::Result<Stat> {
        let text = match fs::read(format!("/proc/{pid}/stat")) {
            Ok(text) => text,
            // The file was opened and the process ended before it was read.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            Err(error) => return Err(error),
        };
        Stat::parse(&text)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat")))
    }

    /// The name in the second field may hold spaces and parentheses, so fields count from the last one.
    fn parse(text: &[u8]) -> Option<Stat> {
        let after_name = text.iter().rposition(|b| *b == b')')? + 1;
        let rest = std::str::from_utf8(&text[after_name..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        // Fields after `state` (3): `numbers[0]` is field 4. Some may be negative: those are not ours.
        let numbers: Vec<u64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
        let field = |number: usize| numbers.get(number - 4).copied();
        Some(Stat {
            state,
            parent: field(4)? as u32,
            session: field(6)? as u32,
            user_ticks: field(14)?,
            system_ticks: field(15)?,
            start_time: field(22)?,
            rss_pages: field(24)?,
        })
    }

    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_counts_fields_after_the_name() {
        let line = b"7 (a) b (c)) S 1 2 3 0 -1 4194560 10 0 0 0 21 22 0 0 20 0 5 0 777 1000 88 1 1\n";
        let expect = Stat {
            state: b'S',
            parent: 1,
            session: 3,
            user_ticks: 21,
            system_ticks: 22,
            start_time: 777,
            rss_pages: 88,
        };
        assert_eq!(Stat::parse(line), Some(expect));
        assert_eq!(Stat::parse(b"7 (a) S 1 2"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn identity_of_this_process_holds_and_of_another_time_does_not() {
        let mine = ProcessIdentity::of(std::process::id()).unwrap();
        assert!(mine.is_alive());
        assert!(mine.open().unwrap().is_some());
        let mut earlier = mine.clone();
        earlier.start_time -= 1;
        assert!(!earlier.is_alive());
        assert!(earlier.open().unwrap().is_none());
        let other_boot = ProcessIdentity { boot_id: "x".into(), ..mine };
        assert!(!other_boot.is_alive());
        assert!(other_boot.open().unwrap().is_none());
    }
}
