//! The agent and its master.

use base::{AgentId, FrameworkId, Now};
use mesos_proto::v1::{self, AgentInfo, DrainConfig, ExecutorInfo, FrameworkInfo, Operation, Resource, Task};
use resources::WireForm;

use crate::{Agent, Effect, ExecutorState, Record};

/// Everything the agent tells a master when it registers (again).
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// With an id if the agent has one.
    pub info: AgentInfo,
    /// Frameworks that have something here.
    pub frameworks: Vec<FrameworkInfo>,
    /// Executors that frameworks brought along and that live or are being started, with their framework.
    pub executors: Vec<(FrameworkId, ExecutorInfo)>,
    /// Tasks that are not over or whose end is not acknowledged.
    pub tasks: Vec<Task>,
    /// How the operator wants everything ended, while that goes on.
    pub draining: Option<DrainConfig>,
    /// All there is, with what was reserved at run time.
    pub total: Vec<Resource>,
    /// Operations whose ends are not acknowledged.
    pub operations: Vec<Operation>,
}

impl Agent {
    /// What Hello tells. Only after [`Agent::is_recovered`]: before that the master would take tasks for lost.
    pub fn knowledge(&self) -> Knowledge {
        let living = self.frameworks.values().filter(|framework| !framework.executors.is_empty());
        let mut knowledge = Knowledge {
            info: self.info_with_id(),
            frameworks: living.map(|framework| framework.info.clone()).collect(),
            executors: Vec::new(),
            tasks: Vec::new(),
            draining: self.draining,
            total: self.total.to_wire(WireForm::Refined),
            operations: self.operations().cloned().collect(),
        };
        for (framework_id, framework) in &self.frameworks {
            for executor in framework.executors.values() {
                // As in Mesos, those of command tasks go with their tasks: their ends are not told, either.
                if executor.state != ExecutorState::Terminated && !executor.for_command {
                    knowledge.executors.push((framework_id.clone(), executor.info.clone()));
                }
                knowledge.tasks.extend(executor.tasks.values().map(|task| task.task.clone()));
            }
        }
        knowledge
    }

    /// The agent's description, with its id if it has one.
    pub fn info_with_id(&self) -> AgentInfo {
        let id = self.id.as_ref().map(|id| v1::AgentId { value: id.to_string() });
        AgentInfo { id, ..self.config.info.clone() }
    }

    pub(crate) fn register(&mut self, now: Now, agent_id: AgentId, out: &mut Vec<Effect>) {
        if self.id.as_ref().is_some_and(|id| *id != agent_id) {
            // A master never gives an agent that has an id another one; the service treats it as fatal
            // before it comes here.
            return;
        }
        self.id = Some(agent_id.clone());
        let info = self.info_with_id();
        if self.recorded.as_ref() != Some(&info)
            || self.recovered_boot.as_deref() != Some(&self.config.boot_id)
        {
            let boot_id = self.config.boot_id.clone();
            out.push(Effect::Persist(Record::Agent {
                agent_id,
                info: Box::new(info.clone()),
                boot_id: boot_id.clone(),
            }));
            self.recorded = Some(info);
            self.recovered_boot = Some(boot_id);
        }
        self.registered = true;
        self.forward_all(now, out);
        self.forward_operations(now, out);
    }

    pub(crate) fn disconnect(&mut self) {
        self.registered = false;
        self.stop_retries();
        self.stop_operation_retries();
    }

    /// The framework is back or has changed. What it was not there to hear is sent again at once.
    ///
    /// Mesos: `Slave::updateFramework`.
    pub(crate) fn update_framework(&mut self, now: Now, info: FrameworkInfo, out: &mut Vec<Effect>) {
        let id = FrameworkId::new(info.id.as_ref().map_or("", |id| &id.value));
        let Some(framework) = self.frameworks.get_mut(&id) else { return };
        if framework.info != info {
            framework.info = info.clone();
            out.push(Effect::Persist(Record::Framework { info: Box::new(info) }));
        }
        self.forward_framework(now, &id, out);
    }
}
