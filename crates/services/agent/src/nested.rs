//! Containers in containers (Mesos: nested containers): what executors start for their tasks below their own
//! container.
//!
//! A nested container lives as long as its program, at most as long as the container it is in, and however
//! often the agent is restarted meanwhile. How it ended is remembered until it is removed or the outermost
//! container ends. One record each says what the next run of the agent has to know.

mod calls;
mod launch;
mod sandbox;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use base::{ContainerId, with_causes};
use containers::{Containers, Exit, ProcessIdentity};
use mesos_proto::v1;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) use calls::{answer, find, is_launch, kill, may_be, named, remove, user_named};
pub(crate) use sandbox::sandbox_below;
use store::{Record, Store, Termination};

use crate::lifecycle::wait_status;
use crate::provision::Provider;

/// Containers below one outermost container that are remembered at a time, also those that are over.
const MOST: usize = 1000;
/// How long a program that was killed may take to end before its whole container is.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();
/// Between two tries to end what does not end.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// All nested containers of an agent.
pub(crate) struct Nested {
    containers: Containers,
    provider: Arc<Provider>,
    store: Store,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    containers: BTreeMap<ContainerId, Arc<Container>>,
    /// Containers that are ending, in which nothing is started any more.
    ending: BTreeSet<ContainerId>,
    tasks: JoinSet<()>,
    /// The agent is stopping.
    closed: bool,
}

/// One nested container.
pub(crate) struct Container {
    id: ContainerId,
    user: Mutex<Option<String>>,
    sandbox: PathBuf,
    resources: store::Amounts,
    process: OnceLock<ProcessIdentity>,
    asked_to_end: watch::Sender<bool>,
    over: watch::Sender<Option<Termination>>,
}

/// Why a container is not even tried.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("the container was launched already")]
    Exists,
    #[error("Parent container {0} does not exist")]
    NoParent(ContainerId),
    #[error("Parent container {0} is in 'DESTROYING' state")]
    Ending(ContainerId),
    #[error("container {0} has {MOST} containers already, and no more are allowed")]
    Many(ContainerId),
    #[error("the agent is stopping")]
    Stopping,
}

impl Container {
    fn new(record: &Record) -> Container {
        Container {
            id: ContainerId::new(&record.container_id),
            user: Mutex::new(record.user.clone()),
            sandbox: record.sandbox.clone(),
            resources: record.resources,
            process: OnceLock::new(),
            asked_to_end: watch::Sender::new(false),
            over: watch::Sender::new(record.termination),
        }
    }

    fn record(&self, termination: Option<Termination>) -> Record {
        Record {
            container_id: self.id.to_string(),
            user: self.user(),
            sandbox: self.sandbox.clone(),
            resources: self.resources,
            termination,
        }
    }

    /// The user that it runs as; None is the agent's.
    pub(crate) fn user(&self) -> Option<String> {
        self.user.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_user(&self, user: Option<String>) {
        *self.user.lock().unwrap_or_else(PoisonError::into_inner) = user;
    }

    /// What it was said to need.
    pub(crate) fn resources(&self) -> (Option<f64>, Option<u64>) {
        (self.resources.cpus, self.resources.mem_bytes)
    }

    /// Its first process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.get().filter(|_| !self.is_over()).map(|process| process.pid)
    }

    fn is_over(&self) -> bool {
        self.over.borrow().is_some()
    }

    async fn termination(&self) -> Termination {
        let mut over = self.over.subscribe();
        let known = over.wait_for(Option::is_some).await;
        // The sender is this very container's.
        known.ok().and_then(|known| *known).unwrap_or_default()
    }

    async fn asked(&self) {
        // The sender is this very container's.
        let _ = self.asked_to_end.subscribe().wait_for(|asked| *asked).await;
    }

    /// Its id in the API.
    pub(crate) fn message(&self) -> v1::ContainerId {
        let mut parts = self.id.as_str().split('.');
        let first = v1::ContainerId { value: parts.next().unwrap_or_default().to_owned(), parent: None };
        parts.fold(first, |parent, value| v1::ContainerId {
            value: value.to_owned(),
            parent: Some(Box::new(parent)),
        })
    }
}

/// The outermost container of one that may be in others.
pub(crate) fn root_of(id: &ContainerId) -> ContainerId {
    id.as_str().split('.').next().unwrap_or_default().into()
}

/// Whether a container is in another one.
pub(crate) fn is_nested(id: &ContainerId) -> bool {
    id.as_str().contains('.')
}

fn is_below(id: &ContainerId, outer: &ContainerId) -> bool {
    id.as_str().strip_prefix(outer.as_str()).is_some_and(|rest| rest.starts_with('.'))
}

impl Nested {
    pub(crate) fn new(containers: Containers, provider: Arc<Provider>, dir: &Path) -> Nested {
        Nested { containers, provider, store: Store::new(dir), all: Mutex::default() }
    }

    /// Takes up what earlier runs of the agent started in containers that are still there, and clears away
    /// all else. `alive` is what runs, `is_known` says which outermost containers are the agent's.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub(crate) fn recover(
        self: &Arc<Self>,
        alive: &BTreeMap<ContainerId, Option<ProcessIdentity>>,
        is_known: impl Fn(&ContainerId) -> bool,
    ) -> io::Result<()> {
        let mut known = BTreeSet::new();
        for record in self.store.read()? {
            let container = Arc::new(Container::new(&record));
            if !is_known(&root_of(&container.id)) {
                self.store.remove(&container.id);
                continue;
            }
            known.insert(container.id.clone());
            self.lock().containers.insert(container.id.clone(), Arc::clone(&container));
            match alive.get(&container.id) {
                Some(Some(process)) if record.termination.is_none() => self.watch(container, process.clone()),
                left => {
                    let is_left = left.is_some();
                    if record.termination.is_none() || is_left {
                        self.spawn(|nested| async move { nested.conclude(&container, Exit::Unknown).await });
                    }
                }
            }
        }
        for id in alive.keys().filter(|id| !known.contains(*id)) {
            let id = id.clone();
            self.spawn(|nested| async move { nested.destroy(&id).await });
        }
        Ok(())
    }

    /// Watches no container any more: the agent stops, and they run on.
    pub(crate) fn close(&self) {
        let mut all = self.lock();
        all.closed = true;
        all.tasks.abort_all();
    }

    /// A container that was launched and not removed.
    pub(crate) fn get(&self, id: &ContainerId) -> Option<Arc<Container>> {
        self.lock().containers.get(id).cloned()
    }

    /// Those that run, in the order of their ids.
    pub(crate) fn running(&self) -> Vec<Arc<Container>> {
        self.lock().containers.values().filter(|container| container.pid().is_some()).cloned().collect()
    }

    /// Ends everything in a container; nothing is started in it from here on.
    pub(crate) async fn end_within(&self, outer: &ContainerId) {
        let inner: Vec<_> = {
            let mut all = self.lock();
            all.ending.insert(outer.clone());
            let inner = all.containers.values().filter(|container| is_below(&container.id, outer));
            inner.filter(|container| !container.is_over()).cloned().collect()
        };
        for container in &inner {
            container.asked_to_end.send_replace(true);
        }
        for container in inner {
            container.termination().await;
        }
    }

    /// Forgets everything in a container that is gone.
    pub(crate) fn forget_within(&self, outer: &ContainerId) {
        let mut all = self.lock();
        all.ending.remove(outer);
        all.containers.retain(|id, _| {
            let stays = !is_below(id, outer);
            if !stays {
                self.store.remove(id);
            }
            stays
        });
    }

    /// Forgets one that is over, and what was in it.
    fn forget(&self, id: &ContainerId) {
        self.forget_within(id);
        self.lock().containers.remove(id);
        self.store.remove(id);
    }

    /// Takes the name for a container that is going to be launched in `parent`.
    fn claim(self: &Arc<Self>, parent: &ContainerId, record: &Record) -> Result<Claimed, Refused> {
        let container = Arc::new(Container::new(record));
        let mut all = self.lock();
        if all.closed {
            return Err(Refused::Stopping);
        }
        if all.containers.contains_key(&container.id) {
            return Err(Refused::Exists);
        }
        if is_nested(parent) && all.containers.get(parent).is_none_or(|parent| parent.pid().is_none()) {
            return Err(Refused::NoParent(parent.clone()));
        }
        if let Some(ending) = all.ending.iter().find(|id| *id == parent || is_below(parent, id)) {
            return Err(Refused::Ending(ending.clone()));
        }
        let root = root_of(&container.id);
        if all.containers.keys().filter(|id| is_below(id, &root)).count() >= MOST {
            return Err(Refused::Many(root));
        }
        all.containers.insert(container.id.clone(), Arc::clone(&container));
        drop(all);
        Ok(Claimed { nested: Arc::clone(self), container, is_started: false })
    }

    fn watch(self: &Arc<Self>, container: Arc<Container>, process: ProcessIdentity) {
        // Nobody else sets it.
        let _ = container.process.set(process.clone());
        self.spawn(|nested| async move {
            let exit = tokio::select! {
                exit = nested.containers.wait(&process) => exit,
                () = container.asked() => nested.kill(&container, &process).await,
            };
            nested.conclude(&container, exit).await;
        });
    }

    /// Kills the program, so that its supervisor can tell of it.
    async fn kill(&self, container: &Container, process: &ProcessIdentity) -> Exit {
        if let Err(error) = self.containers.signal(&container.id, SIGKILL) {
            tracing::warn!(container = %container.id, %error, "a nested container's program cannot be killed");
        }
        let ended = tokio::time::timeout(KILL_PATIENCE, self.containers.wait(process)).await;
        ended.unwrap_or(Exit::Signal(SIGKILL))
    }

    /// Clears away what is left of a container and tells how it ended.
    async fn conclude(&self, container: &Container, exit: Exit) {
        Box::pin(self.end_within(&container.id)).await;
        let known = *container.over.borrow();
        let termination = known.unwrap_or_else(|| {
            let exit = self.containers.status(&container.id).unwrap_or(exit);
            Termination { status: wait_status(exit) }
        });
        // Before what it was found out from is removed.
        if let Err(error) = self.store.write(&container.record(Some(termination))) {
            tracing::error!(container = %container.id, %error, "it will not be known how a container ended");
        }
        self.destroy(&container.id).await;
        self.lock().ending.remove(&container.id);
        container.over.send_replace(Some(termination));
    }

    /// Clears away what the kernel and the disk have of a container; its sandbox stays.
    async fn destroy(&self, id: &ContainerId) {
        let mut pause = SHORTEST_PAUSE;
        while let Err(error) = self.containers.destroy(id).await {
            tracing::warn!(container = %id, error = with_causes(&error), "a container does not end, trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.provider.release(id).await;
    }

    /// Does work that ends with this run of the agent.
    fn spawn<F: Future<Output = ()> + Send + 'static>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> F) {
        let work = work(Arc::clone(self));
        let mut all = self.lock();
        if !all.closed {
            while all.tasks.try_join_next().is_some() {}
            all.tasks.spawn(work);
        }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        // Nothing panics while it is held.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the watching when it is dropped, however the run of the agent ends.
pub(crate) struct Watching(pub(crate) Arc<Nested>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A name that is taken. Dropping it without a container gives it back.
struct Claimed {
    nested: Arc<Nested>,
    container: Arc<Container>,
    is_started: bool,
}

impl Claimed {
    /// The container runs from here on, until its program ends.
    fn run(mut self, process: ProcessIdentity) {
        self.is_started = true;
        self.nested.watch(Arc::clone(&self.container), process);
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if !self.is_started {
            self.nested.store.remove(&self.container.id);
            self.nested.lock().containers.remove(&self.container.id);
            // For those who wait for its end.
            self.container.over.send_replace(Some(Termination::default()));
        }
    }
}
