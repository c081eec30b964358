use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::child_of;
use crate::until;

/// How long a program may take to end.
const PATIENCE: Duration = Duration::from_secs(180);

/// A program that runs inside of a machine. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    nsenter: Child,
    /// Files and not pipes: what it leaves behind may go on writing.
    said: [File; 2],
}

impl Running {
    #[track_caller]
    pub(super) fn start(mut command: Command) -> Running {
        let file = || tempfile::tempfile().unwrap_or_else(|error| panic!("a temporary file: {error}"));
        let said = [file(), file()];
        let clone = |file: &File| Stdio::from(file.try_clone().unwrap_or_else(|error| panic!("{error}")));
        command.stdout(clone(&said[0])).stderr(clone(&said[1]));
        let nsenter = command.spawn().unwrap_or_else(|error| panic!("nsenter: {error}"));
        Running { nsenter, said }
    }

    /// Its pid as this machine counts, as soon as it has one.
    pub fn pid(&self) -> Option<u32> {
        child_of(self.nsenter.id())
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.nsenter.try_wait(), Ok(None))
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
    /// If it has not ended after three minutes.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        assert!(until(PATIENCE, || self.has_ended().then_some(())).is_some(), "it does not end");
        self.output()
    }

    fn output(&mut self) -> Output {
        let status: ExitStatus =
            self.nsenter.wait().unwrap_or_else(|error| panic!("waiting for nsenter: {error}"));
        let [stdout, stderr] = self.said.each_mut().map(|file| {
            let mut said = Vec::new();
            let read = file.rewind().and_then(|()| file.read_to_end(&mut said));
            read.unwrap_or_else(|error| panic!("what the program said: {error}"));
            said
        });
        Output { status, stdout, stderr }
    }

    fn send_kill(&mut self) {
        // nsenter may just be about to start it.
        while !self.has_ended() {
            match self.pid().and_then(|pid| Pid::from_raw(pid as i32)) {
                Some(pid) => {
                    let _ = kill_process(pid, Signal::KILL);
                    return;
                }
                None => {
                    let _ = self.nsenter.kill();
                }
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.send_kill();
        let _ = self.nsenter.wait();
    }
}
