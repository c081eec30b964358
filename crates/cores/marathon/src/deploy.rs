use std::collections::BTreeSet;
use std::sync::Arc;

use api_marathon::{ActionName, AppId, DeploymentPlan, DeploymentStep, EventKind};
use base::Now;

use crate::machine::Marathon;
use crate::record::{DeploymentRecord, Key, Record};

/// A running deployment.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    pub(crate) record: DeploymentRecord,
    /// Apps whose action of the current step is done.
    pub(crate) done: BTreeSet<AppId>,
}

impl Deployment {
    pub(crate) fn new(record: DeploymentRecord) -> Deployment {
        Deployment { record, done: BTreeSet::new() }
    }

    /// What the current step does to an app.
    pub(crate) fn action(&self, app: &AppId) -> Option<ActionName> {
        let step = self.record.plan.steps.get(self.record.step)?;
        step.actions.iter().find(|action| action.app == *app).map(|action| action.action)
    }

    /// Whether a later step does something to an app.
    pub(crate) fn comes_later(&self, app: &AppId) -> bool {
        let later = self.record.plan.steps.iter().skip(self.record.step + 1);
        later.flat_map(|step| &step.actions).any(|action| action.app == *app)
    }

    pub(crate) fn plan(&self) -> Arc<DeploymentPlan> {
        Arc::new(plan_of(&self.record))
    }

    fn current_step(&self) -> DeploymentStep {
        let none = DeploymentStep { actions: Vec::new() };
        self.record.plan.steps.get(self.record.step).cloned().unwrap_or(none)
    }
}

/// The plan as events show it.
pub(crate) fn plan_of(record: &DeploymentRecord) -> DeploymentPlan {
    DeploymentPlan { id: record.id.clone(), steps: record.plan.steps.clone(), version: record.version }
}

impl Marathon {
    /// Locks the apps of a deployment, which is stored already, and begins its first step.
    pub(crate) fn start_deployment(&mut self, now: Now, record: DeploymentRecord) {
        let id = record.id.clone();
        for app in record.changes.keys() {
            self.apps.entry(app.clone()).or_default().deployment = Some(id.clone());
        }
        self.deployments.insert(id.clone(), Deployment::new(record));
        self.begin_step(now, &id);
    }

    fn begin_step(&mut self, now: Now, id: &str) {
        let Some(deployment) = self.deployments.get_mut(id) else { return };
        deployment.done.clear();
        let (plan, current_step) = (deployment.plan(), deployment.current_step());
        for action in &current_step.actions {
            // A start is a promise of the API's: scaling, which follows, does the work.
            if action.action == ActionName::StartApplication {
                deployment.done.insert(action.app.clone());
            }
        }
        for action in &current_step.actions {
            self.health_checks_changed(now, &action.app, action.action);
            self.touch(&action.app);
            if action.action == ActionName::RestartApplication
                && let Some(app) = self.apps.get_mut(&action.app)
            {
                app.backoff = None;
            }
        }
        self.publish(now, EventKind::DeploymentInfo { plan, current_step });
    }

    /// Tells which health checks an app gets or loses.
    fn health_checks_changed(&mut self, now: Now, id: &AppId, action: ActionName) {
        let Some(app) = self.apps.get(id) else { return };
        match (&app.current, action) {
            (_, ActionName::StopApplication) => {
                let had_checks =
                    app.versions.values().next_back().is_some_and(|it| !it.health_checks.is_empty());
                if had_checks {
                    self.publish(now, EventKind::RemoveHealthCheck { app_id: id.clone() });
                }
            }
            (Some(current), ActionName::StartApplication | ActionName::RestartApplication) => {
                let current = Arc::clone(current);
                for health_check in current.health_checks.clone() {
                    let kind = EventKind::AddHealthCheck {
                        app_id: id.clone(),
                        version: current.version,
                        health_check,
                    };
                    self.publish(now, kind);
                }
            }
            _ => {}
        }
    }

    /// Goes on with every deployment whose step is done. Answers whether there was one.
    pub(crate) fn advance_deployments(&mut self, now: Now) -> bool {
        let is_done = |deployment: &Deployment| {
            deployment.current_step().actions.iter().all(|action| deployment.done.contains(&action.app))
        };
        let done: Vec<String> =
            self.deployments.iter().filter(|(_, it)| is_done(it)).map(|(id, _)| id.clone()).collect();
        for id in &done {
            let Some(deployment) = self.deployments.get_mut(id) else { continue };
            let (plan, current_step) = (deployment.plan(), deployment.current_step());
            deployment.record.step += 1;
            let record = Record::Deployment(deployment.record.clone());
            let over = deployment.record.step >= deployment.record.plan.steps.len();
            self.publish(now, EventKind::DeploymentStepSuccess { plan: Arc::clone(&plan), current_step });
            if over {
                self.unlock(id);
                self.publish(now, EventKind::DeploymentSuccess { id: id.clone(), plan });
            } else {
                self.gate.put(record);
                self.begin_step(now, id);
            }
        }
        !done.is_empty()
    }

    /// Ends a deployment where it is. What it has not done yet stays undone.
    pub(crate) fn fail_deployment(&mut self, now: Now, id: &str, reason: &str) {
        let Some(deployment) = self.deployments.get(id) else { return };
        let plan = deployment.plan();
        self.publish(
            now,
            EventKind::DeploymentFailed { id: id.to_owned(), plan, reason: Some(reason.to_owned()) },
        );
        self.unlock(id);
    }

    fn unlock(&mut self, id: &str) {
        let Some(deployment) = self.deployments.remove(id) else { return };
        self.gate.delete(Key::Deployment(id.to_owned()));
        for app_id in deployment.record.changes.keys() {
            if let Some(app) = self.apps.get_mut(app_id).filter(|app| app.deployment.as_deref() == Some(id)) {
                app.deployment = None;
            }
            self.touch(app_id);
        }
    }
}
