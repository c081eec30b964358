use std::collections::BTreeMap;

use base::TaskId;
use mesos_proto::v1::{self, TaskInfo};
use resources::{Resources, Scalar};

use crate::agent::Agent;
use crate::framework::Framework;
use crate::validation::container::{
    validate_check, validate_command, validate_container, validate_health_check,
};
use crate::validation::{executor, validate_id};

/// What a valid task takes.
#[derive(Debug)]
pub(crate) struct ValidTask {
    /// The task's own resources, allocated to the offers' role.
    pub(crate) task: Resources,
    /// Those of its executor; empty for a command task.
    pub(crate) executor: Resources,
    /// What it takes of the offers: an executor that runs already takes nothing.
    pub(crate) total: Resources,
    /// Whether its executor has to be started.
    pub(crate) is_new_executor: bool,
}

/// Whether a task can be launched on an agent with what remains of the offers. The checks come in Mesos'
/// order, because it tells only the first that fails. Mesos: validation::task::validate.
pub(crate) fn validate(
    task: &TaskInfo,
    framework: &Framework,
    agent: &Agent,
    role: &str,
    available: &Resources,
) -> Result<ValidTask, String> {
    let executor = task.executor.as_ref();
    let resources = read(&task.resources, role)?;
    let executor_resources = read(executor.map_or(&[][..], |executor| &executor.resources), role)?;
    validate_alone(task, &resources, framework, agent)?;
    if task.executor.is_some() == task.command.is_some() {
        return Err(
            "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present".to_owned()
        );
    }
    let mut total = resources.clone();
    let mut is_new_executor = false;
    if let Some(executor) = executor {
        is_new_executor = executor::validate(executor, &executor_resources, framework, agent)?;
        executor::validate_custom(executor)?;
        if overlap(&[&resources, &executor_resources]) {
            return Err(format!(
                "There are overlapping resources in the task resources {resources} and executor resources \
                 {executor_resources}"
            ));
        }
        if is_new_executor {
            total += &executor_resources;
        }
    }
    if !available.contains(&total) {
        return Err(format!(
            "Total resources {total} required by task and its executor is more than available {available}"
        ));
    }
    if shares_cgroups(task.container.as_ref()) == Some(false) {
        return Err("Only tasks in a task group may have 'share_cgroups' set to 'false'".to_owned());
    }
    Ok(ValidTask { task: resources, executor: executor_resources, total, is_new_executor })
}

/// What holds for a task whether it comes alone or in a group. `resources` are its own, as read.
/// Mesos: validation::task::internal::validateTask.
pub(super) fn validate_alone(
    task: &TaskInfo,
    resources: &Resources,
    framework: &Framework,
    agent: &Agent,
) -> Result<(), String> {
    validate_ids(task, framework, agent)?;
    validate_policies(task)?;
    validate_resources(&task.resources, resources)?;
    if let Some(command) = &task.command {
        validate_command(command).map_err(|error| format!("Task's `CommandInfo` is invalid: {error}"))?;
    }
    if let Some(container) = &task.container {
        validate_container(container)
            .map_err(|error| format!("Task's `ContainerInfo` is invalid: {error}"))?;
    }
    validate_limits(task, resources, agent)
}

/// Resources of a call; what does not name a role is allocated to that of the offers.
pub(super) fn read(list: &[v1::Resource], role: &str) -> Result<Resources, String> {
    let mut list = list.to_vec();
    for resource in &mut list {
        let info = resource.allocation_info.get_or_insert_default();
        info.role.get_or_insert_with(|| role.to_owned());
    }
    Resources::from_wire(&list).map_err(|error| error.to_string())
}

fn validate_ids(task: &TaskInfo, framework: &Framework, agent: &Agent) -> Result<(), String> {
    validate_id(&task.task_id.value)?;
    let id = TaskId::from(task.task_id.value.as_str());
    if framework.tasks.contains_key(&id) {
        return Err(format!("Task has duplicate ID: {id}"));
    }
    if framework.unreachable_tasks.contains_key(&id) {
        return Err(format!("Task reuses the ID of an unreachable task: {id}"));
    }
    if task.agent_id.value != agent.id.as_str() {
        return Err(format!(
            "Task uses invalid agent {} while agent {} is expected",
            task.agent_id.value, agent.id
        ));
    }
    Ok(())
}

fn validate_policies(task: &TaskInfo) -> Result<(), String> {
    let is_negative = |duration: Option<&v1::DurationInfo>| duration.is_some_and(|it| it.nanoseconds < 0);
    if is_negative(task.kill_policy.as_ref().and_then(|policy| policy.grace_period.as_ref())) {
        return Err("Task's 'kill_policy.grace_period' must be non-negative".to_owned());
    }
    if is_negative(task.max_completion_time.as_ref()) {
        return Err("Task's `max_completion_time` must be non-negative".to_owned());
    }
    if let Some(check) = &task.check {
        validate_check(check).map_err(|error| format!("Task uses invalid check: {error}"))?;
    }
    if let Some(check) = &task.health_check {
        validate_health_check(check).map_err(|error| format!("Task uses invalid health check: {error}"))?;
    }
    Ok(())
}

fn validate_resources(list: &[v1::Resource], resources: &Resources) -> Result<(), String> {
    if list.is_empty() {
        return Err("Task uses no resources".to_owned());
    }
    validate_gpus(resources).map_err(|error| format!("Task uses invalid resources: {error}"))?;
    validate_role(resources).map_err(|error| format!("Invalid task resources: {error}"))?;
    validate_revocable(resources)
        .map_err(|error| format!("Task mixes revocable and non-revocable resources: {error}"))
}

pub(super) fn validate_gpus(resources: &Resources) -> Result<(), String> {
    match resources.gpus().thousandths() % 1000 {
        0 => Ok(()),
        _ => Err("Invalid 'gpus' resource: The 'gpus' resource must be an unsigned integer".to_owned()),
    }
}

/// Mesos: validateAllocatedToSingleRole. All of them are allocated.
pub(super) fn validate_role(resources: &Resources) -> Result<(), String> {
    let mut roles = resources.iter().filter_map(|resource| resource.identity().allocation.as_ref());
    let Some(first) = roles.next() else { return Ok(()) };
    match roles.find(|role| *role != first) {
        Some(other) => Err(format!(
            "The resources have multiple allocation roles ('{other}' and '{first}') but only one allocation \
             role is allowed"
        )),
        None => Ok(()),
    }
}

pub(super) fn validate_revocable(resources: &Resources) -> Result<(), String> {
    let (revocable, other) = (resources.revocable(), resources.non_revocable());
    let mixed = revocable.iter().find(|resource| other.iter().any(|it| it.name() == resource.name()));
    match mixed {
        Some(resource) => {
            Err(format!("Cannot use both revocable and non-revocable '{}' at the same time", resource.name()))
        }
        None => Ok(()),
    }
}

fn validate_limits(task: &TaskInfo, resources: &Resources, agent: &Agent) -> Result<(), String> {
    if task.limits.is_empty() {
        return Ok(());
    }
    if !agent.capabilities.iter().any(|capability| capability == "TASK_RESOURCE_LIMITS") {
        return Err("Agent is not capable of handling task resource limits".to_owned());
    }
    if task.limits.keys().any(|name| !matches!(name.as_str(), "cpus" | "mem")) {
        return Err("Only cpus and mem may be included in a task's resource limits".to_owned());
    }
    for (name, limited, requested) in [("cpus", "cpu", resources.cpus()), ("mem", "memory", resources.mem())]
    {
        let Some(limit) = task.limits.get(name) else { continue };
        if requested == Scalar::ZERO {
            let shown = if limited == "cpu" { "CPU" } else { limited };
            return Err(format!(
                "When a {shown} limit is specified, a {shown} request must also be specified"
            ));
        }
        if limit.value.is_nan() || limit.value < requested.to_f64() {
            return Err(format!(
                "The {limited} limit must be greater than or equal to the {limited} request"
            ));
        }
    }
    Ok(())
}

/// Whether ranges or sets have something in common: then the sum is less than the parts.
pub(super) fn overlap(parts: &[&Resources]) -> bool {
    let sum = parts.iter().fold(Resources::new(), |sum, part| sum + *part);
    let mut amounts = BTreeMap::<String, Scalar>::new();
    for (name, amount) in parts.iter().flat_map(|part| part.quantities()) {
        let known = amounts.entry(name.to_owned()).or_default();
        *known = known.plus(amount);
    }
    sum.quantities().into_iter().any(|(name, amount)| amounts.get(name) != Some(&amount))
}

/// What a container says of sharing its parent's cgroups; nothing if it does not.
pub(super) fn shares_cgroups(container: Option<&v1::ContainerInfo>) -> Option<bool> {
    container?.linux_info.as_ref()?.share_cgroups
}
