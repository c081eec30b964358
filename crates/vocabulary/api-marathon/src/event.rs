use std::sync::Arc;

use base::Wall;
use serde::Serialize;

use crate::app::AppDefinition;
use crate::deployment::{DeploymentPlan, DeploymentStep};
use crate::health::HealthCheck;
use crate::id::AppId;
use crate::iso;
use crate::task::IpAddress;

/// An event of `/v2/events`: its JSON holds the fields of its kind, `eventType` and `timestamp`.
///
/// Marathon: `MarathonEvent`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
    /// The name of the kind, also the SSE event name.
    pub event_type: &'static str,
    /// When.
    #[serde(with = "iso")]
    pub timestamp: Wall,
}

impl Event {
    /// `kind`, happened at `timestamp`.
    pub fn new(kind: EventKind, timestamp: Wall) -> Event {
        Event { event_type: kind.event_type(), kind, timestamp }
    }
}

/// What can happen.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum EventKind {
    ApiPost {
        client_ip: String,
        uri: String,
        app_definition: Arc<AppDefinition>,
    },
    SchedulerRegistered {
        framework_id: String,
        master: String,
    },
    SchedulerReregistered {
        master: String,
    },
    SchedulerDisconnected {},
    EventStreamAttached {
        remote_address: String,
    },
    EventStreamDetached {
        remote_address: String,
    },
    AddHealthCheck {
        app_id: AppId,
        #[serde(with = "iso")]
        version: Wall,
        health_check: HealthCheck,
    },
    RemoveHealthCheck {
        app_id: AppId,
    },
    FailedHealthCheck {
        app_id: AppId,
        /* an instance id, as in Marathon */ task_id: String,
        health_check: HealthCheck,
    },
    HealthStatusChanged {
        app_id: AppId,
        instance_id: String,
        #[serde(with = "iso")]
        version: Wall,
        alive: bool,
    },
    UnhealthyInstanceKill {
        app_id: AppId,
        task_id: String,
        instance_id: String,
        #[serde(with = "iso")]
        version: Wall,
        reason: String,
        host: String,
        slave_id: Option<String>,
    },
    GroupChangeSuccess {
        group_id: AppId,
        #[serde(with = "iso")]
        version: Wall,
    },
    GroupChangeFailed {
        group_id: AppId,
        #[serde(with = "iso")]
        version: Wall,
        reason: String,
    },
    DeploymentSuccess {
        id: String,
        plan: Arc<DeploymentPlan>,
    },
    DeploymentFailed {
        id: String,
        plan: Arc<DeploymentPlan>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    DeploymentInfo {
        plan: Arc<DeploymentPlan>,
        current_step: DeploymentStep,
    },
    DeploymentStepSuccess {
        plan: Arc<DeploymentPlan>,
        current_step: DeploymentStep,
    },
    DeploymentStepFailure {
        plan: Arc<DeploymentPlan>,
        current_step: DeploymentStep,
    },
    AppTerminated {
        app_id: AppId,
    },
    StatusUpdate {
        slave_id: String,
        task_id: String,
        task_status: String,
        message: String,
        app_id: AppId,
        host: String,
        ip_addresses: Vec<IpAddress>,
        ports: Vec<u16>,
        #[serde(with = "iso")]
        version: Wall,
    },
    InstanceChanged {
        instance_id: String,
        /// `Staging`, `Running`, `Failed`, ...
        condition: String,
        run_spec_id: AppId,
        agent_id: Option<String>,
        host: Option<String>,
        #[serde(with = "iso")]
        run_spec_version: Wall,
    },
    InstanceHealthChanged {
        instance_id: String,
        run_spec_id: AppId,
        healthy: Option<bool>,
        #[serde(with = "iso")]
        run_spec_version: Wall,
    },
    UnknownInstanceTerminated {
        instance_id: String,
        run_spec_id: AppId,
        condition: String,
    },
}

impl EventKind {
    /// The name that subscribers filter by.
    pub fn event_type(&self) -> &'static str {
        match self {
            EventKind::ApiPost { .. } => "api_post_event",
            EventKind::SchedulerRegistered { .. } => "scheduler_registered_event",
            EventKind::SchedulerReregistered { .. } => "scheduler_reregistered_event",
            EventKind::SchedulerDisconnected {} => "scheduler_disconnected_event",
            EventKind::EventStreamAttached { .. } => "event_stream_attached",
            EventKind::EventStreamDetached { .. } => "event_stream_detached",
            EventKind::AddHealthCheck { .. } => "add_health_check_event",
            EventKind::RemoveHealthCheck { .. } => "remove_health_check_event",
            EventKind::FailedHealthCheck { .. } => "failed_health_check_event",
            EventKind::HealthStatusChanged { .. } => "health_status_changed_event",
            EventKind::UnhealthyInstanceKill { .. } => "unhealthy_instance_kill_event",
            EventKind::GroupChangeSuccess { .. } => "group_change_success",
            EventKind::GroupChangeFailed { .. } => "group_change_failed",
            EventKind::DeploymentSuccess { .. } => "deployment_success",
            EventKind::DeploymentFailed { .. } => "deployment_failed",
            EventKind::DeploymentInfo { .. } => "deployment_info",
            EventKind::DeploymentStepSuccess { .. } => "deployment_step_success",
            EventKind::DeploymentStepFailure { .. } => "deployment_step_failure",
            EventKind::AppTerminated { .. } => "app_terminated_event",
            EventKind::StatusUpdate { .. } => "status_update_event",
            EventKind::InstanceChanged { .. } => "instance_changed_event",
            EventKind::InstanceHealthChanged { .. } => "instance_health_changed_event",
            EventKind::UnknownInstanceTerminated { .. } => "unknown_instance_terminated_event",
        }
    }
}
