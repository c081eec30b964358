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
mod logging;
mod notify;
mod secret;
mod supervisor;

use tokio::signal::unix::{Signal, SignalKind, signal};

pub use clock::{Clock, entropy};
pub use ctx::{Ctx, Readiness, Shutdown, Stop};
pub use logging::Logging;
pub use notify::tell_ready;
pub use secret::read_secret;
pub use supervisor::{Backoff, BoxError, Component, State, StateChange, Supervisor};

/// The signals that ask the process to end: SIGINT and SIGTERM. From [`Termination::listen`] on they
/// no longer end it by themselves.
#[derive(Debug)]
pub struct Termination {
    interrupt: Signal,
    terminate: Signal,
}

impl Termination {
    /// Starts to listen.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen() -> std::io::Result<Termination> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Termination { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    /// Completes with the signal's name at each one that arrives; none is missed between calls.
    pub async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
