//! What a container needs before it can be started, and giving it back afterwards: its sandbox and what is
//! fetched into it, its image, its network.
//!
//! Whatever is taken is found again by the container's id alone, so that an agent which was killed in the
//! middle gives it back at its next start.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use agent_core::{ContainerPlan, ImagePlan, Launch, NetworkPlan, Protocol, VolumeSource};
use base::ContainerId;
use containers::{ContainerSpec, Isolation};
use fetcher::Fetcher;
use images::{DockerConfig, Image, Images, Pull, Reference};
use mesos_proto::v1::NetworkInfo;
use mesos_proto::v1::network_info::{self, IpAddress};
use netlink::Networks;
use tokio::sync::{RwLock, watch};
use web_client::WebClient;

use crate::Config;
use crate::environment::Effective;
use crate::fetching::{fetch, owner_of_image_task};
use crate::image_user::owner_in;
use crate::private::{NameFiles, PrivateDirs};
use crate::sandbox::{self, Held, sandbox_path};
use crate::spec::{Outer, Parts, Root};
use base::with_causes;

/// The most of a file of credentials that is read.
const CREDENTIALS_LIMIT: u64 = 1 << 20;

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
    /// Or why nothing can be fetched.
    fetcher: Result<Fetcher, String>,
    /// Or why there are none.
    images: Result<Images, String>,
    /// Or why there are none.
    networks: Result<Arc<Networks>, String>,
    /// Read by those who are about to hold an image, written by those who release one.
    holding: Arc<RwLock<()>>,
}

impl Provider {
    /// Without images or container networks it goes on: tasks that want them are told why there are none.
    pub(crate) async fn open(config: Arc<Config>, isolation: Isolation) -> Provider {
        let web = WebClient::new(config.web_client());
        let images = match (isolation, web.clone()) {
            (Isolation::Full, web) => {
                Images::open(config.images(), web).await.map_err(|error| with_causes(&error))
            }
            (Isolation::Plain, _) => Err(without_root("An image")),
        };
        let private = PrivateDirs::new(&config.dir);
        let networks = match isolation {
            Isolation::Full => {
                Networks::open(config.networks()).map(Arc::new).map_err(|error| with_causes(&error))
            }
            Isolation::Plain => Err(without_root("A network of its own")),
        };
        let fetcher = Fetcher::open(config.fetcher(), web).map_err(|error| with_causes(&error));
        for why in
            [fetcher.as_ref().err(), images.as_ref().err(), networks.as_ref().err()].into_iter().flatten()
        {
            tracing::warn!(why, "tasks cannot have all that they may ask for");
        }
        let holding = Arc::default();
        Provider { config, isolation, private, fetcher, images, networks, holding }
    }

    /// The agent's images.
    ///
    /// # Errors
    /// Why there are none.
    pub(crate) fn images(&self) -> Result<&Images, &str> {
        self.images.as_ref().map_err(String::as_str)
    }

    /// Who fetches.
    fn fetcher(&self) -> Result<&Fetcher, String> {
        self.fetcher.as_ref().map_err(Clone::clone)
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
        let reader = if plan.image.is_some() { owner_of_image_task(launch) } else { owner };
        let held = Held::named(&sandbox);
        fetch(self.fetcher()?, launch, &held, reader, tell).await?;
        let root = match &private {
            Some(private) => self.pull(launch, &held, private, tell).await?,
            None => None,
        };
        self.assemble(launch, address, &sandbox, private.as_deref(), root.as_ref())
    }

    /// The same for a container in another one. `directory` is its sandbox, which is there, and `owner` whose
    /// it is.
    ///
    /// # Errors
    /// What could not be had and why, for the task's user.
    pub(crate) async fn provide_nested(
        &self,
        launch: &Launch,
        outer: &Outer,
        directory: &Held,
        owner: Option<sandbox::Owner>,
    ) -> Result<ContainerSpec, String> {
        let plan = &launch.plan;
        if let Some(what) = plan.needs_isolation().filter(|_| self.isolation == Isolation::Plain) {
            return Err(without_root(&format!("A container with {what}")));
        }
        make_volumes(directory.path(), plan, owner)?;
        let private = match plan.needs_isolation() {
            None => None,
            Some(_) => {
                let made = self.private.make(&launch.run.container_id);
                Some(made.map_err(|error| format!("cannot make a directory for the container: {error}"))?)
            }
        };
        // Nobody hears how far it is.
        let (tell, _told) = watch::channel(String::new());
        let reader = if plan.image.is_some() { owner_of_image_task(launch) } else { owner };
        fetch(self.fetcher()?, launch, directory, reader, &tell).await?;
        let root = match &private {
            Some(private) => self.pull(launch, directory, private, &tell).await?,
            None => None,
        };
        // It is on the network that the outermost container is on, and so are its names.
        let of_outer = self.private.of(&crate::nested::root_of(&outer.parent)).join("etc");
        let names = match (NameFiles::find(of_outer), &root, &private) {
            (Some(names), ..) => Some(names),
            (None, Some(_), Some(private)) => {
                let written = NameFiles::write(private.join("etc"), plan, &host_name());
                Some(written.map_err(|error| format!("cannot write the container's /etc/hosts: {error}"))?)
            }
            _ => None,
        };
        let sandbox = outer.sandbox.join(&outer.own);
        let parts = Parts {
            config: &self.config,
            launch,
            address: "",
            sandbox: &sandbox,
            private: private.as_deref(),
            root: root.as_ref(),
            names: names.as_ref(),
            hostname: None,
            outer: Some(outer),
        };
        parts.spec()
    }

    /// Brings the image here and keeps it for the container.
    async fn pull(
        &self,
        launch: &Launch,
        sandbox: &Held,
        private: &Path,
        tell: &watch::Sender<String>,
    ) -> Result<Option<Root>, String> {
        let Some(wanted) = &launch.plan.image else { return Ok(None) };
        let images = self.images.as_ref().map_err(Clone::clone)?;
        let reference = Reference::parse(&wanted.name).map_err(|error| error.to_string())?;
        let credentials = credentials(wanted, sandbox.path())?;
        let (tell, name) = (tell.clone(), reference.familiar());
        // Told of changes only.
        tell.send_replace(progress_text(&name, &images::Progress::default()));
        let progress = move |progress: images::Progress| {
            tell.send_replace(progress_text(&name, &progress));
        };
        let how = Pull { force: wanted.force_pull, names: false, credentials, progress: Arc::new(progress) };
        let image = images.pull(&reference, how).await.map_err(|error| with_causes(&error))?;
        self.hold(images, &image, &launch.run.container_id).await?;
        let config = Effective::of(&image.config, &launch.plan);
        let user = match launch.executor.command.as_ref().and_then(sandbox::own_user) {
            Some(own) => own.to_owned(),
            None if config.user.is_empty() => launch.framework.user.clone(),
            None => config.user.clone(),
        };
        let (layers, held) = (image.layers.clone(), sandbox.clone());
        // What was fetched may be many files.
        let given = tokio::task::spawn_blocking(move || match owner_in(&layers, &user) {
            Some(owner) => sandbox::give(held.path(), owner).map_err(|error| error.to_string()),
            None => Ok(()),
        });
        given.await.map_err(|error| error.to_string())??;
        let mut layers = image.layers.clone();
        if layers.is_empty() {
            // Overlayfs wants one.
            let empty = private.join("empty");
            std::fs::create_dir(&empty)
                .map_err(|error| format!("cannot make {}: {error}", empty.display()))?;
            layers.push(empty);
        }
        Ok(Some(Root { layers, config, volumes: image.config.volumes.clone() }))
    }

    /// Keeps the image for the container. It goes on to its end when whoever waits for it goes away, and a
    /// release waits for it: one that came before its end would find nothing to give back.
    async fn hold(&self, images: &Images, image: &Image, holder: &ContainerId) -> Result<(), String> {
        let holding = Arc::clone(&self.holding).read_owned().await;
        let (images, image, holder) = (images.clone(), image.clone(), holder.clone());
        let held = tokio::spawn(async move {
            let held = images.hold(&image, &holder).await;
            drop(holding);
            held
        });
        held.await.map_err(|error| error.to_string())?.map_err(|error| with_causes(&error))
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
            outer: None,
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
                let container_id = launch.run.container_id.clone();
                return Ok(Box::new(move |pid| {
                    netlink::isolate(&container_id, pid).map_err(|error| with_causes(&error))?;
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

    /// When the agent stops: what only serves containers goes, unless there are some.
    pub(crate) async fn close(&self) {
        if let Ok(networks) = &self.networks {
            let networks = Arc::clone(networks);
            let retired = tokio::task::spawn_blocking(move || match networks.attached() {
                0 => networks.retire(),
                _ => Ok(()),
            });
            if let Ok(Err(error)) = retired.await {
                tracing::warn!(error = with_causes(&error), "the network of containers is left behind");
            }
        }
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
        if let Ok(images) = &self.images {
            drop(self.holding.write().await);
            if let Err(error) = images.release(container_id).await {
                tracing::error!(%container_id, error = with_causes(&error), "a container's image is still held");
            }
        }
        // The last, because it is what the rest is found by.
        let removed = tokio::task::spawn_blocking(move || host::remove_tree(&private)).await;
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
        if let Ok(images) = &self.images {
            for holder in images.holders().into_iter().filter(|holder| !alive.contains(holder)) {
                if let Err(error) = images.release(&holder).await {
                    tracing::error!(%holder, error = with_causes(&error), "an image is still held");
                }
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

/// What the task's users are told of a pull.
pub(crate) fn progress_text(name: &str, progress: &images::Progress) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    match progress.phase {
        images::Phase::Resolving => format!("Resolving image {name}"),
        images::Phase::Pulling if progress.bytes_total == 0 => {
            format!("Pulling image {name}: {} MiB", mib(progress.bytes_done))
        }
        images::Phase::Pulling => {
            format!("Pulling image {name}: {} of {} MiB", mib(progress.bytes_done), mib(progress.bytes_total))
        }
        images::Phase::Done => format!("Starting a container of image {name}"),
    }
}

/// The logins that the task brings along: in its description, or fetched into its sandbox.
fn credentials(image: &ImagePlan, sandbox: &Path) -> Result<Option<DockerConfig>, String> {
    let parse = |bytes: &[u8], from: &str| {
        let parsed = DockerConfig::parse(bytes).map(Some);
        parsed.map_err(|error| format!("cannot use the credentials in {from}: {error}"))
    };
    if let Some(config) = &image.docker_config {
        return parse(config, "docker.config");
    }
    for name in [".docker/config.json", ".dockercfg"] {
        match read_fetched(sandbox, name) {
            Ok(bytes) => return parse(&bytes, name),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("cannot read the credentials in {name}: {error}")),
        }
    }
    Ok(None)
}

/// A file of the sandbox; what was fetched cannot lead out of it.
fn read_fetched(sandbox: &Path, name: &str) -> std::io::Result<Vec<u8>> {
    use std::io::Read;

    use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
    let dir = open(sandbox, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = std::fs::File::from(openat2(&dir, name, flags, Mode::empty(), within)?);
    let mut bytes = Vec::new();
    file.take(CREDENTIALS_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
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
