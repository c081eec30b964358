use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::{Auth, fnv1a};
pub use containers::Isolation;
use runtime::Logging;

/// The role that public agents' resources are reserved for.
const PUBLIC_ROLE: &str = "slave_public";

/// How one agent runs. [`Config::new`] has Mesos' defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on, which tasks on the host's network are reached at.
    pub ip: Ipv4Addr,
    /// The port to listen on; 0 takes a free one. Mesos: `--port`.
    pub port: u16,
    /// Where the master listens.
    pub master: SocketAddr,
    /// Holds records, sandboxes and the executors' socket; made if it is missing. Mesos: `--work_dir`.
    pub dir: PathBuf,
    /// The name that others are told; without it the address. Mesos: `--hostname`.
    pub hostname: Option<String>,
    /// What is offered, as in Mesos' `--resources`; what is not named is found out. Empty: all is.
    pub resources: Option<String>,
    /// As in Mesos' `--attributes`: `rack:r1;zone:a`.
    pub attributes: Option<String>,
    /// The role that what is not reserved already is reserved for; `*` without it. Mesos: `--default_role`.
    pub default_role: Option<String>,
    /// Whether this is a public agent: what is not reserved already is reserved for the role
    /// `slave_public`, and the attribute `public_ip:true` is added.
    pub public: bool,
    /// The host ports offered when `resources` names none; Mesos' 31000 to 32000 without it.
    pub ports: Option<RangeInclusive<u16>>,
    /// How containers are separated; without it as well as this machine and user allow.
    pub isolation: Option<Isolation>,
    /// The containers' parent group below each cgroup tree's mount; of this agent alone, because what is
    /// in it and unknown to the agent is ended. Without it one that is named after `dir`: an address may
    /// be another agent's tomorrow while tasks of this one run on.
    pub cgroup_root: Option<PathBuf>,
    /// The program and first arguments that start a container's helper.
    pub helper: Vec<OsString>,
    /// The program and first arguments that run a command task.
    pub executor: Vec<String>,
    /// Where executors find the agent; a Unix socket's path has at most 107 bytes. Its directory is made
    /// visible to containers and should hold nothing else. Without it `executors/agent.sock` in `dir`, or
    /// in a directory in `/tmp` if that is too long.
    pub socket: Option<PathBuf>,
    /// Where images are kept; without it `images` in `dir`. Mesos: `--docker_store_dir`.
    pub image_dir: Option<PathBuf>,
    /// Bytes of disk that images may take before unused ones go.
    pub image_quota: u64,
    /// The logins for registries: a docker `config.json`. Mesos: `--docker_config`.
    pub docker_config: Option<PathBuf>,
    /// Registries (`host[:port]`) that are spoken to without TLS; those on loopback always may be.
    pub insecure_registries: Vec<String>,
    /// Bytes that what is fetched may take in the cache. Mesos: `--fetcher_cache_size`.
    pub fetcher_cache_size: u64,
    /// How long a fetch may stand still. Mesos: `--fetcher_stall_timeout`.
    pub fetcher_stall_timeout: Duration,
    /// What containers with a network of their own reach at their gateway's address: connections to this port
    /// are sent to that address. They cannot reach a master at a loopback address otherwise.
    pub at_gateway: Vec<(u16, SocketAddrV4)>,
    /// Whether tasks get a CFS quota, which they cannot exceed even on an idle machine.
    /// Mesos: `--cgroups_enable_cfs`.
    pub enforce_cpu_quota: bool,
    /// Processes and threads one container may have. Mesos: `--cgroups_...pids` by isolator.
    pub max_processes: u64,
    /// Mesos: `--executor_registration_timeout`.
    pub executor_registration_timeout: Duration,
    /// How long executors may take to come back after the agent restarted.
    /// Mesos: `--executor_reregistration_timeout`.
    pub executor_reregistration_timeout: Duration,
    /// Mesos: `--executor_shutdown_grace_period`.
    pub executor_shutdown_grace_period: Duration,
    /// How long executors keep trying to reach a stopped agent. Mesos: `--recovery_timeout`.
    pub recovery_timeout: Duration,
    /// How long sandboxes are kept. Mesos: `--gc_delay`.
    pub gc_delay: Duration,
    /// The first and the longest wait for a status update's acknowledgement.
    pub update_retry: (Duration, Duration),
    /// The first and the longest wait between two tries to reach the master.
    pub reconnect: (Duration, Duration),
    /// Whether to end all tasks when asked to shut down, instead of letting them run on.
    pub end_tasks_at_shutdown: bool,
    /// The agent's own log, shown as `/slave/log` by the files API.
    pub log: Option<PathBuf>,
    /// Domains whose names count as this cluster's own in `Host` and `Origin`.
    pub home_domains: Vec<String>,
    /// How verbose the process' log is, which clients may change for a while.
    pub logging: Logging,
    /// The cluster's token, which the master is shown and operators must show.
    pub auth: Auth,
    /// The file with the principal and secret that the master is shown if there is no token.
    /// Mesos: `--credential`.
    pub credential: Option<PathBuf>,
    /// The file with the principals of clients and their secrets. Mesos: `--http_credentials`.
    pub http_credentials: Option<PathBuf>,
    /// Whether who reads documents has to show credentials. Mesos: `--authenticate_http_readonly`.
    pub authenticate_http_readonly: bool,
    /// Whether who uses the operator API has to show credentials. Mesos: `--authenticate_http_readwrite`.
    pub authenticate_http_readwrite: bool,
}

impl Config {
    /// The defaults for an agent at `ip` that keeps everything in `dir` and belongs to `master`.
    pub fn new(ip: Ipv4Addr, master: SocketAddr, dir: PathBuf) -> Config {
        Config {
            ip,
            port: 5051,
            master,
            cgroup_root: None,
            dir,
            hostname: None,
            resources: None,
            attributes: None,
            default_role: None,
            public: false,
            ports: None,
            isolation: None,
            helper: vec![containers::OWN_PROGRAM.into(), "container-init".into()],
            executor: vec![containers::OWN_PROGRAM.into(), "executor".into()],
            socket: None,
            image_dir: None,
            image_quota: 20 << 30,
            docker_config: None,
            insecure_registries: Vec::new(),
            fetcher_cache_size: 2 << 30,
            fetcher_stall_timeout: Duration::from_secs(60),
            at_gateway: match master {
                SocketAddr::V4(master) => vec![(master.port(), master)],
                SocketAddr::V6(_) => Vec::new(),
            },
            enforce_cpu_quota: true,
            max_processes: 4096,
            executor_registration_timeout: Duration::from_secs(60),
            executor_reregistration_timeout: Duration::from_secs(10),
            executor_shutdown_grace_period: Duration::from_secs(5),
            recovery_timeout: Duration::from_secs(15 * 60),
            gc_delay: Duration::from_secs(7 * 24 * 3600),
            update_retry: (Duration::from_secs(10), Duration::from_secs(600)),
            reconnect: (Duration::from_millis(50), Duration::from_secs(5)),
            end_tasks_at_shutdown: false,
            log: None,
            home_domains: Vec::new(),
            logging: Logging::default(),
            auth: Auth::default(),
            credential: None,
            http_credentials: None,
            authenticate_http_readonly: false,
            authenticate_http_readwrite: false,
        }
    }

    /// The role that what is nobody's is reserved for.
    pub(crate) fn default_role(&self) -> Option<&str> {
        if self.public {
            return Some(PUBLIC_ROLE);
        }
        self.default_role.as_deref().filter(|role| *role != "*")
    }

    pub(crate) fn shown_hostname(&self) -> String {
        self.hostname.clone().unwrap_or_else(|| self.ip.to_string())
    }

    pub(crate) fn socket_path(&self) -> PathBuf {
        /// `sun_path` without its final zero.
        const LONGEST: usize = 107;
        if let Some(path) = &self.socket {
            return path.clone();
        }
        let path = self.dir.join("executors").join(SOCKET);
        if path.as_os_str().len() <= LONGEST {
            return path;
        }
        let of_dir = fnv1a(self.dir.as_os_str().as_encoded_bytes());
        PathBuf::from(format!("/tmp/dcos-agent-{of_dir:016x}")).join(SOCKET)
    }

    /// The directory of the executors' socket.
    pub(crate) fn socket_dir(&self) -> PathBuf {
        self.socket_path().parent().map(Path::to_owned).unwrap_or_default()
    }

    pub(crate) fn image_dir(&self) -> PathBuf {
        self.image_dir.clone().unwrap_or_else(|| self.dir.join("images"))
    }

    pub(crate) fn images(&self) -> images::Config {
        images::Config {
            dir: self.image_dir(),
            quota_bytes: self.image_quota,
            docker_config: self.docker_config.clone(),
            insecure_registries: self.insecure_registries.clone(),
            limits: images::Limits::default(),
        }
    }

    pub(crate) fn fetcher(&self) -> fetcher::Config {
        // On the file system of the sandboxes, so that what is fetched is moved and not copied.
        let config = fetcher::Config::new(self.dir.join("fetch"));
        fetcher::Config { cache_bytes: self.fetcher_cache_size, ..config }
    }

    /// How servers outside of the cluster are asked.
    pub(crate) fn web_client(&self) -> web_client::Config {
        web_client::Config {
            stall_timeout: self.fetcher_stall_timeout,
            ..web_client::Config::from_environment()
        }
    }

    /// What containers with a network of their own get.
    pub(crate) fn networks(&self) -> netlink::Config {
        netlink::Config {
            state_dir: self.dir.join("networks"),
            name: network_name(&self.dir),
            agent_ip: self.ip,
            leases: host::SubnetLeases::of_host(),
            gateway_targets: self.at_gateway.clone(),
        }
    }

    /// The containers' parent group. `dir` must be absolute and without links by now.
    pub(crate) fn cgroup_root(&self) -> PathBuf {
        let of_dir = || format!("dcos/agent-{:016x}", fnv1a(self.dir.as_os_str().as_encoded_bytes())).into();
        self.cgroup_root.clone().unwrap_or_else(of_dir)
    }

    pub(crate) fn containers(&self, isolation: Isolation) -> containers::Config {
        let mut config = containers::Config::new(runtime_dir(&self.dir), self.cgroup_root(), isolation);
        config.helper.clone_from(&self.helper);
        config
    }

    /// The isolation to run with, and what of the full one is missing.
    pub(crate) fn isolation(&self) -> (Isolation, Vec<containers::Missing>) {
        match self.isolation {
            Some(isolation) => (isolation, Vec::new()),
            None => {
                let probe = containers::probe(&self.cgroup_root());
                (probe.isolation, probe.missing)
            }
        }
    }
}

/// The name of the executors' socket in its directory.
const SOCKET: &str = "agent.sock";

/// The agent's name among all that have container networks on this machine: the same after a restart, while
/// an address may be another agent's tomorrow. `dir` must be absolute and without links.
pub(crate) fn network_name(dir: &Path) -> String {
    format!("agent {}", dir.display())
}

pub(crate) fn runtime_dir(dir: &Path) -> PathBuf {
    dir.join("containers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_fits_the_kernel() {
        let path = |dir: &str| {
            Config::new(Ipv4Addr::LOCALHOST, ([127, 0, 0, 1], 5050).into(), dir.into()).socket_path()
        };
        assert_eq!(path("/var/lib/dcos"), PathBuf::from("/var/lib/dcos/executors/agent.sock"));
        let long = format!("/{}", "x".repeat(200));
        assert!(path(&long).as_os_str().len() <= 107);
        assert_ne!(path(&long), path(&format!("{long}y")), "each directory has its own");
    }
}
