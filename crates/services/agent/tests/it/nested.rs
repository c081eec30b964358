//! Containers in containers, over the operator API.

use std::time::Duration;

use http_kit::{Address, Body, Client, HeaderValue, Method, Request, Timeouts};
use mesos_proto::v1::TaskState;
use serde_json::{Value, json};

use crate::master::{Master, Session, task};
use crate::node::{Dir, Node, config, eventually, skip_without_root};

const PATIENCE: Duration = Duration::from_secs(60);

/// An agent that runs a task, in whose container others are made.
struct Scene {
    node: Node,
    container: String,
    session: Session,
}

impl Scene {
    async fn start(dir: &Dir, master: &mut Master) -> Scene {
        let node = Node::start(config(dir, master)).await;
        let mut session = master.session().await;
        session.run(task("t", "exec sleep 1000"));
        let running = session.until("t", TaskState::TaskRunning).await;
        let container = running.container_status.unwrap().container_id.unwrap().value;
        Scene { node, container, session }
    }

    fn id(&self, name: &str) -> Value {
        name.split('.')
            .fold(json!({"value": self.container}), |parent, name| json!({"value": name, "parent": parent}))
    }

    async fn call(&self, call: Value) -> (u16, String) {
        let body = Some(("application/json", call.to_string().into_bytes()));
        let response = self.node.call(Method::POST, "/api/v1", body).await;
        (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
    }

    async fn launch(&self, name: &str, script: &str) -> (u16, String) {
        self.call(json!({
            "type": "LAUNCH_CONTAINER",
            "launch_container": {"container_id": self.id(name), "command": {"value": script}},
        }))
        .await
    }

    async fn wait(&self, name: &str) -> (u16, String) {
        self.call(json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": self.id(name)}})).await
    }

    async fn kill(&self, name: &str, signal: Option<i32>) -> (u16, String) {
        let mut kill = json!({"container_id": self.id(name)});
        if let Some(signal) = signal {
            kill["signal"] = signal.into();
        }
        self.call(json!({"type": "KILL_CONTAINER", "kill_container": kill})).await
    }

    async fn remove(&self, name: &str) -> (u16, String) {
        self.call(json!({"type": "REMOVE_CONTAINER", "remove_container": {"container_id": self.id(name)}}))
            .await
    }

    /// The sandbox of a container in the task's.
    fn sandbox(&self, name: &str) -> std::path::PathBuf {
        let of_task = crate::nested::sandbox_of(&self.node, &self.container);
        name.split('.').fold(of_task, |path, name| path.join("containers").join(name))
    }

    fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.sandbox(name).join("stdout")).unwrap_or_default()
    }

    /// The program's process of what runs.
    async fn pid(&self, name: &str) -> Option<u64> {
        let all = self.containers(true).await;
        let found = all.iter().find(|container| container["container_id"]["value"] == name)?;
        found["container_status"]["executor_pid"].as_u64()
    }

    async fn containers(&self, show_nested: bool) -> Vec<Value> {
        let wanted = json!({"show_nested": show_nested});
        let (status, text) = self.call(json!({"type": "GET_CONTAINERS", "get_containers": wanted})).await;
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        answer["get_containers"]["containers"].as_array().cloned().unwrap_or_default()
    }

    /// Ends the task, after which nothing is left.
    async fn finish(mut self) {
        self.session.kill("t");
        self.session.until("t", TaskState::TaskKilled).await;
        let node = &self.node;
        let records = || std::fs::read_dir(node.dir.join("meta/nested")).map_or(0, Iterator::count);
        eventually("nothing is left", async || node.containers_left() == 0 && records() == 0).await;
        self.node.stop().await;
    }
}

fn sandbox_of(node: &Node, container: &str) -> std::path::PathBuf {
    let executors = node.dir.join("slaves/M-S0/frameworks/M-0000/executors");
    executors.join("t/runs").join(container)
}

fn ended(status: i32) -> (u16, String) {
    (200, format!(r#"{{"type":"WAIT_CONTAINER","wait_container":{{"exit_status":{status}}}}}"#))
}

fn ok() -> (u16, String) {
    (200, String::new())
}

#[tokio::test]
async fn ma26_nested_containers_are_launched_waited_for_killed_and_removed() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let scene = Scene::start(&dir, &mut master).await;
    assert_eq!(scene.launch("a", "pwd; echo $MESOS_SANDBOX; exit 3").await, ok());
    assert_eq!(scene.wait("a").await, ended(3 << 8));
    let sandbox = scene.sandbox("a").display().to_string();
    assert_eq!(scene.said("a"), format!("{sandbox}\n{sandbox}\n"));
    // How it ended is told as often as it is asked for, in the words of the older calls, too.
    assert_eq!(scene.wait("a").await, ended(3 << 8));
    let old =
        json!({"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": {"container_id": scene.id("a")}});
    let told = r#"{"type":"WAIT_NESTED_CONTAINER","wait_nested_container":{"exit_status":768}}"#;
    assert_eq!(scene.call(old).await, (200, told.to_owned()));
    let unknown = |name: &str| format!("{}.{name}", scene.container);
    let gone = format!("Container '{}' cannot be found (or is already killed)", unknown("a"));
    assert_eq!(scene.kill("a", None).await, (404, gone));
    assert_eq!(scene.launch("a", "true").await, (202, String::new()));

    assert_eq!(scene.launch("b", "trap 'exit 5' TERM; echo up; while :; do sleep 0.01; done").await, ok());
    eventually("it is up", async || scene.said("b") == "up\n").await;
    assert_eq!(scene.remove("b").await, (500, "Nested container has not terminated yet".to_owned()));
    assert_eq!(scene.kill("b", Some(15)).await, ok());
    assert_eq!(scene.wait("b").await, ended(5 << 8));
    assert_eq!(scene.launch("c", "exec sleep 1000").await, ok());
    let invalid = (500, "Unable to send signal to container: Invalid argument".to_owned());
    assert_eq!(scene.kill("c", Some(999)).await, invalid);
    assert_eq!(scene.kill("c", None).await, ok());
    assert_eq!(scene.wait("c").await, ended(9));

    assert_eq!(scene.remove("a").await, ok());
    assert!(!scene.sandbox("a").exists());
    let text = format!("Container {} cannot be found", unknown("a"));
    assert_eq!(scene.wait("a").await, (404, text));
    assert_eq!(scene.remove("a").await, ok());
    assert_eq!(scene.launch("a", "exit 0").await, ok());
    assert_eq!(scene.wait("a").await, ended(0));
    scene.finish().await;
}

#[tokio::test]
async fn what_cannot_be_nested_is_told_why() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let scene = Scene::start(&dir, &mut master).await;
    let launch = async |id: Value, more: Value| {
        let mut launch = json!({"container_id": id, "command": {"value": "true"}});
        launch.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        scene.call(json!({"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": launch})).await
    };
    let nowhere = json!({"value": "c", "parent": {"value": "nope"}});
    let text = |text: &str| (400, text.to_owned());
    assert_eq!(launch(nowhere.clone(), json!({})).await, text("Parent container nope does not exist"));
    let remove = json!({"type": "REMOVE_CONTAINER", "remove_container": {"container_id": nowhere}});
    assert_eq!(scene.call(remove).await, (500, "Unknown root container".to_owned()));
    let parent = format!("Parent container {}.x does not exist", scene.container);
    assert_eq!(launch(scene.id("x.y"), json!({})).await, text(&parent));
    let docker = json!({"container": {"type": "DOCKER", "docker": {"image": "x"}}});
    let unsupported = text("The provided ContainerInfo is not supported");
    assert_eq!(launch(scene.id("c"), docker).await, unsupported);
    let (status, why) =
        launch(scene.id("c"), json!({"command": {"shell": false, "value": "/no/such"}})).await;
    assert!(status == 400 && why.contains("/no/such"), "{status} {why}");
    let (status, why) = launch(scene.id("c"), json!({"command": {"value": "true", "user": "ghost"}})).await;
    assert!(status == 400 && why.contains("ghost"), "{status} {why}");
    // None of them is remembered.
    assert_eq!(scene.launch("c", "true").await, ok());
    assert_eq!(scene.wait("c").await, ended(0));
    scene.finish().await;
}

#[tokio::test]
async fn ma26_nested_containers_outlive_the_agent_and_how_they_ended_is_known() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let mut scene = Scene::start(&dir, &mut master).await;
    let until = dir.0.join("until");
    let ends = format!("while [ ! -e {} ]; do sleep 0.01; done; exit 7", until.display());
    assert_eq!(scene.launch("ends", &ends).await, ok());
    assert_eq!(scene.launch("stays", "exec sleep 1000").await, ok());
    assert_eq!(scene.launch("stays.in", "exec sleep 1000").await, ok());
    assert_eq!(scene.launch("over", "exit 4").await, ok());
    assert_eq!(scene.wait("over").await, ended(4 << 8));
    let stays = (scene.pid("stays").await, scene.pid("in").await);
    let ending = scene.pid("ends").await.unwrap() as u32;
    assert!(stays.0.is_some() && stays.1.is_some());
    for round in 0..4 {
        let config = config_of(&scene, &dir, &master);
        let Scene { node, container, session } = scene;
        match round % 2 {
            0 => node.abort().await,
            _ => node.stop().await,
        }
        drop(session);
        if round == 1 {
            std::fs::write(&until, b"").unwrap();
            eventually("it ended while no agent was there", async || host::oldest_child(ending).is_none())
                .await;
        }
        let node = Node::start(config).await;
        let session = master.session().await;
        scene = Scene { node, container, session };
        assert_eq!((scene.pid("stays").await, scene.pid("in").await), stays, "round {round}");
        assert_eq!(scene.wait("over").await, ended(4 << 8), "round {round}");
        if round >= 1 {
            assert_eq!(scene.wait("ends").await, ended(7 << 8), "round {round}");
        }
    }
    assert_eq!(scene.kill("stays", None).await, ok());
    assert_eq!(scene.wait("stays").await, ended(9));
    // It was in the one that ended.
    assert_eq!(scene.wait("stays.in").await, ended(9));
    assert_eq!(scene.pid("in").await, None);
    scene.finish().await;
}

fn config_of(scene: &Scene, dir: &Dir, master: &Master) -> agent::Config {
    let mut config = config(dir, master);
    config.ip = match scene.node.address.ip() {
        std::net::IpAddr::V4(ip) => ip,
        std::net::IpAddr::V6(_) => unreachable!("agents listen on IPv4"),
    };
    config
}

#[tokio::test]
async fn mp20_nested_containers_are_shown_to_those_who_ask() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let scene = Scene::start(&dir, &mut master).await;
    let launch = json!({
        "container_id": scene.id("n"), "command": {"value": "exec sleep 1000"},
        "resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
        ],
    });
    assert_eq!(scene.call(json!({"type": "LAUNCH_CONTAINER", "launch_container": launch})).await, ok());
    assert_eq!(scene.containers(false).await.len(), 1);
    let all = scene.containers(true).await;
    assert_eq!(all.len(), 2);
    assert_eq!(all[0]["executor_id"]["value"], "t");
    let nested = all[1].as_object().unwrap();
    let fields: Vec<&String> = nested.keys().collect();
    assert_eq!(fields, ["container_id", "container_status", "resource_statistics"]);
    assert_eq!(nested["container_id"], json!({"value": "n"}));
    assert_eq!(nested["container_status"]["container_id"], scene.id("n"));
    let mut statistics = nested["resource_statistics"].clone();
    statistics.as_object_mut().unwrap().remove("timestamp").unwrap();
    let expect =
        json!({"cpus_soft_limit": 0.1, "mem_limit_bytes": 33554432, "mem_soft_limit_bytes": 33554432});
    assert_eq!(statistics, expect);
    // The older document shows none, and says what may be asked for.
    assert_eq!(scene.node.json("/containers").await.as_array().unwrap().len(), 1);
    for (query, expect) in [("framework_id=M-0000", 1), ("framework_id=M-0000&executor_id=x", 0)] {
        let found = scene.node.json(&format!("/containers?{query}")).await;
        assert_eq!(found.as_array().unwrap().len(), expect, "{query}");
    }
    for query in ["executor_id=t", "container_id=c&framework_id=f"] {
        let refused = scene.node.get(&format!("/containers?{query}")).await;
        let text = "Supported query parameters are container_id only, framework_id only, or executor_id and \
                    framework_id only";
        assert_eq!((refused.status().as_u16(), &refused.body()[..]), (400, text.as_bytes()));
    }
    scene.finish().await;
}

#[tokio::test]
async fn executors_call_for_their_own_containers_on_the_local_socket() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let scene = Scene::start(&dir, &mut master).await;
    let socket = Address::Unix(scene.node.dir.join("executors/agent.sock"));
    let call = async |call: Value| {
        let mut request = Request::new(Body::full(call.to_string().into_bytes()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = "/slave(1)/api/v1".parse().unwrap();
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(http_kit::header::CONTENT_TYPE, json);
        let answer = Client::default().fetch(&socket, request, Timeouts::default(), 1 << 16, PATIENCE).await;
        answer.unwrap().status().as_u16()
    };
    let id = scene.id("n");
    let launch = json!({"container_id": id, "command": {"value": "exec sleep 1000"}});
    let launch = json!({"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": launch});
    assert_eq!(call(launch).await, 200);
    assert!(scene.pid("n").await.is_some());
    assert_eq!(call(json!({"type": "GET_STATE"})).await, 403);
    let kill = json!({"type": "KILL_NESTED_CONTAINER", "kill_nested_container": {"container_id": id}});
    assert_eq!(call(kill).await, 200);
    assert_eq!(scene.wait("n").await, ended(9));
    scene.finish().await;
}

/// A volume that is a directory of the sandbox of the container it is in.
fn of_parent(path: &str, target: &str) -> Value {
    let source = json!({"type": "SANDBOX_PATH", "sandbox_path": {"type": "PARENT", "path": path}});
    json!({"container_path": target, "mode": "RW", "source": source})
}

#[tokio::test]
async fn ma36_nested_containers_share_directories_of_the_one_they_are_in() {
    if skip_without_root("ma36_nested_containers_share_directories_of_the_one_they_are_in") {
        return;
    }
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let scene = Scene::start(&dir, &mut master).await;
    let fetched = dir.0.join("fetched.txt");
    std::fs::write(&fetched, "fetched\n").unwrap();
    let launch = async |name: &str, script: &str, volumes: Value| {
        let launch = json!({
            "container_id": scene.id(name),
            "command": {"value": script, "uris": [{"value": fetched.display().to_string()}]},
            "container": {"type": "MESOS", "volumes": volumes},
        });
        scene.call(json!({"type": "LAUNCH_CONTAINER", "launch_container": launch})).await
    };
    let volumes = json!([of_parent("shared/deep", "data")]);
    assert_eq!(launch("w", "cat fetched.txt > data/x", volumes.clone()).await, ok());
    assert_eq!(scene.wait("w").await, ended(0));
    assert_eq!(launch("r", "cat data/x; echo more >> data/x", volumes).await, ok());
    assert_eq!(scene.wait("r").await, ended(0));
    assert_eq!(scene.said("r"), "fetched\n");
    let shared = sandbox_of(&scene.node, &scene.container).join("shared");
    assert_eq!(std::fs::read_to_string(shared.join("deep/x")).unwrap(), "fetched\nmore\n");
    // Whoever owns the sandbox cannot make the agent show something else by a link.
    std::os::unix::fs::symlink("/etc", shared.join("link")).unwrap();
    for path in ["shared/link", "shared/link/cron.d"] {
        let (status, why) = launch("bad", "ls data", json!([of_parent(path, "data")])).await;
        assert_eq!(status, 400, "{why}");
    }
    assert_eq!(scene.containers(true).await.len(), 1);
    scene.finish().await;
}

#[tokio::test]
async fn ma26_a_nested_container_of_an_image_runs_as_the_images_user_in_its_root() {
    if skip_without_root("ma26_a_nested_container_of_an_image_runs_as_the_images_user_in_its_root") {
        return;
    }
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let mut scene = Scene::start(&dir, &mut master).await;
    let files = Dir::new();
    let image = crate::images::tarball(&files.0);
    let docker = json!({"type": "DOCKER", "docker": {"name": image.display().to_string()}});
    let launch = json!({
        "container_id": scene.id("i"),
        "command": {"value": "ls -d /usr 2>&1; id -u; echo $MESOS_SANDBOX > in; cat in; exec sleep 1000"},
        "container": {
            "type": "MESOS",
            "mesos": {"image": docker},
            "volumes": [of_parent("shared", "/shared")],
        },
    });
    assert_eq!(scene.call(json!({"type": "LAUNCH_CONTAINER", "launch_container": launch})).await, ok());
    let said = "ls: /usr: No such file or directory\n1234\n/mnt/mesos/sandbox\n";
    eventually("it has spoken", async || scene.said("i").lines().count() >= 3).await;
    assert_eq!(scene.said("i"), said);
    assert_eq!(std::fs::read_to_string(scene.sandbox("i").join("in")).unwrap(), "/mnt/mesos/sandbox\n");
    let pid = scene.pid("i").await;
    let config = config_of(&scene, &dir, &master);
    let Scene { node, container, session } = scene;
    node.abort().await;
    drop(session);
    let node = Node::start(config).await;
    scene = Scene { node, container, session: master.session().await };
    assert_eq!(scene.pid("i").await, pid);
    assert_eq!(scene.kill("i", None).await, ok());
    assert_eq!(scene.wait("i").await, ended(9));
    let roots = scene.node.dir.join("roots");
    assert_eq!(std::fs::read_dir(roots).unwrap().count(), 0, "what it took is given back");
    scene.finish().await;
}
