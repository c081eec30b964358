//! The messages that the master makes: ids, statuses, events.

use base::{AgentId, ExecutorId, FrameworkId, OfferId, TaskId, Wall};
use mesos_proto::v1::{self, TaskState, TaskStatus, master, scheduler, task_status};

pub(crate) fn agent_id(id: &AgentId) -> v1::AgentId {
    v1::AgentId { value: id.to_string() }
}

pub(crate) fn framework_id(id: &FrameworkId) -> v1::FrameworkId {
    v1::FrameworkId { value: id.to_string() }
}

pub(crate) fn task_id(id: &TaskId) -> v1::TaskId {
    v1::TaskId { value: id.to_string() }
}

pub(crate) fn executor_id(id: &ExecutorId) -> v1::ExecutorId {
    v1::ExecutorId { value: id.to_string() }
}

pub(crate) fn offer_id(id: &OfferId) -> v1::OfferId {
    v1::OfferId { value: id.to_string() }
}

pub(crate) fn time(wall: Wall) -> v1::TimeInfo {
    v1::TimeInfo { nanoseconds: i64::try_from(wall.0).unwrap_or(i64::MAX) }
}

/// A status that the master itself makes. It has no uuid: nobody acknowledges it.
pub(crate) fn status(
    now: Wall,
    task: v1::TaskId,
    agent: Option<v1::AgentId>,
    state: TaskState,
    reason: task_status::Reason,
    message: impl Into<String>,
) -> TaskStatus {
    TaskStatus {
        task_id: task,
        state: state.into(),
        message: Some(message.into()),
        source: Some(task_status::Source::Master.into()),
        reason: Some(reason.into()),
        agent_id: agent,
        timestamp: Some(now.as_secs_f64()),
        ..TaskStatus::default()
    }
}

/// Events to frameworks.
pub(crate) mod event {
    use super::scheduler::Event;
    use super::scheduler::event::*;
    use super::*;

    fn of(kind: Type) -> Event {
        Event { r#type: Some(kind.into()), ..Event::default() }
    }

    pub(crate) fn subscribed(id: &FrameworkId, heartbeat_seconds: f64, master: v1::MasterInfo) -> Event {
        let subscribed = Subscribed {
            framework_id: framework_id(id),
            heartbeat_interval_seconds: Some(heartbeat_seconds),
            master_info: Some(master),
        };
        Event { subscribed: Some(subscribed), ..of(Type::Subscribed) }
    }

    pub(crate) fn heartbeat() -> Event {
        of(Type::Heartbeat)
    }

    pub(crate) fn error(message: impl Into<String>) -> Event {
        Event { error: Some(Error { message: message.into() }), ..of(Type::Error) }
    }

    pub(crate) fn offers(offers: Vec<v1::Offer>) -> Event {
        Event { offers: Some(Offers { offers }), ..of(Type::Offers) }
    }

    pub(crate) fn rescind(id: &OfferId) -> Event {
        Event { rescind: Some(Rescind { offer_id: offer_id(id) }), ..of(Type::Rescind) }
    }

    pub(crate) fn inverse_offers(inverse_offers: Vec<v1::InverseOffer>) -> Event {
        Event { inverse_offers: Some(InverseOffers { inverse_offers }), ..of(Type::InverseOffers) }
    }

    pub(crate) fn rescind_inverse_offer(id: &OfferId) -> Event {
        let rescind = RescindInverseOffer { inverse_offer_id: offer_id(id) };
        Event { rescind_inverse_offer: Some(rescind), ..of(Type::RescindInverseOffer) }
    }

    pub(crate) fn update(status: TaskStatus) -> Event {
        Event { update: Some(Update { status }), ..of(Type::Update) }
    }

    pub(crate) fn operation_status(status: v1::OperationStatus) -> Event {
        let update = UpdateOperationStatus { status };
        Event { update_operation_status: Some(update), ..of(Type::UpdateOperationStatus) }
    }

    pub(crate) fn message(agent: &AgentId, executor: v1::ExecutorId, data: Vec<u8>) -> Event {
        let message = Message { agent_id: agent_id(agent), executor_id: executor, data };
        Event { message: Some(message), ..of(Type::Message) }
    }

    pub(crate) fn agent_failed(agent: &AgentId) -> Event {
        let failure = Failure { agent_id: Some(agent_id(agent)), executor_id: None, status: None };
        Event { failure: Some(failure), ..of(Type::Failure) }
    }

    pub(crate) fn executor_failed(agent: &AgentId, executor: &ExecutorId, status: i32) -> Event {
        let failure = Failure {
            agent_id: Some(agent_id(agent)),
            executor_id: Some(executor_id(executor)),
            status: Some(status),
        };
        Event { failure: Some(failure), ..of(Type::Failure) }
    }
}

/// Events to operators.
pub(crate) mod published {
    use super::master::Event;
    use super::master::event::*;
    use super::master::response::{get_agents, get_frameworks};
    use super::*;

    fn of(kind: Type) -> Event {
        Event { r#type: Some(kind.into()), ..Event::default() }
    }

    pub(crate) fn task_added(task: v1::Task) -> Event {
        Event { task_added: Some(TaskAdded { task }), ..of(Type::TaskAdded) }
    }

    pub(crate) fn task_updated(framework: &FrameworkId, status: TaskStatus, state: TaskState) -> Event {
        let updated = TaskUpdated { framework_id: framework_id(framework), status, state: state.into() };
        Event { task_updated: Some(updated), ..of(Type::TaskUpdated) }
    }

    pub(crate) fn framework_added(framework: get_frameworks::Framework) -> Event {
        Event { framework_added: Some(FrameworkAdded { framework }), ..of(Type::FrameworkAdded) }
    }

    pub(crate) fn framework_updated(framework: get_frameworks::Framework) -> Event {
        Event { framework_updated: Some(FrameworkUpdated { framework }), ..of(Type::FrameworkUpdated) }
    }

    pub(crate) fn framework_removed(framework_info: v1::FrameworkInfo) -> Event {
        Event { framework_removed: Some(FrameworkRemoved { framework_info }), ..of(Type::FrameworkRemoved) }
    }

    pub(crate) fn agent_added(agent: get_agents::Agent) -> Event {
        Event { agent_added: Some(AgentAdded { agent }), ..of(Type::AgentAdded) }
    }

    pub(crate) fn agent_removed(id: &AgentId) -> Event {
        Event { agent_removed: Some(AgentRemoved { agent_id: agent_id(id) }), ..of(Type::AgentRemoved) }
    }
}
