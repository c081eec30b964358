//! Starting the task's command, and the commands that check it.
#![allow(unsafe_code)]

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use containers::User;
use mesos_proto::v1::environment::variable;
use mesos_proto::v1::{CommandInfo, Environment};
use rustix::process::Signal;

/// What every process of the task starts with.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// The user to become; `None`: the executor's own.
    pub(crate) user: Option<User>,
    /// Where to start; `None`: where the executor did.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) environment: Vec<(OsString, OsString)>,
}

impl Surroundings {
    /// Adds variables over those there are. Secrets that nobody resolved are left out.
    pub(crate) fn add(&mut self, environment: Option<&Environment>) {
        for variable in environment.iter().flat_map(|environment| &environment.variables) {
            if variable.r#type() != variable::Type::Secret {
                self.set(&variable.name, variable.value());
            }
        }
    }

    /// Adds an image's variables below those that the agent set. Of these `PATH` alone is a default: where
    /// programs are the image knows better.
    pub(crate) fn set_below<'a>(&mut self, variables: impl Iterator<Item = (&'a str, &'a str)>) {
        for (name, value) in variables {
            if name == "PATH" || !self.has(name) {
                self.set(name, value);
            }
        }
    }

    /// Whether a variable is set.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.environment.iter().any(|(known, _)| known == name)
    }

    /// The file that a program's name means to the task; the name itself if there is none.
    pub(crate) fn find_program(&self, name: &str) -> PathBuf {
        if name.contains('/') {
            return self.directory.as_deref().unwrap_or(Path::new("")).join(name);
        }
        let path = self.environment.iter().find(|(known, _)| known == "PATH");
        let places = path.map(|(_, path)| std::env::split_paths(path)).into_iter().flatten();
        places.map(|place| place.join(name)).find(|file| file.is_file()).unwrap_or_else(|| name.into())
    }

    /// Sets one variable.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.into(), value.into()));
    }
}

/// Starts `command` in a session of its own and returns its process id.
pub(crate) fn start(command: &CommandInfo, around: &Surroundings, output: Output<'_>) -> io::Result<u32> {
    let mut process = prepare(command)?;
    if output == Output::Standard {
        process.stdout(Stdio::inherit());
    } else {
        process.stdout(io::stderr());
    }
    process.env_clear().envs(around.environment.iter().map(|(name, value)| (name, value)));
    if let Output::Check(more) = output {
        let variables = more.iter().flat_map(|environment| &environment.variables);
        process.envs(
            variables
                .filter(|v| v.r#type() != variable::Type::Secret)
                .map(|variable| (&variable.name, variable.value())),
        );
    }
    if let Some(directory) = &around.directory {
        process.current_dir(directory);
    }
    let user = around.user.clone();
    // SAFETY: the executor has one thread, so the child may allocate and take locks; it reads `user`, its
    // own copy, and calls the kernel.
    unsafe { process.pre_exec(move || become_task(user.as_ref())) };
    Ok(process.spawn()?.id())
}

/// Where a command's standard output goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Output<'a> {
    /// To the sandbox's `stdout`.
    Standard,
    /// To the sandbox's `stderr`: the task's own output stays its own. The command's own variables come on
    /// top of the task's.
    Check(Option<&'a Environment>),
}

fn prepare(command: &CommandInfo) -> io::Result<Command> {
    let value = command.value.as_deref().filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
    if command.shell() {
        let mut process = Command::new("/bin/sh");
        process.arg0("sh").args(["-c", value]);
        return Ok(process);
    }
    let mut process = Command::new(value);
    if let Some((name, arguments)) = command.arguments.split_first() {
        process.arg0(name).args(arguments);
    }
    Ok(process)
}

/// Runs in the child between fork and exec.
fn become_task(user: Option<&User>) -> io::Result<()> {
    // SAFETY: an empty set is a valid one; the mask is this process' own.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
    rustix::process::setsid()?;
    // The executor may be spared when memory runs out; the task must not be.
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    if let Some(user) = user {
        let groups: Vec<_> = user.groups.iter().map(|gid| rustix::process::Gid::from_raw(*gid)).collect();
        let (uid, gid) = (rustix::process::Uid::from_raw(user.uid), rustix::process::Gid::from_raw(user.gid));
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    }
    // After the change of user, which resets it. Without a pid namespace this is what ends the command when
    // the executor is killed.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}
