//! What this agent can run. What it cannot is refused by name: a field must never be ignored silently.

use mesos_proto::v1::environment::variable;
use mesos_proto::v1::{CommandInfo, ContainerInfo, ExecutorInfo, TaskInfo, container_info, executor_info};

/// The longest id that can name a directory.
const MAX_ID: usize = 255;

/// Why the task cannot run here, if so.
pub(crate) fn refusal(task: &TaskInfo) -> Option<String> {
    let id = &task.task_id.value;
    if let Some(what) = bad_id(id) {
        return Some(format!("Task ID '{id}' {what}"));
    }
    if let Some(executor) = &task.executor {
        return of_executor(executor);
    }
    let Some(command) = &task.command else {
        return Some(format!("Task '{id}' has neither 'command' nor 'executor'"));
    };
    of_command(command, "command")
        .or_else(|| task.container.as_ref().and_then(|container| of_container(container, "container")))
}

fn of_executor(executor: &ExecutorInfo) -> Option<String> {
    let id = &executor.executor_id.value;
    if let Some(what) = bad_id(id) {
        return Some(format!("Executor ID '{id}' {what}"));
    }
    if executor.r#type() == executor_info::Type::Default {
        return Some(unsupported("executor.type", "DEFAULT"));
    }
    match &executor.command {
        None => return Some(format!("Executor '{id}' has no 'command'")),
        Some(command) => of_command(command, "executor.command"),
    }
    .or_else(|| {
        executor.container.as_ref().and_then(|container| of_container(container, "executor.container"))
    })
}

fn of_command(command: &CommandInfo, field: &str) -> Option<String> {
    if let Some(uri) = command.uris.first() {
        return Some(unsupported(&format!("{field}.uris"), &uri.value));
    }
    let mut variables = command.environment.iter().flat_map(|environment| &environment.variables);
    let secret = variables.find(|variable| variable.r#type() == variable::Type::Secret)?;
    Some(unsupported(&format!("{field}.environment"), &format!("the secret {}", secret.name)))
}

fn of_container(container: &ContainerInfo, field: &str) -> Option<String> {
    if container.docker.is_some() {
        return Some(unsupported(&format!("{field}.docker"), "an image"));
    }
    if container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some()) {
        return Some(unsupported(&format!("{field}.mesos.image"), "an image"));
    }
    if let Some(volume) = container.volumes.first() {
        return Some(unsupported(&format!("{field}.volumes"), &volume.container_path));
    }
    if let Some(network) = container.network_infos.iter().find_map(|info| info.name.as_ref()) {
        return Some(unsupported(&format!("{field}.network_infos.name"), network));
    }
    if container.r#type() == container_info::Type::Docker {
        return Some(unsupported(&format!("{field}.type"), "DOCKER"));
    }
    if let Some(hostname) = &container.hostname {
        return Some(unsupported(&format!("{field}.hostname"), hostname));
    }
    if container.rlimit_info.is_some() {
        return Some(unsupported(&format!("{field}.rlimit_info"), "limits"));
    }
    if container.tty_info.is_some() {
        return Some(unsupported(&format!("{field}.tty_info"), "a terminal"));
    }
    let linux = container.linux_info.as_ref()?;
    if linux.share_pid_namespace() {
        return Some(unsupported(&format!("{field}.linux_info.share_pid_namespace"), "true"));
    }
    if linux.ipc_mode.is_some() || linux.shm_size.is_some() {
        return Some(unsupported(&format!("{field}.linux_info"), "ipc_mode or shm_size"));
    }
    if linux.capability_info.is_some()
        || linux.bounding_capabilities.is_some()
        || linux.effective_capabilities.is_some()
    {
        return Some(unsupported(&format!("{field}.linux_info"), "capabilities"));
    }
    if linux.seccomp.is_some() {
        return Some(unsupported(&format!("{field}.linux_info.seccomp"), "a profile"));
    }
    None
}

fn unsupported(field: &str, found: &str) -> String {
    format!("Task uses '{field}' ({found}), which this agent does not support")
}

/// Ids name directories of the sandbox (Mesos: `common::validation::validateID`).
fn bad_id(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        return Some("must not be empty");
    }
    if id.len() > MAX_ID {
        return Some("must not be greater than 255 characters");
    }
    if id == "." || id == ".." {
        return Some("is disallowed");
    }
    if id.chars().any(|c| c == '/' || c == '\\' || c.is_control()) {
        return Some("contains invalid characters");
    }
    None
}

/// The same for ids that come apart from a task.
pub(crate) fn is_path_safe(id: &str) -> bool {
    bad_id(id).is_none()
}
