//! Sessions in running containers, over the operator API.

use std::time::Duration;

use http_kit::{Address, Body, BodySender, Client, HeaderName, HeaderValue, Method, Request, Timeouts};
use mesos_proto::recordio::{self, Decoder};
use mesos_proto::v1::TaskState;
use mesos_proto::v1::agent::{Call, ProcessIo, call, process_io};
use mesos_proto::v1::{self, CommandInfo, ContainerInfo, TaskInfo, TtyInfo, container_info, tty_info};
use mesos_proto::{binary, json};
use serde_json::json;

use crate::master::{Master, Session, task};
use crate::node::{Dir, Node, config, eventually};

const PATIENCE: Duration = Duration::from_secs(30);
const PROTOBUF: &str = "application/x-protobuf";

/// An agent that runs a task.
pub(crate) struct Scene {
    node: Node,
    container: String,
    session: Session,
}

impl Scene {
    /// One that runs a command task, `t`.
    async fn of(node: Node, master: &mut Master) -> Scene {
        let mut task = task("t", "exec sleep 1000");
        let variable = v1::environment::Variable {
            name: "OF_TASK".into(),
            value: Some("yes".into()),
            ..v1::environment::Variable::default()
        };
        task.command.as_mut().unwrap().environment = Some(v1::Environment { variables: vec![variable] });
        Scene::with(node, master, task).await
    }

    pub(crate) async fn with(node: Node, master: &mut Master, task: TaskInfo) -> Scene {
        let session = master.session().await;
        let mut scene = Scene { node, container: String::new(), session };
        scene.run(task).await;
        scene
    }

    /// Runs another task; sessions are in its container from here on.
    pub(crate) async fn run(&mut self, task: TaskInfo) {
        let id = task.task_id.value.clone();
        self.session.run(task);
        let running = self.session.until(&id, TaskState::TaskRunning).await;
        self.container = running.container_status.unwrap().container_id.unwrap().value;
    }

    fn id(&self, name: &str) -> v1::ContainerId {
        let parent = v1::ContainerId { value: self.container.clone(), parent: None };
        v1::ContainerId { value: name.into(), parent: Some(Box::new(parent)) }
    }

    pub(crate) fn launch(&self, name: &str, script: &str, tty: bool) -> Call {
        let shell = |value: &str| CommandInfo { value: Some(value.into()), ..CommandInfo::default() };
        let tty_info =
            tty.then_some(TtyInfo { window_size: Some(tty_info::WindowSize { rows: 33, columns: 99 }) });
        let container = ContainerInfo {
            r#type: container_info::Type::Mesos as i32,
            tty_info,
            ..ContainerInfo::default()
        };
        Call {
            r#type: Some(call::Type::LaunchNestedContainerSession as i32),
            launch_nested_container_session: Some(call::LaunchNestedContainerSession {
                container_id: self.id(name),
                command: Some(shell(script)),
                container: Some(container),
            }),
            ..Call::default()
        }
    }

    pub(crate) async fn open(&self, call: &Call) -> Output {
        let mut request = request(Body::full(binary::encode(call)), &[("content-type", PROTOBUF)]);
        let stream = [("accept", "application/recordio"), ("message-accept", PROTOBUF)];
        stream.iter().for_each(|(name, value)| set(&mut request, name, value));
        let address = Address::Tcp(self.node.address);
        let response = Client::default().send(&address, request, Timeouts::default()).await.unwrap();
        let status = response.status();
        if status != 200 {
            panic!("{status}: {:?}", response.into_body().read(1 << 16).await.unwrap());
        }
        assert_eq!(response.headers()["content-type"], "application/recordio");
        assert_eq!(response.headers()["message-content-type"], PROTOBUF);
        Output {
            body: response.into_body(),
            records: Decoder::new(1 << 20),
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    /// Attaches to a session's input: what is sent goes there, and the task gives back status and text.
    fn input(&self, name: &str) -> (BodySender, tokio::task::JoinHandle<(u16, String)>) {
        let (sender, body) = Body::channel(4);
        let headers = [("content-type", "application/recordio"), ("message-content-type", PROTOBUF)];
        let request = request(body, &headers);
        sender.try_send(first(self.id(name))).unwrap();
        let address = Address::Tcp(self.node.address);
        let answered = tokio::spawn(async move {
            let answer =
                Client::default().fetch(&address, request, Timeouts::default(), 1 << 16, PATIENCE).await;
            let answer = answer.unwrap();
            (answer.status().as_u16(), String::from_utf8(answer.body().to_vec()).unwrap())
        });
        (sender, answered)
    }

    async fn json(&self, call: serde_json::Value) -> (u16, String) {
        let body = Some(("application/json", call.to_string().into_bytes()));
        let response = self.node.call(Method::POST, "/api/v1", body).await;
        (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
    }

    async fn wait(&self, name: &str) -> (u16, String) {
        let id = json!({"value": name, "parent": {"value": self.container}});
        self.json(json!({"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": {"container_id": id}}))
            .await
    }

    /// What the agent still has of sessions in the container.
    fn processes(&self, marker: &str) -> usize {
        let all = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        all.filter_map(|pid| host::command_line(pid.parse().ok()?))
            .filter(|line| line.contains(marker))
            .count()
    }

    /// Ends these tasks, after which nothing is left.
    pub(crate) async fn finish(mut self, tasks: &[&str]) {
        for id in tasks {
            self.session.kill(id);
            self.session.until(id, TaskState::TaskKilled).await;
        }
        let node = &self.node;
        eventually("nothing is left", async || node.containers_left() == 0).await;
        self.node.stop().await;
    }
}

fn request(body: Body, headers: &[(&'static str, &'static str)]) -> Request {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = "/api/v1".parse().unwrap();
    headers.iter().for_each(|(name, value)| set(&mut request, name, value));
    request
}

fn set(request: &mut Request, name: &'static str, value: &'static str) {
    request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
}

fn record(input: call::AttachContainerInput) -> Vec<u8> {
    let kind = Some(call::Type::AttachContainerInput as i32);
    recordio::frame(&binary::encode(&Call {
        r#type: kind,
        attach_container_input: Some(input),
        ..Call::default()
    }))
}

fn first(id: v1::ContainerId) -> Vec<u8> {
    let kind = Some(call::attach_container_input::Type::ContainerId as i32);
    record(call::AttachContainerInput { r#type: kind, container_id: Some(id), process_io: None })
}

fn io(io: &str) -> Vec<u8> {
    let kind = Some(call::attach_container_input::Type::ProcessIo as i32);
    let process_io = Some(json::from_json::<ProcessIo>(io.as_bytes()).unwrap());
    record(call::AttachContainerInput { r#type: kind, container_id: None, process_io })
}

fn typed(data: &[u8]) -> Vec<u8> {
    let kind = Some(call::attach_container_input::Type::ProcessIo as i32);
    let data =
        process_io::Data { r#type: Some(process_io::data::Type::Stdin as i32), data: Some(data.to_vec()) };
    let process_io =
        ProcessIo { r#type: Some(process_io::Type::Data as i32), data: Some(data), control: None };
    record(call::AttachContainerInput { r#type: kind, container_id: None, process_io: Some(process_io) })
}

fn resized(rows: u32, columns: u32) -> Vec<u8> {
    io(&format!(
        r#"{{"type":"CONTROL","control":{{"type":"TTY_INFO","tty_info":{{"window_size":{{"rows":{rows},"columns":{columns}}}}}}}}}"#
    ))
}

/// What came out of a session.
pub(crate) struct Output {
    body: Body,
    records: Decoder,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Output {
    /// Reads on; false at the end.
    async fn read(&mut self) -> bool {
        let piece = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("output, or its end");
        let Some(piece) = piece else { return false };
        self.records.push(&piece.expect("the stream is whole"));
        while let Some(record) = self.records.next_record().unwrap() {
            let message = binary::decode_checked::<ProcessIo>(&record).unwrap();
            let Some(data) = message.data else { continue };
            match data.r#type() {
                process_io::data::Type::Stdout => self.stdout.extend(data.data()),
                process_io::data::Type::Stderr => self.stderr.extend(data.data()),
                other => panic!("{other:?}"),
            }
        }
        true
    }

    async fn until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.stdout).contains(text) {
            assert!(self.read().await, "no '{text}' in {:?}", String::from_utf8_lossy(&self.stdout));
        }
    }

    /// stdout and stderr to their ends.
    pub(crate) async fn whole(mut self) -> (String, String) {
        while self.read().await {}
        (String::from_utf8(self.stdout).unwrap(), String::from_utf8(self.stderr).unwrap())
    }
}

#[tokio::test]
async fn ma26_a_command_runs_in_the_container_and_its_end_is_told() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let scene = Scene::of(Node::start(config(&dir, &master)).await, &mut master).await;
    let script = "echo in-session; echo err >&2; exit 3";
    let output = scene.open(&scene.launch("dbg1", script, false)).await.whole().await;
    assert_eq!(output, ("in-session\n".to_owned(), "err\n".to_owned()));
    let ended = r#"{"type":"WAIT_NESTED_CONTAINER","wait_nested_container":{"exit_status":768}}"#;
    assert_eq!(scene.wait("dbg1").await, (200, ended.to_owned()));
    // As it sees the task: its sandbox, its variables, its processes.
    let script = "pwd; echo $MESOS_SANDBOX; echo $OF_TASK-$MESOS_EXECUTOR_ID-$MESOS_DOMAIN_SOCKET; ls stdout";
    let (seen, _) = scene.open(&scene.launch("dbg2", script, false)).await.whole().await;
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[0], lines[1], "{seen}");
    assert_eq!(lines[2], "yes-t-", "{seen}");
    assert_eq!(lines[3], "stdout", "{seen}");
    // A name that was used is not used again.
    let again =
        scene.json(serde_json::from_str(&json::to_json(&scene.launch("dbg1", "true", false))).unwrap()).await;
    assert_eq!(again, (202, String::new()));
    scene.finish(&["t"]).await;
}

#[tokio::test]
async fn what_a_session_leaves_behind_ends_with_it() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let scene = Scene::of(Node::start(config(&dir, &master)).await, &mut master).await;
    let marker = format!("sleep 77{}", std::process::id());
    let script = format!("{marker} & setsid {marker} >/dev/null 2>&1 </dev/null & sleep 0.2; echo over");
    let output = scene.open(&scene.launch("leaves", &script, false)).await.whole().await;
    assert_eq!(output.0, "over\n");
    assert_eq!(scene.wait("leaves").await.0, 200);
    assert_eq!(scene.processes(&marker), 0, "in another session of the kernel's, too");
    scene.finish(&["t"]).await;
}

#[tokio::test]
async fn input_goes_in_and_its_end_is_an_end() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let scene = Scene::of(Node::start(config(&dir, &master)).await, &mut master).await;
    let output = scene.open(&scene.launch("cat", "cat; echo over", false)).await;
    let (input, answered) = scene.input("cat");
    for line in ["one\n", "two\n"] {
        input.send(typed(line.as_bytes())).await.unwrap();
    }
    input
        .send(io(
            r#"{"type":"CONTROL","control":{"type":"HEARTBEAT","heartbeat":{"interval":{"nanoseconds":1}}}}"#,
        ))
        .await
        .unwrap();
    // Only one at a time.
    let (_second, refused) = scene.input("cat");
    let busy = (409, "Multiple input connections are not allowed".to_owned());
    assert_eq!(refused.await.unwrap(), busy);
    input.send(typed(b"")).await.unwrap();
    assert_eq!(output.whole().await, ("one\ntwo\nover\n".to_owned(), String::new()));
    drop(input);
    assert_eq!(answered.await.unwrap(), (200, String::new()));
    // Nobody takes what is typed after the end.
    let (_late, answered) = scene.input("cat");
    let (status, text) = answered.await.unwrap();
    assert_eq!(status, 500, "{text}");
    scene.finish(&["t"]).await;
}

#[tokio::test]
async fn ma27_a_terminal_has_a_size_and_can_be_interrupted() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let scene = Scene::of(Node::start(config(&dir, &master)).await, &mut master).await;
    let script = "stty size; trap 'stty size' WINCH; trap 'echo INTERRUPTED; exit 7' INT; echo READY; \
                  while :; do sleep 0.05; done";
    let mut output = scene.open(&scene.launch("tty", script, true)).await;
    output.until("33 99").await;
    output.until("READY").await;
    let (input, answered) = scene.input("tty");
    input.send(resized(40, 120)).await.unwrap();
    output.until("40 120").await;
    input.send(typed(b"\x03")).await.unwrap();
    output.until("INTERRUPTED").await;
    output.whole().await;
    let ended = r#"{"type":"WAIT_NESTED_CONTAINER","wait_nested_container":{"exit_status":1792}}"#;
    assert_eq!(scene.wait("tty").await, (200, ended.to_owned()));
    assert_eq!(answered.await.unwrap().0, 200);
    scene.finish(&["t"]).await;
}

#[tokio::test]
async fn a_session_ends_with_its_connection_or_when_it_is_told() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let scene = Scene::of(Node::start(config(&dir, &master)).await, &mut master).await;
    let marker = format!("4711.{}", std::process::id());
    let script = format!("sleep {marker} & sleep {marker}");
    // Its connection.
    let output = scene.open(&scene.launch("a", &script, false)).await;
    eventually("it runs", async || scene.processes(&format!("sleep {marker}")) >= 2).await;
    drop(output);
    eventually("it is gone", async || scene.processes(&marker) == 0).await;
    let killed = r#"{"type":"WAIT_NESTED_CONTAINER","wait_nested_container":{"exit_status":9}}"#;
    assert_eq!(scene.wait("a").await, (200, killed.to_owned()));
    // A call.
    let output = scene.open(&scene.launch("b", &script, true)).await;
    let id = json!({"value": "b", "parent": {"value": scene.container}});
    let kill = json!({"type": "KILL_NESTED_CONTAINER", "kill_nested_container": {"container_id": id}});
    assert_eq!(scene.json(kill.clone()).await, (200, String::new()));
    output.whole().await;
    assert_eq!(scene.json(kill).await.0, 404);
    let remove = json!({"type": "REMOVE_NESTED_CONTAINER", "remove_nested_container": {"container_id": id}});
    assert_eq!(scene.json(remove).await, (200, String::new()));
    assert_eq!(scene.wait("b").await.0, 404);
    scene.finish(&["t"]).await;
}

#[tokio::test]
async fn a_session_ends_with_its_agent_and_its_task() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let config = config(&dir, &master);
    let mut scene = Scene::of(Node::start(config.clone()).await, &mut master).await;
    let marker = format!("4712.{}", std::process::id());
    let script = format!("trap '' HUP; sleep {marker} & sleep {marker}");
    for (name, is_killed, tty) in [("a", false, false), ("b", true, false), ("c", true, true)] {
        let _output = scene.open(&scene.launch(name, &script, tty)).await;
        eventually("it runs", async || scene.processes(&format!("sleep {marker}")) >= 2).await;
        let Scene { node, container, session, .. } = scene;
        match is_killed {
            true => node.abort().await,
            false => node.stop().await,
        }
        drop(session);
        let node = Node::start(config.clone()).await;
        scene = Scene { node, container, session: master.session().await };
        eventually("nothing of it is left", async || scene.processes(&marker) == 0).await;
        assert_eq!(scene.wait(name).await.0, 404);
    }
    // The task goes on, and takes the sessions with it in the end.
    let output = scene.open(&scene.launch("d", &script, false)).await;
    eventually("it runs", async || scene.processes(&format!("sleep {marker}")) >= 2).await;
    scene.session.kill("t");
    output.whole().await;
    scene.session.until("t", TaskState::TaskKilled).await;
    assert_eq!(scene.processes(&marker), 0);
    let node = &scene.node;
    eventually("nothing is left", async || node.containers_left() == 0).await;
    scene.node.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_the_words_of_mesos() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let scene = Scene::of(Node::start(config(&dir, &master)).await, &mut master).await;
    let of = |id: serde_json::Value| {
        json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION",
        "launch_nested_container_session": {"container_id": id, "command": {"value": "true"}}})
    };
    let check = async |call: serde_json::Value, status: u16, expect: &str| {
        assert_eq!(scene.json(call.clone()).await, (status, expect.to_owned()), "{call}");
    };
    let nope = json!({"value": "c", "parent": {"value": "nope"}});
    check(of(nope.clone()), 400, "Parent container nope does not exist").await;
    let parent = "Failed to validate agent::Call: Expecting \
                  'launch_nested_container_session.container_id.parent' to be present";
    check(of(json!({"value": "c"})), 400, parent).await;
    let attach =
        |id| json!({"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": {"container_id": id}});
    check(attach(nope), 404, "Container nope.c cannot be found").await;
    let off = "I/O switchboard server was disabled for this container";
    check(attach(json!({"value": scene.container})), 500, off).await;
    let input = json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": {"type": "CONTAINER_ID",
        "container_id": {"value": "c", "parent": {"value": "p"}}}});
    let stream = "Expecting 'Content-Type' to be application/recordio for ATTACH_CONTAINER_INPUT call";
    check(input, 415, stream).await;
    let mut bad = scene.launch("bad", "true", false);
    let launch = bad.launch_nested_container_session.as_mut().unwrap();
    launch.command =
        Some(CommandInfo { value: Some("/no/such".into()), shell: Some(false), ..Default::default() });
    let (status, text) = scene.json(serde_json::from_str(&json::to_json(&bad)).unwrap()).await;
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("cannot execute /no/such"), "{text}");
    // The name is free again.
    let output = scene.open(&scene.launch("bad", "echo ok", false)).await;
    assert_eq!(output.whole().await.0, "ok\n");
    // Sessions are counted.
    let mut open = Vec::new();
    for n in 0..32 {
        open.push(scene.open(&scene.launch(&format!("n{n}"), "sleep 1000", false)).await);
    }
    let many = scene.launch("more", "true", false);
    let (status, text) = scene.json(serde_json::from_str(&json::to_json(&many)).unwrap()).await;
    assert_eq!((status, text.contains("has 32 sessions already")), (400, true), "{text}");
    drop(open);
    scene.finish(&["t"]).await;
}
