//! What a container needs before it can be started, and giving it back afterwards: its sandbox and what is
//! fetched into it, its image, its network.
//!
//! Whatever is taken is found again by the container's id alone, so that an agent which was killed in the
//! middle gives it back at its next start.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use agent_core::{ContainerPlan, Launch, NetworkPlan, Protocol, VolumeSource};
use base::ContainerId;
use containers::{ContainerSpec, Isolation};
use mesos_proto::v1::NetworkInfo;
use mesos_proto::v1::network_info::{self, IpAddress};
use netlink::Networks;
use tokio::sync::watch;

use crate::Config;
use crate::lifecycle::with_causes;
use crate::private::{NameFiles, PrivateDirs};
use crate::sandbox::{self, sandbox_path};
use crate::spec::{Parts, Root};

/// Configures the network of a container whose first process exists and waits.
pub(crate) type Attach = Box<dyn FnOnce(u32) -> Result<(), String> + Send>;

/// Everything for one container that can be started now.
pub(crate) struct Provided {
    pub(crate) spec: ContainerSpec,
    pub(crate) attach: Attach,
    /// Its networks, once `attach` is done.
    pub(crate) networks: Arc<Mutex<Vec<NetworkInfo>>>,
}

/// Gets what containers need.
pub(crate) struct Provider {
    config: Arc<Config>,
    isolation: Isolation,
    private: PrivateDirs,
    /// Or why there are none.
    networks: Result<Arc<Networks>, String>,
}

impl Provider {
    pub(crate) fn open(config: Arc<Config>, isolation: Isolation) -> Provider {
        let private = PrivateDirs::new(&config.dir);
        let networks = match isolation {
            Isolation::Full => {
                Networks::open(config.networks()).map(Arc::new).map_err(|error| with_causes(&error))
            }
            Isolation::Plain => Err(without_root("A network of its own")),
        };
        Provider { config, isolation, private, networks }
    }

    /// Gets everything for a container, telling how far it is. `address` is where the agent listens. To be
    /// given back by [`Provider::release`], also if it fails or is dropped.
    ///
    /// # Errors
    /// What could not be had and why, for the task's user.
    pub(crate) async fn provide(
        &self,
        launch: &Launch,
        address: &str,
        tell: &watch::Sender<String>,
    ) -> Result<Provided, String> {
        let plan = &launch.plan;
        if let Some(what) = plan.needs_isolation().filter(|_| self.isolation == Isolation::Plain) {
            return Err(without_root(&format!("A container with {what}")));
        }
        self.check_ports(plan)?;
        let sandbox = sandbox_path(&self.config.dir, &launch.agent_id, &launch.run);
        let command = launch.executor.command.as_ref();
        // Whom an image knows is known when the image is here.
        let owner = match plan.image {
            None => sandbox::owner_of(&launch.framework, command).map_err(|error| error.to_string())?,
            Some(_) => None,
        };
        sandbox::make(&sandbox, owner).map_err(|error| error.to_string())?;
        make_volumes(&sandbox, plan, owner)?;
        let private = match plan.needs_isolation() {
            None => None,
            Some(_) => {
                let made = self.private.make(&launch.run.container_id);
                Some(made.map_err(|error| format!("cannot make a directory for the container: {error}"))?)
            }
        };
        self.fetch(launch, &sandbox, owner, tell).await?;
        let root = self.pull(launch, &sandbox, tell).await?;
        self.assemble(launch, address, &sandbox, private.as_deref(), root.as_ref())
    }

    async fn fetch(
        &self,
        launch: &Launch,
        _sandbox: &Path,
        _owner: Option<sandbox::Owner>,
        _tell: &watch::Sender<String>,
    ) -> Result<(), String> {
        let command = launch.task.as_ref().map_or(&launch.executor.command, |task| &task.command);
        match command.as_ref().and_then(|command| command.uris.first()) {
            None => Ok(()),
            Some(uri) => Err(format!("cannot fetch {}", uri.value)),
        }
    }

    async fn pull(
        &self,
        launch: &Launch,
        _sandbox: &Path,
        _tell: &watch::Sender<String>,
    ) -> Result<Option<Root>, String> {
        match &launch.plan.image {
            None => Ok(None),
            Some(image) => Err(format!("cannot pull {}", image.name)),
        }
    }

    fn assemble(
        &self,
        launch: &Launch,
        address: &str,
        sandbox: &Path,
        private: Option<&Path>,
        root: Option<&Root>,
    ) -> Result<Provided, String> {
        let plan = &launch.plan;
        let own_network = plan.network != NetworkPlan::Host;
        let container_id = launch.run.container_id.as_str();
        let hostname = plan.hostname.as_deref().or(own_network.then_some(container_id));
        let names = match private.filter(|_| own_network || root.is_some()) {
            None => None,
            Some(private) => {
                let own = hostname.map_or_else(host_name, str::to_owned);
                let written = NameFiles::write(private.join("etc"), plan, &own);
                Some(written.map_err(|error| format!("cannot write the container's /etc/hosts: {error}"))?)
            }
        };
        let parts = Parts {
            config: &self.config,
            launch,
            address,
            sandbox,
            private,
            root,
            names: names.as_ref(),
            hostname,
        };
        let spec = parts.spec()?;
        let networks = Arc::new(Mutex::new(Vec::new()));
        let attach = self.attach(launch, names, Arc::clone(&networks))?;
        Ok(Provided { spec, attach, networks })
    }

    fn attach(
        &self,
        launch: &Launch,
        names: Option<NameFiles>,
        told: Arc<Mutex<Vec<NetworkInfo>>>,
    ) -> Result<Attach, String> {
        let tell = move |infos| *told.lock().unwrap_or_else(PoisonError::into_inner) = infos;
        let (info, mappings) = match &launch.plan.network {
            NetworkPlan::Host => return Ok(Box::new(|_| Ok(()))),
            NetworkPlan::None => {
                // Without any address: not the agent's, either.
                return Ok(Box::new(move |_| {
                    tell(vec![NetworkInfo::default()]);
                    Ok(())
                }));
            }
            NetworkPlan::Bridge { info, port_mappings } => (info.clone(), port_mappings),
        };
        let networks = self.networks.clone()?;
        let container_id = launch.run.container_id.clone();
        let mappings: Vec<netlink::PortMapping> = mappings.iter().map(mapping).collect();
        Ok(Box::new(move |pid| {
            let attached =
                networks.attach(&container_id, pid, &mappings).map_err(|error| with_causes(&error))?;
            if let Some(names) = names {
                let written = names.write_hosts(Some(attached.ip));
                written.map_err(|error| format!("cannot write the container's /etc/hosts: {error}"))?;
            }
            tell(vec![network_info(info.as_deref(), attached.ip)]);
            Ok(())
        }))
    }

    /// A port that a process of the host listens on would hide the container's, or be hidden by it.
    fn check_ports(&self, plan: &ContainerPlan) -> Result<(), String> {
        for mapping in plan.network.port_mappings() {
            if mapping.protocol != Protocol::Tcp {
                continue;
            }
            let port = mapping.host_port;
            if let Some(listener) = host::listener((self.config.ip, port).into()) {
                let whose = match (listener.pid, listener.command) {
                    (Some(pid), Some(command)) => format!("process {pid} ({command})"),
                    (Some(pid), None) => format!("process {pid}"),
                    (None, _) => "a process of another user".to_owned(),
                };
                return Err(format!("host port {port}/tcp cannot be mapped: {whose} listens on it"));
            }
        }
        Ok(())
    }

    /// Gives back what was taken for a container that is gone. For one that took nothing it does nothing.
    pub(crate) async fn release(&self, container_id: &ContainerId) {
        let private = self.private.of(container_id);
        if !private.exists() {
            return;
        }
        if let Ok(networks) = &self.networks {
            let (networks, id) = (Arc::clone(networks), container_id.clone());
            let detached = tokio::task::spawn_blocking(move || networks.detach(&id)).await;
            if let Ok(Err(error)) = detached {
                tracing::error!(%container_id, error = with_causes(&error), "a container's network is left");
            }
        }
        // The last, because it is what the rest is found by.
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(private)).await;
        if let Ok(Err(error)) = removed {
            tracing::error!(%container_id, %error, "a container's directory is left");
        }
    }

    /// Gives back what earlier runs of the agent took for containers that are gone; the others keep it.
    pub(crate) async fn recover(&self, alive: &BTreeSet<ContainerId>) {
        if let Ok(networks) = &self.networks {
            let (networks, alive) = (Arc::clone(networks), alive.clone());
            let recovered = tokio::task::spawn_blocking(move || networks.recover(&alive)).await;
            if let Ok(Err(error)) = recovered {
                tracing::error!(error = with_causes(&error), "container networks are not as they should be");
            }
        }
        for container_id in self.private.all() {
            if !alive.contains(&container_id) {
                self.release(&container_id).await;
            }
        }
    }
}

/// Why a task cannot have what only root can make.
fn without_root(what: &str) -> String {
    let user = host::User::current().name;
    format!("{what} needs an agent that runs as root; this one runs as {user}")
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn mapping(mapping: &agent_core::PortMapping) -> netlink::PortMapping {
    netlink::PortMapping {
        host_port: mapping.host_port,
        container_port: mapping.container_port,
        protocol: match mapping.protocol {
            Protocol::Tcp => netlink::Protocol::Tcp,
            Protocol::Udp => netlink::Protocol::Udp,
        },
    }
}

/// As the task named its network, with the container's address.
fn network_info(named: Option<&NetworkInfo>, ip: Ipv4Addr) -> NetworkInfo {
    let address =
        IpAddress { protocol: Some(network_info::Protocol::IPv4 as i32), ip_address: Some(ip.to_string()) };
    NetworkInfo { ip_addresses: vec![address], ..named.cloned().unwrap_or_default() }
}

/// Makes the directories of the sandbox that are mounted, and those in it that are mounted over: nothing of
/// the task's is in it yet that could lead elsewhere.
fn make_volumes(sandbox: &Path, plan: &ContainerPlan, owner: Option<sandbox::Owner>) -> Result<(), String> {
    for volume in &plan.volumes {
        if let VolumeSource::Sandbox(path) = &volume.source {
            make_dirs(sandbox, path, owner)?;
        }
        if volume.target.starts_with('/') {
            continue;
        }
        match &volume.source {
            VolumeSource::Host(path) if std::fs::metadata(path).is_ok_and(|data| !data.is_dir()) => {
                let target = sandbox.join(&volume.target);
                if let Some(parent) = Path::new(&volume.target).parent().filter(|p| !p.as_os_str().is_empty())
                {
                    make_dirs(sandbox, &parent.to_string_lossy(), owner)?;
                }
                let made = std::fs::OpenOptions::new().create(true).append(true).open(&target);
                made.map_err(|error| format!("cannot make {}: {error}", target.display()))?;
            }
            _ => make_dirs(sandbox, &volume.target, owner)?,
        }
    }
    Ok(())
}

fn make_dirs(sandbox: &Path, path: &str, owner: Option<sandbox::Owner>) -> Result<(), String> {
    let mut dir: PathBuf = sandbox.to_owned();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        dir.push(part);
        let made = match std::fs::create_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            made => made,
        };
        let given = made.and_then(|()| match owner {
            Some((uid, gid)) => std::os::unix::fs::chown(&dir, Some(uid), Some(gid)),
            None => Ok(()),
        });
        given.map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    }
    Ok(())
}
