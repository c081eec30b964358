//! The arguments of components that run alone, as units run them. Flags have the names that they have in
//! Mesos and Marathon, with what they mean there; each may be said by a variable, too (see `settings`).

use master::RateLimit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use admin_router::Role;
use base::{Auth, parse_duration};
use clap::{Args, ValueEnum};
use pkgpanda::api::ApiConfig;
use telemetry::Output;
use up::{AgentConfig, ImageOptions};

use crate::arguments::{auth, master_address, size};
use crate::parts;

/// Why a component was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nothing says the node's address.
    #[error(
        "the address of this node is not said: --ip is to name it, or --ip_discovery_command a command that prints it"
    )]
    NoAddress,
    /// The address has the wrong family.
    #[error("the address of this node is {0}, allowed is an IPv4 address")]
    NotIpv4(IpAddr),
    /// The command that tells the address did not.
    #[error(transparent)]
    Discovery(#[from] host::DiscoveryError),
    /// Authentication is asked for without anything to tell by.
    #[error("--activate_auth_module asks for authentication: --token-file is to name the cluster's token")]
    NoToken,
    /// The cluster's id could not be read.
    #[error("read the cluster's id from {}", .path.display())]
    ClusterId {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// There is no directory that relative paths could be taken against.
    #[error("tell the current directory; --work-dir says another one")]
    Directory(#[source] std::io::Error),
    /// There is no port between the first and the last one.
    #[error("--local_port_min {min} is above --local_port_max {max}, allowed are ports up to that one")]
    NoPorts {
        /// The first.
        min: u16,
        /// The last.
        max: u16,
    },
    /// A file that is named could not be used.
    #[error(transparent)]
    Up(#[from] up::Error),
}

/// How the address of the node is told.
#[derive(Debug, Args)]
struct AddressArguments {
    /// The address of this node
    #[arg(long)]
    ip: Option<IpAddr>,
    /// A shell command that prints the address of this node, if --ip does not say it
    #[arg(long = "ip_discovery_command", value_name = "command")]
    ip_discovery_command: Option<String>,
}

impl AddressArguments {
    fn find(&self) -> Result<IpAddr, Error> {
        match (self.ip, &self.ip_discovery_command) {
            (Some(ip), _) => Ok(ip),
            (None, Some(command)) => Ok(host::discover_address(command)?),
            (None, None) => Err(Error::NoAddress),
        }
    }

    fn find_ipv4(&self) -> Result<Ipv4Addr, Error> {
        match self.find()? {
            IpAddr::V4(ip) => Ok(ip),
            ip => Err(Error::NotIpv4(ip)),
        }
    }
}

/// A duration as Mesos takes it.
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .ok_or_else(|| "allowed is a number with a unit, like 90secs, 10mins, 1.5hrs or 2days".to_owned())
}

/// A part of a hundred as Mesos takes it.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
    number
        .filter(|number| (0.0..=100.0).contains(number))
        .ok_or_else(|| "allowed is a number from 0 to 100 with %, like 25%".to_owned())
}

/// A rate as Mesos takes it.
fn rate_limit(text: &str) -> Result<RateLimit, String> {
    let parts = text.split_once('/');
    let limit = parts.and_then(|(permits, time)| {
        let time = parse_duration(time).filter(|time| !time.is_zero())?;
        Some(RateLimit::new(permits.parse().ok()?, time))
    });
    limit.ok_or_else(|| "allowed is <number of agents>/<duration>, like 1/10mins".to_owned())
}

/// A duration as Marathon takes it.
fn milliseconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .map(Duration::from_millis)
        .map_err(|_| "allowed is a number of milliseconds, like 300000".to_owned())
}

/// A duration as Marathon takes some.
fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .map(Duration::from_secs)
        .map_err(|_| "allowed is a number of seconds, like 604800".to_owned())
}

/// A text, or the contents of the file that a `file://` URI names, as in Mesos.
fn contents(text: &str) -> Result<String, String> {
    match text.strip_prefix("file://") {
        None => Ok(text.to_owned()),
        Some(path) => match std::fs::read_to_string(path) {
            Ok(contents) => Ok(contents.trim().to_owned()),
            Err(error) => Err(format!("{path} cannot be read ({error})")),
        },
    }
}

/// A path, also as the `file://` URI that Mesos wants it to be.
fn path(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(text.strip_prefix("file://").unwrap_or(text).into())
}

/// Standard error, which the journal keeps, and the file.
fn output(file: Option<&Path>) -> Output {
    file.map_or(Output::Stderr, |file| Output::StderrAndFile(file.to_owned()))
}

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct MesosMasterArguments {
    #[command(flatten)]
    address: AddressArguments,
    /// The port to listen on [default: 5050]
    #[arg(long)]
    port: Option<u16>,
    /// Where the registry is kept
    #[arg(long = "work_dir", default_value_os_t = up::default_dir("mesos-master"))]
    work_dir: PathBuf,
    /// The name that clients are shown and redirected to; the address without it
    #[arg(long)]
    hostname: Option<String>,
    /// The name of the cluster
    #[arg(long)]
    cluster: Option<String>,
    /// How often an agent must be heard from [default: 15secs]
    #[arg(long = "agent_ping_timeout", alias = "slave_ping_timeout", value_parser = duration)]
    agent_ping_timeout: Option<Duration>,
    /// So many silences in a row make an agent unreachable [default: 5]
    #[arg(long = "max_agent_ping_timeouts", alias = "max_slave_ping_timeouts")]
    max_agent_ping_timeouts: Option<u32>,
    /// How long after a start of the master agents may take to come back [default: 10mins]
    #[arg(long = "agent_reregister_timeout", alias = "slave_reregister_timeout", value_parser = duration)]
    agent_reregister_timeout: Option<Duration>,
    /// How many agents are given up in a time because they are silent, like 1/20mins; at once without it
    #[arg(long = "agent_removal_rate_limit", alias = "slave_removal_rate_limit", value_parser = rate_limit)]
    agent_removal_rate_limit: Option<RateLimit>,
    /// How many of a hundred agents may be given up because they did not come back after a start; if there
    /// are more, the master stops [default: 100%]
    #[arg(long = "recovery_agent_removal_limit", alias = "recovery_slave_removal_limit", value_parser = percent)]
    recovery_agent_removal_limit: Option<f64>,
    /// How often the registry is swept of agents that were given up [default: 15mins]
    #[arg(long = "registry_gc_interval", value_parser = duration)]
    registry_gc_interval: Option<Duration>,
    /// How long the registry remembers agents that were given up [default: 2weeks]
    #[arg(long = "registry_max_agent_age", value_parser = duration)]
    registry_max_agent_age: Option<Duration>,
    /// How many of them [default: 102400]
    #[arg(long = "registry_max_agent_count")]
    registry_max_agent_count: Option<usize>,
    /// After this time an unanswered offer is taken back; never without it
    #[arg(long = "offer_timeout", value_parser = duration)]
    offer_timeout: Option<Duration>,
    /// How often what nobody has is offered [default: 1secs]
    #[arg(long = "allocation_interval", value_parser = duration)]
    allocation_interval: Option<Duration>,
    /// How many frameworks that are over stay visible [default: 50]
    #[arg(long = "max_completed_frameworks")]
    max_completed_frameworks: Option<usize>,
    /// How many tasks that are over stay visible for each framework [default: 1000]
    #[arg(long = "max_completed_tasks_per_framework")]
    max_completed_tasks_per_framework: Option<usize>,
    /// How many tasks on unreachable agents stay known for each framework [default: 1000]
    #[arg(long = "max_unreachable_tasks_per_framework")]
    max_unreachable_tasks_per_framework: Option<usize>,
    /// How many clients may follow the operator event stream at once [default: 1000]
    #[arg(long = "max_operator_event_stream_subscribers")]
    max_operator_event_stream_subscribers: Option<usize>,
    /// A file that the log is written to as well; somebody else looks after its size
    #[arg(long = "external_log_file", value_name = "file")]
    external_log_file: Option<PathBuf>,
    /// The file with the cluster's token, which requests must then show
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// A file with principals and their secrets: JSON as in Mesos, or a line "principal secret" each
    #[arg(long, value_name = "file", value_parser = path)]
    credentials: Option<PathBuf>,
    /// Whether who reads documents has to show credentials [default: false]
    #[arg(long = "authenticate_http_readonly", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    authenticate_http_readonly: Option<bool>,
    /// Whether who uses the operator API has to show credentials [default: false]
    #[arg(long = "authenticate_http_readwrite", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    authenticate_http_readwrite: Option<bool>,
    /// Whether frameworks have to show credentials [default: false]
    #[arg(long = "authenticate_http_frameworks", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    authenticate_http_frameworks: Option<bool>,
    /// Whether agents have to show credentials [default: false]
    #[arg(long = "authenticate_agents", alias = "authenticate_slaves", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    authenticate_agents: Option<bool>,
    /// How many calls a second frameworks may make, by principal: JSON as in Mesos, or the file:// of it
    #[arg(long = "rate_limits", value_parser = contents)]
    rate_limits: Option<String>,
    /// How clients show credentials
    #[arg(long = "http_authenticators", default_value = "basic", value_parser = ["basic"])]
    _http_authenticators: String,
    /// How frameworks show credentials
    #[arg(long = "http_framework_authenticators", default_value = "basic", value_parser = ["basic"])]
    _http_framework_authenticators: String,
}

/// Puts what was said in the place of what is usual.
fn set<T>(usual: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *usual = said;
    }
}

impl MesosMasterArguments {
    pub(crate) fn output(&self) -> Output {
        output(self.external_log_file.as_deref())
    }

    pub(crate) fn config(self) -> Result<master::Config, Error> {
        let mut config = master::Config::new(self.address.find_ipv4()?, self.work_dir);
        config.hostname = self.hostname;
        config.cluster = self.cluster;
        config.offer_timeout = self.offer_timeout;
        config.agent_removal_rate_limit = self.agent_removal_rate_limit;
        set(&mut config.recovery_agent_removal_limit, self.recovery_agent_removal_limit);
        set(&mut config.registry_gc_interval, self.registry_gc_interval);
        set(&mut config.registry_max_agent_age, self.registry_max_agent_age);
        set(&mut config.registry_max_agent_count, self.registry_max_agent_count);
        config.auth = auth(self.token_file.as_deref())?;
        config.credentials = self.credentials;
        config.rate_limits = self.rate_limits;
        set(&mut config.authenticate.http_readonly, self.authenticate_http_readonly);
        set(&mut config.authenticate.http_readwrite, self.authenticate_http_readwrite);
        set(&mut config.authenticate.http_frameworks, self.authenticate_http_frameworks);
        set(&mut config.authenticate.agents, self.authenticate_agents);
        set(&mut config.port, self.port);
        set(&mut config.agent_ping_timeout, self.agent_ping_timeout);
        set(&mut config.max_agent_ping_timeouts, self.max_agent_ping_timeouts);
        set(&mut config.agent_reregister_timeout, self.agent_reregister_timeout);
        set(&mut config.allocation_interval, self.allocation_interval);
        set(&mut config.max_completed_frameworks, self.max_completed_frameworks);
        set(&mut config.max_completed_tasks_per_framework, self.max_completed_tasks_per_framework);
        set(&mut config.max_unreachable_tasks_per_framework, self.max_unreachable_tasks_per_framework);
        set(&mut config.max_operator_event_stream_subscribers, self.max_operator_event_stream_subscribers);
        Ok(config)
    }
}

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct MesosAgentArguments {
    #[command(flatten)]
    address: AddressArguments,
    /// The port to listen on [default: 5051]
    #[arg(long)]
    port: Option<u16>,
    /// The address of the master, with its port if that is not 5050; without it the master is on this node
    #[arg(long, value_parser = master_address)]
    master: Option<SocketAddr>,
    /// Where records, images and sandboxes are kept
    #[arg(long = "work_dir", default_value_os_t = up::default_dir("mesos-agent"))]
    work_dir: PathBuf,
    /// The name that others are told; the address without it
    #[arg(long)]
    hostname: Option<String>,
    /// What it offers, like "cpus:4;mem:2048", or as JSON, or the file:// of either; all of the machine for
    /// what is not said, ports 31000 to 32000
    #[arg(long, value_parser = contents)]
    resources: Option<String>,
    /// Its attributes, like "rack:a;zone:b"
    #[arg(long, value_parser = contents)]
    attributes: Option<String>,
    /// The role that what is not reserved otherwise is reserved for; a public agent's is slave_public
    #[arg(long = "default_role")]
    default_role: Option<String>,
    /// A docker config.json with the logins for registries
    #[arg(long = "docker_config", value_name = "file", value_parser = path)]
    docker_config: Option<PathBuf>,
    /// Where images are kept; in work_dir without it
    #[arg(long = "docker_store_dir")]
    docker_store_dir: Option<PathBuf>,
    /// A registry that is spoken to without TLS, like "registry.example.com:5000"; those on loopback always
    /// may be. Can be repeated
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]")]
    insecure_registries: Vec<String>,
    /// How much disk images may take before unused ones are removed, like "50G" [default: 20G]
    #[arg(long = "image-quota", value_name = "SIZE", value_parser = size)]
    image_quota: Option<u64>,
    /// How much disk the fetcher's cache may take, like "2GB" [default: 2GB]
    #[arg(long = "fetcher_cache_size", value_parser = size)]
    fetcher_cache_size: Option<u64>,
    /// How long a fetch may stand still [default: 1mins]
    #[arg(long = "fetcher_stall_timeout", value_parser = duration)]
    fetcher_stall_timeout: Option<Duration>,
    /// Whether tasks get a quota of cpu that they cannot exceed [default: true]
    #[arg(long = "cgroups_enable_cfs", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    cgroups_enable_cfs: Option<bool>,
    /// The containers' group below the mount of each cgroup tree, of this agent alone
    #[arg(long = "cgroups_root")]
    cgroups_root: Option<PathBuf>,
    /// How long an executor may take to register [default: 1mins]
    #[arg(long = "executor_registration_timeout", value_parser = duration)]
    executor_registration_timeout: Option<Duration>,
    /// How long executors may take to come back after a start of the agent [default: 10secs]
    #[arg(long = "executor_reregistration_timeout", value_parser = duration)]
    executor_reregistration_timeout: Option<Duration>,
    /// How long an executor has to end [default: 5secs]
    #[arg(long = "executor_shutdown_grace_period", value_parser = duration)]
    executor_shutdown_grace_period: Option<Duration>,
    /// How long tasks go on without their agent [default: 365days]
    #[arg(long = "recovery_timeout", value_parser = duration)]
    recovery_timeout: Option<Duration>,
    /// How long sandboxes are kept [default: 1weeks]
    #[arg(long = "gc_delay", value_parser = duration)]
    gc_delay: Option<Duration>,
    /// A file that the log is written to as well, which the files API shows; somebody else looks after its size
    #[arg(long = "external_log_file", value_name = "file")]
    external_log_file: Option<PathBuf>,
    /// The file with the cluster's token, if the master demands one
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// A file with the principal and secret that the master is shown: JSON as in Mesos, or "principal secret"
    #[arg(long, value_name = "file", value_parser = path)]
    credential: Option<PathBuf>,
    /// A file with the principals of clients and their secrets: JSON as in Mesos, or a line "principal secret"
    /// each
    #[arg(long = "http_credentials", value_name = "file", value_parser = path)]
    http_credentials: Option<PathBuf>,
    /// Whether who reads documents has to show credentials [default: false]
    #[arg(long = "authenticate_http_readonly", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    authenticate_http_readonly: Option<bool>,
    /// Whether who uses the operator API has to show credentials [default: false]
    #[arg(long = "authenticate_http_readwrite", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    authenticate_http_readwrite: Option<bool>,
}

impl MesosAgentArguments {
    pub(crate) fn output(&self) -> Output {
        output(self.external_log_file.as_deref())
    }

    /// Where it keeps everything.
    pub(crate) fn work_dir(&self) -> PathBuf {
        self.work_dir.clone()
    }

    pub(crate) fn config(self) -> Result<agent::Config, Error> {
        let ip = self.address.find_ipv4()?;
        let here = || AgentConfig::master_address(&ip.to_string()).expect("an address is one");
        let master = self.master.unwrap_or_else(here);
        let mut config = agent::Config::new(ip, master, self.work_dir);
        config.at_gateway = AgentConfig::at_gateway(master);
        config.hostname = self.hostname;
        config.resources = self.resources;
        config.attributes = self.attributes;
        config.default_role = self.default_role;
        config.docker_config = self.docker_config.as_deref().map(ImageOptions::docker_config).transpose()?;
        config.image_dir = self.docker_store_dir;
        config.insecure_registries = self.insecure_registries;
        config.cgroup_root = self.cgroups_root;
        config.recovery_timeout = self.recovery_timeout.unwrap_or(parts::RECOVERY_TIMEOUT);
        config.log = self.external_log_file;
        config.auth = auth(self.token_file.as_deref())?;
        config.credential = self.credential;
        config.http_credentials = self.http_credentials;
        set(&mut config.authenticate_http_readonly, self.authenticate_http_readonly);
        set(&mut config.authenticate_http_readwrite, self.authenticate_http_readwrite);
        set(&mut config.port, self.port);
        set(&mut config.image_quota, self.image_quota);
        set(&mut config.fetcher_cache_size, self.fetcher_cache_size);
        set(&mut config.fetcher_stall_timeout, self.fetcher_stall_timeout);
        set(&mut config.enforce_cpu_quota, self.cgroups_enable_cfs);
        set(&mut config.executor_registration_timeout, self.executor_registration_timeout);
        set(&mut config.executor_reregistration_timeout, self.executor_reregistration_timeout);
        set(&mut config.executor_shutdown_grace_period, self.executor_shutdown_grace_period);
        set(&mut config.gc_delay, self.gc_delay);
        Ok(config)
    }
}

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct MarathonArguments {
    #[command(flatten)]
    address: AddressArguments,
    /// The port to listen on [default: 8080]
    #[arg(long = "http_port")]
    http_port: Option<u16>,
    /// The address of the Mesos master, with its port if that is not 5050; without it the master is on this node
    #[arg(long, value_parser = master_address)]
    master: Option<SocketAddr>,
    /// The directory of its state
    #[arg(long, default_value_os_t = up::default_dir("marathon-server"))]
    dir: PathBuf,
    /// The name that Mesos and clients are shown; the address without it
    #[arg(long)]
    hostname: Option<String>,
    /// The name of the framework [default: marathon]
    #[arg(long = "framework_name")]
    framework_name: Option<String>,
    /// The role of the framework [default: slave_public]
    #[arg(long = "mesos_role")]
    mesos_role: Option<String>,
    /// The user of tasks whose app names none; who runs Marathon without it
    #[arg(long = "mesos_user")]
    mesos_user: Option<String>,
    /// The principal of the framework [default: dcos_marathon]
    #[arg(long = "mesos_authentication_principal")]
    mesos_authentication_principal: Option<String>,
    /// The file with that principal's secret, if the master demands it
    #[arg(long = "mesos_authentication_secret_file", value_name = "file", value_parser = path)]
    mesos_authentication_secret_file: Option<PathBuf>,
    /// Roles whose resources an app may use that says nothing, separated by commas [default: *]
    #[arg(long = "default_accepted_resource_roles", value_delimiter = ',')]
    default_accepted_resource_roles: Option<Vec<String>>,
    /// How long the master keeps tasks while Marathon is away, in seconds [default: 604800]
    #[arg(long = "failover_timeout", value_parser = seconds)]
    failover_timeout: Option<Duration>,
    /// The first of the ports that services get whose port is 0 [default: 10000]
    #[arg(long = "local_port_min")]
    local_port_min: Option<u16>,
    /// The last of these ports [default: 20000]
    #[arg(long = "local_port_max")]
    local_port_max: Option<u16>,
    /// How long a declined offer is refused, in milliseconds [default: 120000]
    #[arg(long = "decline_offer_duration", value_parser = milliseconds)]
    decline_offer_duration: Option<Duration>,
    /// How many instances one offer may get [default: 100]
    #[arg(long = "max_instances_per_offer", alias = "max_tasks_per_offer")]
    max_instances_per_offer: Option<usize>,
    /// Deployments that may run at the same time [default: 100]
    #[arg(long = "max_running_deployments")]
    max_running_deployments: Option<usize>,
    /// Versions kept of each app, besides those in use [default: 50]
    #[arg(long = "max_versions", alias = "zk_max_versions")]
    max_versions: Option<usize>,
    /// A launched task that nothing is heard of is asked for after so many milliseconds [default: 30000]
    #[arg(long = "task_launch_confirm_timeout", value_parser = milliseconds)]
    task_launch_confirm_timeout: Option<Duration>,
    /// A task that does not run after so many milliseconds is killed [default: 300000]
    #[arg(long = "task_launch_timeout", value_parser = milliseconds)]
    task_launch_timeout: Option<Duration>,
    /// A kill that had no effect is repeated after so many milliseconds [default: 10000]
    #[arg(long = "kill_retry_timeout", value_parser = milliseconds)]
    kill_retry_timeout: Option<Duration>,
    /// Milliseconds between two complete reconciliations [default: 600000]
    #[arg(long = "reconciliation_interval", value_parser = milliseconds)]
    reconciliation_interval: Option<Duration>,
    /// How many heartbeats of the master in a row may be missing [default: 5]
    #[arg(long = "mesos_heartbeat_failure_threshold")]
    mesos_heartbeat_failure_threshold: Option<u32>,
    /// The file with the cluster's token, if the master demands one
    #[arg(long)]
    token_file: Option<PathBuf>,
}

impl MarathonArguments {
    pub(crate) fn config(self) -> Result<marathon::Config, Error> {
        let ip = self.address.find()?;
        let here = || AgentConfig::master_address(&ip.to_string()).expect("an address is one");
        let auth = auth(self.token_file.as_deref())?;
        let mut config = parts::marathon_config(ip, self.master.unwrap_or_else(here), &self.dir, &auth);
        set(&mut config.port, self.http_port);
        set(&mut config.missed_heartbeats, self.mesos_heartbeat_failure_threshold);
        config.secret_file = self.mesos_authentication_secret_file;
        let core = &mut config.core;
        set(&mut core.hostname, self.hostname);
        set(&mut core.framework_name, self.framework_name);
        set(&mut core.role, self.mesos_role);
        set(&mut core.user, self.mesos_user);
        set(&mut core.principal, self.mesos_authentication_principal);
        let roles = self.default_accepted_resource_roles.map(|roles| roles.into_iter().collect());
        set(&mut core.default_accepted_resource_roles, roles);
        set(&mut core.failover_timeout, self.failover_timeout);
        let (min, max) = (core.service_ports.start(), core.service_ports.end());
        let (min, max) = (self.local_port_min.unwrap_or(*min), self.local_port_max.unwrap_or(*max));
        if min > max {
            return Err(Error::NoPorts { min, max });
        }
        core.service_ports = min..=max;
        set(&mut core.decline_offer_duration, self.decline_offer_duration);
        set(&mut core.max_instances_per_offer, self.max_instances_per_offer);
        set(&mut core.max_running_deployments, self.max_running_deployments);
        set(&mut core.max_versions, self.max_versions);
        set(&mut core.launch_confirm_timeout, self.task_launch_confirm_timeout);
        set(&mut core.launch_timeout, self.task_launch_timeout);
        set(&mut core.kill_retry, self.kill_retry_timeout);
        set(&mut core.reconcile_interval, self.reconciliation_interval);
        Ok(config)
    }
}

/// What kind of node Admin Router is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NodeRole {
    Master,
    Agent,
}

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct RouterArguments {
    #[command(flatten)]
    address: AddressArguments,
    /// The port to listen on [default: 80, on an agent 61001]
    #[arg(long)]
    port: Option<u16>,
    /// What kind of node this is [default: master if --mesos or --marathon is said, else agent]
    #[arg(long)]
    role: Option<NodeRole>,
    /// The address and port of the Mesos master [default: port 5050 of this node]
    #[arg(long)]
    mesos: Option<SocketAddr>,
    /// The address and port of Marathon [default: port 8080 of this node]
    #[arg(long)]
    marathon: Option<SocketAddr>,
    /// The file with the cluster's id
    #[arg(long = "cluster_id_file", value_name = "file")]
    cluster_id_file: Option<PathBuf>,
    /// Whether requests must show the cluster's token, which takes --token-file
    #[arg(long = "activate_auth_module", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    activate_auth_module: Option<bool>,
    /// The file with the cluster's token, if one is demanded
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// The socket of this node's pkgpanda API [default: /run/dcos/pkgpanda-api.sock]
    #[arg(long, value_name = "PATH")]
    pkgpanda_socket: Option<PathBuf>,
    /// The directory that DC/OS is installed in [default: /opt/mesosphere]
    #[arg(long, value_name = "DIRECTORY")]
    root: Option<PathBuf>,
}

impl RouterArguments {
    pub(crate) fn config(self) -> Result<admin_router::Config, Error> {
        let ip = self.address.find()?;
        let auth: Auth = auth(self.token_file.as_deref())?;
        if self.activate_auth_module == Some(true) && !auth.is_on() {
            return Err(Error::NoToken);
        }
        let said = match (self.mesos, self.marathon) {
            (None, None) => NodeRole::Agent,
            _ => NodeRole::Master,
        };
        let here = |port| SocketAddr::new(ip, port);
        let (role, usual) = match self.role.unwrap_or(said) {
            NodeRole::Agent => (Role::Agent, admin_router::AGENT_PORT),
            NodeRole::Master => {
                let mesos = self.mesos.unwrap_or_else(|| here(5050));
                (Role::Master { mesos, marathon: self.marathon.unwrap_or_else(|| here(8080)) }, 80)
            }
        };
        let cluster_id = match self.cluster_id_file {
            None => String::new(),
            Some(path) => match std::fs::read_to_string(&path) {
                Ok(id) => id.trim().to_owned(),
                Err(source) => return Err(Error::ClusterId { path, source }),
            },
        };
        let mut config = parts::router_config(ip, self.port.unwrap_or(usual), role, &cluster_id, &auth);
        set(&mut config.packages.socket, self.pkgpanda_socket);
        set(&mut config.packages.root, self.root);
        Ok(config)
    }
}

/// `dcos pkgpanda-api`. What is not said is as for the command `pkgpanda`.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct PkgpandaApiArguments {
    /// The directory that DC/OS is installed in [default: /opt/mesosphere]
    #[arg(long, value_name = "DIRECTORY")]
    root: Option<PathBuf>,
    /// The directory of the host's configuration [default: /etc/mesosphere]
    #[arg(long, value_name = "DIRECTORY")]
    config_dir: Option<PathBuf>,
    /// The directory of packages [default: packages in the root]
    #[arg(long, value_name = "DIRECTORY")]
    repository: Option<PathBuf>,
    /// What repository URLs without a scheme are taken against [default: the current directory]
    #[arg(long, value_name = "DIRECTORY")]
    work_dir: Option<PathBuf>,
    /// Link units below the root instead of /etc/systemd/system
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rooted_systemd: Option<bool>,
    /// Only link units: neither start nor stop any
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    no_systemd: Option<bool>,
    /// Where it listens, unless systemd hands over a socket [default: /run/dcos/pkgpanda-api.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The user that may connect to that socket beside root, as Admin Router's
    #[arg(long, value_name = "USER")]
    socket_user: Option<String>,
}

impl PkgpandaApiArguments {
    pub(crate) fn config(self) -> Result<ApiConfig, Error> {
        let here = || std::env::current_dir().map_err(Error::Directory);
        let work_dir = self.work_dir.map_or_else(here, Ok)?;
        let mut host = pkgpanda::Config::default();
        if let Some(root) = self.root {
            host.repository = root.join("packages");
            host.root = root;
        }
        set(&mut host.config_dir, self.config_dir);
        set(&mut host.repository, self.repository);
        set(&mut host.units.rooted, self.rooted_systemd);
        set(&mut host.units.manage, self.no_systemd.map(|no| !no));
        let socket = self.socket.unwrap_or_else(|| pkgpanda::api::SOCKET.into());
        Ok(ApiConfig { host, socket, socket_user: self.socket_user, work_dir })
    }
}

/// `dcos probe`: who is to answer what within which time.
#[derive(Debug, Args)]
pub(crate) struct ProbeArguments {
    /// Who is to answer: IP:PORT or unix:/PATH
    pub(crate) address: http_kit::Address,
    /// What is asked for
    #[arg(default_value = "/")]
    pub(crate) path: String,
    /// How long an answer is waited for
    #[arg(long, default_value = "5secs", value_parser = duration)]
    pub(crate) within: Duration,
}

#[cfg(test)]
mod tests;
