use std::collections::{BTreeMap, BTreeSet};

use api_marathon::ActionName;
use base::{Now, Rng, Timers, Wall};

use crate::app::App;
use crate::condition::{Condition, Goal};
use crate::config::Config;
use crate::demand::Demand;
use crate::deploy::Deployment;
use crate::gate::Gate;
use crate::instance::{Instance, Kill};
use crate::machine::Marathon;
use crate::reconcile::Mesos;
use crate::record::{Key, Record};
use crate::timer::Timer;

impl Marathon {
    /// Marathon as it was when `records` were written; without any, a new one. Records that a crash in the middle of
    /// a write left behind are dropped.
    pub fn recover(
        records: impl IntoIterator<Item = Record>,
        config: Config,
        rng: Rng,
        now: Now,
    ) -> Marathon {
        let mut marathon = Marathon {
            config,
            rng,
            apps: BTreeMap::new(),
            deployments: BTreeMap::new(),
            mesos: Mesos::new(None),
            demand: Demand::default(),
            gate: Gate::default(),
            timers: Timers::default(),
            probed: BTreeSet::new(),
            touched: BTreeSet::new(),
            queued: BTreeSet::new(),
            last_version: Wall(0),
        };
        let mut current = Vec::new();
        let mut instances = Vec::new();
        for record in records {
            match record {
                Record::App(definition) => {
                    marathon.last_version = marathon.last_version.max(definition.version);
                    let app = marathon.apps.entry(definition.id.clone()).or_default();
                    app.versions.insert(definition.version, definition);
                }
                Record::Current { id, version } => current.push((id, version)),
                Record::Instance(instance) => instances.push(instance),
                Record::Failure(failure) => {
                    let app = marathon.apps.entry(failure.app_id.clone()).or_default();
                    app.failure = Some(failure);
                }
                Record::Framework { id } => marathon.mesos.framework = Some(id),
                Record::Deployment(record) => {
                    marathon.last_version = marathon.last_version.max(record.version);
                    marathon.deployments.insert(record.id.clone(), Deployment::new(record));
                }
            }
        }
        for (id, version) in current {
            if let Some(app) = marathon.apps.get_mut(&id) {
                app.current = app.versions.get(&version).cloned();
            }
        }
        for instance in instances {
            marathon.recover_instance(now, instance);
        }
        marathon.recover_deployments();
        marathon.touched = marathon.apps.keys().cloned().collect();
        marathon
    }

    fn recover_instance(&mut self, now: Now, mut instance: Instance) {
        let app_id = instance.app();
        let app: &mut App = self.apps.entry(app_id).or_default();
        if !app.versions.contains_key(&instance.version) {
            // Its app was forgotten, and so its task ended before: only the deletion of the record got lost.
            return self.gate.delete(Key::Instance(instance.id));
        }
        if instance.goal == Goal::Decommissioned {
            instance.kill = Some(Kill { next: now.mono });
            self.timers.set(now.mono, Timer::Kill(instance.id.clone()));
        }
        let id = instance.id.clone();
        let condition = instance.condition;
        let running = instance.is_running();
        app.instances.insert(id.clone(), instance);
        if condition.is_on_the_way() {
            self.timers.set(now.mono + self.config.launch_confirm_timeout, Timer::Launch(id.clone()));
        }
        if matches!(condition, Condition::Unreachable | Condition::UnreachableInactive) {
            self.timers.set(now.mono, Timer::Unreachable(id.clone()));
        }
        if running {
            self.start_health_checks(&id);
        }
    }

    /// Locks the apps of the deployments. A deployment decides which definitions are wanted: if the crash came before
    /// that was written, it is made up for. Of two deployments of an app the newer one has cancelled the older one.
    fn recover_deployments(&mut self) {
        let mut newest_first: Vec<String> = self.deployments.keys().cloned().collect();
        newest_first.sort_by_key(|id| std::cmp::Reverse(self.deployments[id].record.version));
        for id in newest_first {
            let deployment = &self.deployments[&id].record;
            let complete = deployment.changes.iter().all(|(app, (_, after))| {
                let app = self.apps.get(app);
                let is_free = app.is_none_or(|app| app.deployment.is_none());
                is_free && after.is_none_or(|after| app.is_some_and(|app| app.versions.contains_key(&after)))
            });
            if !complete || deployment.step >= deployment.plan.steps.len() {
                self.deployments.remove(&id);
                self.gate.delete(Key::Deployment(id));
                continue;
            }
            self.lock_again(&id);
        }
    }

    fn lock_again(&mut self, id: &str) {
        let Some(deployment) = self.deployments.get_mut(id) else { return };
        for (app_id, (_, after)) in &deployment.record.changes {
            let app = self.apps.entry(app_id.clone()).or_default();
            app.deployment = Some(id.to_owned());
            if app.current.as_ref().map(|current| current.version) == *after {
                continue;
            }
            app.current = after.and_then(|after| app.versions.get(&after).cloned());
            match after {
                Some(version) => self.gate.put(Record::Current { id: app_id.clone(), version: *version }),
                None => self.gate.delete(Key::Current(app_id.clone())),
            }
        }
        let step = deployment.record.plan.steps.get(deployment.record.step);
        let starts = step.iter().flat_map(|step| &step.actions);
        let starts = starts.filter(|action| action.action == ActionName::StartApplication);
        deployment.done = starts.map(|action| action.app.clone()).collect();
    }
}
