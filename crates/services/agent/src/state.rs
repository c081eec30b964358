//! `/state` and `/flags` (Mesos: `Http::state`, `ExecutorWriter`, `FrameworkWriter`).

use std::path::PathBuf;

use agent_core::{Agent, Executor, Framework, TaskRun};
use api_mesos::json::{Array, Object, document};
use api_mesos::messages::{
    write_attributes, write_full, write_labels, write_reserved, write_reserved_full, write_resources,
    write_task,
};
use api_mesos::version;
use mesos_proto::json::write_json;
use mesos_proto::v1::framework_info::capability;
use mesos_proto::v1::{Resource, TaskInfo};
use resources::Resources;

use crate::http::Api;
use crate::mailbox::Stopping;
use crate::sandbox::sandbox_path;

/// What Mesos' agents of this version can do, and this one too as far as its master sees.
pub(crate) const CAPABILITIES: [&str; 6] = [
    "MULTI_ROLE",
    "HIERARCHICAL_ROLE",
    "RESERVATION_REFINEMENT",
    "AGENT_OPERATION_FEEDBACK",
    "AGENT_DRAINING",
    "TASK_RESOURCE_LIMITS",
];

/// `/state`.
pub(crate) async fn state(api: &Api) -> Result<Vec<u8>, Stopping> {
    let header = Header {
        start_time: api.start_time,
        pid: format!("slave(1)@{}", api.address),
        master: api.config.master.ip().to_string(),
        flags: api.config.flags(&api.address),
        dir: api.config.dir.clone(),
    };
    api.mailbox.read(move |agent| document(|o| header.write(o, agent))).await
}

/// `/flags`.
pub(crate) fn flags(api: &Api) -> Vec<u8> {
    document(|o| {
        o.object("flags", |o| {
            api.config.flags(&api.address).iter().for_each(|(name, value)| {
                o.field(name, &**value);
            })
        });
    })
}

/// What messages say of resources that the agent has or gave away; those that make no sense were never
/// taken, so none are lost here.
pub(crate) fn resources_of(list: &[Resource]) -> Resources {
    Resources::from_wire(list).unwrap_or_default()
}

struct Header {
    start_time: f64,
    pid: String,
    master: String,
    flags: Vec<(&'static str, String)>,
    dir: PathBuf,
}

impl Header {
    fn write(&self, o: &mut Object<'_>, agent: &Agent) {
        let info = agent.info_with_id();
        version::write_members(o);
        o.field("start_time", self.start_time)
            .field("id", info.id.as_ref().map_or("", |id| &id.value))
            .field("pid", &*self.pid)
            .field("hostname", &*info.hostname)
            .array("capabilities", |list| CAPABILITIES.iter().for_each(|name| list.element(*name)));
        if let Some(config) = agent.draining() {
            o.raw("drain_config", |out| write_json(&config, out));
        }
        if let Some(started) = agent.drain_started() {
            o.field("estimated_drain_start_time_seconds", (started.0 / 1_000_000_000) as i64);
        }
        write_totals(o, agent.total());
        write_allocated(o, &allocated(agent));
        o.array("resource_providers", |_| {}).object("attributes", |o| write_attributes(o, &info.attributes));
        o.field("master_hostname", &*self.master).object("flags", |o| {
            self.flags.iter().for_each(|(name, value)| {
                o.field(name, &**value);
            })
        });
        o.array("frameworks", |list| {
            for framework in agent.frameworks() {
                list.object(|o| self.write_framework(o, agent, framework));
            }
        });
        o.array("completed_frameworks", |list| {
            for framework in agent.completed_frameworks() {
                list.object(|o| self.write_framework(o, agent, framework));
            }
        });
    }

    fn write_framework(&self, o: &mut Object<'_>, agent: &Agent, framework: &Framework) {
        let info = framework.info();
        o.field("id", framework.id().as_str())
            .field("name", &*info.name)
            .field("user", &*info.user)
            .field("failover_timeout", info.failover_timeout.unwrap_or(0.0))
            .field("checkpoint", info.checkpoint.unwrap_or(false))
            .field("hostname", info.hostname.as_deref().unwrap_or(""));
        if let Some(principal) = &info.principal {
            o.field("principal", &**principal);
        }
        let multi_role =
            info.capabilities.iter().any(|known| known.r#type == Some(capability::Type::MultiRole as i32));
        if multi_role {
            o.array("roles", |list| info.roles.iter().for_each(|role| list.element(&**role)));
        } else {
            #[allow(deprecated, reason = "frameworks of one role use it")]
            o.field("role", info.role.as_deref().unwrap_or("*"));
        }
        o.array("executors", |list| {
            for executor in framework.executors() {
                list.object(|o| self.write_executor(o, agent, executor));
            }
        });
        o.array("completed_executors", |list| {
            for executor in framework.completed_executors() {
                list.object(|o| self.write_executor(o, agent, executor));
            }
        });
    }

    fn write_executor(&self, o: &mut Object<'_>, agent: &Agent, executor: &Executor) {
        let info = executor.info();
        let directory = agent.id().map(|id| sandbox_path(&self.dir, id, executor.run()));
        let own = resources_of(&info.resources);
        o.field("id", executor.id().as_str())
            .field("name", info.name.as_deref().unwrap_or(""))
            .field("source", info.source.as_deref().unwrap_or(""))
            .field("container", executor.container_id().as_str())
            .field("directory", directory.unwrap_or_default().display().to_string())
            .object("resources", |o| write_resources(o, &resources_of(&executor.resources())));
        if !own.is_empty() {
            o.field("role", own.allocation_role().map_or("", |role| role));
        }
        if let Some(labels) = &info.labels {
            o.array("labels", |list| write_labels(list, labels));
        }
        if info.r#type.is_some() {
            o.field("type", info.r#type().as_str_name());
        }
        o.array("tasks", |list| executor.launched().for_each(|task| write_run(list, task)));
        o.array("queued_tasks", |list| {
            for task in executor.queued().filter_map(TaskRun::info) {
                list.object(|o| write_queued(o, task, executor));
            }
        });
        o.array("completed_tasks", |list| {
            executor.completed().chain(executor.terminated()).for_each(|task| write_run(list, task));
        });
    }
}

fn write_run(list: &mut Array<'_>, run: &TaskRun) {
    list.object(|o| write_task(o, &run.task, &resources_of(&run.task.resources)));
}

/// Mesos: `json(JSON::ObjectWriter*, const TaskInfo&)` of the agent.
fn write_queued(o: &mut Object<'_>, task: &TaskInfo, executor: &Executor) {
    let own = resources_of(&task.resources);
    o.field("id", &*task.task_id.value)
        .field("name", &*task.name)
        .field("framework_id", executor.framework_id().as_str())
        .field("executor_id", task.executor.as_ref().map_or("", |executor| &executor.executor_id.value))
        .field("slave_id", &*task.agent_id.value)
        .field("state", "TASK_STAGING")
        .object("resources", |o| write_resources(o, &own))
        .field("role", own.allocation_role().map_or("", |role| role))
        .array("statuses", |_| {});
    if let Some(labels) = &task.labels {
        o.array("labels", |list| write_labels(list, labels));
    }
    if let Some(discovery) = &task.discovery {
        o.raw("discovery", |out| write_json(discovery, out));
    }
    if let Some(container) = &task.container {
        o.raw("container", |out| write_json(container, out));
    }
}

fn write_totals(o: &mut Object<'_>, all: &Resources) {
    o.object("resources", |o| write_resources(o, all))
        .object("reserved_resources", |o| write_reserved(o, all))
        .object("unreserved_resources", |o| write_resources(o, &all.unreserved()))
        .object("reserved_resources_full", |o| write_reserved_full(o, all))
        .array("unreserved_resources_full", |list| write_full(list, &all.unreserved()));
}

fn write_allocated(o: &mut Object<'_>, all: &Resources) {
    o.object("reserved_resources_allocated", |o| write_reserved(o, all))
        .object("unreserved_resources_allocated", |o| write_resources(o, &all.unreserved()));
}

/// What all executors and their tasks have.
pub(crate) fn allocated(agent: &Agent) -> Resources {
    let list: Vec<Resource> =
        agent.frameworks().flat_map(Framework::executors).flat_map(Executor::resources).collect();
    resources_of(&list)
}
