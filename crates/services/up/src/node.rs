//! What a node is to this crate: its address, its directory, and the components it is made of.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use base::{Auth, Rng};
use host::{FileLock, PortLease, PortLeases};
use runtime::Component;
use tokio::time::{Instant, sleep};

use crate::cluster::{Agent, Cluster};
use crate::foreground::{Foreground, Goal};
use crate::readiness::Master;
use crate::{Error, addresses, cluster, console, share, token};

/// How long a process may take to be gone after it was killed.
const DYING: Duration = Duration::from_millis(500);

/// A component of a node.
#[derive(Debug)]
pub struct Part {
    /// Where it answers, as its line says.
    pub url: String,
    /// How it is run.
    pub component: Component,
}

/// What [`Parts::end_tasks`] returns: how many containers were ended, or what went wrong.
pub type EndTasks<'a> = Pin<Box<dyn Future<Output = Result<usize, String>> + Send + 'a>>;

/// Makes the components of nodes. The binary implements it: it alone knows all services.
pub trait Parts: Sync {
    /// The components of a master node.
    fn master_node(&self, node: &MasterNode) -> Vec<Part>;

    /// The components of an agent node.
    fn agent_node(&self, node: &AgentNode) -> Vec<Part>;

    /// What of the isolation of tasks this machine or user does not allow, each with the reason.
    fn missing_isolation(&self) -> Vec<String>;

    /// Ends all tasks of the agent that has this directory, with all that belongs to them, while it does
    /// not run.
    fn end_tasks<'a>(&'a self, dir: &'a Path) -> EndTasks<'a>;
}

/// A master node to be run.
#[derive(Clone, Debug)]
pub struct MasterNode {
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its files: each component has a directory below.
    pub dir: PathBuf,
    /// The id of the cluster, a UUID.
    pub cluster_id: String,
    /// The port of its Admin Router.
    pub router_port: u16,
    /// The token of the cluster, if it has one.
    pub auth: Auth,
}

/// How agents get the images that tasks run from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageOptions {
    /// A docker `config.json` with the logins for registries.
    pub docker_config: Option<PathBuf>,
    /// Registries (`host[:port]`) that are spoken to without TLS, beside those on loopback.
    pub insecure_registries: Vec<String>,
    /// Bytes that images may take on each agent before unused ones go; the agent's default without it.
    pub quota: Option<u64>,
}

impl ImageOptions {
    /// The file that `--docker-config` names, by its absolute path.
    ///
    /// # Errors
    /// When it is not there.
    pub fn docker_config(path: &Path) -> Result<PathBuf, Error> {
        path.canonicalize().map_err(Error::io("use --docker-config", path))
    }
}

/// An agent node to be run.
#[derive(Clone, Debug)]
pub struct AgentNode {
    /// Its name among the nodes of this process, as in `agent 2`.
    pub name: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The master.
    pub master: SocketAddr,
    /// Its files.
    pub dir: PathBuf,
    /// What it offers, in Mesos' text form; all of the machine for what is not said.
    pub resources: String,
    /// The host ports it offers, unless `resources` says them.
    pub ports: Option<RangeInclusive<u16>>,
    /// Its attributes, in Mesos' text form.
    pub attributes: String,
    /// Whether it is a public agent.
    pub public: bool,
    /// What its containers reach at their gateway's address, by port: the cluster's Admin Router, Mesos and
    /// Marathon.
    pub at_gateway: Vec<(u16, SocketAddrV4)>,
    /// How it gets images.
    pub images: ImageOptions,
    /// The token of the cluster, if it has one.
    pub auth: Auth,
}

/// `dcos master`.
#[derive(Clone, Debug)]
pub struct MasterConfig {
    /// The address of this node.
    pub ip: Ipv4Addr,
    /// Its files.
    pub dir: PathBuf,
    /// Whether a token is demanded; it stays so for the node of the directory.
    pub auth: bool,
    /// The version of this program.
    pub version: String,
}

/// `dcos agent`.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The master's address, with its port if that is not the standard one.
    pub master: SocketAddr,
    /// The address of this node.
    pub ip: Ipv4Addr,
    /// Its files.
    pub dir: PathBuf,
    /// Whether it is a public agent.
    pub public: bool,
    /// What it offers; the machine's share for what is not said.
    pub resources: Option<String>,
    /// Its attributes.
    pub attributes: String,
    /// How it gets images.
    pub images: ImageOptions,
    /// The token of the cluster, if it has one.
    pub auth: Auth,
    /// The version of this program.
    pub version: String,
}

impl AgentConfig {
    /// What an agent's containers reach at their gateway's address, by port.
    pub fn at_gateway(master: SocketAddr) -> Vec<(u16, SocketAddrV4)> {
        addresses::at_gateway(master, addresses::ROUTER)
    }

    /// The address of the master of a text: an IP address with or without a port.
    pub fn master_address(text: &str) -> Option<SocketAddr> {
        let standard = |ip: IpAddr| SocketAddr::new(ip, addresses::MASTER);
        text.parse().ok().or_else(|| text.parse().ok().map(standard))
    }
}

/// The URL of what listens there.
pub fn url(ip: IpAddr, port: u16) -> String {
    let address = SocketAddr::new(ip, port).to_string();
    format!("http://{}/", if port == 80 { address.trim_end_matches(":80") } else { &address })
}

/// Says what tasks lack here, and what is given away without a token.
pub(crate) fn warn(auth: bool, parts: &dyn Parts) {
    for missing in parts.missing_isolation() {
        console::note(&format!("Tasks run without {missing}"));
    }
    if !host::is_root() {
        console::note("Images, volumes and networks of containers are refused: not root");
    }
    if !auth {
        console::note(exposure(host::is_root()));
    }
}

/// What a user gives away without a token.
fn exposure(root: bool) -> &'static str {
    match root {
        true => {
            "Running as root without --auth: every local user can start tasks, and so become root. With \
             --auth a token is demanded."
        }
        false => {
            "Running without --auth: every local user can start tasks, which run as this user. With --auth \
             a token is demanded."
        }
    }
}

/// Runs a master node until it is told to stop.
///
/// # Errors
/// See [`Error`].
pub async fn master_node(config: MasterConfig, parts: &dyn Parts) -> Result<(), Error> {
    let (dir, _lock) = take(&config.dir).await?;
    let recorded = Cluster::read(&dir)?;
    if recorded.as_ref().is_some_and(|recorded| !recorded.is_master_node()) {
        let problem = "it is not the record of a single master; name another --dir".to_owned();
        return Err(Error::Record { path: dir.join(cluster::RECORD), problem });
    }
    let demanded = config.auth || recorded.as_ref().is_some_and(|recorded| recorded.auth);
    let recorded = recorded.and_then(|recorded| recorded.cluster_id);
    let cluster_id = recorded.unwrap_or_else(|| Rng::seeded(runtime::entropy()).uuid());
    let router_port = patiently(|| addresses::check_master(config.ip)).await?;
    let auth = if demanded { token::take(&dir)? } else { token::none(&dir) };
    let mut record = Cluster::node(Some(cluster_id.clone()), &config.version, demanded, Vec::new());
    record.url = Some(url(config.ip.into(), router_port));
    record.write(&dir)?;
    let master_dir = Cluster::master_dir(&dir);
    cluster::make_dir(&master_dir, true)?;
    let node = MasterNode { ip: config.ip, dir: master_dir, cluster_id, router_port, auth };
    warn(demanded, parts);
    let goal = Goal { url: url(config.ip.into(), router_port), ..Goal::default() };
    let farewell = format!(
        "Stopped. Tasks go on running on their agents. The same command takes the master up again; dcos down \
         --dir {} removes it",
        dir.display()
    );
    Foreground::new(parts.master_node(&node), goal).run(&farewell).await
}

/// Runs an agent node until it is told to stop. Its tasks outlive it.
///
/// # Errors
/// See [`Error`].
pub async fn agent_node(config: AgentConfig, parts: &dyn Parts) -> Result<(), Error> {
    let resources = config.resources.clone().unwrap_or_default();
    share::check(&resources)?;
    let (dir, _lock) = take(&config.dir).await?;
    patiently(|| addresses::check_agent(config.ip)).await?;
    let record = Agent { name: "agent".to_owned(), ip: config.ip, public: config.public, resources };
    if let Some(recorded) = Cluster::read(&dir)? {
        check_same_node(&recorded, &record, &dir)?;
        if recorded.auth && !config.auth.is_on() {
            return Err(Error::TokenLeftOut(dir));
        }
    }
    let lease = match share::has_ports(&record.resources) {
        true => None,
        false => Some(port_leases().take(&lease_owner(&dir, &record.name))?),
    };
    Cluster::node(None, &config.version, config.auth.is_on(), vec![record.clone()]).write(&dir)?;
    let node = AgentNode {
        dir: record.dir(&dir),
        name: record.name,
        ip: config.ip,
        master: config.master,
        resources: record.resources,
        ports: lease.as_ref().map(PortLease::ports),
        attributes: config.attributes.clone(),
        public: config.public,
        at_gateway: AgentConfig::at_gateway(config.master),
        images: config.images.clone(),
        auth: config.auth.clone(),
    };
    cluster::make_dir(&node.dir, false)?;
    warn(true, parts);
    let goal = Goal {
        master: Some(Master::at(config.master, &config.auth)),
        agents: vec![SocketAddr::from((config.ip, addresses::AGENT))],
        offered: false,
        url: url(config.ip.into(), addresses::AGENT_ROUTER),
    };
    let farewell = format!(
        "Stopped. Its tasks, if any, go on running. The same command takes the agent up again with them; \
         dcos down --dir {} ends it with them",
        dir.display()
    );
    Foreground::new(parts.agent_node(&node), goal).run(&farewell).await
}

/// Runs one component until it is told to stop.
///
/// # Errors
/// See [`Error`].
pub async fn single(part: Part) -> Result<(), Error> {
    let goal = Goal { url: part.url.clone(), ..Goal::default() };
    Foreground::new(vec![part], goal).run("Stopped.").await
}

/// Runs one component that has its directory to itself until it is told to stop. `part` makes it, of the
/// directory's real path.
///
/// # Errors
/// See [`Error`].
pub async fn single_in(dir: &Path, part: impl FnOnce(&Path) -> Part) -> Result<(), Error> {
    let (dir, _lock) = take(dir).await?;
    single(part(&dir)).await
}

/// Refuses to run another node on the directory than the recorded one: its tasks are reached at its
/// address.
fn check_same_node(recorded: &Cluster, asked: &Agent, dir: &Path) -> Result<(), Error> {
    match &recorded.agents[..] {
        [agent] if recorded.is_agent_node() && agent.ip == asked.ip => Ok(()),
        [agent] if recorded.is_agent_node() => Err(Error::Differs {
            option: "--ip",
            asked: asked.ip.to_string(),
            recorded: agent.ip.to_string(),
            why: ", where its tasks expect it",
            dir: dir.to_owned(),
        }),
        _ => {
            let problem = "it is not the record of a single agent; name another --dir".to_owned();
            Err(Error::Record { path: dir.join(cluster::RECORD), problem })
        }
    }
}

/// Makes and locks the directory of a cluster or node; returns its real path.
pub(crate) async fn take(dir: &Path) -> Result<(PathBuf, FileLock), Error> {
    cluster::make_dir(dir, false)?;
    let dir = dir.canonicalize().map_err(Error::io("find", dir))?;
    let lock = patiently(|| cluster::lock(&dir)).await?;
    Ok((dir, lock))
}

/// Tries again for a moment what another process stands in the way of: one that was just killed holds
/// its locks and ports until the kernel has cleared it away.
pub(crate) async fn patiently<T>(attempt: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    let deadline = Instant::now() + DYING;
    loop {
        match attempt() {
            Err(Error::Locked { .. } | Error::Taken { .. }) if Instant::now() < deadline => {
                sleep(Duration::from_millis(20)).await;
            }
            ended => return ended,
        }
    }
}

/// The machine's leases of ports.
pub(crate) fn port_leases() -> PortLeases {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    PortLeases::of_host(runtime_dir.as_deref())
}

/// The name under which an agent leases its ports: the same after a restart.
pub(crate) fn lease_owner(dir: &Path, agent: &str) -> String {
    format!("{} {agent}", dir.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_away_is_said_to_every_user() {
        assert!(exposure(true).contains("and so become root"));
        assert!(exposure(false).contains("which run as this user"));
    }

    #[test]
    fn urls_leave_out_the_standard_port() {
        let check = |ip: &str, port, expected| assert_eq!(url(ip.parse().unwrap(), port), expected);
        check("127.0.7.1", 80, "http://127.0.7.1/");
        check("127.0.7.1", 8000, "http://127.0.7.1:8000/");
        check("::1", 80, "http://[::1]/");
    }

    #[test]
    fn a_master_is_named_with_or_without_its_port() {
        let check = |text: &str, expected: Option<&str>| {
            let found = AgentConfig::master_address(text).map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected);
        };
        check("10.0.0.1", Some("10.0.0.1:5050"));
        check("10.0.0.1:5051", Some("10.0.0.1:5051"));
        check("::1", Some("[::1]:5050"));
        check("master", None);
    }
}
