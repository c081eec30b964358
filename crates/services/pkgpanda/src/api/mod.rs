//! The HTTP API, on a unix socket: what is in the repository, what is active, and changes of both.
//!
//! Whoever may connect to the socket is root on this host in effect: its mode keeps everybody else away, and Admin
//! Router passes on only what shows the cluster's token. Users and state directories are managed as by the commands.
//!
//! Every request's work is done on a thread of its own and goes on when its client leaves. One of them at a time
//! changes packages that are there; what the change of a set does to units is not waited for, and may include the
//! stopping of this very service: [`Api::finished`] waits for it, and what a kill cuts short the next start recovers.

mod answer;
mod routes;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_kit::{Address, BindError, Handler, Listener, Peer, Request, Response, ServerConfig};
use runtime::Ctx;
use tokio::sync::Semaphore;

use crate::fetch::Fetcher;
use crate::repository::Repository;
use crate::{Config, Error, session};

/// Where the API listens, unless said otherwise.
pub const SOCKET: &str = "/run/dcos/pkgpanda-api.sock";

/// How many packages are fetched at once.
const FETCHES: usize = 4;
/// How long requests that run when the service is told to stop have to be answered.
const DRAIN: Duration = Duration::from_secs(8);
/// How many connections are served at once.
const CONNECTIONS: usize = 64;

/// What the API needs to know.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// The host it works on.
    pub host: Config,
    /// Where it listens, if it was not handed a socket.
    pub socket: PathBuf,
    /// Who may connect beside root.
    pub socket_user: Option<String>,
    /// What relative repository URLs are taken against.
    pub work_dir: PathBuf,
}

/// Why the API could not run.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It cannot have its socket.
    #[error("the pkgpanda API cannot listen")]
    Listen(#[from] BindError),
    /// Its socket cannot be made somebody's.
    #[error("cannot {attempt} {}", .path.display())]
    Socket {
        /// What was attempted.
        attempt: &'static str,
        /// The socket or its directory.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// There is no such user.
    #[error("the socket is to be of the user {0}, which this host does not have")]
    User(String),
}

/// The API. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Api {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    config: ApiConfig,
    repository: Repository,
    fetcher: Fetcher,
    /// Held by whoever changes packages that are there.
    changes: Arc<Semaphore>,
    fetches: Arc<Semaphore>,
}

impl Api {
    /// An API that works on that host. Its systemd is told what to do and not waited for: a change may stop this
    /// service itself.
    pub fn new(mut config: ApiConfig) -> Api {
        config.host.units.block = false;
        let repository = Repository::new(&config.host.repository);
        let shared = Shared {
            config,
            repository,
            fetcher: Fetcher::from_environment(),
            changes: Arc::new(Semaphore::new(1)),
            fetches: Arc::new(Semaphore::new(FETCHES)),
        };
        Api { shared: Arc::new(shared) }
    }

    /// Where it listens, if it is not handed a socket.
    pub fn socket(&self) -> &Path {
        &self.shared.config.socket
    }

    /// Runs until shutdown is requested, on the socket that systemd handed over or else on its own. What was left
    /// half done is recovered first.
    ///
    /// # Errors
    /// When it cannot have its socket.
    pub async fn run(self, ctx: Ctx) -> Result<(), ApiError> {
        let shared = Arc::clone(&self.shared);
        // A failure of its own is none of the API: reading goes on, and a change tells it.
        let _ = tokio::task::spawn_blocking(move || shared.settle()).await;
        let listener = match Listener::handed_over()? {
            Some(listener) => listener,
            None => self.shared.listen().await?,
        };
        self.serve(listener, ctx).await;
        Ok(())
    }

    /// [`Api::run`] on a listener that is there.
    pub async fn serve(self, listener: Listener, ctx: Ctx) {
        let shutdown = ctx.shutdown();
        tracing::info!(address = %listener.address(), "the pkgpanda API listens");
        ctx.ready();
        let limits = ServerConfig { drain: DRAIN, max_connections: CONNECTIONS, ..ServerConfig::default() };
        http_kit::serve_with(listener, Arc::new(self), limits, async move { shutdown.requested().await })
            .await;
    }

    /// Whether packages that are there are being changed just now.
    pub fn is_changing(&self) -> bool {
        self.shared.changes.available_permits() == 0
    }

    /// Waits until no change is going on any more, at most so long. Says whether it is so. Changes that come later
    /// are refused: this is for the end of the process.
    pub async fn finished(&self, within: Duration) -> bool {
        let changes = Arc::clone(&self.shared.changes);
        let Ok(Ok(permit)) = tokio::time::timeout(within, changes.acquire_owned()).await else {
            return false;
        };
        permit.forget();
        true
    }
}

impl Handler for Api {
    fn handle(&self, request: Request, _peer: Peer) -> http_kit::BoxFuture<'_, Response> {
        Box::pin(routes::answer(Arc::clone(&self.shared), request))
    }
}

impl Shared {
    fn settle(&self) {
        let mut log = Log::default();
        if let Err(error) = session::settle(&self.config.host, &mut log) {
            tracing::warn!(error = base::with_causes(&error), "what was interrupted is not recovered yet");
        }
        if let Err(error) = self.repository.sweep() {
            tracing::warn!(error = base::with_causes(&error), "leftovers are not removed");
        }
    }

    async fn listen(&self) -> Result<Listener, ApiError> {
        use std::os::unix::fs::{PermissionsExt, chown};
        let path = &self.config.socket;
        let failed = |attempt| {
            let path = path.clone();
            move |source| ApiError::Socket { attempt, path, source }
        };
        let owner = match &self.config.socket_user {
            None => None,
            Some(name) => Some(host::User::by_name(name).ok_or_else(|| ApiError::User(name.clone()))?),
        };
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(failed("make the directory of"))?;
        }
        let listener = Listener::bind(&Address::Unix(path.clone())).await?;
        // The mask of this process already keeps others from writing, which connecting is.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed("protect"))?;
        if let Some(owner) = owner {
            chown(path, Some(owner.uid), None).map_err(failed("give away"))?;
        }
        Ok(listener)
    }
}

/// What a command would tell on standard error goes to the log, by lines.
#[derive(Debug, Default)]
pub(crate) struct Log(Vec<u8>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            tracing::info!("{}", String::from_utf8_lossy(&line).trim_end());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The active packages, as they are named where nothing is checked.
pub(crate) fn active(config: &Config) -> Result<Vec<String>, Error> {
    session::settle(config, &mut Log::default())?;
    crate::install::active(config)
}
