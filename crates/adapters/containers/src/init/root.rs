//! A root file system of the container's own: an image's layers, the kernel's file systems, devices, and the
//! mounts that the container is given.
//!
//! All of it is made in the mount namespace of the new init and found through descriptors, so that no
//! symbolic link of an image leads anywhere outside of the root, and nothing is left when the init ends.
//!
//! Devices are confined by `nodev` on every mount but those of the devices that the container may use: its
//! root may make nodes, but nobody can open them. So no device cgroup (v1) and no program for one (v2) is
//! needed, and both have one behaviour.

pub(super) mod attach;
mod devices;
mod kernel;
mod place;

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};

use super::child::become_slave;
use super::{Attempt, Failure};
use crate::clone::add_mount_attributes;
use crate::mounts::RootFs;
use crate::spec::{ContainerSpec, Devices, KernelFiles};

/// Makes the root and moves this process into it.
pub(super) fn move_into(spec: &ContainerSpec, root: &RootFs) -> Result<(), Failure> {
    become_slave()?;
    // What is made here has the permissions that are asked for, whatever the agent's mask.
    rustix::process::umask(Mode::empty());
    let all_devices = spec.devices == Devices::All;
    let root_fd = mount_layers(root, all_devices)?;
    let proc = kernel::mount_proc(&root_fd)?;
    let sys = kernel::mount_sys(&root_fd, spec.kernel_files)?;
    let dev = devices::make(&root_fd, spec.devices, spec.shm_bytes.unwrap_or(ContainerSpec::SHM_BYTES))?;
    for mount in &spec.mounts {
        let source = attach::Source::open(mount, !all_devices)?;
        let target = place::find(&root_fd, &mount.target, source.kind())
            .map_err(|why| Failure::new(attach::describe(mount), why))?;
        source.attach(&target).attempt(|| attach::describe(mount))?;
    }
    if spec.kernel_files == KernelFiles::Masked {
        kernel::mask(&proc, &sys, &dev)?;
    }
    if root.read_only {
        add_mount_attributes(root_fd.as_fd(), libc::MOUNT_ATTR_RDONLY, false)
            .attempt(|| "make the root read-only".into())?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    pivot(&root_fd).attempt(|| "enter the image's root".into())
}

/// Stacks the layers below the container's own directory; returns the root of the mount.
fn mount_layers(root: &RootFs, with_devices: bool) -> Result<OwnedFd, Failure> {
    if root.layers.is_empty() || root.layers.len() > RootFs::LAYERS_LIMIT {
        let why = format!("it has {} layers; 1 to {} are allowed", root.layers.len(), RootFs::LAYERS_LIMIT);
        return Err(Failure::new("stack the image's layers", why));
    }
    let layers = root.layers.iter().map(|layer| directory(layer)).collect::<Result<Vec<_>, _>>()?;
    let [upper, work] = ["upper", "work"].map(|name| root.upper_dir.join(name));
    make_upper(root)?;
    for path in [&upper, &work] {
        fs::create_dir_all(path).attempt(|| format!("make {}", path.display()))?;
    }
    // The merged root directory shows the upper one's permissions; it should be the image's.
    if let Some(top) = root.layers.last() {
        let like = fs::metadata(top).attempt(|| format!("look at {}", top.display()))?;
        chown(&upper, Some(like.uid()), Some(like.gid()))
            .and_then(|()| fs::set_permissions(&upper, fs::Permissions::from_mode(like.mode() & 0o7777)))
            .attempt(|| format!("set up {}", upper.display()))?;
    }
    let (upper, work) = (directory(&upper)?, directory(&work)?);
    // Named by descriptors relative to `/proc/self/fd`: the kernel takes a page of options, which the paths of
    // a few dozen layers exceed, and a path may contain what separates them.
    let numbers: Vec<String> = layers.iter().rev().map(|layer| layer.as_raw_fd().to_string()).collect();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", numbers.join(":"), upper.as_raw_fd(), work.as_raw_fd());
    let what = || format!("stack the image's layers over {}", root.upper_dir.display());
    let flags = if with_devices { MountFlags::empty() } else { MountFlags::NODEV };
    rustix::process::chdir("/proc/self/fd").attempt(what)?;
    let mount = |options: &str| {
        let options = std::ffi::CString::new(options).map_err(|_| rustix::io::Errno::INVAL)?;
        // Over the directory that holds the two, which are open: a place that nobody else has a use for.
        rustix::mount::mount(c"overlay", &root.upper_dir, c"overlay", flags, options.as_c_str())
    };
    // Volatile: what a container wrote is gone with it anyway, so nothing waits for the disk at its end.
    // Kernels before 5.10 do not know the word, and memory has no use for it.
    let mounted = match root.read_only {
        true => mount(&options),
        false => match mount(&format!("{options},volatile")) {
            Err(rustix::io::Errno::INVAL) => mount(&options),
            result => result,
        },
    };
    mounted.attempt(what)?;
    directory(&root.upper_dir)
}

/// Makes the directory in which the container's own one is, closed to all others: an agent's other users have no
/// business in a container's files.
fn make_upper(root: &RootFs) -> Result<(), Failure> {
    let what = || format!("make {}", root.upper_dir.display());
    fs::create_dir_all(&root.upper_dir).attempt(what)?;
    if root.read_only {
        // All that is ever written are the places of mounts. They are in memory, and go with this mount namespace.
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        return rustix::mount::mount(c"tmpfs", &root.upper_dir, c"tmpfs", flags, c"mode=700").attempt(what);
    }
    fs::set_permissions(&root.upper_dir, fs::Permissions::from_mode(0o700)).attempt(what)
}

fn directory(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).attempt(|| format!("open {}", path.display()))
}

/// Makes `root` the root of this process' mount namespace and lets the host's go.
fn pivot(root: &OwnedFd) -> rustix::io::Result<()> {
    rustix::process::fchdir(root)?;
    // The host's root is mounted over the new one, where the working directory leads to it.
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}
