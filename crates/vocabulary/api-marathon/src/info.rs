use std::sync::Arc;

use base::Wall;
use serde::Serialize;

use crate::app::AppDefinition;
use crate::iso;
use crate::task::{Task, TaskFailure};

/// An app with what is embedded into it.
///
/// Marathon: RAML type `AppInfo`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppInfo {
    /// The definition.
    #[serde(flatten)]
    pub app: Arc<AppDefinition>,
    /// How its tasks do.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// The deployments that change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployments: Option<Vec<Identifiable>>,
    /// Its tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<Task>>,
    /// The last failure of a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_task_failure: Option<TaskFailure>,
    /// Numbers of tasks and lifetimes, by version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_stats: Option<TaskStatsByVersion>,
}

/// Numbers of an app's tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Launched and not running yet.
    pub tasks_staged: u32,
    /// Running.
    pub tasks_running: u32,
    /// Running and all health checks good.
    pub tasks_healthy: u32,
    /// Running and some health check bad.
    pub tasks_unhealthy: u32,
}

/// Something with an id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identifiable {
    /// The id.
    pub id: String,
}

/// `GET /v2/apps`.
#[derive(Clone, Debug, Serialize)]
pub struct AppList {
    /// The apps.
    pub apps: Vec<AppInfo>,
}

/// `GET /v2/apps/{id}`.
#[derive(Clone, Debug, Serialize)]
pub struct AppSingle {
    /// The app.
    pub app: AppInfo,
}

/// `GET /v2/apps/{group}/*`.
#[derive(Clone, Debug, Serialize)]
pub struct AppsOfGroup {
    /// The apps below the group.
    #[serde(rename = "*")]
    pub apps: Vec<AppInfo>,
}

/// `GET /v2/apps/{id}/versions`.
#[derive(Clone, Debug, Serialize)]
pub struct VersionList {
    /// Newest first.
    #[serde(with = "iso::list")]
    pub versions: Vec<Wall>,
}

/// `embed=apps.taskStats`. A part without tasks is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatsByVersion {
    /// Tasks started after the last scaling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_after_last_scaling: Option<Stats>,
    /// Tasks of the current definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with_latest_config: Option<Stats>,
    /// Tasks of older definitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with_outdated_config: Option<Stats>,
    /// All tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_summary: Option<Stats>,
}

/// A wrapper that Marathon's JSON has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// The numbers.
    pub stats: TaskStats,
}

/// Numbers of some tasks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStats {
    /// How many there are.
    pub counts: TaskCounts,
    /// How long those that run have run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub life_time: Option<TaskLifeTime>,
}

/// How many of some tasks are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct TaskCounts {
    pub staged: u32,
    pub running: u32,
    pub healthy: u32,
    pub unhealthy: u32,
}

/// How long some tasks have run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskLifeTime {
    /// Mean.
    pub average_seconds: f64,
    /// Median.
    pub median_seconds: f64,
}
