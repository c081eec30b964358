//! The Mesos agent as a service.
//!
//! [`run`] wires the decisions of `agent-core` to the outside: the link to the master, the executors' API
//! on a Unix socket and on TCP, containers and sessions in them, records and sandboxes on disk, and the HTTP API for operators.
//! [`end_all_tasks`] ends what an agent left running.
//!
//! Everything that happens becomes an input of one event loop, which carries out the core's effects in
//! their order; records are written before what depends on them. Stopping the service, in whatever way,
//! never touches a task: containers and their executors are processes of their own, and the next run on
//! the same directory finds them again.
//!
//! What a container needs before it starts is got by a preparation that goes on beside the event loop: its
//! sandbox, what is fetched into it, its image, its network. All of it is found again by the container's id
//! alone, and given back when the container is gone; what an agent that was killed had taken for containers
//! that did not come to be is given back by its next run.
//!
//! Deliberately absent: which task runs where (the master's), how containers, images and networks are made
//! (the adapters' of these names), pods.

pub mod authentication;
mod collector;
mod config;
mod end;
mod environment;
mod event_loop;
mod executor_api;
mod executor_stream;
mod fetching;
mod files;
mod flags;
mod forward;
mod http;
mod image_user;
mod images_api;
mod lifecycle;
mod limits;
mod mailbox;
mod media;
mod meta;
mod metrics;
mod nested;
mod offered;
mod operator;
mod private;
mod program;
mod provision;
mod registration;
mod sandbox;
mod sessions;
mod spec;
mod state;
mod usage;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use agent_core::{Agent, Input, Process};
use base::{AgentId, ContainerId, Rng};
use containers::{Containers, ProcessIdentity};
use http_kit::compress::compressed;
use http_kit::guard::{HostPolicy, guarded};
use http_kit::{Address, Handler, Listener, ServerConfig, serve, serve_with};
use runtime::{Clock, Ctx};
use tracing::Instrument;

pub use config::{Config, Isolation};
pub use end::end_all_tasks;
pub use meta::MetaError;

/// How long an address that is taken is tried, and how often.
const BIND_PATIENCE: Duration = Duration::from_secs(1);
const BIND_PAUSE: Duration = Duration::from_millis(20);
/// Completed executors of each framework that are remembered over a restart.
const HISTORY: usize = 150;

/// Why an agent cannot run (on).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record could not be written or read.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The agent's directory cannot be used.
    #[error("cannot use {}", path.display())]
    Directory {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// An address is taken or not this machine's.
    #[error(transparent)]
    Bind(#[from] http_kit::BindError),
    /// `resources` is not what it should be.
    #[error("resources: {0}")]
    Resources(String),
    /// An entry of `attributes` is not `name:value`.
    #[error("attributes: found '{0}', allowed is name:value")]
    Attributes(String),
    /// What the machine has could not be found out.
    #[error("cannot find out what this machine has")]
    Capacity(#[source] host::CapacityError),
    /// Containers cannot be made.
    #[error("cannot make containers")]
    Containers(#[source] containers::SetUpError),
    /// The kernel does not say which boot this is.
    #[error("cannot read the kernel's boot id")]
    BootId(#[source] io::Error),
    /// The master gave another id than the agent has.
    #[error("the master calls this agent {found}, but it is {known}")]
    OtherId {
        /// What the records say.
        known: AgentId,
        /// What the master said.
        found: AgentId,
    },
    /// The network of the containers was not removed.
    #[error("cannot remove the network of the agent's containers")]
    Networks(#[source] netlink::Error),
    /// A file of credentials could not be used.
    #[error(transparent)]
    Authentication(#[from] authentication::Error),
    /// Containers did not end.
    #[error("cannot end all containers: {0}")]
    End(String),
}

/// Runs an agent until it is asked to stop. Tasks run on afterwards, unless
/// [`Config::end_tasks_at_shutdown`] says else.
///
/// # Errors
/// When it cannot start, or cannot write its records any more. It may be run again on the same directory.
pub async fn run(config: Config, ctx: Ctx) -> Result<(), Error> {
    let config = Arc::new(settle(config)?);
    let credential = authentication::credential(&config)?;
    let boot_id = host::boot_id().map_err(Error::BootId)?;
    let containers = set_up_containers(&config)?;
    let tcp = bind(&Address::Tcp(SocketAddr::new(config.ip.into(), config.port))).await?;
    let port = match tcp.address() {
        Address::Tcp(address) => address.port(),
        Address::Unix(_) => config.port,
    };
    let socket = bind_socket(&config).await?;

    let (isolation, _) = config.isolation();
    let provider = Arc::new(provision::Provider::open(Arc::clone(&config), isolation).await);

    let began = Clock::now();
    let recovered = meta::read(&config.dir, HISTORY)?;
    let mut rng = Rng::seeded(runtime::entropy());
    let agent = Agent::recover(core_config(&config, port, &boot_id)?, rng.next_u64(), recovered.records);
    let (mailbox, commands) = mailbox::Mailbox::new();
    let nested = Arc::new(nested::Nested::new(containers.clone(), Arc::clone(&provider), &config.dir));
    let _watching = nested::Watching(Arc::clone(&nested));
    let api = Arc::new(http::Api {
        config: Arc::clone(&config),
        authentication: authentication::of_clients(&config)?,
        containers: containers.clone(),
        provider: Arc::clone(&provider),
        mailbox: mailbox.clone(),
        files: files::Files::new(config.dir.clone(), config.log.clone()),
        sessions: Arc::new(sessions::Sessions::new(containers.clone())),
        nested: Arc::clone(&nested),
        forwards: Arc::new(tokio::sync::Semaphore::new(forward::MOST)),
        address: format!("{}:{port}", config.ip),
        start_time: began.wall.as_secs_f64(),
        started: began.mono,
        recovery_time: Clock::mono().since(began.mono).as_secs_f64(),
        recovery_errors: recovered.errors,
        destroy_errors: Arc::default(),
        connections: AtomicU64::new(1),
    });
    let mut lifecycles = lifecycle::Lifecycles::new(
        containers.clone(),
        Arc::clone(&provider),
        Arc::clone(&nested),
        mailbox.clone(),
        boot_id.clone(),
        api.address.clone(),
        Arc::clone(&api.destroy_errors),
    );
    let (found, found_nested) = find_containers(&containers, &agent, &mut lifecycles, &config)?;
    let failed = |source| Error::Directory { path: config.dir.join("meta"), source };
    nested.recover(&found_nested, |root| agent.executor_in(root).is_some()).map_err(failed)?;
    // Their clients' connections went with the run that had them.
    for container_id in found.keys().chain(found_nested.keys()) {
        sessions::Sessions::clear(&containers, container_id).await;
    }
    let nested_alive = found_nested.iter().filter(|(_, process)| process.is_some()).map(|(id, _)| id);
    provider.recover(&found.keys().chain(nested_alive).cloned().collect()).await;
    let mut collector = collector::Collector::new(config.dir.clone());
    collector.recover_earlier_agents(recovered.agent_id.as_ref(), config.gc_delay);
    if let Some(agent_id) = &recovered.agent_id {
        collector.recover(agent_id, recovered.completed, config.gc_delay);
    }
    let event_loop = event_loop::EventLoop {
        meta: meta::Meta::new(&config.dir, recovered.agent_id),
        config: Arc::clone(&config),
        agent,
        containers,
        lifecycles,
        collector,
        commands,
        streams: BTreeMap::new(),
        link: None,
        leaving: false,
    };

    let sessions = Arc::clone(&api.sessions);
    let policy =
        config.home_domains.iter().fold(HostPolicy::of_this_machine(), |policy, name| policy.domain(name));
    let operators = guarded(Arc::new(policy), compressed(Arc::new(http::Endpoint(Arc::clone(&api)))));
    let executors: Arc<dyn Handler> = Arc::new(http::ExecutorEndpoint(api));
    // The servers go when the event loop has: executors' last words are heard until then.
    let (loop_ended, ended) = runtime::Shutdown::new();
    let serving = async {
        let limits = ServerConfig { head_timeout: Duration::from_secs(60), ..ServerConfig::default() };
        tokio::join!(
            serve(tcp, operators, until(ended.clone())),
            serve_with(socket, executors, limits, until(ended.clone())),
        );
    };
    let deciding = async {
        // Nothing was told yet, so there is room.
        let _ = mailbox.tell(Input::ContainersFound { alive: found }).await;
        ctx.ready();
        let outcome = event_loop.run(ctx.shutdown()).await;
        sessions.end_all().await;
        loop_ended.request();
        outcome
    };
    let link = registration::run(Arc::clone(&config), credential, boot_id, mailbox.clone(), rng);
    let linking = tokio::spawn(link.in_current_span());
    let ((), outcome) = tokio::join!(serving, deciding);
    provider.close().await;
    linking.abort();
    outcome
}

async fn until(shutdown: runtime::Shutdown) {
    shutdown.requested().await;
}

/// Makes the directory and its name absolute: executors are told paths in it.
fn settle(mut config: Config) -> Result<Config, Error> {
    let failed = |path: &PathBuf| {
        let path = path.clone();
        move |source| Error::Directory { path, source }
    };
    std::fs::create_dir_all(&config.dir).map_err(failed(&config.dir))?;
    config.dir = std::fs::canonicalize(&config.dir).map_err(failed(&config.dir))?;
    let (isolation, missing) = config.isolation();
    for part in missing {
        tracing::warn!(missing = part.what, why = part.why, "tasks are less isolated than they should be");
    }
    config.isolation = Some(isolation);
    end::note(&config, isolation)?;
    Ok(config)
}

fn set_up_containers(config: &Config) -> Result<Containers, Error> {
    let (isolation, _) = config.isolation();
    let containers = Containers::new(config.containers(isolation)).map_err(Error::Containers)?;
    for part in containers.missing() {
        tracing::warn!(missing = part.what, why = part.why, "tasks are less isolated than they should be");
    }
    Ok(containers)
}

/// Binds an address. One that is taken is tried for a while: a child that an earlier run was just forking
/// holds it until it executes its program.
async fn bind(address: &Address) -> Result<Listener, Error> {
    let patience = tokio::time::Instant::now() + BIND_PATIENCE;
    loop {
        match Listener::bind(address).await {
            Err(error) if error.is_taken() && tokio::time::Instant::now() < patience => {
                tokio::time::sleep(BIND_PAUSE).await;
            }
            bound => return Ok(bound?),
        }
    }
}

/// The executors' socket. An earlier run's file is replaced. Tasks of all users connect to it, so that
/// everybody may.
async fn bind_socket(config: &Config) -> Result<Listener, Error> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    let (path, dir) = (config.socket_path(), config.socket_dir());
    let failed = |source| Error::Directory { path: dir.clone(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&dir).map_err(failed)?;
    let found = std::fs::symlink_metadata(&dir).map_err(failed)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        let text = "it must be a directory that belongs to this user";
        return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, text)));
    }
    // Where executors that an earlier version started look for it.
    let earlier = config.dir.join("executors.sock");
    if earlier.symlink_metadata().is_ok() && config.socket.is_none() {
        std::fs::remove_file(&earlier)
            .and_then(|()| std::os::unix::fs::symlink(&path, &earlier))
            .map_err(failed)?;
    }
    let listener = bind(&Address::Unix(path.clone())).await?;
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&path, everybody).map_err(|source| Error::Directory { path, source })?;
    Ok(listener)
}

fn core_config(config: &Config, port: u16, boot_id: &str) -> Result<agent_core::Config, Error> {
    let info = offered::describe(config, port)?;
    let mut core = agent_core::Config::new(info, config.ip.to_string(), boot_id);
    core.executor_program = config.executor.first().cloned().unwrap_or_default();
    core.executor_registration_timeout = config.executor_registration_timeout;
    core.executor_reregistration_timeout = config.executor_reregistration_timeout;
    core.executor_shutdown_grace_period = config.executor_shutdown_grace_period;
    core.update_retry = config.update_retry;
    core.gc_delay = config.gc_delay;
    core.max_completed_executors = HISTORY;
    Ok(core)
}

type Alive = BTreeMap<ContainerId, Process>;
/// With the process of those that live.
type FoundNested = BTreeMap<ContainerId, Option<ProcessIdentity>>;

/// Looks which containers live, and takes those up that are recorded. What is neither is cleared away. What
/// is in other containers is only told.
fn find_containers(
    containers: &Containers,
    agent: &Agent,
    lifecycles: &mut lifecycle::Lifecycles,
    config: &Config,
) -> Result<(Alive, FoundNested), Error> {
    let found = containers
        .list()
        .map_err(|source| Error::Directory { path: config::runtime_dir(&config.dir), source })?;
    let (mut alive, mut nested) = (Alive::new(), FoundNested::new());
    for container in found {
        if nested::is_nested(&container.container_id) {
            nested.insert(container.container_id, container.process.filter(|_| container.alive));
            continue;
        }
        let known = agent.executor_in(&container.container_id);
        match container.process.filter(|_| container.alive) {
            Some(identity) => {
                let process = Process { pid: identity.pid, start_time: identity.start_time };
                if known.is_some_and(|executor| executor.process().is_none_or(|recorded| recorded == process))
                {
                    lifecycles.adopt(container.container_id.clone(), process);
                }
                alive.insert(container.container_id, process);
            }
            None if known.is_none() => lifecycles.destroy(container.container_id),
            None => {}
        }
    }
    Ok((alive, nested))
}
