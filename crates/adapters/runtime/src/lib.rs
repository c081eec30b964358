//! The process a service runs in: its clock, its entropy, how it is told to stop, how it says that
//! it answers, and the [`Supervisor`] that starts it again when it fails.
//!
//! Every service is `async fn run(config, ctx: Ctx) -> Result<(), Error>`: it calls [`Ctx::ready`]
//! once it answers, and returns soon after [`Shutdown::requested`] completes. The same function runs
//! alone in a systemd unit and beside the others in one process.
//!
//! Deliberately absent: what the components are, their order, and their dependencies.

mod clock;
mod ctx;
mod supervisor;

pub use clock::{Clock, entropy};
pub use ctx::{Ctx, Readiness, Shutdown, Stop};
pub use supervisor::{Backoff, BoxError, Component, State, StateChange, Supervisor};

/// Completes with the signal's name when the process is asked to end by SIGINT or SIGTERM.
///
/// # Errors
/// When the handlers cannot be installed.
pub async fn termination() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => Ok("SIGINT"),
        _ = terminate.recv() => Ok("SIGTERM"),
    }
}
