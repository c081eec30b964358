use base::{ExecutorId, TaskId};
use mesos_proto::v1::{self, ExecutorInfo, TaskInfo, executor_info};
use resources::{Resources, Scalar};

use crate::agent::Agent;
use crate::framework::Framework;
use crate::validation::container::{
    validate_check, validate_command, validate_container, validate_health_check,
};
use crate::validation::validate_id;

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
    validate_ids(task, framework, agent)?;
    validate_policies(task)?;
    validate_resources(&task.resources, &resources)?;
    if let Some(command) = &task.command {
        validate_command(command).map_err(|error| format!("Task's `CommandInfo` is invalid: {error}"))?;
    }
    if let Some(container) = &task.container {
        validate_container(container)
            .map_err(|error| format!("Task's `ContainerInfo` is invalid: {error}"))?;
    }
    validate_limits(task, &resources, agent)?;
    if task.executor.is_some() == task.command.is_some() {
        return Err(
            "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present".to_owned()
        );
    }
    let mut total = resources.clone();
    let mut is_new_executor = false;
    if let Some(executor) = executor {
        is_new_executor = validate_executor(executor, &executor_resources, framework, agent)?;
        if overlap(&resources, &executor_resources) {
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

/// Resources of a call; what does not name a role is allocated to that of the offers.
fn read(list: &[v1::Resource], role: &str) -> Result<Resources, String> {
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

fn validate_gpus(resources: &Resources) -> Result<(), String> {
    match resources.gpus().thousandths() % 1000 {
        0 => Ok(()),
        _ => Err("Invalid 'gpus' resource: The 'gpus' resource must be an unsigned integer".to_owned()),
    }
}

fn validate_role(resources: &Resources) -> Result<(), String> {
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

fn validate_revocable(resources: &Resources) -> Result<(), String> {
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

/// Whether a task may bring this executor along; if so, whether it is a new one.
fn validate_executor(
    executor: &ExecutorInfo,
    resources: &Resources,
    framework: &Framework,
    agent: &Agent,
) -> Result<bool, String> {
    let kind = executor.r#type.and_then(|kind| executor_info::Type::try_from(kind).ok());
    if kind == Some(executor_info::Type::Default) && executor.command.is_some() {
        return Err("'ExecutorInfo.command' must not be set for 'DEFAULT' executor".to_owned());
    }
    if kind == Some(executor_info::Type::Custom) && executor.command.is_none() {
        return Err("'ExecutorInfo.command' must be set for 'CUSTOM' executor".to_owned());
    }
    validate_id(&executor.executor_id.value)?;
    if executor.shutdown_grace_period.as_ref().is_some_and(|period| period.nanoseconds < 0) {
        return Err("ExecutorInfo's 'shutdown_grace_period' must be non-negative".to_owned());
    }
    if let Some(command) = &executor.command {
        validate_command(command).map_err(|error| format!("Executor's `CommandInfo` is invalid: {error}"))?;
    }
    if let Some(container) = &executor.container {
        validate_container(container)
            .map_err(|error| format!("Executor's `ContainerInfo` is invalid: {error}"))?;
    }
    let said = executor.framework_id.as_ref().map_or("", |id| &id.value);
    if said != framework.id.as_str() {
        return Err(format!(
            "ExecutorInfo has an invalid FrameworkID (Actual: {said} vs Expected: {})",
            framework.id
        ));
    }
    validate_gpus(resources).map_err(|error| format!("Executor uses invalid resources: {error}"))?;
    validate_role(resources).map_err(|error| format!("Invalid executor resources: {error}"))?;
    validate_revocable(resources)
        .map_err(|error| format!("Executor mixes revocable and non-revocable resources: {error}"))?;
    let known = agent.executors.get(&framework.id);
    let known = known.and_then(|all| all.get(&ExecutorId::from(executor.executor_id.value.as_str())));
    if let Some(known) = known.filter(|known| !is_same(executor, resources, &known.info, &known.resources)) {
        let line = "------------------------------------------------------------";
        return Err(format!(
            "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\n{line}\n\
             Existing ExecutorInfo:\n{}\n{line}\nExecutorInfo:\n{}\n{line}\n",
            mesos_proto::json::to_json(&*known.info),
            mesos_proto::json::to_json(executor)
        ));
    }
    if kind.is_some_and(|kind| kind != executor_info::Type::Custom) {
        return Err("'ExecutorInfo.type' must be 'CUSTOM'".to_owned());
    }
    if executor.command.is_none() {
        return Err("'ExecutorInfo.command' must be set".to_owned());
    }
    if shares_cgroups(executor.container.as_ref()) == Some(true) {
        return Err("The 'share_cgroups' field cannot be set to 'true' on executor containers".to_owned());
    }
    Ok(known.is_none())
}

fn is_same(a: &ExecutorInfo, of_a: &Resources, b: &ExecutorInfo, of_b: &Resources) -> bool {
    let without = |info: &ExecutorInfo| ExecutorInfo { resources: Vec::new(), ..info.clone() };
    of_a == of_b && without(a) == without(b)
}

/// Whether ranges or sets have something in common: then the sum is less than the parts.
fn overlap(a: &Resources, b: &Resources) -> bool {
    let sum = a.clone() + b;
    let (parts_a, parts_b) = (a.quantities(), b.quantities());
    sum.quantities().into_iter().any(|(name, amount)| {
        let part =
            |parts: &std::collections::BTreeMap<&str, Scalar>| parts.get(name).copied().unwrap_or_default();
        part(&parts_a).plus(part(&parts_b)) != amount
    })
}

fn shares_cgroups(container: Option<&v1::ContainerInfo>) -> Option<bool> {
    container?.linux_info.as_ref()?.share_cgroups
}
