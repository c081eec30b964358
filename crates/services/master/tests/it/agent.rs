//! An agent that does what a test says.

use std::net::SocketAddr;

use agent_link::{Body, Decoder, Frame, Hello, Update};
use base::Rng;
use mesos_proto::v1;
use resources::{Resources, WireForm};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::raw::PATIENCE;

/// One link to the master.
pub(crate) struct Agent {
    socket: TcpStream,
    decoder: Decoder,
    seq: u64,
    received: u64,
    rng: Rng,
}

/// The Hello of a new agent with these resources.
pub(crate) fn hello(hostname: &str, resources: &str) -> Hello {
    let total = Resources::parse(resources).unwrap().to_wire(WireForm::Refined);
    let agent = v1::AgentInfo {
        hostname: hostname.to_owned(),
        port: Some(5051),
        resources: total.clone(),
        ..Default::default()
    };
    Hello {
        min_version: agent_link::MIN_VERSION,
        max_version: agent_link::MAX_VERSION,
        capabilities: vec!["MULTI_ROLE".to_owned(), "RESERVATION_REFINEMENT".to_owned()],
        boot_id: "boot".to_owned(),
        agent: Some(agent),
        version: "1.11.0".to_owned(),
        total,
        ..Default::default()
    }
}

impl Agent {
    /// Connects and upgrades; says nothing yet.
    pub(crate) async fn connect(address: SocketAddr) -> Agent {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET {} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: {}\r\n\r\n",
            agent_link::PATH,
            agent_link::UPGRADE
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(socket.read_u8().await.expect("an answer"));
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        Agent { socket, decoder: Decoder::default(), seq: 0, received: 0, rng: Rng::seeded(7) }
    }

    /// Connects, says `hello` and is welcome. Returns its id, too.
    pub(crate) async fn register(address: SocketAddr, hello: Hello) -> (Agent, String) {
        let mut agent = Agent::connect(address).await;
        agent.send(Body::Hello(hello)).await;
        match agent.next().await {
            Some(Body::Welcome(welcome)) => {
                let id = welcome.agent_id.expect("an id").value;
                (agent, id)
            }
            other => panic!("not welcome: {other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, body: Body) {
        self.seq += 1;
        self.send_frame(Frame { seq: self.seq, ack: self.received, body: Some(body) }).await;
    }

    pub(crate) async fn send_frame(&mut self, frame: Frame) {
        self.socket.write_all(&agent_link::encode(&frame)).await.unwrap();
    }

    /// The next frame; None when the master has closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                self.received = self.received.max(frame.seq);
                return Some(frame);
            }
            let mut piece = vec![0; 4096];
            let read = tokio::time::timeout(PATIENCE, self.socket.read(&mut piece)).await;
            match read.expect("a frame in time") {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.decoder.push(&piece[..count]),
            }
        }
    }

    /// The next frame that says something.
    pub(crate) async fn next(&mut self) -> Option<Body> {
        loop {
            if let Some(body) = self.frame().await?.body {
                return Some(body);
            }
        }
    }

    /// The task that the master wants run next.
    pub(crate) async fn run_task(&mut self) -> v1::TaskInfo {
        loop {
            match self.next().await.expect("a task") {
                Body::RunTask(run) => return run.task.expect("a task"),
                _ => continue,
            }
        }
    }

    /// Tells a task's new state, and returns the update's uuid.
    pub(crate) async fn update(
        &mut self,
        framework: &str,
        agent: &str,
        task: &str,
        state: v1::TaskState,
    ) -> Vec<u8> {
        self.update_with(framework, agent, task, state, None).await
    }

    /// [`Agent::update`] of a task that has a container, as a real agent tells it.
    pub(crate) async fn update_in_container(
        &mut self,
        framework: &str,
        agent: &str,
        task: &str,
        state: v1::TaskState,
    ) -> Vec<u8> {
        let address = v1::network_info::IpAddress {
            protocol: Some(v1::network_info::Protocol::IPv4 as i32),
            ip_address: Some("127.0.0.1".to_owned()),
        };
        let network = v1::NetworkInfo { ip_addresses: vec![address], ..Default::default() };
        let container = v1::ContainerStatus {
            container_id: Some(v1::ContainerId { value: self.rng.uuid(), parent: None }),
            network_infos: vec![network],
            executor_pid: Some(6264),
            ..Default::default()
        };
        self.update_with(framework, agent, task, state, Some(container)).await
    }

    async fn update_with(
        &mut self,
        framework: &str,
        agent: &str,
        task: &str,
        state: v1::TaskState,
        container_status: Option<v1::ContainerStatus>,
    ) -> Vec<u8> {
        let uuid = self.rng.uuid_bytes().to_vec();
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: task.to_owned() },
            state: state as i32,
            source: Some(v1::task_status::Source::Executor as i32),
            agent_id: Some(v1::AgentId { value: agent.to_owned() }),
            executor_id: Some(v1::ExecutorId { value: task.to_owned() }),
            timestamp: Some(1_795_345_342.25),
            uuid: Some(uuid.clone()),
            container_status,
            ..Default::default()
        };
        self.send(Body::Update(Update {
            framework_id: Some(v1::FrameworkId { value: framework.to_owned() }),
            executor_id: Some(v1::ExecutorId { value: task.to_owned() }),
            status: Some(status),
            latest_state: state as i32,
        }))
        .await;
        uuid
    }
}
