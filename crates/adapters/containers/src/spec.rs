use std::path::PathBuf;

use base::ContainerId;
use serde::{Deserialize, Serialize};

use crate::capability::Capability;
use crate::mounts::{Mount, RootFs};

/// What runs in a container, and within which bounds. The process started is the container's init: PID 1
/// of its pid namespace under full isolation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Names the container's cgroups and its runtime directory. Letters, digits, `-`, `_` and `.` only,
    /// at most [`ContainerSpec::ID_LIMIT`] bytes.
    pub container_id: ContainerId,
    /// The container that this one is in: it shares its parent's network, host name and cgroups, ends before
    /// its parent does, and its id is `PARENT.NAME`. Its other namespaces and its files are its own; what is
    /// said of the namespaces it shares is ignored. It has to be supervised.
    #[serde(default)]
    pub parent: Option<ContainerId>,
    /// Whether the init is a process of ours that starts the program, takes in orphans, and writes down how
    /// the program ended, so that it is known also if nobody watches at that time. See
    /// [`Containers::status`](crate::Containers::status).
    #[serde(default)]
    pub supervise: bool,
    /// The executable of the init, resolved inside the container. [`OWN_PROGRAM`](crate::OWN_PROGRAM) means
    /// this program.
    pub program: PathBuf,
    /// The init's arguments; the first is what it sees as its own name.
    pub argv: Vec<String>,
    /// The init's whole environment: nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Where the init starts: the task's sandbox. It must exist.
    pub working_directory: PathBuf,
    /// The user the init runs as: `name`, `uid`, `name:group` or `uid:gid`, looked up in the container's own
    /// root; `None` keeps the agent's. The command executor keeps the agent's user and switches when it
    /// starts the task's command.
    pub user: Option<String>,
    /// Bounds on what the container may use. Not enforced under [`Isolation::Plain`].
    pub limits: Limits,
    /// The container's own root file system; `None`: it sees the host's. Refused under
    /// [`Isolation::Plain`].
    #[serde(default)]
    pub root: Option<RootFs>,
    /// Mounts that only the container sees, made in this order.
    pub mounts: Vec<Mount>,
    /// Whose network the container has. Ignored under [`Isolation::Plain`].
    #[serde(default)]
    pub network: Network,
    /// Which namespaces are the container's own. Ignored under [`Isolation::Plain`].
    pub namespaces: Namespaces,
    /// The host name inside the container if it has its own uts namespace; `None` keeps the host's.
    pub hostname: Option<String>,
    /// What root keeps being allowed inside; see the crate's documentation. Ignored under
    /// [`Isolation::Plain`].
    pub capabilities: Vec<Capability>,
    /// Forbids gaining privileges by set-uid programs.
    pub no_new_privileges: bool,
    /// Which system calls are refused. Ignored under [`Isolation::Plain`].
    #[serde(default)]
    pub seccomp: Seccomp,
    /// Which devices a root of its own holds.
    #[serde(default)]
    pub devices: Devices,
    /// What of `/proc` and `/sys` a root of its own shows.
    #[serde(default)]
    pub kernel_files: KernelFiles,
    /// Bounds on single processes, inherited by all that the init starts.
    #[serde(default)]
    pub rlimits: Vec<Rlimit>,
    /// The size of a root's own `/dev/shm`; `None`: [`ContainerSpec::SHM_BYTES`].
    #[serde(default)]
    pub shm_bytes: Option<u64>,
    /// How readily the kernel kills the init when memory runs out, -1000 (never) to 1000. Its children
    /// inherit it unless the init changes it.
    pub oom_score_adjustment: i16,
    /// The init's standard output is appended to this file; it is made if missing. Symbolic links are refused.
    pub stdout: PathBuf,
    /// The same for standard error.
    pub stderr: PathBuf,
}

impl ContainerSpec {
    /// The longest container id taken, in bytes: a directory name with room to spare.
    pub const ID_LIMIT: usize = 200;

    /// The size of `/dev/shm` in docker, 64 MiB.
    pub const SHM_BYTES: u64 = 64 << 20;

    /// A container on the host's file system that runs `program` in `sandbox`, where its output goes too:
    /// docker's capabilities, no limits.
    pub fn new(
        container_id: ContainerId,
        program: impl Into<PathBuf>,
        argv: Vec<String>,
        sandbox: impl Into<PathBuf>,
    ) -> ContainerSpec {
        let sandbox = sandbox.into();
        ContainerSpec {
            container_id,
            parent: None,
            supervise: false,
            program: program.into(),
            argv,
            env: Vec::new(),
            user: None,
            limits: Limits::default(),
            root: None,
            mounts: Vec::new(),
            network: Network::Host,
            namespaces: Namespaces::default(),
            hostname: None,
            capabilities: Capability::DOCKER_DEFAULT.to_vec(),
            no_new_privileges: false,
            seccomp: Seccomp::Off,
            devices: Devices::Default,
            kernel_files: KernelFiles::Masked,
            rlimits: Vec::new(),
            shm_bytes: None,
            oom_score_adjustment: 0,
            stdout: sandbox.join("stdout"),
            stderr: sandbox.join("stderr"),
            working_directory: sandbox,
        }
    }

    /// Takes every confinement away that docker takes from a privileged container: all capabilities, all
    /// devices, nothing masked, no filter. Namespaces, root and limits stay.
    pub fn make_privileged(&mut self) {
        self.capabilities = Capability::ALL.to_vec();
        self.seccomp = Seccomp::Off;
        self.devices = Devices::All;
        self.kernel_files = KernelFiles::All;
        self.no_new_privileges = false;
    }

    /// Whether `id` can name a directory and nothing outside it.
    pub(crate) fn id_is_valid(id: &str) -> bool {
        !id.is_empty()
            && id.len() <= Self::ID_LIMIT
            && !id.starts_with('.')
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    }
}

/// How well a container is separated from its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// Namespaces and cgroups. Needs root.
    Full,
    /// A process in its own session, nothing more.
    Plain,
}

/// Bounds of one container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Thousandths of a cpu the container gets when the machine is contended: `cpu.shares` on cgroup v1,
    /// `cpu.weight` on v2.
    pub cpu_milli: u64,
    /// Thousandths of a cpu it can never exceed (CFS quota); `None`: it may use what is idle.
    pub cpu_quota_milli: Option<u64>,
    /// Memory in bytes; raised to [`Limits::MIN_MEMORY_BYTES`]. `None`: unlimited. Swap is not given on top.
    pub memory_bytes: Option<u64>,
    /// Processes and threads; `None`: unlimited.
    pub pids: Option<u64>,
}

impl Limits {
    /// The least memory a container is limited to (Mesos: `MIN_MEMORY`, 32 MiB).
    pub const MIN_MEMORY_BYTES: u64 = 32 << 20;
    /// Shares of one whole cpu (Mesos: `CPU_SHARES_PER_CPU`).
    pub const SHARES_PER_CPU: u64 = 1024;
    /// The least shares the kernel takes (Mesos: `MIN_CPU_SHARES`).
    pub const MIN_SHARES: u64 = 2;
    /// Length of a CFS period in microseconds (Mesos: `CPU_CFS_PERIOD`, 100 ms).
    pub const CFS_PERIOD_MICROS: u64 = 100_000;
    /// The least CFS quota in microseconds (Mesos: `MIN_CPU_CFS_QUOTA`, 1 ms).
    pub const MIN_CFS_QUOTA_MICROS: u64 = 1_000;

    pub(crate) fn shares(&self) -> u64 {
        (self.cpu_milli.saturating_mul(Self::SHARES_PER_CPU) / 1000).max(Self::MIN_SHARES)
    }

    pub(crate) fn quota_micros(&self) -> Option<u64> {
        let quota = |milli: u64| milli.saturating_mul(Self::CFS_PERIOD_MICROS / 1000);
        self.cpu_quota_milli.map(|milli| quota(milli).max(Self::MIN_CFS_QUOTA_MICROS))
    }

    pub(crate) fn memory(&self) -> Option<u64> {
        self.memory_bytes.map(|bytes| bytes.max(Self::MIN_MEMORY_BYTES))
    }
}

/// Whose network a container has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The host's.
    #[default]
    Host,
    /// A network namespace of its own, empty at first; see [`Containers::launch`](crate::Containers::launch).
    Own,
}

/// Which system calls a container may make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// All.
    #[default]
    Off,
    /// Those of docker's default profile, depending on the container's capabilities. Others fail with
    /// `EPERM`; programs for another architecture than the agent's are killed.
    Default,
}

/// Which devices a root of its own holds in its `/dev`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Devices {
    /// `null`, `zero`, `full`, `random`, `urandom`, `tty` and pseudo-terminals; no other can be opened.
    #[default]
    Default,
    /// All that the host has in its own, and those that the container makes.
    All,
}

/// What of the kernel's own files a root of its own shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KernelFiles {
    /// What docker shows: `/sys` and settings in `/proc` read-only, and nothing of what tells about the
    /// machine's hardware, keys or memory.
    #[default]
    Masked,
    /// All, writable.
    All,
}

/// A bound on each process (`man 2 setrlimit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Of what.
    pub resource: RlimitResource,
    /// The bound in force, in the resource's own unit; `None`: unlimited.
    pub soft: Option<u64>,
    /// How far a process may raise it; `None`: without limit.
    pub hard: Option<u64>,
}

/// What is bounded, by the names of Mesos' `RLimitInfo` without `RLMT_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)] // the kernel's manual says what each one bounds
pub enum RlimitResource {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

/// Which namespaces the container has for itself, besides [`Network`]. A root of its own implies `mount`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Own process ids; everything in it dies with its init. Implies `mount`, for a `/proc` that shows them.
    pub pid: bool,
    /// Own mounts; mounts and unmounts of the host still propagate into it (Mesos: filesystem/linux).
    pub mount: bool,
    /// Own System V IPC, POSIX message queues, and (with `mount`) `/dev/shm`.
    pub ipc: bool,
    /// Own host name.
    pub uts: bool,
}

impl Namespaces {
    pub(crate) fn has_mounts(self) -> bool {
        self.mount || self.pid
    }
}

impl Default for Namespaces {
    fn default() -> Self {
        Self { pid: true, mount: true, ipc: true, uts: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_the_floors_of_mesos() {
        let check = |limits: Limits, expect: (u64, Option<u64>, Option<u64>)| {
            assert_eq!((limits.shares(), limits.quota_micros(), limits.memory()), expect, "{limits:?}");
        };
        check(Limits::default(), (2, None, None));
        let of = |cpu, quota, memory| Limits {
            cpu_milli: cpu,
            cpu_quota_milli: Some(quota),
            memory_bytes: Some(memory),
            pids: None,
        };
        check(of(1, 1, 1), (2, Some(1000), Some(32 << 20)));
        check(of(100, 100, 64 << 20), (102, Some(10_000), Some(64 << 20)));
        check(of(1500, 2000, 1 << 40), (1536, Some(200_000), Some(1 << 40)));
        check(of(u64::MAX, u64::MAX, u64::MAX), (u64::MAX / 1000, Some(u64::MAX), Some(u64::MAX)));
    }

    #[test]
    fn an_id_names_one_directory() {
        for id in ["a", "0f-_A.9", &"x".repeat(200)] {
            assert!(ContainerSpec::id_is_valid(id), "{id}");
        }
        for id in ["", ".", "..", ".a", "a/b", "a b", "ä", &"x".repeat(201)] {
            assert!(!ContainerSpec::id_is_valid(id), "{id}");
        }
    }
}
