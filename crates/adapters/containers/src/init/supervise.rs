//! The init of a container whose program's end is to be known whoever watches.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use rustix::process::{DumpableBehavior, WaitOptions};

use super::{Attempt, Failure};
use crate::clone::{Cloned, close_all_but, exit_now, fork};
use crate::nested::status_text;
use crate::process::Exit;

/// Goes on as the program to be; this process stays as its supervisor, with the same privileges, until the
/// program has ended, and then ends with what is left of the container.
///
/// It holds nothing open but the file for the status, and nobody in the container gets to look into it.
pub(super) fn supervise(status: &File) -> Result<(), Failure> {
    // Without a pid namespace orphans have to be handed to it.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .attempt(|| "become the one who takes in orphans".into())?;
    #[allow(unsafe_code)]
    // SAFETY: this process is a copy of one that has a single thread.
    match unsafe { fork() }.attempt(|| "start the program's process".into())? {
        Cloned::Child => {
            // Without a pid namespace, whoever signals its own group must not end the supervisor.
            let _ = rustix::process::setpgid(None, None);
            Ok(())
        }
        Cloned::Parent { pid } => {
            // Kernels that refuse it leave the process as open as the program itself.
            let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
            close_all_but(status.as_raw_fd());
            watch(pid, status)
        }
    }
}

fn watch(program: u32, status: &File) -> ! {
    loop {
        let (pid, how) = match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some(ended)) => ended,
            Ok(None) | Err(rustix::io::Errno::INTR) => continue,
            // Cannot be: it has a child until that is the one who ended.
            Err(_) => exit_now(1),
        };
        if pid.as_raw_nonzero().get().cast_unsigned() != program {
            continue;
        }
        let exit = match (how.exit_status(), how.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => continue,
        };
        // Nobody could be told of an error; then the end of this process says the most of it.
        let _ = rustix::io::write(status.as_fd(), status_text(exit).as_bytes());
        exit_now(match exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
            Exit::Unknown => 1,
        })
    }
}
