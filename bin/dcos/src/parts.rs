//! What the nodes of a cluster consist of.

use std::net::Ipv4Addr;
use std::path::Path;

use up::{AgentNode, EndTasks, MasterNode, Part, Parts};

/// The services of this program.
#[derive(Debug)]
pub(crate) struct Services;

impl Parts for Services {
    fn master_node(&self, _node: &MasterNode) -> Vec<Part> {
        Vec::new()
    }

    fn agent_node(&self, _node: &AgentNode) -> Vec<Part> {
        Vec::new()
    }

    fn missing_isolation(&self) -> Vec<String> {
        let missing = containers::probe(Path::new("dcos")).missing;
        missing.into_iter().map(|missing| format!("{}: {}", missing.what, missing.why)).collect()
    }

    fn end_tasks<'a>(&'a self, _ip: Ipv4Addr, _dir: &'a Path) -> EndTasks<'a> {
        Box::pin(async { Ok(0) })
    }
}
