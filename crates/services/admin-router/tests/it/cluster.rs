//! A master and a Marathon that say what a test wants, an Admin Router before them, and services.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use admin_router::{Config, Packages, Role, Version};
use base::Auth;
use http_kit::{
    Address, Body, BodySender, Bytes, Client, Listener, Method, Peer, Request, Response, StatusCode,
    Timeouts, respond, serve,
};
use mesos_proto::v1::master::{Event, event, response};
use mesos_proto::{binary, recordio, v1};
use runtime::{Ctx, Stop};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that dies with its value: its connections break, whatever they were doing.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

/// An address of this test's own: the port of a server that has gone is not another test's next one.
pub(crate) fn own_ip() -> std::net::IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    [127, 61, high, low.max(1)].into()
}

impl Server {
    pub(crate) async fn start<F, Answer>(handler: F) -> Self
    where
        F: Fn(Request, Peer) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Response> + Send + 'static,
    {
        Server::on(SocketAddr::new(own_ip(), 0), handler).await
    }

    pub(crate) async fn on<F, Answer>(address: SocketAddr, handler: F) -> Self
    where
        F: Fn(Request, Peer) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Response> + Send + 'static,
    {
        let listener = Listener::bind(&Address::Tcp(address)).await.unwrap();
        let Address::Tcp(address) = *listener.address() else { panic!("it is TCP") };
        let task = tokio::spawn(serve(listener, Arc::new(handler), std::future::pending()));
        Server { address, task }
    }

    /// Kills it and waits until its port is free.
    pub(crate) async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tells what it was asked: `NAME METHOD TARGET`, the headers one a line, an empty line, the body.
pub(crate) async fn echo(name: String, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut text = format!("{name} {} {}\n", head.method, head.uri);
    for (key, value) in &head.headers {
        text += &format!("{key}: {}\n", value.to_str().unwrap());
    }
    let body = body.read_within(1 << 20, PATIENCE).await.unwrap();
    respond::text(StatusCode::OK, format!("{text}\n{}", String::from_utf8_lossy(&body)))
}

/// A service that echoes.
pub(crate) async fn echoing(name: &str) -> Server {
    let name = name.to_owned();
    Server::start(move |request, _peer| echo(name.clone(), request)).await
}

/// What the master and Marathon say, and who listens.
#[derive(Default)]
pub(crate) struct Story {
    state: Mutex<response::GetState>,
    apps: Mutex<Vec<Value>>,
    listeners: Mutex<Vec<(Kind, BodySender)>>,
    readings: Mutex<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Mesos,
    Marathon,
}

impl Story {
    fn listen(&self, kind: Kind, first: Bytes) -> Response {
        let (sender, body) = Body::channel(64);
        sender.try_send(first).unwrap();
        self.listeners.lock().unwrap().push((kind, sender));
        Response::new(body)
    }

    fn tell(&self, kind: Kind, event: &Bytes) {
        let mut listeners = self.listeners.lock().unwrap();
        listeners.retain(|(of, sender)| *of != kind || sender.try_send(event.clone()).is_ok());
    }

    async fn mesos(self: Arc<Self>, request: Request) -> Response {
        if request.uri().path() != "/api/v1" || request.method() != Method::POST {
            return echo("master".into(), request).await;
        }
        let subscribed = event::Subscribed {
            get_state: Some(self.state.lock().unwrap().clone()),
            heartbeat_interval_seconds: Some(15.0),
        };
        let event = Event {
            r#type: Some(event::Type::Subscribed.into()),
            subscribed: Some(subscribed),
            ..Event::default()
        };
        self.listen(Kind::Mesos, record(&event))
    }

    async fn marathon(self: Arc<Self>, request: Request) -> Response {
        match request.uri().path() {
            "/v2/events" => {
                self.listen(Kind::Marathon, Bytes::from_static(b"event: event_stream_attached\ndata: {}\n\n"))
            }
            "/v2/apps" if request.uri().query().is_some_and(|query| query.contains("embed=apps.tasks")) => {
                *self.readings.lock().unwrap() += 1;
                respond::json(StatusCode::OK, &json!({ "apps": *self.apps.lock().unwrap() }))
            }
            _ => echo("marathon".into(), request).await,
        }
    }

    /// How often the apps were read.
    pub(crate) fn readings(&self) -> usize {
        *self.readings.lock().unwrap()
    }
}

fn record(event: &Event) -> Bytes {
    recordio::frame(&binary::encode(event)).into()
}

/// A whole cluster as Admin Router sees it.
pub(crate) struct Cluster {
    pub(crate) story: Arc<Story>,
    pub(crate) master: Option<Server>,
    pub(crate) marathon: Option<Server>,
    pub(crate) router: SocketAddr,
    pub(crate) client: Client,
    stop: Stop,
    task: JoinHandle<()>,
}

pub(crate) fn config(role: Role) -> Config {
    Config {
        ip: [127, 0, 0, 1].into(),
        port: 0,
        role,
        version: Version {
            version: "3.0".into(),
            variant: "open".into(),
            image_commit: String::new(),
            bootstrap_id: String::new(),
        },
        cluster_id: "c-1".into(),
        auth: Auth::default(),
        domains: vec!["mesos".into()],
        answer_timeout: Duration::from_secs(10),
        packages: Packages::default(),
    }
}

/// Runs an Admin Router.
pub(crate) async fn router(config: Config) -> (SocketAddr, Stop, JoinHandle<()>) {
    let listener = Listener::bind(&Address::Tcp(SocketAddr::new(config.ip, config.port))).await.unwrap();
    let Address::Tcp(address) = *listener.address() else { panic!("it is TCP") };
    let (ctx, stop, readiness) = Ctx::for_tests();
    let task = tokio::spawn(admin_router::serve(config, listener, ctx));
    assert!(readiness.reached().await);
    (address, stop, task)
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Cluster::start_with(|_config| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let story = Arc::new(Story::default());
        let master = mesos_on(&story, ([127, 0, 0, 1], 0).into()).await;
        let marathon = marathon_on(&story, ([127, 0, 0, 1], 0).into()).await;
        let mut config = config(Role::Master { mesos: master.address, marathon: marathon.address });
        change(&mut config);
        let (router, stop, task) = router(config).await;
        let client = Client::default();
        Cluster { story, master: Some(master), marathon: Some(marathon), router, client, stop, task }
    }

    /// Starts the master again on its address.
    pub(crate) async fn start_master(&mut self, address: SocketAddr) {
        self.master = Some(mesos_on(&self.story, address).await);
    }

    pub(crate) async fn start_marathon(&mut self, address: SocketAddr) {
        self.marathon = Some(marathon_on(&self.story, address).await);
    }

    /// Sets Marathon's apps and tells that something changed.
    pub(crate) fn set_apps(&self, apps: Vec<Value>) {
        *self.story.apps.lock().unwrap() = apps;
        let event = Bytes::from_static(
            b"event: status_update_event\ndata: {\"eventType\":\"status_update_event\"}\n\n",
        );
        self.story.tell(Kind::Marathon, &event);
    }

    /// Adds an agent to the master's state and tells so.
    pub(crate) fn add_agent(&self, id: &str, address: SocketAddr) {
        let agent = response::get_agents::Agent {
            agent_info: v1::AgentInfo {
                id: Some(v1::AgentId { value: id.into() }),
                hostname: address.ip().to_string(),
                ..v1::AgentInfo::default()
            },
            active: true,
            version: "1.11.0".into(),
            pid: Some(format!("slave(1)@{address}")),
            ..response::get_agents::Agent::default()
        };
        self.story.state.lock().unwrap().get_agents.get_or_insert_default().agents.push(agent.clone());
        let added = event::AgentAdded { agent };
        self.tell_mesos(Event {
            r#type: Some(event::Type::AgentAdded.into()),
            agent_added: Some(added),
            ..Event::default()
        });
    }

    pub(crate) fn remove_agent(&self, id: &str) {
        let agent_id = v1::AgentId { value: id.into() };
        let agents = |agent: &response::get_agents::Agent| agent.agent_info.id.as_ref() != Some(&agent_id);
        self.story.state.lock().unwrap().get_agents.get_or_insert_default().agents.retain(agents);
        self.tell_mesos(Event {
            r#type: Some(event::Type::AgentRemoved.into()),
            agent_removed: Some(event::AgentRemoved { agent_id }),
            ..Event::default()
        });
    }

    pub(crate) fn add_framework(&self, id: &str, name: &str, webui_url: &str) {
        let framework = response::get_frameworks::Framework {
            framework_info: v1::FrameworkInfo {
                id: Some(v1::FrameworkId { value: id.into() }),
                name: name.into(),
                webui_url: Some(webui_url.into()),
                ..v1::FrameworkInfo::default()
            },
            active: true,
            connected: true,
            ..response::get_frameworks::Framework::default()
        };
        self.story
            .state
            .lock()
            .unwrap()
            .get_frameworks
            .get_or_insert_default()
            .frameworks
            .push(framework.clone());
        self.tell_mesos(Event {
            r#type: Some(event::Type::FrameworkAdded.into()),
            framework_added: Some(event::FrameworkAdded { framework }),
            ..Event::default()
        });
    }

    fn tell_mesos(&self, event: Event) {
        self.story.tell(Kind::Mesos, &record(&event));
    }

    pub(crate) fn address(&self) -> Address {
        Address::Tcp(self.router)
    }

    /// Sends a request through the router.
    pub(crate) async fn send(&self, request: Request) -> Response {
        self.client.send(&self.address(), request, Timeouts::default()).await.unwrap()
    }

    /// Status and body of a request.
    pub(crate) async fn call(&self, request: Request) -> (u16, String) {
        let response = self.send(request).await;
        let status = response.status().as_u16();
        let body = response.into_body().read_within(1 << 20, PATIENCE).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.call(request(Method::GET, path, Body::empty())).await
    }

    /// Waits until a GET of `path` answers with `status` and a body that contains `text`.
    pub(crate) async fn wait_for(&self, path: &str, status: u16, text: &str) {
        let mut found = (0, String::new());
        let wait = async {
            loop {
                found = self.get(path).await;
                if found.0 == status && found.1.contains(text) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let timely = tokio::time::timeout(PATIENCE, wait).await.is_ok();
        assert!(timely, "{path}: waited for {status} {text:?}, found {found:?}");
    }

    /// Stops the router and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.request();
        tokio::time::timeout(PATIENCE, self.task).await.expect("the router ends").unwrap();
    }
}

async fn mesos_on(story: &Arc<Story>, address: SocketAddr) -> Server {
    let story = Arc::clone(story);
    Server::on(address, move |request, _peer| Arc::clone(&story).mesos(request)).await
}

async fn marathon_on(story: &Arc<Story>, address: SocketAddr) -> Server {
    let story = Arc::clone(story);
    Server::on(address, move |request, _peer| Arc::clone(&story).marathon(request)).await
}

pub(crate) fn request(method: Method, path: &str, body: Body) -> Request {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap();
    request
}

/// A request with headers.
pub(crate) fn with_headers(path: &str, headers: &[(&'static str, &str)]) -> Request {
    let mut request = request(Method::GET, path, Body::empty());
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

/// An app of this service name with running tasks at these addresses.
pub(crate) fn app(name: &str, instances: &[SocketAddr]) -> Value {
    let tasks: Vec<Value> = instances
        .iter()
        .map(|address| {
            json!({ "id": format!("{name}.{}", address.port()), "host": address.ip(), "ports": [address.port()],
                    "state": "TASK_RUNNING", "healthCheckResults": [{ "alive": true }] })
        })
        .collect();
    json!({ "id": format!("/{name}"), "labels": { "DCOS_SERVICE_NAME": name, "DCOS_SERVICE_SCHEME": "http",
            "DCOS_SERVICE_PORT_INDEX": "0" }, "healthChecks": [{ "protocol": "HTTP" }], "tasks": tasks })
}

pub(crate) fn token(text: &str) -> Auth {
    Auth::new(Some(text.to_owned()))
}
