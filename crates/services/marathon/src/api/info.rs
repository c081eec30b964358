//! `/v2/info` and `/v2/leader`.

use serde_json::{Value, json};

use super::{Api, Outcome};
use http_kit::{StatusCode, respond};

/// What does not change while the service runs.
#[derive(Clone, Debug)]
pub(crate) struct Info {
    /// The master's address.
    pub(crate) master: String,
    /// The settings that decisions depend on.
    pub(crate) core: marathon_core::Config,
    /// Missing heartbeats before the master counts as gone.
    pub(crate) missed_heartbeats: u32,
}

/// The release of Marathon whose API this is.
const VERSION: &str = "1.11.24";

impl Api {
    /// Marathon: `InfoResource`. Settings that mean nothing here are left out.
    pub(super) async fn info(&self) -> Outcome {
        let framework = self.read(|view| view.core.framework_id().map(str::to_owned)).await?;
        Ok(respond::json(StatusCode::OK, &self.info_json(framework)))
    }

    fn info_json(&self, framework: Option<String>) -> Value {
        let core = &self.info.core;
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        json!({
            "name": "marathon",
            "version": VERSION,
            "buildref": concat!("dcos-", env!("CARGO_PKG_VERSION")),
            "elected": true,
            "leader": self.address.to_string(),
            "frameworkId": framework,
            "marathon_config": {
                "checkpoint": true,
                "decline_offer_duration": millis(core.decline_offer_duration),
                "default_accepted_resource_roles": core.default_accepted_resource_roles,
                "executor": "//cmd",
                "failover_timeout": core.failover_timeout.as_secs(),
                "features": [],
                "framework_name": core.framework_name,
                "ha": false,
                "hostname": core.hostname,
                "local_port_max": core.service_ports.end(),
                "local_port_min": core.service_ports.start(),
                "master": self.info.master,
                "max_instances_per_offer": core.max_instances_per_offer,
                "mesos_heartbeat_failure_threshold": self.info.missed_heartbeats,
                "mesos_leader_ui_url": format!("http://{}/", self.info.master),
                "mesos_role": core.role,
                "mesos_user": core.user,
                "reconciliation_interval": millis(core.reconcile_interval),
                "task_launch_confirm_timeout": millis(core.launch_confirm_timeout),
                "task_launch_timeout": millis(core.launch_timeout),
                "webui_url": core.webui_url,
            },
            "zookeeper_config": {},
            "http_config": { "http_port": self.address.port() },
        })
    }

    /// This one: there is no other until there is more than one master.
    pub(super) async fn leader(&self) -> Outcome {
        Ok(respond::json(StatusCode::OK, &json!({ "leader": self.address.to_string() })))
    }
}
