//! What surrounds the agent in simulation. Everything that can be said twice, late or never is, by seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use base::{AgentId, ContainerId, ExecutorId, FrameworkId, Mono, Now, Rng, TaskId, Wall};
use mesos_proto::v1::executor::event;
use mesos_proto::v1::task_status::Source;
use mesos_proto::v1::{
    self, AgentInfo, CommandInfo, ExecutorInfo, FrameworkInfo, TaskInfo, TaskState, TaskStatus, executor_info,
};

use crate::{Agent, Config, ConnectionId, Effect, Input, Launch, Process, Record, Termination, is_terminal};

pub(super) const FRAMEWORK: &str = "f";

pub(super) fn framework() -> FrameworkInfo {
    FrameworkInfo {
        id: Some(v1::FrameworkId { value: FRAMEWORK.into() }),
        user: "root".into(),
        ..Default::default()
    }
}

pub(super) fn task(id: &str) -> TaskInfo {
    TaskInfo {
        name: id.into(),
        task_id: v1::TaskId { value: id.into() },
        agent_id: v1::AgentId { value: "S0".into() },
        command: Some(CommandInfo { value: Some("sleep 1".into()), ..Default::default() }),
        ..Default::default()
    }
}

pub(super) fn config() -> Config {
    Config::new(AgentInfo { hostname: "h".into(), ..Default::default() }, "127.0.0.2", "boot")
}

/// The groups of the framework `f`: tasks `GROUP-NUMBER`, all in the same executor.
pub(super) const GROUP: u64 = 3;

pub(super) fn group(name: &str) -> (ExecutorInfo, Vec<TaskInfo>) {
    let executor = ExecutorInfo {
        r#type: Some(executor_info::Type::Custom as i32),
        executor_id: v1::ExecutorId { value: "e".into() },
        command: Some(CommandInfo { value: Some("./executor".into()), ..Default::default() }),
        ..Default::default()
    };
    let task = |number| TaskInfo { executor: Some(executor.clone()), ..task(&format!("{name}-{number}")) };
    let tasks = (0..GROUP).map(task).collect();
    (executor, tasks)
}

/// An executor: it takes one task or groups and says STARTING, RUNNING and an end of each, each until it is
/// acknowledged.
#[derive(Debug, Default)]
struct SimExecutor {
    connection: Option<ConnectionId>,
    tasks: BTreeMap<TaskId, SimTask>,
    unacknowledged: VecDeque<TaskStatus>,
    shutting_down: bool,
}

#[derive(Debug, Default)]
struct SimTask {
    said: usize,
    /// How it is to end once it runs.
    end: Option<TaskState>,
    acknowledged: bool,
}

impl SimExecutor {
    fn begin(&mut self, task_id: TaskId) {
        let twice = self.tasks.insert(task_id, SimTask::default());
        assert!(twice.is_none(), "an executor gets a task once");
    }

    /// The end of one is the end of its group.
    fn kill(&mut self, task_id: &str) {
        let group = task_id.split('-').next();
        for (id, task) in &mut self.tasks {
            if id.as_str().split('-').next() == group {
                task.end = Some(TaskState::TaskKilled);
            }
        }
    }

    fn is_done(&self) -> bool {
        !self.tasks.is_empty()
            && self.tasks.values().all(|task| task.said >= 3)
            && self.unacknowledged.is_empty()
    }
}

/// A container with its executor, alive until it is gone.
#[derive(Debug)]
struct Container {
    process: Process,
    launch: Launch,
    executor: SimExecutor,
    alive: bool,
}

pub(super) struct World {
    pub(super) rng: Rng,
    now: Now,
    pub(super) agent: Agent,
    config: Config,
    /// What is written down.
    disk: Vec<Record>,
    containers: BTreeMap<ContainerId, Container>,
    /// Containers that are to be destroyed or are gone without the agent having been told.
    leaving: BTreeSet<ContainerId>,
    /// Launches that are on the way; lost in a crash.
    launching: VecDeque<Launch>,
    /// What was told of containers on the way.
    pub(super) progress: BTreeSet<String>,
    next_connection: u64,
    next_pid: u32,
    pub(super) linked: bool,
    /// For each task what its framework acknowledged, in order and without repetitions.
    pub(super) acknowledged: BTreeMap<TaskId, Vec<TaskStatus>>,
    /// What the agent sent and the master has not looked at yet.
    forwarded: VecDeque<TaskStatus>,
    /// How often each task was begun by an executor.
    pub(super) begun: BTreeMap<TaskId, usize>,
    /// What executors said of each task, in order.
    pub(super) spoken: BTreeMap<TaskId, Vec<Vec<u8>>>,
    /// Tasks that reached the agent in full: their RunTask was handled and its effects were not cut short.
    pub(super) accepted: BTreeSet<TaskId>,
    /// Effects until the next crash.
    pub(super) crash_in: Option<u64>,
    pub(super) crashes: usize,
}

/// The agent died in the middle of its effects.
struct Crashed;

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut config = config();
        config.update_retry = (Duration::from_secs(1), Duration::from_secs(8));
        let mut rng = Rng::seeded(seed);
        let agent = Agent::recover(config.clone(), rng.next_u64(), []);
        let mut world = World {
            rng,
            now: Now { mono: Mono(0), wall: Wall(1) },
            agent,
            config,
            disk: Vec::new(),
            containers: BTreeMap::new(),
            leaving: BTreeSet::new(),
            launching: VecDeque::new(),
            progress: BTreeSet::new(),
            next_connection: 1,
            next_pid: 100,
            linked: false,
            acknowledged: BTreeMap::new(),
            forwarded: VecDeque::new(),
            begun: BTreeMap::new(),
            spoken: BTreeMap::new(),
            accepted: BTreeSet::new(),
            crash_in: None,
            crashes: 0,
        };
        world.tell(Input::ContainersFound { alive: BTreeMap::new() });
        world
    }

    /// Feeds one input, sometimes twice. True if its effects were all carried out.
    pub(super) fn tell(&mut self, input: Input) -> bool {
        let again = self.rng.below(10) == 0 && !matches!(input, Input::Subscribe { .. });
        let repeated = again.then(|| input.clone());
        if self.tell_once(input).is_err() {
            self.recover();
            return false;
        }
        if let Some(input) = repeated
            && self.tell_once(input).is_err()
        {
            self.recover();
        }
        true
    }

    fn tell_once(&mut self, input: Input) -> Result<(), Crashed> {
        self.now.mono = self.now.mono + Duration::from_millis(1);
        self.now.wall = self.now.wall + Duration::from_millis(1);
        let mut effects = Vec::new();
        self.agent.handle(self.now, input, &mut effects);
        self.agent.check();
        for effect in effects {
            if let Some(left) = &mut self.crash_in {
                if *left == 0 {
                    return Err(Crashed);
                }
                *left -= 1;
            }
            self.perform(effect);
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(record) => self.disk.push(record),
            Effect::Launch(launch) => self.launching.push_back(*launch),
            Effect::Destroy { container_id } => drop(self.leaving.insert(container_id)),
            Effect::Forward { status, .. } => self.forwarded.push_back(*status),
            Effect::Send { connection, event } => self.hear(connection, &event),
            Effect::Close { connection } => self.hang_up(connection),
            Effect::Resize { .. }
            | Effect::OperationUpdate { .. }
            | Effect::ExecutorExited { .. }
            | Effect::ExecutorMessage { .. }
            | Effect::CollectLater { .. } => {}
        }
    }

    /// A new agent, with nothing but what was written down.
    fn recover(&mut self) {
        self.crash_in = None;
        self.crashes += 1;
        self.linked = false;
        self.forwarded.clear();
        // A launch whose helper was at work may still come up, or not.
        for launch in std::mem::take(&mut self.launching) {
            if self.rng.below(2) == 0 {
                self.start(launch);
            }
        }
        for container in self.containers.values_mut() {
            container.executor.connection = None;
        }
        let seed = self.rng.next_u64();
        self.agent = Agent::recover(self.config.clone(), seed, self.disk.iter().cloned());
        self.leaving.clear();
        let alive: BTreeMap<ContainerId, Process> = self
            .containers
            .iter()
            .filter(|(_, container)| container.alive)
            .map(|(id, container)| (id.clone(), container.process))
            .collect();
        self.containers.retain(|id, _| alive.contains_key(id));
        self.tell(Input::ContainersFound { alive });
    }

    fn start(&mut self, launch: Launch) -> Process {
        self.next_pid += 1;
        let process = Process { pid: self.next_pid, start_time: u64::from(self.next_pid) };
        let container_id = launch.run.container_id.clone();
        let executor = SimExecutor::default();
        let container = Container { process, launch, executor, alive: true };
        assert!(self.containers.insert(container_id, container).is_none(), "a container id is used once");
        process
    }

    /// An executor gets an event.
    fn hear(&mut self, connection: ConnectionId, event: &v1::executor::Event) {
        let found =
            self.containers.values_mut().find(|c| c.alive && c.executor.connection == Some(connection));
        let Some(container) = found else { return };
        let executor = &mut container.executor;
        match event.r#type() {
            event::Type::Launch => {
                let info = &event.launch.as_ref().unwrap().task;
                let task_id = TaskId::new(&info.task_id.value);
                executor.begin(task_id.clone());
                *self.begun.entry(task_id).or_default() += 1;
            }
            event::Type::LaunchGroup => {
                let tasks = &event.launch_group.as_ref().unwrap().task_group.tasks;
                let ids: Vec<&str> = tasks.iter().map(|task| &*task.task_id.value).collect();
                let name = ids[0].split('-').next().unwrap();
                let whole: Vec<String> = (0..GROUP).map(|number| format!("{name}-{number}")).collect();
                assert_eq!(ids, whole, "a group comes whole");
                for task_id in ids {
                    executor.begin(TaskId::new(task_id));
                    *self.begun.entry(TaskId::new(task_id)).or_default() += 1;
                }
            }
            event::Type::Kill => executor.kill(&event.kill.as_ref().unwrap().task_id.value),
            event::Type::Shutdown => executor.shutting_down = true,
            event::Type::Acknowledged => {
                let acknowledged = event.acknowledged.as_ref().unwrap();
                executor.unacknowledged.retain(|status| status.uuid() != &acknowledged.uuid[..]);
                if let Some(task) = executor.tasks.get_mut(&*acknowledged.task_id.value) {
                    task.acknowledged = true;
                }
            }
            _ => {}
        }
    }

    fn hang_up(&mut self, connection: ConnectionId) {
        for container in self.containers.values_mut() {
            if container.executor.connection == Some(connection) {
                container.executor.connection = None;
            }
        }
    }

    /// One thing happens somewhere.
    pub(super) fn step(&mut self) {
        match self.rng.below(12) {
            0 => self.pass(Duration::from_millis(500)),
            1 => self.finish_launch(),
            2 => self.prepare(),
            3 => self.finish_leaving(),
            4 => self.toggle_link(),
            5 | 6 => self.look_at_update(),
            _ => self.executor_acts(),
        }
    }

    /// Time passes, and timers fire.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now.mono + time;
        while let Some(at) = self.agent.next_timer().filter(|at| *at <= until) {
            self.now.mono = self.now.mono.max(at);
            self.tell(Input::Tick);
        }
        self.now.mono = self.now.mono.max(until);
    }

    /// A container that is on the way gets on, now and then with nothing new to tell.
    fn prepare(&mut self) {
        let step = self.rng.below(4);
        let Some(launch) = self.launching.front() else { return };
        let container_id = launch.run.container_id.clone();
        let text = format!("step {step}");
        self.progress.insert(text.clone());
        self.tell(Input::ContainerPreparing { container_id, message: text });
        self.pass(Duration::from_millis(600));
    }

    fn finish_launch(&mut self) {
        let Some(launch) = self.launching.pop_front() else { return };
        let container_id = launch.run.container_id.clone();
        if self.rng.below(12) == 0 {
            self.leaving.remove(&container_id);
            self.tell(Input::ContainerLaunchFailed { container_id, message: "no luck".into() });
            return;
        }
        let run = launch.run.clone();
        let process = self.start(launch);
        if self.rng.below(3) == 0 {
            self.subscribe(&container_id, &run.framework_id, &run.executor_id);
        }
        self.tell(Input::ContainerLaunched { container_id, process, networks: Vec::new() });
    }

    fn finish_leaving(&mut self) {
        let launching: Vec<ContainerId> =
            self.launching.iter().map(|launch| launch.run.container_id.clone()).collect();
        let Some(container_id) = self.leaving.iter().find(|id| !launching.contains(id)).cloned() else {
            return;
        };
        self.leaving.remove(&container_id);
        self.containers.remove(&container_id);
        self.tell(Input::ContainerTerminated { container_id, termination: Termination::default() });
    }

    pub(super) fn toggle_link(&mut self) {
        if self.linked {
            self.linked = false;
            self.forwarded.clear();
            self.tell(Input::Disconnected);
        } else if self.agent.is_recovered() {
            self.linked = true;
            self.tell(Input::Registered { agent_id: AgentId::new("S0") });
        }
    }

    /// The framework gets an update, or it is lost on the way.
    fn look_at_update(&mut self) {
        let Some(status) = self.forwarded.pop_front().filter(|_| self.linked) else { return };
        if self.rng.below(5) == 0 {
            return;
        }
        let task_id = TaskId::new(&status.task_id.value);
        let uuid = status.uuid().to_vec();
        let seen = self.acknowledged.entry(task_id.clone()).or_default();
        if !seen.iter().any(|known| known.uuid() == uuid) {
            if status.source() == Source::Agent && status.state() == TaskState::TaskStarting {
                let silent = seen.iter().all(|earlier| earlier.source() == Source::Agent);
                assert!(silent, "{task_id} is not prepared any more: {seen:?} then {status:?}");
                assert!(self.progress.contains(status.message()));
            }
            assert!(
                !seen.last().is_some_and(|last| is_terminal(last.state())),
                "{task_id} ends once: {seen:?} then {status:?}"
            );
            seen.push(status);
        }
        if self.rng.below(5) == 0 {
            return;
        }
        self.tell(Input::AcknowledgeUpdate { framework_id: FrameworkId::new(FRAMEWORK), task_id, uuid });
    }

    fn executor_acts(&mut self) {
        let alive: Vec<ContainerId> = self
            .containers
            .iter()
            .filter(|(_, container)| container.alive)
            .map(|(id, _)| id.clone())
            .collect();
        if alive.is_empty() {
            return;
        }
        let id = alive[self.rng.below(alive.len() as u64) as usize].clone();
        let Some(container) = self.containers.get_mut(&id) else { return };
        let run = container.launch.run.clone();
        if container.executor.connection.is_none() {
            return self.subscribe(&id, &run.framework_id, &run.executor_id);
        }
        let choice = self.rng.below(20);
        match choice {
            // It dies, its container with it.
            0 => self.die(&id),
            // Its connection breaks.
            1 => {
                let connection = container.executor.connection.take();
                self.tell(Input::Unsubscribed { connection: connection.unwrap() });
            }
            _ if container.executor.shutting_down && container.executor.unacknowledged.is_empty() => {
                self.die(&id)
            }
            _ => self.speak(&id),
        }
    }

    fn die(&mut self, id: &ContainerId) {
        if let Some(container) = self.containers.get_mut(id) {
            container.alive = false;
            container.executor.connection = None;
        }
        self.leaving.insert(id.clone());
    }

    fn subscribe(&mut self, id: &ContainerId, framework_id: &FrameworkId, executor_id: &ExecutorId) {
        if self.agent.admit(framework_id, executor_id, true).is_err() {
            // As the real one does when the agent does not know it.
            return self.die(id);
        }
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let Some(container) = self.containers.get_mut(id) else { return };
        let executor = &mut container.executor;
        executor.connection = Some(connection);
        let updates: Vec<TaskStatus> = executor.unacknowledged.iter().cloned().collect();
        let silent = executor.tasks.iter().filter(|(_, task)| !task.acknowledged);
        let tasks = silent.map(|(id, _)| id.clone()).collect();
        self.tell(Input::Subscribe {
            connection,
            framework_id: framework_id.clone(),
            executor_id: executor_id.clone(),
            unacknowledged_updates: updates,
            unacknowledged_tasks: tasks,
            memory: None,
        });
    }

    /// An executor says how its task is, or again what was not acknowledged.
    fn speak(&mut self, id: &ContainerId) {
        let uuid = self.rng.uuid_bytes().to_vec();
        let (again, pick) = (self.rng.below(4) == 0, self.rng.below(60));
        let Some(container) = self.containers.get_mut(id) else { return };
        let run = container.launch.run.clone();
        let executor = &mut container.executor;
        let is_alone = executor.tasks.len() == 1;
        let status = match executor.unacknowledged.front().filter(|_| again) {
            Some(status) => status.clone(),
            None => {
                let mut unfinished: Vec<_> =
                    executor.tasks.iter_mut().filter(|(_, task)| task.said < 3).collect();
                if unfinished.is_empty() {
                    // All is over and acknowledged: it goes, if it does not wait for more.
                    if executor.is_done() && (is_alone || pick % 4 == 0) {
                        self.die(id);
                    }
                    return;
                }
                let index = pick as usize % unfinished.len();
                let (task_id, task) = &mut unfinished[index];
                let state = match task.said {
                    0 => TaskState::TaskStarting,
                    1 => TaskState::TaskRunning,
                    _ => task.end.unwrap_or(TaskState::TaskFinished),
                };
                task.said += 1;
                let task_id = task_id.clone();
                let status = TaskStatus {
                    task_id: v1::TaskId { value: task_id.to_string() },
                    state: state as i32,
                    source: Some(Source::Executor as i32),
                    uuid: Some(uuid.clone()),
                    ..Default::default()
                };
                executor.unacknowledged.push_back(status.clone());
                self.spoken.entry(task_id).or_default().push(uuid);
                status
            }
        };
        self.tell(Input::Update {
            framework_id: run.framework_id,
            executor_id: run.executor_id,
            status: Box::new(status),
            memory: None,
        });
    }

    /// Nothing bad happens any more: everything comes to rest.
    pub(super) fn settle(&mut self) {
        self.crash_in = None;
        for _ in 0..20_000 {
            if !self.linked {
                self.toggle_link();
            }
            self.finish_launch();
            self.finish_leaving();
            self.look_at_update();
            self.executor_acts();
            self.pass(Duration::from_millis(200));
            if self.agent.frameworks().next().is_none()
                && self.containers.is_empty()
                && self.launching.is_empty()
            {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", self.agent);
    }
}
