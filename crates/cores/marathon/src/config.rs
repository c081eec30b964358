use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Settings that decisions depend on. [`Config::default`] holds Marathon's defaults as DC/OS sets them.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the framework.
    pub framework_name: String,
    /// Principal of the framework.
    pub principal: String,
    /// Role of the framework (`--mesos_role`).
    pub role: String,
    /// User of tasks whose app names none (`--mesos_user`).
    pub user: String,
    /// Hostname shown to Mesos.
    pub hostname: String,
    /// Address of the API, shown to Mesos.
    pub webui_url: Option<String>,
    /// How long the master keeps tasks while Marathon is away.
    pub failover_timeout: Duration,
    /// Roles whose resources an app may use that says nothing (`--default_accepted_resource_roles`).
    pub default_accepted_resource_roles: BTreeSet<String>,
    /// Service ports for ports that are 0 in a definition.
    pub service_ports: RangeInclusive<u16>,
    /// How long a declined offer is refused (`--decline_offer_duration`).
    pub decline_offer_duration: Duration,
    /// How many instances one offer may get.
    pub max_instances_per_offer: usize,
    /// Deployments that may run at the same time (`--max_running_deployments`).
    pub max_running_deployments: usize,
    /// Versions kept of each app, besides those in use (`--max_versions`).
    pub max_versions: usize,
    /// A launched task that no update came for is asked for after this time.
    pub launch_confirm_timeout: Duration,
    /// A task that does not run after this time is killed (`--task_launch_timeout`).
    pub launch_timeout: Duration,
    /// A kill that had no effect is repeated after this time (`--kill_retry_timeout`).
    pub kill_retry: Duration,
    /// Time between telling that a serving instance is going away and killing it, so that routers can follow.
    pub drain: Duration,
    /// Time between two complete reconciliations (`--reconciliation_interval`).
    pub reconcile_interval: Duration,
    /// Unused offers remembered for each waiting app.
    pub max_unused_offers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            framework_name: "marathon".to_owned(),
            principal: "dcos_marathon".to_owned(),
            role: "slave_public".to_owned(),
            user: "root".to_owned(),
            hostname: "localhost".to_owned(),
            webui_url: None,
            failover_timeout: Duration::from_secs(604_800),
            default_accepted_resource_roles: BTreeSet::from(["*".to_owned()]),
            service_ports: 10_000..=20_000,
            decline_offer_duration: Duration::from_secs(120),
            max_instances_per_offer: 100,
            max_running_deployments: 100,
            max_versions: 50,
            launch_confirm_timeout: Duration::from_secs(30),
            launch_timeout: Duration::from_secs(300),
            kill_retry: Duration::from_secs(10),
            drain: Duration::from_millis(200),
            reconcile_interval: Duration::from_secs(600),
            max_unused_offers: 30,
        }
    }
}
