//! Offers and executors as `/state` shows them. Mesos: src/common/http.cpp.

use api_mesos::json::Object;
use api_mesos::messages::{write_command, write_labels, write_resources};
use master_core::{Executor, Offer};

/// An outstanding offer as in a framework's `offers`.
pub(crate) fn write_offer(o: &mut Object<'_>, offer: &Offer) {
    o.field("id", offer.id.as_str())
        .field("framework_id", offer.framework_id.as_str())
        .object("allocation_info", |o| {
            o.field("role", &*offer.role);
        })
        .field("slave_id", offer.agent_id.as_str())
        .object("resources", |o| write_resources(o, &offer.resources));
}

/// An executor as in a framework's `executors`.
pub(crate) fn write_executor(o: &mut Object<'_>, executor: &Executor, agent_id: &str) {
    let (resources, executor) = (&executor.resources, &executor.info);
    o.field("executor_id", &*executor.executor_id.value)
        .field("name", executor.name.as_deref().unwrap_or(""))
        .field("framework_id", executor.framework_id.as_ref().map_or("", |id| &id.value))
        .object("command", |o| write_command(o, executor.command.as_ref()))
        .object("resources", |o| write_resources(o, resources));
    if !resources.is_empty() {
        o.field("role", resources.allocation_role().map_or("", |role| role));
    }
    if let Some(labels) = &executor.labels {
        o.array("labels", |list| write_labels(list, labels));
    }
    if executor.r#type.is_some() {
        o.field("type", executor.r#type().as_str_name());
    }
    o.field("slave_id", agent_id);
}
