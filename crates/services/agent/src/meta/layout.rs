use std::path::{Path, PathBuf};

use agent_core::Run;
use base::AgentId;

/// Where records lie.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    slaves: PathBuf,
}

impl Layout {
    pub(crate) fn new(dir: &Path) -> Layout {
        Layout { slaves: dir.join("meta/slaves") }
    }

    /// A link to the directory of the agent that this one is.
    pub(crate) fn latest(&self) -> PathBuf {
        self.slaves.join("latest")
    }

    pub(crate) fn agent(&self, agent_id: &AgentId) -> PathBuf {
        self.slaves.join(agent_id.as_str())
    }

    pub(crate) fn drain_config(&self, agent_id: &AgentId) -> PathBuf {
        self.agent(agent_id).join("drain.config")
    }

    pub(crate) fn framework(&self, agent_id: &AgentId, framework_id: &str) -> PathBuf {
        self.agent(agent_id).join("frameworks").join(framework_id)
    }

    pub(crate) fn run(&self, agent_id: &AgentId, run: &Run) -> PathBuf {
        run_path(&self.slaves, agent_id, run)
    }
}

/// A run's directory below `slaves`: the same for records and sandboxes.
pub(crate) fn run_path(slaves: &Path, agent_id: &AgentId, run: &Run) -> PathBuf {
    let mut path = slaves.to_owned();
    for part in [
        agent_id.as_str(),
        "frameworks",
        run.framework_id.as_str(),
        "executors",
        run.executor_id.as_str(),
        "runs",
        run.container_id.as_str(),
    ] {
        path.push(part);
    }
    path
}
