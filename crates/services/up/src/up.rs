use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base::{Auth, Rng};
use host::{Capacity, PortLease};

use crate::cluster::{self, Cluster};
use crate::foreground::{Ended, Foreground, Goal};
use crate::node::{lease_owner, patiently, port_leases, take, url, warn};
use crate::readiness::Master;
use crate::{
    AgentNode, Error, ImageOptions, MasterNode, Part, Parts, Subnet, addresses, console, share, token,
};

/// `dcos up`. What is not said is as the cluster of the directory was made, or the default.
#[derive(Clone, Debug)]
pub struct Config {
    /// The network of the nodes; 127.0.0.0/24 for a new cluster.
    pub subnet: Option<Subnet>,
    /// How many agents; 1 for a new cluster.
    pub agents: Option<u32>,
    /// How many public agents; none for a new cluster.
    pub public_agents: Option<u32>,
    /// The cluster's files.
    pub dir: PathBuf,
    /// Whether there was no such directory before: it goes again if nothing is started.
    pub fresh_dir: bool,
    /// What each agent offers, in Mesos' text form; a share of the machine for what is not said.
    pub resources: Option<String>,
    /// Whether tasks are ended when the cluster stops.
    pub kill_tasks: bool,
    /// Whether a token is demanded; it stays so for the cluster of the directory.
    pub auth: bool,
    /// How agents get images. Not kept: it is said at each start.
    pub images: ImageOptions,
    /// The version of this program.
    pub version: String,
}

/// Brings up a cluster and runs it until a signal comes. Its tasks outlive it, unless that is not
/// wanted, and are taken up again by the next run on the same directory.
///
/// # Errors
/// See [`Error`]; nothing was started.
pub async fn up(mut config: Config, parts: &dyn Parts) -> Result<(), Error> {
    let (dir, _lock) = take(&config.dir).await?;
    config.dir.clone_from(&dir);
    let prepared = prepare(&config, &dir).await;
    if prepared.is_err() && config.fresh_dir {
        cluster::unmake_dir(&dir);
    }
    let Prepared { cluster, subnet, router_port, leases, auth } = prepared?;

    let ip = subnet.address(1).expect("every subnet has a first address");
    let master_dir = Cluster::master_dir(&dir);
    cluster::make_dir(&master_dir, true)?;
    let node = MasterNode {
        ip,
        dir: master_dir,
        cluster_id: cluster.cluster_id.clone().unwrap_or_default(),
        router_port,
        auth,
    };
    let running = nodes(&cluster, &node, &config.images, &dir, &leases, parts)?;
    warn(cluster.auth, parts);
    if cluster.auth {
        console::note(&format!("Requests must show the token in {}", token::path(&dir).display()));
    }
    let goal = Goal {
        master: Some(Master::at(SocketAddr::from((ip, addresses::MASTER)), &node.auth)),
        agents: cluster.agents.iter().map(|agent| SocketAddr::from((agent.ip, addresses::AGENT))).collect(),
        offered: true,
        url: url(ip.into(), router_port),
    };
    let ended = Foreground::new(running, goal).run_until_signal(true).await?;
    match config.kill_tasks {
        true => end_tasks(&cluster, &dir, parts).await.map(|count| console::say(&ended_tasks(count))),
        false => {
            console::say(&farewell(&ended, &dir));
            Ok(())
        }
    }
}

/// What is settled before anything is started.
struct Prepared {
    cluster: Cluster,
    subnet: Subnet,
    router_port: u16,
    leases: Vec<Option<PortLease>>,
    auth: Auth,
}

/// Settles what is to run, takes what it needs, and records it.
async fn prepare(config: &Config, dir: &Path) -> Result<Prepared, Error> {
    share::check(config.resources.as_deref().unwrap_or_default())?;
    let mut rng = Rng::seeded(runtime::entropy());
    let (recorded, host) = (Cluster::read(dir)?, Capacity::of_host(dir)?);
    let before = recorded.as_ref().map(|recorded| recorded.agents.len());
    let mut cluster = Cluster::settle(recorded, config, host, &mut rng)?;
    let subnet = cluster.subnet()?;
    let agents = cluster.agents.len() as u32;
    let router_port = patiently(|| addresses::check_subnet(subnet, agents)).await?;
    let leases = lease(&cluster, dir)?;
    let master = subnet.address(1).expect("every subnet has a first address");
    cluster.url = Some(url(master.into(), router_port));
    let auth = if cluster.auth { token::take(dir)? } else { token::none(dir) };
    cluster.write(dir)?;
    if before.is_some_and(|before| before < cluster.agents.len())
        && let Some(excess) = cluster.excess(host, dir)
    {
        console::note(&excess);
    }
    Ok(Prepared { cluster, subnet, router_port, leases, auth })
}

/// The ports of each agent, none for one whose resources say them.
fn lease(cluster: &Cluster, dir: &Path) -> Result<Vec<Option<PortLease>>, Error> {
    let leases = port_leases();
    let lease = |agent: &cluster::Agent| match share::has_ports(&agent.resources) {
        true => Ok(None),
        false => leases.take(&lease_owner(dir, &agent.name)).map(Some),
    };
    Ok(cluster.agents.iter().map(lease).collect::<Result<_, _>>()?)
}

fn nodes(
    cluster: &Cluster,
    master: &MasterNode,
    images: &ImageOptions,
    dir: &Path,
    leases: &[Option<PortLease>],
    parts: &dyn Parts,
) -> Result<Vec<Part>, Error> {
    let mut all = parts.master_node(master);
    for (agent, lease) in cluster.agents.iter().zip(leases) {
        let dir = agent.dir(dir);
        cluster::make_dir(&dir, false)?;
        all.extend(parts.agent_node(&AgentNode {
            name: agent.name.clone(),
            ip: agent.ip,
            master: SocketAddr::from((master.ip, addresses::MASTER)),
            dir,
            resources: agent.resources.clone(),
            ports: lease.as_ref().map(PortLease::ports),
            attributes: String::new(),
            public: agent.public,
            at_gateway: addresses::at_gateway((master.ip, addresses::MASTER).into(), master.router_port),
            images: images.clone(),
            auth: master.auth.clone(),
        }));
    }
    Ok(all)
}

/// Ends the tasks of all agents, of which none may run.
pub(crate) async fn end_tasks(cluster: &Cluster, dir: &Path, parts: &dyn Parts) -> Result<usize, Error> {
    let mut ended = 0;
    for agent in &cluster.agents {
        let dir = agent.dir(dir);
        if dir.exists() {
            ended += parts.end_tasks(&dir).await.map_err(|problem| Error::EndTasks { dir, problem })?;
        }
    }
    Ok(ended)
}

/// What `--kill-tasks` did.
pub(crate) fn ended_tasks(count: usize) -> String {
    match count {
        0 => "Stopped. No task was running.".to_owned(),
        1 => "Stopped, and ended 1 task.".to_owned(),
        _ => format!("Stopped, and ended {count} tasks."),
    }
}

fn farewell(ended: &Ended, dir: &Path) -> String {
    let dir = dir.display();
    let running = match ended.tasks {
        Some(0) => {
            return format!("Stopped. No task is running. To take the cluster up again: dcos up --dir {dir}");
        }
        Some(1) => "1 task goes on running".to_owned(),
        Some(count) => format!("{count} tasks go on running"),
        None => "Its tasks, if any, go on running".to_owned(),
    };
    format!(
        "Stopped. {running}. To take the cluster up again with them: dcos up --dir {dir}. To end it with \
         them: dcos down --dir {dir}"
    )
}
