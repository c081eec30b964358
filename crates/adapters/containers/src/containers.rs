use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::ContainerId;
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;

use crate::cgroup::{Group, GroupError, Hierarchy};
use crate::helper::{self, Helper};
use crate::init::{Plan, Request};
use crate::nested;
use crate::plain;
use crate::probe::{self, Missing, Probe};
use crate::process::{self, Exit, ProcessIdentity};
use crate::record::Record;
use crate::spec::{ContainerSpec, Isolation, Limits};
use crate::tree::container_marker;
use crate::usage::Usage;
use crate::waits::Waits;

/// Where containers live and how they are made.
#[derive(Clone, Debug)]
pub struct Config {
    /// Holds one directory per container, with its init's identity. Made if missing; private to the agent.
    pub runtime_dir: PathBuf,
    /// The containers' parent group below each cgroup tree's mount, such as `dcos/agent-1`. Each agent of
    /// a machine needs its own.
    pub cgroup_root: PathBuf,
    /// [`Isolation::Full`] is refused where it cannot be had; ask [`crate::probe`] first.
    pub isolation: Isolation,
    /// The command that runs [`crate::container_init_main`].
    pub helper: Vec<OsString>,
    /// A launch that takes longer has failed.
    pub launch_timeout: Duration,
    /// How long [`Containers::destroy`] waits for killed processes to be gone.
    pub destroy_timeout: Duration,
}

impl Config {
    /// The usual one: this program as its own helper, 10 s for a launch, 15 s for an end.
    pub fn new(
        runtime_dir: impl Into<PathBuf>,
        cgroup_root: impl Into<PathBuf>,
        isolation: Isolation,
    ) -> Self {
        Self {
            runtime_dir: runtime_dir.into(),
            cgroup_root: cgroup_root.into(),
            isolation,
            helper: vec![helper::OWN_PROGRAM.into(), "container-init".into()],
            launch_timeout: Duration::from_secs(10),
            destroy_timeout: Duration::from_secs(15),
        }
    }
}

/// Why containers cannot be made here.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The cgroup root is not a relative path of plain names.
    #[error("cgroup root {}: only a relative path without . and .. is allowed", .0.display())]
    CgroupRoot(PathBuf),
    /// Full isolation was asked for and is not to be had.
    #[error("full isolation is not possible here: {}", why(.0))]
    Isolation(Vec<Missing>),
    /// The helper's command is empty.
    #[error("the helper's command is empty")]
    Helper,
    /// The runtime directory could not be made.
    #[error("cannot make {}", path.display())]
    RuntimeDir {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

fn why(missing: &[Missing]) -> String {
    missing.iter().map(|m| format!("{}: {}", m.what, m.why)).collect::<Vec<_>>().join("; ")
}

/// Why a container could not be started. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The container's id cannot name a directory.
    #[error(
        "container id {0:?}: only letters, digits, -, _ and ., at most 200 of them, not beginning with ."
    )]
    Id(ContainerId),
    /// A container in another one is named after that, and has to be supervised.
    #[error("container {container_id}: in {parent} it has to be supervised, and its id to be {parent}.NAME")]
    NotNested {
        /// The container.
        container_id: ContainerId,
        /// The one it was to be in.
        parent: ContainerId,
    },
    /// The container that it was to be in does not run.
    #[error("container {0} does not run")]
    NoParent(ContainerId),
    /// A container of this id exists.
    #[error("container {0} exists already")]
    Exists(ContainerId),
    /// The container's runtime directory could not be made.
    #[error("cannot make {}", path.display())]
    RuntimeDir {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A cgroup could not be made or limited.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The helper process could not be run.
    #[error("cannot {attempt} the container helper")]
    Helper {
        /// `start`, `ask` or `hear`.
        attempt: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The helper said nothing that could be understood.
    #[error("the container helper ended without an answer: {0}")]
    NoAnswer(String),
    /// The helper tried and failed.
    #[error("cannot {attempt}: {why}")]
    Failed {
        /// What was attempted on what.
        attempt: String,
        /// What the kernel said.
        why: String,
    },
    /// Without root there are no mounts.
    #[error("an image needs an agent that runs as root: this one runs tasks as plain processes")]
    RootNeedsIsolation,
    /// What the container is could not be written down.
    #[error("cannot write {}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The caller's own preparation failed.
    #[error("{0}")]
    Prepare(String),
    /// It took longer than [`Config::launch_timeout`].
    #[error("the container did not start within {0:?}")]
    Timeout(Duration),
    /// The runtime is shutting down.
    #[error("the launch was cancelled")]
    Cancelled,
}

/// Why a container could not be ended completely. Calling again goes on where it stopped.
#[derive(Debug, thiserror::Error)]
pub enum DestroyError {
    /// Something survived [`Config::destroy_timeout`].
    #[error("container {container_id} is still there after {after:?}: {what}")]
    Survives {
        /// Which container.
        container_id: ContainerId,
        /// How long was waited.
        after: Duration,
        /// What is left: processes by their ids, or a group.
        what: String,
    },
    /// A file, group or process could not be worked on.
    #[error("cannot {attempt} of container {container_id}")]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// Which container.
        container_id: ContainerId,
        /// What the kernel said.
        source: io::Error,
    },
    /// The runtime is shutting down.
    #[error("the work was cancelled")]
    Cancelled,
}

/// A container that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launched {
    /// Its init; to be checkpointed.
    pub process: ProcessIdentity,
}

/// A container found on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which one.
    pub container_id: ContainerId,
    /// Its init, if it got as far as having one.
    pub process: Option<ProcessIdentity>,
    /// Whether the init runs.
    pub alive: bool,
}

/// The containers of one agent. Cheap to clone.
///
/// Keeps no record of its containers: everything is found again on disk and in the kernel, so an agent that
/// was restarted goes on as if it had not been.
#[derive(Clone, Debug)]
pub struct Containers {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) helper: Helper,
    hierarchies: Vec<Hierarchy>,
    missing: Vec<Missing>,
    /// Bounds the helpers at work, and with them the threads they are waited on.
    pub(crate) launches: Arc<Semaphore>,
    waits: Waits,
}

/// Helpers at work at one time: more only wait for each other in the kernel.
const PARALLEL_LAUNCHES: usize = 16;

impl Containers {
    /// Prepares the runtime directory and the cgroup root.
    pub fn new(config: Config) -> Result<Containers, SetUpError> {
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        if config.cgroup_root.as_os_str().is_empty() || !config.cgroup_root.components().all(plain) {
            return Err(SetUpError::CgroupRoot(config.cgroup_root));
        }
        let helper = Helper::new(&config.helper, config.isolation == Isolation::Full);
        let helper = helper.ok_or(SetUpError::Helper)?;
        let (probe, hierarchies) = match config.isolation {
            Isolation::Full => probe::look(&config.cgroup_root),
            Isolation::Plain => (Probe { isolation: Isolation::Plain, missing: Vec::new() }, Vec::new()),
        };
        if probe.isolation != config.isolation {
            return Err(SetUpError::Isolation(probe.missing));
        }
        use std::os::unix::fs::DirBuilderExt;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.runtime_dir);
        made.map_err(|source| SetUpError::RuntimeDir { path: config.runtime_dir.clone(), source })?;
        let launches = Arc::new(Semaphore::new(PARALLEL_LAUNCHES));
        let waits = Waits::default();
        let shared = Shared { config, helper, hierarchies, missing: probe.missing, launches, waits };
        Ok(Containers { shared: Arc::new(shared) })
    }

    /// What of full isolation this machine does not have, such as a cgroup controller.
    pub fn missing(&self) -> &[Missing] {
        &self.shared.missing
    }

    /// How containers are separated here.
    pub fn isolation(&self) -> Isolation {
        self.shared.config.isolation
    }

    /// Starts a container and returns once its init executes its program. On failure nothing is left of it.
    ///
    /// With [`Network::Own`](crate::Network::Own) `prepare` is called on a thread for blocking work with the
    /// init's pid, while the init exists in its namespaces but has yet to run its program: this is when its
    /// network is configured. An error ends the launch. How long it takes does not count against
    /// [`Config::launch_timeout`].
    pub async fn launch(
        &self,
        spec: ContainerSpec,
        prepare: impl FnOnce(u32) -> Result<(), String> + Send + 'static,
    ) -> Result<Launched, LaunchError> {
        let container_id = spec.container_id.clone();
        if !ContainerSpec::id_is_valid(container_id.as_str()) {
            return Err(LaunchError::Id(container_id));
        }
        if let Some(parent) = &spec.parent
            && !(spec.supervise && spec.namespaces.pid && nested::is_within(&container_id, parent))
        {
            return Err(LaunchError::NotNested { container_id, parent: parent.clone() });
        }
        if spec.root.is_some() && self.shared.config.isolation == Isolation::Plain {
            return Err(LaunchError::RootNeedsIsolation);
        }
        let shared = Arc::clone(&self.shared);
        let permit = Arc::clone(&self.shared.launches).acquire_owned().await;
        let permit = permit.map_err(|_| LaunchError::Cancelled)?;
        let launch = move || {
            // Held until it is done, also if nobody waits for that any more.
            let _permit = permit;
            shared.launch(spec, prepare)
        };
        let launched = tokio::task::spawn_blocking(launch).await;
        match launched.unwrap_or(Err(LaunchError::Cancelled)) {
            Ok(process) => Ok(Launched { process }),
            Err(error @ LaunchError::Exists(_)) => Err(error),
            Err(error) => {
                // The launch's own error says more than one about the clearing up, which the agent's
                // next look at [`Containers::list`] repeats.
                let _ = self.destroy(&container_id).await;
                Err(error)
            }
        }
    }

    /// Waits until the process has ended; at once if it is gone already. Its exit status is kept for others
    /// who wait until [`Containers::destroy`] takes it.
    pub async fn wait(&self, process: &ProcessIdentity) -> Exit {
        let waiting = self.shared.waits.enter(process);
        let Ok(Some(pidfd)) = process.open() else { return waiting.told() };
        let Ok(pidfd) = process::watch(pidfd) else { return waiting.told() };
        // An error means that the runtime goes away.
        let _ = pidfd.readable().await;
        match process::exit(pidfd.get_ref()) {
            Exit::Unknown => waiting.told(),
            exit => exit,
        }
    }

    /// Ends every process of the container, waits until they are gone, and removes its groups and files, and
    /// the same of all containers in it. Needs nothing but the id, and no error if there is no such container.
    pub async fn destroy(&self, container_id: &ContainerId) -> Result<(), DestroyError> {
        if !ContainerSpec::id_is_valid(container_id.as_str()) {
            return Ok(());
        }
        let deadline = tokio::time::Instant::now() + self.shared.config.destroy_timeout;
        // First: nothing is made any more in one that does not run.
        let ended = self.end_init(container_id, deadline).await?;
        let (shared, id) = (Arc::clone(&self.shared), container_id.clone());
        let nested = tokio::task::spawn_blocking(move || shared.nested_in(&id)).await;
        for nested in nested.map_err(|_| DestroyError::Cancelled)? {
            let deadline = tokio::time::Instant::now() + self.shared.config.destroy_timeout;
            let ended = self.end_init(&nested, deadline).await?;
            self.clear_away(&nested, ended, deadline).await?;
        }
        self.clear_away(container_id, ended, deadline).await
    }

    async fn clear_away(
        &self,
        container_id: &ContainerId,
        ended: Option<EndedInit>,
        deadline: tokio::time::Instant,
    ) -> Result<(), DestroyError> {
        let timeout = self.shared.config.destroy_timeout;
        let (init, pidfd) = match ended {
            Some((init, pidfd)) => (Some(init), pidfd),
            None => (None, None),
        };
        // The kernel removes what is killed within microseconds to milliseconds.
        let mut pause = Duration::from_micros(200);
        loop {
            let (shared, id, of) = (Arc::clone(&self.shared), container_id.clone(), init.clone());
            let left = tokio::task::spawn_blocking(move || shared.clear(&id, of.as_ref())).await;
            match left.map_err(|_| DestroyError::Cancelled)?? {
                None => {
                    if let (Some(init), Some(pidfd)) = (&init, pidfd) {
                        self.shared.waits.tell(init, process::exit(pidfd.get_ref()));
                        process::reap(pidfd.get_ref());
                    }
                    return Ok(());
                }
                Some(what) if tokio::time::Instant::now() >= deadline => {
                    let container_id = container_id.clone();
                    return Err(DestroyError::Survives { container_id, after: timeout, what });
                }
                Some(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    /// Kills the init, and with it its pid namespace, and waits for its end. Gives back who it was, and a
    /// handle if it has yet to be reaped.
    async fn end_init(
        &self,
        container_id: &ContainerId,
        deadline: tokio::time::Instant,
    ) -> Result<Option<EndedInit>, DestroyError> {
        let failed = |attempt| {
            let container_id = container_id.clone();
            move |source| DestroyError::Io { attempt, container_id, source }
        };
        let Some(process) = self.shared.read_state(container_id.as_str()) else { return Ok(None) };
        let Some(pidfd) = process.open().map_err(failed("open the init"))? else {
            return Ok(Some((process, None)));
        };
        if self.shared.config.isolation == Isolation::Plain {
            let (shared, id, init) = (Arc::clone(&self.shared), container_id.clone(), process.clone());
            let stopped = tokio::task::spawn_blocking(move || {
                plain::end_members(&init, &container_marker(id.as_str()), shared.config.destroy_timeout);
            });
            stopped.await.map_err(|_| DestroyError::Cancelled)?;
        }
        process::kill(&pidfd).map_err(failed("kill the init"))?;
        let pidfd = process::watch(pidfd).map_err(failed("watch the init"))?;
        if tokio::time::timeout_at(deadline, pidfd.readable()).await.is_err() {
            return Err(DestroyError::Survives {
                container_id: container_id.clone(),
                after: self.shared.config.destroy_timeout,
                what: format!("process {}", process.pid),
            });
        }
        Ok(Some((process, Some(pidfd))))
    }

    /// Every container on this machine that belongs to this configuration, in the order of their ids. Blocks
    /// for a few directory listings and a file for each container.
    pub fn list(&self) -> io::Result<Vec<Found>> {
        let mut ids = BTreeSet::new();
        add_directories(&self.shared.config.runtime_dir, &mut ids)?;
        for hierarchy in &self.shared.hierarchies {
            add_directories(&hierarchy.mount.join(&self.shared.config.cgroup_root), &mut ids)?;
        }
        let found = |id: String| {
            let process = self.shared.read_state(&id);
            let alive = process.as_ref().is_some_and(ProcessIdentity::is_alive);
            Found { container_id: ContainerId::from(id), process, alive }
        };
        Ok(ids.into_iter().filter(|id| ContainerSpec::id_is_valid(id)).map(found).collect())
    }

    /// What the container uses now. Blocks for reading a handful of control files; under plain isolation for
    /// a walk of `/proc`, and it is the sum over the processes found.
    pub fn usage(&self, container_id: &ContainerId) -> Result<Usage, GroupError> {
        match self.shared.config.isolation {
            Isolation::Full => self.shared.group(container_id.as_str()).usage(),
            Isolation::Plain => {
                let marker = container_marker(container_id.as_str());
                Ok(plain::usage(self.shared.read_state(container_id.as_str()), &marker))
            }
        }
    }

    /// How often the kernel killed one of its processes because it reached the memory limit.
    pub fn oom_kills(&self, container_id: &ContainerId) -> Result<u64, GroupError> {
        self.shared.group(container_id.as_str()).oom_kills()
    }

    /// Changes the limits of a running container. Nothing happens under plain isolation.
    pub fn update(&self, container_id: &ContainerId, limits: &Limits) -> Result<(), GroupError> {
        self.shared.group(container_id.as_str()).limit(limits)
    }

    /// Removes the runtime directory and the cgroup root, if no container is left in them.
    pub fn retire(self) -> io::Result<()> {
        let shared = &self.shared;
        fs::remove_dir(&shared.config.runtime_dir)?;
        for hierarchy in &shared.hierarchies {
            // Parents may be shared with other agents: they go when the last one does.
            for root in shared.config.cgroup_root.ancestors().filter(|path| !path.as_os_str().is_empty()) {
                if fs::remove_dir(hierarchy.mount.join(root)).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Who it was, and a handle if it has yet to be reaped.
type EndedInit = (ProcessIdentity, Option<AsyncFd<OwnedFd>>);

fn add_directories(parent: &Path, names: &mut BTreeSet<String>) -> io::Result<()> {
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(())
}

impl Shared {
    pub(crate) fn group(&self, container_id: &str) -> Group {
        Group::new(&self.hierarchies, &self.config.cgroup_root, container_id)
    }

    fn state_file(&self, container_id: &str) -> PathBuf {
        self.config.runtime_dir.join(container_id).join("init.json")
    }

    pub(crate) fn read_state(&self, container_id: &str) -> Option<ProcessIdentity> {
        serde_json::from_slice(&fs::read(self.state_file(container_id)).ok()?).ok()
    }

    fn record_file(&self, container_id: &str) -> PathBuf {
        self.config.runtime_dir.join(container_id).join("container.json")
    }

    /// `None` for a container that an earlier version of the agent started.
    pub(crate) fn read_record(&self, container_id: &str) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.record_file(container_id)).ok()?).ok()
    }

    fn launch(
        &self,
        spec: ContainerSpec,
        prepare: impl FnOnce(u32) -> Result<(), String>,
    ) -> Result<ProcessIdentity, LaunchError> {
        let id = spec.container_id.clone();
        let path = self.config.runtime_dir.join(id.as_str());
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(LaunchError::Exists(id));
            }
            Err(source) => return Err(LaunchError::RuntimeDir { path, source }),
        }
        // Only now: whoever ends the parent looks for what is in it after that.
        let parent = self.parent_of(&spec)?;
        // The helper starts up while the groups are made.
        let helper = helper::Running::spawn(&self.helper)?;
        let record = parent.as_ref().map_or_else(|| Record::of(&spec), |parent| parent.record_of(&spec));
        let group = self.group_of(id.as_str(), Some(&record));
        if parent.is_none() {
            group.make()?;
            group.limit(&spec.limits)?;
        }
        let path = self.record_file(id.as_str());
        let written = serde_json::to_vec(&record).map_err(io::Error::from);
        written
            .and_then(|text| fs::write(&path, text))
            .map_err(|source| LaunchError::Record { path, source })?;
        let isolation = self.config.isolation;
        let (state_file, status_file) = (self.state_file(id.as_str()), self.status_file(id.as_str()));
        let join = parent.map(|parent| parent.join);
        let plan = Plan { spec, isolation, group, state_file, join, status_file };
        let request = Request::Launch(Box::new(plan));
        Ok(helper.ask(&request, self.config.launch_timeout, prepare)?.process)
    }

    /// One round of ending what is left; tells what still is.
    fn clear(
        &self,
        id: &ContainerId,
        init: Option<&ProcessIdentity>,
    ) -> Result<Option<String>, DestroyError> {
        let failed = |attempt, source| DestroyError::Io { attempt, container_id: id.clone(), source };
        let group = self.group(id.as_str());
        let record = self.read_record(id.as_str());
        let left = match self.config.isolation {
            // Its pid namespace ended with its init; the group is another container's.
            Isolation::Full if record.as_ref().is_some_and(|record| record.group_of.is_some()) => Vec::new(),
            Isolation::Full => {
                let processes = group.processes();
                if !processes.is_empty() {
                    group.kill();
                }
                processes
            }
            Isolation::Plain => plain::kill_members(init, &container_marker(id.as_str())),
        };
        if !left.is_empty() {
            return Ok(Some(format!("processes {left:?}")));
        }
        match group.remove() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                return Ok(Some("a cgroup that is busy".to_owned()));
            }
            Err(source) => return Err(failed("remove the cgroups", source)),
        }
        if let Some(written) = record.and_then(|record| record.upper_dir) {
            host::remove_tree(&written).map_err(|source| failed("remove the written files", source))?;
        }
        // Last: it says where the rest is.
        host::remove_tree(&self.config.runtime_dir.join(id.as_str()))
            .map_err(|source| failed("remove the runtime directory", source))?;
        Ok(None)
    }
}
