//! What must always hold.

use crate::{Agent, Executor, ExecutorState, Framework};

impl Agent {
    /// Asserts what must hold between any two inputs.
    ///
    /// # Panics
    /// When it does not: a defect in this crate.
    pub fn check(&self) {
        assert!(self.completed_frameworks.len() <= self.config.max_completed_frameworks);
        assert!(self.draining.is_none() || !self.frameworks.is_empty(), "what is empty is drained");
        self.check_operations();
        let mut executors = 0;
        for (framework_id, framework) in &self.frameworks {
            assert_eq!(framework.id(), *framework_id);
            assert!(
                !framework.is_idle() || framework.terminating,
                "{framework_id} should be among the completed"
            );
            executors += framework.executors.len();
            self.check_framework(framework);
        }
        assert_eq!(executors, self.containers.len(), "each executor has its container");
        for (connection, container_id) in &self.connections {
            let executor = self.executor_in(container_id).expect("a connection belongs to an executor");
            assert_eq!(executor.connection, Some(*connection));
        }
        for framework in &self.completed_frameworks {
            assert!(framework.is_idle() && framework.tasks.is_empty());
            assert!(!self.frameworks.contains_key(&framework.id()));
        }
    }

    fn check_framework(&self, framework: &Framework) {
        assert!(framework.completed.len() <= self.config.max_completed_executors);
        for (executor_id, executor) in &framework.executors {
            assert_eq!(executor.id(), executor_id);
            let place = (framework.id(), executor_id.clone());
            assert_eq!(self.containers.get(executor.container_id()), Some(&place));
            check_executor(framework, executor);
        }
        for (task_id, executor_id) in &framework.tasks {
            let executor = framework.executors.get(executor_id).expect("a task's executor exists");
            assert!(executor.tasks.contains_key(task_id), "{task_id} is in {executor_id}");
        }
        for (task_id, stream) in &framework.streams {
            assert!(!stream.is_over(), "{task_id} is done with");
            let waits = stream.retry.is_some();
            assert_eq!(
                waits,
                self.registered && stream.first().is_some(),
                "{task_id} is sent until acknowledged"
            );
        }
    }
}

fn check_executor(framework: &Framework, executor: &Executor) {
    let all_over = executor.tasks.values().all(|task| task.is_over());
    if executor.state == ExecutorState::Terminated {
        assert!(all_over || framework.terminating, "an ended executor has no living task");
        assert!(!executor.tasks.is_empty(), "{} should be among the completed", executor.id());
        assert!(executor.connection.is_none());
    }
    for (task_id, task) in &executor.tasks {
        assert_eq!(framework.tasks.get(task_id), Some(executor.id()));
        let queued = executor.queue.iter().filter(|queued| *queued == task_id).count();
        assert_eq!(queued, usize::from(task.is_queued()), "{task_id} is queued once or not at all");
        if task.is_over() && !framework.terminating {
            assert!(framework.streams.contains_key(task_id), "the end of {task_id} is on its way");
        }
        assert!(!task.is_queued() || task.info.is_some(), "{task_id} can still be sent");
    }
    assert!(executor.queue.iter().all(|queued| executor.tasks.contains_key(queued)));
}
