//! A master that says what the test wants and hears everything.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_link::{AcknowledgeUpdate, Body, Decoder, Frame, Hello, KillTask, RunTask, Update, Welcome};
use http_kit::{Address, Handler, Listener, Peer, Request, upgrade};
use mesos_proto::v1::{self, FrameworkInfo, TaskInfo, TaskState, TaskStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

pub(crate) const AGENT_ID: &str = "M-S0";
pub(crate) const FRAMEWORK: &str = "M-0000";
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection of the agent, from its Hello on.
pub(crate) struct Session {
    pub(crate) hello: Hello,
    /// What the agent said in `Authorization`.
    pub(crate) authorization: Option<String>,
    heard: mpsc::UnboundedReceiver<Body>,
    say: mpsc::UnboundedSender<Body>,
    /// Updates heard while another one was waited for.
    kept: Vec<Update>,
}

pub(crate) struct Master {
    pub(crate) address: SocketAddr,
    sessions: mpsc::UnboundedReceiver<Session>,
    _stop: runtime::Stop,
}

impl Master {
    pub(crate) async fn start() -> Master {
        let listener = Listener::bind(&Address::Tcp(([127, 0, 0, 1], 0).into())).await.unwrap();
        let Address::Tcp(address) = listener.address().clone() else { unreachable!("it is TCP") };
        let (found, sessions) = mpsc::unbounded_channel();
        let found = Arc::new(Mutex::new(found));
        let handler: Arc<dyn Handler> = Arc::new(move |mut request: Request, _peer: Peer| {
            let found = Arc::clone(&found);
            async move {
                assert_eq!(request.uri().path(), agent_link::PATH);
                let authorization = request.headers().get(http_kit::header::AUTHORIZATION);
                let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
                let upgrade =
                    upgrade::take(&mut request, agent_link::UPGRADE).expect("an upgrade is asked for");
                tokio::spawn(serve(upgrade, authorization, found.lock().unwrap().clone()));
                upgrade::accept(agent_link::UPGRADE)
            }
        });
        let (stop, shutdown) = runtime::Shutdown::new();
        tokio::spawn(http_kit::serve(listener, handler, async move { shutdown.requested().await }));
        Master { address, sessions, _stop: stop }
    }

    /// The agent's next connection.
    pub(crate) async fn session(&mut self) -> Session {
        tokio::time::timeout(PATIENCE, self.sessions.recv()).await.expect("the agent connects").unwrap()
    }
}

async fn serve(
    upgrade: upgrade::Upgrade,
    mut authorization: Option<String>,
    found: mpsc::UnboundedSender<Session>,
) {
    let connection = upgrade.connection().await.unwrap();
    let (mut read, mut write) = tokio::io::split(connection);
    let (say, mut said) = mpsc::unbounded_channel();
    let (hear, heard) = mpsc::unbounded_channel();
    let welcome = Welcome {
        version: 1,
        agent_id: Some(v1::AgentId { value: AGENT_ID.into() }),
        master_id: "M".into(),
        heartbeat_millis: 1000,
        silence_millis: 5000,
    };
    say.send(Body::Welcome(welcome)).unwrap();
    let (mut decoder, mut seq) = (Decoder::default(), 0);
    let mut session = Some((heard, say));
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    let mut piece = vec![0; 65536];
    loop {
        let body = tokio::select! {
            body = said.recv() => match body {
                Some(body) => Some(body),
                // The test dropped the session: so does the master.
                None => return,
            },
            _ = beat.tick(), if session.is_none() => None,
            count = read.read(&mut piece) => {
                let Ok(count @ 1..) = count else { return };
                decoder.push(&piece[..count]);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    match frame.body {
                        Some(Body::Hello(hello)) => {
                            let (heard, say) = session.take().expect("one Hello");
                            let _ = found.send(Session { hello, authorization: authorization.take(), heard, say, kept: Vec::new() });
                        }
                        Some(body) => drop(hear.send(body)),
                        None => {}
                    }
                }
                continue;
            }
        };
        seq += u64::from(body.is_some());
        let frame = Frame { seq: if body.is_some() { seq } else { 0 }, ack: u64::MAX / 2, body };
        if write.write_all(&agent_link::encode(&frame)).await.is_err() {
            return;
        }
    }
}

pub(crate) fn framework() -> FrameworkInfo {
    FrameworkInfo {
        id: Some(v1::FrameworkId { value: FRAMEWORK.into() }),
        name: "test".into(),
        user: host::User::current().name,
        checkpoint: Some(true),
        ..Default::default()
    }
}

pub(crate) fn resources(text: &str) -> Vec<v1::Resource> {
    resources::Resources::parse(text).unwrap().allocated_to("*").to_wire(resources::WireForm::Refined)
}

/// A task that runs a shell command.
pub(crate) fn task(id: &str, command: &str) -> TaskInfo {
    TaskInfo {
        name: id.into(),
        task_id: v1::TaskId { value: id.into() },
        agent_id: v1::AgentId { value: AGENT_ID.into() },
        resources: resources("cpus:0.1;mem:32"),
        command: Some(v1::CommandInfo { value: Some(command.into()), ..Default::default() }),
        ..Default::default()
    }
}

impl Session {
    pub(crate) fn send(&self, body: Body) {
        self.say.send(body).expect("the agent is connected");
    }

    pub(crate) fn run(&self, task: TaskInfo) {
        self.send(Body::RunTask(RunTask { framework: Some(framework()), task: Some(task) }));
    }

    pub(crate) fn kill(&self, task_id: &str) {
        self.send(Body::KillTask(KillTask {
            framework_id: framework().id,
            task_id: Some(v1::TaskId { value: task_id.into() }),
            kill_policy: None,
        }));
    }

    /// Acknowledges an update as a framework does.
    pub(crate) fn acknowledge(&self, status: &TaskStatus) {
        let acknowledge = AcknowledgeUpdate {
            framework_id: framework().id,
            task_id: Some(status.task_id.clone()),
            uuid: status.uuid().to_vec(),
        };
        // The agent may be gone after its last words; then it tells them again when it is back.
        let _ = self.say.send(Body::AcknowledgeUpdate(acknowledge));
    }

    /// The next update of a task, unacknowledged; those of other tasks are kept.
    pub(crate) async fn update(&mut self, task_id: &str) -> TaskStatus {
        let of_task = |update: &Update| update.status.as_ref().unwrap().task_id.value == task_id;
        if let Some(at) = self.kept.iter().position(of_task) {
            return self.kept.remove(at).status.unwrap();
        }
        loop {
            let heard = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
            match heard.unwrap_or_else(|_| panic!("no update of {task_id}")).expect("the agent is connected")
            {
                Body::Update(update) if of_task(&update) => return update.status.unwrap(),
                Body::Update(update) => self.kept.push(update),
                _ => {}
            }
        }
    }

    /// Acknowledges updates until the task is in `state`, and returns that status, acknowledged too.
    pub(crate) async fn until(&mut self, task_id: &str, state: TaskState) -> TaskStatus {
        loop {
            let status = self.update(task_id).await;
            self.acknowledge(&status);
            if status.state() == state {
                return status;
            }
            let over = agent_core::is_terminal(status.state());
            assert!(!over, "{task_id} should be {} but is {status:?}", state.as_str_name());
        }
    }
}
