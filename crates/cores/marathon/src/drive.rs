use std::sync::Arc;

use api_marathon::{ActionName, AppDefinition, AppId, EventKind};
use base::{Now, Wall};

use crate::app::App;
use crate::condition::{Condition, Goal};
use crate::id::InstanceId;
use crate::instance::Instance;
use crate::machine::Marathon;
use crate::queue::Waiting;
use crate::record::Key;
use crate::rollout::{self, Capacity, Member, Phase};
use crate::scaling::{self, Candidate};

/// Which comparison of wanted and found holds for an app.
#[derive(Clone, Debug)]
enum Aim {
    /// Nothing shall be left.
    Stop,
    /// The number of instances. `since`: a deployment waits until those that came since then serve.
    Scale { to: Arc<AppDefinition>, since: Option<Wall> },
    /// All instances of this configuration.
    Exchange(Arc<AppDefinition>),
}

impl Marathon {
    /// Compares wanted and found for every app that was touched, and goes on with deployments, until nothing changes.
    pub(crate) fn drive(&mut self, now: Now) {
        if !self.mesos.settled {
            if !self.mesos.connected || !self.mesos.unanswered.is_empty() {
                return;
            }
            self.settle();
        }
        loop {
            while let Some(id) = self.touched.pop_first() {
                self.drive_app(now, &id);
            }
            if !self.advance_deployments(now) && self.touched.is_empty() {
                return;
            }
        }
    }

    fn aim(&self, id: &AppId) -> Option<Aim> {
        let app = self.apps.get(id)?;
        let Some(current) = app.current.clone() else { return Some(Aim::Stop) };
        let deployment = app.deployment.as_ref().and_then(|id| self.deployments.get(id));
        let Some(deployment) = deployment else { return Some(Aim::Scale { to: current, since: None }) };
        match deployment.action(id) {
            Some(ActionName::RestartApplication) => Some(Aim::Exchange(current)),
            Some(ActionName::ScaleApplication) => {
                Some(Aim::Scale { to: current, since: Some(deployment.record.version) })
            }
            Some(ActionName::StopApplication) => Some(Aim::Stop),
            Some(ActionName::StartApplication) | None if deployment.comes_later(id) => {
                // Its turn has not come: what was there before goes on.
                let (before, _) = deployment.record.changes.get(id)?;
                let to = app.versions.get(before.as_ref()?).cloned()?;
                Some(Aim::Scale { to, since: None })
            }
            _ => Some(Aim::Scale { to: current, since: None }),
        }
    }

    /// The definition that instances of the app are launched with now; `None` if none are launched.
    pub(crate) fn effective(&self, id: &AppId) -> Option<Arc<AppDefinition>> {
        match self.aim(id)? {
            Aim::Stop => None,
            Aim::Scale { to, .. } | Aim::Exchange(to) => Some(to),
        }
    }

    fn drive_app(&mut self, now: Now, id: &AppId) {
        let done = match self.aim(id) {
            Some(Aim::Stop) => self.drive_stop(now, id),
            Some(Aim::Scale { to, since }) => {
                self.drop_outdated(id, &to);
                let done = self.drive_scale(now, id, &to, since);
                done && since.is_some()
            }
            Some(Aim::Exchange(to)) => self.drive_exchange(now, id, &to),
            None => false,
        };
        self.settle_queue(id);
        let deployment = self.apps.get(id).and_then(|app| app.deployment.clone());
        let deployment = deployment.and_then(|id| self.deployments.get_mut(&id));
        if let Some(deployment) = deployment.filter(|it| done && it.action(id).is_some()) {
            deployment.done.insert(id.clone());
        }
        self.forget_if_gone(id);
    }

    fn drive_stop(&mut self, now: Now, id: &AppId) -> bool {
        for instance in self.instances_where(id, |_, instance| instance.goal == Goal::Running) {
            self.decommission(now, &instance);
        }
        self.touched.remove(id);
        let gone = self.apps.get(id).is_none_or(|app| app.instances.is_empty());
        let deployment = self.apps.get(id).and_then(|app| app.deployment.as_ref());
        let told = deployment.and_then(|it| self.deployments.get(it)).is_none_or(|it| it.done.contains(id));
        if gone && !told {
            self.publish(now, EventKind::AppTerminated { app_id: id.clone() });
        }
        gone
    }

    /// Instances that wait for an offer in a configuration that is wanted no longer never get one.
    fn drop_outdated(&mut self, id: &AppId, to: &AppDefinition) {
        let outdated = |app: &App, instance: &Instance| {
            instance.condition == Condition::Scheduled && !app.is_current(instance, to)
        };
        for instance in self.instances_where(id, outdated) {
            self.remove(&instance);
        }
    }

    fn drive_scale(&mut self, now: Now, id: &AppId, to: &AppDefinition, since: Option<Wall>) -> bool {
        let wanted = to.instances as usize;
        // Those that are still being killed take up room, too: there are never more than during an exchange.
        let max = Capacity::of(to).max;
        for instance in
            self.instances_where(id, |_, it| it.placement.is_none()).into_iter().take(self.over(id, max))
        {
            self.remove(&instance);
        }
        self.touched.remove(id);
        let Some(app) = self.apps.get(id) else { return false };
        let counts = |instance: &&Instance| {
            instance.goal == Goal::Running && instance.condition != Condition::UnreachableInactive
        };
        let found = app.instances.values().filter(counts).count();
        if found != wanted {
            let candidate = |instance: &Instance| Candidate {
                id: instance.id.clone(),
                condition: instance.condition,
                healthy: instance.healthy,
                since: instance
                    .placement
                    .as_ref()
                    .map_or(instance.since, |it| it.started_at.unwrap_or(it.staged_at)),
            };
            let candidates = app.instances.values().filter(counts).map(candidate).collect();
            for instance in scaling::surplus(candidates, wanted, to.kill_selection) {
                self.decommission(now, &instance);
            }
            let room = max.saturating_sub(self.taken(id));
            self.schedule(now, id, to, wanted.saturating_sub(found).min(room));
            self.touched.remove(id);
        }
        let Some(since) = since else { return false };
        let Some(app) = self.apps.get(id) else { return false };
        let complete = app.instances.values().filter(counts).count() == wanted;
        complete
            && app.instances.values().all(|instance| match instance.goal {
                Goal::Decommissioned => !instance.is_alive(),
                Goal::Running => instance.created < since || instance.is_serving(has_checks(app, instance)),
            })
    }

    fn drive_exchange(&mut self, now: Now, id: &AppId, to: &AppDefinition) -> bool {
        self.touched.remove(id);
        let Some(app) = self.apps.get(id) else { return false };
        let members: Vec<Member> = app
            .instances
            .values()
            .map(|instance| Member {
                id: instance.id.clone(),
                old: !app.is_current(instance, to),
                phase: phase(app, instance),
                leaving: instance.goal == Goal::Decommissioned,
            })
            // A lost new one that was given up is replaced; it counts again if it comes back.
            .filter(|member| member.old || !is_given_up(app, &member.id))
            .collect();
        let step = rollout::step(Capacity::of(to), &members);
        for instance in &step.decommission {
            self.decommission(now, instance);
        }
        // What was only scheduled is gone at once: there may be room now.
        let again = !step.decommission.is_empty();
        self.schedule(now, id, to, step.launch);
        if again {
            self.touch(id);
        } else {
            self.touched.remove(id);
        }
        step.done
    }

    /// Instances that take up room, now or as soon as an offer comes.
    fn taken(&self, id: &AppId) -> usize {
        self.instances(id).filter(|instance| instance.is_alive() || instance.placement.is_none()).count()
    }

    fn over(&self, id: &AppId, max: usize) -> usize {
        self.taken(id).saturating_sub(max)
    }

    /// Lets new instances wait for offers.
    fn schedule(&mut self, now: Now, id: &AppId, to: &AppDefinition, count: usize) {
        let created = now.wall.max(self.last_version);
        for _ in 0..count {
            let instance = InstanceId::fresh(id, &mut self.rng);
            let Some(app) = self.apps.get_mut(id) else { return };
            app.instances
                .insert(instance.clone(), Instance::scheduled(instance.clone(), to.version, created));
            app.scheduled.insert(instance.clone());
            app.announced = false;
            app.waiting.get_or_insert_with(|| Waiting::begun(now.wall));
            self.queued.insert(id.clone());
            self.instance_changed(now, &instance);
        }
    }

    fn instances_where(&self, id: &AppId, matches: impl Fn(&App, &Instance) -> bool) -> Vec<InstanceId> {
        let Some(app) = self.apps.get(id) else { return Vec::new() };
        app.instances
            .values()
            .filter(|instance| matches(app, instance))
            .map(|instance| instance.id.clone())
            .collect()
    }

    /// Forgets a deleted app of which nothing is left.
    fn forget_if_gone(&mut self, id: &AppId) {
        let is_gone =
            |app: &App| app.current.is_none() && app.deployment.is_none() && app.instances.is_empty();
        if !self.apps.get(id).is_some_and(is_gone) {
            return;
        }
        if let Some(app) = self.apps.remove(id) {
            self.queued.remove(id);
            for version in app.versions.keys() {
                self.gate.delete(Key::App(id.clone(), *version));
            }
            if app.failure.is_some() {
                self.gate.delete(Key::Failure(id.clone()));
            }
        }
    }
}

fn has_checks(app: &App, instance: &Instance) -> bool {
    app.versions.get(&instance.version).is_some_and(|definition| !definition.health_checks.is_empty())
}

fn is_given_up(app: &App, id: &InstanceId) -> bool {
    app.instances.get(id).is_some_and(|instance| instance.condition == Condition::UnreachableInactive)
}

fn phase(app: &App, instance: &Instance) -> Phase {
    match instance.condition {
        Condition::Scheduled => Phase::Scheduled,
        Condition::Unreachable | Condition::UnreachableInactive => Phase::Away,
        _ if instance.goal == Goal::Decommissioned || instance.kill.is_some() => Phase::Dying,
        Condition::Killing => Phase::Dying,
        Condition::Running if instance.is_serving(has_checks(app, instance)) => Phase::Serving,
        Condition::Running => Phase::Idle,
        _ => Phase::OnTheWay,
    }
}
