//! `dcos container-init`: the single-threaded process that starts one other process and goes away.
//!
//! It is spawned by [`crate::Containers`], reads a [`Request`] from the socket that is its standard input,
//! starts a container's init or a session in one as the agent's own child, and answers with [`Report`]s.

mod child;
mod confine;
mod program;
mod root;
mod supervise;
mod visit;

use std::convert::Infallible;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::pipe::PipeFlags;
use rustix::thread::ThreadNameSpaceType;
use serde::{Deserialize, Serialize};

use crate::cgroup::Group;
use crate::channel;
use crate::clone::{Cloned, clone_sibling, exit_now};
use crate::nested::Join;
use crate::process::ProcessIdentity;
use crate::record::Record;
use crate::session::EnterSpec;
use crate::spec::{ContainerSpec, Isolation, Network};

/// What the helper is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Launch(Box<Plan>),
    Enter(Box<Visit>),
}

/// A container to be made.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) spec: ContainerSpec,
    pub(crate) isolation: Isolation,
    /// Made and limited by the agent.
    pub(crate) group: Group,
    /// Where the init's identity is written before it runs.
    pub(crate) state_file: PathBuf,
    /// What a container in another one shares with that.
    pub(crate) join: Option<Join>,
    /// Where a supervisor writes how the program ended.
    pub(crate) status_file: PathBuf,
}

/// A session to be started in a container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Visit {
    pub(crate) spec: EnterSpec,
    pub(crate) isolation: Isolation,
    /// The container's.
    pub(crate) group: Group,
    pub(crate) init: ProcessIdentity,
    pub(crate) record: Record,
    /// Where the session's identity is written before it runs.
    pub(crate) state_file: PathBuf,
}

/// What the helper answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The process exists in its namespaces and waits for a `bool`: whether it may run.
    Created { pid: u32 },
    /// Comes with the agent's ends of a session's streams.
    Streams,
    /// It executes its program. The last report.
    Started(ProcessIdentity),
    /// It was not let run, and was killed. The last report.
    Stopped { pid: u32 },
    /// The last report.
    Failed(Failure),
}

/// What went wrong, and on what.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) attempt: String,
    pub(crate) why: String,
    /// The process that was begun and has to be reaped.
    pub(crate) pid: Option<u32>,
}

impl Failure {
    fn new(attempt: impl Into<String>, why: impl ToString) -> Failure {
        Failure { attempt: attempt.into(), why: why.to_string(), pid: None }
    }
}

/// Says what was attempted when it fails; the text is only made then.
trait Attempt<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: ToString> Attempt<T> for Result<T, E> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(what(), error))
    }
}

/// Runs `dcos container-init`. To be called from `main()` before any thread exists: the process is cloned.
///
/// The exit code is 0 if the last [`Report`] was told, 2 if there was nobody to tell it to.
pub fn container_init_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}

fn serve() -> io::Result<()> {
    let channel = UnixStream::from(rustix::io::dup(rustix::stdio::stdin())?);
    rustix::io::fcntl_setfd(&channel, rustix::io::FdFlags::CLOEXEC)?;
    let Some((request, _)) = channel::receive(&channel)? else { return Ok(()) };
    let report = match request {
        Request::Launch(plan) => launch(&plan, &channel),
        Request::Enter(visit) => enter(&visit, &channel),
    };
    channel::send(&channel, &report.unwrap_or_else(Report::Failed), &[])
}

fn launch(plan: &Plan, channel: &UnixStream) -> Result<Report, Failure> {
    let prepared = child::Prepared::new(plan)?;
    let confined = plan.isolation == Isolation::Full;
    if let (true, Some(join)) = (confined, &plan.join) {
        enter_parent(join)?;
    }
    let birth = Birth {
        flags: if confined { namespace_flags(plan) } else { 0 },
        group: &plan.group,
        state_file: &plan.state_file,
        asks: confined && plan.has_own_network(),
        channel,
    };
    birth.begin(|gate| child::become_init(plan, prepared, gate))
}

fn enter(visit: &Visit, channel: &UnixStream) -> Result<Report, Failure> {
    let prepared = visit::Prepared::new(visit)?;
    let birth = Birth { flags: 0, group: &visit.group, state_file: &visit.state_file, asks: false, channel };
    birth.begin(|gate| visit::become_session(visit, prepared, channel, gate))
}

/// Whatever is cloned from here on shares these with the parent.
fn enter_parent(join: &Join) -> Result<(), Failure> {
    let what = || "enter the parent's namespaces".to_owned();
    let init = join.init.open().attempt(what)?.ok_or_else(|| Failure::new(what(), "it has ended"))?;
    let flag = |on: bool, flag| if on { flag } else { ThreadNameSpaceType::empty() };
    let shared = flag(join.network, ThreadNameSpaceType::NETWORK)
        | flag(join.uts, ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME);
    match shared.is_empty() {
        true => Ok(()),
        false => rustix::thread::move_into_thread_name_spaces(init.as_fd(), shared).attempt(what),
    }
}

impl Plan {
    fn has_own_network(&self) -> bool {
        self.join.is_none() && self.spec.network == Network::Own
    }

    fn has_own_uts(&self) -> bool {
        self.join.is_none() && self.spec.namespaces.uts
    }
}

fn namespace_flags(plan: &Plan) -> i32 {
    let spec: &ContainerSpec = &plan.spec;
    let own = spec.namespaces;
    let flag = |on: bool, flag: i32| if on { flag } else { 0 };
    flag(own.pid, libc::CLONE_NEWPID)
        | flag(own.has_mounts() || spec.root.is_some(), libc::CLONE_NEWNS)
        | flag(own.ipc, libc::CLONE_NEWIPC)
        | flag(plan.has_own_uts(), libc::CLONE_NEWUTS)
        | flag(plan.has_own_network(), libc::CLONE_NEWNET)
}

/// How a process comes to be.
struct Birth<'a> {
    /// `CLONE_NEW*`.
    flags: i32,
    group: &'a Group,
    state_file: &'a Path,
    /// Whether the agent has something to do before it may run.
    asks: bool,
    channel: &'a UnixStream,
}

/// The ends of what the new process and its maker say to each other.
struct Link {
    /// One byte comes when the process may run; the end of the pipe means it must not.
    gate: (OwnedFd, OwnedFd),
    /// A [`Failure`], or its end when the exec succeeded.
    errors: (OwnedFd, OwnedFd),
}

/// What the new process waits at before it becomes its program.
struct Gate(OwnedFd);

impl Gate {
    fn pass(self) {
        let mut byte = [0];
        if rustix::io::read(&self.0, &mut byte) != Ok(1) {
            // The maker is gone or forbids it: whoever asked for this process has forgotten it.
            exit_now(127);
        }
    }
}

impl Birth<'_> {
    /// Clones this process; the copy goes on with `become_it`.
    fn begin(&self, become_it: impl FnOnce(Gate) -> Result<Infallible, Failure>) -> Result<Report, Failure> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).attempt(|| "make a pipe".into());
        let link = Link { gate: pipe()?, errors: pipe()? };
        let birthplace = match self.group.birthplace() {
            Some(path) => Some(fs::File::open(path).attempt(|| format!("open cgroup {}", path.display()))?),
            None => None,
        };
        let cgroup = birthplace.as_ref().map(|file| file.as_fd());
        #[allow(unsafe_code)]
        // SAFETY: `container_init_main` is called before any other thread is made.
        let cloned = unsafe { clone_sibling(self.flags, cgroup) };
        match cloned.attempt(|| "clone into new namespaces".into())? {
            Cloned::Child => {
                let Link { gate: (gate, gate_write), errors: (errors_read, errors) } = link;
                drop((gate_write, errors_read, birthplace));
                match become_it(Gate(gate)) {
                    Ok(never) => match never {},
                    Err(failure) => give_up(&errors, &failure),
                }
            }
            Cloned::Parent { pid } => self.follow(link, pid).inspect(|report| {
                if matches!(report, Report::Stopped { .. }) {
                    kill(pid);
                }
            }),
        }
    }

    /// Lets the new process run and waits until it has become its program.
    fn follow(&self, link: Link, pid: u32) -> Result<Report, Failure> {
        let Link { gate: (gate_read, gate), errors: (errors, errors_write) } = link;
        drop((gate_read, errors_write));
        let released = self.release(&gate, pid);
        drop(gate);
        let mut told = Vec::new();
        let heard = fs::File::from(errors).read_to_end(&mut told).attempt(|| "hear from the process".into());
        let result = match heard {
            Ok(_) if told.is_empty() => released,
            // What it met comes first: our own steps then failed only because it had ended.
            Ok(_) => Err(serde_json::from_slice(&told)
                .unwrap_or_else(|error| Failure::new("hear from the process", error))),
            Err(failure) => Err(failure),
        };
        result.map_err(|failure| {
            kill(pid);
            Failure { pid: Some(pid), ..failure }
        })
    }

    /// Records who it is, asks the agent if that wants to be asked, and opens the gate.
    fn release(&self, gate: &OwnedFd, pid: u32) -> Result<Report, Failure> {
        let identity = ProcessIdentity::of(pid).attempt(|| format!("identify process {pid}"))?;
        // Before it runs, so that there is never a process that a restarted agent could not find.
        record(self.state_file, &identity).attempt(|| format!("write {}", self.state_file.display()))?;
        if self.asks {
            channel::send(self.channel, &Report::Created { pid }, &[]).attempt(|| "ask the agent".into())?;
            let answer = channel::receive::<bool>(self.channel).attempt(|| "hear from the agent".into())?;
            let Some((go, _)) = answer else { return Err(Failure::new("hear from the agent", "it is gone")) };
            if !go {
                return Ok(Report::Stopped { pid });
            }
        }
        rustix::io::write(gate, b"1").attempt(|| "let the process run".into())?;
        Ok(Report::Started(identity))
    }
}

fn kill(pid: u32) {
    if let Some(raw) = rustix::process::Pid::from_raw(pid as i32) {
        // It may have ended by itself; then there is nothing to end.
        let _ = rustix::process::kill_process(raw, rustix::process::Signal::KILL);
    }
}

/// Replaces the file whole: a reader sees the old or the new content.
fn record(path: &Path, identity: &ProcessIdentity) -> io::Result<()> {
    let draft = path.with_extension("new");
    fs::write(&draft, serde_json::to_vec(identity)?)?;
    fs::rename(&draft, path)
}

/// Never returns to code that the maker of the copy runs.
fn give_up(errors: &OwnedFd, failure: &Failure) -> ! {
    let text = serde_json::to_vec(failure).unwrap_or_else(|_| b"?".to_vec());
    let _ = rustix::io::write(errors, &text);
    exit_now(127)
}
