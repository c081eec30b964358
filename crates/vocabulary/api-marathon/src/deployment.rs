use base::Wall;
use serde::{Deserialize, Serialize};

use crate::id::AppId;
use crate::iso;

/// What is done to an app in a step of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ActionName {
    StartApplication,
    StopApplication,
    ScaleApplication,
    RestartApplication,
}

/// One action of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What is done.
    pub action: ActionName,
    /// To which app.
    pub app: AppId,
}

/// Actions that are done at the same time; the next step waits for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentStep {
    /// The actions.
    pub actions: Vec<Action>,
}

/// A deployment in events.
///
/// Marathon: RAML type `DeploymentPlan`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentPlan {
    /// Its id, a UUID.
    pub id: String,
    /// All its steps.
    pub steps: Vec<DeploymentStep>,
    /// When it was made; the version of the apps that it changes.
    #[serde(with = "iso")]
    pub version: Wall,
}

/// An action with the results of its readiness checks, of which there are none yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionInfo {
    /// What is done.
    pub action: ActionName,
    /// To which app.
    pub app: AppId,
    /// Always empty until there are readiness checks.
    pub readiness_check_results: [(); 0],
}

/// A running deployment, an element of `GET /v2/deployments`.
///
/// Marathon: RAML type `DeploymentStepInfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentStepInfo {
    /// Its id.
    pub id: String,
    /// All its steps.
    pub steps: Vec<DeploymentStep>,
    /// Its version.
    #[serde(with = "iso")]
    pub version: Wall,
    /// The apps that it changes.
    pub affected_apps: Vec<AppId>,
    /// Always empty until there are pods.
    pub affected_pods: [(); 0],
    /// The actions of the current step.
    pub current_actions: Vec<ActionInfo>,
    /// Index of the current step, from 1 on.
    pub current_step: usize,
    /// How many steps there are.
    pub total_steps: usize,
}

/// The answer to a change that started a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentResult {
    /// Its id.
    pub deployment_id: String,
    /// Its version.
    #[serde(with = "iso")]
    pub version: Wall,
}
