use base::Wall;
use serde::{Deserialize, Serialize};

use crate::id::AppId;
use crate::iso;

/// A task as `/v2/tasks` and `embed=apps.tasks` show it.
///
/// Marathon: RAML type `Task`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// The app it belongs to.
    pub app_id: AppId,
    /// One result for each health check that has one.
    pub health_check_results: Vec<Health>,
    /// Hostname of its agent.
    pub host: String,
    /// Its id in Mesos.
    pub id: String,
    /// Addresses that the executor told.
    pub ip_addresses: Vec<IpAddress>,
    /// Its host ports, in the order of the port definitions.
    pub ports: Vec<u16>,
    /// The app's service ports, in the same order.
    pub service_ports: Vec<u16>,
    /// Its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slave_id: Option<String>,
    /// `TASK_RUNNING` and so on.
    pub state: String,
    /// How far its agent is with preparing it, such as "Pulling image busybox: 12 of 40 MiB". Not in Marathon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it was launched.
    #[serde(with = "iso::optional", skip_serializing_if = "Option::is_none")]
    pub staged_at: Option<Wall>,
    /// When it began to run.
    #[serde(with = "iso::optional", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Wall>,
    /// Version of the app that it runs.
    #[serde(with = "iso::optional", skip_serializing_if = "Option::is_none")]
    pub version: Option<Wall>,
    /// Always empty until there are volumes.
    pub local_volumes: [(); 0],
    /// Region of its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Zone of its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Role that its resources are taken as.
    pub role: String,
}

/// Tasks, as every route that lists or ends them answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskList {
    /// The tasks.
    pub tasks: Vec<Task>,
}

/// The answer to the end of one task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskSingle {
    /// The task, as it was before.
    pub task: Task,
}

/// An address of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpAddress {
    /// The address.
    pub ip_address: String,
    /// `IPv4` or `IPv6`.
    pub protocol: String,
}

/// What one health check found out about one task.
///
/// Marathon: RAML type `Health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Whether the last result was good, or none was bad yet since a good one.
    pub alive: bool,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// When it was first good.
    #[serde(with = "iso::optional", skip_serializing_if = "Option::is_none")]
    pub first_success: Option<Wall>,
    /// The instance.
    pub instance_id: String,
    /// When it was last good.
    #[serde(with = "iso::optional", skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Wall>,
    /// When it was last bad.
    #[serde(with = "iso::optional", skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Wall>,
    /// Why it was bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure_cause: Option<String>,
}

/// The last failure of any task of an app (`embed=apps.lastTaskFailure`).
///
/// Marathon: RAML type `TaskFailure`; also kept in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskFailure {
    /// The app.
    pub app_id: AppId,
    /// Hostname of the task's agent.
    pub host: String,
    /// Why it failed, as the agent or the executor says.
    pub message: String,
    /// `TASK_FAILED` and so on.
    pub state: String,
    /// The task.
    pub task_id: String,
    /// When the failure became known.
    #[serde(with = "iso")]
    pub timestamp: Wall,
    /// Version of the app that the task ran.
    #[serde(with = "iso")]
    pub version: Wall,
    /// The task's agent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slave_id: Option<String>,
}
