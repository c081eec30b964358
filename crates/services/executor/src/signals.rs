//! Signals as something to poll, and the end of everything below.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Signal, WaitOptions};

use crate::task::End;

/// SIGCHLD and SIGTERM, blocked and readable.
pub(crate) struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// From here on the two arrive here only.
    pub(crate) fn catch() -> io::Result<Signals> {
        // SAFETY: the set is initialised before it is used; the descriptor is new and owned by nobody else.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGCHLD);
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Signals { fd: OwnedFd::from_raw_fd(fd) })
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes what arrived; whether one of them was SIGTERM.
    pub(crate) fn drain(&self) -> bool {
        const RECORD: usize = size_of::<libc::signalfd_siginfo>();
        let mut terminate = false;
        let mut records = [0u8; RECORD * 4];
        while let Ok(read) = rustix::io::read(&self.fd, &mut records) {
            for record in records[..read].chunks_exact(RECORD) {
                // `ssi_signo` is the record's first field.
                let number = u32::from_ne_bytes([record[0], record[1], record[2], record[3]]);
                terminate |= number == libc::SIGTERM as u32;
            }
            if read < records.len() {
                break;
            }
        }
        terminate
    }
}

/// What [`reap`] found.
pub(crate) enum Reaped {
    /// This child ended.
    Child(u32, End),
    /// There are children, all running.
    NoneYet,
    /// There is no child at all.
    NoChildren,
}

/// Takes the status of one ended child, an adopted orphan too.
pub(crate) fn reap() -> Reaped {
    loop {
        let (pid, status) = match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(found)) => found,
            Ok(None) => return Reaped::NoneYet,
            Err(Errno::INTR) => continue,
            Err(_) => return Reaped::NoChildren,
        };
        let core_dumped = libc::WCOREDUMP(status.as_raw());
        let end = match (status.exit_status(), status.terminating_signal()) {
            (Some(status), _) => End::Exited(status),
            (_, Some(signal)) => End::Signaled { signal, core_dumped },
            _ => continue,
        };
        return Reaped::Child(pid.as_raw_nonzero().get() as u32, end);
    }
}

/// Kills everything that the executor has started and inherited, and nothing else.
pub(crate) fn kill_everything() {
    if std::process::id() == 1 {
        // SAFETY: a plain system call. As PID 1 of a pid namespace, -1 is everything in it but ourselves, at
        // one instant: nothing can fork away.
        unsafe { libc::kill(-1, libc::SIGKILL) };
    } else {
        containers::signal_descendants(Signal::KILL);
    }
}
