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

    fn drive_scale(&mut self, now: Now, id: &AppId, to: &AppDefinition, since: Option<Wall>) -> bool {
        self.touched.remove(id);
        let (wanted, max) = (to.instances as usize, Capacity::of(to).max);
        let mut found = self.tally(id, to, since);
        if found.outdated > 0 || found.taken > max {
            self.unschedule(id, to, found.taken.saturating_sub(max));
            found = self.tally(id, to, since);
        }
        if found.running != wanted {
            let surplus = self.surplus(id, to);
            for instance in &surplus {
                self.decommission(now, instance);
            }
            // Those that are still being killed take up room, too: there are never more than during an exchange.
            let room = max.saturating_sub(found.taken);
            self.schedule(now, id, to, wanted.saturating_sub(found.running).min(room));
            found = self.tally(id, to, since);
        }
        self.touched.remove(id);
        found.running == wanted && !found.pending
    }

    /// Counts an app's instances, in one pass: this runs for every update of every task.
    fn tally(&self, id: &AppId, to: &AppDefinition, since: Option<Wall>) -> Tally {
        let mut tally = Tally::default();
        let Some(app) = self.apps.get(id) else { return tally };
        // Neighbours mostly have the same version.
        let mut known: Option<(Wall, bool, bool)> = None;
        for instance in app.instances.values() {
            let (_, current, checks) = match known {
                Some(facts) if facts.0 == instance.version => facts,
                _ => (instance.version, app.is_current(instance, to), has_checks(app, instance)),
            };
            known = Some((instance.version, current, checks));
            let scheduled = instance.condition == Condition::Scheduled;
            tally.running += usize::from(counts(instance));
            tally.taken += usize::from(scheduled || instance.is_alive());
            tally.outdated += usize::from(scheduled && !current);
            tally.pending |= match instance.goal {
                Goal::Decommissioned => instance.is_alive(),
                Goal::Running => {
                    since.is_none_or(|since| instance.created >= since) && !instance.is_serving(checks)
                }
            };
        }
        tally
    }

    /// Drops instances that wait for an offer: those of a configuration that is wanted no longer, and `over` others.
    fn unschedule(&mut self, id: &AppId, to: &AppDefinition, over: usize) {
        let Some(app) = self.apps.get(id) else { return };
        let is_outdated = |it: &&InstanceId| app.instances.get(*it).is_some_and(|it| !app.is_current(it, to));
        let (outdated, others): (Vec<_>, Vec<_>) = app.scheduled.iter().partition(is_outdated);
        let others = over.saturating_sub(outdated.len()).min(others.len());
        let current = app.scheduled.iter().filter(|it| !is_outdated(it)).take(others);
        let dropped: Vec<InstanceId> = outdated.into_iter().chain(current).cloned().collect();
        for instance in &dropped {
            self.remove(instance);
        }
    }

    fn surplus(&self, id: &AppId, to: &AppDefinition) -> Vec<InstanceId> {
        let candidate = |instance: &Instance| Candidate {
            id: instance.id.clone(),
            condition: instance.condition,
            healthy: instance.healthy,
            since: instance
                .placement
                .as_ref()
                .map_or(instance.since, |it| it.started_at.unwrap_or(it.staged_at)),
        };
        let candidates = self.instances(id).filter(|it| counts(it)).map(candidate).collect();
        scaling::surplus(candidates, to.instances as usize, to.kill_selection)
    }

    fn drive_exchange(&mut self, now: Now, id: &AppId, to: &AppDefinition) -> bool {
        self.touched.remove(id);
        let Some(app) = self.apps.get(id) else { return false };
        let members: Vec<Member<'_>> = app
            .instances
            .values()
            .map(|instance| Member {
                id: &instance.id,
                old: !app.is_current(instance, to),
                phase: phase(app, instance),
                leaving: instance.goal == Goal::Decommissioned,
            })
            // A lost new one that was given up is replaced; it counts again if it comes back.
            .filter(|member| member.old || !is_given_up(app, member.id))
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

/// What an app's instances come to.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Those that count for the wanted number.
    running: usize,
    /// Those that take up room, now or as soon as an offer comes.
    taken: usize,
    /// Those that wait for an offer in another configuration.
    outdated: usize,
    /// Whether some are not yet gone, or came since the deployment began and do not serve.
    pending: bool,
}

/// Whether an instance counts for the wanted number.
fn counts(instance: &Instance) -> bool {
    instance.goal == Goal::Running && instance.condition != Condition::UnreachableInactive
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
