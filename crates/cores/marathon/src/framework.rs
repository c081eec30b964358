use base::{AgentId, TaskId};
use mesos_proto::v1::{self, framework_info::capability, scheduler::Call, scheduler::call};

use crate::config::Config;

/// The call that opens the scheduler stream. `framework` is the id that an earlier subscription got.
///
/// Marathon: `MarathonSchedulerDriver.newDriver`.
pub fn subscribe_call(config: &Config, framework: Option<&str>) -> Call {
    let capabilities = [
        capability::Type::TaskKillingState,
        capability::Type::GpuResources,
        capability::Type::PartitionAware,
        capability::Type::MultiRole,
        capability::Type::ReservationRefinement,
        capability::Type::RegionAware,
    ];
    let id = framework.map(|value| v1::FrameworkId { value: value.to_owned() });
    let framework_info = v1::FrameworkInfo {
        user: config.user.clone(),
        name: config.framework_name.clone(),
        id: id.clone(),
        failover_timeout: Some(config.failover_timeout.as_secs_f64()),
        checkpoint: Some(true),
        roles: vec![config.role.clone()],
        hostname: Some(config.hostname.clone()),
        principal: Some(config.principal.clone()),
        webui_url: config.webui_url.clone(),
        capabilities: capabilities
            .into_iter()
            .map(|kind| v1::framework_info::Capability { r#type: Some(kind as i32) })
            .collect(),
        ..v1::FrameworkInfo::default()
    };
    let subscribe = call::Subscribe { framework_info, ..call::Subscribe::default() };
    Call { subscribe: Some(subscribe), framework_id: id, ..typed(call::Type::Subscribe) }
}

/// An empty call of a type.
pub(crate) fn typed(kind: call::Type) -> Call {
    Call { r#type: Some(kind as i32), ..Call::default() }
}

pub(crate) fn accept(offer: v1::OfferId, tasks: Vec<v1::TaskInfo>, refuse_seconds: f64) -> Call {
    let launch = v1::offer::Operation {
        r#type: Some(v1::offer::operation::Type::Launch as i32),
        launch: Some(v1::offer::operation::Launch { task_infos: tasks }),
        ..v1::offer::Operation::default()
    };
    let accept = call::Accept {
        offer_ids: vec![offer],
        operations: vec![launch],
        filters: Some(v1::Filters { refuse_seconds: Some(refuse_seconds) }),
    };
    Call { accept: Some(accept), ..typed(call::Type::Accept) }
}

pub(crate) fn decline(offers: Vec<v1::OfferId>, refuse_seconds: f64) -> Call {
    let filters = Some(v1::Filters { refuse_seconds: Some(refuse_seconds) });
    Call { decline: Some(call::Decline { offer_ids: offers, filters }), ..typed(call::Type::Decline) }
}

pub(crate) fn kill(task: &TaskId, agent: Option<&AgentId>) -> Call {
    let kill = call::Kill { task_id: task_id(task), agent_id: agent.map(agent_id), kill_policy: None };
    Call { kill: Some(kill), ..typed(call::Type::Kill) }
}

pub(crate) fn acknowledge(agent: v1::AgentId, task: v1::TaskId, uuid: Vec<u8>) -> Call {
    let acknowledge = call::Acknowledge { agent_id: agent, task_id: task, uuid };
    Call { acknowledge: Some(acknowledge), ..typed(call::Type::Acknowledge) }
}

/// Asks for the state of these tasks; without any, of all.
pub(crate) fn reconcile<'a>(tasks: impl Iterator<Item = (TaskId, &'a AgentId)>) -> Call {
    let task = |(task, agent): (TaskId, &AgentId)| call::reconcile::Task {
        task_id: task_id(&task),
        agent_id: Some(agent_id(agent)),
    };
    let reconcile = call::Reconcile { tasks: tasks.map(task).collect() };
    Call { reconcile: Some(reconcile), ..typed(call::Type::Reconcile) }
}

pub(crate) fn task_id(id: &TaskId) -> v1::TaskId {
    v1::TaskId { value: id.to_string() }
}

pub(crate) fn agent_id(id: &AgentId) -> v1::AgentId {
    v1::AgentId { value: id.to_string() }
}
