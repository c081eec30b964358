//! The operation LAUNCH_GROUP: tasks that share an executor and are launched together or not at all.
//! Mesos: `Master::_accept`, case `LAUNCH_GROUP`.

use agent_link::{Body, RunTaskGroup};
use mesos_proto::v1::offer::operation::{self, LaunchGroup};
use mesos_proto::v1::{TaskState, task_status};
use resources::WireForm;

use crate::accept::{Accepted, staging};
use crate::master::Master;
use crate::task::Task;
use crate::turn::Turn;
use crate::validation::group as validation;

impl Master {
    /// Launches a group if all of it is valid and what remains of the offers is enough; if not, each of its
    /// tasks is told why. A group of no tasks is dropped: nobody could be told of it.
    pub(crate) fn launch_group(
        &mut self,
        turn: &mut Turn<'_>,
        accepted: &mut Accepted,
        mut launch: LaunchGroup,
    ) {
        if launch.task_group.tasks.is_empty() {
            return self.counters.count("dropped_messages");
        }
        for task in &mut launch.task_group.tasks {
            // Operators find a task's executor by it.
            task.executor.get_or_insert_with(|| launch.executor.clone());
        }
        let (framework, agent) = (&self.frameworks[&accepted.framework], &self.agents[&accepted.agent]);
        let LaunchGroup { executor, task_group } = &launch;
        let (role, available) = (&accepted.role, &accepted.remaining);
        let valid = match validation::validate(task_group, executor, framework, agent, role, available) {
            Ok(valid) => valid,
            Err(text) => {
                let (state, reason) = (TaskState::TaskError, task_status::Reason::TaskGroupInvalid);
                for task in &task_group.tasks {
                    self.refuse_task(turn, &accepted.framework, task, state, reason, &text);
                }
                return;
            }
        };
        accepted.remaining.subtract(&valid.total).expect("validation compares with what remains");

        launch.executor.resources = valid.executor.to_wire(WireForm::Refined);
        if valid.is_new_executor {
            let executor = launch.executor.clone();
            self.add_executor(&accepted.agent, &accepted.framework, executor, valid.executor);
        }
        for (task, resources) in launch.task_group.tasks.iter_mut().zip(valid.tasks) {
            task.resources = resources.to_wire(WireForm::Refined);
            task.executor = Some(launch.executor.clone());
            let info = staging(&accepted.framework, task);
            self.add_task(turn, Task { info, resources, holds_resources: true });
        }
        let framework =
            self.frameworks.get_mut(&accepted.framework).expect("a subscribed framework is known");
        framework.metrics.operations.count(operation::Type::LaunchGroup);
        let run = RunTaskGroup {
            framework: Some((*framework.info).clone()),
            executor: Some(launch.executor),
            task_group: Some(launch.task_group),
        };
        // Offers of a disconnected agent were taken back, so that it is connected.
        if let Some(conn) = self.agents[&accepted.agent].conn {
            turn.tell_agent(conn, Body::RunTaskGroup(run));
        }
    }
}
