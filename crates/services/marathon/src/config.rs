use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use base::Auth;

/// Settings of the service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; never all addresses.
    pub ip: IpAddr,
    /// Port of the API. 0 takes a free one, for tests.
    pub port: u16,
    /// The Mesos master's address. A standby master redirects to its leader.
    pub master: SocketAddr,
    /// Directory that the state is kept in, made where there is none.
    pub dir: PathBuf,
    /// Domains whose names browsers may call this service by, besides IP addresses, `localhost` and this machine's own
    /// name.
    pub home_domains: Vec<String>,
    /// The cluster's token, which the master is shown and clients must show.
    pub auth: Auth,
    /// The file with the secret of `core.principal`, which the master is shown if there is no token
    /// (`--mesos_authentication_secret_file`).
    pub secret_file: Option<PathBuf>,
    /// How many heartbeats of the master in a row may be missing (`--mesos_heartbeat_failure_threshold`).
    pub missed_heartbeats: u32,
    /// Pause before the second attempt to subscribe with the master; doubled for each further one.
    pub first_pause: Duration,
    /// The longest such pause.
    pub longest_pause: Duration,
    /// Everything that decisions depend on. `hostname` and `webui_url` are filled in by the service.
    pub core: marathon_core::Config,
}

impl Config {
    /// Marathon's usual settings, on port 8080.
    pub fn new(ip: IpAddr, master: SocketAddr, dir: PathBuf) -> Config {
        Config {
            ip,
            port: 8080,
            master,
            dir,
            home_domains: vec!["mesos".to_owned()],
            auth: Auth::default(),
            secret_file: None,
            missed_heartbeats: 5,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(10),
            core: marathon_core::Config::default(),
        }
    }
}
