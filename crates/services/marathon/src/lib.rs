//! Marathon as a service: apps come in over HTTP, tasks go out to Mesos.
//!
//! [`run`] opens the store, recovers `marathon-core` from it, and then is one event loop: inputs of the API, of the
//! master and of health checks go into the core; what the core changed is committed as a group; what follows is
//! performed. Beside it run the server, which asks the loop for everything, and the scheduler, which keeps up one
//! session with the master.
//!
//! What is other than in Marathon 1.11: problems of a field may have an `explanation` beside their `errors`; a body must
//! be JSON by its content type, and browsers must come from home; groups are there as long as they have apps, have no
//! versions, and give their dependencies to their apps; a task that is not healthy yet is also checked between two regular
//! checks, of which only success counts; a task that is prepared has a `message`, and is in the queue; the list of tasks can
//! still be had as text.
//!
//! Deliberately absent: every decision (`marathon-core`), the words of the API (`api-marathon`), authentication, TLS.

mod api;
mod config;
mod event_loop;
mod events;
mod probes;
mod records;
mod scheduler;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api_marathon::Settings;
use api_mesos::{Credential, CredentialsError};
use base::Rng;
use http_kit::guard::{HostPolicy, authorized, guarded};
use http_kit::{Address, BindError, Listener};
use marathon_core::Marathon;
use runtime::{Clock, Ctx};
use store::{CampaignError, Embedded, OpenError, Store};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::api::{Api, Info};
use crate::event_loop::{EventLoop, Inboxes};
use crate::records::{ELECTION, Records, RecordsError};

pub use config::Config;

/// Requests that wait for the event loop; further ones are told to come again.
const WAITING_JOBS: usize = 1024;
/// Events of the master that wait for the event loop; then the stream is not read on.
const WAITING_EVENTS: usize = 1024;
/// How long the last requests may take after shutdown was requested.
const LAST_REQUESTS: Duration = Duration::from_secs(5);
/// Without word of this process for so long, another may lead.
const TERM_TTL: Duration = Duration::from_secs(10);

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state could not be opened.
    #[error("could not open Marathon's state")]
    Open(#[from] OpenError),
    /// The leadership over the state could not be won.
    #[error(transparent)]
    Campaign(#[from] CampaignError),
    /// The state in `dir` could not be read or written.
    #[error("could not keep Marathon's state in {}", .dir.display())]
    State {
        /// The directory.
        dir: PathBuf,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file of the secret that the master is shown could not be read.
    #[error("could not read the secret in {}", .path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The principal or its secret cannot be shown.
    #[error("could not use the principal and its secret")]
    Credential(#[from] CredentialsError),
    /// The API's address could not be taken.
    #[error("could not listen for Marathon's API")]
    Bind(#[from] BindError),
}

/// Runs Marathon until shutdown is requested. Tasks go on running without it. It may be called again on the same
/// directory, and takes up everything where it was.
///
/// # Errors
/// When the address is taken, or the state cannot be opened, read or written.
pub async fn run(config: Config, ctx: Ctx) -> Result<(), Error> {
    let credential = credential(&config)?;
    let store = Embedded::open(&config.dir.join("marathon.redb")).await?;
    let term = store.campaign(ELECTION, TERM_TTL).await?;
    let state = |source: RecordsError| Error::State { dir: config.dir.clone(), source: Box::new(source) };
    let (records, found) = Records::load(store, term).await.map_err(state)?;

    let listener = Listener::bind(&Address::Tcp(SocketAddr::new(config.ip, config.port))).await?;
    let address = match listener.address() {
        Address::Tcp(address) => *address,
        Address::Unix(_) => SocketAddr::new(config.ip, config.port),
    };
    let core_config = core_config(&config, address);
    let seed = runtime::entropy();
    let core = Marathon::recover(found, core_config.clone(), Rng::seeded(seed), Clock::now());

    let (jobs, job_inbox) = mpsc::channel(WAITING_JOBS);
    let (to_loop, master_inbox) = mpsc::channel(WAITING_EVENTS);
    let (calls, call_queue) = scheduler::calls();
    let api = Api {
        jobs,
        settings: Settings { role: core_config.role.clone() },
        info: Info {
            master: config.master.to_string(),
            core: core_config,
            missed_heartbeats: config.missed_heartbeats,
        },
        address,
    };
    let scheduler_settings = scheduler::Settings {
        master: config.master,
        missed_heartbeats: config.missed_heartbeats,
        first_pause: config.first_pause,
        longest_pause: config.longest_pause,
        auth: config.auth.clone(),
        credential,
    };
    let shutdown = ctx.shutdown();
    // Sets, because they end with this future, however it ends.
    let (mut scheduler, mut server) = (JoinSet::new(), JoinSet::new());
    scheduler.spawn(scheduler::run(scheduler_settings, to_loop, call_queue).in_current_span());
    server.spawn({
        let shutdown = shutdown.clone();
        let handler = guarded(Arc::new(home(&config)), authorized(config.auth.clone(), Arc::new(api)));
        async move { http_kit::serve(listener, handler, async move { shutdown.requested().await }).await }
            .in_current_span()
    });
    ctx.ready();
    tracing::info!(%address, master = %config.master, "marathon answers");

    let mut event_loop = EventLoop::new(core, records, calls);
    let outcome = event_loop.run(Inboxes { jobs: job_inbox, master: master_inbox }, shutdown).await;
    drop(event_loop);
    scheduler.shutdown().await;
    // The server drains by itself; this only bounds it.
    let _ = tokio::time::timeout(LAST_REQUESTS, server.join_next()).await;
    outcome.map_err(state)
}

/// What the master is shown if there is no token.
fn credential(config: &Config) -> Result<Option<Credential>, Error> {
    let Some(path) = &config.secret_file else { return Ok(None) };
    let secret = runtime::read_secret(path).map_err(|source| Error::Secret { path: path.clone(), source })?;
    let secret = secret.trim_end_matches(['\r', '\n']).to_owned();
    Ok(Some(Credential::new(config.core.principal.clone(), secret)?))
}

/// The settings with what only the running service knows.
fn core_config(config: &Config, address: SocketAddr) -> marathon_core::Config {
    marathon_core::Config {
        hostname: config.ip.to_string(),
        webui_url: Some(format!("http://{address}/")),
        ..config.core.clone()
    }
}

/// The hosts that browsers may call this service by.
fn home(config: &Config) -> HostPolicy {
    let home = HostPolicy::of_this_machine().address(config.ip);
    config.home_domains.iter().fold(home, |home, domain| home.domain(domain))
}
