//! What the copy does on its way to becoming a session's process in a running container.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::DumpableBehavior;
use rustix::pty::OpenptFlags;
use rustix::thread::ThreadNameSpaceType;

use super::child::{enter_directory, enter_group, find_user};
use super::confine::confine;
use super::{Attempt, Failure, Gate, Report, Visit};
use crate::channel;
use crate::clone::{close_all_on_exec, reset_signals};
use crate::session::WindowSize;
use crate::spec::{Isolation, Network};
use crate::tree::{CONTAINER_ID_VARIABLE, SESSION_ID_VARIABLE, session_mark};

/// What the helper takes hold of before it clones itself.
pub(super) struct Prepared {
    /// The container's init; `None` if it has no namespaces.
    init: Option<OwnedFd>,
}

impl Prepared {
    pub(super) fn new(visit: &Visit) -> Result<Prepared, Failure> {
        if visit.isolation == Isolation::Plain {
            return Ok(Prepared { init: None });
        }
        let what = || "enter the container".to_owned();
        let init = visit.init.open().attempt(what)?.ok_or_else(|| Failure::new(what(), "it has ended"))?;
        if visit.record.namespaces.pid {
            // Only what is cloned from here on is in it.
            rustix::thread::move_into_thread_name_spaces(init.as_fd(), ThreadNameSpaceType::PROCESS_ID)
                .attempt(|| "enter the container's process ids".into())?;
        }
        Ok(Prepared { init: Some(init) })
    }
}

/// Becomes the session's process, or tells why not.
pub(super) fn become_session(
    visit: &Visit,
    prepared: Prepared,
    channel: &UnixStream,
    gate: Gate,
) -> Result<Infallible, Failure> {
    let mut command = enter(visit, &prepared, channel)?;
    gate.pass();
    let error = command.exec();
    let attempt = format!("execute {}", visit.spec.program.display());
    if error.kind() == io::ErrorKind::NotFound {
        return Err(Failure::new(attempt, "there is no such program in the container"));
    }
    Err(Failure::new(attempt, error))
}

fn enter(visit: &Visit, prepared: &Prepared, channel: &UnixStream) -> Result<Command, Failure> {
    let (spec, record) = (&visit.spec, &visit.record);
    rustix::process::setsid().attempt(|| "begin a session".into())?;
    enter_group(&visit.group)?;
    reset_signals();
    // A task is no more willing to die than a session.
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    if let Some(init) = &prepared.init {
        // Nobody in the container gets to look into this process before it is one of the container's own.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .attempt(|| "shut the process".into())?;
        let hosts = root_directory()?;
        rustix::thread::move_into_thread_name_spaces(init.as_fd(), namespaces(visit))
            .attempt(|| "enter the container's namespaces".into())?;
        // The init makes the container's root where the host's is, and leaves that when it is done.
        if record.upper_dir.is_some() && root_directory()? == hosts {
            return Err(Failure::new("enter the container's root", "it is not made yet"));
        }
    }
    let user = find_user(spec.user.as_deref())?;
    match spec.terminal {
        Some(size) => {
            let terminal = open_terminal(size, channel).attempt(|| "open a terminal".into())?;
            if let Some(user) = &user {
                // Without root there is no other user, and nothing to give.
                let _ = std::os::unix::fs::fchown(&terminal, Some(user.uid), None);
            }
            redirect([&terminal, &terminal, &terminal])?;
        }
        None => {
            let [stdin, stdout, stderr] = open_pipes(channel).attempt(|| "make pipes".into())?;
            redirect([&stdin, &stdout, &stderr])?;
        }
    }
    let directory = spec.working_directory.as_ref().unwrap_or(&record.working_directory);
    enter_directory(directory)?;
    confine(&record.confinement, user.as_ref(), visit.isolation == Isolation::Full)?;
    close_all_on_exec().attempt(|| "close descriptors".into())?;
    let mut command = Command::new(&spec.program);
    if let Some((name, arguments)) = spec.argv.split_first() {
        command.arg0(name).args(arguments);
    }
    command.env_clear();
    if spec.terminal.is_some() {
        command.env("TERM", "xterm");
    }
    command.envs(spec.env.iter().map(|(name, value)| (name, value)));
    let container_id = spec.container_id.as_str();
    command.env(CONTAINER_ID_VARIABLE, container_id);
    command.env(SESSION_ID_VARIABLE, session_mark(container_id, &spec.session_id));
    Ok(command)
}

/// What tells the root directory of this process from others.
fn root_directory() -> Result<(u64, u64), Failure> {
    let stat = rustix::fs::stat("/").attempt(|| "look at the root directory".into())?;
    Ok((stat.st_dev, stat.st_ino))
}

/// All of the container's own but the pid namespace, which the maker entered. The root comes with the mounts.
fn namespaces(visit: &Visit) -> ThreadNameSpaceType {
    let (own, none) = (visit.record.namespaces, ThreadNameSpaceType::empty());
    let mounts = own.has_mounts() || visit.record.upper_dir.is_some();
    let flag = |on: bool, flag| if on { flag } else { none };
    flag(mounts, ThreadNameSpaceType::MOUNT)
        | flag(own.ipc, ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION)
        | flag(own.uts, ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME)
        | flag(visit.record.network == Network::Own, ThreadNameSpaceType::NETWORK)
}

/// Opens a pseudo-terminal of the container, sends its outer side to the agent, and makes its inner side the
/// terminal of this session.
fn open_terminal(size: WindowSize, channel: &UnixStream) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let outer = rustix::fs::open("/dev/ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&outer)?;
    // Asked of the outer side, not looked up by a name: whatever lies in the container's /dev, this is it.
    let inner = rustix::pty::ioctl_tiocgptpeer(
        &outer,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    rustix::termios::tcsetwinsize(&outer, size.into())?;
    rustix::process::ioctl_tiocsctty(&inner)?;
    channel::send(channel, &Report::Streams, &[outer.as_fd()])?;
    Ok(inner)
}

/// Makes three pipes, sends the agent its ends, and returns this process' own: input, output, errors.
fn open_pipes(channel: &UnixStream) -> io::Result<[OwnedFd; 3]> {
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
    let ((stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr)) = (pipe()?, pipe()?, pipe()?);
    let agents: [BorrowedFd<'_>; 3] = [to_stdin.as_fd(), from_stdout.as_fd(), from_stderr.as_fd()];
    channel::send(channel, &Report::Streams, &agents)?;
    Ok([stdin, stdout, stderr])
}

fn redirect([stdin, stdout, stderr]: [&OwnedFd; 3]) -> Result<(), Failure> {
    rustix::stdio::dup2_stdin(stdin).attempt(|| "redirect standard input".into())?;
    rustix::stdio::dup2_stdout(stdout).attempt(|| "redirect standard output".into())?;
    rustix::stdio::dup2_stderr(stderr).attempt(|| "redirect standard error".into())
}
