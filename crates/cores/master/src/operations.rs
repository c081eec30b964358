//! Operations on agents' resources. Mesos: `Master::_apply`, `Master::updateOperationStatus`,
//! `Master::acknowledgeOperationStatus`, `Master::reconcileOperations`, `Master::Http::_operation`.
//!
//! What an operation makes is counted on at once: what follows may use it. Agent and master keep the order
//! of what they say to each other, so the agent finds what the master counted on. If it ever does not, it
//! is asked to say again what it has. Nothing here is in the registry: agents remember.

use std::sync::Arc;
use std::time::Duration;

use agent_link::{AcknowledgeOperation, ApplyOperation, Body, OPERATIONS_VERSION, OperationUpdate};
use base::{AgentId, FrameworkId, Principal};
use mesos_proto::v1::master::Call;
use mesos_proto::v1::offer::{Operation, operation};
use mesos_proto::v1::scheduler::call;
use mesos_proto::v1::{self, OperationState, OperationStatus};
use resources::{Conversion, Resources, conversions};

use crate::agent::Agent;
use crate::effect::Reply;
use crate::input::ConnId;
use crate::master::Master;
use crate::message::{self, event};
use crate::turn::Turn;
use crate::validation::operation as validation;

/// How many operations may be on their way to an agent, or wait for their acknowledgement.
const MAX_OPERATIONS: usize = 1000;

/// How long a framework that nobody knows may take to come for its operations' ends. Mesos:
/// `MIN_WAIT_BEFORE_ORPHAN_OPERATION_ADOPTION`.
const ADOPTION: Duration = Duration::from_secs(600);

impl Master {
    /// Does an operation of a framework on what remains of the offers it accepted.
    ///
    /// # Errors
    /// Why not; nothing has changed.
    pub(crate) fn operate_on_offer(
        &mut self,
        turn: &mut Turn<'_>,
        framework_id: &FrameworkId,
        agent_id: &AgentId,
        role: &Arc<str>,
        remaining: &mut Resources,
        operation: &mut Operation,
    ) -> Result<(), String> {
        validation::normalise(operation, Some(role))?;
        let (framework, agent) = (&self.frameworks[framework_id], &self.agents[agent_id]);
        if operation.id.is_some() && !agent.capabilities.iter().any(|it| it == "AGENT_OPERATION_FEEDBACK") {
            return Err(format!(
                "Operation on agent default resources requested feedback, but agent {agent_id} does not have the \
                 required AGENT_OPERATION_FEEDBACK and RESOURCE_PROVIDER capabilities"
            ));
        }
        check_ready(agent)?;
        let principal = framework.info.principal.as_deref();
        validation::validate(operation, principal, Some(framework))
            .map_err(|error| format!("{error}; on agent {}", agent.name()))?;
        let conversions = conversions(operation)?;
        remaining.apply(&conversions).map_err(|error| error.to_string())?;
        self.allocator.convert_allocated(framework_id, agent_id, &conversions);
        self.begin_operation(turn, agent_id, Some(framework_id), operation.clone(), &conversions);
        let framework = self.frameworks.get_mut(framework_id).expect("a subscribed framework is known");
        framework.metrics.operations.count(operation.r#type());
        Ok(())
    }

    /// Does an operation of an operator on what is free of an agent, or is only offered.
    pub(crate) fn operator_operation(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        call: Call,
        principal: Option<&Principal>,
    ) {
        let (agent, operation) = operation_of(call);
        let reply = match self.operate_for_operator(turn, &agent, operation, principal) {
            Ok(()) => Reply::Accepted,
            Err(reply) => reply,
        };
        turn.reply(conn, reply);
    }

    fn operate_for_operator(
        &mut self,
        turn: &mut Turn<'_>,
        agent_id: &AgentId,
        mut operation: Operation,
        principal: Option<&Principal>,
    ) -> Result<(), Reply> {
        let Some(agent) = self.agents.get(agent_id) else {
            return Err(Reply::BadRequest("No agent found with specified ID".to_owned()));
        };
        validation::normalise(&mut operation, None).map_err(Reply::BadRequest)?;
        validation::validate(&operation, principal.and_then(Principal::name), None).map_err(|error| {
            let kind = operation.r#type().as_str_name();
            Reply::BadRequest(format!("Invalid {kind} operation on agent {}: {error}", agent.name()))
        })?;
        check_ready(agent).map_err(Reply::Conflict)?;
        let conversions = conversions(&operation).map_err(Reply::BadRequest)?;
        self.make_free(turn, agent_id, &conversions);
        self.allocator
            .convert_free(agent_id, &conversions)
            .map_err(|error| Reply::Conflict(error.to_string()))?;
        self.begin_operation(turn, agent_id, None, operation, &conversions);
        Ok(())
    }

    /// Takes offers back that hold some of what is needed, one by one until there is enough.
    fn make_free(&mut self, turn: &mut Turn<'_>, agent_id: &AgentId, conversions: &[Conversion]) {
        let mut missing = conversions.iter().fold(Resources::new(), |sum, it| sum + &it.consumed);
        let offers: Vec<_> = self.agents[agent_id].offers.iter().cloned().collect();
        for offer in offers {
            let free = self.allocator.free(agent_id).cloned().unwrap_or_default();
            if free.clone().apply(conversions).is_ok() {
                return;
            }
            let held = self.offers[&offer].resources.unallocated();
            let before = missing.clone();
            missing.subtract_available(&held);
            if missing != before {
                self.rescind_offer(turn, &offer);
            }
        }
    }

    /// Counts on an operation that was checked, and sends it to its agent.
    fn begin_operation(
        &mut self,
        turn: &mut Turn<'_>,
        agent_id: &AgentId,
        framework_id: Option<&FrameworkId>,
        info: Operation,
        conversions: &[Conversion],
    ) {
        let uuid = self.rng.uuid_bytes().to_vec();
        let agent = self.agents.get_mut(agent_id).expect("an operation is on a registered agent");
        let unallocated: Vec<_> = conversions.iter().map(Conversion::unallocated).collect();
        agent.total.apply(&unallocated).expect("what is free or offered is part of all there is");
        let status = OperationStatus {
            operation_id: info.id.clone(),
            state: OperationState::OperationPending.into(),
            agent_id: Some(message::agent_id(agent_id)),
            ..OperationStatus::default()
        };
        let known = v1::Operation {
            framework_id: framework_id.map(message::framework_id),
            agent_id: Some(message::agent_id(agent_id)),
            info: info.clone(),
            latest_status: status,
            statuses: Vec::new(),
            uuid: v1::Uuid { value: uuid.clone() },
        };
        agent.operations.insert(uuid.clone(), Box::new(known));
        if let Some(conn) = agent.conn {
            let apply = ApplyOperation {
                framework_id: framework_id.map(message::framework_id),
                operation_uuid: uuid,
                info: Some(Box::new(info)),
            };
            turn.tell_agent(conn, Body::ApplyOperation(apply));
        }
    }

    /// An agent tells how an operation ended.
    pub(crate) fn operation_update(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        agent_id: &AgentId,
        update: OperationUpdate,
    ) {
        self.counters.count("messages_operation_status_update");
        let Some(mut status) = update.status else { return self.counters.count("dropped_messages") };
        let status_uuid = status.uuid.as_ref().map(|uuid| uuid.value.clone());
        // One that is not welcome yet has told its operations, and is not to change them before they are known.
        let Some(agent) = self.agents.get_mut(agent_id).filter(|agent| agent.conn == Some(conn)) else {
            return self.counters.count("invalid_operation_status_updates");
        };
        let now = turn.now.wall;
        let waits = now.since(agent.reregistered.unwrap_or(agent.registered)) < ADOPTION;
        let Some(known) = agent.operations.get_mut(&update.operation_uuid) else {
            // It was acknowledged, and the agent has not heard of that yet.
            self.counters.count("invalid_operation_status_updates");
            return acknowledge(turn, conn, update.operation_uuid, status_uuid);
        };
        self.counters.count("valid_operation_status_updates");
        status.operation_id.clone_from(&known.info.id);
        let has_failed = status.state() != OperationState::OperationFinished;
        known.latest_status = status.clone();
        if known.statuses.last() != Some(&status) {
            known.statuses = vec![status.clone()];
        }
        let framework = known.framework_id.as_ref().map(|id| FrameworkId::from(id.value.as_str()));
        let framework = framework.filter(|_| known.info.id.is_some());
        let who = match &framework {
            Some(id) if self.frameworks.contains_key(id) => Recipient::Framework,
            Some(id) if !self.is_completed(id) && waits => Recipient::Later,
            _ => Recipient::Nobody,
        };
        if status_uuid.is_none() || matches!(who, Recipient::Nobody) {
            self.forget_operation(agent_id, &update.operation_uuid);
        }
        match (who, framework) {
            (Recipient::Framework, Some(id)) => {
                self.send_event(turn, &id, event::operation_status(status));
            }
            (Recipient::Nobody, _) => acknowledge(turn, conn, update.operation_uuid, status_uuid),
            _ => {}
        }
        if has_failed {
            // What was counted on is not there: the agent says again what is.
            turn.close(conn);
            self.agent_closed(turn, conn, false);
        }
    }

    fn forget_operation(&mut self, agent_id: &AgentId, uuid: &[u8]) {
        if let Some(agent) = self.agents.get_mut(agent_id) {
            agent.operations.remove(uuid);
            self.emptied.extend(agent.deactivation.as_ref().map(|_| agent_id.clone()));
        }
    }

    /// A framework knows how its operation ended.
    pub(crate) fn acknowledge_operation(
        &mut self,
        turn: &mut Turn<'_>,
        id: &FrameworkId,
        call: call::AcknowledgeOperationStatus,
    ) {
        self.counters.count("messages_operation_status_update_acknowledgement");
        let agent_id = AgentId::from(call.agent_id.map(|id| id.value).unwrap_or_default());
        let found = self.agents.get(&agent_id).and_then(|agent| {
            let is_it = |known: &v1::Operation| {
                is_of(known, id)
                    && known.info.id.as_ref() == Some(&call.operation_id)
                    && known.latest_status.uuid.as_ref().is_some_and(|uuid| uuid.value == call.uuid)
            };
            let (uuid, _) = agent.operations.iter().find(|(_, known)| is_it(known))?;
            Some((agent.conn?, uuid.clone()))
        });
        let Some((conn, uuid)) = found else {
            return self.counters.count("invalid_operation_status_update_acknowledgements");
        };
        self.counters.count("valid_operation_status_update_acknowledgements");
        self.forget_operation(&agent_id, &uuid);
        acknowledge(turn, conn, uuid, Some(call.uuid));
    }

    /// Answers for the operations that a framework asks about, or for all it has if it names none.
    pub(crate) fn reconcile_operations(
        &mut self,
        turn: &mut Turn<'_>,
        id: &FrameworkId,
        call: call::ReconcileOperations,
    ) {
        self.counters.count("messages_reconcile_operations");
        let all: Vec<OperationStatus> = if call.operations.is_empty() {
            let known = self.operations().filter(|known| is_of(known, id) && known.info.id.is_some());
            known.map(latest_status).collect()
        } else {
            call.operations.into_iter().map(|asked| self.reconciled(id, asked)).collect()
        };
        for status in all {
            self.send_event(turn, id, event::operation_status(status));
        }
    }

    fn reconciled(&self, id: &FrameworkId, asked: call::reconcile_operations::Operation) -> OperationStatus {
        let is_it =
            |known: &&v1::Operation| is_of(known, id) && known.info.id.as_ref() == Some(&asked.operation_id);
        let agent_id = asked.agent_id.as_ref().map(|id| AgentId::from(id.value.as_str()));
        let known = match agent_id.as_ref().and_then(|id| self.agents.get(id)) {
            Some(agent) => agent.operations.values().map(|known| &**known).find(is_it),
            None => self.operations().find(is_it),
        };
        if let Some(known) = known {
            return latest_status(known);
        }
        let (state, text) = match &agent_id {
            None => (
                OperationState::OperationUnknown,
                "Reconciliation: Operation is unknown and no 'agent_id' was provided",
            ),
            Some(id) if self.recovered_agents.contains_key(id) => (
                OperationState::OperationRecovering,
                "Reconciliation: Agent is recovered but has not re-registered",
            ),
            Some(id) if self.agents.contains_key(id) => {
                (OperationState::OperationUnknown, "Reconciliation: Operation is unknown")
            }
            Some(id) if self.unreachable_agents.contains_key(id) => {
                (OperationState::OperationUnreachable, "Reconciliation: Agent is unreachable")
            }
            Some(id) if self.gone_agents.contains_key(id) => {
                (OperationState::OperationGoneByOperator, "Reconciliation: Agent marked gone by operator")
            }
            Some(_) => {
                (OperationState::OperationUnknown, "Reconciliation: Both operation and agent are unknown")
            }
        };
        OperationStatus {
            operation_id: Some(asked.operation_id),
            state: state.into(),
            message: Some(text.to_owned()),
            agent_id: asked.agent_id,
            resource_provider_id: asked.resource_provider_id,
            ..OperationStatus::default()
        }
    }

    /// All operations that are on their way or whose ends are not acknowledged.
    pub fn operations(&self) -> impl Iterator<Item = &v1::Operation> {
        self.agents.values().flat_map(|agent| agent.operations.values().map(|known| &**known))
    }

    /// An agent says which operations it knows: those that it lacks never reached it, or their
    /// acknowledgement did.
    pub(crate) fn compare_operations(
        &mut self,
        turn: &mut Turn<'_>,
        agent_id: &AgentId,
        brought: &[v1::Operation],
    ) {
        let Some(agent) = self.agents.get_mut(agent_id) else { return };
        let brought = brought.iter().take(MAX_OPERATIONS);
        let brought = brought.map(|known| (known.uuid.value.clone(), Box::new(known.clone()))).collect();
        let before = std::mem::replace(&mut agent.operations, brought);
        self.emptied.extend(agent.deactivation.as_ref().map(|_| agent_id.clone()));
        let lost: Vec<_> =
            before.into_iter().filter(|(uuid, _)| !agent.operations.contains_key(uuid)).collect();
        for (_, known) in lost {
            let text = "Reconciliation: Operation is unknown to the agent";
            self.end_operation(turn, agent_id, &known, OperationState::OperationDropped, text);
        }
    }

    /// An agent is gone with what was under way on it.
    pub(crate) fn end_operations(&mut self, turn: &mut Turn<'_>, agent_id: &AgentId, state: OperationState) {
        let Some(agent) = self.agents.get_mut(agent_id) else { return };
        for known in std::mem::take(&mut agent.operations).into_values() {
            self.end_operation(turn, agent_id, &known, state, "Agent is gone");
        }
    }

    /// Tells the framework that asked for it, unless it has been told how it ended. Nobody acknowledges that.
    fn end_operation(
        &mut self,
        turn: &mut Turn<'_>,
        agent_id: &AgentId,
        known: &v1::Operation,
        state: OperationState,
        text: &str,
    ) {
        let id = known.framework_id.as_ref().map(|id| FrameworkId::from(id.value.as_str()));
        let is_told = known.latest_status.state() != OperationState::OperationPending;
        let hears = |id: &FrameworkId| known.info.id.is_some() && self.frameworks.contains_key(id);
        let Some(id) = id.filter(|id| !is_told && hears(id)) else { return };
        let status = OperationStatus {
            operation_id: known.info.id.clone(),
            state: state.into(),
            message: Some(text.to_owned()),
            agent_id: Some(message::agent_id(agent_id)),
            ..OperationStatus::default()
        };
        self.send_event(turn, &id, event::operation_status(status));
    }

    /// A framework is gone: nobody else will acknowledge how its operations ended.
    pub(crate) fn disown_operations(&mut self, turn: &mut Turn<'_>, id: &FrameworkId) {
        let mut ended = Vec::new();
        for agent in self.agents.values_mut().filter(|agent| !agent.operations.is_empty()) {
            let Some(conn) = agent.conn else { continue };
            agent.operations.retain(|uuid, known| {
                let Some(told) = known.latest_status.uuid.as_ref().filter(|_| is_of(known, id)) else {
                    return true;
                };
                ended.push((agent.id.clone(), conn, uuid.clone(), told.value.clone()));
                false
            });
        }
        for (id, conn, uuid, told) in ended {
            acknowledge(turn, conn, uuid, Some(told));
            self.emptied.insert(id);
        }
    }
}

/// Who is told how an operation ended.
#[derive(Clone, Copy)]
enum Recipient {
    /// The framework, which acknowledges it.
    Framework,
    /// The framework, when it has come; the agent tells it again.
    Later,
    /// Nobody is there: the master acknowledges it.
    Nobody,
}

impl Agent {
    /// As Mesos names it in errors.
    fn name(&self) -> String {
        format!("{} at {} ({})", self.id, self.pid(), self.info.hostname)
    }
}

/// Whether an agent can be sent an operation.
fn check_ready(agent: &Agent) -> Result<(), String> {
    if agent.conn.is_none() {
        return Err(format!("Agent {} is disconnected", agent.id));
    }
    if agent.link_version < OPERATIONS_VERSION {
        return Err(format!("Agent {} does not know operations on resources", agent.id));
    }
    if agent.operations.len() >= MAX_OPERATIONS {
        return Err(format!(
            "Agent {} has {MAX_OPERATIONS} operations that wait for their end or its acknowledgement, which is \
             the limit",
            agent.id
        ));
    }
    Ok(())
}

fn is_of(operation: &v1::Operation, framework: &FrameworkId) -> bool {
    operation.framework_id.as_ref().is_some_and(|id| id.value == framework.as_str())
}

/// As an answer to reconciliation, which nobody acknowledges.
fn latest_status(operation: &v1::Operation) -> OperationStatus {
    OperationStatus { uuid: None, ..operation.latest_status.clone() }
}

fn acknowledge(turn: &mut Turn<'_>, conn: ConnId, operation_uuid: Vec<u8>, status_uuid: Option<Vec<u8>>) {
    if let Some(status_uuid) = status_uuid {
        turn.tell_agent(
            conn,
            Body::AcknowledgeOperation(AcknowledgeOperation { operation_uuid, status_uuid }),
        );
    }
}

/// The agent and the operation that an operator's call is about.
fn operation_of(call: Call) -> (AgentId, Operation) {
    let agent = |id: v1::AgentId| AgentId::from(id.value);
    if let Some(call) = call.reserve_resources {
        let reserve = operation::Reserve { resources: call.resources, source: call.source };
        let kind = Some(operation::Type::Reserve.into());
        return (
            agent(call.agent_id),
            Operation { r#type: kind, reserve: Some(reserve), ..Operation::default() },
        );
    }
    let call = call.unreserve_resources.unwrap_or_default();
    let unreserve = operation::Unreserve { resources: call.resources };
    let kind = Some(operation::Type::Unreserve.into());
    (agent(call.agent_id), Operation { r#type: kind, unreserve: Some(unreserve), ..Operation::default() })
}
