//! Ending tasks, executors, frameworks, everything.

use base::{ContainerId, ExecutorId, FrameworkId, Now, TaskId};
use mesos_proto::v1::task_status::Reason;
use mesos_proto::v1::{KillPolicy, TaskState};

use crate::executors::{kill_event, shutdown_event};
use crate::status::Cause;
use crate::timers::Timer;
use crate::{Agent, Effect, ExecutorState};

impl Agent {
    /// Mesos: `Slave::killTask` and `Slave::kill`.
    pub(crate) fn kill_task(
        &mut self,
        now: Now,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        kill_policy: Option<KillPolicy>,
        out: &mut Vec<Effect>,
    ) {
        let Some(framework) =
            self.frameworks.get_mut(framework_id).filter(|framework| !framework.terminating)
        else {
            return;
        };
        if framework.streams.contains_key(task_id) && !framework.tasks.contains_key(task_id) {
            // Refused before it had an executor: its end is on the way.
            return;
        }
        let dropped = framework.state_or_lost(TaskState::TaskDropped);
        let Some(executor) = framework.executor_of_mut(task_id) else {
            let cause = Cause::new(dropped, Reason::ExecutorTerminated, "Cannot find executor");
            return self.end_task(now, framework_id, task_id, cause, out);
        };
        let executor_id = executor.id().clone();
        let Some(task) = executor.tasks.get_mut(task_id).filter(|task| !task.is_over()) else { return };
        match executor.state {
            ExecutorState::Terminating | ExecutorState::Terminated => {}
            ExecutorState::Registering | ExecutorState::Running if task.delivered => {
                task.kill = Some(kill_policy);
                if let Some(connection) = executor.connection {
                    let event = Box::new(kill_event(task_id, kill_policy));
                    out.push(Effect::Send { connection, event });
                }
            }
            ExecutorState::Registering | ExecutorState::Running => {
                let message = "Killed before delivery to the executor";
                let cause = Cause::new(TaskState::TaskKilled, Reason::TaskKilledDuringLaunch, message);
                // A group is delivered whole or not at all.
                let queued = executor.queued_with(task_id);
                for task_id in queued {
                    self.end_task(now, framework_id, &task_id, cause.clone(), out);
                }
                self.end_unused(now, framework_id, &executor_id, out);
            }
        }
    }

    /// Ends an executor that will never get a task.
    fn end_unused(
        &mut self,
        now: Now,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        out: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executor(framework_id, executor_id) else { return };
        if executor.served || executor.tasks.values().any(|task| !task.is_over()) {
            return;
        }
        if executor.state == ExecutorState::Registering {
            let container_id = executor.run.container_id.clone();
            self.destroy(&container_id, None, out);
        } else {
            self.shutdown_executor(now, framework_id, executor_id, out);
        }
    }

    /// Asks an executor to end, and sees to it that it does (Mesos: `Slave::_shutdownExecutor`).
    pub(crate) fn shutdown_executor(
        &mut self,
        now: Now,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        out: &mut Vec<Effect>,
    ) {
        let default = self.config.executor_shutdown_grace_period;
        let Some(executor) = self.executor_mut(framework_id, executor_id) else { return };
        if !matches!(executor.state, ExecutorState::Registering | ExecutorState::Running) {
            return;
        }
        if executor.process.is_none() && executor.connection.is_none() {
            // Nobody is there to be asked: its container is being prepared.
            let container_id = executor.run.container_id.clone();
            return self.destroy(&container_id, None, out);
        }
        executor.state = ExecutorState::Terminating;
        if let Some(connection) = executor.connection {
            out.push(Effect::Send { connection, event: Box::new(shutdown_event()) });
        }
        let at = now.mono + executor.grace_period(default);
        let container_id = executor.run.container_id.clone();
        self.timers.set(at, Timer::Destroy(container_id));
    }

    /// Mesos: `Slave::shutdownFramework`. Nobody listens to its updates any more.
    pub(crate) fn shutdown_framework(&mut self, now: Now, framework_id: &FrameworkId, out: &mut Vec<Effect>) {
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        framework.terminating = true;
        for (task_id, stream) in std::mem::take(&mut framework.streams) {
            if let Some((at, _)) = stream.retry {
                self.timers.cancel(at, Timer::Retry(framework_id.clone(), task_id));
            }
        }
        let executors: Vec<ExecutorId> = framework.executors.keys().cloned().collect();
        for executor_id in executors {
            self.shutdown_executor(now, framework_id, &executor_id, out);
            self.settle_executor(framework_id, &executor_id, out);
        }
        self.settle_framework(framework_id);
    }

    /// Ends every executor and begins none any more.
    pub(crate) fn shutdown_all(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.ending = true;
        let all: Vec<(FrameworkId, ExecutorId)> = self.containers.values().cloned().collect();
        for (framework_id, executor_id) in all {
            self.shutdown_executor(now, &framework_id, &executor_id, out);
        }
    }

    /// Ends a container by force; `decided` is what its tasks are told.
    pub(crate) fn destroy(
        &mut self,
        container_id: &ContainerId,
        decided: Option<Cause>,
        out: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executor_in_mut(container_id) else { return };
        if executor.state == ExecutorState::Terminated {
            return;
        }
        executor.state = ExecutorState::Terminating;
        if executor.decided.is_none() {
            executor.decided = decided;
        }
        out.push(Effect::Destroy { container_id: container_id.clone() });
    }

    /// Mesos: `Slave::registerExecutorTimeout`.
    pub(crate) fn registration_timeout(&mut self, container_id: &ContainerId, out: &mut Vec<Effect>) {
        let timeout = self.config.executor_registration_timeout;
        let registering = self
            .executor_in(container_id)
            .is_some_and(|executor| executor.state == ExecutorState::Registering);
        if registering {
            let message = format!("Executor did not register within {}", base::duration_text(timeout));
            let cause = Cause::new(TaskState::TaskFailed, Reason::ExecutorRegistrationTimeout, message);
            self.destroy(container_id, Some(cause), out);
        }
    }

    pub(crate) fn destroy_timeout(&mut self, container_id: &ContainerId, out: &mut Vec<Effect>) {
        let overdue = self
            .executor_in(container_id)
            .is_some_and(|executor| executor.state == ExecutorState::Terminating);
        if overdue {
            self.destroy(container_id, None, out);
        }
    }

    /// The command task is over and its executor is still there.
    pub(crate) fn linger_timeout(&mut self, now: Now, container_id: &ContainerId, out: &mut Vec<Effect>) {
        let Some(executor) = self.executor_in(container_id) else { return };
        let (framework_id, executor_id) =
            (executor.run.framework_id.clone(), executor.run.executor_id.clone());
        self.shutdown_executor(now, &framework_id, &executor_id, out);
    }
}
