use api_marathon::{AppDefinition, EventKind, Health};
use base::{Now, Wall};
use serde::{Deserialize, Serialize};

use crate::effect::{Effect, Probe};
use crate::id::InstanceId;
use crate::input::HealthResult;
use crate::instance::Instance;
use crate::machine::Marathon;
use crate::record::Record;

/// Characters kept of why a check failed.
const MAX_CAUSE: usize = 1024;

/// What one health check found out about one task.
///
/// Marathon: `Health`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CheckState {
    first_success: Option<Wall>,
    last_success: Option<Wall>,
    last_failure: Option<Wall>,
    last_failure_cause: Option<String>,
    consecutive_failures: u32,
}

impl CheckState {
    /// Whether the last result was good; `None` if there was none.
    fn alive(&self) -> Option<bool> {
        if self.consecutive_failures > 0 { Some(false) } else { self.last_success.map(|_| true) }
    }

    fn is_known(&self) -> bool {
        self.last_success.is_some() || self.last_failure.is_some()
    }

    /// The result as the API shows it.
    pub(crate) fn view(&self, instance: &InstanceId) -> Option<Health> {
        self.is_known().then(|| Health {
            alive: self.alive() == Some(true),
            consecutive_failures: self.consecutive_failures,
            first_success: self.first_success,
            instance_id: instance.to_string(),
            last_success: self.last_success,
            last_failure: self.last_failure,
            last_failure_cause: self.last_failure_cause.clone(),
        })
    }
}

/// Takes one result into account. Answers whether the task has failed this check often enough to be killed, or
/// `None` if the result does not count: failures are ignored while the task does not run, and during the grace period
/// until the first success.
///
/// Marathon: `HealthCheckActor`. There the failure that reaches the limit is not yet counted; here it is, as its
/// documentation says.
fn judge(
    app: &AppDefinition,
    instance: &mut Instance,
    index: usize,
    failure: Option<String>,
    now: Wall,
) -> Option<bool> {
    let check = app.health_checks.get(index)?;
    let running_since = instance.placement.as_ref()?.started_at;
    if instance.checks.len() < app.health_checks.len() {
        instance.checks.resize_with(app.health_checks.len(), CheckState::default);
    }
    let was_healthy = instance.healthy == Some(true);
    let is_running = instance.is_running();
    let state = &mut instance.checks[index];
    let Some(cause) = failure else {
        state.first_success.get_or_insert(now);
        state.last_success = Some(now);
        state.consecutive_failures = 0;
        return Some(false);
    };
    let in_grace = running_since.is_none_or(|since| now < since + check.grace_period());
    if !is_running || (in_grace && state.first_success.is_none() && !was_healthy) {
        return None;
    }
    state.last_failure = Some(now);
    state.last_failure_cause =
        Some(cause.chars().take(MAX_CAUSE).collect()).filter(|it: &String| !it.is_empty());
    state.consecutive_failures = state.consecutive_failures.saturating_add(1);
    Some(check.max_consecutive_failures > 0 && state.consecutive_failures >= check.max_consecutive_failures)
}

/// The health of the whole instance. While some check has no result yet, which after a restart of Marathon is so for
/// all, what was known before stays.
fn overall(app: &AppDefinition, instance: &Instance) -> Option<bool> {
    if instance.checks.iter().any(|check| check.alive() == Some(false)) {
        return Some(false);
    }
    let executors = app.health_checks.iter().position(|check| !check.protocol.is_by_marathon());
    let all_good =
        instance.checks.iter().zip(&app.health_checks).enumerate().all(|(index, (state, check))| {
            // The executor does only one check: the others never have a result.
            let is_done = check.protocol.is_by_marathon() || Some(index) == executors;
            !is_done || state.alive() == Some(true)
        });
    if all_good { Some(true) } else { instance.healthy }
}

impl Marathon {
    /// A probe of Marathon's own has a result.
    pub(crate) fn on_health_result(&mut self, now: Now, result: HealthResult) {
        let Some(instance) = self.instance(&result.instance) else { return };
        let by_marathon = |app: &AppDefinition| {
            app.health_checks.get(result.check).is_some_and(|check| check.protocol.is_by_marathon())
        };
        let counts = instance.task_id() == result.task
            && self.definition_of(&result.instance).is_some_and(|app| by_marathon(&app));
        if counts {
            self.health_found(now, &result.instance, result.check, result.failure);
        }
    }

    /// The executor has told the result of the app's Mesos health check.
    pub(crate) fn on_executor_health(&mut self, now: Now, id: &InstanceId, healthy: bool, message: &str) {
        let Some(app) = self.definition_of(id) else { return };
        let Some(index) = app.health_checks.iter().position(|check| !check.protocol.is_by_marathon()) else {
            return;
        };
        let failure = (!healthy).then(|| message.to_owned());
        self.health_found(now, id, index, failure);
    }

    fn health_found(&mut self, now: Now, id: &InstanceId, index: usize, failure: Option<String>) {
        let Some(app) = self.definition_of(id) else { return };
        let Some(instance) = self.instance_mut(id) else { return };
        let before = instance.checks.get(index).and_then(CheckState::alive);
        let failed = failure.is_some();
        let Some(too_often) = judge(&app, instance, index, failure, now.wall) else { return };
        let after = instance.checks[index].alive();
        let healthy = overall(&app, instance);
        let changed = instance.healthy != healthy;
        instance.healthy = healthy;
        let (record, version) = (Record::Instance(instance.clone()), instance.version);

        if failed {
            self.publish(
                now,
                EventKind::FailedHealthCheck {
                    app_id: app.id.clone(),
                    task_id: id.to_string(),
                    health_check: app.health_checks[index].clone(),
                },
            );
        }
        if before.unwrap_or(false) != after.unwrap_or(false) {
            let alive = after.unwrap_or(false);
            self.publish(
                now,
                EventKind::HealthStatusChanged {
                    app_id: app.id.clone(),
                    instance_id: id.to_string(),
                    version,
                    alive,
                },
            );
        }
        if changed {
            self.gate.put(record);
            self.publish(
                now,
                EventKind::InstanceHealthChanged {
                    instance_id: id.to_string(),
                    run_spec_id: app.id.clone(),
                    healthy,
                    run_spec_version: version,
                },
            );
            self.touch(&app.id);
        }
        if too_often && app.health_checks[index].protocol.is_by_marathon() {
            self.kill_unhealthy(now, id, index);
        }
    }

    /// The executor has killed a task because of its health check, and `message` is what it says of its end.
    ///
    /// Marathon records this only for checks of its own; there the task of a command check ends without a reason.
    pub(crate) fn on_killed_by_executor(&mut self, now: Now, id: &InstanceId, message: &str) {
        let Some(app) = self.definition_of(id) else { return };
        let Some(instance) = self.instance(id) else { return };
        let by_executor = app.health_checks.iter().position(|check| !check.protocol.is_by_marathon());
        let check = by_executor.and_then(|index| instance.checks.get(index));
        let cause = check.and_then(|check| check.last_failure_cause.clone());
        let cause = cause.unwrap_or_else(|| message.chars().take(MAX_CAUSE).collect());
        self.remember_unhealthy(now, id, &cause);
    }

    /// Marathon: `TaskFailure.FromUnhealthyInstanceKillEvent`.
    fn remember_unhealthy(&mut self, now: Now, id: &InstanceId, cause: &str) {
        let message = format!("Task was killed since health check failed. Reason: {cause}");
        self.put_failure(now, id, "TASK_KILLED", message);
    }

    fn kill_unhealthy(&mut self, now: Now, id: &InstanceId, index: usize) {
        let Some(instance) = self.instance(id) else { return };
        let Some(placement) = &instance.placement else { return };
        let is_first = instance.kill.is_none();
        let cause = instance.checks.get(index).and_then(|check| check.last_failure_cause.clone());
        let cause = cause.unwrap_or_else(|| "unknown".to_owned());
        let event = EventKind::UnhealthyInstanceKill {
            app_id: id.app(),
            task_id: instance.task_id().to_string(),
            instance_id: id.to_string(),
            version: instance.version,
            reason: cause.clone(),
            host: placement.host.clone(),
            slave_id: Some(placement.agent_id.to_string()),
        };
        self.publish(now, event);
        // What fails while the task dies is no news.
        if is_first {
            self.remember_unhealthy(now, id, &cause);
        }
        self.kill(now, id);
    }

    /// Begins probing a task that runs, if its app has checks that Marathon does.
    pub(crate) fn start_health_checks(&mut self, id: &InstanceId) {
        let Some(probe) = self.probe(id) else { return };
        if self.probed.insert(id.clone()) {
            self.gate.effect(Effect::StartHealthChecks(probe));
        }
    }

    /// How an instance's task is probed; `None` if it has no task, or its app no checks that Marathon does.
    pub(crate) fn probe(&self, id: &InstanceId) -> Option<Probe> {
        let app = self.definition_of(id)?;
        let by_marathon =
            app.health_checks.iter().enumerate().filter(|(_, check)| check.protocol.is_by_marathon());
        let checks: Vec<_> = by_marathon.map(|(index, check)| (index, check.clone())).collect();
        let instance = self.instance(id)?;
        let placement = instance.placement.as_ref().filter(|_| !checks.is_empty())?;
        Some(Probe {
            instance: id.clone(),
            task: instance.task_id(),
            host: placement.host.clone(),
            ports: placement.ports.clone(),
            checks,
        })
    }

    pub(crate) fn stop_health_checks(&mut self, id: &InstanceId) {
        if self.probed.remove(id) {
            self.gate.effect(Effect::StopHealthChecks(id.clone()));
        }
    }
}
