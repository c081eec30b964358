//! The Mesos master as a service: the decisions of `master-core` wired to HTTP, to the agents' links
//! and to the registry.
//!
//! One task, the event loop, owns the core. HTTP handlers and links turn bytes into messages for it and
//! its answers into bytes; what they check themselves is the form of a request, never the state. One
//! more task writes the registry, many changes with one commit.
//!
//! ```text
//! schedulers, operators --HTTP--> http ---+                        +--> event streams, replies
//! agents ------------upgraded---> link ---+--> inbox --> event loop +--> links
//!                                                          (core)  +--> registry --> durable
//! ```
//!
//! Deliberately absent: every decision about frameworks, agents, tasks and offers (that is
//! `master-core`) and a web UI.
//!
//! Invariant: a document or answer shows every change that was made before its request arrived, because
//! both go through the same queue.

mod config;
mod documents;
mod event_loop;
mod event_stream;
mod http;
mod identity;
mod links;
mod metrics;
mod operator_views;
mod rate_limits;
mod registry;
mod roles;
mod v0;
mod view;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use api_mesos::{Authentication, Credentials, CredentialsError, NoCredentials};
use base::{Now, Rng};
use http_kit::compress::compressed;
use http_kit::guard::{HostPolicy, guarded};
use http_kit::{Address, BindError, Handler, Listener, ServerConfig};
use master_core::{Master, RecoverError};
use runtime::{Clock, Ctx};
use store::{Embedded, OpenError, Store};
use tokio::sync::watch;

pub use config::{Authenticate, Config, RateLimit};
pub use event_loop::LoopError;
pub use registry::RegistryError;

use event_loop::{EventLoop, Inbox};
use http::Api;
use identity::Identity;
use registry::Registry;

/// How many connections are served at once: ten thousand agents, each with its link, and as many
/// schedulers and operators.
const MAX_CONNECTIONS: usize = 20_000;

/// How long the writes that are under way at the end may take.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Why a master ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its address is not to be had.
    #[error("listen as the master")]
    Bind(#[from] BindError),
    /// Its directory could not be made.
    #[error("make the directory {}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The file of credentials could not be read.
    #[error("read the credentials in {}", .path.display())]
    ReadCredentials {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The file of credentials holds something else.
    #[error("use the credentials in {}", .path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CredentialsError,
    },
    /// Clients are to be authenticated and there is nothing to tell them by.
    #[error("authenticate clients; --credentials is to name the file of their secrets")]
    NoCredentials(#[from] NoCredentials),
    /// The limits of rates are none.
    #[error("use --rate_limits: {0}")]
    RateLimits(String),
    /// The registry's file could not be opened.
    #[error("open the registry")]
    Store(#[from] OpenError),
    /// The registry could not be read or written.
    #[error("use the registry")]
    Registry(#[from] RegistryError),
    /// The registry holds what this program does not understand.
    #[error("take up the registry")]
    Recover(#[from] RecoverError),
    /// The loop could not go on.
    #[error("run the master")]
    Loop(#[from] LoopError),
}

/// Runs a master until shutdown is requested. It may be run again on the same directory and port.
///
/// # Errors
/// When it cannot start, or cannot write its registry any more.
pub async fn run(config: Config, ctx: Ctx) -> Result<(), Error> {
    let started = Clock::now();
    let authentication = Arc::new(authentication(&config)?);
    let rate_limits = rate_limits::RateLimits::parse(config.rate_limits.as_deref().unwrap_or("{}"));
    let rate_limits = Arc::new(rate_limits.map_err(Error::RateLimits)?);
    let listener = Listener::bind(&Address::Tcp(SocketAddr::from((config.ip, config.port)))).await?;
    let make = |source| Error::Directory { path: config.dir.clone(), source };
    std::fs::create_dir_all(&config.dir).map_err(make)?;
    let store = Arc::new(Embedded::open(&config.dir.join("registry.redb")).await?);
    serve(config, ctx, listener, store, (authentication, rate_limits), started).await
}

async fn serve(
    config: Config,
    ctx: Ctx,
    listener: Listener,
    store: Arc<dyn Store>,
    (authentication, rate_limits): (Arc<Authentication>, Arc<rate_limits::RateLimits>),
    started: Now,
) -> Result<(), Error> {
    let address = match listener.address() {
        Address::Tcp(address) => *address,
        Address::Unix(_) => unreachable!("it was bound to an IP address"),
    };
    let mut rng = Rng::seeded(runtime::entropy());
    let (registry, records) = Registry::open(store).await?;
    let elected = Clock::now();
    let identity = Arc::new(Identity::new(&config, address, &mut rng, started.wall, elected.wall));
    let core = core_config(&config, &identity, &mut rng);
    let master = Master::recover(core, elected, records)?;
    let (event_loop, writes) = EventLoop::new(master, identity.clone(), &config);
    let (inbox, messages) = Inbox::new();

    let api = Api {
        inbox,
        authentication,
        logging: config.logging.clone(),
        identity,
        pulse: link::Pulse { heartbeat: config.agent_ping_timeout, silence: config.agent_silence() },
        heartbeat_interval: config.heartbeat_interval,
        bodies: http_kit::Budget::new(http::ALL_BODIES),
        rate_limits,
        principal: None,
    };
    let policy = config
        .home_domains
        .iter()
        .fold(HostPolicy::of_this_machine(), |policy, domain| policy.domain(domain));
    let policy = config.hostname.iter().fold(policy, |policy, name| policy.name(name));
    let handler: Arc<dyn Handler> = guarded(Arc::new(policy), compressed(Arc::new(api)));
    let limits = ServerConfig { max_connections: MAX_CONNECTIONS, ..ServerConfig::default() };
    let shutdown = ctx.shutdown();
    let server = http_kit::serve_with(listener, handler, limits, async move { shutdown.requested().await });
    let (durable, persisted) = watch::channel(0);
    let writing = registry.write(writes, durable);
    tracing::info!(%address, "the master listens");
    ctx.ready();

    let (mut server, mut writing) = (pin!(server), pin!(writing));
    let serving = tokio::select! {
        ended = event_loop.run(messages, persisted, ctx.shutdown()) => ended.map(|()| true)?,
        ended = &mut writing => {
            return Err(ended.err().map_or(Error::Loop(LoopError::Registry), Error::Registry));
        }
        () = &mut server => false,
    };
    // The loop is gone, and with it the streams and links: what is left are answers on their way and
    // writes that were asked for.
    if serving {
        server.await;
    }
    match tokio::time::timeout(LAST_WRITES, writing).await {
        Ok(ended) => Ok(ended?),
        Err(_) => Ok(()),
    }
}

/// Who has to prove who they are.
fn authentication(config: &Config) -> Result<Authentication, Error> {
    let credentials = config.credentials.as_deref().map(credentials).transpose()?;
    let asked = &config.authenticate;
    let realms = [
        (asked.http_readonly, http::routes::READONLY),
        (asked.http_readwrite, http::routes::READWRITE),
        (asked.http_frameworks, http::routes::SCHEDULER),
        (asked.agents, http::routes::AGENT),
    ];
    let realms = realms.into_iter().filter_map(|(asked, realm)| asked.then_some(realm));
    Ok(Authentication::new(config.auth.clone(), credentials, realms)?)
}

fn credentials(path: &Path) -> Result<Credentials, Error> {
    let text = runtime::read_secret(path)
        .map_err(|source| Error::ReadCredentials { path: path.to_owned(), source })?;
    Credentials::parse(&text).map_err(|source| Error::Credentials { path: path.to_owned(), source })
}

fn core_config(config: &Config, identity: &Identity, rng: &mut Rng) -> master_core::Config {
    master_core::Config {
        allocation_interval: config.allocation_interval,
        offer_timeout: config.offer_timeout,
        heartbeat_interval: config.heartbeat_interval,
        agent_ping_timeout: config.agent_ping_timeout,
        max_agent_ping_timeouts: config.max_agent_ping_timeouts,
        agent_reregister_timeout: config.agent_reregister_timeout,
        max_completed_frameworks: config.max_completed_frameworks,
        max_completed_tasks_per_framework: config.max_completed_tasks_per_framework,
        max_unreachable_tasks_per_framework: config.max_unreachable_tasks_per_framework,
        max_unreachable_agents: config.registry_max_agent_count,
        registry_max_agent_age: config.registry_max_agent_age,
        registry_gc_interval: config.registry_gc_interval,
        recovery_agent_removal_limit: config.recovery_agent_removal_limit / 100.0,
        agent_removal_interval: config.agent_removal_rate_limit.map(RateLimit::interval),
        ..master_core::Config::new(identity.info.clone(), rng.next_u64())
    }
}
