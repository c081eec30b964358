//! What the copy does on its way to becoming the container's init.

use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::{Attempt, Failure, Link, Plan, find_user, give_up};
use crate::capability::Capability;
use crate::clone::{close_all_on_exec, reset_signals};
use crate::mounts::{Mount, MountSource};
use crate::spec::{ContainerSpec, Isolation};
use crate::tree::CONTAINER_ID_VARIABLE;
use crate::user::User;

/// What is opened and looked up in the host's view, before the copy leaves it.
pub(super) struct Prepared {
    user: Option<User>,
    stdin: File,
    stdout: File,
    stderr: File,
}

impl Prepared {
    pub(super) fn new(spec: &ContainerSpec) -> Result<Prepared, Failure> {
        let user = find_user(spec)?;
        let stdin = File::open("/dev/null").attempt(|| "open /dev/null".into())?;
        let log = |path: &Path| {
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(0o644);
            // The sandbox belongs to the task's user, who must not make root write elsewhere.
            options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
            let file = options.open(path).attempt(|| format!("open {}", path.display()))?;
            if let Some(user) = &user {
                std::os::unix::fs::fchown(&file, Some(user.uid), Some(user.gid))
                    .attempt(|| format!("give {} to {}", path.display(), user.name))?;
            }
            // Non-blocking was for the open alone: a FIFO there must not hold the helper up.
            rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::APPEND)
                .attempt(|| format!("make {} blocking", path.display()))?;
            Ok(file)
        };
        let (stdout, stderr) = (log(&spec.stdout)?, log(&spec.stderr)?);
        Ok(Prepared { user, stdin, stdout, stderr })
    }
}

/// Becomes the init, or tells why not and ends.
pub(super) fn run(plan: &Plan, prepared: Prepared, link: Link) -> ! {
    let Link { gate: (gate_read, gate_write), errors: (errors_read, errors_write) } = link;
    drop((gate_write, errors_read));
    let failure = match enter(plan, &prepared).and_then(|mut command| {
        let mut byte = [0];
        match rustix::io::read(&gate_read, &mut byte) {
            Ok(1) => {}
            // The maker is gone: whoever asked for this container has forgotten it.
            _ => crate::clone::exit_now(127),
        }
        exec(&mut command, plan)
    }) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    give_up(&errors_write, &failure)
}

fn exec(command: &mut Command, plan: &Plan) -> Result<Infallible, Failure> {
    Err(Failure::new(format!("execute {}", plan.spec.program.display()), command.exec()))
}

fn enter(plan: &Plan, prepared: &Prepared) -> Result<Command, Failure> {
    let spec = &plan.spec;
    // Out of the agent's session: neither its terminal's signals nor its end reach the container.
    rustix::process::setsid().attempt(|| "begin a session".into())?;
    plan.group.enter().map_err(|error| {
        let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Failure::new(format!("enter the container's group: {error}"), why)
    })?;
    reset_signals();
    rustix::stdio::dup2_stdin(&prepared.stdin).attempt(|| "redirect standard input".into())?;
    rustix::stdio::dup2_stdout(&prepared.stdout).attempt(|| "redirect standard output".into())?;
    rustix::stdio::dup2_stderr(&prepared.stderr).attempt(|| "redirect standard error".into())?;
    // Lowering it needs a privilege that plain isolation may not have; it is a hint to the kernel only.
    let _ = fs::write("/proc/self/oom_score_adj", spec.oom_score_adjustment.to_string());
    if plan.isolation == Isolation::Full {
        if spec.namespaces.has_mounts() {
            mount_all(spec)?;
        }
        if let (true, Some(name)) = (spec.namespaces.uts, &spec.hostname) {
            rustix::system::sethostname(name.as_bytes()).attempt(|| format!("set host name {name}"))?;
        }
    }
    let directory = &spec.working_directory;
    rustix::process::chdir(directory).attempt(|| format!("enter {}", directory.display()))?;
    give_up_privileges(plan, prepared.user.as_ref())?;
    close_all_on_exec().attempt(|| "close descriptors".into())?;
    let mut command = Command::new(&spec.program);
    if let Some((name, arguments)) = spec.argv.split_first() {
        command.arg0(name).args(arguments);
    }
    command.env_clear().env(CONTAINER_ID_VARIABLE, spec.container_id.as_str());
    command.envs(spec.env.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// The host's file system as the container sees it. All of this ends with the container's last process.
fn mount_all(spec: &ContainerSpec) -> Result<(), Failure> {
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    // What the host mounts and unmounts still arrives, nothing goes back (Mesos: `--make-rslave /`).
    rustix::mount::mount_change("/", slave).attempt(|| "make all mounts slaves".into())?;
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
    spec.mounts.iter().try_for_each(bind)
}

fn bind(mount: &Mount) -> Result<(), Failure> {
    let MountSource::Host(source) = &mount.source else {
        return Err(Failure::new("mount", "a tmpfs needs a root of its own"));
    };
    let what = || format!("bind {} to {}", source.display(), mount.target.display());
    rustix::mount::mount_bind_recursive(source, &mount.target).attempt(what)?;
    if mount.read_only {
        // A bind mount takes its flags only when it is mounted over once more.
        let flags = MountFlags::BIND | MountFlags::RDONLY;
        rustix::mount::mount_remount(&mount.target, flags, c"").attempt(what)?;
    }
    Ok(())
}

fn give_up_privileges(plan: &Plan, user: Option<&User>) -> Result<(), Failure> {
    let mask = Capability::mask(&plan.spec.capabilities);
    let confined = plan.isolation == Isolation::Full;
    if confined {
        for capability in Capability::ALL.iter().filter(|capability| mask & 1 << **capability as u8 == 0) {
            match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(
                1 << *capability as u8,
            )) {
                // This kernel is older than the capability.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(errno) => {
                    return Err(Failure::new(format!("drop capability {}", capability.name()), errno));
                }
            }
        }
    }
    if let Some(user) = user.filter(|user| user.uid != rustix::process::getuid().as_raw()) {
        switch_to(user).attempt(|| format!("become user {}", user.name))?;
    } else if confined {
        let set = CapabilitySet::from_bits_retain(mask);
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: set, permitted: set, inheritable: none };
        rustix::thread::set_capabilities(None, sets).attempt(|| "drop capabilities".into())?;
    }
    if plan.spec.no_new_privileges {
        rustix::thread::set_no_new_privs(true).attempt(|| "forbid new privileges".into())?;
    }
    Ok(())
}

/// Groups first: they cannot be changed any more once the user is another.
fn switch_to(user: &User) -> rustix::io::Result<()> {
    let groups: Vec<_> = user.groups.iter().map(|gid| rustix::fs::Gid::from_raw(*gid)).collect();
    let (uid, gid) = (rustix::fs::Uid::from_raw(user.uid), rustix::fs::Gid::from_raw(user.gid));
    rustix::thread::set_thread_groups(&groups)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}
