//! The end that somebody asks for: builds end, nothing half done is left.

use std::io;
use std::process;

use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What shells report of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Becomes true with the first SIGINT or SIGTERM. The second one ends the process at once; the next run sweeps then.
///
/// # Errors
/// When the kernel has no handler to give.
pub(crate) fn watch(runtime: &Handle) -> io::Result<watch::Receiver<bool>> {
    let (cancel, cancelled) = watch::channel(false);
    let _entered = runtime.enter();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    runtime.spawn(async move {
        either(&mut interrupt, &mut terminate).await;
        // Nobody looks any more if it is not received.
        let _ = cancel.send(true);
        either(&mut interrupt, &mut terminate).await;
        process::exit(INTERRUPTED);
    });
    Ok(cancelled)
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
