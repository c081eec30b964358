//! Operations on the agent's resources. Mesos: `Slave::applyOperation`.
//!
//! What an operation makes of the resources and how it ended are one record: a crash leaves both or
//! neither. An operation that has an id is remembered until its sender has acknowledged its end; of others
//! only what they did is remembered.

use std::time::Duration;

use base::{FrameworkId, Mono, Now};
use mesos_proto::v1::{self, Operation, OperationState, OperationStatus, Resource, offer};
use resources::{Conversion, Resources, WireForm, conversions};

use crate::timers::Timer;
use crate::{Agent, Config, Effect, Record};

/// Operations remembered to know a repetition. The link repeats nothing, so that a few are enough.
const MAX_APPLIED: usize = 100;

/// An operation that has ended, until that is acknowledged.
#[derive(Debug)]
pub(crate) struct EndedOperation {
    operation: Operation,
    /// When its end is sent again, and the wait that led there.
    retry: Option<(Mono, Duration)>,
}

impl Agent {
    /// All there is, with what was reserved at run time, in unallocated form.
    pub fn total(&self) -> &Resources {
        &self.total
    }

    /// The operations whose ends are not acknowledged.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.operations.values().map(|ended| &ended.operation)
    }

    /// Changes the resources, or says that they are not what the operation takes. An operation that is known
    /// already is a repetition and changes nothing.
    pub(crate) fn apply_operation(
        &mut self,
        now: Now,
        framework_id: Option<FrameworkId>,
        uuid: Vec<u8>,
        info: offer::Operation,
        out: &mut Vec<Effect>,
    ) {
        let Some(agent_id) = self.id.as_ref().map(|id| v1::AgentId { value: id.to_string() }) else { return };
        if self.operations.contains_key(&uuid) {
            return self.forward_operation(now, &uuid, self.config.update_retry.0, out);
        }
        if self.applied.contains(&uuid) {
            return;
        }
        let mut status = OperationStatus {
            operation_id: info.id.clone(),
            agent_id: Some(agent_id.clone()),
            state: OperationState::OperationFinished.into(),
            ..OperationStatus::default()
        };
        let changed = conversions(&info).and_then(|conversions| {
            let unallocated: Vec<_> = conversions.iter().map(Conversion::unallocated).collect();
            let mut total = self.total.clone();
            total.apply(&unallocated).map_err(|error| error.to_string())?;
            Ok(total)
        });
        match changed {
            Ok(total) => self.total = total,
            Err(message) => {
                // Nothing happened, so there is nothing to remember.
                status.state = OperationState::OperationDropped.into();
                status.message = Some(message);
                let status = Box::new(status);
                return out.push(Effect::OperationUpdate { uuid, framework_id, status });
            }
        }
        if self.applied.len() >= MAX_APPLIED {
            self.applied.pop_front();
        }
        self.applied.push_back(uuid.clone());
        if info.id.is_none() {
            out.push(Effect::Persist(self.resources_record()));
            return out.push(Effect::OperationUpdate { uuid, framework_id, status: Box::new(status) });
        }
        status.uuid = Some(v1::Uuid { value: self.rng.uuid_bytes().to_vec() });
        let operation = Operation {
            framework_id: framework_id.map(|id| v1::FrameworkId { value: id.to_string() }),
            agent_id: Some(agent_id),
            info,
            latest_status: status.clone(),
            statuses: vec![status],
            uuid: v1::Uuid { value: uuid.clone() },
        };
        self.operations.insert(uuid.clone(), EndedOperation { operation, retry: None });
        out.push(Effect::Persist(self.resources_record()));
        self.forward_operation(now, &uuid, self.config.update_retry.0, out);
    }

    /// Mesos: `Slave::operationStatusAcknowledgement`.
    pub(crate) fn acknowledge_operation(&mut self, uuid: &[u8], status_uuid: &[u8], out: &mut Vec<Effect>) {
        let Some(ended) = self.operations.get(uuid) else { return };
        let told = ended.operation.latest_status.uuid.as_ref();
        if told.is_none_or(|told| told.value != status_uuid) {
            return;
        }
        if let Some((at, _)) = ended.retry {
            self.timers.cancel(at, Timer::RetryOperation(uuid.to_vec()));
        }
        self.operations.remove(uuid);
        out.push(Effect::Persist(self.resources_record()));
    }

    fn resources_record(&self) -> Record {
        Record::Resources {
            reserved: self.total.dynamically_reserved().to_wire(WireForm::Refined),
            operations: self.operations().cloned().collect(),
        }
    }

    /// What was reserved is reserved again, as far as the agent still has it.
    pub(crate) fn replay_resources(&mut self, reserved: &[Resource], operations: Vec<Operation>) {
        self.total = configured(&self.config);
        for resource in &Resources::from_wire(reserved).unwrap_or_default() {
            let converted: Resources = std::iter::once(resource.clone()).collect();
            let consumed = converted.as_configured();
            // An agent that was started with less has lost what it does not have any more.
            let _ = self.total.apply(&[Conversion { consumed, converted }]);
        }
        self.operations = operations
            .into_iter()
            .map(|operation| (operation.uuid.value.clone(), EndedOperation { operation, retry: None }))
            .collect();
    }

    fn forward_operation(&mut self, now: Now, uuid: &[u8], wait: Duration, out: &mut Vec<Effect>) {
        if !self.registered {
            return;
        }
        let Some(ended) = self.operations.get_mut(uuid) else { return };
        let timer = Timer::RetryOperation(uuid.to_vec());
        if let Some((at, _)) = ended.retry.take() {
            self.timers.cancel(at, timer.clone());
        }
        let at = now.mono + wait;
        ended.retry = Some((at, wait));
        self.timers.set(at, timer);
        let framework_id = ended.operation.framework_id.as_ref().map(|id| FrameworkId::new(&id.value));
        let status = Box::new(ended.operation.latest_status.clone());
        out.push(Effect::OperationUpdate { uuid: uuid.to_vec(), framework_id, status });
    }

    pub(crate) fn retry_operation(&mut self, now: Now, at: Mono, uuid: &[u8], out: &mut Vec<Effect>) {
        let longest = self.config.update_retry.1;
        let Some(ended) = self.operations.get(uuid) else { return };
        let Some((_, wait)) = ended.retry.filter(|(due, _)| *due == at) else { return };
        self.forward_operation(now, uuid, (wait * 2).min(longest), out);
    }

    /// Sends the ends of all operations: the master is new or back.
    pub(crate) fn forward_operations(&mut self, now: Now, out: &mut Vec<Effect>) {
        let all: Vec<Vec<u8>> = self.operations.keys().cloned().collect();
        for uuid in all {
            self.forward_operation(now, &uuid, self.config.update_retry.0, out);
        }
    }

    /// The master does not listen.
    pub(crate) fn stop_operation_retries(&mut self) {
        for (uuid, ended) in &mut self.operations {
            if let Some((at, _)) = ended.retry.take() {
                self.timers.cancel(at, Timer::RetryOperation(uuid.clone()));
            }
        }
    }

    /// What must hold of the resources between any two inputs.
    pub(crate) fn check_operations(&self) {
        assert_eq!(
            self.total.as_configured(),
            configured(&self.config),
            "operations make nothing and lose nothing"
        );
        assert!(self.applied.len() <= MAX_APPLIED);
        for (uuid, ended) in &self.operations {
            assert_eq!(ended.operation.uuid.value, *uuid);
            assert_eq!(ended.retry.is_some(), self.registered, "an end is sent until it is acknowledged");
        }
    }
}

/// What the agent has before anything is done to it. The service has read it before.
pub(crate) fn configured(config: &Config) -> Resources {
    Resources::from_wire(&config.info.resources).unwrap_or_default().unallocated()
}

#[cfg(test)]
mod tests;
