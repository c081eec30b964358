//! Isolated processes: the containers that executors and tasks run in.
//!
//! [`Containers`] starts, watches, measures and ends containers; [`ContainerSpec`] says what runs in one;
//! [`probe`] says what isolation this machine and user allow.
//!
//! # How a container is made
//! [`Containers::launch`] makes the cgroups and spawns a helper, `dcos container-init`
//! ([`container_init_main`]), because namespaces are entered by cloning and only a process with a single
//! thread can be cloned safely. The helper clones the container's init as a child of the *agent*, writes
//! down who it is, and goes away. So the agent gets the exit status and no zombie stays, and an agent that
//! comes back later finds the init by pid, start time and boot id.
//!
//! Under [`Isolation::Full`] the init is PID 1 of a pid namespace of its own and sees the host's file system
//! through a mount namespace of its own: the host's mounts and unmounts still arrive in it, its own do not
//! go back, and the kernel removes them with its last process. `/proc`, `/dev/shm` and `/dev/mqueue` are its
//! own. The network is the host's. Cgroups limit cpu, memory and processes, on v1, v2 and the hybrid.
//!
//! Why not an OCI runtime library: libcontainer 0.7 prepares every root file system by making device nodes
//! and links in its `/dev` and by deleting `/dev/ptmx`. With the host's file system as the root, as command
//! tasks have it, that is the host's own `/dev`; a fresh `/dev` over it would hide the host's devices from
//! tasks. It started a container in 3.4 ms (host file system under a fresh `/dev`) where this takes 1 to 2.
//!
//! # Privileges
//! Root inside keeps the capabilities that docker gives by default ([`Capability::DOCKER_DEFAULT`]), if the
//! spec says so; Mesos gives all. A user that is not root has none. Set-uid programs work unless
//! [`ContainerSpec::no_new_privileges`] is set: command tasks share the host's file system and may use
//! `sudo`, as under Mesos. There is no seccomp filter yet, and no separate root file system.
//!
//! # Invariants
//! - After [`Containers::destroy`] no process, mount, cgroup or file of the container is left.
//! - It needs the container's id alone: no record of containers is kept in memory.
//! - A container whose init was not recorded on disk has never run.

mod capability;
mod cgroup;
mod clone;
mod containers;
mod helper;
mod init;
mod mounts;
mod plain;
mod probe;
mod process;
mod session;
mod spec;
mod tree;
mod usage;
mod user;
mod waits;

pub use capability::Capability;
pub use cgroup::GroupError;
pub use containers::{Config, Containers, DestroyError, Found, LaunchError, Launched, SetUpError};
pub use helper::{OWN_NAME, OWN_PROGRAM};
pub use init::container_init_main;
pub use mounts::{Mount, MountSource, RootFs};
pub use probe::{Missing, Probe, probe};
pub use process::{Exit, ProcessIdentity};
pub use session::{Ending, EnterError, EnterSpec, Entered, Streams, Terminal, WindowSize};
pub use spec::{
    ContainerSpec, Devices, Isolation, KernelFiles, Limits, Namespaces, Network, Rlimit, RlimitResource,
    Seccomp,
};
pub use tree::{CONTAINER_ID_VARIABLE, signal_descendants, signal_tree};
pub use usage::{CpuUsage, MemoryUsage, Throttling, Usage};
pub use user::{User, UserError};
