//! Network namespaces: those of containers, and one of a moment for trying things out.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use base::ContainerId;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::Error;
use crate::socket::Socket;

/// What the threads here need: they make system calls and little else.
const STACK: usize = 256 << 10;

/// The network namespace of process `pid`, which is not the caller's.
pub(crate) fn of_process(container: &ContainerId, pid: u32) -> Result<File, Error> {
    let wrong = |problem: String| Error::Namespace { container: container.clone(), pid, problem };
    let open = |path: String| -> Result<(File, (u64, u64)), Error> {
        let file = File::open(&path).map_err(|error| wrong(format!("opening {path}: {error}")))?;
        let stat = rustix::fs::fstat(&file).map_err(|error| wrong(format!("looking at {path}: {error}")))?;
        Ok((file, (stat.st_dev, stat.st_ino)))
    };
    let (file, identity) = open(format!("/proc/{pid}/ns/net"))?;
    let (_, own) = open("/proc/thread-self/ns/net".to_owned())?;
    if identity == own {
        return Err(wrong("it is in the network of the machine, not in one of its own".to_owned()));
    }
    Ok(file)
}

/// A socket for the interfaces of a namespace.
pub(crate) fn socket_in(namespace: BorrowedFd<'_>) -> io::Result<Socket> {
    // A socket stays in the namespace of the thread that opened it, which must not be one that goes on to
    // do other things.
    in_thread(|| {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
        // As docker has it: a container's ports are its own, so whoever runs in it may have port 80. Of a
        // kernel that does not know it root alone may.
        let _ = std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
        Socket::route()
    })
}

/// Does something in an empty network namespace that is gone afterwards with all that was made in it.
pub(crate) fn in_empty<T: Send>(work: impl FnOnce(BorrowedFd<'_>) -> io::Result<T> + Send) -> io::Result<T> {
    in_thread(|| {
        // SAFETY: the flags do not have FILES: file descriptors stay shared with the other threads.
        #[allow(unsafe_code)]
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
        let namespace = File::open("/proc/thread-self/ns/net")?;
        work(namespace.as_fd())
    })
}

fn in_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".into()).stack_size(STACK);
        let ended = thread.spawn_scoped(scope, work)?.join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
