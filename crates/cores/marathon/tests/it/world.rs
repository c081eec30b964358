//! Marathon, its store and its Mesos, in one place and one time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use api_marathon::{ActionName, AppDefinition, AppId, Event, HealthCheck, PortDefinition};
use base::{Mono, Now, Rng, TaskId, Wall};
use marathon_core::{
    Answer, Capacity, Command, Config, Effect, Goal, HealthResult, Input, InstanceId, Key, Marathon, Probe,
    Record, Refusal, ReqId, Write,
};
use mesos_proto::v1::TaskState;
use mesos_proto::v1::scheduler::call;

use crate::mesos::Mesos;

/// Wall clock at the beginning.
const START: u64 = 1_480_587_330_000_000_000;

/// Everything there is.
pub(crate) struct World {
    pub(crate) marathon: Marathon,
    pub(crate) mesos: Mesos,
    pub(crate) now: Now,
    pub(crate) events: Vec<Event>,
    /// What the store holds, as the JSON that it would hold.
    store: BTreeMap<Key, String>,
    inbox: VecDeque<Input>,
    replies: BTreeMap<ReqId, Result<Answer, Refusal>>,
    probes: BTreeMap<InstanceId, Probe>,
    requests: u64,
    /// Marathon is killed when it wants to write for the nth time, after this many of the writes went through.
    pub(crate) crash_at: Option<(u64, usize)>,
    pub(crate) persists: u64,
    pub(crate) crashes: u32,
    config: Config,
}

pub(crate) fn id(text: &str) -> AppId {
    AppId::new(text)
}

/// A small app with one port.
pub(crate) fn app(name: &str, instances: u32) -> AppDefinition {
    let mut app = AppDefinition::empty(AppId::new(name), "slave_public");
    app.cmd = Some("sleep 1000".to_owned());
    (app.cpus, app.mem, app.instances) = (0.1, 32.0, instances);
    let port = PortDefinition { port: 0, labels: BTreeMap::new(), name: None, protocol: "tcp".to_owned() };
    app.port_definitions = Some(vec![port]);
    app
}

/// The same with an HTTP health check.
pub(crate) fn checked(name: &str, instances: u32) -> AppDefinition {
    AppDefinition { health_checks: vec![HealthCheck::default()], ..app(name, instances) }
}

impl World {
    /// A subscribed Marathon and agents with many cpus.
    pub(crate) fn new(agents: usize) -> World {
        World::with(Mesos::with_agents(agents, 16.0), Config::default())
    }

    pub(crate) fn with(mesos: Mesos, config: Config) -> World {
        let now = Now { mono: Mono(1), wall: Wall(START) };
        let marathon = Marathon::recover([], config.clone(), Rng::seeded(42), now);
        let mut world = World {
            marathon,
            mesos,
            now,
            events: Vec::new(),
            store: BTreeMap::new(),
            inbox: VecDeque::new(),
            replies: BTreeMap::new(),
            probes: BTreeMap::new(),
            requests: 0,
            crash_at: None,
            persists: 0,
            crashes: 0,
            config,
        };
        world.mesos.subscribe();
        world.settle();
        world
    }

    /// Gives Marathon one input and performs what it says.
    pub(crate) fn give(&mut self, input: Input) {
        self.inbox.push_back(input);
        while let Some(input) = self.inbox.pop_front() {
            let mut out = Vec::new();
            let before = self.all_serving();
            let by_user =
                matches!(input, Input::Command(_, Command::Kill { .. } | Command::KillAndScale { .. }));
            self.marathon.handle(self.now, input, &mut out);
            self.marathon.check();
            if !by_user {
                self.check_rollouts(&before);
            }
            for effect in out {
                if !self.perform(effect) {
                    return self.crash();
                }
            }
        }
    }

    fn all_serving(&self) -> Vec<InstanceId> {
        let all = self.marathon.apps().flat_map(|app| self.marathon.instances(&app.id).collect::<Vec<_>>());
        all.filter(|it| self.marathon.is_serving(&it.id)).map(|it| it.id.clone()).collect()
    }

    /// An app that is being exchanged loses no serving instance by Marathon's will that it needs.
    fn check_rollouts(&self, before: &[InstanceId]) {
        for deployment in self.marathon.deployments() {
            let restarts =
                deployment.current_actions.iter().filter(|it| it.action == ActionName::RestartApplication);
            for app in restarts.filter_map(|action| self.marathon.app(&action.app)) {
                // One that this very input told to be ill did not serve any more.
                let given_up = |id: &&InstanceId| {
                    id.app() == app.id
                        && self
                            .marathon
                            .instance(id)
                            .is_some_and(|it| it.goal == Goal::Decommissioned && it.healthy != Some(false))
                };
                if before.iter().any(|id| given_up(&id)) {
                    let (serving, needed) = (self.serving(app.id.as_str()), Capacity::of(&app).min_serving);
                    assert!(serving >= needed, "{serving} of {needed} of {} serve", app.id);
                }
            }
        }
    }

    /// `false` if Marathon dies here.
    fn perform(&mut self, effect: Effect) -> bool {
        match effect {
            Effect::Persist(seq, writes) => {
                self.persists += 1;
                let dies = self.crash_at.filter(|(at, _)| *at == self.persists);
                let through = dies.map_or(writes.len(), |(_, through)| through.min(writes.len()));
                for write in &writes[..through] {
                    match write {
                        Write::Put(record) => {
                            let json = serde_json::to_string(record).expect("records are JSON");
                            assert!(json.len() < 64 * 1024);
                            self.store.insert(record.key(), json);
                        }
                        Write::Delete(key) => drop(self.store.remove(key)),
                    }
                }
                if dies.is_some() {
                    return false;
                }
                self.inbox.push_back(Input::Persisted(seq));
            }
            Effect::Send(call) => {
                if call.r#type() == call::Type::Accept {
                    let launches = call.accept.iter().flat_map(|accept| &accept.operations);
                    for info in launches.filter_map(|it| it.launch.as_ref()).flat_map(|it| &it.task_infos) {
                        let id = InstanceId::parse(&info.task_id.value).expect("an instance");
                        let known = self.store.get(&Key::Instance(id));
                        assert!(known.is_some(), "{} is launched before it is recorded", info.task_id.value);
                    }
                }
                self.mesos.call(self.now.mono, *call);
            }
            Effect::StartHealthChecks(probe) => {
                assert!(self.probes.insert(probe.instance.clone(), probe).is_none(), "probed twice");
            }
            Effect::StopHealthChecks(id) => {
                assert!(self.probes.remove(&id).is_some(), "{id} is not probed");
            }
            Effect::Publish(event) => self.events.push(*event),
            Effect::Reply(req, reply) => {
                assert!(self.replies.insert(req, reply).is_none(), "answered twice");
            }
        }
        true
    }

    /// Marathon dies and comes up again on what is in the store.
    pub(crate) fn crash(&mut self) {
        self.crash_at = None;
        self.crashes += 1;
        self.inbox.clear();
        self.probes.clear();
        let records: Vec<Record> =
            self.store.values().map(|json| serde_json::from_str(json).expect("what was written")).collect();
        let seed = Rng::seeded(u64::from(self.crashes)).next_u64();
        self.marathon = Marathon::recover(records, self.config.clone(), Rng::seeded(seed), self.now);
        self.marathon.check();
        self.mesos.subscribe();
    }

    /// Only the stream breaks.
    pub(crate) fn reconnect(&mut self) {
        self.mesos.connected = false;
        self.give(Input::Disconnected);
        self.mesos.subscribe();
    }

    pub(crate) fn command(&mut self, command: Command) -> Option<Result<Answer, Refusal>> {
        self.requests += 1;
        let req = ReqId(self.requests);
        self.give(Input::Command(req, command));
        self.replies.remove(&req)
    }

    /// Gives the command; it must be taken. Answers the deployment's id.
    pub(crate) fn run(&mut self, command: Command) -> String {
        match self.command(command) {
            Some(Ok(Answer::Deployed { deployment, .. })) => deployment.deployment_id,
            Some(Ok(_)) => String::new(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn refused(&mut self, command: Command) -> Refusal {
        self.command(command).expect("an answer").expect_err("a refusal")
    }

    pub(crate) fn put(&mut self, app: AppDefinition) -> String {
        self.run(put(app, false))
    }

    /// Marathon gets everything that Mesos has to say now.
    pub(crate) fn deliver(&mut self) {
        while let Some(event) = self.mesos.events.pop_front() {
            self.give(Input::Mesos(Box::new(event)));
        }
    }

    /// Offers, and what follows from them.
    pub(crate) fn offer(&mut self) {
        self.mesos.offer(self.now.mono);
        self.deliver();
    }

    /// Every staging task runs.
    pub(crate) fn start_all(&mut self) {
        for task in self.mesos.in_state(&[TaskState::TaskStaging]) {
            self.mesos.update(&task, TaskState::TaskRunning, "");
        }
        self.deliver();
    }

    /// Every probe has this result.
    pub(crate) fn probe_all(&mut self, healthy: impl Fn(&Probe) -> bool) {
        let probes: Vec<Probe> = self.probes.values().cloned().collect();
        for probe in probes {
            self.probe(&probe, healthy(&probe));
        }
    }

    pub(crate) fn probe(&mut self, probe: &Probe, healthy: bool) {
        let failure = (!healthy).then(|| "503".to_owned());
        for (check, _) in &probe.checks {
            let (instance, task) = (probe.instance.clone(), probe.task.clone());
            self.give(Input::Health(HealthResult {
                instance,
                task,
                check: *check,
                failure: failure.clone(),
            }));
        }
        self.deliver();
    }

    /// The service lists what is probed after a restart.
    pub(crate) fn probes(&self) -> Vec<Probe> {
        self.probes.values().cloned().collect()
    }

    /// Time passes; every deadline in it is kept.
    pub(crate) fn pass(&mut self, by: Duration) {
        let end = self.now.mono + by;
        while let Some(due) = self.marathon.next_deadline().filter(|due| *due <= end) {
            let step = due.since(self.now.mono);
            self.now = Now { mono: self.now.mono + step, wall: self.now.wall + step };
            self.give(Input::Tick);
            self.deliver();
        }
        let step = end.since(self.now.mono);
        self.now = Now { mono: end, wall: self.now.wall + step };
        self.give(Input::Tick);
        self.deliver();
    }

    /// A second in which all goes well: offers are made, tasks start, and probes find them healthy.
    pub(crate) fn second(&mut self) {
        self.deliver();
        self.offer();
        self.start_all();
        self.probe_all(|_| true);
        self.pass(Duration::from_secs(1));
    }

    /// Some seconds in which all goes well.
    pub(crate) fn settle(&mut self) {
        for _ in 0..12 {
            self.second();
        }
    }

    /// Ids of the app's running tasks, in Mesos.
    pub(crate) fn running(&self, app: &str) -> Vec<String> {
        let prefix = format!("{}.instance-", id(app).safe_path());
        let all = self.mesos.in_state(&[TaskState::TaskRunning]).into_iter();
        all.filter(|task| task.starts_with(&prefix)).collect()
    }

    /// Ids of the app's tasks that have not ended, in Mesos.
    pub(crate) fn alive(&self, app: &str) -> Vec<String> {
        let prefix = format!("{}.instance-", id(app).safe_path());
        let states = [TaskState::TaskStaging, TaskState::TaskStarting, TaskState::TaskRunning];
        self.mesos.in_state(&states).into_iter().filter(|task| task.starts_with(&prefix)).collect()
    }

    /// How many instances of the app serve.
    pub(crate) fn serving(&self, app: &str) -> usize {
        self.marathon.instances(&id(app)).filter(|it| self.marathon.is_serving(&it.id)).count()
    }

    /// Versions that the app's running tasks have.
    pub(crate) fn versions(&self, app: &str) -> Vec<Wall> {
        let mut versions: Vec<Wall> =
            self.marathon.instances(&id(app)).map(|instance| instance.version).collect();
        versions.dedup();
        versions
    }

    /// Kinds of the events since the last call.
    pub(crate) fn told(&mut self) -> Vec<&'static str> {
        self.events.drain(..).map(|event| event.event_type).collect()
    }

    /// A task of the app fails.
    pub(crate) fn fail(&mut self, task: &str) {
        self.mesos.update(task, TaskState::TaskFailed, "exited with status 1");
        self.deliver();
    }

    /// What the store holds of this kind.
    pub(crate) fn stored(&self, kind: &str) -> usize {
        self.store.keys().filter(|key| key.path().starts_with(kind)).count()
    }
}

pub(crate) fn put(app: AppDefinition, force: bool) -> Command {
    Command::Put { apps: vec![app], force, caller: None }
}

pub(crate) fn delete(app: &str) -> Command {
    Command::Delete { ids: vec![id(app)], force: false }
}

pub(crate) fn task(id: &str) -> TaskId {
    TaskId::from(id)
}
