use api_marathon::EventKind;
use base::Now;

use crate::condition::{Condition, Goal};
use crate::effect::Effect;
use crate::framework;
use crate::id::InstanceId;
use crate::instance::Kill;
use crate::machine::Marathon;
use crate::record::{Key, Record};
use crate::timer::Timer;

impl Marathon {
    /// Wants an instance no longer: its task ends, and then it is forgotten. One that serves is told to be going away
    /// a moment before, so that routers send nothing more to it.
    pub(crate) fn decommission(&mut self, now: Now, id: &InstanceId) {
        let drain = self.config.drain;
        let Some(instance) = self.instance_mut(id) else { return };
        if instance.goal == Goal::Decommissioned {
            return;
        }
        instance.goal = Goal::Decommissioned;
        if instance.placement.is_none() {
            return self.remove(id);
        }
        if instance.condition.is_unreachable() {
            return self.expunge(now, id);
        }
        let next = if instance.condition == Condition::Running && instance.kill.is_none() {
            now.mono + drain
        } else {
            now.mono
        };
        if instance.condition == Condition::Running {
            instance.condition = Condition::Killing;
            instance.since = now.wall;
        }
        instance.kill = Some(Kill { next });
        self.persist_instance(id);
        self.instance_changed(now, id);
        self.stop_health_checks(id);
        self.timers.set(next, Timer::Kill(id.clone()));
    }

    /// Ends an instance's task; the instance gets another one.
    pub(crate) fn kill(&mut self, now: Now, id: &InstanceId) {
        let Some(instance) = self.instance_mut(id) else { return };
        if instance.placement.is_none() || instance.kill.is_some() {
            return;
        }
        if instance.condition.is_unreachable() {
            return self.expunge(now, id);
        }
        instance.kill = Some(Kill { next: now.mono });
        self.touch(&id.app());
        self.on_kill_due(now, id);
    }

    /// Sends a kill, first or again. While disconnected it is left to the next subscription.
    pub(crate) fn on_kill_due(&mut self, now: Now, id: &InstanceId) {
        let (connected, retry) = (self.mesos.connected, self.config.kill_retry);
        let Some(instance) = self.instance_mut(id) else { return };
        let (task, Some(placement)) = (instance.task_id(), &instance.placement) else { return };
        let Some(kill) = instance.kill.filter(|kill| kill.next <= now.mono) else { return };
        if !connected || instance.condition.is_unreachable() {
            return;
        }
        let call = framework::kill(&task, Some(&placement.agent_id));
        let next = kill.next.max(now.mono) + retry;
        instance.kill = Some(Kill { next });
        self.gate.effect(Effect::Send(Box::new(call)));
        self.timers.set(next, Timer::Kill(id.clone()));
    }

    /// Has every kill sent again, as those sent before may be lost with the connection: as soon as the master shows
    /// that it knows the task, because one whose agent is not back it would not pass on.
    pub(crate) fn resend_kills(&mut self, now: Now) {
        let retry = now.mono + self.config.kill_retry;
        let dying = self.apps.values().flat_map(|app| app.instances.values()).filter(|it| it.kill.is_some());
        for instance in dying {
            self.timers.set(retry, Timer::Kill(instance.id.clone()));
        }
    }

    /// Sends the kill under way, if there is one, whenever it was sent last.
    pub(crate) fn kill_again(&mut self, now: Now, id: &InstanceId) {
        if let Some(kill) = self.instance_mut(id).and_then(|instance| instance.kill.as_mut()) {
            kill.next = kill.next.min(now.mono);
            self.on_kill_due(now, id);
        }
    }

    /// Forgets an instance whose agent is away. Should its task come back, it is killed as an unknown one.
    pub(crate) fn expunge(&mut self, now: Now, id: &InstanceId) {
        if let Some(instance) = self.instance(id) {
            let (version, condition) = (instance.version, Condition::Gone);
            self.publish(
                now,
                EventKind::InstanceChanged {
                    instance_id: id.to_string(),
                    condition: condition.as_str().to_owned(),
                    run_spec_id: id.app(),
                    agent_id: self
                        .instance(id)
                        .and_then(|i| i.placement.as_ref())
                        .map(|p| p.agent_id.to_string()),
                    host: self.instance(id).and_then(|i| i.placement.as_ref()).map(|p| p.host.clone()),
                    run_spec_version: version,
                },
            );
        }
        self.gate.delete(Key::Instance(id.clone()));
        self.remove(id);
    }

    /// Drops an instance from memory.
    pub(crate) fn remove(&mut self, id: &InstanceId) {
        self.stop_health_checks(id);
        let app_id = id.app();
        if let Some(app) = self.apps.get_mut(&app_id) {
            app.instances.remove(id);
            app.scheduled.remove(id);
        }
        self.mesos.unanswered.remove(id);
        self.touch(&app_id);
    }

    pub(crate) fn persist_instance(&mut self, id: &InstanceId) {
        if let Some(instance) = self.instance(id).filter(|instance| instance.placement.is_some()) {
            let record = Record::Instance(instance.clone());
            self.gate.put(record);
        }
    }

    /// Tells an instance's condition.
    pub(crate) fn instance_changed(&mut self, now: Now, id: &InstanceId) {
        let Some(instance) = self.instance(id) else { return };
        let kind = EventKind::InstanceChanged {
            instance_id: id.to_string(),
            condition: instance.condition.as_str().to_owned(),
            run_spec_id: id.app(),
            agent_id: instance.placement.as_ref().map(|placement| placement.agent_id.to_string()),
            host: instance.placement.as_ref().map(|placement| placement.host.clone()),
            run_spec_version: instance.version,
        };
        self.publish(now, kind);
    }
}
