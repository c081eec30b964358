//! A Mesos master with its agents, as small as may be and as unreliable as wanted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use base::Mono;
use mesos_proto::v1::scheduler::{Call, Event, call, event};
use mesos_proto::v1::{self, TaskInfo, TaskState, TaskStatus, task_status, value};

/// An agent.
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) host: String,
    pub(crate) cpus: f64,
    pub(crate) ports: (u64, u64),
    pub(crate) reachable: bool,
    /// Nothing is offered before this time.
    refused_until: Mono,
}

/// A task that an agent runs.
pub(crate) struct Task {
    pub(crate) info: TaskInfo,
    pub(crate) state: TaskState,
    pub(crate) healthy: Option<bool>,
}

/// The master. Events for the scheduler are in `events`.
pub(crate) struct Mesos {
    pub(crate) agents: Vec<Agent>,
    pub(crate) tasks: BTreeMap<String, Task>,
    pub(crate) connected: bool,
    pub(crate) suppressed: bool,
    pub(crate) events: VecDeque<Event>,
    /// Calls of the scheduler, by name.
    pub(crate) calls: Vec<String>,
    /// Calls are lost while this is set.
    pub(crate) deaf: bool,
    offers: BTreeMap<String, usize>,
    unacknowledged: BTreeMap<(String, Vec<u8>), TaskStatus>,
    next: u64,
}

impl Mesos {
    /// A cluster of agents with this many cpus each.
    pub(crate) fn with_agents(count: usize, cpus: f64) -> Mesos {
        let agent = |index: usize| Agent {
            id: format!("S{index}"),
            host: format!("host{index}"),
            cpus,
            ports: (31_000, 31_999),
            reachable: true,
            refused_until: Mono(0),
        };
        Mesos {
            agents: (0..count).map(agent).collect(),
            tasks: BTreeMap::new(),
            connected: false,
            suppressed: false,
            events: VecDeque::new(),
            calls: Vec::new(),
            deaf: false,
            offers: BTreeMap::new(),
            unacknowledged: BTreeMap::new(),
            next: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The scheduler subscribes, first or again.
    pub(crate) fn subscribe(&mut self) {
        self.connected = true;
        self.suppressed = false;
        self.offers.clear();
        self.events.clear();
        for agent in &mut self.agents {
            agent.refused_until = Mono(0);
        }
        let framework_id = v1::FrameworkId { value: "F".to_owned() };
        let subscribed = event::Subscribed { framework_id, ..event::Subscribed::default() };
        self.send(Event { subscribed: Some(subscribed), ..typed(event::Type::Subscribed) });
        let again: Vec<TaskStatus> = self.unacknowledged.values().cloned().collect();
        for status in again {
            self.send(updated(status));
        }
    }

    fn send(&mut self, event: Event) {
        if self.connected {
            self.events.push_back(event);
        }
    }

    /// Offers everything that is free and not refused.
    pub(crate) fn offer(&mut self, now: Mono) {
        if !self.connected || self.suppressed {
            return;
        }
        let mut offers = Vec::new();
        for index in 0..self.agents.len() {
            let agent = &self.agents[index];
            if !agent.reachable || agent.refused_until > now || self.offers.values().any(|it| *it == index) {
                continue;
            }
            let resources = self.free(index);
            if resources.is_empty() {
                continue;
            }
            let id = format!("O{}", self.number());
            let agent = &self.agents[index];
            offers.push(v1::Offer {
                id: v1::OfferId { value: id.clone() },
                agent_id: v1::AgentId { value: agent.id.clone() },
                hostname: agent.host.clone(),
                resources,
                ..v1::Offer::default()
            });
            self.offers.insert(id, index);
        }
        if !offers.is_empty() {
            self.send(Event { offers: Some(event::Offers { offers }), ..typed(event::Type::Offers) });
        }
    }

    /// Takes every outstanding offer back.
    pub(crate) fn rescind(&mut self) {
        self.offers.clear();
    }

    fn free(&self, index: usize) -> Vec<v1::Resource> {
        let agent = &self.agents[index];
        let on_it = self.tasks.values().filter(|task| task.info.agent_id.value == agent.id);
        let (mut cpus, mut mem, mut ports) = (agent.cpus, 100_000.0, BTreeSet::new());
        for resource in on_it.flat_map(|task| &task.info.resources) {
            match (&*resource.name, &resource.scalar, &resource.ranges) {
                ("cpus", Some(scalar), _) => cpus -= scalar.value,
                ("mem", Some(scalar), _) => mem -= scalar.value,
                (_, _, Some(ranges)) => {
                    ports.extend(ranges.range.iter().flat_map(|range| range.begin..=range.end));
                }
                _ => {}
            }
        }
        assert!(cpus > -1e-6, "more cpus are used than there are");
        if cpus < 0.001 {
            return Vec::new();
        }
        let free = (agent.ports.0..=agent.ports.1).filter(|port| !ports.contains(port));
        let range = free.map(|port| value::Range { begin: port, end: port }).collect();
        let ports = v1::Resource {
            name: "ports".to_owned(),
            r#type: value::Type::Ranges as i32,
            ranges: Some(value::Ranges { range }),
            ..v1::Resource::default()
        };
        vec![scalar("cpus", (cpus * 1000.0).round() / 1000.0), scalar("mem", mem), ports]
    }

    /// Takes a call in.
    pub(crate) fn call(&mut self, now: Mono, call: Call) {
        let name = call.r#type().as_str_name().to_owned();
        if !self.connected || self.deaf {
            return;
        }
        self.calls.push(name);
        match call.r#type() {
            call::Type::Accept => self.accept(now, call.accept.expect("an accept")),
            call::Type::Decline => {
                let decline = call.decline.expect("a decline");
                for offer in decline.offer_ids {
                    self.refuse(now, &offer.value, decline.filters.as_ref());
                }
            }
            call::Type::Kill => self.kill(call.kill.expect("a kill")),
            call::Type::Revive => {
                self.suppressed = false;
                for agent in &mut self.agents {
                    agent.refused_until = Mono(0);
                }
            }
            call::Type::Suppress => self.suppressed = true,
            call::Type::Acknowledge => {
                let ack = call.acknowledge.expect("an acknowledgement");
                let known = self.unacknowledged.remove(&(ack.task_id.value, ack.uuid));
                if let Some(status) = known.filter(|status| is_terminal(status.state())) {
                    self.tasks.remove(&status.task_id.value);
                }
            }
            call::Type::Reconcile => self.reconcile(call.reconcile.expect("a reconciliation")),
            other => panic!("unexpected call {other:?}"),
        }
    }

    fn refuse(&mut self, now: Mono, offer: &str, filters: Option<&v1::Filters>) {
        let Some(index) = self.offers.remove(offer) else { return };
        let seconds = filters.and_then(|filters| filters.refuse_seconds).unwrap_or(5.0);
        self.agents[index].refused_until = now + Duration::from_secs_f64(seconds);
    }

    fn accept(&mut self, now: Mono, accept: call::Accept) {
        for offer in &accept.offer_ids {
            let valid = self.offers.get(&offer.value).copied();
            let launches = accept.operations.iter().filter_map(|operation| operation.launch.as_ref());
            for info in launches.flat_map(|launch| launch.task_infos.clone()) {
                match valid.filter(|index| self.agents[*index].reachable) {
                    Some(_) => {
                        let (id, task) = (info.task_id.value.clone(), info);
                        let task = Task { info: task, state: TaskState::TaskStaging, healthy: None };
                        assert!(self.tasks.insert(id.clone(), task).is_none(), "{id} is launched twice");
                    }
                    None => {
                        let agent = info.agent_id.value.clone();
                        self.status(
                            &info.task_id.value,
                            &agent,
                            TaskState::TaskDropped,
                            "invalid offer",
                            false,
                        );
                    }
                }
            }
            self.refuse(now, &offer.value, accept.filters.as_ref());
        }
        self.check_alone();
    }

    /// No instance has two tasks at once.
    fn check_alone(&self) {
        let mut alive = BTreeSet::new();
        for (id, task) in &self.tasks {
            let instance = id.split("._app.").next().expect("an instance");
            let agent = self.agents.iter().find(|agent| agent.id == task.info.agent_id.value);
            if !is_terminal(task.state) && agent.is_some_and(|agent| agent.reachable) {
                assert!(alive.insert(instance), "{instance} has two tasks");
            }
        }
    }

    fn kill(&mut self, kill: call::Kill) {
        let id = kill.task_id.value;
        let agent = kill.agent_id.map(|agent| agent.value).unwrap_or_default();
        match self.tasks.get(&id) {
            Some(task) if is_terminal(task.state) => {}
            Some(_) if self.is_reachable(&id) => self.update(&id, TaskState::TaskKilled, "killed"),
            Some(_) => {}
            None => self.status(&id, &agent, TaskState::TaskGone, "unknown", false),
        }
    }

    fn is_reachable(&self, task: &str) -> bool {
        let agent = &self.tasks[task].info.agent_id.value;
        self.agents.iter().any(|it| it.id == *agent && it.reachable)
    }

    fn reconcile(&mut self, reconcile: call::Reconcile) {
        let implicit = reconcile.tasks.is_empty();
        let asked: Vec<(String, String)> = if implicit {
            self.tasks.iter().map(|(id, task)| (id.clone(), task.info.agent_id.value.clone())).collect()
        } else {
            let agent =
                |task: &call::reconcile::Task| task.agent_id.clone().map(|it| it.value).unwrap_or_default();
            reconcile.tasks.iter().map(|task| (task.task_id.value.clone(), agent(task))).collect()
        };
        for (id, agent) in asked {
            let state = match self.tasks.get(&id) {
                Some(task) if is_terminal(task.state) => continue,
                Some(_) if !self.is_reachable(&id) => TaskState::TaskUnreachable,
                Some(task) => task.state,
                None => TaskState::TaskGone,
            };
            self.status(&id, &agent, state, "Reconciliation", false);
        }
    }

    /// A task changes its state. It holds its resources until its end is acknowledged.
    pub(crate) fn update(&mut self, id: &str, state: TaskState, message: &str) {
        let Some(task) = self.tasks.get_mut(id).filter(|task| !is_terminal(task.state)) else { return };
        task.state = state;
        let agent = task.info.agent_id.value.clone();
        self.status(id, &agent, state, message, true);
    }

    fn status(&mut self, id: &str, agent: &str, state: TaskState, message: &str, acknowledge: bool) {
        let uuid = acknowledge.then(|| self.number().to_be_bytes().to_vec());
        let status = TaskStatus {
            task_id: v1::TaskId { value: id.to_owned() },
            agent_id: Some(v1::AgentId { value: agent.to_owned() }),
            state: state as i32,
            message: Some(message.to_owned()),
            healthy: self.tasks.get(id).and_then(|task| task.healthy),
            uuid: uuid.clone(),
            reason: (!acknowledge).then_some(task_status::Reason::Reconciliation as i32),
            ..TaskStatus::default()
        };
        if let Some(uuid) = uuid {
            self.unacknowledged.insert((id.to_owned(), uuid), status.clone());
        }
        self.send(updated(status));
    }

    /// An agent is away, or back.
    pub(crate) fn reach(&mut self, index: usize, reachable: bool) {
        let agent = &mut self.agents[index];
        if std::mem::replace(&mut agent.reachable, reachable) == reachable {
            return;
        }
        let id = agent.id.clone();
        let on_it =
            self.tasks.iter().filter(|(_, task)| task.info.agent_id.value == id && !is_terminal(task.state));
        let states: Vec<_> = on_it.map(|(task, it)| (task.clone(), it.state)).collect();
        for (task, state) in states {
            let state = if reachable { state } else { TaskState::TaskUnreachable };
            self.status(&task, &id, state, "agent", false);
        }
    }

    /// Tasks in one of these states.
    pub(crate) fn in_state(&self, states: &[TaskState]) -> Vec<String> {
        self.tasks.iter().filter(|(_, task)| states.contains(&task.state)).map(|(id, _)| id.clone()).collect()
    }

    /// How many acknowledgements are missing.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.unacknowledged.len()
    }
}

/// Whether a task in this state has ended.
pub(crate) fn is_terminal(state: TaskState) -> bool {
    !matches!(
        state,
        TaskState::TaskStaging | TaskState::TaskStarting | TaskState::TaskRunning | TaskState::TaskKilling
    )
}

fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: name.to_owned(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value }),
        ..v1::Resource::default()
    }
}

fn typed(kind: event::Type) -> Event {
    Event { r#type: Some(kind as i32), ..Event::default() }
}

fn updated(status: TaskStatus) -> Event {
    Event { update: Some(event::Update { status }), ..typed(event::Type::Update) }
}
