//! `dcos container-init`: the single-threaded process that makes one container and goes away.
//!
//! It is spawned by [`crate::Containers::launch`], reads a [`Plan`] from its standard input, starts the
//! container's init as the agent's own child, and answers with one [`Outcome`] on its standard output.

mod child;

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::pipe::PipeFlags;
use serde::{Deserialize, Serialize};

use crate::cgroup::Group;
use crate::clone::{Cloned, clone_sibling, exit_now};
use crate::process::ProcessIdentity;
use crate::spec::{ContainerSpec, Isolation};
use crate::user::User;

/// What the helper is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) spec: ContainerSpec,
    pub(crate) isolation: Isolation,
    /// Made and limited by the agent.
    pub(crate) group: Group,
    /// Where the init's identity is written before it runs.
    pub(crate) state_file: PathBuf,
}

/// What the helper answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Started(ProcessIdentity),
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

/// The most bytes of a plan: the kernel would not take longer arguments and environment either.
const PLAN_LIMIT: u64 = 4 << 20;

/// Runs `dcos container-init`. To be called from `main()` before any thread exists: the process is cloned.
///
/// The exit code is 0 if an [`Outcome`] was told, 2 if there was nobody to tell it to.
pub fn container_init_main() -> ExitCode {
    let outcome = match read_plan(io::stdin().lock()).and_then(|plan| start(&plan)) {
        Ok(identity) => Outcome::Started(identity),
        Err(failure) => Outcome::Failed(failure),
    };
    let told = serde_json::to_vec(&outcome).map_err(io::Error::from).and_then(|text| {
        let mut stdout = io::stdout().lock();
        stdout.write_all(&text)?;
        stdout.flush()
    });
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}

fn read_plan(from: impl Read) -> Result<Plan, Failure> {
    let mut text = Vec::new();
    from.take(PLAN_LIMIT).read_to_end(&mut text).attempt(|| "read the plan".into())?;
    serde_json::from_slice(&text).attempt(|| "understand the plan".into())
}

/// The ends of what the init and its maker say to each other.
struct Link {
    /// One byte comes when the init may run; the end of the pipe means it must not.
    gate: (OwnedFd, OwnedFd),
    /// A [`Failure`], or its end when the exec succeeded.
    errors: (OwnedFd, OwnedFd),
}

fn start(plan: &Plan) -> Result<ProcessIdentity, Failure> {
    let prepared = child::Prepared::new(&plan.spec)?;
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).attempt(|| "make a pipe".into());
    let link = Link { gate: pipe()?, errors: pipe()? };
    let birthplace = match plan.group.birthplace() {
        Some(path) => Some(fs::File::open(path).attempt(|| format!("open cgroup {}", path.display()))?),
        None => None,
    };
    let flags = match plan.isolation {
        Isolation::Full => namespace_flags(plan),
        Isolation::Plain => 0,
    };
    use std::os::fd::AsFd;
    let cgroup = birthplace.as_ref().map(|file| file.as_fd());
    #[allow(unsafe_code)]
    // SAFETY: `container_init_main` is called before any other thread is made.
    let cloned = unsafe { clone_sibling(flags, cgroup) };
    match cloned.attempt(|| "clone into new namespaces".into())? {
        Cloned::Child => child::run(plan, prepared, link),
        Cloned::Parent { pid } => {
            drop(prepared);
            follow(plan, link, pid).map_err(|failure| {
                if let Some(raw) = rustix::process::Pid::from_raw(pid as i32) {
                    // It may have ended by itself; then there is nothing to end.
                    let _ = rustix::process::kill_process(raw, rustix::process::Signal::KILL);
                }
                Failure { pid: Some(pid), ..failure }
            })
        }
    }
}

fn namespace_flags(plan: &Plan) -> i32 {
    let own = plan.spec.namespaces;
    let flag = |on: bool, flag: i32| if on { flag } else { 0 };
    flag(own.pid, libc::CLONE_NEWPID)
        | flag(own.has_mounts(), libc::CLONE_NEWNS)
        | flag(own.ipc, libc::CLONE_NEWIPC)
        | flag(own.uts, libc::CLONE_NEWUTS)
}

/// Lets the new init run and waits until it has become its program.
fn follow(plan: &Plan, link: Link, pid: u32) -> Result<ProcessIdentity, Failure> {
    let Link { gate: (gate_read, gate_write), errors: (errors_read, errors_write) } = link;
    drop((gate_read, errors_write));
    let released = release(plan, &gate_write, pid);
    drop(gate_write);
    let mut told = Vec::new();
    fs::File::from(errors_read).read_to_end(&mut told).attempt(|| "hear from the container".into())?;
    if told.is_empty() {
        return released;
    }
    // What the init met comes first: our own steps then failed only because it had ended.
    Err(serde_json::from_slice(&told).unwrap_or_else(|error| Failure::new("hear from the container", error)))
}

/// Records who the init is and opens its gate.
fn release(plan: &Plan, gate: &OwnedFd, pid: u32) -> Result<ProcessIdentity, Failure> {
    let identity = ProcessIdentity::of(pid).attempt(|| format!("identify process {pid}"))?;
    // Before it runs, so that there is never a container that a restarted agent could not find.
    record(&plan.state_file, &identity).attempt(|| format!("write {}", plan.state_file.display()))?;
    rustix::io::write(gate, b"1").attempt(|| "let the container run".into())?;
    Ok(identity)
}

/// Replaces the file whole: a reader sees the old or the new content.
fn record(path: &Path, identity: &ProcessIdentity) -> io::Result<()> {
    let draft = path.with_extension("new");
    fs::write(&draft, serde_json::to_vec(identity)?)?;
    fs::rename(&draft, path)
}

fn find_user(spec: &ContainerSpec) -> Result<Option<User>, Failure> {
    let find = |name: &String| User::find(Path::new("/"), name).attempt(|| format!("find user {name}"));
    spec.user.as_ref().map(find).transpose()
}

/// Never returns to code that the maker of the copy runs.
fn give_up(errors: &OwnedFd, failure: &Failure) -> ! {
    let text = serde_json::to_vec(failure).unwrap_or_else(|_| b"?".to_vec());
    let _ = rustix::io::write(errors, &text);
    exit_now(127)
}
