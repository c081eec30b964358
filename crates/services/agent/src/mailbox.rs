//! The way to the event loop: everything that happens goes through it, in order.

use agent_core::{Agent, Input};
use tokio::sync::{mpsc, oneshot};

use crate::executor_stream::ExecutorStream;

/// Commands that may wait. Whoever sends more waits with them.
const BACKLOG: usize = 4096;

/// What the event loop takes.
pub(crate) enum Command {
    /// Something happened.
    Input(Input),
    /// An executor subscribed; `input` says so, too.
    Subscribe(Input, ExecutorStream),
    /// Somebody wants to look.
    Read(Box<dyn FnOnce(&Agent) + Send>),
    /// The master welcomed us, and this is the way to it.
    Linked(link::Sender, Input),
    /// The master told us to end for good.
    Leave(String),
}

/// The event loop ended: the service is stopping.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the agent is stopping")]
pub(crate) struct Stopping;

/// Clones lead to the same event loop.
#[derive(Clone)]
pub(crate) struct Mailbox(mpsc::Sender<Command>);

impl Mailbox {
    pub(crate) fn new() -> (Mailbox, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        (Mailbox(sender), receiver)
    }

    /// Tells what happened.
    pub(crate) async fn tell(&self, input: Input) -> Result<(), Stopping> {
        self.send(Command::Input(input)).await
    }

    pub(crate) async fn send(&self, command: Command) -> Result<(), Stopping> {
        self.0.send(command).await.map_err(|_| Stopping)
    }

    /// Looks at the agent between two inputs. `look` must be quick: everything else waits for it.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Agent) -> T + Send + 'static,
    ) -> Result<T, Stopping> {
        let (answer, seen) = oneshot::channel();
        let look = move |agent: &Agent| {
            // The asker may have gone away.
            let _ = answer.send(look(agent));
        };
        self.send(Command::Read(Box::new(look))).await?;
        seen.await.map_err(|_| Stopping)
    }
}
