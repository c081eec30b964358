use agent_link::Hello;
use resources::Resources;

use crate::validation::validate_id;

/// Whether an agent's Hello makes sense. Mesos: validation::master::message::reregisterSlave.
pub(crate) fn validate(hello: &Hello) -> Result<(), String> {
    let agent = hello.agent.as_ref().ok_or("the Hello has no agent")?;
    if agent.hostname.is_empty() {
        return Err("the agent has no hostname".to_owned());
    }
    let id = agent.id.as_ref().map(|id| id.value.as_str());
    if let Some(id) = id {
        validate_id(id).map_err(|error| format!("the agent has an invalid id: {error}"))?;
    }
    for (name, list) in [("total", &hello.total), ("agent.resources", &agent.resources)] {
        Resources::from_wire(list).map_err(|error| format!("{name}: {error}"))?;
    }
    for operation in &hello.operations {
        let uuid = operation.uuid.value.len();
        if uuid != 16 {
            return Err(format!("an operation of the agent has a uuid of {uuid} bytes"));
        }
    }
    for framework in &hello.frameworks {
        let id = framework.id.as_ref().map_or("", |id| &id.value);
        validate_id(id).map_err(|error| format!("a framework of the agent has an invalid id: {error}"))?;
    }
    for executor in &hello.executors {
        let info = executor.executor.as_ref().ok_or("an executor of the agent has no description")?;
        let name = &info.executor_id.value;
        validate_id(name).map_err(|error| format!("an executor of the agent has an invalid id: {error}"))?;
        Resources::from_wire(&info.resources).map_err(|error| format!("executor '{name}': {error}"))?;
    }
    for task in &hello.tasks {
        let name = &task.task_id.value;
        validate_id(name).map_err(|error| format!("Task has an invalid TaskID: {error}"))?;
        if Some(task.agent_id.value.as_str()) != id {
            return Err(format!("Task '{name}' has an invalid SlaveID '{}'", task.agent_id.value));
        }
        Resources::from_wire(&task.resources)
            .map_err(|error| format!("Task uses invalid resources: {error}"))?;
    }
    Ok(())
}
