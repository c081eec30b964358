//! The snapshot: which service and which agent is where.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use base::AgentId;
use base::Auth;
use serde::Serialize;

use crate::state::{App, Framework, MesosState};

/// What does not change while Admin Router runs.
#[derive(Clone, Debug)]
pub struct Site {
    /// This node's address.
    pub ip: IpAddr,
    /// Where Admin Router listens, here and on other masters.
    pub port: u16,
    /// Master or agent.
    pub role: Role,
    /// The version of the cluster.
    pub version: Version,
    /// The id of the cluster.
    pub cluster_id: String,
    /// The check of credentials.
    pub auth: Auth,
}

/// What kind of node the router is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A master: the whole cluster is behind it.
    Master {
        /// The Mesos master.
        mesos: SocketAddr,
        /// Marathon.
        marathon: SocketAddr,
        /// The port of Admin Router on agents, 61001.
        agent_port: u16,
    },
    /// An agent: only itself is behind it.
    Agent,
}

/// `dcos-version.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// The version of DC/OS.
    pub version: String,
    /// `open`.
    #[serde(rename = "dcos-variant")]
    pub variant: String,
    /// The commit it was built from.
    #[serde(rename = "dcos-image-commit")]
    pub image_commit: String,
    /// The id of its bootstrap tarball; empty when it was not installed from one.
    #[serde(rename = "bootstrap-id")]
    pub bootstrap_id: String,
}

/// An immutable routing table.
#[derive(Clone, Debug)]
pub struct Table {
    pub(crate) site: Arc<Site>,
    /// `None` until the master told its state for the first time.
    pub(crate) agents: Option<BTreeMap<AgentId, Arc<[SocketAddr]>>>,
    pub(crate) services: BTreeMap<String, Service>,
    /// Whether both Mesos and Marathon have told their state, so that a missing service is missing.
    pub(crate) is_complete: bool,
}

/// A service by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// Where it is, or why it cannot be reached.
    pub(crate) instances: Result<Arc<[SocketAddr]>, String>,
    /// Whether the prefix is taken off the path.
    pub(crate) rewrite: bool,
    /// For people: what stands behind the name.
    pub(crate) origin: String,
}

impl Table {
    /// Builds a table. `None` is a component that has not told its state yet.
    ///
    /// Of two apps with the same service name the one with the smallest id that can be reached is
    /// taken. An app's label goes before a framework of the same name; the id of a framework is a
    /// name of it, too.
    pub fn build(site: &Arc<Site>, mesos: Option<&MesosState>, marathon: Option<&[App]>) -> Self {
        let mut services = BTreeMap::new();
        let empty = MesosState::default();
        let state = mesos.unwrap_or(&empty);
        let hosts = Hosts::of(state);
        for (id, framework) in &state.frameworks {
            let service = Service::of_framework(framework, &hosts);
            // Of several frameworks of one name the connected one is meant, if any is.
            if framework.connected || !services.contains_key(&framework.name) {
                services.insert(framework.name.clone(), service.clone());
            }
            services.insert(id.to_string(), service);
        }
        let mut apps: Vec<&App> = marathon.unwrap_or_default().iter().collect();
        apps.sort_by(|left, right| left.id.cmp(&right.id));
        let mut named: BTreeMap<String, Service> = BTreeMap::new();
        for app in apps {
            let Some(name) = service_name(app) else { continue };
            if named.get(name).is_none_or(|service| service.instances.is_err()) {
                let service = Service::of_app(app, &hosts);
                if service.instances.is_ok() || !named.contains_key(name) {
                    named.insert(name.to_owned(), service);
                }
            }
        }
        services.append(&mut named);
        let agents = mesos.map(|state| {
            let one = |address| Arc::from([address].as_slice());
            state.agents.iter().map(|(id, agent)| (id.clone(), one(agent.address))).collect()
        });
        let is_complete = mesos.is_some() && marathon.is_some();
        Table { site: Arc::clone(site), agents, services, is_complete }
    }

    /// Whether a token is asked for.
    pub fn asks_for_token(&self) -> bool {
        self.site.auth.is_on()
    }
}

/// The name in the label, without slashes at its ends; `None` without a name.
fn service_name(app: &App) -> Option<&str> {
    app.labels.get("DCOS_SERVICE_NAME").map(|name| name.trim_matches('/')).filter(|name| !name.is_empty())
}

/// The addresses of host names, as far as the state knows them.
struct Hosts<'a>(BTreeMap<&'a str, IpAddr>);

impl<'a> Hosts<'a> {
    fn of(state: &'a MesosState) -> Self {
        let agents = state.agents.values().map(|agent| (agent.hostname.as_str(), agent.address.ip()));
        let localhost = [("localhost", IpAddr::V4(Ipv4Addr::LOCALHOST))];
        Hosts(localhost.into_iter().chain(agents).collect())
    }

    fn resolve(&self, host: &str) -> Option<IpAddr> {
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        literal.parse().ok().or_else(|| self.0.get(host).copied())
    }
}

impl Service {
    fn of_framework(framework: &Framework, hosts: &Hosts<'_>) -> Self {
        let url = framework.webui_url.as_deref().unwrap_or("");
        let instances = match url {
            "" => Err("the framework names no webui_url".to_owned()),
            url => framework_address(url, hosts).map(|address| Arc::from([address].as_slice())),
        };
        Service { instances, rewrite: true, origin: format!("framework {}", framework.name) }
    }

    fn of_app(app: &App, hosts: &Hosts<'_>) -> Self {
        let rewrite = label(app, "DCOS_SERVICE_REWRITE_REQUEST_URLS", "true") != "false";
        Service { instances: app_instances(app, hosts), rewrite, origin: format!("app {}", app.id) }
    }
}

fn label<'a>(app: &'a App, name: &str, default: &'static str) -> &'a str {
    app.labels.get(name).map_or(default, |value| value.trim())
}

fn app_instances(app: &App, hosts: &Hosts<'_>) -> Result<Arc<[SocketAddr]>, String> {
    let id = &app.id;
    require_http(
        label(app, "DCOS_SERVICE_SCHEME", "http"),
        &format!("label DCOS_SERVICE_SCHEME of app {id}"),
    )?;
    let text = label(app, "DCOS_SERVICE_PORT_INDEX", "0");
    let index: usize = text.parse().map_err(|_| {
        format!(
            "label DCOS_SERVICE_PORT_INDEX of app {id} is '{text}': allowed is the index of a port, 0 or more"
        )
    })?;
    let mut instances = Vec::new();
    let mut problem = None;
    for task in app.tasks.iter().filter(|task| task.is_healthy(app.health_checks)) {
        match (hosts.resolve(&task.host), task.ports.get(index)) {
            (Some(ip), Some(port)) => instances.push(SocketAddr::new(ip, *port)),
            (None, _) => problem = Some(format!("no agent has the name '{}'", task.host)),
            (_, None) => {
                let ports = task.ports.len();
                problem = Some(format!(
                    "label DCOS_SERVICE_PORT_INDEX is {index}, but its tasks have {ports} ports"
                ));
            }
        }
    }
    if instances.is_empty() {
        let running = app.tasks.iter().filter(|task| task.is_running()).count();
        let problem = problem.unwrap_or_else(|| match running {
            0 => "no instance of it is running".to_owned(),
            running => format!("of its {running} running instances none is healthy"),
        });
        return Err(format!("app {id}: {problem}"));
    }
    // The same order in every table that holds the same instances.
    instances.sort_unstable();
    instances.dedup();
    Ok(instances.into())
}

fn require_http(scheme: &str, what: &str) -> Result<(), String> {
    match scheme {
        "http" => Ok(()),
        found => Err(format!("{what} is '{found}': allowed is http")),
    }
}

/// The address in `http://host[:port][/...]`; the path counts for nothing, as in DC/OS.
fn framework_address(url: &str, hosts: &Hosts<'_>) -> Result<SocketAddr, String> {
    let invalid = || format!("its webui_url '{url}' is no http://HOST[:PORT]/");
    let (scheme, rest) = url.split_once("://").ok_or_else(invalid)?;
    require_http(scheme, "the scheme of its webui_url")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| invalid())?),
        _ => (authority, 80),
    };
    let ip = hosts
        .resolve(host)
        .ok_or_else(|| format!("the host '{host}' in its webui_url is no agent and no address"))?;
    Ok(SocketAddr::new(ip, port))
}
