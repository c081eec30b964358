use api_marathon::{AppId, IpAddress};
use base::{AgentId, Mono, TaskId, Wall};
use serde::{Deserialize, Serialize};

use crate::condition::{Condition, Goal};
use crate::health::CheckState;
use crate::id::InstanceId;

/// One of the copies of an app: waiting for an offer, or with a task.
///
/// Marathon: `Instance` with its only `Task`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Version of the app that its task runs, or will run.
    pub version: Wall,
    /// Which of its tasks this is, from 1 on.
    pub attempt: u32,
    /// What is wanted of it.
    pub goal: Goal,
    /// Its state.
    pub condition: Condition,
    /// Since when it is in this state.
    pub since: Wall,
    /// When it came to be.
    pub created: Wall,
    /// Where its task is; `None` exactly while it is scheduled.
    pub placement: Option<Placement>,
    /// Whether all health checks are good; `None` while unknown, or without health checks.
    pub healthy: Option<bool>,
    /// What each health check found out. Kept as it was when the health of the whole last changed, so that after a
    /// restart routers see no healthy task without results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) checks: Vec<CheckState>,
    /// The kill under way.
    #[serde(skip)]
    pub(crate) kill: Option<Kill>,
}

/// Where a task is and what it got there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// The agent.
    pub agent_id: AgentId,
    /// The agent's hostname.
    pub host: String,
    /// The agent's attributes, as text: constraints compare them.
    pub attributes: Vec<(String, String)>,
    /// The agent's region and zone.
    pub region: Option<String>,
    /// The agent's zone.
    pub zone: Option<String>,
    /// Host ports in the order of the port definitions.
    pub ports: Vec<u16>,
    /// When the offer was taken.
    pub staged_at: Wall,
    /// When it first ran.
    pub started_at: Option<Wall>,
    /// Addresses that the executor told.
    pub ip_addresses: Vec<IpAddress>,
    /// How far its preparation is, until it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// What the agent last told about a task that it prepares: "Pulling image busybox: 12 of 40 MiB".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The agent's words, shortened; empty once it has nothing more to say.
    pub message: String,
    /// When they last changed: a task that makes progress is not overdue.
    pub at: Wall,
}

impl Placement {
    /// What is being prepared, if anything is told about it.
    pub(crate) fn preparation(&self) -> Option<&str> {
        self.progress.as_ref().map(|progress| progress.message.as_str()).filter(|message| !message.is_empty())
    }
}

/// A kill under way: when it is sent next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kill {
    pub(crate) next: Mono,
}

impl Instance {
    /// A new instance that waits for an offer.
    pub(crate) fn scheduled(id: InstanceId, version: Wall, now: Wall) -> Instance {
        Instance {
            id,
            version,
            attempt: 1,
            goal: Goal::Running,
            condition: Condition::Scheduled,
            since: now,
            created: now,
            placement: None,
            healthy: None,
            checks: Vec::new(),
            kill: None,
        }
    }

    /// The app it belongs to.
    pub fn app(&self) -> AppId {
        self.id.app()
    }

    /// Id of its current task, or of the one to come.
    pub fn task_id(&self) -> TaskId {
        self.id.task(self.attempt)
    }

    /// Whether its task runs and is not about to end.
    pub(crate) fn is_running(&self) -> bool {
        self.condition == Condition::Running && self.goal == Goal::Running && self.kill.is_none()
    }

    /// Whether it does its work: it runs and, if its app has health checks, all of them are good.
    pub(crate) fn is_serving(&self, has_health_checks: bool) -> bool {
        self.is_running() && (!has_health_checks || self.healthy == Some(true))
    }

    /// Whether it takes up resources, as far as is known.
    pub(crate) fn is_alive(&self) -> bool {
        self.placement.is_some() && !self.condition.is_unreachable()
    }
}
