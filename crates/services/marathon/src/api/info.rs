//! `/v2/info` and `/v2/leader`.

use std::collections::BTreeSet;
use std::time::Duration;

use http_kit::{Response, StatusCode, respond};
use serde::Serialize;

use super::{Api, Outcome};

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

/// Marathon: `InfoResource`.
#[derive(Serialize)]
struct MarathonInfo<'a> {
    name: &'static str,
    version: &'static str,
    buildref: &'static str,
    elected: bool,
    leader: String,
    #[serde(rename = "frameworkId")]
    framework_id: Option<String>,
    marathon_config: MarathonConfig<'a>,
    zookeeper_config: Nothing,
    http_config: HttpConfig,
}

/// Settings under the names of Marathon's flags; those that mean nothing here are left out. Times are milliseconds,
/// but for `failover_timeout`.
#[derive(Serialize)]
struct MarathonConfig<'a> {
    checkpoint: bool,
    decline_offer_duration: u64,
    default_accepted_resource_roles: &'a BTreeSet<String>,
    executor: &'static str,
    failover_timeout: u64,
    features: [(); 0],
    framework_name: &'a str,
    ha: bool,
    hostname: &'a str,
    local_port_max: u16,
    local_port_min: u16,
    master: &'a str,
    max_instances_per_offer: usize,
    mesos_heartbeat_failure_threshold: u32,
    mesos_leader_ui_url: String,
    mesos_role: &'a str,
    mesos_user: &'a str,
    reconciliation_interval: u64,
    task_launch_confirm_timeout: u64,
    task_launch_timeout: u64,
    webui_url: Option<&'a str>,
}

/// There is no ZooKeeper.
#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct HttpConfig {
    http_port: u16,
}

/// Marathon: RAML type `LeaderInfo`.
#[derive(Serialize)]
struct LeaderInfo {
    leader: String,
}

/// `/v2/plugins`: what plugins would do is part of this program.
pub(super) fn plugins() -> Response {
    respond::json(StatusCode::OK, &serde_json::json!({ "plugins": [] }))
}

impl Api {
    /// What this is and how it is set.
    pub(super) async fn info(&self) -> Outcome {
        let framework_id = self.read(|view| view.core.framework_id().map(str::to_owned)).await?;
        let (core, master) = (&self.info.core, self.info.master.as_str());
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let marathon_config = MarathonConfig {
            checkpoint: true,
            decline_offer_duration: millis(core.decline_offer_duration),
            default_accepted_resource_roles: &core.default_accepted_resource_roles,
            executor: "//cmd",
            failover_timeout: core.failover_timeout.as_secs(),
            features: [],
            framework_name: &core.framework_name,
            ha: false,
            hostname: &core.hostname,
            local_port_max: *core.service_ports.end(),
            local_port_min: *core.service_ports.start(),
            master,
            max_instances_per_offer: core.max_instances_per_offer,
            mesos_heartbeat_failure_threshold: self.info.missed_heartbeats,
            mesos_leader_ui_url: format!("http://{master}/"),
            mesos_role: &core.role,
            mesos_user: &core.user,
            reconciliation_interval: millis(core.reconcile_interval),
            task_launch_confirm_timeout: millis(core.launch_confirm_timeout),
            task_launch_timeout: millis(core.launch_timeout),
            webui_url: core.webui_url.as_deref(),
        };
        let info = MarathonInfo {
            name: "marathon",
            version: VERSION,
            buildref: concat!("dcos-", env!("CARGO_PKG_VERSION")),
            elected: true,
            leader: self.address.to_string(),
            framework_id,
            marathon_config,
            zookeeper_config: Nothing {},
            http_config: HttpConfig { http_port: self.address.port() },
        };
        Ok(respond::json(StatusCode::OK, &info))
    }

    /// This one: there is no other until there is more than one master.
    pub(super) async fn leader(&self) -> Outcome {
        Ok(respond::json(StatusCode::OK, &LeaderInfo { leader: self.address.to_string() }))
    }
}
