//! Admin Router as a service: the one door to the cluster's components and services.
//!
//! It follows the Mesos master's operator events and Marathon's event stream, keeps the routing table
//! of `router-core` in step with them, and carries the table's decisions out: bodies and upgraded
//! connections stream both ways, requests are spread over a service's healthy instances, and one
//! that an instance could not take goes to another.
//!
//! What it deliberately does not do: no decision on where a request goes (`router-core`), no users
//! or expiring tokens (one token, or none), no TLS, no cache. While Mesos or Marathon is away the last
//! routes stay.

mod freshness;
mod front;
mod marathon;
mod mesos;
mod packages;
mod routes;
mod shunned;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_kit::guard::{HostPolicy, guarded};
use http_kit::{Address, BindError, Client, ClientConfig, Listener};
pub use router_core::Version;
use router_core::{Auth, Site};
use runtime::Ctx;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::front::Front;
use crate::packages::PackagesFront;
use crate::routes::Routes;

/// The port of Admin Router on agents.
pub const AGENT_PORT: u16 = 61001;

/// What Admin Router needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address of this node, where it listens and which it tells as `PUBLIC_IPV4`.
    pub ip: IpAddr,
    /// The port: 80 (or 8000) on masters, [`AGENT_PORT`] on agents; 0 takes a free one.
    pub port: u16,
    /// What kind of node this is.
    pub role: Role,
    /// The version of the cluster.
    pub version: Version,
    /// The id of the cluster.
    pub cluster_id: String,
    /// With a token every protected route asks for it.
    pub auth: Auth,
    /// Domains whose names are home, beside this machine's own name: `Host` and `Origin` of other
    /// names are refused.
    pub domains: Vec<String>,
    /// How long an upstream may take to begin its answer.
    pub answer_timeout: Duration,
    /// What is installed on this node.
    pub packages: Packages,
}

/// Where this node's own packages are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packages {
    /// The Unix socket of pkgpanda's API.
    pub socket: PathBuf,
    /// The directory that DC/OS is installed in.
    pub root: PathBuf,
}

impl Default for Packages {
    fn default() -> Self {
        Packages { socket: "/run/dcos/pkgpanda-api.sock".into(), root: "/opt/mesosphere".into() }
    }
}

/// What kind of node the router is on.
#[derive(Clone, Debug)]
pub enum Role {
    /// A master.
    Master {
        /// Where the Mesos master answers.
        mesos: SocketAddr,
        /// Where Marathon answers.
        marathon: SocketAddr,
    },
    /// An agent.
    Agent,
}

/// Why Admin Router could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot have its port.
    #[error("admin router cannot listen")]
    Listen(#[from] BindError),
}

/// Runs Admin Router until shutdown is requested. It is ready as soon as it listens; routes whose
/// state is not known yet answer 503.
pub async fn run(config: Config, ctx: Ctx) -> Result<(), Error> {
    let listener = Listener::bind(&Address::Tcp(SocketAddr::new(config.ip, config.port))).await?;
    serve(config, listener, ctx).await;
    Ok(())
}

/// [`run`] on a listener that is already bound.
pub async fn serve(config: Config, listener: Listener, ctx: Ctx) {
    let shutdown = ctx.shutdown();
    let client = Client::default();
    let routes = Arc::new(Routes::new(site(&config, &listener)));
    // A task, so that reading a large state does not hold up connections; it ends with this set.
    let mut followers = JoinSet::new();
    let mut freshness = None;
    if let Role::Master { mesos, marathon } = config.role {
        freshness = Some(Arc::clone(&routes.freshness));
        // Of their own: tasks, to which requests go on, must not be shown the token.
        let client = Client::new(ClientConfig::showing(&config.auth));
        let follow = follow(mesos, marathon, Arc::clone(&routes), client);
        followers.spawn(follow.in_current_span());
    }
    let packages = PackagesFront::new(config.packages, client.clone());
    let front =
        Front::new(routes.tables(), freshness, client, config.answer_timeout, packages, shutdown.clone());
    let policy =
        config.domains.iter().fold(HostPolicy::of_this_machine(), |policy, name| policy.domain(name));
    let handler = guarded(Arc::new(policy.address(config.ip)), Arc::new(front));
    tracing::info!(address = %listener.address(), "admin router listens");
    ctx.ready();
    http_kit::serve(listener, handler, async move { shutdown.requested().await }).await;
}

fn site(config: &Config, listener: &Listener) -> Site {
    let port = match listener.address() {
        Address::Tcp(address) => address.port(),
        Address::Unix(_) => config.port,
    };
    Site {
        ip: config.ip,
        port,
        role: match config.role {
            Role::Master { mesos, marathon } => {
                router_core::Role::Master { mesos, marathon, agent_port: AGENT_PORT }
            }
            Role::Agent => router_core::Role::Agent,
        },
        version: config.version.clone(),
        cluster_id: config.cluster_id.clone(),
        auth: config.auth.clone(),
    }
}

/// Keeps the routes in step with the cluster. Never ends.
async fn follow(mesos: SocketAddr, marathon: SocketAddr, routes: Arc<Routes>, client: Client) {
    tokio::join!(mesos::follow(mesos, &routes, &client), marathon::follow(marathon, &routes, &client));
}

/// How long to wait before the next try: doubled with each failure, from the beginning after a success.
struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const MOST: Duration = Duration::from_secs(3);

    fn new() -> Self {
        Backoff(Self::FIRST)
    }

    fn reset(&mut self) {
        self.0 = Self::FIRST;
    }

    async fn wait(&mut self) {
        let wait = self.0;
        self.0 = (wait * 2).min(Self::MOST);
        tokio::time::sleep(wait).await;
    }
}
