//! The containers that build scripts run in.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::{ContainerId, with_causes};
use containers::{ContainerSpec, Containers, Exit, Isolation, Mount, Network, RootFs, Seccomp};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Where the containers of all builds of a machine are noted.
const RUNTIME_DIR: &str = "/run/dcos/mkpanda";

/// Below it, and below the name of a cache: one directory for each container.
const RUN: &str = "run";

/// A build that takes longer has failed: it hangs.
const BUILD_TIMEOUT: Duration = Duration::from_secs(6 * 3600);

/// A build that says more has failed: it would fill the disk.
const LOG_LIMIT: u64 = 1 << 30;

/// How often the length of the log is looked at.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// The host name that every build sees.
const HOSTNAME: &str = "mkpanda";

/// Why containers cannot be had, or one could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContainerError {
    /// Builds need namespaces and mounts.
    #[error("packages are built in containers, which needs root: {0}")]
    NotPossible(String),
    /// The cache has no identity that containers could be named after.
    #[error("cannot look at {}", path.display())]
    Look {
        /// The cache.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// What an earlier run has left could not be looked for or removed.
    #[error("cannot remove what an earlier run has left behind: {0}")]
    Sweep(String),
    /// The container could not be started.
    #[error("cannot start the container of the build: {0}")]
    Launch(String),
    /// The container could not be removed.
    #[error("cannot remove the container of the build: {0}")]
    Remove(String),
}

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself.
    Exit(Exit),
    /// It took longer than any build may.
    TimedOut(Duration),
    /// It said more than any build may.
    TooLong(u64),
    /// Because the whole run is to end.
    Cancelled,
}

/// One program to be run in a container, to its end.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Names the container among those of this run.
    pub(crate) name: String,
    /// Its file systems, the lowest first. Nothing can be written to them.
    pub(crate) layers: Vec<PathBuf>,
    /// What is mounted over them.
    pub(crate) mounts: Vec<Mount>,
    /// The program's whole environment.
    pub(crate) env: Vec<(String, String)>,
    /// The program and its arguments.
    pub(crate) argv: Vec<String>,
    /// Whether it has the host's network instead of none.
    pub(crate) network: bool,
    /// Where all that it says goes.
    pub(crate) log: PathBuf,
}

/// Runs jobs in containers.
///
/// They are named after the cache, so that the next run on this cache finds what a killed one has left.
pub(crate) struct Builders {
    runtime: Handle,
    containers: Containers,
    runtime_dir: PathBuf,
    cancelled: watch::Receiver<bool>,
}

impl Builders {
    /// Finds out whether containers can be had, and ends those that an earlier run on this cache left behind. The
    /// caller holds the cache's lock. Jobs end when `cancelled` becomes true.
    pub(crate) fn open(
        cache: &Path,
        runtime: &Handle,
        cancelled: watch::Receiver<bool>,
    ) -> Result<Builders, ContainerError> {
        let meta = fs::metadata(cache);
        let meta = meta.map_err(|source| ContainerError::Look { path: cache.to_owned(), source })?;
        let name = format!("{:x}-{:x}", meta.dev(), meta.ino());
        let runtime_dir = Path::new(RUNTIME_DIR).join(&name);
        let cgroup_root = Path::new("dcos-mkpanda").join(&name);
        let config = containers::Config::new(runtime_dir.join(RUN), cgroup_root, Isolation::Full);
        let runtime = runtime.clone();
        let containers =
            Containers::new(config).map_err(|error| ContainerError::NotPossible(with_causes(&error)))?;
        let builders = Builders { runtime, containers, runtime_dir, cancelled };
        builders.sweep()?;
        Ok(builders)
    }

    fn sweep(&self) -> Result<(), ContainerError> {
        let left = self.containers.list().map_err(|error| ContainerError::Sweep(error.to_string()))?;
        for found in left {
            let ended = self.runtime.block_on(self.containers.destroy(&found.container_id));
            ended.map_err(|error| ContainerError::Sweep(with_causes(&error)))?;
        }
        Ok(())
    }

    /// Runs a job to its end; nothing of its container is left then.
    pub(crate) fn run(&self, job: Job) -> Result<Ended, ContainerError> {
        let container_id = ContainerId::from(job.name.clone());
        let log = job.log.clone();
        let spec = self.spec(job, &container_id);
        let mut cancelled = self.cancelled.clone();
        self.runtime.block_on(async {
            let launched = self.containers.launch(spec, |_| Ok(())).await;
            let launched = launched.map_err(|error| ContainerError::Launch(with_causes(&error)))?;
            let ended = tokio::select! {
                exit = self.containers.wait(&launched.process) => Ended::Exit(exit),
                Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => Ended::Cancelled,
                () = filled(&log) => Ended::TooLong(LOG_LIMIT),
                () = tokio::time::sleep(BUILD_TIMEOUT) => Ended::TimedOut(BUILD_TIMEOUT),
            };
            let removed = self.containers.destroy(&container_id).await;
            removed.map_err(|error| ContainerError::Remove(with_causes(&error)))?;
            Ok(ended)
        })
    }

    fn spec(&self, job: Job, container_id: &ContainerId) -> ContainerSpec {
        let Job { name, layers, mounts, env, argv, network, log } = job;
        let program = argv.first().cloned().unwrap_or_default();
        let mut spec = ContainerSpec::new(container_id.clone(), program, argv, "/");
        spec.stdout.clone_from(&log);
        spec.stderr = log;
        spec.env = env;
        // Nothing is written to it: the directory that the container has anyhow will do.
        let upper_dir = self.runtime_dir.join(RUN).join(name);
        spec.root = Some(RootFs { layers, upper_dir, read_only: true });
        spec.mounts = mounts;
        spec.network = if network { Network::Host } else { Network::Own };
        spec.hostname = Some(HOSTNAME.to_owned());
        spec.seccomp = Seccomp::Default;
        spec.no_new_privileges = true;
        spec
    }
}

/// Ends when a log is longer than it may be.
async fn filled(log: &Path) {
    let is_long = || fs::metadata(log).is_ok_and(|meta| meta.len() > LOG_LIMIT);
    while !is_long() {
        tokio::time::sleep(LOG_PAUSE).await;
    }
}

impl Drop for Builders {
    fn drop(&mut self) {
        // Other runs, on other caches, may be using what is above.
        let _ = self.containers.clone().retire();
        let _ = fs::remove_dir(&self.runtime_dir);
    }
}
