//! From a launch to the end of a container: one task each, which says what happened to the event loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_core::{Input, Launch, MemoryReport, Process, Termination};
use base::{ContainerId, with_causes};
use containers::{Containers, Exit, ProcessIdentity, Usage};
use mesos_proto::v1::NetworkInfo;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::mailbox::Mailbox;
use crate::nested::Nested;
use crate::provision::{Provided, Provider};

/// The longest wait between two tries to end what does not end.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often the event loop hears how far a preparation is, at most.
const PROGRESS_PAUSE: Duration = Duration::from_millis(500);

/// All containers that are being launched, watched, or ended.
pub(crate) struct Lifecycles {
    context: Arc<Context>,
    /// For each container that is watched, how to ask for its end.
    watched: BTreeMap<ContainerId, Option<oneshot::Sender<()>>>,
    tasks: JoinSet<()>,
}

/// The containers that are being started: their processes may be there, and nothing of it is recorded.
#[derive(Debug, Default)]
struct Starting {
    containers: BTreeSet<ContainerId>,
    /// No more are started: the agent is stopping.
    closed: bool,
}

struct Context {
    containers: Containers,
    provider: Arc<Provider>,
    nested: Arc<Nested>,
    starting: Mutex<Starting>,
    mailbox: Mailbox,
    boot_id: String,
    /// Where the agent listens, as executors are told.
    address: String,
    destroy_errors: Arc<AtomicU64>,
}

impl Lifecycles {
    pub(crate) fn new(
        containers: Containers,
        provider: Arc<Provider>,
        nested: Arc<Nested>,
        mailbox: Mailbox,
        boot_id: String,
        address: String,
        destroy_errors: Arc<AtomicU64>,
    ) -> Lifecycles {
        let starting = Mutex::default();
        let context =
            Context { containers, provider, nested, starting, mailbox, boot_id, address, destroy_errors };
        Lifecycles { context: Arc::new(context), watched: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// Starts no more containers. What is being prepared is given up with this value, and given back by
    /// the agent's next run.
    pub(crate) fn close(&mut self) {
        self.context.starting().closed = true;
    }

    /// Whether a container is on the way of which nothing is recorded yet.
    pub(crate) fn is_starting(&self) -> bool {
        !self.context.starting().containers.is_empty()
    }

    /// The containers that are being launched, watched, or ended.
    pub(crate) fn count(&self) -> usize {
        self.watched.len()
    }

    pub(crate) fn launch(&mut self, launch: Launch) {
        let (end, ended) = oneshot::channel();
        self.watched.insert(launch.run.container_id.clone(), Some(end));
        let context = Arc::clone(&self.context);
        let work = async move { context.launch(launch, ended).await };
        self.tasks.spawn(work.in_current_span());
    }

    /// Watches a container that an earlier run of the agent started.
    pub(crate) fn adopt(&mut self, container_id: ContainerId, process: Process) {
        let (end, ended) = oneshot::channel();
        self.watched.insert(container_id.clone(), Some(end));
        let context = Arc::clone(&self.context);
        let identity = context.identity(process);
        let work = async move { context.watch(container_id, identity, ended).await };
        self.tasks.spawn(work.in_current_span());
    }

    /// Ends a container, also one that nobody watches.
    pub(crate) fn destroy(&mut self, container_id: ContainerId) {
        match self.watched.get_mut(&container_id) {
            Some(end) => {
                // A second request changes nothing; the first one is being carried out.
                end.take().map(|end| end.send(()));
            }
            None => {
                self.watched.insert(container_id.clone(), None);
                let context = Arc::clone(&self.context);
                let work = async move { context.end(container_id, Exit::Unknown).await };
                self.tasks.spawn(work.in_current_span());
            }
        }
    }

    /// To be called with every input before the core gets it.
    pub(crate) fn observe(&mut self, input: &Input) {
        match input {
            Input::ContainerLaunched { container_id, .. } => {
                self.context.starting().containers.remove(container_id);
            }
            Input::ContainerLaunchFailed { container_id, .. }
            | Input::ContainerTerminated { container_id, .. } => {
                self.context.starting().containers.remove(container_id);
                self.watched.remove(container_id);
            }
            _ => return,
        }
        while self.tasks.try_join_next().is_some() {}
    }
}

impl Context {
    fn identity(&self, process: Process) -> ProcessIdentity {
        let Process { pid, start_time } = process;
        ProcessIdentity { pid, start_time, boot_id: self.boot_id.clone() }
    }

    fn starting(&self) -> MutexGuard<'_, Starting> {
        // Nothing panics while it is held.
        self.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn launch(&self, launch: Launch, mut ended: oneshot::Receiver<()>) {
        let container_id = launch.run.container_id.clone();
        let provided = tokio::select! {
            provided = self.prepare(&launch) => provided,
            asked = &mut ended => {
                // An error means that the agent is stopping: what was prepared is found by its next start.
                if asked.is_ok() {
                    self.end(container_id, Exit::Unknown).await;
                }
                return;
            }
        };
        let started = match provided {
            Ok(provided) => self.start(&container_id, provided).await,
            Err(message) => Err(message),
        };
        match started {
            Ok((identity, networks)) => {
                let ProcessIdentity { pid, start_time, .. } = identity;
                let process = Process { pid, start_time };
                let id = container_id.clone();
                let input = Input::ContainerLaunched { container_id: id, process, networks };
                if self.mailbox.tell(input).await.is_ok() {
                    self.watch(container_id, identity, ended).await;
                }
            }
            Err(message) => {
                tracing::warn!(%container_id, message, "a container was not started");
                self.provider.release(&container_id).await;
                let input = Input::ContainerLaunchFailed { container_id, message };
                // An error means that the agent is stopping.
                let _ = self.mailbox.tell(input).await;
            }
        }
    }

    /// Gets what the container needs, telling meanwhile how far that is.
    async fn prepare(&self, launch: &Launch) -> Result<Provided, String> {
        let (tell, mut told) = watch::channel(String::new());
        let container_id = launch.run.container_id.clone();
        let telling = async {
            while told.changed().await.is_ok() {
                let message = told.borrow_and_update().clone();
                let input = Input::ContainerPreparing { container_id: container_id.clone(), message };
                if self.mailbox.tell(input).await.is_err() {
                    break;
                }
                tokio::time::sleep(PROGRESS_PAUSE).await;
            }
            std::future::pending().await
        };
        tokio::select! {
            provided = self.provider.provide(launch, &self.address, &tell) => provided,
            never = telling => never,
        }
    }

    async fn start(
        &self,
        container_id: &ContainerId,
        provided: Provided,
    ) -> Result<(ProcessIdentity, Vec<NetworkInfo>), String> {
        {
            let mut starting = self.starting();
            if starting.closed {
                return Err("the agent is stopping".to_owned());
            }
            starting.containers.insert(container_id.clone());
        }
        let launched = self.containers.launch(provided.spec, provided.attach).await;
        let launched = launched.map_err(|error| with_causes(&error))?;
        let networks = std::mem::take(&mut *provided.networks.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((launched.process, networks))
    }

    async fn watch(&self, container_id: ContainerId, process: ProcessIdentity, ended: oneshot::Receiver<()>) {
        let exit = tokio::select! {
            exit = self.containers.wait(&process) => exit,
            asked = ended => {
                // An error means that the agent is stopping: its containers stay.
                if asked.is_err() {
                    return;
                }
                Exit::Unknown
            }
        };
        self.end(container_id, exit).await;
    }

    /// Clears away what is left of the container. Its tasks are not told to be over before that: they
    /// might still be running.
    async fn end(&self, container_id: ContainerId, exit: Exit) {
        let memory = self.containers.usage(&container_id).ok().map(memory_report);
        self.nested.end_within(&container_id).await;
        let mut pause = Duration::from_millis(100);
        while let Err(error) = self.containers.destroy(&container_id).await {
            self.destroy_errors.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%container_id, error = with_causes(&error), "a container does not end, trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.nested.forget_within(&container_id);
        self.provider.release(&container_id).await;
        let termination = Termination { status: wait_status(exit), memory, message: None };
        let input = Input::ContainerTerminated { container_id, termination };
        // An error means that the agent is stopping; it finds out by itself when it is back.
        let _ = self.mailbox.tell(input).await;
    }
}

/// What the core wants to know of a container's memory.
pub(crate) fn memory_report(usage: Usage) -> MemoryReport {
    let memory = usage.memory.unwrap_or_default();
    let limit = memory.limit_bytes.unwrap_or(0);
    MemoryReport {
        oom_kills: usage.oom_kills,
        limit,
        // The kernel only kills when the limit is reached, and afterwards much of it is free again.
        max_usage: if usage.oom_kills > 0 { limit.max(memory.total_bytes) } else { memory.total_bytes },
        statistics: String::new(),
    }
}

/// As wait(2) gives it.
pub(crate) fn wait_status(exit: Exit) -> Option<i32> {
    match exit {
        Exit::Code(code) => Some((code & 0xff) << 8),
        Exit::Signal(signal) => Some(signal & 0x7f),
        Exit::Unknown => None,
    }
}
