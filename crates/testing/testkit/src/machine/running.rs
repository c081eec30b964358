use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::child_of;
use crate::until;

/// How long a program may take to end.
const PATIENCE: Duration = Duration::from_secs(180);

/// A program that runs inside of a machine. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    nsenter: Option<Child>,
}

impl Running {
    #[track_caller]
    pub(super) fn start(mut command: Command) -> Running {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let nsenter = command.spawn().unwrap_or_else(|error| panic!("nsenter: {error}"));
        Running { nsenter: Some(nsenter) }
    }

    /// Its pid as this machine counts, as soon as it has one.
    pub fn pid(&self) -> Option<u32> {
        child_of(self.nsenter.as_ref()?.id())
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.nsenter.as_mut().is_none_or(|nsenter| !matches!(nsenter.try_wait(), Ok(None)))
    }

    /// Kills it with SIGKILL, if it has not ended yet, and gives back what it said.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn kill(mut self) -> Output {
        self.send_kill();
        self.output()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it has not ended after three minutes. It may not say more than a pipe holds.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        assert!(until(PATIENCE, || self.has_ended().then_some(())).is_some(), "it does not end");
        self.output()
    }

    fn output(&mut self) -> Output {
        let nsenter = self.nsenter.take().expect("taken here or at the end only");
        nsenter.wait_with_output().unwrap_or_else(|error| panic!("waiting for nsenter: {error}"))
    }

    fn send_kill(&mut self) {
        // nsenter may just be about to start it.
        while !self.has_ended() {
            let Some(nsenter) = &mut self.nsenter else { return };
            match child_of(nsenter.id()).and_then(|pid| Pid::from_raw(pid as i32)) {
                Some(pid) => {
                    let _ = kill_process(pid, Signal::KILL);
                    return;
                }
                None => {
                    let _ = nsenter.kill();
                }
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.nsenter.is_some() {
            self.send_kill();
            let _ = self.output();
        }
    }
}
