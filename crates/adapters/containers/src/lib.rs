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
//! Under [`Isolation::Full`] the init is PID 1 of a pid namespace of its own. Cgroups limit cpu, memory and
//! processes, on v1, v2 and the hybrid. With [`Network::Own`] it has an empty network namespace, which the
//! caller configures while the init waits at its gate. What the init sees as its file system is one of two:
//! - The host's, through a mount namespace of its own: the host's mounts and unmounts still arrive in it, its
//!   own do not go back. `/proc`, `/dev/shm` and `/dev/mqueue` are its own.
//! - A root of its own ([`RootFs`]): an image's layers stacked by overlayfs, `/proc` and `/sys` as docker
//!   shows them, a `/dev` with the devices that every container has.
//!
//! Roots of their own need Linux 5.12. The init makes all mounts itself, in its own namespace, so the kernel
//! removes them with its last process.
//! [`OWN_PROGRAM`] runs inside any root, whatever is in it, by the descriptor of this program's file.
//!
//! [`Containers::enter`] starts one more process in a container, by the same helper: a session, with a
//! terminal of the container's or with pipes.
//!
//! A container with a [`ContainerSpec::parent`] is nested: it has process ids, mounts and a program of its own
//! and shares its parent's network, host name and cgroups. Its init is a supervisor of ours
//! ([`ContainerSpec::supervise`]), which writes down how the program ended: an agent that was away finds it.
//!
//! Why not an OCI runtime library: libcontainer 0.7 prepares every root file system by making device nodes
//! and links in its `/dev` and by deleting `/dev/ptmx`. With the host's file system as the root, as command
//! tasks have it, that is the host's own `/dev`; a fresh `/dev` over it would hide the host's devices from
//! tasks. It started a container in 3.4 ms (host file system under a fresh `/dev`) where this takes 1 to 2.
//!
//! # Privileges
//! Root inside keeps the capabilities that the spec names, usually those that docker gives by default
//! ([`Capability::DOCKER_DEFAULT`]); Mesos gives all. A user that is not root has none. Set-uid programs work
//! unless [`ContainerSpec::no_new_privileges`] is set: command tasks share the host's file system and may use
//! `sudo`, as under Mesos. [`Seccomp::Default`] is docker's filter, compiled here into a tree that costs the
//! kernel 0.1 ms where a chain of comparisons costs 0.7; it ends 32-bit programs of a 64-bit machine, which
//! docker's lets through.
//!
//! Devices in a root of its own are confined without a device cgroup: every mount but those of the devices
//! themselves is `nodev`, so the nodes that a container makes cannot be opened, on cgroup v1 and v2 alike. It
//! holds as long as the container cannot mount (`SYS_ADMIN`), which docker's capabilities exclude.
//!
//! There are no user namespaces: root inside is root, less its capabilities.
//!
//! # Invariants
//! - After [`Containers::destroy`] no process, mount, cgroup, namespace or file of the container is left, nor
//!   what it wrote to its root.
//!   It needs the container's id alone: no record of containers is kept in memory.
//! - No symbolic link of an image or a volume leads a mount or a working directory out of the container's root.
//! - Helpers run from a read-only mount of this program's file, and hold nothing of the host open that a
//!   container could get through `/proc`.
//! - A container whose init was not recorded on disk has never run.
//! - A nested container does not outlive [`Containers::destroy`] of the one it is in.

mod capability;
mod cgroup;
mod channel;
mod clone;
mod containers;
mod helper;
mod init;
mod mounts;
mod nested;
mod plain;
mod probe;
mod process;
mod record;
mod seccomp;
mod session;
mod sessions;
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
