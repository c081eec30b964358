//! What this agent can run. What it cannot is refused by name: a field must never be ignored silently.

use mesos_proto::v1::environment::variable;
use mesos_proto::v1::{CommandInfo, ExecutorInfo, Resource, TaskInfo, executor_info};
use resources::Resources;

use crate::ContainerPlan;
use crate::plan::unsupported;

/// The longest id that can name a directory.
const MAX_ID: usize = 255;

/// What the task's container is to be: its own, or that of the executor it brings along.
///
/// # Errors
/// Why the task cannot run here.
pub(crate) fn plan(task: &TaskInfo) -> Result<ContainerPlan, String> {
    let id = &task.task_id.value;
    if let Some(what) = bad_id(id) {
        return Err(format!("Task ID '{id}' {what}"));
    }
    let plan = match (&task.executor, &task.command) {
        (Some(executor), _) => of_executor(executor)?,
        (None, Some(command)) => {
            check_command(command, "command")?;
            ContainerPlan::of(task.container.as_ref(), "container")?
        }
        (None, None) => return Err(format!("Task '{id}' has neither 'command' nor 'executor'")),
    };
    let own = task.executor.iter().flat_map(|executor| &executor.resources);
    check_ports(&plan, own.chain(&task.resources))?;
    Ok(plan)
}

/// What the container of a group's executor is to be. Those of the tasks come later, one by one, when the
/// executor asks for them.
///
/// # Errors
/// Why the group cannot run here.
pub(crate) fn plan_of_group(executor: &ExecutorInfo, tasks: &[TaskInfo]) -> Result<ContainerPlan, String> {
    for task in tasks {
        let id = &task.task_id.value;
        if let Some(what) = bad_id(id) {
            return Err(format!("Task ID '{id}' {what}"));
        }
        if let Some(command) = &task.command {
            check_command(command, "command")?;
        }
    }
    let plan = of_executor(executor)?;
    let of_tasks = tasks.iter().flat_map(|task| &task.resources);
    check_ports(&plan, executor.resources.iter().chain(of_tasks))?;
    Ok(plan)
}

fn of_executor(executor: &ExecutorInfo) -> Result<ContainerPlan, String> {
    let id = &executor.executor_id.value;
    if let Some(what) = bad_id(id) {
        return Err(format!("Executor ID '{id}' {what}"));
    }
    if executor.r#type() == executor_info::Type::Default {
        return Err(unsupported("executor.type", "DEFAULT"));
    }
    match &executor.command {
        None => return Err(format!("Executor '{id}' has no 'command'")),
        Some(command) => check_command(command, "executor.command")?,
    }
    ContainerPlan::of(executor.container.as_ref(), "executor.container")
}

fn check_command(command: &CommandInfo, field: &str) -> Result<(), String> {
    if command.uris.iter().any(|uri| uri.value.trim().is_empty()) {
        return Err(format!("Task's '{field}.uris' has one that is empty"));
    }
    let mut variables = command.environment.iter().flat_map(|environment| &environment.variables);
    match variables.find(|variable| variable.r#type() == variable::Type::Secret) {
        None => Ok(()),
        Some(secret) => {
            Err(unsupported(&format!("{field}.environment"), &format!("the secret {}", secret.name)))
        }
    }
}

/// Who maps a port of the host must have it, as with Mesos' docker containers: it may be another task's.
fn check_ports<'a>(
    plan: &ContainerPlan,
    resources: impl Iterator<Item = &'a Resource>,
) -> Result<(), String> {
    let mappings = plan.network.port_mappings();
    if mappings.is_empty() {
        return Ok(());
    }
    let all: Vec<Resource> = resources.cloned().collect();
    let ports = Resources::from_wire(&all).map_err(|error| error.to_string())?.ports();
    match mappings.iter().find(|mapping| !ports.has(mapping.host_port.into())) {
        None => Ok(()),
        Some(mapping) => Err(format!("Port [{}] not included in resources", mapping.host_port)),
    }
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
