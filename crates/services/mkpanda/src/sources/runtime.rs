use std::future::Future;

/// Waits for a future, on a thread of its own: the caller's may be one on which nothing may wait.
pub(crate) fn wait_for<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("the kernel gives a runtime its descriptors").block_on(future)
    };
    let ended = std::thread::scope(|scope| scope.spawn(run).join());
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
