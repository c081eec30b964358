use std::process::Command;
use std::thread;

use rustix::thread::UnshareFlags;

/// Runs `work` in a network of its own, which has nothing but a loopback interface and is gone afterwards. Everything
/// that `work` starts and every connection that it opens from its own thread is in it, so that it may use whatever
/// addresses and ports a user would. Needs root.
///
/// # Panics
/// When the network cannot be made, and when `work` does.
pub fn in_own_network<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            #[allow(unsafe_code)]
            // SAFETY: a network namespace is a thread's own; memory and descriptors stay shared.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.expect("root may make a network");
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
            assert!(up.is_ok_and(|status| status.success()), "ip link set lo up");
            work()
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
