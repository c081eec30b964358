use std::collections::{BTreeMap, BTreeSet};

use api_marathon::{AppDefinition, AppId};
use base::{Now, TaskId, Wall};

use crate::change::{Change, Target};
use crate::condition::Goal;
use crate::effect::{Answer, Effect, Refusal};
use crate::id::InstanceId;
use crate::input::{Command, ReqId};
use crate::machine::Marathon;

impl Marathon {
    pub(crate) fn on_command(&mut self, now: Now, req: ReqId, command: Command) {
        let reply = self.command(now, command);
        self.gate.effect(Effect::Reply(req, reply));
    }

    fn command(&mut self, now: Now, command: Command) -> Result<Answer, Refusal> {
        match command {
            Command::Create { app, force, caller } => {
                if self.app(&app.id).is_some() {
                    return Err(Refusal::AppExists(app.id));
                }
                let targets = BTreeMap::from([(app.id.clone(), Target::Define(*app))]);
                self.change(now, Change { targets, force, caller, instead_of: None })
            }
            Command::Put { apps, force, caller } => {
                let targets = apps.into_iter().map(|app| (app.id.clone(), Target::Define(app))).collect();
                self.change(now, Change { targets, force, caller, instead_of: None })
            }
            Command::Regroup { apps, gone, force, caller } => {
                let kept = apps.into_iter().map(|app| (app.id.clone(), Target::Define(app)));
                let gone = gone.into_iter().map(|id| (id, Target::Remove));
                let targets = gone.chain(kept).collect();
                self.change(now, Change { targets, force, caller, instead_of: None })
            }
            Command::Delete { ids, force } => {
                let targets = ids.into_iter().map(|id| (id, Target::Remove)).collect();
                self.change(now, Change { targets, force, caller: None, instead_of: None })
            }
            Command::Restart { id, force } => {
                let targets = BTreeMap::from([(id, Target::Renew)]);
                self.change(now, Change { targets, force, caller: None, instead_of: None })
            }
            Command::Rollback { id, version, force } => self.rollback(now, id, version, force),
            Command::Kill { tasks, wipe: _ } => Ok(self.kill_tasks(now, &tasks)),
            Command::KillAndScale { tasks, force } => self.kill_and_scale(now, &tasks, force),
            Command::ResetDelay { id } => self.reset_delay(id),
            Command::CancelDeployment { id, force } => self.cancel_deployment(now, id, force),
        }
    }

    fn rollback(&mut self, now: Now, id: AppId, version: Wall, force: bool) -> Result<Answer, Refusal> {
        let app = self.apps.get(&id).filter(|app| app.current.is_some());
        let app = app.ok_or_else(|| Refusal::UnknownApp(id.clone()))?;
        let old = app.versions.get(&version).ok_or_else(|| Refusal::UnknownVersion(id.clone(), version))?;
        let targets = BTreeMap::from([(id, Target::Define((**old).clone()))]);
        self.change(now, Change { targets, force, caller: None, instead_of: None })
    }

    /// The instances of those tasks that there are.
    fn find(&self, tasks: &BTreeSet<TaskId>) -> Vec<InstanceId> {
        let of_task = |task: &TaskId| {
            let (id, attempt) = InstanceId::of_task(task)?;
            let instance = self.instance(&id)?;
            (instance.attempt == attempt && instance.placement.is_some()).then_some(id)
        };
        tasks.iter().filter_map(of_task).collect()
    }

    fn kill_tasks(&mut self, now: Now, tasks: &BTreeSet<TaskId>) -> Answer {
        let found = self.find(tasks);
        let views = found.iter().filter_map(|id| self.task(id)).collect();
        for id in &found {
            self.kill(now, id);
        }
        Answer::Killed(views)
    }

    fn kill_and_scale(&mut self, now: Now, tasks: &BTreeSet<TaskId>, force: bool) -> Result<Answer, Refusal> {
        let mut victims = self.find(tasks);
        victims.retain(|id| {
            self.app(&id.app()).is_some() && self.instance(id).is_some_and(|it| it.goal == Goal::Running)
        });
        let mut fewer: BTreeMap<AppId, u32> = BTreeMap::new();
        for id in &victims {
            *fewer.entry(id.app()).or_default() += 1;
        }
        let scaled = |(id, count): (AppId, u32)| {
            let app = self.app(&id)?;
            let instances = app.instances.saturating_sub(count);
            Some((id, Target::Define(AppDefinition { instances, ..(*app).clone() })))
        };
        let targets = fewer.into_iter().filter_map(scaled).collect();
        let answer = self.change(now, Change { targets, force, caller: None, instead_of: None })?;
        // Before wanted and found are compared, so that these are the ones too many.
        for id in &victims {
            self.decommission(now, id);
        }
        Ok(answer)
    }

    fn reset_delay(&mut self, id: AppId) -> Result<Answer, Refusal> {
        let app = self.apps.get_mut(&id).filter(|app| app.waiting.is_some());
        let app = app.ok_or(Refusal::NotQueued(id))?;
        app.backoff = None;
        app.announced = false;
        Ok(Answer::Done)
    }

    /// Marathon: `DeploymentsResource.cancel`, `DeploymentPlanReverter`. There a rollback could touch other apps of the
    /// same groups; here it is about the apps of the deployment and no others.
    fn cancel_deployment(&mut self, now: Now, id: String, force: bool) -> Result<Answer, Refusal> {
        let Some(deployment) = self.deployments.get(&id) else { return Err(Refusal::UnknownDeployment(id)) };
        if force {
            self.fail_deployment(now, &id, "cancelled");
            return Ok(Answer::Done);
        }
        let mut targets = BTreeMap::new();
        for (app_id, (before, _)) in &deployment.record.changes {
            let Some(app) = self.apps.get(app_id) else { continue };
            match before.and_then(|before| app.versions.get(&before)) {
                Some(before) => targets.insert(app_id.clone(), Target::Restore((**before).clone())),
                None if app.current.is_some() => targets.insert(app_id.clone(), Target::Remove),
                None => None,
            };
        }
        self.change(now, Change { targets, force: true, caller: None, instead_of: Some(id) })
    }
}
