//! A master with what is connected to it, for tests: sorts effects by whom they concern.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use agent_link::{Body, Hello};
use base::{Mono, Now, Wall};
use master_core::{Config, ConnId, Effect, Input, Master, RegistryOp, Reply};
use mesos_proto::json::{from_json, to_json};
use mesos_proto::v1::{self, master, scheduler};
use resources::{Resources, WireForm};

pub(crate) struct Cluster {
    pub(crate) master: Master,
    pub(crate) now: Now,
    /// Whether the registry answers at once.
    pub(crate) persists: bool,
    /// What the registry was asked to write and has not yet.
    pub(crate) unpersisted: Vec<(u64, Vec<RegistryOp>)>,
    /// What the registry holds.
    pub(crate) registry: BTreeMap<String, Vec<u8>>,
    pub(crate) events: BTreeMap<ConnId, Vec<scheduler::Event>>,
    pub(crate) frames: BTreeMap<ConnId, Vec<Body>>,
    pub(crate) closed: BTreeSet<ConnId>,
    pub(crate) published: Vec<master::Event>,
    /// Why the master must stop.
    pub(crate) stopped: Option<String>,
    replies: BTreeMap<ConnId, Reply>,
    next_conn: u64,
}

/// A subscribed framework.
#[derive(Clone, Debug)]
pub(crate) struct Framework {
    pub(crate) conn: ConnId,
    pub(crate) id: String,
}

/// An agent's connection.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) conn: ConnId,
    pub(crate) id: String,
}

pub(crate) const AWARE: &str = r#"{"user":"root","name":"golden","roles":["golden"],"checkpoint":true,"failover_timeout":60,
    "capabilities":[{"type":"MULTI_ROLE"},{"type":"RESERVATION_REFINEMENT"},{"type":"PARTITION_AWARE"}]}"#;
pub(crate) const OLD: &str = r#"{"user":"root","name":"old","role":"golden","failover_timeout":60}"#;

pub(crate) fn config() -> Config {
    Config::new(v1::MasterInfo { id: "m".to_owned(), ..v1::MasterInfo::default() }, 7)
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::recover(config, BTreeMap::new())
    }

    pub(crate) fn recover(config: Config, registry: BTreeMap<String, Vec<u8>>) -> Self {
        let now = Now { mono: Mono(0), wall: Wall::from_millis(1_700_000_000_000) };
        Self {
            master: Master::recover(config, now, registry.clone()).unwrap(),
            now,
            persists: true,
            unpersisted: Vec::new(),
            registry,
            events: BTreeMap::new(),
            frames: BTreeMap::new(),
            closed: BTreeSet::new(),
            published: Vec::new(),
            stopped: None,
            replies: BTreeMap::new(),
            next_conn: 0,
        }
    }

    pub(crate) fn conn(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn)
    }

    pub(crate) fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.master.handle(self.now, input, &mut out);
        self.master.check();
        for effect in out {
            self.effect(effect);
        }
        if self.persists {
            self.persist();
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { conn, reply } => {
                assert!(self.replies.insert(conn, reply).is_none(), "one reply to {conn:?}");
            }
            Effect::Send { conn, event } => {
                assert!(!self.closed.contains(&conn), "nothing is sent to a closed stream: {event:?}");
                self.events.entry(conn).or_default().push(*event);
            }
            Effect::ToAgent { conn, body } => {
                assert!(!self.closed.contains(&conn), "nothing is sent to a closed connection: {body:?}");
                self.frames.entry(conn).or_default().push(*body);
            }
            Effect::Close { conn } => assert!(self.closed.insert(conn), "{conn:?} is closed once"),
            Effect::Persist { seq, ops } => self.unpersisted.push((seq, ops)),
            Effect::Stop { reason } => self.stopped = Some(reason),
            Effect::Publish { event } => self.published.push((*event).clone()),
        }
    }

    /// Lets the registry write and answer.
    pub(crate) fn persist(&mut self) {
        let mut last = None;
        for (seq, ops) in std::mem::take(&mut self.unpersisted) {
            last = Some(seq);
            for op in ops {
                match op.value {
                    Some(value) => self.registry.insert(op.key, value),
                    None => self.registry.remove(&op.key),
                };
            }
        }
        if let Some(seq) = last {
            self.input(Input::Persisted { seq });
        }
    }

    /// Lets time pass, with all timers that come due.
    pub(crate) fn wait(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(at) = self.master.next_deadline().filter(|at| *at <= end) {
            let step = at.since(self.now.mono);
            self.now = Now { mono: self.now.mono.max(at), wall: self.now.wall + step };
            self.input(Input::Timer);
        }
        let step = end.since(self.now.mono);
        self.now = Now { mono: end, wall: self.now.wall + step };
    }

    pub(crate) fn call(&mut self, conn: ConnId, json: &str, stream_id: Option<String>) -> Reply {
        let call = from_json::<scheduler::Call>(json.as_bytes()).unwrap();
        self.input(Input::SchedulerCall { conn, call: Box::new(call), stream_id, principal: None });
        self.replies.remove(&conn).expect("every call is answered")
    }

    /// An operator's call: its connection, where the answer may come later.
    pub(crate) fn ask(&mut self, json: &str) -> ConnId {
        let conn = self.conn();
        let call = Box::new(from_json::<master::Call>(json.as_bytes()).unwrap());
        self.input(Input::OperatorCall { conn, call, principal: None });
        conn
    }

    /// What a call was answered with, if it was.
    pub(crate) fn answer(&mut self, conn: ConnId) -> Option<Reply> {
        self.replies.remove(&conn)
    }

    /// An operator's call and its answer.
    pub(crate) fn operate(&mut self, json: &str) -> Reply {
        let conn = self.ask(json);
        self.answer(conn).expect("every call is answered")
    }

    /// A SUBSCRIBE call; its stream has the number of the connection as its id.
    pub(crate) fn try_subscribe(&mut self, info: &str) -> ConnId {
        let conn = self.conn();
        let parsed = from_json::<v1::FrameworkInfo>(info.as_bytes()).unwrap();
        let id = parsed.id.map(|id| format!(r#""framework_id":{{"value":"{}"}},"#, id.value));
        let json = format!(
            r#"{{"type":"SUBSCRIBE",{}"subscribe":{{"framework_info":{info}}}}}"#,
            id.unwrap_or_default()
        );
        assert_eq!(self.call(conn, &json, Some(conn.0.to_string())), Reply::Streaming);
        conn
    }

    pub(crate) fn subscribe(&mut self, info: &str) -> Framework {
        let conn = self.try_subscribe(info);
        let first = self.events[&conn][0].clone();
        let id = first.subscribed.unwrap_or_else(|| panic!("{:?}", first.error)).framework_id.value;
        Framework { conn, id }
    }

    /// Subscribes again with the same description.
    pub(crate) fn resubscribe(&mut self, framework: &Framework, info: &str) -> Framework {
        let rest = info.strip_prefix('{').unwrap();
        self.subscribe(&format!(r#"{{"id":{{"value":"{}"}},{rest}"#, framework.id))
    }

    /// A call of a subscribed framework: `rest` is its type and what belongs to it.
    pub(crate) fn framework_call(&mut self, framework: &Framework, rest: &str) -> Reply {
        let conn = self.conn();
        let json = format!(r#"{{"framework_id":{{"value":"{}"}},{rest}}}"#, framework.id);
        self.call(conn, &json, Some(framework.conn.0.to_string()))
    }

    pub(crate) fn hello(hostname: &str, resources: &str) -> Hello {
        let total = Resources::parse(resources).unwrap().to_wire(WireForm::Refined);
        let info =
            v1::AgentInfo { hostname: hostname.to_owned(), port: Some(5051), ..v1::AgentInfo::default() };
        Hello {
            min_version: agent_link::MIN_VERSION,
            max_version: agent_link::MAX_VERSION,
            boot_id: "boot".to_owned(),
            capabilities: vec!["AGENT_DRAINING".to_owned()],
            version: "1.11.0".to_owned(),
            agent: Some(v1::AgentInfo { resources: total.clone(), ..info }),
            total,
            ..Hello::default()
        }
    }

    pub(crate) fn say(&mut self, conn: ConnId, body: Body) {
        self.input(Input::AgentFrame { conn, body: Box::new(body) });
    }

    pub(crate) fn connect(&mut self, hello: Hello) -> Agent {
        let conn = self.conn();
        self.say(conn, Body::Hello(hello));
        match self.take_frames(conn).first() {
            Some(Body::Welcome(welcome)) => Agent { conn, id: welcome.agent_id.clone().unwrap().value },
            other => panic!("no welcome but {other:?}"),
        }
    }

    pub(crate) fn agent(&mut self, hostname: &str, resources: &str) -> Agent {
        self.connect(Self::hello(hostname, resources))
    }

    /// Says Hello again as `agent`, with these tasks.
    pub(crate) fn comes_back(agent: &Agent, resources: &str, framework: Option<(&Framework, &str)>) -> Hello {
        let mut hello = Self::hello("host", resources);
        hello.agent.as_mut().unwrap().id = Some(v1::AgentId { value: agent.id.clone() });
        if let Some((framework, info)) = framework {
            let mut info = from_json::<v1::FrameworkInfo>(info.as_bytes()).unwrap();
            info.id = Some(v1::FrameworkId { value: framework.id.clone() });
            hello.frameworks.push(info);
        }
        hello
    }

    pub(crate) fn close(&mut self, agent: &Agent, silent: bool) {
        self.input(Input::AgentClosed { conn: agent.conn, silent });
    }

    pub(crate) fn take_frames(&mut self, conn: ConnId) -> Vec<Body> {
        self.frames.remove(&conn).unwrap_or_default()
    }

    /// The events of a framework since the last look, without heartbeats, as JSON without timestamps.
    pub(crate) fn take_events(&mut self, framework: &Framework) -> Vec<String> {
        let events = self.events.remove(&framework.conn).unwrap_or_default();
        let told = events.into_iter().filter(|event| event.r#type() != scheduler::event::Type::Heartbeat);
        told.map(|mut event| {
            if let Some(update) = &mut event.update {
                update.status.timestamp = None;
            }
            to_json(&event)
        })
        .collect()
    }

    /// The offers to a framework since the last look; nothing but offers may have come.
    pub(crate) fn take_offers(&mut self, framework: &Framework) -> Vec<v1::Offer> {
        let events = self.events.remove(&framework.conn).unwrap_or_default();
        events
            .into_iter()
            .filter(|event| {
                !matches!(
                    event.r#type(),
                    scheduler::event::Type::Heartbeat | scheduler::event::Type::Subscribed
                )
            })
            .flat_map(|event| event.offers.unwrap_or_else(|| panic!("no offers")).offers)
            .collect()
    }

    /// What a framework is offered, in words.
    pub(crate) fn offered(&mut self, framework: &Framework) -> Vec<String> {
        let offers = self.take_offers(framework);
        let text =
            |offer: &v1::Offer| Resources::from_wire(&offer.resources).unwrap().unallocated().to_string();
        offers.iter().map(text).collect()
    }

    /// Accepts all outstanding offers of a framework with one operation.
    pub(crate) fn accept(&mut self, framework: &Framework, operation: &str, refuse_seconds: f64) -> Reply {
        self.take_offers(framework);
        let known = self.master.framework(&framework.id.as_str().into()).expect("it is subscribed");
        let ids: Vec<_> = known.offers.iter().map(|id| format!(r#"{{"value":"{id}"}}"#)).collect();
        let rest = format!(
            r#""type":"ACCEPT","accept":{{"offer_ids":[{}],"filters":{{"refuse_seconds":{refuse_seconds}}},"operations":[{operation}]}}"#,
            ids.join(",")
        );
        self.framework_call(framework, &rest)
    }

    pub(crate) fn launch(&mut self, framework: &Framework, tasks: &[String]) {
        let operation = format!(r#"{{"type":"LAUNCH","launch":{{"task_infos":[{}]}}}}"#, tasks.join(","));
        assert_eq!(self.accept(framework, &operation, 0.0), Reply::Accepted);
    }

    pub(crate) fn status(agent: &Agent, task: &str, state: v1::TaskState, uuid: u8) -> v1::TaskStatus {
        v1::TaskStatus {
            task_id: v1::TaskId { value: task.to_owned() },
            agent_id: Some(v1::AgentId { value: agent.id.clone() }),
            state: state.into(),
            source: Some(v1::task_status::Source::Executor.into()),
            uuid: Some(uuid_bytes(uuid)),
            ..v1::TaskStatus::default()
        }
    }

    pub(crate) fn update(
        &mut self,
        agent: &Agent,
        framework: &Framework,
        task: &str,
        state: v1::TaskState,
        uuid: u8,
    ) {
        let update = agent_link::Update {
            framework_id: Some(v1::FrameworkId { value: framework.id.clone() }),
            executor_id: None,
            status: Some(Self::status(agent, task, state, uuid)),
            latest_state: state.into(),
        };
        self.say(agent.conn, Body::Update(update));
    }

    pub(crate) fn acknowledge(&mut self, agent: &Agent, framework: &Framework, task: &str, uuid: u8) {
        let call = scheduler::call::Acknowledge {
            agent_id: v1::AgentId { value: agent.id.clone() },
            task_id: v1::TaskId { value: task.to_owned() },
            uuid: uuid_bytes(uuid),
        };
        let rest = format!(r#""type":"ACKNOWLEDGE","acknowledge":{}"#, to_json(&call));
        assert_eq!(self.framework_call(framework, &rest), Reply::Accepted);
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        *self.master.metrics(self.now).get(name).unwrap_or_else(|| panic!("no metric {name}"))
    }
}

pub(crate) fn uuid_bytes(uuid: u8) -> Vec<u8> {
    let mut bytes = vec![uuid; 16];
    bytes[6] = 0x40;
    bytes
}

/// A command task with a tenth of a core.
pub(crate) fn task(agent: &Agent, id: &str) -> String {
    task_with(agent, id, r#""command":{"value":"sleep 1000"}"#)
}

pub(crate) fn task_with(agent: &Agent, id: &str, rest: &str) -> String {
    format!(
        r#"{{"name":"{id}","task_id":{{"value":"{id}"}},"agent_id":{{"value":"{}"}},"resources":[{CPUS},{MEM}],{rest}}}"#,
        agent.id
    )
}

pub(crate) const CPUS: &str = r#"{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}}"#;
pub(crate) const MEM: &str = r#"{"name":"mem","type":"SCALAR","scalar":{"value":32}}"#;

pub(crate) const DISK: &str = r#"{"name":"disk","type":"SCALAR","scalar":{"value":10}}"#;

/// The operation that launches these tasks under the default executor `id` of a framework.
pub(crate) fn launch_group(framework: &Framework, id: &str, tasks: &[String]) -> String {
    let executor = format!(
        r#"{{"type":"DEFAULT","executor_id":{{"value":"{id}"}},"framework_id":{{"value":"{}"}},"resources":[{CPUS},{MEM},{DISK}]}}"#,
        framework.id
    );
    format!(
        r#"{{"type":"LAUNCH_GROUP","launch_group":{{"executor":{executor},"task_group":{{"tasks":[{}]}}}}}}"#,
        tasks.join(",")
    )
}
