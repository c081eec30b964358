use std::collections::BTreeSet;

use crate::condition::Condition;
use crate::machine::Marathon;

impl Marathon {
    /// Asserts what must hold after every input. For tests and simulations.
    ///
    /// # Panics
    /// If it does not hold.
    pub fn check(&self) {
        for (id, app) in &self.apps {
            for (instance_id, instance) in &app.instances {
                assert_eq!(instance.id, *instance_id);
                assert_eq!(instance.app(), *id, "an instance is with its app");
                let scheduled = instance.condition == Condition::Scheduled;
                assert_eq!(scheduled, instance.placement.is_none(), "{instance_id} {:?}", instance.condition);
                assert_eq!(scheduled, app.scheduled.contains(instance_id), "{instance_id}");
                assert!(!instance.condition.is_terminal(), "{instance_id} has ended and is still there");
                assert!(
                    app.versions.contains_key(&instance.version),
                    "{instance_id} runs an unknown version"
                );
            }
            assert!(app.scheduled.iter().all(|it| app.instances.contains_key(it)));
            assert_eq!(app.waiting.is_some(), !app.scheduled.is_empty(), "{id} is in the queue");
            assert_eq!(self.queued.contains(id), !app.scheduled.is_empty(), "{id} is in the queue");
            if let Some(current) = &app.current {
                assert!(app.versions.contains_key(&current.version), "the current version of {id} is kept");
            }
            if let Some(deployment) = &app.deployment {
                let deployment = self.deployments.get(deployment).expect("a lock has its deployment");
                assert!(deployment.record.changes.contains_key(id), "{id} is locked by its own deployment");
            }
        }
        for (id, deployment) in &self.deployments {
            let locked: BTreeSet<_> = self
                .apps
                .iter()
                .filter(|(_, app)| app.deployment.as_ref() == Some(id))
                .map(|(id, _)| id)
                .collect();
            assert_eq!(locked, deployment.record.changes.keys().collect(), "{id} locks its apps");
            assert!(deployment.record.step < deployment.record.plan.steps.len(), "{id} has a step to do");
        }
        for id in &self.probed {
            let probed = self.instance(id).expect("what is probed is there");
            assert!(!probed.condition.is_unreachable() && probed.placement.is_some(), "{id} is probed");
        }
        assert!(self.queued.iter().all(|id| self.apps.contains_key(id)));
        assert!(self.deployments.len() <= self.config.max_running_deployments);
    }
}
