//! What the nodes of a cluster consist of.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use admin_router::{Role, Version};
use base::Auth;
use runtime::{BoxError, Component, Ctx, Logging};
use tracing::Instrument;
use up::{AgentNode, EndTasks, MasterNode, Part, Parts};

use crate::arguments::VERSION;

/// How long Admin Router waits for an upstream to begin its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long tasks go on without their agent: who stops a cluster for a holiday finds them again.
pub(crate) const RECOVERY_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The services of this program.
#[derive(Debug)]
pub(crate) struct Services {
    /// The directory of the components' logs, if they have one.
    pub(crate) logs: Option<PathBuf>,
    /// How verbose the process' log is.
    pub(crate) logging: Logging,
}

impl Parts for Services {
    fn master_node(&self, node: &MasterNode) -> Vec<Part> {
        let mut master = master::Config::new(node.ip, node.dir.join("mesos"));
        master.cluster = Some(node.cluster_id.clone());
        master.auth.clone_from(&node.auth);
        master.logging = self.logging.clone();
        let mesos = SocketAddr::from((node.ip, master.port));
        let marathon = marathon_config(node.ip.into(), mesos, &node.dir, &node.auth);
        let role = Role::Master { mesos, marathon: SocketAddr::new(marathon.ip, marathon.port) };
        let router = router_config(node.ip.into(), node.router_port, role, &node.cluster_id, &node.auth);
        vec![mesos_master(master), self::marathon(marathon), self::admin_router("admin-router", router)]
    }

    fn agent_node(&self, node: &AgentNode) -> Vec<Part> {
        let mut agent = agent::Config::new(node.ip, node.master, node.dir.clone());
        agent.resources = Some(node.resources.clone());
        agent.ports.clone_from(&node.ports);
        agent.attributes = Some(node.attributes.clone());
        agent.public = node.public;
        agent.at_gateway.clone_from(&node.at_gateway);
        agent.recovery_timeout = RECOVERY_TIMEOUT;
        agent.log = self.logs.as_ref().map(|logs| telemetry::path(logs, &node.name));
        agent.auth.clone_from(&node.auth);
        agent.logging = self.logging.clone();
        agent.docker_config.clone_from(&node.images.docker_config);
        agent.insecure_registries.clone_from(&node.images.insecure_registries);
        agent.image_quota = node.images.quota.unwrap_or(agent.image_quota);
        let router = router_config(node.ip.into(), admin_router::AGENT_PORT, Role::Agent, "", &node.auth);
        vec![
            mesos_agent(&node.name, agent),
            self::admin_router(&format!("{} admin-router", node.name), router),
        ]
    }

    fn missing_isolation(&self) -> Vec<String> {
        let missing = containers::probe(Path::new("dcos")).missing;
        let what = |what: &str| match what {
            "cgroups" => "limits of cpu, memory and processes (cgroups)".to_owned(),
            "namespaces" => "namespaces of their own (pid, mount, ipc, uts)".to_owned(),
            other => other.to_owned(),
        };
        missing.into_iter().map(|missing| format!("{}: {}", what(&missing.what), missing.why)).collect()
    }

    fn end_tasks<'a>(&'a self, dir: &'a Path) -> EndTasks<'a> {
        Box::pin(async { agent::end_all_tasks(dir).await.map_err(|error| base::with_causes(&error)) })
    }
}

/// The Mesos master as a component.
pub(crate) fn mesos_master(config: master::Config) -> Part {
    part("mesos-master", config.ip.into(), config.port, config, master::run)
}

/// The Mesos agent as a component.
pub(crate) fn mesos_agent(name: &str, config: agent::Config) -> Part {
    part(name, config.ip.into(), config.port, config, agent::run)
}

/// Marathon with the settings that follow from the node. Without root all tasks are this user's.
pub(crate) fn marathon_config(ip: IpAddr, master: SocketAddr, dir: &Path, auth: &Auth) -> marathon::Config {
    let mut config = marathon::Config::new(ip, master, dir.join("marathon"));
    config.core.user = host::User::current().name;
    config.core.hostname = ip.to_string();
    config.auth.clone_from(auth);
    config
}

/// Marathon as a component.
pub(crate) fn marathon(config: marathon::Config) -> Part {
    part("marathon", config.ip, config.port, config, marathon::run)
}

/// Admin Router with the settings that follow from the node.
pub(crate) fn router_config(
    ip: IpAddr,
    port: u16,
    role: Role,
    cluster_id: &str,
    auth: &Auth,
) -> admin_router::Config {
    admin_router::Config {
        ip,
        port,
        role,
        version: Version {
            version: VERSION.to_owned(),
            variant: "open".to_owned(),
            image_commit: String::new(),
            bootstrap_id: String::new(),
        },
        cluster_id: cluster_id.to_owned(),
        auth: auth.clone(),
        domains: vec!["mesos".to_owned()],
        answer_timeout: ANSWER_TIMEOUT,
        packages: admin_router::Packages::default(),
    }
}

/// Admin Router as a component.
pub(crate) fn admin_router(name: &str, config: admin_router::Config) -> Part {
    part(name, config.ip, config.port, config, admin_router::run)
}

/// The API of the host's packages as a component.
pub(crate) fn pkgpanda_api(api: pkgpanda::api::Api) -> Part {
    let span = telemetry::component("pkgpanda-api");
    let url = format!("unix:{}", api.socket().display());
    let run = move |ctx| api.clone().run(ctx).instrument(span.clone());
    Part { url, component: Component::new("pkgpanda-api", run) }
}

/// A service with its configuration as a component. Its log lines are told apart by its name.
fn part<C, F, E>(name: &str, ip: IpAddr, port: u16, config: C, run: fn(C, Ctx) -> F) -> Part
where
    C: Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    let span = telemetry::component(name);
    let run = move |ctx| run(config.clone(), ctx).instrument(span.clone());
    Part { url: up::url(ip, port), component: Component::new(name, run) }
}
