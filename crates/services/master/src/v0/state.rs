use std::collections::BTreeMap;

use api_mesos::messages::{
    write_agent_info, write_full, write_labels, write_reserved, write_reserved_full, write_resources,
    write_sums, write_task,
};
use base::{AgentId, FrameworkId};
use master_core::{Agent, Executor, Framework, Master, Task};
use mesos_proto::json::write_json;
use mesos_proto::v1::framework_info::capability::Type as Capability;
use resources::{Resource, Resources};

use super::messages::{write_executor, write_offer};
use crate::identity::Identity;
use crate::roles::{RoleView, role_views};
use crate::view::TaskQuery;
use api_mesos::json::{Object, document};
use api_mesos::version;

/// `/state`
pub(crate) fn state(master: &Master, identity: &Identity) -> Vec<u8> {
    document(|o| {
        version::write_members(o);
        let (registered, active) = master
            .agents()
            .fold((0, 0), |(registered, active), agent| (registered + 1, active + usize::from(agent.active)));
        o.field("start_time", identity.start_time.as_secs_f64())
            .field("elected_time", identity.elected_time.as_secs_f64())
            .field("id", &*identity.info.id)
            .field("pid", identity.pid())
            .field("hostname", &*identity.hostname)
            .array("capabilities", |list| {
                identity
                    .info
                    .capabilities
                    .iter()
                    .for_each(|capability| list.element(capability.r#type().as_str_name()));
            })
            .field("activated_slaves", active as f64)
            .field("deactivated_slaves", (registered - active) as f64)
            .field("unreachable_slaves", master.unreachable_agents().count() as f64)
            .field("leader", identity.pid())
            .object("leader_info", |o| {
                o.field("id", &*identity.info.id)
                    .field("pid", identity.pid())
                    .field("port", identity.info.port)
                    .field("hostname", &*identity.hostname);
            });
        if let Some(cluster) = &identity.cluster {
            o.field("cluster", &**cluster);
        }
        o.object("flags", |o| write_flags(o, identity));
        let shares = Shares::of(master);
        o.array("slaves", |list| {
            for agent in master.agents() {
                list.object(|o| write_agent(o, agent));
            }
        });
        write_recovered_agents(o, master, None);
        write_frameworks(o, master, &shares, None);
        o.array("orphan_tasks", |_| {}).array("unregistered_frameworks", |_| {});
    })
}

/// The flags by name.
pub(crate) fn write_flags(o: &mut Object<'_>, identity: &Identity) {
    for (name, value) in &identity.flags {
        o.field(name, &**value);
    }
}

/// `/slaves`, of one agent if its id is given.
pub(crate) fn slaves(master: &Master, only: Option<&str>) -> Vec<u8> {
    document(|o| {
        o.array("slaves", |list| {
            let wanted = |agent: &&Agent| only.is_none_or(|id| agent.id.as_str() == id);
            for agent in master.agents().filter(wanted) {
                list.object(|o| {
                    write_agent(o, agent);
                    write_full_resources(o, agent);
                });
            }
        });
        write_recovered_agents(o, master, only);
    })
}

/// `/frameworks`, one of them if its id is given.
pub(crate) fn frameworks(master: &Master, only: Option<&str>) -> Vec<u8> {
    document(|o| {
        write_frameworks(o, master, &Shares::of(master), only);
        o.array("unregistered_frameworks", |_| {});
    })
}

/// `/tasks`: those of all frameworks, sorted by the time of their first status.
pub(crate) fn tasks(master: &Master, query: &TaskQuery) -> Vec<u8> {
    let wanted = |wanted: &Option<String>, id: &str| wanted.as_ref().is_none_or(|wanted| wanted == id);
    let frameworks = master.frameworks().chain(master.completed_frameworks());
    let frameworks = frameworks.filter(|framework| wanted(&query.framework_id, framework.id.as_str()));
    let mut tasks: Vec<&Task> = frameworks
        .flat_map(all_tasks)
        .filter(|task| wanted(&query.task_id, &task.info.task_id.value))
        .collect();
    let first =
        |task: &Task| task.info.statuses.first().map_or(f64::NEG_INFINITY, |s| s.timestamp.unwrap_or(0.0));
    if query.ascending {
        tasks.sort_by(|a, b| first(a).total_cmp(&first(b)));
    } else {
        tasks.sort_by(|a, b| first(b).total_cmp(&first(a)));
    }
    document(|o| {
        o.array("tasks", |list| {
            for task in tasks.into_iter().skip(query.offset).take(query.limit) {
                list.object(|o| write_task(o, &task.info, &task.resources));
            }
        });
    })
}

/// `/roles`
pub(crate) fn roles(master: &Master) -> Vec<u8> {
    document(|o| {
        o.array("roles", |list| {
            for (name, role) in role_views(master) {
                list.object(|o| write_role(o, name, &role));
            }
        });
    })
}

fn write_role(o: &mut Object<'_>, name: &str, role: &RoleView<'_>) {
    o.field("name", name).field("weight", 1.0).object("quota", |o| {
        o.field("role", name)
            .object("guarantee", |_| {})
            .object("limit", |_| {})
            .object("consumed", |o| role.consumed().write(o));
    });
    o.object("resources", |o| role.resources().write(o))
        .object("allocated", |o| role.allocated.write(o))
        .object("offered", |o| role.offered.write(o))
        .object("reserved", |o| role.reserved.write(o))
        .array("frameworks", |list| role.frameworks.iter().for_each(|id| list.element(id.as_str())));
}

/// All tasks of a framework that are still known.
pub(super) fn all_tasks(framework: &Framework) -> impl Iterator<Item = &Task> {
    let over = framework.completed_tasks.iter().map(|task| &**task);
    framework.tasks.values().chain(framework.unreachable_tasks.values()).chain(over)
}

pub(super) fn write_agent(o: &mut Object<'_>, agent: &Agent) {
    write_agent_info(o, &agent.info);
    o.field("pid", agent.pid()).field("registered_time", agent.registered.as_secs_f64());
    if let Some(reregistered) = agent.reregistered {
        o.field("reregistered_time", reregistered.as_secs_f64());
    }
    o.object("resources", |o| write_resources(o, &agent.total))
        .object("used_resources", |o| write_sums(o, agent.used.values().flat_map(Resources::iter)))
        .object("offered_resources", |o| write_resources(o, &agent.offered))
        .object("reserved_resources", |o| write_reserved(o, &agent.total))
        .object("unreserved_resources", |o| write_resources(o, &agent.total.unreserved()))
        .field("active", agent.active)
        .field("deactivated", agent.deactivation.is_some())
        .field("version", &*agent.version)
        .array("capabilities", |list| agent.capabilities.iter().for_each(|name| list.element(&**name)));
    let Some(known) = &agent.deactivation else { return };
    if let Some(drain) = &known.drain {
        o.raw("drain_info", |out| write_json(drain, out));
    }
    if let Some(started) = known.drain_started {
        o.field("estimated_drain_start_time_seconds", started.as_secs_f64());
    }
}

/// The resources once more as messages, so that operators can copy them into calls.
fn write_full_resources(o: &mut Object<'_>, agent: &Agent) {
    o.object("reserved_resources_full", |o| write_reserved_full(o, &agent.total))
        .array("unreserved_resources_full", |list| write_full(list, &agent.total.unreserved()))
        .array("used_resources_full", |list| write_full(list, &agent.used_resources()))
        .array("offered_resources_full", |list| write_full(list, &agent.offered));
}

fn write_recovered_agents(o: &mut Object<'_>, master: &Master, only: Option<&str>) {
    o.array("recovered_slaves", |list| {
        let wanted = |(id, _): &(&AgentId, _)| only.is_none_or(|only| id.as_str() == only);
        for (_, agent) in master.recovered_agents().filter(wanted) {
            list.object(|o| write_agent_info(o, &agent.info));
        }
    });
}

/// What frameworks have on all agents: agents own it, frameworks show it. Collected in one pass over
/// the agents, not one for each framework.
#[derive(Default)]
pub(super) struct Shares<'m> {
    used: BTreeMap<&'m FrameworkId, Vec<&'m Resources>>,
    executors: BTreeMap<&'m FrameworkId, Vec<(&'m AgentId, &'m Executor)>>,
}

impl<'m> Shares<'m> {
    pub(super) fn of(master: &'m Master) -> Self {
        let mut shares = Shares::default();
        for agent in master.agents() {
            for (framework, used) in &agent.used {
                shares.used.entry(framework).or_default().push(used);
            }
            for (framework, executors) in &agent.executors {
                let known = shares.executors.entry(framework).or_default();
                known.extend(executors.values().map(|executor| (&agent.id, executor)));
            }
        }
        shares
    }

    fn used(&self, id: &FrameworkId) -> impl Iterator<Item = &Resource> {
        self.used.get(id).into_iter().flatten().flat_map(|used| used.iter())
    }
}

fn offered<'m>(master: &'m Master, framework: &'m Framework) -> impl Iterator<Item = &'m Resource> {
    master.offers_of(framework).flat_map(|offer| offer.resources.iter())
}

fn write_frameworks(o: &mut Object<'_>, master: &Master, shares: &Shares<'_>, only: Option<&str>) {
    let wanted = |framework: &&Framework| only.is_none_or(|id| framework.id.as_str() == id);
    o.array("frameworks", |list| {
        for framework in master.frameworks().filter(wanted) {
            list.object(|o| write_framework(o, master, framework, shares));
        }
    });
    o.array("completed_frameworks", |list| {
        for framework in master.completed_frameworks().filter(wanted) {
            list.object(|o| write_framework(o, master, framework, shares));
        }
    });
}

/// The members that a framework has in `/state-summary`, too.
pub(super) fn write_framework_summary(
    o: &mut Object<'_>,
    master: &Master,
    framework: &Framework,
    shares: &Shares<'_>,
) {
    let info = &framework.info;
    o.field("id", framework.id.as_str())
        .field("name", &*info.name)
        .object("used_resources", |o| write_sums(o, shares.used(&framework.id)))
        .object("offered_resources", |o| write_sums(o, offered(master, framework)))
        .array("capabilities", |list| {
            info.capabilities.iter().for_each(|capability| list.element(capability.r#type().as_str_name()));
        })
        .field("hostname", info.hostname.as_deref().unwrap_or(""))
        .field("webui_url", info.webui_url.as_deref().unwrap_or(""))
        .field("active", framework.active)
        .field("connected", framework.is_connected())
        .field("recovered", framework.recovered);
}

fn write_framework(o: &mut Object<'_>, master: &Master, framework: &Framework, shares: &Shares<'_>) {
    let info = &framework.info;
    write_framework_summary(o, master, framework, shares);
    o.field("user", &*info.user)
        .field("failover_timeout", info.failover_timeout.unwrap_or(0.0))
        .field("checkpoint", info.checkpoint.unwrap_or(false))
        .field("registered_time", framework.registered.as_secs_f64())
        .field("unregistered_time", framework.unregistered.map_or(0.0, |time| time.as_secs_f64()));
    if let Some(principal) = &info.principal {
        o.field("principal", &**principal);
    }
    o.object("resources", |o| {
        write_sums(o, shares.used(&framework.id).chain(offered(master, framework)));
    });
    if framework.reregistered != framework.registered {
        o.field("reregistered_time", framework.reregistered.as_secs_f64());
    }
    if framework.has_capability(Capability::MultiRole) {
        o.array("roles", |list| info.roles.iter().for_each(|role| list.element(&**role)));
    } else {
        #[allow(deprecated, reason = "frameworks without MULTI_ROLE have one role")]
        o.field("role", info.role.as_deref().unwrap_or("*"));
    }
    o.array("tasks", |list| {
        framework.tasks.values().for_each(|task| list.object(|o| write_task(o, &task.info, &task.resources)))
    })
    .array("unreachable_tasks", |list| {
        framework
            .unreachable_tasks
            .values()
            .for_each(|task| list.object(|o| write_task(o, &task.info, &task.resources)));
    })
    .array("completed_tasks", |list| {
        framework
            .completed_tasks
            .iter()
            .for_each(|task| list.object(|o| write_task(o, &task.info, &task.resources)));
    })
    .array("offers", |list| {
        master.offers_of(framework).for_each(|offer| list.object(|o| write_offer(o, offer)));
    })
    .array("executors", |list| {
        for (agent, executor) in shares.executors.get(&framework.id).into_iter().flatten() {
            list.object(|o| write_executor(o, executor, agent.as_str()));
        }
    });
    if let Some(labels) = &info.labels {
        o.array("labels", |list| write_labels(list, labels));
    }
    o.object("offer_constraints", |_| {});
}
