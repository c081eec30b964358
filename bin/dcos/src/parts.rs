//! What the nodes of a cluster consist of.

use std::net::Ipv4Addr;
use std::path::Path;

use runtime::{BoxError, Component, Ctx};
use tracing::Instrument;
use up::{AgentNode, EndTasks, MasterNode, Part, Parts};

/// The services of this program.
#[derive(Debug)]
pub(crate) struct Services;

impl Parts for Services {
    fn master_node(&self, node: &MasterNode) -> Vec<Part> {
        let master = master_config(node);
        vec![part("mesos-master", node.ip, master.port, master, master::run)]
    }

    fn agent_node(&self, _node: &AgentNode) -> Vec<Part> {
        Vec::new()
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

    fn end_tasks<'a>(&'a self, _ip: Ipv4Addr, _dir: &'a Path) -> EndTasks<'a> {
        Box::pin(async { Ok(0) })
    }
}

fn master_config(node: &MasterNode) -> master::Config {
    master::Config::new(node.ip, node.dir.join("mesos"))
}

/// A service with its configuration as a component. Its log lines are told apart by its name.
fn part<C, F, E>(name: &str, ip: Ipv4Addr, port: u16, config: C, run: fn(C, Ctx) -> F) -> Part
where
    C: Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    let span = telemetry::component(name);
    let run = move |ctx| run(config.clone(), ctx).instrument(span.clone());
    Part { url: up::url(ip, port), component: Component::new(name, run) }
}
