//! A master with one agent, played by a script: it speaks the v1 scheduler API as Mesos does, and every task that is
//! launched runs until it is killed.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http_kit::{
    Address, Body, BodySender, HeaderValue, Listener, Peer, Request, Response, StatusCode, header, respond,
};
use mesos_proto::v1::scheduler::{Call, Event, call, event};
use mesos_proto::v1::{self, TaskState, offer::operation};
use mesos_proto::{binary, recordio};
use prost::Message;

pub(crate) const AGENT: &str = "agent-1";

/// What the master knows and remembers. Clones are the same master.
#[derive(Clone)]
pub(crate) struct Master {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: tokio::sync::watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    stream: Option<Stream>,
    streams: u64,
    offers: u64,
    updates: u64,
    /// Cpus of the agent; tasks take of it.
    cpus: f64,
    outstanding: Option<String>,
    suppressed: bool,
    declined: bool,
    /// Tasks that run, with what they were launched as.
    tasks: BTreeMap<String, v1::TaskInfo>,
    unacknowledged: VecDeque<Vec<u8>>,
    calls: Vec<Call>,
    /// Where the agent says that it is.
    host: String,
    /// What the master promises, and does not keep.
    heartbeat_seconds: f64,
}

struct Stream {
    id: String,
    sender: Arc<BodySender>,
}

/// An address of this test's own: the port of a server that has gone is not another test's next one.
pub(crate) fn own_ip() -> std::net::IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    [127, 62, high, low.max(1)].into()
}

impl Master {
    /// A master whose only agent has this many cpus, and enough of all else.
    pub(crate) async fn start(cpus: f64) -> Master {
        let listener = Listener::bind(&Address::Tcp((own_ip(), 0).into())).await.expect("a free port");
        let Address::Tcp(address) = *listener.address() else { unreachable!("bound to TCP") };
        let state = State { cpus, host: "127.0.0.1".to_owned(), heartbeat_seconds: 15.0, ..State::default() };
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let master = Master { address, state: Arc::new(Mutex::new(state)), stop };
        let handler = {
            let master = master.clone();
            move |request: Request, _peer: Peer| {
                let master = master.clone();
                async move { master.answer(request).await }
            }
        };
        tokio::spawn(async move {
            let mut stopped = stopped;
            let shutdown = async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            http_kit::serve(listener, Arc::new(handler), shutdown).await;
        });
        master
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it locked")
    }

    /// Promises heartbeats at this interval, without sending any.
    pub(crate) fn promise_heartbeats(&self, seconds: f64) {
        self.lock().heartbeat_seconds = seconds;
    }

    /// Breaks the stream, as a master does that dies.
    pub(crate) fn disconnect(&self) {
        let stream = self.lock().stream.take();
        drop(stream);
    }

    /// Ends the server for good.
    pub(crate) fn stop(&self) {
        self.disconnect();
        self.stop.send_replace(true);
    }

    /// How many times somebody subscribed.
    pub(crate) fn subscriptions(&self) -> u64 {
        self.lock().streams
    }

    /// The tasks that run.
    pub(crate) fn tasks(&self) -> BTreeMap<String, v1::TaskInfo> {
        self.lock().tasks.clone()
    }

    /// The calls of a type so far.
    pub(crate) fn calls(&self, kind: call::Type) -> Vec<Call> {
        self.lock().calls.iter().filter(|call| call.r#type() == kind).cloned().collect()
    }

    /// Updates that were sent and not acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.lock().unacknowledged.len()
    }

    /// Ends a task as if by itself.
    pub(crate) fn end_task(&self, id: &str, state: TaskState, message: &str) {
        let mut locked = self.lock();
        locked.tasks.remove(id);
        locked.update(id, state, message, v1::task_status::Reason::CommandExecutorFailed);
        locked.offer();
    }

    async fn answer(&self, request: Request) -> Response {
        assert_eq!(request.uri().path(), "/api/v1/scheduler");
        assert_eq!(request.headers()[header::CONTENT_TYPE], "application/x-protobuf");
        let stream_id =
            request.headers().get("mesos-stream-id").map(|id| id.to_str().expect("text").to_owned());
        let body = request.into_body().read_within(1 << 24, Duration::from_secs(5)).await.expect("a body");
        let call = binary::decode_checked::<Call>(&body).expect("a call");
        if call.r#type() == call::Type::Subscribe {
            return self.subscribe(call);
        }
        let mut state = self.lock();
        match &state.stream {
            Some(stream) if Some(&stream.id) == stream_id.as_ref() => {}
            _ => return respond::text(StatusCode::FORBIDDEN, "Framework is not subscribed"),
        }
        assert_eq!(
            call.framework_id.as_ref().map(|id| id.value.as_str()),
            Some("framework-1"),
            "as Mesos demands"
        );
        state.calls.push(call.clone());
        state.take(&call);
        respond::status(StatusCode::ACCEPTED)
    }

    fn subscribe(&self, call: Call) -> Response {
        let subscribe = call.subscribe.clone().expect("what is subscribed");
        assert_eq!(call.framework_id, subscribe.framework_info.id, "both ids are the same");
        let (sender, body) = Body::channel(4096);
        let mut state = self.lock();
        let heartbeat_seconds = state.heartbeat_seconds;
        state.streams += 1;
        let id = format!("stream-{}", state.streams);
        state.stream = Some(Stream { id: id.clone(), sender: Arc::new(sender) });
        (state.outstanding, state.suppressed, state.declined) = (None, false, false);
        let framework_id =
            call.framework_id.clone().unwrap_or(v1::FrameworkId { value: "framework-1".to_owned() });
        state.calls.push(call);
        state.send(&Event {
            subscribed: Some(event::Subscribed {
                framework_id,
                heartbeat_interval_seconds: Some(heartbeat_seconds),
                master_info: None,
            }),
            ..typed(event::Type::Subscribed)
        });
        state.offer();
        let mut response = Response::new(body);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        response.headers_mut().insert("mesos-stream-id", HeaderValue::from_str(&id).expect("text"));
        response
    }
}

impl State {
    fn take(&mut self, call: &Call) {
        match call.r#type() {
            call::Type::Accept => {
                let accept = call.accept.as_ref().expect("an ACCEPT");
                let known = accept.offer_ids.iter().all(|id| self.outstanding.as_ref() == Some(&id.value));
                assert!(known, "an offer that was made");
                self.outstanding = None;
                let refuse = accept.filters.as_ref().and_then(|filters| filters.refuse_seconds);
                self.declined = refuse != Some(0.0);
                let launches = accept.operations.iter().filter(|op| op.r#type() == operation::Type::Launch);
                let tasks: Vec<v1::TaskInfo> = launches
                    .flat_map(|op| op.launch.iter().flat_map(|launch| launch.task_infos.clone()))
                    .collect();
                for task in tasks {
                    let id = task.task_id.value.clone();
                    assert!(self.tasks.insert(id.clone(), task).is_none(), "{id} is launched twice");
                    self.update(
                        &id,
                        TaskState::TaskStarting,
                        "",
                        v1::task_status::Reason::CommandExecutorFailed,
                    );
                    self.update(
                        &id,
                        TaskState::TaskRunning,
                        "",
                        v1::task_status::Reason::CommandExecutorFailed,
                    );
                }
                self.offer();
            }
            call::Type::Decline => {
                self.outstanding = None;
                self.declined = true;
            }
            call::Type::Revive => {
                (self.suppressed, self.declined) = (false, false);
                self.offer();
            }
            call::Type::Suppress => self.suppressed = true,
            call::Type::Kill => {
                let id = call.kill.as_ref().expect("a KILL").task_id.value.clone();
                if self.tasks.remove(&id).is_some() {
                    self.update(
                        &id,
                        TaskState::TaskKilling,
                        "",
                        v1::task_status::Reason::TaskKilledDuringLaunch,
                    );
                    self.update(
                        &id,
                        TaskState::TaskKilled,
                        "",
                        v1::task_status::Reason::TaskKilledDuringLaunch,
                    );
                }
            }
            call::Type::Acknowledge => {
                let uuid = &call.acknowledge.as_ref().expect("an ACKNOWLEDGE").uuid;
                self.unacknowledged.retain(|sent| sent != uuid);
            }
            call::Type::Reconcile => {
                let asked = &call.reconcile.as_ref().expect("a RECONCILE").tasks;
                let mut ids: Vec<String> = asked.iter().map(|task| task.task_id.value.clone()).collect();
                if ids.is_empty() {
                    ids = self.tasks.keys().cloned().collect();
                }
                for id in ids {
                    let known = self.tasks.contains_key(&id);
                    let state = if known { TaskState::TaskRunning } else { TaskState::TaskUnknown };
                    self.tell(&id, state, "Reconciliation", v1::task_status::Reason::Reconciliation, None);
                }
            }
            other => panic!("{other:?} is not expected of Marathon"),
        }
    }

    fn offer(&mut self) {
        if self.outstanding.is_some() || self.suppressed || self.declined || self.stream.is_none() {
            return;
        }
        let used: f64 =
            self.tasks.values().flat_map(|task| &task.resources).filter(|r| r.name == "cpus").map(cpus).sum();
        self.offers += 1;
        let id = format!("offer-{}", self.offers);
        self.outstanding = Some(id.clone());
        let offer = v1::Offer {
            id: v1::OfferId { value: id },
            framework_id: v1::FrameworkId { value: "framework-1".to_owned() },
            agent_id: v1::AgentId { value: AGENT.to_owned() },
            hostname: self.host.clone(),
            resources: vec![
                scalar("cpus", self.cpus - used),
                scalar("mem", 1e6),
                scalar("disk", 1e6),
                ports(),
            ],
            ..v1::Offer::default()
        };
        let offers = Some(event::Offers { offers: vec![offer] });
        self.send(&Event { offers, ..typed(event::Type::Offers) });
    }

    fn update(&mut self, id: &str, state: TaskState, message: &str, reason: v1::task_status::Reason) {
        self.updates += 1;
        let mut uuid = vec![0; 8];
        uuid.extend_from_slice(&self.updates.to_be_bytes());
        self.unacknowledged.push_back(uuid.clone());
        self.tell(id, state, message, reason, Some(uuid));
    }

    fn tell(
        &mut self,
        id: &str,
        state: TaskState,
        message: &str,
        reason: v1::task_status::Reason,
        uuid: Option<Vec<u8>>,
    ) {
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: id.to_owned() },
            state: state as i32,
            message: Some(message.to_owned()),
            reason: Some(reason as i32),
            agent_id: Some(v1::AgentId { value: AGENT.to_owned() }),
            uuid,
            timestamp: Some(1.0),
            ..v1::TaskStatus::default()
        };
        self.send(&Event { update: Some(event::Update { status }), ..typed(event::Type::Update) });
    }

    fn send(&self, event: &Event) {
        if let Some(stream) = &self.stream {
            // A reader that is gone will subscribe again.
            let _ = stream.sender.try_send(recordio::frame(&event.encode_to_vec()));
        }
    }
}

fn typed(kind: event::Type) -> Event {
    Event { r#type: Some(kind as i32), ..Event::default() }
}

fn cpus(resource: &v1::Resource) -> f64 {
    resource.scalar.as_ref().map_or(0.0, |scalar| scalar.value)
}

fn resource(name: &str, kind: v1::value::Type) -> v1::Resource {
    let reservation = v1::resource::AllocationInfo { role: Some("slave_public".to_owned()) };
    v1::Resource {
        name: name.to_owned(),
        r#type: kind as i32,
        allocation_info: Some(reservation),
        ..v1::Resource::default()
    }
}

fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource { scalar: Some(v1::value::Scalar { value }), ..resource(name, v1::value::Type::Scalar) }
}

fn ports() -> v1::Resource {
    let range = v1::value::Range { begin: 31_000, end: 32_000 };
    v1::Resource {
        ranges: Some(v1::value::Ranges { range: vec![range] }),
        ..resource("ports", v1::value::Type::Ranges)
    }
}
