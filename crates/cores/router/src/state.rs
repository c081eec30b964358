//! What the table is built from, as the service learned it from Mesos and Marathon.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base::{AgentId, FrameworkId};

/// What the master says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MesosState {
    /// The registered agents.
    pub agents: BTreeMap<AgentId, Agent>,
    /// The registered frameworks.
    pub frameworks: BTreeMap<FrameworkId, Framework>,
}

/// A registered agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Where its API answers.
    pub address: SocketAddr,
    /// The name it registered with, which its tasks have as their host.
    pub hostname: String,
}

/// A registered framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framework {
    /// Its name.
    pub name: String,
    /// Where its user interface answers, if it said so.
    pub webui_url: Option<String>,
    /// Whether its scheduler is connected.
    pub connected: bool,
}

/// An app of Marathon with the label `DCOS_SERVICE_NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct App {
    /// Its id, `/group/app`.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How many health checks it defines.
    pub health_checks: usize,
    /// Its tasks.
    pub tasks: Vec<Task>,
}

/// A task of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// The host name or IP address of its agent.
    pub host: String,
    /// Its host ports.
    pub ports: Vec<u16>,
    /// Its state, `TASK_RUNNING`.
    pub state: String,
    /// The results of its health checks so far: alive or not.
    pub health: Vec<bool>,
}

impl Task {
    pub(crate) fn is_running(&self) -> bool {
        self.state == "TASK_RUNNING"
    }

    /// Whether requests may go to it: running, and every one of its app's `health_checks` says alive.
    pub(crate) fn is_healthy(&self, health_checks: usize) -> bool {
        self.is_running() && self.health.len() >= health_checks && self.health.iter().all(|alive| *alive)
    }
}
