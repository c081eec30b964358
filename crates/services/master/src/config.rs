use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use base::{Auth, duration_text};
use runtime::Logging;

/// How one master runs. [`Config::new`] has Mesos' defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on, which frameworks and agents are told.
    pub ip: Ipv4Addr,
    /// The port to listen on. Mesos: `--port`.
    pub port: u16,
    /// Where the registry is kept; made if it is missing. Mesos: `--work_dir`.
    pub dir: PathBuf,
    /// The name that clients are shown and redirected to; without it the address. Mesos: `--hostname`.
    pub hostname: Option<String>,
    /// The cluster's name, as `/state` shows it. Mesos: `--cluster`.
    pub cluster: Option<String>,
    /// How often an agent must be heard from. Mesos: `--agent_ping_timeout`.
    pub agent_ping_timeout: Duration,
    /// So many silences in a row make an agent unreachable. Mesos: `--max_agent_ping_timeouts`.
    pub max_agent_ping_timeouts: u32,
    /// How long after a restart of the master its agents may take to come back before they are
    /// unreachable. Mesos: `--agent_reregister_timeout`.
    pub agent_reregister_timeout: Duration,
    /// How fast agents are given up that are not heard from; at once without it.
    /// Mesos: `--agent_removal_rate_limit`.
    pub agent_removal_rate_limit: Option<RateLimit>,
    /// How many of a hundred agents may be given up because they did not come back after a restart of the
    /// master; if there are more, it stops. Mesos: `--recovery_agent_removal_limit`.
    pub recovery_agent_removal_limit: f64,
    /// How often the registry is swept of agents that were given up. Mesos: `--registry_gc_interval`.
    pub registry_gc_interval: Duration,
    /// How long the registry remembers agents that were given up. Mesos: `--registry_max_agent_age`.
    pub registry_max_agent_age: Duration,
    /// How many of them. Mesos: `--registry_max_agent_count`.
    pub registry_max_agent_count: usize,
    /// After this time an unanswered offer is taken back; never without it. Mesos: `--offer_timeout`.
    pub offer_timeout: Option<Duration>,
    /// How often what nobody has is offered, besides the moments at which something changes.
    /// Mesos: `--allocation_interval`.
    pub allocation_interval: Duration,
    /// How many frameworks that are over stay visible. Mesos: `--max_completed_frameworks`.
    pub max_completed_frameworks: usize,
    /// How many tasks that are over stay visible for each framework.
    /// Mesos: `--max_completed_tasks_per_framework`.
    pub max_completed_tasks_per_framework: usize,
    /// How many tasks on unreachable agents stay known for each framework.
    /// Mesos: `--max_unreachable_tasks_per_framework`.
    pub max_unreachable_tasks_per_framework: usize,
    /// How many clients may follow the operator event stream at once.
    /// Mesos: `--max_operator_event_stream_subscribers`.
    pub max_operator_event_stream_subscribers: usize,
    /// The time between two heartbeats on an event stream. Mesos: DEFAULT_HEARTBEAT_INTERVAL.
    pub heartbeat_interval: Duration,
    /// Domains whose names count as this cluster's own in `Host` and `Origin`, besides addresses,
    /// localhost and this machine's names.
    pub home_domains: Vec<String>,
    /// How many calls a second the frameworks of each principal may make, as JSON.
    /// Mesos: `--rate_limits`.
    pub rate_limits: Option<String>,
    /// How verbose the process' log is, which clients may change for a while.
    pub logging: Logging,
    /// The cluster's token, which all requests must show that show no credentials.
    pub auth: Auth,
    /// The file with the principals and their secrets. Mesos: `--credentials`.
    pub credentials: Option<PathBuf>,
    /// Who has to show credentials.
    pub authenticate: Authenticate,
}

/// So many in so much time, evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    permits: NonZeroU32,
    duration: Duration,
}

impl RateLimit {
    /// `permits` in each `duration`.
    pub fn new(permits: NonZeroU32, duration: Duration) -> RateLimit {
        RateLimit { permits, duration }
    }

    /// The time from one to the next.
    pub(crate) fn interval(self) -> Duration {
        self.duration / self.permits.get()
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.permits, duration_text(self.duration))
    }
}

/// Who has to show credentials, or the cluster's token instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Authenticate {
    /// Who reads documents. Mesos: `--authenticate_http_readonly`.
    pub http_readonly: bool,
    /// Who uses the operator API. Mesos: `--authenticate_http_readwrite`.
    pub http_readwrite: bool,
    /// Frameworks. Mesos: `--authenticate_http_frameworks`.
    pub http_frameworks: bool,
    /// Agents. Mesos: `--authenticate_agents`.
    pub agents: bool,
}

impl Config {
    /// The defaults of Mesos for a master at `ip` that keeps its registry in `dir`.
    pub fn new(ip: Ipv4Addr, dir: PathBuf) -> Config {
        Config {
            ip,
            port: 5050,
            dir,
            hostname: None,
            cluster: None,
            agent_ping_timeout: Duration::from_secs(15),
            max_agent_ping_timeouts: 5,
            agent_reregister_timeout: Duration::from_secs(600),
            agent_removal_rate_limit: None,
            recovery_agent_removal_limit: 100.0,
            registry_gc_interval: Duration::from_secs(15 * 60),
            registry_max_agent_age: Duration::from_secs(14 * 24 * 3600),
            registry_max_agent_count: 100 * 1024,
            offer_timeout: None,
            allocation_interval: Duration::from_secs(1),
            max_completed_frameworks: 50,
            max_completed_tasks_per_framework: 1000,
            max_unreachable_tasks_per_framework: 1000,
            max_operator_event_stream_subscribers: 1000,
            heartbeat_interval: Duration::from_secs(15),
            home_domains: Vec::new(),
            rate_limits: None,
            logging: Logging::default(),
            auth: Auth::default(),
            credentials: None,
            authenticate: Authenticate::default(),
        }
    }

    /// The name that clients are shown.
    pub(crate) fn shown_hostname(&self) -> String {
        self.hostname.clone().unwrap_or_else(|| self.ip.to_string())
    }

    /// How long an agent may be silent before it is unreachable.
    pub(crate) fn agent_silence(&self) -> Duration {
        self.agent_ping_timeout.saturating_mul(self.max_agent_ping_timeouts.max(1))
    }

    /// The flags as `/flags` lists them, by name: those of Mesos that mean something here, with what
    /// this master does. `address` is the one it listens on.
    pub(crate) fn flags(&self, address: SocketAddr) -> Vec<(&'static str, String)> {
        let mut flags = vec![("agent_ping_timeout", duration_text(self.agent_ping_timeout))];
        if let Some(limit) = self.agent_removal_rate_limit {
            flags.push(("agent_removal_rate_limit", limit.to_string()));
        }
        flags.extend([
            ("agent_reregister_timeout", duration_text(self.agent_reregister_timeout)),
            ("allocation_interval", duration_text(self.allocation_interval)),
            ("allocator", "hierarchical".to_owned()),
            ("authenticate_agents", self.authenticate.agents.to_string()),
            ("authenticate_frameworks", "false".to_owned()),
            ("authenticate_http_frameworks", self.authenticate.http_frameworks.to_string()),
            ("authenticate_http_readonly", self.authenticate.http_readonly.to_string()),
            ("authenticate_http_readwrite", self.authenticate.http_readwrite.to_string()),
        ]);
        if let Some(cluster) = &self.cluster {
            flags.push(("cluster", cluster.clone()));
        }
        if let Some(credentials) = &self.credentials {
            flags.push(("credentials", credentials.display().to_string()));
        }
        flags.extend([
            ("framework_sorter", "drf".to_owned()),
            ("hostname", self.shown_hostname()),
            ("ip", address.ip().to_string()),
            ("max_agent_ping_timeouts", self.max_agent_ping_timeouts.to_string()),
            ("max_completed_frameworks", self.max_completed_frameworks.to_string()),
            ("max_completed_tasks_per_framework", self.max_completed_tasks_per_framework.to_string()),
            ("max_operator_event_stream_subscribers", self.max_operator_event_stream_subscribers.to_string()),
            ("max_unreachable_tasks_per_framework", self.max_unreachable_tasks_per_framework.to_string()),
            ("min_allocatable_resources", "cpus:0.01|mem:32".to_owned()),
        ]);
        if let Some(timeout) = self.offer_timeout {
            flags.push(("offer_timeout", duration_text(timeout)));
        }
        flags.push(("port", address.port().to_string()));
        if let Some(limits) = &self.rate_limits {
            flags.push(("rate_limits", limits.clone()));
        }
        flags.extend([
            ("recovery_agent_removal_limit", format!("{}%", self.recovery_agent_removal_limit)),
            ("registry_gc_interval", duration_text(self.registry_gc_interval)),
            ("registry_max_agent_age", duration_text(self.registry_max_agent_age)),
            ("registry_max_agent_count", self.registry_max_agent_count.to_string()),
            ("role_sorter", "drf".to_owned()),
            ("work_dir", self.dir.display().to_string()),
        ]);
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_sorted_and_tell_the_port_in_use() {
        let mut config = Config::new(Ipv4Addr::LOCALHOST, PathBuf::from("/var/lib/master"));
        (config.port, config.cluster) = (0, Some("home".to_owned()));
        config.offer_timeout = Some(Duration::from_secs(120));
        let flags = config.flags("127.0.0.1:5050".parse().unwrap());
        assert!(flags.is_sorted_by_key(|(name, _)| *name));
        for expect in
            [("port", "5050"), ("cluster", "home"), ("offer_timeout", "2mins"), ("hostname", "127.0.0.1")]
        {
            assert!(flags.iter().any(|(name, value)| (*name, &**value) == expect), "{expect:?}");
        }
    }
}
