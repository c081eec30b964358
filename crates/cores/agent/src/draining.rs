//! Draining: an operator wants everything here ended, each task with its own grace or less.
//! Mesos: `Slave::drain`, `Slave::statusUpdate`, `Slave::updateDrainStatus`.

use base::{FrameworkId, Now, TaskId, Wall};
use mesos_proto::v1::framework_info::capability;
use mesos_proto::v1::task_status::Reason;
use mesos_proto::v1::{DrainConfig, FrameworkInfo, KillPolicy, TaskState, TaskStatus};

use crate::agent::Phase;
use crate::{Agent, Effect, Record};

impl Agent {
    /// The agent's tasks are to end and no new ones begin. Said again, it is done again: with another
    /// configuration the time that is left may be shorter.
    pub(crate) fn drain(&mut self, now: Now, config: DrainConfig, out: &mut Vec<Effect>) {
        if self.frameworks.is_empty() {
            return;
        }
        if self.draining != Some(config) {
            self.draining = Some(config);
            out.push(Effect::Persist(Record::Drain(Some(config))));
        }
        self.drain_started = Some(now.wall);
        if self.phase != Phase::Recovering {
            self.kill_for_drain(now, out);
        }
    }

    /// Kills every task. Those whose executors are not there are killed when they come back.
    pub(crate) fn kill_for_drain(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(config) = self.draining else { return };
        self.drain_started.get_or_insert(now.wall);
        let tasks: Vec<(FrameworkId, TaskId, Option<KillPolicy>)> = self
            .frameworks
            .iter()
            .flat_map(|(id, framework)| framework.executors.values().map(move |executor| (id, executor)))
            .flat_map(|(id, executor)| executor.tasks.values().map(move |task| (id, task)))
            .filter(|(_, task)| !task.is_over())
            .map(|(id, task)| (id.clone(), task.id(), shorter(config, task.task.kill_policy)))
            .collect();
        for (framework_id, task_id, kill_policy) in tasks {
            self.kill_task(now, &framework_id, &task_id, kill_policy, out);
        }
    }

    /// Tasks may run again.
    pub(crate) fn undrain(&mut self, out: &mut Vec<Effect>) {
        self.drain_started = None;
        if self.draining.take().is_some() {
            out.push(Effect::Persist(Record::Drain(None)));
        }
    }

    /// Ends the draining when nothing is left.
    pub(crate) fn settle_draining(&mut self, out: &mut Vec<Effect>) {
        if self.frameworks.is_empty() {
            self.undrain(out);
        }
    }

    /// How the operator wants everything ended, while that goes on.
    pub fn draining(&self) -> Option<DrainConfig> {
        self.draining
    }

    /// About when that began; a restarted agent counts from its start.
    pub fn drain_started(&self) -> Option<Wall> {
        self.drain_started
    }

    /// A task that goes away while the agent drains goes away for that reason, whatever else is told. Where
    /// the agent itself will not come back, a framework that can tell the difference is told that, too.
    pub(crate) fn explain_draining(&self, framework: &FrameworkInfo, status: &mut TaskStatus) {
        let Some(config) = self.draining else { return };
        if !matches!(status.state(), TaskState::TaskKilling | TaskState::TaskKilled) {
            return;
        }
        status.reason = Some(Reason::AgentDraining as i32);
        let aware = Some(capability::Type::PartitionAware as i32);
        let is_aware = framework.capabilities.iter().any(|capability| capability.r#type == aware);
        // Other than in Mesos TASK_KILLING stays what it is: the task still runs.
        if config.mark_gone() && is_aware && status.state() == TaskState::TaskKilled {
            status.state = TaskState::TaskGoneByOperator as i32;
        }
    }
}

/// The kill policy that leaves a task less time than its own, if the drain's does.
fn shorter(config: DrainConfig, own: Option<KillPolicy>) -> Option<KillPolicy> {
    let limit = config.max_grace_period?;
    let own = own.and_then(|policy| policy.grace_period);
    own.is_none_or(|own| limit.nanoseconds < own.nanoseconds)
        .then_some(KillPolicy { grace_period: Some(limit) })
}
