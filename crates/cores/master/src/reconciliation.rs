//! What agents bring along, compared with what the master knows. Mesos: `Master::reconcileKnownSlave` and
//! the end of `Master::__reregisterSlave`.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_link::{Body, Hello, KillTask, ShutdownFramework, UpdateFramework};
use base::{AgentId, ExecutorId, FrameworkId, TaskId};
use mesos_proto::v1::framework_info::capability;
use mesos_proto::v1::{self, TaskState, task_status};
use resources::{Resources, WireForm};

use crate::framework::roles;
use crate::input::ConnId;
use crate::master::Master;
use crate::message::{self, event, published};
use crate::registry;
use crate::task::{Task, is_terminal};
use crate::turn::Turn;
use crate::updates::ends_here;

/// Where an agent comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Return {
    /// It registers for the first time.
    New,
    /// It was registered, with this master or the one before it, and never given up.
    AfterFailover,
    /// It was unreachable.
    Unreachable,
    /// It says that it was registered once, but nobody remembers.
    Unknown,
}

/// What an agent brings along.
#[derive(Default)]
pub(crate) struct Brought {
    pub(crate) tasks: Vec<Task>,
    /// Those that frameworks brought along.
    pub(crate) executors: Vec<(FrameworkId, v1::ExecutorInfo, Resources)>,
    /// Frameworks that are over, or that nobody can take over.
    pub(crate) completed: BTreeSet<FrameworkId>,
    /// Tasks that run, but whose ids are those of tasks on other agents.
    pub(crate) doubled: Vec<(FrameworkId, TaskId)>,
}

impl Master {
    /// What an agent brings along, by what is to be done with it. Frameworks that are not known are added.
    pub(crate) fn sort_out(&mut self, turn: &mut Turn<'_>, hello: &Hello) -> Brought {
        let mut brought = Brought::default();
        for info in &hello.frameworks {
            let id = FrameworkId::from(info.id.as_ref().map_or("", |id| &id.value));
            if self.is_completed(&id) {
                brought.completed.insert(id);
            } else if !self.frameworks.contains_key(&id) {
                self.recover_framework(turn, &id, info);
            }
        }
        let mut seen = BTreeSet::new();
        for task in &hello.tasks {
            let id = FrameworkId::from(task.framework_id.value.as_str());
            let key = (id.clone(), TaskId::from(task.task_id.value.as_str()));
            let Some(framework) = self.frameworks.get(&id) else {
                // The agent does not say what framework that is, so nobody can ever take it over.
                brought.completed.insert(id);
                continue;
            };
            if !seen.insert(key.clone()) {
                continue;
            }
            let task = adopted(task, &framework.info);
            match framework.tasks.get(&key.1) {
                Some(known) if known.info.agent_id != task.info.agent_id => {
                    brought.doubled.extend((!task.is_terminal()).then_some(key));
                }
                _ => brought.tasks.push(task),
            }
        }
        let mut seen = BTreeSet::new();
        for executor in &hello.executors {
            let id = FrameworkId::from(executor.framework_id.as_ref().map_or("", |id| &id.value));
            let (Some(framework), Some(info)) = (self.frameworks.get(&id), &executor.executor) else {
                continue;
            };
            let is_new = seen.insert((id.clone(), info.executor_id.value.clone()));
            if is_new && !is_of_command_task(info, &id, &hello.tasks) {
                let resources = allocated(&info.resources, &framework.info);
                brought.executors.push((id, info.clone(), resources));
            }
        }
        brought
    }

    /// Takes a task that came with an agent. Its resources are counted already by the allocator.
    pub(crate) fn adopt(&mut self, turn: &mut Turn<'_>, conn: ConnId, task: Task, how: Return) {
        let (framework, id, state) = (task.framework_id(), task.id(), task.state());
        let Some(known) = self.frameworks.get_mut(&framework) else { return };
        known.completed_tasks.retain(|task| task.id() != id);
        known.unreachable_tasks.remove(&id);
        let is_aware = known.has_capability(capability::Type::PartitionAware);
        let (agent, executor) = (task.info.agent_id.clone(), task.info.executor_id.clone());
        self.add_task(turn, task);
        let text = match how {
            Return::Unreachable => "Unreachable agent re-reregistered",
            Return::Unknown => "Unknown agent reregistered",
            Return::New | Return::AfterFailover => return,
        };
        if is_terminal(state) {
            return;
        }
        if !is_aware {
            // The framework was told TASK_LOST, to it the end; the task must not go on without it.
            let key = (framework.clone(), id.clone());
            if let Some(agent) = self.agents.get_mut(agent.value.as_str()) {
                agent.killed_tasks.insert(key);
            }
            return self.kill_again(turn, conn, &framework, &id);
        }
        let reason = task_status::Reason::AgentReregistered;
        let task_id = message::task_id(&id);
        let mut status = message::status(turn.now.wall, task_id, Some(agent), state, reason, text);
        status.executor_id = executor;
        self.send_event(turn, &framework, event::update(status));
    }

    /// Tells an agent that comes back what its frameworks have become while it was away.
    /// Mesos: `Master::updateSlaveFrameworks`.
    pub(crate) fn update_frameworks_of(&self, turn: &mut Turn<'_>, conn: ConnId, hello: &Hello) {
        for told in &hello.frameworks {
            let id = FrameworkId::from(told.id.as_ref().map_or("", |id| &id.value));
            let known = self.frameworks.get(&id).filter(|known| known.is_connected() && *known.info != *told);
            if let Some(known) = known {
                let framework = Some(v1::FrameworkInfo::clone(&known.info));
                turn.tell_agent(conn, Body::UpdateFramework(UpdateFramework { framework }));
            }
        }
    }

    fn kill_again(&mut self, turn: &mut Turn<'_>, conn: ConnId, framework: &FrameworkId, task: &TaskId) {
        let kill = KillTask {
            framework_id: Some(message::framework_id(framework)),
            task_id: Some(message::task_id(task)),
            kill_policy: None,
        };
        turn.tell_agent(conn, Body::KillTask(kill));
    }

    /// Ends on an agent what it should not have brought along.
    pub(crate) fn end_unwanted(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        completed: BTreeSet<FrameworkId>,
        doubled: Vec<(FrameworkId, TaskId)>,
    ) {
        for framework in completed {
            let framework_id = Some(message::framework_id(&framework));
            turn.tell_agent(conn, Body::ShutdownFramework(ShutdownFramework { framework_id }));
        }
        for (framework, task) in doubled {
            self.kill_again(turn, conn, &framework, &task);
        }
    }

    /// A registered agent has a new connection. What it has and what the master thinks it has are compared.
    /// Mesos: `Master::reconcileKnownSlave`.
    pub(crate) fn reconnect(&mut self, turn: &mut Turn<'_>, id: &AgentId, conn: ConnId, hello: &Hello) {
        self.counters.count("slave_reregistrations");
        let new_total = total(hello);
        let info = hello.agent.clone().unwrap_or_default();
        let Some(agent) = self.agents.get_mut(id) else { return };
        let old_conn = agent.conn.replace(conn);
        agent.unreachable_at = None;
        agent.reregistered = Some(turn.now.wall);
        agent.version.clone_from(&hello.version);
        agent.capabilities.clone_from(&hello.capabilities);
        agent.boot_id.clone_from(&hello.boot_id);
        agent.link_version = agent_link::negotiate(hello).unwrap_or(agent_link::MIN_VERSION);
        let has_new_info = *agent.info != info;
        let has_new_total = agent.total != new_total;
        agent.info = Arc::new(info);
        if let Some(old) = old_conn.filter(|old| *old != conn) {
            self.agent_conns.remove(&old);
            turn.close(old);
        }
        if has_new_total {
            self.rescind_offers_of_agent(turn, id);
            if let Some(agent) = self.agents.get_mut(id) {
                agent.total.clone_from(&new_total);
            }
            self.allocator.set_agent_total(id, new_total);
        }
        self.compare_operations(turn, id, &hello.operations);
        if has_new_info {
            // Mesos tells nobody, but who routes to agents has to know.
            let info = self.agents[id].info.clone();
            self.allocator.set_agent_terms(id, crate::offers::terms(&info));
            self.persist(turn, vec![registry::put_agent(id, &info, None)]);
            turn.publish(published::agent_added(self.agents[id].view()));
            self.look_up_unavailability(turn, id);
        }
        self.welcome(turn, id, conn, hello);
        self.update_frameworks_of(turn, conn, hello);
        let brought = self.sort_out(turn, hello);
        self.forget_what_is_missing(turn, id, &brought);
        for (framework, info, resources) in brought.executors {
            let executor = ExecutorId::from(info.executor_id.value.as_str());
            let known = self.agents[id].executors.get(&framework);
            if known.is_none_or(|executors| !executors.contains_key(&executor)) {
                self.allocator.charge(&framework, id, &resources);
                self.add_executor(id, &framework, info, resources);
            }
        }
        for task in brought.tasks {
            let (framework, task_id) = (task.framework_id(), task.id());
            if !self.has_task(&framework, &task_id) {
                if task.holds_resources {
                    self.allocator.charge(&framework, id, &task.resources);
                }
                self.adopt(turn, conn, task, Return::AfterFailover);
            } else if !task.is_terminal()
                && self.agents[id].killed_tasks.contains(&(framework.clone(), task_id.clone()))
            {
                self.kill_again(turn, conn, &framework, &task_id);
            }
        }
        self.end_unwanted(turn, conn, brought.completed, brought.doubled);
        self.update_active(turn, id);
        self.repeat_decision(turn, id, hello);
    }

    /// Ends what the master thought an agent has but the agent does not: launches that were lost with the
    /// connection, and executors.
    fn forget_what_is_missing(&mut self, turn: &mut Turn<'_>, id: &AgentId, brought: &Brought) {
        let has: BTreeSet<_> = brought.tasks.iter().map(|task| (task.framework_id(), task.id())).collect();
        let missing: Vec<_> = self.agents[id].tasks.difference(&has).cloned().collect();
        for (framework, task) in missing {
            let known = &self.frameworks[&framework];
            if !known.tasks[&task].is_terminal() {
                let is_aware = known.has_capability(capability::Type::PartitionAware);
                let state = if is_aware { TaskState::TaskDropped } else { TaskState::TaskLost };
                let reason = task_status::Reason::Reconciliation;
                self.tell(
                    turn,
                    &framework,
                    &task,
                    state,
                    reason,
                    "Reconciliation: task unknown to the agent",
                );
            }
            self.complete_task(&framework, &task);
        }
        let running: BTreeSet<_> = brought
            .executors
            .iter()
            .map(|(framework, info, _)| {
                (framework.clone(), ExecutorId::from(info.executor_id.value.as_str()))
            })
            .collect();
        let known = self.agents[id].executors.iter();
        let gone: Vec<_> = known
            .flat_map(|(framework, all)| all.keys().map(|executor| (framework.clone(), executor.clone())))
            .filter(|key| !running.contains(key))
            .collect();
        for (framework, executor) in gone {
            self.remove_executor(id, &framework, &executor);
        }
    }
}

/// All that an agent has, in unallocated form. It is validated.
pub(crate) fn total(hello: &Hello) -> Resources {
    let told = if hello.total.is_empty() {
        hello.agent.as_ref().map_or(&[][..], |agent| &agent.resources)
    } else {
        &hello.total
    };
    Resources::from_wire(told).unwrap_or_default().unallocated()
}

/// The resources of a task or executor that an agent brings along. They are validated. Those from before
/// allocations had roles belong to the framework's first.
fn allocated(list: &[v1::Resource], framework: &v1::FrameworkInfo) -> Resources {
    let resources = Resources::from_wire(list).unwrap_or_default();
    if resources.is_empty() || resources.allocation_role().is_some() {
        return resources;
    }
    resources.allocated_to(roles(framework).first().map_or("*", String::as_str))
}

fn adopted(task: &v1::Task, framework: &v1::FrameworkInfo) -> Task {
    let resources = allocated(&task.resources, framework);
    let mut info = task.clone();
    info.resources = resources.to_wire(WireForm::Refined);
    let state = TaskState::try_from(info.state).unwrap_or(TaskState::TaskUnknown);
    Task { info, resources, holds_resources: !ends_here(state) }
}

/// Whether an executor is one that the agent made for a command task: it has the task's id, and the task
/// does not name it.
fn is_of_command_task(executor: &v1::ExecutorInfo, framework: &FrameworkId, tasks: &[v1::Task]) -> bool {
    tasks.iter().any(|task| {
        task.framework_id.value == framework.as_str()
            && task.task_id.value == executor.executor_id.value
            && task.executor_id.is_none()
    })
}
