//! Groups of tasks that share an executor. Mesos: src/master/validation.cpp, namespace group.

use std::collections::BTreeSet;

use mesos_proto::v1::{
    ContainerInfo, ExecutorInfo, TaskGroupInfo, TaskInfo, container_info, executor_info, health_check,
};
use resources::{Resources, Scalar};

use crate::agent::Agent;
use crate::framework::Framework;
use crate::validation::container::validate_command;
use crate::validation::executor::{self, is_same};
use crate::validation::task::{overlap, read, shares_cgroups, validate_alone, validate_revocable};

/// The least an executor of a group may have, in cores (Mesos: `MIN_CPUS`) ...
const MIN_CPUS: f64 = 0.01;
/// ... and in MiB (Mesos: `MIN_MEM`).
const MIN_MEM: f64 = 32.0;

/// What a valid group takes.
#[derive(Debug)]
pub(crate) struct ValidGroup {
    /// The tasks' own resources, in their order, allocated to the offers' role.
    pub(crate) tasks: Vec<Resources>,
    /// Those of the executor.
    pub(crate) executor: Resources,
    /// What the group takes of the offers: an executor that runs already takes nothing.
    pub(crate) total: Resources,
    /// Whether the executor has to be started.
    pub(crate) is_new_executor: bool,
}

/// Whether a group can be launched as a whole with what remains of the offers. The checks come in Mesos'
/// order, because it tells only the first that fails. Mesos: validation::task::group::validate.
pub(crate) fn validate(
    group: &TaskGroupInfo,
    executor: &ExecutorInfo,
    framework: &Framework,
    agent: &Agent,
    role: &str,
    available: &Resources,
) -> Result<ValidGroup, String> {
    let executor_resources = read(&executor.resources, role)?;
    let tasks = group.tasks.iter().map(|task| read(&task.resources, role)).collect::<Result<Vec<_>, _>>()?;
    let mut ids = BTreeSet::new();
    for (task, resources) in group.tasks.iter().zip(&tasks) {
        // Mesos does not look for this one and ends with a failed check.
        let twice = !ids.insert(&task.task_id.value);
        let twice = twice.then(|| format!("Task has duplicate ID: {}", task.task_id.value));
        twice
            .map_or(Ok(()), Err)
            .and_then(|()| validate_task(task, resources, framework, agent))
            .map_err(|error| format!("Task '{}' is invalid: {error}", task.task_id.value))?;
    }
    let is_new_executor = executor::validate(executor, &executor_resources, framework, agent)?;
    validate_executor(group, executor, &executor_resources, role)?;
    validate_together(&tasks, &executor_resources)?;
    let mut total = tasks.iter().fold(Resources::new(), |sum, resources| sum + resources);
    if is_new_executor {
        total += &executor_resources;
    }
    if !available.contains(&total) {
        return Err(format!(
            "Total resources {total} required by task group and its executor are more than available {available}"
        ));
    }
    if let Some(command) = &executor.command {
        validate_command(command).map_err(|error| {
            // Without a space between, as Mesos says it.
            format!("Executor '{}'contains an invalid command: {error}", executor.executor_id.value)
        })?;
    }
    executor::validate_shares(executor)?;
    validate_share_cgroups(group, executor, framework, agent)?;
    Ok(ValidGroup { tasks, executor: executor_resources, total, is_new_executor })
}

fn validate_task(
    task: &TaskInfo,
    resources: &Resources,
    framework: &Framework,
    agent: &Agent,
) -> Result<(), String> {
    validate_alone(task, resources, framework, agent)?;
    if let Some(container) = &task.container {
        let is_probed = task.health_check.as_ref().is_some_and(|check| {
            matches!(check.r#type(), health_check::Type::Http | health_check::Type::Tcp)
        });
        if !container.network_infos.is_empty() && is_probed {
            return Err("HTTP and TCP health checks are not supported for nested containers not joining \
                        parent's network"
                .to_owned());
        }
        if container.r#type() == container_info::Type::Docker {
            return Err("Docker ContainerInfo is not supported on the task".to_owned());
        }
    }
    if !task.limits.is_empty() && shares(task.container.as_ref()) {
        return Err(
            "Resource limits may only be set for tasks within a task group when the 'share_cgroups' \
                    field is set to 'false'."
                .to_owned(),
        );
    }
    Ok(())
}

/// Mesos: `internal::validateExecutor`, up to the sums.
fn validate_executor(
    group: &TaskGroupInfo,
    executor: &ExecutorInfo,
    resources: &Resources,
    role: &str,
) -> Result<(), String> {
    let id = &executor.executor_id.value;
    match executor.r#type.map(executor_info::Type::try_from) {
        None => return Err("'ExecutorInfo.type' must be set".to_owned()),
        Some(Ok(executor_info::Type::Unknown) | Err(_)) => return Err("Unknown executor type".to_owned()),
        Some(Ok(executor_info::Type::Default | executor_info::Type::Custom)) => {}
    }
    if executor.container.as_ref().is_some_and(|it| it.r#type() == container_info::Type::Docker) {
        return Err("Docker ContainerInfo is not supported on the executor".to_owned());
    }
    for task in &group.tasks {
        let Some(own) = &task.executor else { continue };
        if !is_same(own, &read(&own.resources, role)?, executor, resources) {
            return Err(format!(
                "The `ExecutorInfo` of task '{}' is different from executor '{id}'",
                task.task_id.value
            ));
        }
    }
    let cpus = resources.cpus();
    if cpus.to_f64() < MIN_CPUS {
        let found = if cpus == Scalar::ZERO { "None".to_owned() } else { cpus.to_string() };
        return Err(format!(
            "Executor '{id}' uses less CPUs ({found}) than the minimum required ({MIN_CPUS})"
        ));
    }
    let mem = resources.mem();
    if mem.to_f64() < MIN_MEM {
        // Mesos counts memory in whole MiB.
        let found = match mem.thousandths() {
            0 => "None".to_owned(),
            1..1000 => "0B".to_owned(),
            more => format!("{}MB", more / 1000),
        };
        return Err(format!(
            "Executor '{id}' uses less memory ({found}) than the minimum required ({MIN_MEM}MB)"
        ));
    }
    match resources.disk() == Scalar::ZERO {
        true => Err(format!("Executor '{id}' uses no disk")),
        false => Ok(()),
    }
}

/// Mesos: `internal::validateTaskGroupAndExecutorResources`.
fn validate_together(tasks: &[Resources], executor: &Resources) -> Result<(), String> {
    let total = tasks.iter().fold(executor.clone(), |sum, resources| sum + resources);
    validate_revocable(&total).map_err(|error| {
        format!("Task group and executor mix revocable and non-revocable resources: {error}")
    })?;
    let parts: Vec<&Resources> = tasks.iter().chain([executor]).collect();
    if overlap(&parts) {
        let tasks: Vec<String> = tasks.iter().map(ToString::to_string).collect();
        return Err(format!(
            "There are overlapping resources in the task group's task resources [ {} ] and/or executor \
             resources {executor}",
            tasks.join(", ")
        ));
    }
    Ok(())
}

/// Below one executor either all containers share its cgroups or none does.
/// Mesos: `internal::validateShareCgroups`.
fn validate_share_cgroups(
    group: &TaskGroupInfo,
    executor: &ExecutorInfo,
    framework: &Framework,
    agent: &Agent,
) -> Result<(), String> {
    let id = &executor.executor_id.value;
    // Running or terminal or unreachable: Mesos asks all of them.
    let of_executor = |task: &&crate::Task| {
        task.agent_id() == agent.id && task.info.executor_id.as_ref().is_some_and(|it| it.value == *id)
    };
    let is_known = agent
        .executors
        .get(&framework.id)
        .is_some_and(|executors| executors.keys().any(|known| known.as_str() == id));
    let known = framework.tasks.values().chain(framework.unreachable_tasks.values());
    let known = known.filter(|_| is_known).filter(of_executor).map(|task| task.info.container.as_ref());
    let mut all = group.tasks.iter().map(|task| task.container.as_ref()).chain(known).map(shares);
    let first = all.next();
    match all.any(|shared| Some(shared) != first) {
        true => Err("If set, the value of 'share_cgroups' must be the same for all tasks in each task \
                     group and under a single executor"
            .to_owned()),
        false => Ok(()),
    }
}

fn shares(container: Option<&ContainerInfo>) -> bool {
    shares_cgroups(container).unwrap_or(true)
}
