//! The few system calls that the wrappers do not offer.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The libc crate has it as an `int`, which cannot hold it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of the call returned.
pub(crate) enum Cloned {
    Parent { pid: u32 },
    Child,
}

/// Makes a copy of this process, with `flags` (`CLONE_*`), as a sibling: the child of our parent, which gets
/// its exit status. With `cgroup`, a directory of a v2 tree, the child is born in that group.
///
/// # Safety
/// The process must have one thread only: the child has a copy of the caller's alone, and a lock that
/// another thread held would never be released in it.
pub(crate) unsafe fn clone_sibling(flags: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    // SAFETY: all-zero is a valid clone_args: no stack, no pointers, no signal.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    // With CLONE_PARENT the exit signal is the caller's own and must be given as zero.
    args.flags = (flags | libc::CLONE_PARENT) as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: args lives through the call and has the size given. Without CLONE_VM and with no stack the
    // child goes on on its own copy of this one. The caller promises a single thread.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => Ok(Cloned::Parent { pid: pid as u32 }),
    }
}

/// Makes a copy of this process as its child.
///
/// # Safety
/// As for [`clone_sibling`].
pub(crate) unsafe fn fork() -> io::Result<Cloned> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // Not `clone3`, which docker's filter has programs believe not to exist.
    // SAFETY: as in `clone_sibling`; all the pointers, whose order differs between machines, are null.
    let result = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, none, none, none, none) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => Ok(Cloned::Parent { pid: pid as u32 }),
    }
}

/// Closes every descriptor of this process but `kept`, the standard three too. Only for a process that uses
/// no other from here on and ends with [`exit_now`].
pub(crate) fn close_all_but(kept: i32) {
    let kept = kept as libc::c_uint;
    for (first, last) in [(0, kept.wrapping_sub(1)), (kept + 1, libc::c_uint::MAX)] {
        if kept > 0 || first > 0 {
            // SAFETY: whatever owned them is never used again, as the caller promises. What cannot be
            // closed is not open.
            unsafe { libc::close_range(first, last, 0) };
        }
    }
}

/// Lets no descriptor but the standard three survive the next exec.
pub(crate) fn close_all_on_exec() -> io::Result<()> {
    // SAFETY: only sets a flag on descriptors; closes none.
    match unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives every signal its default effect: what the agent or its starter ignores (SIGPIPE, SIGHUP under
/// nohup) would stay ignored through the exec.
pub(crate) fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: the default disposition runs no code of ours. The kernel refuses KILL, STOP and the two
        // that the C library keeps; their result does not matter.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Ends this process at once, without the parent's exit handlers that a copy inherited.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: never returns and touches no memory.
    unsafe { libc::_exit(status) }
}

/// Adds attributes (`MOUNT_ATTR_*`) to the mount that `mount` is the root of, and with `recursive` to all
/// below it. Since Linux 5.12.
pub(crate) fn add_mount_attributes(
    mount: BorrowedFd<'_>,
    attributes: u64,
    recursive: bool,
) -> io::Result<()> {
    let wanted = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is empty and ends with a zero; `wanted` lives through the call and has the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const wanted,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Puts this thread and all that it starts under a filter. Needs `CAP_SYS_ADMIN` or no-new-privileges.
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions and changes none. `filter` and `program` live through the
    // call.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
