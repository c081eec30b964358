use std::borrow::Cow;
use std::sync::Arc;

use api_marathon::{
    ActionInfo, AppDefinition, AppId, Counts, Delay, DeploymentStepInfo, Preparing, QueueItem, Task,
    TaskFailure,
};
use base::{Now, TaskId, Wall};
use mesos_proto::v1::scheduler::Call;

use crate::app::App;
use crate::condition::{Condition, Goal};
use crate::config::Config;
use crate::effect::Probe;
use crate::framework;
use crate::health::CheckState;
use crate::id::InstanceId;
use crate::instance::Instance;
use crate::machine::Marathon;
use crate::queue::Waiting;

/// What the API shows. It is the newest state, which may not be durable yet.
impl Marathon {
    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The framework's id, once there is one.
    pub fn framework_id(&self) -> Option<&str> {
        self.mesos.framework.as_deref()
    }

    /// The leading master, `host:port`, once subscribed.
    pub fn master(&self) -> Option<&str> {
        self.mesos.master.as_deref()
    }

    /// Whether the scheduler stream is subscribed.
    pub fn is_connected(&self) -> bool {
        self.mesos.connected
    }

    /// The call that opens the scheduler stream.
    pub fn subscribe_call(&self) -> Call {
        framework::subscribe_call(&self.config, self.framework_id())
    }

    /// Every app, by id.
    pub fn apps(&self) -> impl Iterator<Item = Arc<AppDefinition>> {
        self.apps.values().filter_map(|app| app.current.clone())
    }

    /// The app of this id.
    pub fn app(&self, id: &AppId) -> Option<Arc<AppDefinition>> {
        self.apps.get(id)?.current.clone()
    }

    /// The kept versions of an app, newest first; none if there is no such app.
    pub fn versions(&self, id: &AppId) -> Vec<Wall> {
        let app = self.apps.get(id).filter(|app| app.current.is_some());
        app.map(|app| app.versions.keys().rev().copied().collect()).unwrap_or_default()
    }

    /// A version of an app.
    pub fn version(&self, id: &AppId, version: Wall) -> Option<Arc<AppDefinition>> {
        self.apps.get(id).filter(|app| app.current.is_some())?.versions.get(&version).cloned()
    }

    /// The instances of an app, also those that wait for an offer.
    pub fn instances<'a>(&'a self, id: &AppId) -> impl Iterator<Item = &'a Instance> + use<'a> {
        self.apps.get(id).into_iter().flat_map(|app| app.instances.values())
    }

    /// The tasks of an app as the API shows them.
    pub fn tasks(&self, id: &AppId) -> Vec<Task> {
        self.instances(id).filter_map(|instance| self.task(&instance.id)).collect()
    }

    /// The instance that has this task.
    pub fn instance_of_task(&self, task: &TaskId) -> Option<&Instance> {
        let (id, attempt) = InstanceId::of_task(task)?;
        self.instance(&id).filter(|it| it.attempt == attempt && it.placement.is_some())
    }

    /// An instance's task as the API shows it; `None` while it waits for an offer.
    pub fn task(&self, id: &InstanceId) -> Option<Task> {
        let instance = self.instance(id)?;
        let placement = instance.placement.as_ref()?;
        let definition = self.definition_of(id);
        Some(Task {
            app_id: id.app(),
            health_check_results: instance
                .checks
                .iter()
                .filter_map(|check: &CheckState| check.view(id))
                .collect(),
            host: placement.host.clone(),
            id: instance.task_id().to_string(),
            ip_addresses: placement.ip_addresses.clone(),
            ports: placement.ports.clone(),
            service_ports: definition.iter().flat_map(|app| app.service_ports()).collect(),
            slave_id: Some(placement.agent_id.to_string()),
            state: instance.condition.task_state().to_owned(),
            message: placement.preparation().map(str::to_owned),
            staged_at: Some(placement.staged_at),
            started_at: placement.started_at,
            version: Some(instance.version),
            local_volumes: [],
            region: placement.region.clone(),
            zone: placement.zone.clone(),
            role: definition.map_or_else(|| self.config.role.clone(), |app| app.role.clone()),
        })
    }

    /// Numbers of an app's tasks.
    ///
    /// Marathon: `TaskCounts`, `TaskForStatistics`.
    pub fn counts(&self, id: &AppId) -> Counts {
        let mut counts = Counts::default();
        for instance in self.instances(id) {
            counts.tasks_staged += u32::from(instance.condition.is_on_the_way());
            let running = instance.condition == Condition::Running;
            counts.tasks_running += u32::from(running);
            counts.tasks_healthy += u32::from(running && instance.healthy == Some(true));
            counts.tasks_unhealthy += u32::from(running && instance.healthy == Some(false));
        }
        counts
    }

    /// The last failure of any task of an app.
    pub fn last_task_failure(&self, id: &AppId) -> Option<&TaskFailure> {
        self.apps.get(id)?.failure.as_ref()
    }

    /// The deployment that changes, and so locks, an app.
    pub fn deployment_of(&self, id: &AppId) -> Option<&str> {
        self.apps.get(id)?.deployment.as_deref()
    }

    /// The running deployments, oldest first.
    pub fn deployments(&self) -> Vec<DeploymentStepInfo> {
        let mut all: Vec<_> = self.deployments.values().map(|deployment| &deployment.record).collect();
        all.sort_by_key(|record| record.version);
        let view = |record: &&crate::record::DeploymentRecord| {
            let current = record.plan.steps.get(record.step);
            let action = |action: &api_marathon::Action| ActionInfo {
                action: action.action,
                app: action.app.clone(),
                readiness_check_results: [],
            };
            DeploymentStepInfo {
                id: record.id.clone(),
                steps: record.plan.steps.clone(),
                version: record.version,
                affected_apps: record.changes.keys().cloned().collect(),
                affected_pods: [],
                current_actions: current.iter().flat_map(|step| &step.actions).map(action).collect(),
                current_step: record.step + 1,
                total_steps: record.plan.steps.len(),
            }
        };
        all.iter().map(view).collect()
    }

    /// The apps that wait for instances to be launched, and why they wait. Also those that wait for nothing but the
    /// preparation of their tasks, if the agents tell how far it is.
    pub fn queue(&self, now: Now, with_unused_offers: bool) -> Vec<QueueItem> {
        let item = |(id, app): (&AppId, &App)| {
            let preparing: Vec<Preparing> = app.instances.values().filter_map(preparing).collect();
            let began = || Some(Waiting::begun(preparing.iter().map(|task| task.since).min()?));
            let waiting =
                app.waiting.as_ref().map_or_else(|| began().map(Cow::Owned), |it| Some(Cow::Borrowed(it)))?;
            let wanted = self.effective(id)?;
            let until = app.backoff.and_then(|backoff| backoff.waits_until(&wanted, now.mono));
            let left = until.map(|until| until.since(now.mono));
            Some(QueueItem {
                count: u32::try_from(app.scheduled.len()).unwrap_or(u32::MAX),
                role: wanted.role.clone(),
                delay: Delay {
                    time_left_seconds: left.map_or(0, |left| left.as_nanos().div_ceil(1_000_000_000) as u64),
                    overdue: left.is_none(),
                },
                since: waiting.since,
                processed_offers_summary: waiting.summary(),
                last_unused_offers: with_unused_offers.then(|| waiting.last_unused_offers()),
                last_task_failure: app.failure.clone(),
                preparing,
                app: wanted,
            })
        };
        self.apps.iter().filter_map(item).collect()
    }

    /// Every task that is probed: what a service that lost track of [`crate::Effect::StartHealthChecks`] needs.
    pub fn probes(&self) -> Vec<Probe> {
        self.probed.iter().filter_map(|id| self.probe(id)).collect()
    }

    /// Whether an instance does its work, as far as Marathon knows: routers send to such.
    pub fn is_serving(&self, id: &InstanceId) -> bool {
        let has_checks = self.definition_of(id).is_some_and(|app| !app.health_checks.is_empty());
        self.instance(id).is_some_and(|it| it.goal == Goal::Running && it.is_serving(has_checks))
    }
}

/// What the queue shows of a task that is being prepared.
fn preparing(instance: &Instance) -> Option<Preparing> {
    let placement = instance.placement.as_ref()?;
    Some(Preparing {
        task_id: instance.task_id().to_string(),
        host: placement.host.clone(),
        message: placement.preparation()?.to_owned(),
        since: placement.staged_at,
    })
}
