use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout_at};

use crate::{Clock, Ctx, Stop};

/// Any error a component ends with; the supervisor only tells it on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

type RunFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// A service by name, with the way to run it as often as needed.
pub struct Component {
    name: Arc<str>,
    run: Arc<dyn Fn(Ctx) -> RunFuture + Send + Sync>,
}

impl Component {
    /// A component that `run` starts, each time anew on the same directories and ports.
    pub fn new<F, R, E>(name: &str, run: F) -> Component
    where
        F: Fn(Ctx) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let run = move |ctx| -> RunFuture {
            let running = run(ctx);
            Box::pin(async move { running.await.map_err(Into::into) })
        };
        Component { name: name.into(), run: Arc::new(run) }
    }

    /// The name it is told apart by.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How long to wait before a component that failed is started again: `first`, doubled with each
/// failure up to `most`. A run that lasted `forgiven_after` starts from `first` again.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub most: Duration,
    /// A run that lasted this long counts as a success.
    pub forgiven_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff {
            first: Duration::from_millis(200),
            most: Duration::from_secs(10),
            forgiven_after: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    fn after(&self, failures: u32) -> Duration {
        self.first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(self.most)
    }
}

/// What a component is doing now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs and does not yet answer.
    Starting,
    /// It said that it answers.
    Ready,
    /// It ended with an error or a panic, or without being asked; it is started again.
    Failed {
        /// The error, or the panic's message.
        reason: String,
        /// The wait before the next start.
        restart_in: Duration,
    },
    /// It ended as it was asked to.
    Stopped,
}

/// One component's new state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The component's name.
    pub component: Arc<str>,
    /// What it does now.
    pub state: State,
}

/// Runs components, starts again those that fail, and stops all of them in bounded time, as systemd
/// does for separate units.
#[derive(Debug)]
pub struct Supervisor {
    changes: mpsc::Sender<StateChange>,
    backoff: Backoff,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    name: Arc<str>,
    stop: Stop,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// A supervisor of nothing yet. State changes go to the receiver, of which `backlog` wait; when
    /// nobody reads them further ones are only logged.
    pub fn new(backoff: Backoff, backlog: usize) -> (Supervisor, mpsc::Receiver<StateChange>) {
        let (changes, receiver) = mpsc::channel(backlog);
        (Supervisor { changes, backoff, running: Vec::new() }, receiver)
    }

    /// Starts `component` and keeps it running. To be called within a tokio runtime.
    pub fn start(&mut self, component: Component) {
        let (ctx, stop, _) = Ctx::new(&component.name);
        let name = component.name.clone();
        let task = tokio::spawn(keep_running(component, ctx, self.backoff, self.changes.clone()));
        self.running.push(Running { name, stop, task });
    }

    /// Asks all components to stop and waits up to `grace` for them together. Returns the names of
    /// those that did not end in time; they were cut off.
    pub async fn stop(self, grace: Duration) -> Vec<Arc<str>> {
        let deadline = Instant::now() + grace;
        for running in &self.running {
            running.stop.request();
        }
        let mut late = Vec::new();
        for mut running in self.running {
            if timeout_at(deadline, &mut running.task).await.is_err() {
                running.task.abort();
                late.push(running.name);
            }
        }
        late
    }

    /// Stops the component `name` alone, as [`Supervisor::stop`] does with all. Returns whether it
    /// ended in time; true if it is not run here.
    pub async fn stop_one(&mut self, name: &str, grace: Duration) -> bool {
        let Some(at) = self.running.iter().position(|running| &*running.name == name) else {
            return true;
        };
        let mut running = self.running.swap_remove(at);
        running.stop.request();
        let ended = timeout_at(Instant::now() + grace, &mut running.task).await.is_ok();
        running.task.abort();
        ended
    }
}

/// Cuts off its task when it is itself cut off, so that no run outlives its supervisor.
struct AbortOnDrop(JoinHandle<Result<(), BoxError>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep_running(component: Component, ctx: Ctx, backoff: Backoff, changes: mpsc::Sender<StateChange>) {
    let shutdown = ctx.shutdown();
    let tell = |state: State| {
        let change = StateChange { component: component.name.clone(), state };
        if let Err(mpsc::error::TrySendError::Full(change)) = changes.try_send(change) {
            tracing::warn!(component = %change.component, state = ?change.state, "nobody reads state changes");
        }
    };
    let mut failures = 0;
    while !shutdown.is_requested() {
        tell(State::Starting);
        let started = Clock::mono();
        let (of_this_run, readiness) = ctx.renewed();
        // The call itself is within the task too, so that its panic is caught like any other.
        let starting = component.run.clone();
        let mut run = AbortOnDrop(tokio::spawn(async move { starting(of_this_run).await }));
        let ended = tokio::select! {
            ended = &mut run.0 => ended,
            () = async { if readiness.reached().await { tell(State::Ready) } else { std::future::pending().await } } => {
                (&mut run.0).await
            }
        };
        if shutdown.is_requested() && matches!(ended, Ok(Ok(()))) {
            break;
        }
        if Clock::mono().since(started) >= backoff.forgiven_after {
            failures = 0;
        }
        failures += 1;
        let (reason, restart_in) = (reason(ended), backoff.after(failures));
        tracing::error!(component = %component.name, %reason, ?restart_in, "component failed");
        tell(State::Failed { reason, restart_in });
        tokio::select! {
            () = tokio::time::sleep(restart_in) => {}
            () = shutdown.requested() => {}
        }
    }
    tell(State::Stopped);
}

fn reason(ended: Result<Result<(), BoxError>, JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "it ended without being asked".to_owned(),
        Ok(Err(error)) => base::with_causes(&*error),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => format!("panic: {}", message(&*panic)),
            Err(error) => error.to_string(),
        },
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("of no text")
}

#[cfg(test)]
mod tests;
