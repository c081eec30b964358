//! The command executor, `dcos executor`: one small process for each command task.
//!
//! It subscribes at the agent's Unix socket with the Mesos v1 executor API, runs the command of the one task
//! it is given, and reports the task's states until the agent has acknowledged its end (Mesos:
//! src/launcher/executor.cpp). It probes the task's health check and check, asks the task to end and then
//! ends it, and bounds its time. In a container of its own it is PID 1: it reaps every orphan, and when the
//! command has ended it kills whatever is left of it before it reports the end, so that a port is free when
//! the framework hears of it. Without a pid namespace it is a child subreaper, to the same end.
//!
//! It outlives the agent: while that is away the task goes on, and the executor comes back to it with all
//! that was not acknowledged. It gives the task up when the agent stays away for longer than the recovery
//! timeout, when the framework does not checkpoint, or when the agent does not know it any more.
//!
//! One thread, one `poll` loop, no async runtime, no HTTP library: there is one such process for each task
//! of a cluster, and what it weighs is paid as often. The decisions are in [`task`](self), [`checks`](self)
//! and [`updates`](self) modules that do no IO.
//!
//! In an image it needs nothing of the image: it is this program, whatever is there, and only the task's
//! command has to be found. It makes the image's entrypoint, variables, user and working directory and the
//! task's command one, and looks users up in the image.
//!
//! Deliberately absent: task groups, the v0 protocol, and TLS (health checks over HTTPS use `curl`, as those of
//! Mesos do; in an image it has to be there).

mod agent;
mod checks;
mod command;
mod connection;
mod http;
mod image;
mod probes;
mod run;
mod settings;
mod signals;
mod start;
mod task;
mod updates;

use std::ffi::OsString;
use std::process::ExitCode;

use rustix::rand::GetRandomFlags;

/// Runs `dcos executor`. To be called from `main()` before any thread exists, with the process'
/// environment: it forks.
///
/// Exits with 0 when the agent acknowledged the task's end; 1 when it was not told of it; 2 when the
/// environment is not that of an executor.
pub fn main(environment: impl IntoIterator<Item = (OsString, OsString)>) -> ExitCode {
    let settings = match settings::Settings::read(environment.into_iter().collect()) {
        Ok(settings) => settings,
        Err(error) => {
            say(format_args!("{error}"));
            return ExitCode::from(2);
        }
    };
    match prepare().and_then(|seed| run::Executor::new(settings, seed)).and_then(run::Executor::run) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            say(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

/// Makes this process the parent of all its orphans and gives it its name; returns a seed.
fn prepare() -> std::io::Result<u64> {
    // PID 1 is that anyway; asking for it does no harm.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::thread::set_name(c"dcos-executor")?;
    let mut seed = [0; 8];
    rustix::rand::getrandom(&mut seed, GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(seed))
}

/// Writes a line for the user to the sandbox's `stderr`. Unlike `eprintln!` it does not panic when the disk
/// is full: the task matters more than the line.
fn say(text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "executor: {text}");
}
