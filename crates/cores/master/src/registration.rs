//! How agents come, come back, and go. Mesos: `Master::registerSlave`, `Master::reregisterSlave`,
//! `Master::markUnreachable`, `Master::removeSlave`.
//!
//! What the registry has to know first is asked for with [`Effect::Persist`](crate::Effect::Persist) and goes
//! on in [`Master::persisted`]. Meanwhile the agent's id is busy, and a Hello for it waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent_link::{Body, Hello, Refused, Shutdown, Welcome};
use base::{AgentId, FrameworkId, Mono};
use mesos_proto::v1::framework_info::capability;
use mesos_proto::v1::task_status::Reason;
use mesos_proto::v1::{AgentInfo, OperationState, TaskState};
use resources::Resources;

use crate::agent::{Agent, RecoveredAgent, UnreachableAgent};
use crate::durable::Next;
use crate::effect::Reply;
use crate::gone::MARKED_GONE;
use crate::input::ConnId;
use crate::master::Master;
use crate::message::{self, event, published};
use crate::reconciliation::{Return, total};
use crate::registry::{self, RegistryOp};
use crate::timer::Timer;
use crate::turn::Turn;
use crate::updates::ends_here;
use crate::upkeep::MACHINE_DOWN;
use crate::validation;

/// Agents that wait for the registry.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    /// Agents that are being admitted.
    admissions: BTreeMap<AgentId, Admission>,
    /// Agents that are being removed.
    departures: BTreeMap<AgentId, Leaving>,
}

/// An agent that is being removed.
#[derive(Debug)]
struct Leaving {
    departure: Departure,
    /// The Hello of one that came back meanwhile.
    came_back: Option<Admission>,
}

/// An agent that said Hello.
#[derive(Debug)]
struct Admission {
    /// `None` if it has gone meanwhile.
    conn: Option<ConnId>,
    hello: Box<Hello>,
    /// Whether it has come back, or gets its id now.
    comes_back: bool,
}

impl Registrations {
    /// Whether the registry is asked to admit this agent or to let it go.
    pub(crate) fn is_busy(&self, id: &AgentId) -> bool {
        self.admissions.contains_key(id) || self.departures.contains_key(id)
    }

    /// How an agent is about to go.
    pub(crate) fn departure(&self, id: &AgentId) -> Option<&Departure> {
        self.departures.get(id).map(|leaving| &leaving.departure)
    }

    /// The same of some agent that was registered before.
    pub(crate) fn is_any_busy(&self) -> bool {
        !self.departures.is_empty() || self.admissions.values().any(|admission| admission.comes_back)
    }
}

/// Why an agent goes.
#[derive(Clone, Debug)]
pub(crate) enum Departure {
    /// It was silent for too long, and may come back.
    Unreachable,
    /// It is not coming back, for this reason.
    Removed(String),
    /// It may not come back, ever; answered on this connection if an operator asked for it.
    Gone(Option<ConnId>),
}

impl Master {
    pub(crate) fn agent_frame(&mut self, turn: &mut Turn<'_>, conn: ConnId, body: Body) {
        let agent = self.agent_conns.get(&conn).cloned();
        match (agent, body) {
            (None, Body::Hello(hello)) => self.hello(turn, conn, Box::new(hello)),
            (Some(agent), Body::Update(update)) => self.status_update(turn, conn, &agent, update),
            (Some(agent), Body::OperationUpdate(update)) => self.operation_update(turn, conn, &agent, update),
            (Some(agent), Body::ExecutorExited(exited)) => self.executor_exited(turn, &agent, exited),
            (Some(agent), Body::ExecutorMessage(said)) => self.executor_message(turn, &agent, said),
            (Some(agent), Body::Goodbye(goodbye)) => {
                self.counters.count("messages_unregister_slave");
                self.depart(turn, &agent, Departure::Removed(goodbye.reason));
            }
            // A second Hello, a frame before the first, or one that only a master sends.
            _ => self.counters.count("dropped_messages"),
        }
    }

    fn refuse(turn: &mut Turn<'_>, conn: ConnId, reason: String, permanent: bool) {
        turn.tell_agent(conn, Body::Refused(Refused { reason, permanent }));
        turn.close(conn);
    }

    /// Has an agent end all it runs and leave.
    pub(crate) fn shut_down(turn: &mut Turn<'_>, conn: ConnId, reason: &str) {
        Self::tell_to_shut_down(turn, conn, reason);
        turn.close(conn);
    }

    pub(crate) fn tell_to_shut_down(turn: &mut Turn<'_>, conn: ConnId, reason: &str) {
        turn.tell_agent(conn, Body::Shutdown(Shutdown { reason: reason.to_owned() }));
    }

    fn hello(&mut self, turn: &mut Turn<'_>, conn: ConnId, hello: Box<Hello>) {
        let id = hello.agent.as_ref().and_then(|agent| agent.id.as_ref()).map(|id| AgentId::from(&*id.value));
        self.counters.count(match id {
            Some(_) => "messages_reregister_slave",
            None => "messages_register_slave",
        });
        if agent_link::negotiate(&hello).is_none() {
            let (min, max) = (hello.min_version, hello.max_version);
            let (ours, newest) = (agent_link::MIN_VERSION, agent_link::MAX_VERSION);
            let reason = format!(
                "the agent speaks versions {min} to {max} of the agent link, this master {ours} to {newest}"
            );
            return Self::refuse(turn, conn, reason, true);
        }
        if let Err(reason) = validation::agent::validate(&hello) {
            return Self::refuse(turn, conn, reason, true);
        }
        if hello.agent.as_ref().is_some_and(|agent| self.refuse_if_down(turn, conn, agent)) {
            return;
        }
        match id {
            None => self.register(turn, conn, hello),
            Some(id) => self.reregister(turn, &id, conn, hello),
        }
    }

    fn register(&mut self, turn: &mut Turn<'_>, conn: ConnId, mut hello: Box<Hello>) {
        let id = self.new_agent_id();
        let info = hello.agent.get_or_insert_with(AgentInfo::default);
        info.id = Some(message::agent_id(&id));
        // An agent that lost its state is a new one; what ran under the old id at this address is gone.
        let (hostname, port) = (info.hostname.clone(), info.port);
        let same_address = |info: &AgentInfo| info.hostname == hostname && info.port == port;
        let registered = self.agents.values().map(|agent| (&agent.id, &agent.info));
        let recovered = self.recovered_agents.iter().map(|(id, agent)| (id, &agent.info));
        let old: Vec<AgentId> = registered
            .chain(recovered)
            .filter(|(_, info)| same_address(info))
            .map(|(id, _)| id.clone())
            .collect();
        self.admit_durably(turn, id, conn, hello, false);
        for id in old {
            self.depart(
                turn,
                &id,
                Departure::Removed("a new agent registered at the same address".to_owned()),
            );
        }
    }

    /// An id that no agent has, not even one that made it up.
    fn new_agent_id(&mut self) -> AgentId {
        loop {
            let id = AgentId::from(format!("{}-S{}", self.config.info.id, self.next_agent));
            self.next_agent += 1;
            let is_taken = self.agents.contains_key(&id)
                || self.recovered_agents.contains_key(&id)
                || self.unreachable_agents.contains_key(&id)
                || self.gone_agents.contains_key(&id)
                || self.registrations.admissions.contains_key(&id);
            if !is_taken {
                return id;
            }
        }
    }

    fn reregister(&mut self, turn: &mut Turn<'_>, id: &AgentId, conn: ConnId, hello: Box<Hello>) {
        if self.gone_agents.contains_key(id) {
            Self::shut_down(turn, conn, MARKED_GONE);
        } else if let Some(leaving) = self.registrations.departures.get_mut(id) {
            let new = Admission { conn: Some(conn), hello, comes_back: true };
            self.agent_conns.insert(conn, id.clone());
            if let Some(old) = leaving.came_back.replace(new).and_then(|old| old.conn) {
                self.agent_conns.remove(&old);
                turn.close(old);
            }
        } else if let Some(admission) = self.registrations.admissions.get_mut(id) {
            self.agent_conns.insert(conn, id.clone());
            admission.hello = hello;
            if let Some(old) = admission.conn.replace(conn) {
                self.agent_conns.remove(&old);
                turn.close(old);
            }
        } else if self.agents.contains_key(id) {
            self.cancel_removal(id);
            self.agent_conns.insert(conn, id.clone());
            self.reconnect(turn, id, conn, &hello);
        } else if let Some(recovered) = self.recovered_agents.remove(id) {
            self.cancel_removal(id);
            self.agent_conns.insert(conn, id.clone());
            let info = hello.agent.clone().unwrap_or_default();
            if info != *recovered.info {
                self.persist(turn, vec![registry::put_agent(id, &info, None)]);
            }
            self.admit(turn, id, conn, &hello, Return::AfterFailover);
        } else {
            self.admit_durably(turn, id.clone(), conn, hello, true);
        }
    }

    fn admit_durably(
        &mut self,
        turn: &mut Turn<'_>,
        id: AgentId,
        conn: ConnId,
        hello: Box<Hello>,
        comes_back: bool,
    ) {
        let info = hello.agent.clone().unwrap_or_default();
        let ops = vec![registry::put_agent(&id, &info, None)];
        self.persist_then(turn, ops, Next::Admit(id.clone()));
        self.agent_conns.insert(conn, id.clone());
        self.registrations.admissions.insert(id, Admission { conn: Some(conn), hello, comes_back });
    }

    pub(crate) fn admitted(&mut self, turn: &mut Turn<'_>, id: &AgentId) {
        let Some(admission) = self.registrations.admissions.remove(id) else { return };
        if admission.hello.agent.as_ref().is_some_and(|agent| self.is_down(agent)) {
            // Maintenance started meanwhile: all that was there is removed.
            if let Some(conn) = admission.conn {
                self.agent_conns.remove(&conn);
                Self::shut_down(turn, conn, MACHINE_DOWN);
            }
            self.unreachable_agents.remove(id);
            self.deactivations.remove(id);
            return self.persist(turn, vec![registry::remove_agent(id), registry::remove_deactivation(id)]);
        }
        let unreachable = self.unreachable_agents.remove(id).is_some();
        match (admission.conn, admission.comes_back) {
            (Some(conn), true) if unreachable => {
                self.admit(turn, id, conn, &admission.hello, Return::Unreachable)
            }
            (Some(conn), true) => self.admit(turn, id, conn, &admission.hello, Return::Unknown),
            (Some(conn), false) => self.admit(turn, id, conn, &admission.hello, Return::New),
            (None, true) => {
                // It went again: as if it had been admitted before a failover of this master.
                let info = Arc::new(admission.hello.agent.unwrap_or_default());
                self.await_recovered(id, info, turn.now.mono + self.config.agent_silence());
            }
            (None, false) => {
                // It never heard of its id and will ask for another one.
                self.persist(turn, vec![registry::remove_agent(id)]);
            }
        }
    }

    fn await_recovered(&mut self, id: &AgentId, info: Arc<AgentInfo>, unreachable_at: Mono) {
        self.timers.set(unreachable_at, Timer::AgentUnreachable(id.clone()));
        self.recovered_agents.insert(id.clone(), RecoveredAgent { info, unreachable_at });
    }

    /// Adds an agent with all that it brings along.
    fn admit(&mut self, turn: &mut Turn<'_>, id: &AgentId, conn: ConnId, hello: &Hello, how: Return) {
        self.counters.count(match how {
            Return::New => "slave_registrations",
            _ => "slave_reregistrations",
        });
        let info = hello.agent.clone().unwrap_or_default();
        let total = total(hello);
        let brought = self.sort_out(turn, hello);
        let mut used = BTreeMap::<FrameworkId, Resources>::new();
        for task in brought.tasks.iter().filter(|task| task.holds_resources) {
            *used.entry(task.framework_id()).or_default() += &task.resources;
        }
        for (framework, _, resources) in &brought.executors {
            *used.entry(framework.clone()).or_default() += resources;
        }
        let deactivation = self.deactivations.get(id).cloned();
        let active = deactivation.is_none();
        self.allocator.add_agent(id, total.clone(), &used, active);
        self.allocator.set_agent_terms(id, crate::offers::terms(&info));
        let (now, is_new) = (turn.now.wall, matches!(how, Return::New));
        let agent = Agent {
            id: id.clone(),
            info: Arc::new(info),
            version: hello.version.clone(),
            capabilities: hello.capabilities.clone(),
            boot_id: hello.boot_id.clone(),
            conn: Some(conn),
            active,
            registered: now,
            reregistered: (!is_new).then_some(now),
            total,
            used: BTreeMap::new(),
            offered: Resources::new(),
            offers: BTreeSet::new(),
            tasks: BTreeSet::new(),
            executors: BTreeMap::new(),
            operations: BTreeMap::new(),
            link_version: agent_link::negotiate(hello).unwrap_or(agent_link::MIN_VERSION),
            killed_tasks: BTreeSet::new(),
            unreachable_at: None,
            deactivation,
        };
        self.agents.insert(id.clone(), agent);
        self.look_up_unavailability(turn, id);
        self.compare_operations(turn, id, &hello.operations);
        self.welcome(turn, id, conn, hello);
        self.update_frameworks_of(turn, conn, hello);
        turn.publish(published::agent_added(self.agents[id].view()));
        for (framework, info, resources) in brought.executors {
            self.add_executor(id, &framework, info, resources);
        }
        for task in brought.tasks {
            self.adopt(turn, conn, task, how);
        }
        self.end_unwanted(turn, conn, brought.completed, brought.doubled);
        self.repeat_decision(turn, id, hello);
    }

    pub(crate) fn welcome(&mut self, turn: &mut Turn<'_>, id: &AgentId, conn: ConnId, hello: &Hello) {
        let millis = |time: std::time::Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let welcome = Welcome {
            version: agent_link::negotiate(hello).unwrap_or(agent_link::MAX_VERSION),
            agent_id: Some(message::agent_id(id)),
            master_id: self.config.info.id.clone(),
            heartbeat_millis: millis(self.config.agent_ping_timeout),
            silence_millis: millis(self.config.agent_silence()),
        };
        turn.tell_agent(conn, Body::Welcome(welcome));
    }

    pub(crate) fn agent_closed(&mut self, turn: &mut Turn<'_>, conn: ConnId, silent: bool) {
        let Some(id) = self.agent_conns.remove(&conn) else { return };
        let waiting = [
            self.registrations.admissions.get_mut(&id),
            self.registrations.departures.get_mut(&id).and_then(|leaving| leaving.came_back.as_mut()),
        ];
        for admission in waiting.into_iter().flatten().filter(|admission| admission.conn == Some(conn)) {
            admission.conn = None;
        }
        let Some(agent) = self.agents.get_mut(&id).filter(|agent| agent.conn == Some(conn)) else { return };
        agent.conn = None;
        let unreachable_at = turn.now.mono + self.config.agent_silence();
        agent.unreachable_at = Some(unreachable_at);
        self.update_active(turn, &id);
        if silent {
            self.give_up(turn, &id);
        } else {
            self.timers.set(unreachable_at, Timer::AgentUnreachable(id));
        }
    }

    pub(crate) fn rescind_offers_of_agent(&mut self, turn: &mut Turn<'_>, id: &AgentId) {
        let offers: Vec<_> = self.agents[id].offers.iter().cloned().collect();
        for offer in &offers {
            self.rescind_offer(turn, offer);
        }
    }

    pub(crate) fn agent_timeout(&mut self, turn: &mut Turn<'_>, id: &AgentId, at: Mono) {
        let registered = self.agents.get(id).is_some_and(|agent| agent.unreachable_at == Some(at));
        let recovered = self.recovered_agents.get(id).is_some_and(|agent| agent.unreachable_at == at);
        if recovered && self.stop_if_too_few_came_back(turn) {
            return;
        }
        if registered || recovered {
            self.give_up(turn, id);
        }
    }

    /// Asks the registry to let an agent go.
    pub(crate) fn depart(&mut self, turn: &mut Turn<'_>, id: &AgentId, departure: Departure) {
        if self.registrations.departures.contains_key(id) {
            return;
        }
        let registered = self.agents.get(id).map(|agent| agent.info.clone());
        let info = registered.or_else(|| self.recovered_agents.get(id).map(|agent| agent.info.clone()));
        let Some(info) = info else { return };
        self.cut_off(turn, id);
        let ops = match &departure {
            Departure::Unreachable => {
                let mut ops = vec![registry::put_agent(id, &info, Some(turn.now.wall))];
                if let Some(forgotten) = self.forget_long_unreachable() {
                    ops.extend(Master::forget_agent(&forgotten));
                }
                ops
            }
            Departure::Removed(_) | Departure::Gone(_) => Master::forget_agent(id).to_vec(),
        };
        self.leave_durably(turn, id, ops, departure);
    }

    /// Asks the registry for `ops` and lets the agent go when they are durable.
    pub(crate) fn leave_durably(
        &mut self,
        turn: &mut Turn<'_>,
        id: &AgentId,
        ops: Vec<RegistryOp>,
        departure: Departure,
    ) {
        self.cancel_removal(id);
        self.persist_then(turn, ops, Next::Depart(id.clone(), departure.clone()));
        self.registrations.departures.insert(id.clone(), Leaving { departure, came_back: None });
    }

    /// Ends the connection to an agent that is registered.
    fn cut_off(&mut self, turn: &mut Turn<'_>, id: &AgentId) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.unreachable_at = None;
        let conn = agent.conn.take();
        self.update_active(turn, id);
        if let Some(conn) = conn {
            self.agent_conns.remove(&conn);
            turn.close(conn);
        }
    }

    /// What takes an agent out of the registry, and what was decided about it: also what is not yet known to be written.
    pub(crate) fn forget_agent(id: &AgentId) -> [RegistryOp; 2] {
        [registry::remove_agent(id), registry::remove_deactivation(id)]
    }

    /// Makes room for one more unreachable agent: the one that is for the longest time goes.
    fn forget_long_unreachable(&mut self) -> Option<AgentId> {
        if self.unreachable_agents.len() < self.config.max_unreachable_agents {
            return None;
        }
        let candidates = self.unreachable_agents.iter().filter(|(id, _)| !self.registrations.is_busy(id));
        let (id, _) = candidates.min_by_key(|(_, agent)| agent.since)?;
        let id = id.clone();
        self.unreachable_agents.remove(&id);
        Some(id)
    }

    pub(crate) fn departed(&mut self, turn: &mut Turn<'_>, id: &AgentId, departure: Departure) {
        let came_back = self.registrations.departures.remove(id).and_then(|leaving| leaving.came_back);
        let recovered = self.recovered_agents.remove(id).map(|agent| agent.info);
        let registered = self.agents.get(id).map(|agent| agent.info.clone());
        let (was_recovered, was_registered) = (recovered.is_some(), registered.is_some());
        if was_registered {
            self.end_agent(turn, id, &departure);
        }
        match &departure {
            Departure::Unreachable => {
                if let Some(info) = registered.or(recovered) {
                    let since = turn.now.wall;
                    self.unreachable_agents.insert(id.clone(), UnreachableAgent { info, since });
                }
                self.count_removal("slave_removals/reason_unhealthy", was_recovered);
            }
            Departure::Removed(_) => {
                self.deactivations.remove(id);
                self.count_removal("slave_removals/reason_unregistered", was_recovered);
            }
            Departure::Gone(_) => {
                self.deactivations.remove(id);
                self.gone(turn, id);
            }
        }
        // What was unreachable already has failed before.
        if was_registered || was_recovered {
            let connected: Vec<_> = self.streams.values().cloned().collect();
            for framework in connected {
                self.send_event(turn, &framework, event::agent_failed(id));
            }
        }
        if let Some(Admission { conn: Some(conn), hello, .. }) = came_back {
            self.agent_conns.remove(&conn);
            let is_down = hello.agent.as_ref().is_some_and(|agent| self.refuse_if_down(turn, conn, agent));
            if !is_down {
                self.reregister(turn, id, conn, hello);
            }
        }
        if let Departure::Gone(Some(conn)) = departure {
            turn.reply(conn, Reply::Ok);
        }
    }

    fn count_removal(&mut self, reason: &'static str, was_recovered: bool) {
        self.counters.count("slave_removals");
        self.counters.count(reason);
        if was_recovered {
            self.counters.count("recovery_slave_removals");
        }
    }

    /// Takes a registered agent out, with all that is on it.
    fn end_agent(&mut self, turn: &mut Turn<'_>, id: &AgentId, departure: &Departure) {
        let agent = &self.agents[id];
        let (state, reason, text) = match departure {
            Departure::Unreachable => {
                (TaskState::TaskUnreachable, Reason::AgentRemoved, "health check timed out".to_owned())
            }
            Departure::Removed(cause) => {
                let text = format!("Agent {} removed: {cause}", agent.info.hostname);
                (TaskState::TaskLost, Reason::AgentRemoved, text)
            }
            Departure::Gone(_) => {
                (TaskState::TaskGoneByOperator, Reason::AgentRemovedByOperator, MARKED_GONE.to_owned())
            }
        };
        if let (Departure::Gone(_), Some(conn)) = (departure, agent.conn) {
            self.agent_conns.remove(&conn);
            Self::shut_down(turn, conn, MARKED_GONE);
        }
        let tasks: Vec<_> = self.agents[id].tasks.iter().cloned().collect();
        for (framework, task) in tasks {
            let known = &self.frameworks[&framework];
            if ends_here(known.tasks[&task].state()) {
                self.complete_task(&framework, &task);
                continue;
            }
            let is_aware = known.has_capability(capability::Type::PartitionAware);
            let (state, reason) =
                if is_aware { (state, reason) } else { (TaskState::TaskLost, Reason::AgentRemoved) };
            self.tell(turn, &framework, &task, state, reason, &text);
            match departure {
                Departure::Unreachable => self.set_task_aside(&framework, &task),
                Departure::Removed(_) | Departure::Gone(_) => self.complete_task(&framework, &task),
            }
        }
        let executors = self.agents[id].executors.iter();
        let executors: Vec<_> = executors
            .flat_map(|(framework, all)| all.keys().map(|executor| (framework.clone(), executor.clone())))
            .collect();
        for (framework, executor) in executors {
            self.remove_executor(id, &framework, &executor);
        }
        self.end_operations(
            turn,
            id,
            match departure {
                Departure::Unreachable => OperationState::OperationUnreachable,
                Departure::Removed(_) | Departure::Gone(_) => OperationState::OperationGoneByOperator,
            },
        );
        self.rescind_offers_of_agent(turn, id);
        self.rescind_inverse_offers_of_agent(turn, id);
        self.upkeep.agents.remove(id);
        self.allocator.remove_agent(id, &[]);
        self.agents.remove(id);
        turn.publish(published::agent_removed(id));
    }
}
