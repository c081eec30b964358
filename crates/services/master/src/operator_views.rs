//! The answers of the operator API that show the state. In JSON their lists are written even when they
//! are empty, unlike in other messages. Mesos: Master::ReadOnlyHandler::jsonifyGetState and its parts.

use std::time::Duration;

use master_core::{Framework, Master, Metrics};
use mesos_proto::binary::encode;
use mesos_proto::json::write_json;
use mesos_proto::v1::master::response::{
    GetAgents, GetExecutors, GetFrameworks, GetMaintenanceSchedule, GetMaintenanceStatus, GetMetrics,
    GetOperations, GetRoles, GetState, GetTasks, Type, get_executors, get_frameworks,
};
use mesos_proto::v1::master::{Event, Response, event};
use mesos_proto::v1::{self, Metric, value};
use prost::Name;

use crate::roles::role_views;
use crate::view::OperatorView;
use api_mesos::Encoding;
use api_mesos::json::{Object, document};

/// The answer to a call that asks for `part` of the state.
pub(crate) fn response(master: &Master, part: OperatorView, encoding: Encoding) -> Vec<u8> {
    let answer = |kind: Type| Response { r#type: Some(kind as i32), ..Default::default() };
    match part {
        OperatorView::State => {
            let state = get_state(master);
            match encoding {
                Encoding::Protobuf => encode(&Response { get_state: Some(state), ..answer(Type::GetState) }),
                Encoding::Json => typed("GET_STATE", "get_state", |o| write_state(o, &state)),
            }
        }
        OperatorView::Agents => {
            let agents = get_agents(master);
            match encoding {
                Encoding::Protobuf => {
                    encode(&Response { get_agents: Some(agents), ..answer(Type::GetAgents) })
                }
                Encoding::Json => typed("GET_AGENTS", "get_agents", |o| write_agents(o, &agents)),
            }
        }
        OperatorView::Frameworks => {
            let frameworks = get_frameworks(master);
            match encoding {
                Encoding::Protobuf => {
                    encode(&Response { get_frameworks: Some(frameworks), ..answer(Type::GetFrameworks) })
                }
                Encoding::Json => {
                    typed("GET_FRAMEWORKS", "get_frameworks", |o| write_frameworks(o, &frameworks))
                }
            }
        }
        OperatorView::Executors => {
            let executors = get_executors(master);
            match encoding {
                Encoding::Protobuf => {
                    encode(&Response { get_executors: Some(executors), ..answer(Type::GetExecutors) })
                }
                Encoding::Json => typed("GET_EXECUTORS", "get_executors", |o| write_executors(o, &executors)),
            }
        }
        OperatorView::Tasks => {
            let tasks = get_tasks(master);
            match encoding {
                Encoding::Protobuf => encode(&Response { get_tasks: Some(tasks), ..answer(Type::GetTasks) }),
                Encoding::Json => typed("GET_TASKS", "get_tasks", |o| write_tasks(o, &tasks)),
            }
        }
        OperatorView::Roles => {
            encode_as(&Response { get_roles: Some(get_roles(master)), ..answer(Type::GetRoles) }, encoding)
        }
        OperatorView::MaintenanceSchedule => {
            let schedule = GetMaintenanceSchedule { schedule: master.maintenance_schedule().clone() };
            let kind = Type::GetMaintenanceSchedule;
            encode_as(&Response { get_maintenance_schedule: Some(schedule), ..answer(kind) }, encoding)
        }
        OperatorView::MaintenanceStatus => {
            let status = GetMaintenanceStatus { status: master.maintenance_status() };
            let kind = Type::GetMaintenanceStatus;
            encode_as(&Response { get_maintenance_status: Some(status), ..answer(kind) }, encoding)
        }
        OperatorView::Operations => {
            let operations = GetOperations { operations: master.operations().cloned().collect() };
            let get_operations = Some(operations);
            encode_as(&Response { get_operations, ..answer(Type::GetOperations) }, encoding)
        }
        OperatorView::Metrics => unreachable!("metrics are more than the master's state"),
    }
}

/// The answer to GET_METRICS.
pub(crate) fn metrics(metrics: &Metrics, encoding: Encoding) -> Vec<u8> {
    let metric = |(name, value): (&String, &f64)| Metric { name: name.clone(), value: Some(*value) };
    let metrics = GetMetrics { metrics: metrics.iter().map(metric).collect() };
    let answer =
        Response { r#type: Some(Type::GetMetrics as i32), get_metrics: Some(metrics), ..Default::default() };
    encode_as(&answer, encoding)
}

/// The first event for an operator that subscribes: the whole state.
pub(crate) fn subscribed(master: &Master, heartbeat: Duration, encoding: Encoding) -> Vec<u8> {
    let state = get_state(master);
    match encoding {
        Encoding::Protobuf => encode(&Event {
            r#type: Some(event::Type::Subscribed as i32),
            subscribed: Some(event::Subscribed {
                get_state: Some(state),
                heartbeat_interval_seconds: Some(heartbeat.as_secs_f64()),
            }),
            ..Default::default()
        }),
        Encoding::Json => typed("SUBSCRIBED", "subscribed", |o| {
            o.object("get_state", |o| write_state(o, &state))
                .field("heartbeat_interval_seconds", heartbeat.as_secs_f64());
        }),
    }
}

/// A message in either encoding.
pub(crate) fn encode_as<M: prost::Message + Name>(message: &M, encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Protobuf => encode(message),
        Encoding::Json => {
            let mut out = Vec::new();
            write_json(message, &mut out);
            out
        }
    }
}

fn typed(kind: &str, member: &str, write: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
    document(|o| {
        o.field("type", kind).object(member, write);
    })
}

fn get_state(master: &Master) -> GetState {
    GetState {
        get_tasks: Some(get_tasks(master)),
        get_executors: Some(get_executors(master)),
        get_frameworks: Some(get_frameworks(master)),
        get_agents: Some(get_agents(master)),
    }
}

fn get_agents(master: &Master) -> GetAgents {
    GetAgents {
        agents: master.agents().map(|agent| agent.view()).collect(),
        recovered_agents: master.recovered_agents().map(|(_, agent)| (*agent.info).clone()).collect(),
    }
}

fn get_frameworks(master: &Master) -> GetFrameworks {
    let view = |framework: &Framework| -> get_frameworks::Framework {
        let mut view = master.framework_view(framework);
        // Events say 0 for what has not happened, answers leave it out.
        let happened = |time: &v1::TimeInfo| time.nanoseconds != 0;
        view.registered_time = view.registered_time.filter(happened);
        view.reregistered_time = view.reregistered_time.filter(happened);
        view.unregistered_time = view.unregistered_time.filter(happened);
        view.offer_constraints = Some(v1::scheduler::OfferConstraints::default());
        view
    };
    GetFrameworks {
        frameworks: master.frameworks().map(view).collect(),
        completed_frameworks: master.completed_frameworks().map(view).collect(),
        ..Default::default()
    }
}

fn get_executors(master: &Master) -> GetExecutors {
    let mut executors = Vec::new();
    for agent in master.agents() {
        for executor in agent.executors.values().flat_map(|of_framework| of_framework.values()) {
            executors.push(get_executors::Executor {
                executor_info: (*executor.info).clone(),
                agent_id: v1::AgentId { value: agent.id.as_str().to_owned() },
            });
        }
    }
    GetExecutors { executors, ..Default::default() }
}

fn get_tasks(master: &Master) -> GetTasks {
    let mut all = GetTasks::default();
    for framework in master.frameworks().chain(master.completed_frameworks()) {
        all.tasks.extend(framework.tasks.values().map(|task| task.info.clone()));
        all.unreachable_tasks.extend(framework.unreachable_tasks.values().map(|task| task.info.clone()));
        all.completed_tasks.extend(framework.completed_tasks.iter().map(|task| task.info.clone()));
    }
    all
}

/// Only cpus, disk, gpus and mem are told here. Mesos: Master::ReadOnlyHandler::getRoles.
fn get_roles(master: &Master) -> GetRoles {
    let told = ["cpus", "disk", "gpus", "mem"];
    let role = |(name, view): (&str, crate::roles::RoleView<'_>)| v1::Role {
        name: name.to_owned(),
        weight: 1.0,
        frameworks: view
            .frameworks
            .iter()
            .map(|id| v1::FrameworkId { value: id.as_str().to_owned() })
            .collect(),
        resources: view
            .resources()
            .iter()
            .filter(|(name, _)| told.contains(name))
            .map(|(name, amount)| v1::Resource {
                name: name.to_owned(),
                r#type: value::Type::Scalar as i32,
                scalar: Some(value::Scalar { value: amount.to_f64() }),
                ..Default::default()
            })
            .collect(),
    };
    GetRoles { roles: role_views(master).into_iter().map(role).collect() }
}

fn write_state(o: &mut Object<'_>, state: &GetState) {
    if let Some(tasks) = &state.get_tasks {
        o.object("get_tasks", |o| write_tasks(o, tasks));
    }
    if let Some(executors) = &state.get_executors {
        o.object("get_executors", |o| write_executors(o, executors));
    }
    if let Some(frameworks) = &state.get_frameworks {
        o.object("get_frameworks", |o| write_frameworks(o, frameworks));
    }
    if let Some(agents) = &state.get_agents {
        o.object("get_agents", |o| write_agents(o, agents));
    }
}

fn write_tasks(o: &mut Object<'_>, tasks: &GetTasks) {
    write_list(o, "tasks", &tasks.tasks);
    write_list(o, "unreachable_tasks", &tasks.unreachable_tasks);
    write_list(o, "completed_tasks", &tasks.completed_tasks);
}

fn write_executors(o: &mut Object<'_>, executors: &GetExecutors) {
    write_list(o, "executors", &executors.executors);
}

fn write_frameworks(o: &mut Object<'_>, frameworks: &GetFrameworks) {
    write_list(o, "frameworks", &frameworks.frameworks);
    write_list(o, "completed_frameworks", &frameworks.completed_frameworks);
}

fn write_agents(o: &mut Object<'_>, agents: &GetAgents) {
    write_list(o, "agents", &agents.agents);
    write_list(o, "recovered_agents", &agents.recovered_agents);
}

fn write_list<M: prost::Message + Name>(o: &mut Object<'_>, name: &str, messages: &[M]) {
    o.array(name, |list| messages.iter().for_each(|message| list.raw(|out| write_json(message, out))));
}
