use std::time::Duration;

use api_marathon::{EventKind, IpAddress, TaskFailure, UnreachableStrategy};
use base::{Now, TaskId};
use mesos_proto::v1::{NetworkInfo, TaskStatus, network_info, task_status};

use crate::backoff::Backoff;
use crate::condition::{Condition, Goal};
use crate::effect::Effect;
use crate::framework;
use crate::id::InstanceId;
use crate::instance::Progress;
use crate::machine::Marathon;
use crate::record::{Key, Record};
use crate::timer::Timer;

/// Characters kept of what an agent tells about a task that it prepares.
const MAX_PROGRESS: usize = 512;

/// Characters kept of the message of a failed task, which its executor may have made as long as it likes: records have
/// to be small.
const MAX_MESSAGE: usize = 4096;

impl Marathon {
    /// Takes a task's status in, and acknowledges it behind everything that follows from it.
    ///
    /// Marathon: `TaskStatusUpdateProcessorImpl`, `InstanceUpdater`.
    pub(crate) fn on_update(&mut self, now: Now, status: TaskStatus) {
        let task = TaskId::from(status.task_id.value.as_str());
        let found = InstanceId::of_task(&task).filter(|(id, attempt)| {
            self.instance(id)
                .is_some_and(|instance| instance.attempt == *attempt && instance.placement.is_some())
        });
        match found {
            Some((id, _)) => self.on_known_update(now, &id, &status),
            None => self.on_unknown_update(now, &task, &status),
        }
        if let (Some(uuid), Some(agent)) = (status.uuid, status.agent_id) {
            let call = framework::acknowledge(agent, status.task_id, uuid);
            self.gate.effect(Effect::Send(Box::new(call)));
        }
    }

    /// A task that should not be: one that was given up, or replaced by a later attempt.
    fn on_unknown_update(&mut self, now: Now, task: &TaskId, status: &TaskStatus) {
        let condition = Condition::of(status);
        if condition.is_terminal() {
            if let Some((id, _)) = InstanceId::of_task(task) {
                self.publish(
                    now,
                    EventKind::UnknownInstanceTerminated {
                        instance_id: id.to_string(),
                        run_spec_id: id.app(),
                        condition: condition.as_str().to_owned(),
                    },
                );
            }
        } else if !condition.is_unreachable() && condition != Condition::Killing {
            let agent = status.agent_id.as_ref().map(|agent| base::AgentId::new(&agent.value));
            self.gate.effect(Effect::Send(Box::new(framework::kill(task, agent.as_ref()))));
        }
    }

    fn on_known_update(&mut self, now: Now, id: &InstanceId, status: &TaskStatus) {
        let is_answer = self.mesos.unanswered.remove(id);
        let condition = Condition::of(status);
        let Some(instance) = self.instance_mut(id) else { return };
        let before = instance.condition;
        if condition.is_terminal() {
            return self.on_task_ended(now, id, condition, status);
        }
        if condition.is_unreachable() {
            return self.on_unreachable(now, id, status);
        }
        let returned = before.is_unreachable();
        // A kill under way is not undone by news of the time before; nor is progress.
        let stale = (before == Condition::Killing || before > condition) && !returned;
        if !stale && before != condition {
            instance.condition = condition;
            instance.since = now.wall;
            let decommissioned = instance.goal == Goal::Decommissioned;
            if let Some(placement) = instance.placement.as_mut() {
                if condition == Condition::Running {
                    placement.started_at.get_or_insert(now.wall);
                }
                if !condition.is_on_the_way() {
                    placement.progress = None;
                }
                let addresses = ip_addresses(status);
                if !addresses.is_empty() {
                    placement.ip_addresses = addresses;
                }
            }
            self.persist_instance(id);
            self.status_updated(now, id, status);
            self.instance_changed(now, id);
            self.touch(&id.app());
            if decommissioned {
                self.on_kill_due(now, id);
            }
        }
        if !stale {
            self.on_progress(now, id, status, before == condition);
        }
        if is_answer {
            self.kill_again(now, id);
        }
        if self.instance(id).is_some_and(|instance| instance.is_running()) {
            self.start_health_checks(id);
            if let Some(healthy) = status.healthy {
                self.on_executor_health(now, id, healthy, status.message.as_deref().unwrap_or(""));
            }
        }
    }

    /// An agent tells how far it is with a task: in further statuses of the same state, but for the message.
    fn on_progress(&mut self, now: Now, id: &InstanceId, status: &TaskStatus, is_news: bool) {
        let reconciled = status.reason == Some(task_status::Reason::Reconciliation as i32);
        let Some(instance) = self.instance_mut(id).filter(|it| it.condition.is_on_the_way() && !reconciled)
        else {
            return;
        };
        let Some(placement) = instance.placement.as_mut() else { return };
        let words = status.message.as_deref().unwrap_or_default();
        let before = placement.progress.as_ref().map_or("", |progress| progress.message.as_str());
        let message: String = words.chars().take(MAX_PROGRESS).collect();
        if before == message {
            return;
        }
        placement.progress = Some(Progress { message, at: now.wall });
        self.persist_instance(id);
        if is_news {
            self.status_updated(now, id, status);
        }
    }

    fn on_unreachable(&mut self, now: Now, id: &InstanceId, status: &TaskStatus) {
        self.stop_health_checks(id);
        let Some(instance) = self.instance_mut(id) else { return };
        if instance.goal == Goal::Decommissioned || instance.kill.is_some() {
            return self.expunge(now, id);
        }
        if instance.condition.is_unreachable() {
            return;
        }
        instance.condition = Condition::Unreachable;
        instance.since = now.wall;
        instance.healthy = None;
        instance.checks.clear();
        self.persist_instance(id);
        self.status_updated(now, id, status);
        self.instance_changed(now, id);
        self.touch(&id.app());
        self.on_unreachable_for_long(now, id);
    }

    /// Gives an unreachable instance up, or sets the time at which that is to be done.
    ///
    /// Marathon: `UnreachableStrategy`, `ExpungeOverdueLostTasksActor`.
    pub(crate) fn on_unreachable_for_long(&mut self, now: Now, id: &InstanceId) {
        let Some(definition) = self.definition_of(id) else { return };
        let UnreachableStrategy::Enabled { inactive_after_seconds, expunge_after_seconds } =
            definition.unreachable_strategy
        else {
            return;
        };
        let Some(instance) = self.instance_mut(id).filter(|instance| instance.condition.is_unreachable())
        else {
            return;
        };
        // `since` is kept when it becomes inactive: both times count from the loss.
        let lost_for = now.wall.since(instance.since);
        let (inactive, expunge) =
            (Duration::from_secs(inactive_after_seconds), Duration::from_secs(expunge_after_seconds));
        if lost_for >= inactive && instance.condition == Condition::Unreachable {
            instance.condition = Condition::UnreachableInactive;
            self.persist_instance(id);
            self.instance_changed(now, id);
            self.touch(&id.app());
        }
        if lost_for >= expunge {
            return self.expunge(now, id);
        }
        let next = if lost_for >= inactive { expunge } else { inactive };
        self.timers.set(now.mono + next.saturating_sub(lost_for), Timer::Unreachable(id.clone()));
    }

    /// The task is over. The instance waits for its next one, if it is still wanted as it is.
    fn on_task_ended(&mut self, now: Now, id: &InstanceId, condition: Condition, status: &TaskStatus) {
        let app_id = id.app();
        self.status_updated(now, id, status);
        self.stop_health_checks(id);
        let Some(definition) = self.definition_of(id) else { return };
        let Some(instance) = self.instance_mut(id) else { return };
        let killed_by_us = instance.kill.is_some();
        instance.condition = condition;
        instance.since = now.wall;
        let goal = instance.goal;
        self.instance_changed(now, id);
        self.remember_failure(now, id, condition, status);
        if condition == Condition::Killed && status.healthy == Some(false) && !killed_by_us {
            self.on_killed_by_executor(now, id, status.message.as_deref().unwrap_or_default());
        }
        let draining = status.reason == Some(task_status::Reason::AgentDraining as i32);
        self.gate.delete(Key::Instance(id.clone()));

        let wanted = self.effective(&app_id);
        let Some(app) = self.apps.get_mut(&app_id) else { return };
        if condition.delays_launches() && goal == Goal::Running && !killed_by_us && !draining {
            let backoff = Backoff::after_failure(app.backoff, &definition, now.mono);
            app.backoff = Some(backoff);
            app.announced = false;
            self.timers.set(backoff.until, Timer::Backoff(app_id.clone()));
        }
        let again = wanted
            .filter(|wanted| goal == Goal::Running && wanted.config_version() == definition.config_version());
        match again {
            Some(wanted) => self.reschedule(now, id, wanted.version),
            None => self.remove(id),
        }
    }

    /// Lets an instance whose task ended wait for an offer again, under its old id.
    fn reschedule(&mut self, now: Now, id: &InstanceId, version: base::Wall) {
        let Some(app) = self.apps.get_mut(&id.app()) else { return };
        let Some(instance) = app.instances.get_mut(id) else { return };
        instance.version = version;
        instance.attempt += 1;
        instance.condition = Condition::Scheduled;
        instance.since = now.wall;
        instance.placement = None;
        instance.healthy = None;
        instance.checks.clear();
        instance.kill = None;
        app.scheduled.insert(id.clone());
        app.announced = false;
        app.waiting.get_or_insert_with(|| crate::queue::Waiting::begun(now.wall));
        self.queued.insert(id.app());
        self.touch(&id.app());
        self.instance_changed(now, id);
    }

    /// Marathon: `TaskFailure.FromMesosStatusUpdateEvent`.
    fn remember_failure(&mut self, now: Now, id: &InstanceId, condition: Condition, status: &TaskStatus) {
        let counts = matches!(
            condition,
            Condition::Error | Condition::Failed | Condition::Gone | Condition::Dropped | Condition::Unknown
        );
        if counts {
            let message = status.message.iter().flat_map(|text| text.chars()).take(MAX_MESSAGE).collect();
            self.put_failure(now, id, status.state().as_str_name(), message);
        }
    }

    /// Makes this the app's last failure.
    pub(crate) fn put_failure(&mut self, now: Now, id: &InstanceId, state: &str, message: String) {
        let Some(app) = self.apps.get_mut(&id.app()) else { return };
        let Some(instance) = app.instances.get(id) else { return };
        let Some(placement) = &instance.placement else { return };
        let failure = TaskFailure {
            app_id: id.app(),
            host: placement.host.clone(),
            message,
            state: state.to_owned(),
            task_id: instance.task_id().to_string(),
            timestamp: now.wall,
            version: instance.version,
            slave_id: Some(placement.agent_id.to_string()),
        };
        self.gate.put(Record::Failure(failure.clone()));
        app.failure = Some(failure);
    }

    fn status_updated(&mut self, now: Now, id: &InstanceId, status: &TaskStatus) {
        let Some(instance) = self.instance(id) else { return };
        let Some(placement) = &instance.placement else { return };
        let kind = EventKind::StatusUpdate {
            slave_id: placement.agent_id.to_string(),
            task_id: instance.task_id().to_string(),
            task_status: status.state().as_str_name().to_owned(),
            message: status.message.clone().unwrap_or_default(),
            app_id: id.app(),
            host: placement.host.clone(),
            ip_addresses: placement.ip_addresses.clone(),
            ports: placement.ports.clone(),
            version: instance.version,
        };
        self.publish(now, kind);
    }

    /// A task was launched and does not run after a while: the master is asked for it, and in the end it is killed.
    /// The time counts from the last progress that its agent told.
    ///
    /// Marathon: `OverdueInstancesActor`, which counts from the launch.
    pub(crate) fn on_launch_overdue(&mut self, now: Now, id: &InstanceId) {
        let (confirm, launch) = (self.config.launch_confirm_timeout, self.config.launch_timeout);
        let connected = self.mesos.connected;
        let Some(instance) = self.instance(id).filter(|instance| instance.condition.is_on_the_way()) else {
            return;
        };
        let Some(placement) = &instance.placement else { return };
        let heard = placement.progress.as_ref().map_or(placement.staged_at, |progress| progress.at);
        let waited = now.wall.since(heard.max(placement.staged_at));
        if waited >= launch {
            let last = placement.preparation().map(|message| format!("; last heard: {message}"));
            let message = format!(
                "Task was killed since it did not run within {} s{}",
                launch.as_secs(),
                last.unwrap_or_default()
            );
            self.put_failure(now, id, "TASK_KILLED", message);
            return self.kill(now, id);
        }
        if connected && instance.condition == Condition::Provisioned {
            let call = framework::reconcile(std::iter::once((instance.task_id(), &placement.agent_id)));
            self.gate.effect(Effect::Send(Box::new(call)));
        }
        let next = confirm.min(launch.saturating_sub(waited)).max(Duration::from_secs(1));
        self.timers.set(now.mono + next, Timer::Launch(id.clone()));
    }
}

fn ip_addresses(status: &TaskStatus) -> Vec<IpAddress> {
    let infos: &[NetworkInfo] =
        status.container_status.as_ref().map_or(&[], |container| &container.network_infos);
    infos
        .iter()
        .flat_map(|info| &info.ip_addresses)
        .filter_map(|address| {
            let protocol = match address.protocol() {
                network_info::Protocol::IPv6 => "IPv6",
                network_info::Protocol::IPv4 => "IPv4",
            };
            Some(IpAddress { ip_address: address.ip_address.clone()?, protocol: protocol.to_owned() })
        })
        .collect()
}
