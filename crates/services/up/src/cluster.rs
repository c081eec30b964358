//! The record of a cluster or single node: what it was made with, so that it is taken up again as it
//! was, and so that its tasks can be ended when nothing runs any more.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base::Rng;
use host::{Capacity, FileLock, LockError};
use serde::{Deserialize, Serialize};

use crate::{Config, Error, Subnet, SubnetError, share};

/// The record's file in the cluster's directory.
pub(crate) const RECORD: &str = "cluster.json";
/// The lock's file.
const LOCK: &str = "lock";
/// The layout of the record and of the directory.
const FORMAT: u32 = 1;

/// What runs on this machine of one directory: a cluster, or a single node of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// [`FORMAT`] of the program that wrote it.
    format: u32,
    /// A UUID; none for a single agent, which joins whatever cluster its master is of.
    pub(crate) cluster_id: Option<String>,
    /// The version of the program that ran it last.
    pub(crate) version: String,
    /// The network of its nodes; none for a single node.
    subnet: Option<String>,
    /// What `--resources` said.
    resources: String,
    /// Whether a token is demanded: for ever, once it was. Records of before that was kept lack it.
    #[serde(default)]
    pub(crate) auth: bool,
    /// Where its Admin Router answers; none for a single agent. The command line reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// The agents, in the order of their addresses.
    pub(crate) agents: Vec<Agent>,
}

/// An agent of such a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agent {
    /// Its name, as in `agent 2` or `public agent 1`.
    pub(crate) name: String,
    /// Its address.
    pub(crate) ip: Ipv4Addr,
    /// Whether it is a public one.
    pub(crate) public: bool,
    /// What it offers but ports, in Mesos' text form.
    pub(crate) resources: String,
}

impl Agent {
    /// Its files in the cluster's directory.
    pub(crate) fn dir(&self, cluster: &Path) -> PathBuf {
        cluster.join("agents").join(self.name.replace(' ', "-"))
    }
}

impl Cluster {
    /// A single node, as `dcos master` and `dcos agent` run it.
    pub(crate) fn node(cluster_id: Option<String>, version: &str, auth: bool, agents: Vec<Agent>) -> Cluster {
        let (version, resources) = (version.to_owned(), String::new());
        Cluster { format: FORMAT, cluster_id, version, subnet: None, resources, auth, url: None, agents }
    }

    /// The network of its nodes.
    pub(crate) fn subnet(&self) -> Result<Subnet, SubnetError> {
        self.subnet.as_deref().unwrap_or_default().parse()
    }

    /// Whether it is a single master node.
    pub(crate) fn is_master_node(&self) -> bool {
        self.subnet.is_none() && self.agents.is_empty()
    }

    /// Whether it is a single agent node.
    pub(crate) fn is_agent_node(&self) -> bool {
        self.subnet.is_none() && self.agents.len() == 1
    }

    /// Its files of the components of the master node.
    pub(crate) fn master_dir(dir: &Path) -> PathBuf {
        dir.join("master")
    }

    /// What is to run: what was recorded, if `config` does not contradict it, with what it adds.
    pub(crate) fn settle(
        recorded: Option<Cluster>,
        config: &Config,
        host: Capacity,
        rng: &mut Rng,
    ) -> Result<Cluster, Error> {
        let mut cluster = match recorded {
            Some(recorded) => recorded.accept(config)?,
            None => Cluster {
                format: FORMAT,
                cluster_id: Some(rng.uuid()),
                version: String::new(),
                subnet: Some(config.subnet.unwrap_or(Subnet::DEFAULT).to_string()),
                resources: config.resources.clone().unwrap_or_default(),
                auth: false,
                url: None,
                agents: Vec::new(),
            },
        };
        config.version.clone_into(&mut cluster.version);
        cluster.auth |= config.auth;
        let fresh = cluster.agents.is_empty();
        let agents = config.agents.unwrap_or_else(|| if fresh { 1 } else { cluster.count(false) });
        let public = config.public_agents.unwrap_or_else(|| cluster.count(true));
        cluster.grow(agents, public, host)?;
        Ok(cluster)
    }

    /// The recorded cluster, unless `config` asks for another one.
    fn accept(self, config: &Config) -> Result<Cluster, Error> {
        let differs = |option, asked: String, recorded: String, why| {
            let dir = config.dir.clone();
            Err(Error::Differs { option, asked, recorded, why, dir })
        };
        let Some(subnet) = self.subnet.clone() else {
            let problem = "it is the record of a single node; name another --dir".to_owned();
            return Err(Error::Record { path: config.dir.join(RECORD), problem });
        };
        if let Some(asked) = config.subnet.map(|asked| asked.to_string())
            && asked != subnet
        {
            return differs("--subnet", asked, subnet, ", where its tasks expect it");
        }
        let counts = [("--agents", config.agents, false), ("--public-agents", config.public_agents, true)];
        for (option, asked, public) in counts {
            let recorded = self.count(public);
            if let Some(asked) = asked.filter(|asked| *asked < recorded) {
                let why = ", and those left out may have tasks running";
                return differs(option, asked.to_string(), recorded.to_string(), why);
            }
        }
        match &config.resources {
            Some(asked) if *asked != self.resources => {
                let recorded = if self.resources.is_empty() { "none".to_owned() } else { self.resources };
                differs("--resources", asked.clone(), recorded, ", of which its tasks have taken theirs")
            }
            _ => Ok(self),
        }
    }

    /// Adds agents until there are that many. Agents that are there keep what they offer.
    fn grow(&mut self, agents: u32, public_agents: u32, host: Capacity) -> Result<(), Error> {
        let subnet = self.subnet()?;
        let asked = agents.saturating_add(public_agents);
        if asked == 0 {
            return Err(Error::NoAgents);
        }
        if asked > subnet.hosts() - 1 {
            return Err(Error::SubnetTooSmall { subnet, asked });
        }
        if asked > 1 && share::has_ports(&self.resources) {
            return Err(Error::SharedPorts(self.resources.clone()));
        }
        for (wanted, public) in [(agents, false), (public_agents, true)] {
            for number in self.count(public) + 1..=wanted {
                let name = format!("{}agent {number}", if public { "public " } else { "" });
                let ip = subnet.address(self.agents.len() as u32 + 2);
                let ip = ip.ok_or(Error::SubnetTooSmall { subnet, asked })?;
                let resources = share::share(&self.resources, host, asked);
                self.agents.push(Agent { name, ip, public, resources });
            }
        }
        Ok(())
    }

    /// Says that agents which share the machine offer more of it than there is: those that were there
    /// before others were added keep what they offer.
    pub(crate) fn excess(&self, host: Capacity, dir: &Path) -> Option<String> {
        let offers = self.agents.iter().map(|agent| agent.resources.as_str());
        let excess = share::excess(offers, &self.resources, host);
        if excess.is_empty() {
            return None;
        }
        let mut offering: Vec<(&str, Vec<&str>)> = Vec::new();
        for agent in &self.agents {
            match offering.iter_mut().find(|(resources, _)| *resources == agent.resources) {
                Some((_, names)) => names.push(&agent.name),
                None => offering.push((&agent.resources, vec![&agent.name])),
            }
        }
        let offering: Vec<String> = offering
            .into_iter()
            .map(|(resources, names)| {
                format!("{} offer{} {resources}", names.join(", "), if names.len() == 1 { "s" } else { "" })
            })
            .collect();
        Some(format!(
            "The agents together offer more than this machine has ({}): {}. Agents keep what they were made \
             with; to share the machine evenly: dcos down --dir {dir}, which ends its tasks, then dcos up --dir {dir} --agents {} \
             --public-agents {}",
            excess.join(", "),
            offering.join("; "),
            self.count(false),
            self.count(true),
            dir = dir.display(),
        ))
    }

    fn count(&self, public: bool) -> u32 {
        self.agents.iter().filter(|agent| agent.public == public).count() as u32
    }

    /// Reads the record in `dir`; none if there is none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Cluster>, Error> {
        let path = dir.join(RECORD);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(Error::io("read", &path))?,
        };
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let damaged = |error: serde_json::Error| Error::Record {
            path: path.clone(),
            problem: format!("it is no record of a cluster: {error}"),
        };
        let Head { format } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if format != FORMAT {
            let problem = format!("it has format {format}, this program reads format {FORMAT}");
            return Err(Error::Record { path, problem });
        }
        let cluster: Cluster = serde_json::from_slice(&bytes).map_err(damaged)?;
        if cluster.subnet.is_some() {
            cluster.subnet().map_err(|error| Error::Record { path, problem: error.to_string() })?;
        }
        Ok(Some(cluster))
    }

    /// Writes the record into `dir`, all of it or nothing.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), Error> {
        let (path, fresh) = (dir.join(RECORD), dir.join(format!("{RECORD}.new")));
        let text = serde_json::to_vec_pretty(self).expect("a record is made of texts and numbers");
        let written = File::create(&fresh).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)?;
            File::open(dir)?.sync_all()
        });
        written.map_err(Error::io("write", path))
    }
}

/// Makes a directory with its parents; only its owner may look into it if it is `private`.
pub(crate) fn make_dir(dir: &Path, private: bool) -> Result<(), Error> {
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(if private { 0o700 } else { 0o755 }).create(dir);
    made.map_err(Error::io("make the directory", dir))
}

/// Removes a directory that was made for a cluster which then was not: its lock, its logs, and what
/// else this program may have put there. Others' files stay, and with them the directory.
pub(crate) fn unmake_dir(dir: &Path) {
    if dir.join(RECORD).exists() {
        return;
    }
    // What cannot be removed stays: why nothing was started is what there is to be told.
    let _ = std::fs::remove_dir_all(dir.join("logs"));
    for name in ["token", LOCK] {
        let _ = std::fs::remove_file(dir.join(name));
    }
    let _ = std::fs::remove_dir(dir);
}

/// Locks the directory of a cluster or node for this process.
pub(crate) fn lock(dir: &Path) -> Result<FileLock, Error> {
    FileLock::take(&dir.join(LOCK)).map_err(|error| match error {
        LockError::Held { owner, .. } => Error::Locked { dir: dir.to_owned(), owner },
        LockError::Lock { path, source } => Error::Io { attempted: "lock", path, source },
    })
}

#[cfg(test)]
mod tests;
