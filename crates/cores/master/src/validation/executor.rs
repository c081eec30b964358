//! Executors that frameworks bring along. Mesos: src/master/validation.cpp, namespace executor.

use base::ExecutorId;
use mesos_proto::v1::{ExecutorInfo, executor_info};
use resources::Resources;

use crate::agent::Agent;
use crate::framework::Framework;
use crate::validation::container::{validate_command, validate_container};
use crate::validation::task::{shares_cgroups, validate_gpus, validate_revocable, validate_role};
use crate::validation::validate_id;

/// Whether a task or a group may bring this executor along; if so, whether it is a new one.
/// Mesos: validation::executor::internal::validate.
pub(super) fn validate(
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
    Ok(known.is_none())
}

/// What else holds for the executor of a task that comes alone.
/// Mesos: validation::task::internal::validateExecutor.
pub(super) fn validate_custom(executor: &ExecutorInfo) -> Result<(), String> {
    if executor.r#type.is_some_and(|kind| kind != executor_info::Type::Custom as i32) {
        return Err("'ExecutorInfo.type' must be 'CUSTOM'".to_owned());
    }
    if executor.command.is_none() {
        return Err("'ExecutorInfo.command' must be set".to_owned());
    }
    validate_shares(executor)
}

/// An executor's container is nobody's child.
pub(super) fn validate_shares(executor: &ExecutorInfo) -> Result<(), String> {
    if shares_cgroups(executor.container.as_ref()) == Some(true) {
        return Err("The 'share_cgroups' field cannot be set to 'true' on executor containers".to_owned());
    }
    Ok(())
}

/// Whether two descriptions with these resources, as read, are of the same executor.
pub(super) fn is_same(a: &ExecutorInfo, of_a: &Resources, b: &ExecutorInfo, of_b: &Resources) -> bool {
    let without = |info: &ExecutorInfo| ExecutorInfo { resources: Vec::new(), ..info.clone() };
    of_a == of_b && without(a) == without(b)
}
