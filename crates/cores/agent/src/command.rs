//! The executor that is made up for a command task.

use mesos_proto::v1::value::Scalar;
use mesos_proto::v1::{
    self, CommandInfo, DurationInfo, ExecutorInfo, FrameworkInfo, Resource, TaskInfo, executor_info,
    resource, value,
};

/// What an executor of a command task is given beside the task (Mesos: `DEFAULT_EXECUTOR_CPUS`, `_MEM`).
const EXECUTOR_CPUS: f64 = 0.1;
const EXECUTOR_MEM_MIB: f64 = 32.0;

/// A kill takes so much longer than the task's own grace period until the executor is ended by force:
/// the reap interval and a second, as Mesos adds.
const KILL_SLACK_NANOS: i64 = 2_000_000_000;

/// The executor of `task` (Mesos: `Slave::getExecutorInfo`): the task's own or one made up for its command.
pub(crate) fn executor_of(framework: &FrameworkInfo, task: &TaskInfo, program: &str) -> (ExecutorInfo, bool) {
    if let Some(executor) = &task.executor {
        let mut executor = executor.clone();
        executor.framework_id = executor.framework_id.or_else(|| framework.id.clone());
        return (executor, false);
    }
    let command = task.command.clone().unwrap_or_default();
    let grace = task.kill_policy.as_ref().and_then(|policy| policy.grace_period.as_ref());
    let executor = ExecutorInfo {
        executor_id: v1::ExecutorId { value: task.task_id.value.clone() },
        framework_id: framework.id.clone(),
        command: Some(CommandInfo {
            shell: Some(false),
            value: Some(program.to_owned()),
            arguments: vec!["mesos-executor".to_owned()],
            environment: command.environment.clone(),
            user: command.user.clone(),
            ..Default::default()
        }),
        container: task.container.clone(),
        resources: allowance(task),
        name: Some(name_of(task, &command)),
        source: Some(task.task_id.value.clone()),
        labels: task.labels.clone(),
        discovery: task.discovery.clone(),
        shutdown_grace_period: grace
            .map(|grace| DurationInfo { nanoseconds: grace.nanoseconds.saturating_add(KILL_SLACK_NANOS) }),
        ..Default::default()
    };
    (executor, true)
}

/// The executor as it is started: one of type DEFAULT is this agent's own program
/// (Mesos: `defaultExecutorCommandInfo`).
pub(crate) fn runnable(mut executor: ExecutorInfo, program: &str) -> ExecutorInfo {
    if executor.r#type() == executor_info::Type::Default {
        executor.command = Some(CommandInfo {
            shell: Some(false),
            value: Some(program.to_owned()),
            arguments: vec!["mesos-default-executor".to_owned()],
            ..Default::default()
        });
    }
    executor
}

fn allowance(task: &TaskInfo) -> Vec<Resource> {
    let allocation_info = task.resources.iter().find_map(|resource| resource.allocation_info.clone());
    [("cpus", EXECUTOR_CPUS), ("mem", EXECUTOR_MEM_MIB)]
        .into_iter()
        .map(|(name, value)| Resource {
            name: name.to_owned(),
            r#type: value::Type::Scalar as i32,
            scalar: Some(Scalar { value }),
            allocation_info: allocation_info.clone(),
            ..resource_default()
        })
        .collect()
}

fn resource_default() -> Resource {
    Resource {
        provider_id: None::<v1::ResourceProviderId>,
        disk: None::<resource::DiskInfo>,
        ..Default::default()
    }
}

fn name_of(task: &TaskInfo, command: &CommandInfo) -> String {
    let shell = command.shell.unwrap_or(true);
    let what = match (&command.value, shell) {
        (None, true) => "NO COMMAND".to_owned(),
        (None, false) => "NO EXECUTABLE".to_owned(),
        (Some(value), true) => format!("sh -c '{}'", shortened(value)),
        (Some(value), false) => {
            let all = format!("{value}, {}", command.arguments.join(", "));
            format!("[{}]", shortened(&all))
        }
    };
    format!("Command Executor (Task: {}) (Command: {what})", task.task_id.value)
}

/// At most 15 bytes, of longer texts the first 12, at a character's boundary.
fn shortened(text: &str) -> String {
    if text.len() <= 15 {
        return text.to_owned();
    }
    let end = (0..=12).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_its_executor() {
        let check = |shell: Option<bool>, value: Option<&str>, arguments: &[&str], name: &str| {
            let task = TaskInfo {
                task_id: v1::TaskId { value: "t".into() },
                command: Some(CommandInfo {
                    shell,
                    value: value.map(str::to_owned),
                    arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
                    ..Default::default()
                }),
                ..Default::default()
            };
            let (executor, for_command) = executor_of(&FrameworkInfo::default(), &task, "dcos");
            assert!(for_command);
            assert_eq!(executor.executor_id.value, "t");
            assert_eq!(executor.name(), format!("Command Executor (Task: t) (Command: {name})"));
        };
        check(None, Some("exit 7"), &[], "sh -c 'exit 7'");
        check(None, Some("echo hello; sleep 100"), &[], "sh -c 'echo hello; ...'");
        check(None, None, &[], "NO COMMAND");
        check(Some(false), None, &[], "NO EXECUTABLE");
        check(Some(false), Some("/bin/ls"), &["-l"], "[/bin/ls, -l]");
        check(None, Some("ääääääääääää"), &[], "sh -c 'ääääää...'");
    }
}
