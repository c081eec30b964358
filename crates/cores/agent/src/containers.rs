//! What became of containers, and letting go of what is over.

use base::{ContainerId, ExecutorId, FrameworkId, Now, TaskId};
use mesos_proto::v1::task_status::Reason;
use mesos_proto::v1::{NetworkInfo, TaskState};

use crate::preparation::shortened;
use crate::status::{self, Cause};
use crate::timers::Timer;
use crate::{Agent, Effect, ExecutorState, Process, Record, Run, Termination};

/// The longest text of why a container was not started, in bytes.
const MAX_FAILURE: usize = 4096;

impl Agent {
    pub(crate) fn container_launched(
        &mut self,
        now: Now,
        container_id: &ContainerId,
        process: Process,
        networks: Vec<NetworkInfo>,
        out: &mut Vec<Effect>,
    ) {
        let at = now.mono + self.config.executor_registration_timeout;
        let Some(executor) = self.executor_in_mut(container_id) else {
            out.push(Effect::Destroy { container_id: container_id.clone() });
            return;
        };
        if executor.state == ExecutorState::Terminated || executor.process == Some(process) {
            return;
        }
        executor.process = Some(process);
        executor.networks.clone_from(&networks);
        executor.preparation = None;
        let run = executor.run.clone();
        out.push(Effect::Persist(Record::Process { run: run.clone(), process, networks }));
        // From now on: an image may take long to come, and that is not the executor's fault.
        self.timers.set(at, Timer::Register(container_id.clone()));
        self.deliver(&run.framework_id, &run.executor_id, out);
    }

    pub(crate) fn container_launch_failed(
        &mut self,
        now: Now,
        container_id: &ContainerId,
        message: &str,
        out: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executor_in_mut(container_id) else { return };
        if executor.process.is_some() {
            return;
        }
        let message = format!("Failed to launch container: {}", shortened(message, MAX_FAILURE));
        executor.decided.get_or_insert(Cause::new(
            TaskState::TaskFailed,
            Reason::ContainerLaunchFailed,
            message,
        ));
        self.counters.container_launch_errors += 1;
        self.container_terminated(now, container_id, &Termination::default(), out);
    }

    /// Mesos: `Slave::executorTerminated`.
    pub(crate) fn container_terminated(
        &mut self,
        now: Now,
        container_id: &ContainerId,
        termination: &Termination,
        out: &mut Vec<Effect>,
    ) {
        let Some((framework_id, executor_id)) = self.containers.get(container_id).cloned() else { return };
        let Some(executor) = self.executor_mut(&framework_id, &executor_id) else { return };
        if executor.state == ExecutorState::Terminated {
            return;
        }
        executor.state = ExecutorState::Terminated;
        let for_command = executor.for_command;
        let cause = status::of_termination(termination, executor.decided.as_ref());
        let unfinished: Vec<TaskId> =
            executor.tasks.iter().filter(|(_, task)| !task.is_over()).map(|(id, _)| id.clone()).collect();
        if let Some(connection) = executor.connection.take() {
            self.connections.remove(&connection);
            out.push(Effect::Close { connection });
        }
        self.counters.executors_terminated += 1;
        for task_id in unfinished {
            self.end_task(now, &framework_id, &task_id, cause.clone(), out);
        }
        if !for_command {
            let status = termination.status.unwrap_or(-1);
            let (framework_id, executor_id) = (framework_id.clone(), executor_id.clone());
            out.push(Effect::ExecutorExited { framework_id, executor_id, status });
        }
        self.settle_executor(&framework_id, &executor_id, out);
        self.end_reconnecting_if_complete();
    }

    /// Lets go of an executor that is gone and whose tasks' updates are all acknowledged, or whose
    /// framework nobody listens to (Mesos: `Slave::removeExecutor`).
    pub(crate) fn settle_executor(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        out: &mut Vec<Effect>,
    ) {
        let Some(framework) = self.frameworks.get(framework_id) else { return };
        let Some(executor) = framework.executors.get(executor_id) else { return };
        let over = executor.tasks.is_empty() || framework.terminating;
        if executor.state != ExecutorState::Terminated || !over {
            return;
        }
        let Some(run) = self.complete_executor(framework_id, executor_id) else { return };
        out.push(Effect::Persist(Record::Completed { run: run.clone() }));
        out.push(Effect::CollectLater { run, after: self.config.gc_delay });
        self.settle_framework(framework_id);
    }

    /// Moves an executor to the completed ones, with whatever tasks it still has.
    pub(crate) fn complete_executor(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
    ) -> Option<Run> {
        let bound = self.config.max_completed_executors;
        let framework = self.frameworks.get_mut(framework_id)?;
        let mut executor = framework.executors.remove(executor_id)?;
        for (task_id, task) in std::mem::take(&mut executor.tasks) {
            framework.tasks.remove(&task_id);
            framework.streams.remove(&task_id);
            executor.completed.push_back(task);
        }
        executor.queue.clear();
        let run = executor.run.clone();
        self.containers.remove(&run.container_id);
        framework.completed.push_back(executor);
        while framework.completed.len() > bound {
            framework.completed.pop_front();
        }
        Some(run)
    }

    /// Lets go of a framework that has nothing here any more.
    pub(crate) fn settle_framework(&mut self, framework_id: &FrameworkId) {
        if !self.frameworks.get(framework_id).is_some_and(|framework| framework.is_idle()) {
            return;
        }
        if let Some(framework) = self.frameworks.remove(framework_id) {
            self.completed_frameworks.push_back(framework);
            while self.completed_frameworks.len() > self.config.max_completed_frameworks {
                self.completed_frameworks.pop_front();
            }
        }
    }
}
