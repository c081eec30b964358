//! What the copy does on its way to becoming a container's init.

use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{MountFlags, MountPropagationFlags};

use super::confine::confine;
use super::program::Program;
use super::root::{self, attach};
use super::supervise::supervise;
use super::{Attempt, Failure, Gate, Plan};
use crate::clone::{close_all_on_exec, reset_signals};
use crate::record::Confinement;
use crate::spec::{ContainerSpec, Isolation};
use crate::tree::CONTAINER_ID_VARIABLE;
use crate::user::User;

/// What is opened and looked up in the host's view, before the copy leaves it.
pub(super) struct Prepared {
    program: Program,
    /// `None` also if the user is the image's to know.
    user: Option<User>,
    stdin: File,
    stdout: File,
    stderr: File,
    /// For the supervisor.
    status: Option<File>,
}

impl Prepared {
    pub(super) fn new(plan: &Plan) -> Result<Prepared, Failure> {
        let spec = &plan.spec;
        let user = if spec.root.is_none() { find_user(spec.user.as_deref())? } else { None };
        let stdin = File::open("/dev/null").attempt(|| "open /dev/null".into())?;
        let log = |path: &Path| {
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(0o644);
            // The sandbox belongs to the task's user, who must not make root write elsewhere.
            options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
            let what = || format!("open {}", path.display());
            let file = match (&spec.parent, path.parent(), path.file_name()) {
                // Above it are directories of the parent's user.
                (Some(_), Some(directory), Some(name)) => {
                    let directory = straight(directory)?;
                    options.open(attach::path_of(&directory).join(name)).attempt(what)?
                }
                _ => options.open(path).attempt(what)?,
            };
            // Non-blocking was for the open alone: a FIFO there must not hold the helper up.
            rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::APPEND)
                .attempt(|| format!("make {} blocking", path.display()))?;
            Ok(file)
        };
        let (stdout, stderr) = (log(&spec.stdout)?, log(&spec.stderr)?);
        let program = Program::of(spec)?;
        let status = spec.supervise.then(|| {
            let path = &plan.status_file;
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .attempt(|| format!("make {}", path.display()))
        });
        let status = status.transpose()?;
        let prepared = Prepared { program, user, stdin, stdout, stderr, status };
        prepared.give_output_to(prepared.user.as_ref())?;
        Ok(prepared)
    }

    /// The user may open its output anew, as `/dev/stdout`.
    fn give_output_to(&self, user: Option<&User>) -> Result<(), Failure> {
        let Some(user) = user else { return Ok(()) };
        for file in [&self.stdout, &self.stderr] {
            std::os::unix::fs::fchown(file, Some(user.uid), Some(user.gid))
                .attempt(|| format!("give the output files to {}", user.name))?;
        }
        Ok(())
    }
}

/// Opens a directory that no link leads to: whoever owns one above it could have put it there.
fn straight(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
        .attempt(|| format!("open {}", path.display()))
}

/// Looks `name` up in the file system as this process sees it.
pub(super) fn find_user(name: Option<&str>) -> Result<Option<User>, Failure> {
    name.map(|name| User::find(Path::new("/"), name).attempt(|| format!("find user {name}"))).transpose()
}

/// Becomes the init, or tells why not.
pub(super) fn become_init(plan: &Plan, prepared: Prepared, gate: Gate) -> Result<Infallible, Failure> {
    let mut command = enter(plan, &prepared)?;
    gate.pass();
    if let Some(status) = &prepared.status {
        supervise(status)?;
    }
    Err(Failure::new(format!("execute {}", plan.spec.program.display()), command.exec()))
}

fn enter(plan: &Plan, prepared: &Prepared) -> Result<Command, Failure> {
    let spec = &plan.spec;
    leave_the_agent(plan)?;
    redirect(prepared)?;
    // Lowering it needs a privilege that plain isolation may not have; it is a hint to the kernel only.
    let _ = fs::write("/proc/self/oom_score_adj", spec.oom_score_adjustment.to_string());
    let full = plan.isolation == Isolation::Full;
    if let (true, true, Some(name)) = (full, plan.has_own_uts(), &spec.hostname) {
        rustix::system::sethostname(name.as_bytes()).attempt(|| format!("set host name {name}"))?;
    }
    match &spec.root {
        Some(root) => root::move_into(spec, root)?,
        None if full && spec.namespaces.has_mounts() => mount_all(spec)?,
        None => {}
    }
    let found;
    let mut user = prepared.user.as_ref();
    if spec.root.is_some() {
        found = find_user(spec.user.as_deref())?;
        user = found.as_ref();
        prepared.give_output_to(user)?;
    }
    if spec.parent.is_some() && spec.root.is_none() {
        let sandbox = straight(&spec.working_directory)?;
        rustix::process::fchdir(sandbox).attempt(|| format!("enter {}", spec.working_directory.display()))?;
    } else {
        enter_directory(&spec.working_directory)?;
    }
    confine(&Confinement::of(spec), user, full)?;
    close_all_on_exec().attempt(|| "close descriptors".into())?;
    let mut command = Command::new(prepared.program.path());
    if let Some((name, arguments)) = spec.argv.split_first() {
        command.arg0(name).args(arguments);
    }
    command.env_clear().env(CONTAINER_ID_VARIABLE, spec.container_id.as_str());
    command.envs(spec.env.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// Makes `directory` the working directory. It may be an image's, and lead to what this process has open, which
/// must not be outside of the container's root: from there everything of the host is to be reached.
pub(super) fn enter_directory(directory: &Path) -> Result<(), Failure> {
    let what = || format!("enter {}", directory.display());
    rustix::process::chdir(directory).attempt(what)?;
    let path = rustix::process::getcwd(Vec::new()).attempt(what)?;
    // The kernel tells those outside by what it puts before the path.
    if !path.as_bytes().starts_with(b"/") {
        return Err(Failure::new(what(), "it is outside of the container"));
    }
    Ok(())
}

/// Out of the agent's session, group, and signal dispositions: neither its terminal's signals nor its end
/// reach the container.
fn leave_the_agent(plan: &Plan) -> Result<(), Failure> {
    rustix::process::setsid().attempt(|| "begin a session".into())?;
    enter_group(&plan.group)?;
    reset_signals();
    Ok(())
}

pub(super) fn enter_group(group: &crate::cgroup::Group) -> Result<(), Failure> {
    group.enter().map_err(|error| {
        let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Failure::new(format!("enter the container's group: {error}"), why)
    })
}

fn redirect(prepared: &Prepared) -> Result<(), Failure> {
    rustix::stdio::dup2_stdin(&prepared.stdin).attempt(|| "redirect standard input".into())?;
    rustix::stdio::dup2_stdout(&prepared.stdout).attempt(|| "redirect standard output".into())?;
    rustix::stdio::dup2_stderr(&prepared.stderr).attempt(|| "redirect standard error".into())
}

/// What the host mounts and unmounts still arrives, nothing goes back (Mesos: `--make-rslave /`).
pub(super) fn become_slave() -> Result<(), Failure> {
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", slave).attempt(|| "make all mounts slaves".into())
}

/// The host's file system as the container sees it. All of this ends with the container's last process.
fn mount_all(spec: &ContainerSpec) -> Result<(), Failure> {
    become_slave()?;
    let closed = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if spec.namespaces.pid {
        rustix::mount::mount(c"proc", c"/proc", c"proc", closed, None).attempt(|| "mount /proc".into())?;
    }
    if spec.namespaces.ipc {
        if Path::new("/dev/shm").is_dir() {
            rustix::mount::mount(c"shm", c"/dev/shm", c"tmpfs", closed, c"mode=1777")
                .attempt(|| "mount /dev/shm".into())?;
        }
        if Path::new("/dev/mqueue").is_dir() {
            rustix::mount::mount(c"mqueue", c"/dev/mqueue", c"mqueue", closed, None)
                .attempt(|| "mount /dev/mqueue".into())?;
        }
    }
    for mount in &spec.mounts {
        let what = || attach::describe(mount);
        let source = attach::Source::open(mount, false)?;
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let target = rustix::fs::open(&mount.target, flags, rustix::fs::Mode::empty()).attempt(what)?;
        source.attach(&target).attempt(what)?;
    }
    Ok(())
}
