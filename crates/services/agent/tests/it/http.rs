//! The HTTP API, in the shapes that Mesos' agent has.

use http_kit::{Fetched, Method};
use mesos_proto::v1::{self, TaskState};
use serde_json::Value;

use crate::master::{FRAMEWORK, Master, task};
use crate::node::{Dir, Node, config, eventually, skip_without_root};

fn text(response: &Fetched) -> String {
    String::from_utf8(response.body().to_vec()).unwrap()
}

/// The names of an object, in the order they are written.
fn names(json: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut rest) = (0, json);
    while let Some(at) = rest.find(['{', '}', '[', ']', '"']) {
        let found = rest.as_bytes()[at];
        rest = &rest[at + 1..];
        match found {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {
                let end = rest.find('"').unwrap();
                if depth == 1 && rest[end + 1..].starts_with(':') {
                    names.push(rest[..end].to_owned());
                }
                rest = &rest[end + 1..];
            }
        }
    }
    names
}

#[tokio::test]
async fn mp23_an_idle_agent_answers_as_mesos_does() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let _session = master.session().await;
    for prefix in ["", "/slave(1)", "/slave%281%29"] {
        let check = async |path: &str, status: u16, body: &str| {
            let response = node.get(&format!("{prefix}{path}")).await;
            assert_eq!(
                (response.status().as_u16(), text(&response).as_str()),
                (status, body),
                "{prefix}{path}"
            );
        };
        check("/health", 200, "").await;
        check("/containers", 200, "[]").await;
        check("/monitor/statistics", 200, "[]").await;
        check("/nothing", 404, "404 Not Found.").await;
        check("/files/browse", 400, "Expecting 'path=value' in query.\n").await;
        check("/files/browse?path=/nope", 404, "").await;
        check("/files/read?path=/etc/passwd", 404, "").await;
        check("/health?jsonp=f.g", 200, "").await;
        check("/containers?jsonp=f.g", 200, "f.g([])").await;
        check("/files/read?jsonp=alert(1)//", 400, "Expecting 'jsonp' to be the name of a function").await;
        let method = "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'GET'.";
        check("/api/v1", 405, method).await;
        check("/api/v1/executor", 405, method).await;
    }
    let state = text(&node.get("/state").await);
    let expect = [
        "version",
        "build_date",
        "build_time",
        "build_user",
        "start_time",
        "id",
        "pid",
        "hostname",
        "capabilities",
        "resources",
        "reserved_resources",
        "unreserved_resources",
        "reserved_resources_full",
        "unreserved_resources_full",
        "reserved_resources_allocated",
        "unreserved_resources_allocated",
        "resource_providers",
        "attributes",
        "master_hostname",
        "flags",
        "frameworks",
        "completed_frameworks",
    ];
    let found: Vec<String> = names(&state).into_iter().filter(|name| name != "git_sha").collect();
    assert_eq!(found, expect);
    let resources =
        r#""resources":{"disk":1000.0,"mem":4096.0,"gpus":0.0,"cpus":8.0,"ports":"[31000-31099]"}"#;
    assert!(state.contains(resources), "{state}");
    assert_eq!(node.json("/state.json").await["id"], "M-S0");
    assert_eq!(node.json("/metrics/snapshot").await["slave/registered"], 1.0);
    node.stop().await;
}

#[tokio::test]
async fn mp20_operator_calls_answer_as_in_mesos() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let _session = master.session().await;
    let check = async |body: &str, status: u16, expect: &str| {
        let body = Some(("application/json", body.as_bytes().to_vec()));
        let response = node.call(Method::POST, "/api/v1", body).await;
        assert_eq!((response.status().as_u16(), text(&response).as_str()), (status, expect));
    };
    check(r#"{"type":"GET_HEALTH"}"#, 200, r#"{"type":"GET_HEALTH","get_health":{"healthy":true}}"#).await;
    check(r#"{"type":"GET_CONTAINERS"}"#, 200, r#"{"type":"GET_CONTAINERS"}"#).await;
    let tasks = r#"{"pending_tasks":[],"queued_tasks":[],"launched_tasks":[],"terminated_tasks":[],"completed_tasks":[]}"#;
    check(r#"{"type":"GET_TASKS"}"#, 200, &format!(r#"{{"type":"GET_TASKS","get_tasks":{tasks}}}"#)).await;
    let state = format!(
        r#"{{"type":"GET_STATE","get_state":{{"get_tasks":{tasks},"get_executors":{{"executors":[],"completed_executors":[]}},"get_frameworks":{{"frameworks":[],"completed_frameworks":[]}}}}}}"#
    );
    check(r#"{"type":"GET_STATE"}"#, 200, &state).await;
    check("{nope", 400, "Failed to parse body into JSON: syntax error at line 1 near: nope").await;
    let missing = "Failed to validate agent::Call: Expecting 'type' to be present";
    check(r#"{"type":"NOPE"}"#, 400, missing).await;
    check(r#"{"type":"LIST_FILES","list_files":{"path":"/slave/log"}}"#, 404, "").await;
    let unsupported = "This agent does not support the call MARK_RESOURCE_PROVIDER_GONE";
    check(r#"{"type":"MARK_RESOURCE_PROVIDER_GONE"}"#, 501, unsupported).await;
    node.stop().await;
}

#[tokio::test]
async fn mp11_executor_calls_are_checked() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let mut session = master.session().await;
    session.run(task("t", "sleep 1000"));
    session.until("t", TaskState::TaskRunning).await;
    let check = async |content_type: &str, body: String, status: u16, expect: &str| {
        let body = Some((content_type, body.into_bytes()));
        let response = node.call(Method::POST, "/api/v1/executor", body).await;
        assert_eq!((response.status().as_u16(), text(&response).as_str()), (status, expect));
    };
    let call = |framework: &str, executor: &str, rest: &str| {
        format!(
            r#"{{"framework_id":{{"value":"{framework}"}},"executor_id":{{"value":"{executor}"}}{rest}}}"#
        )
    };
    let json = "application/json";
    let subscribe = r#","type":"SUBSCRIBE","subscribe":{}"#;
    check(json, call("nope", "nope", subscribe), 400, "Framework cannot be found").await;
    check(json, call(FRAMEWORK, "nope", subscribe), 400, "Executor cannot be found").await;
    let typeless = "Failed to validate Executor::Call: Expecting 'type' to be present";
    check(json, call(FRAMEWORK, "t", ""), 400, typeless).await;
    let bare = "Failed to validate Executor::Call: Expecting 'update' to be present";
    check(json, call(FRAMEWORK, "t", r#","type":"UPDATE""#), 400, bare).await;
    check(json, "{nope".into(), 400, "Failed to parse body into JSON: syntax error at line 1 near: nope")
        .await;
    check("application/x-protobuf", "x".into(), 400, "Failed to parse body into Call protobuf").await;
    let media = "Expecting 'Content-Type' of application/json or application/x-protobuf";
    check("text/plain", String::new(), 415, media).await;
    node.stop().await;
}

#[tokio::test]
async fn ma60_mp23_a_running_task_is_shown() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let mut session = master.session().await;
    session.run(task("t", "echo hello; sleep 1000"));
    session.until("t", TaskState::TaskRunning).await;
    let stdout = format!("/files/read?path=/frameworks/{FRAMEWORK}/executors/t/runs/latest/stdout&offset=0");
    eventually("it says hello", async || node.json(&stdout).await["data"] == "hello\n").await;
    let state = node.json("/state").await;
    let framework = &state["frameworks"][0];
    assert_eq!(framework["id"], FRAMEWORK);
    let executor = &framework["executors"][0];
    assert_eq!(executor["name"], "Command Executor (Task: t) (Command: sh -c 'echo hello; ...')");
    assert_eq!(executor["resources"]["cpus"], 0.2);
    assert_eq!(executor["resources"]["mem"], 64.0);
    assert_eq!(executor["tasks"][0]["state"], "TASK_RUNNING");
    assert_eq!(executor["tasks"][0]["executor_id"], "");
    assert_eq!(state["unreserved_resources_allocated"]["mem"], 64.0);
    let containers = node.json("/containers").await;
    assert_eq!(containers[0]["executor_id"], "t");
    assert_eq!(containers[0]["statistics"]["mem_limit_bytes"], 64 << 20);

    let directory = executor["directory"].as_str().unwrap();
    let listed = node.json(&format!("/files/browse?path={directory}")).await;
    let shown: Vec<&str> = listed.as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap()).collect();
    assert_eq!(shown, [format!("{directory}/stderr"), format!("{directory}/stdout")]);
    let size = node.json(&format!("/files/read?path={directory}/stdout&offset=-1")).await;
    assert_eq!(size["data"], "");
    assert!(size["offset"].as_u64().unwrap() > 0);
    let download = node.get(&format!("/files/download?path={directory}/stdout")).await;
    assert_eq!(download.headers()["content-disposition"], "attachment; filename=stdout");
    assert!(text(&download).contains("hello\n"));
    let read = serde_json::json!({
        "type": "READ_FILE", "read_file": {"path": format!("{directory}/stdout"), "offset": 0, "length": 100}
    });
    let body = Some(("application/json", read.to_string().into_bytes()));
    let read: Value = serde_json::from_slice(node.call(Method::POST, "/api/v1", body).await.body()).unwrap();
    assert_eq!(read["type"], "READ_FILE");
    assert!(read["read_file"]["size"].as_u64().unwrap() > 0);
    let bad = node.get(&format!("/files/read?path={directory}/stdout&offset=x")).await;
    assert_eq!(bad.status(), 400);
    node.stop().await;
}

#[tokio::test]
async fn mp24_mp26_what_is_about_the_process_is_answered_as_by_mesos() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let _session = master.session().await;
    let check = async |path: &str, status: u16, body: &str| {
        for prefix in ["", "/slave(1)"] {
            let reply = node.get(&format!("{prefix}{path}")).await;
            assert_eq!((reply.status().as_u16(), &*text(&reply)), (status, body), "{path}");
        }
    };
    check("/logging/toggle", 200, "0\n").await;
    check("/logging/toggle?duration=1secs", 400, "Expecting 'level=value' in query.\n").await;
    check("/logging/toggle?level=2&duration=1hrs", 200, "").await;
    check("/logging/toggle", 200, "2\n").await;
    let call = async |body: &str| {
        let reply = node.call(Method::POST, "/api/v1", Some(("application/json", body.into()))).await;
        (reply.status().as_u16(), text(&reply))
    };
    let set = r#"{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":1,"duration":{"nanoseconds":3600000000000}}}"#;
    assert_eq!(call(set).await, (200, String::new()));
    let level = r#"{"type":"GET_LOGGING_LEVEL","get_logging_level":{"level":1}}"#;
    assert_eq!(call(r#"{"type":"GET_LOGGING_LEVEL"}"#).await, (200, level.to_owned()));
    let perftools =
        "Perftools is disabled. To enable perftools, configure libprocess with --enable-perftools.\n";
    check("/profiler/start", 400, perftools).await;
    check("/memory-profiler/download/text", 400, "No source profile exists: Not yet generated.\n").await;
    check("/metrics/snapshot?timeout=5", 400, "Invalid timeout '5': Invalid duration '5'.\n").await;
    assert_eq!(node.get("/metrics/snapshot?timeout=1secs").await.status(), 200);
    node.stop().await;
}

#[tokio::test]
async fn a_foreign_page_is_refused() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let _session = master.session().await;
    let mut request = http_kit::Request::new(http_kit::Body::empty());
    *request.uri_mut() = "/state".parse().unwrap();
    let origin = http_kit::HeaderValue::from_static("http://evil.example");
    request.headers_mut().insert(http_kit::header::ORIGIN, origin);
    let address = http_kit::Address::Tcp(node.address);
    let response =
        http_kit::Client::default().send(&address, request, http_kit::Timeouts::default()).await.unwrap();
    assert_eq!(response.status(), 403);
    node.stop().await;
}

#[test]
fn downloads_that_nobody_reads_hold_nothing_up() {
    // As many threads as an agent has for work on files and containers, only fewer.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build();
    runtime.unwrap().block_on(async {
        let (dir, mut master) = (Dir::new(), Master::start().await);
        let node = Node::start(config(&dir, &master)).await;
        let mut session = master.session().await;
        session.run(task("big", "truncate -s 64M big; sleep 1000"));
        session.until("big", TaskState::TaskRunning).await;
        let runs = "/frameworks/M-0000/executors/big/runs/latest";
        eventually("the file is there", async || {
            let size = node.get(&format!("/files/read?path={runs}/big")).await;
            text(&size) == r#"{"data":"","offset":67108864}"#
        })
        .await;
        let address = http_kit::Address::Tcp(node.address);
        let client = http_kit::Client::default();
        let mut unread = Vec::new();
        for _ in 0..8 {
            let mut request = http_kit::Request::new(http_kit::Body::empty());
            *request.uri_mut() = format!("/files/download?path={runs}/big").parse().unwrap();
            let response = client.send(&address, request, http_kit::Timeouts::default()).await.unwrap();
            assert_eq!(response.status(), 200);
            unread.push(response);
        }
        session.run(task("next", "true"));
        session.until("next", TaskState::TaskFinished).await;
        drop(unread);
        let whole = node.get(&format!("/files/download?path={runs}/stdout")).await;
        assert_eq!((whole.status().as_u16(), text(&whole)), (200, String::new()));
        session.kill("big");
        session.until("big", TaskState::TaskKilled).await;
        eventually("nothing is left", async || node.containers_left() == 0).await;
        node.stop().await;
    });
}

/// What the agent answers on its Unix socket to a call of the user `uid`: the status line.
fn call_as(uid: u32, socket: std::path::PathBuf, body: String) -> String {
    use std::io::{BufRead, BufReader, Write};
    let asking = std::thread::spawn(move || {
        // Of this thread alone, and for good.
        let user = rustix::fs::Uid::from_raw(uid);
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        let length = body.len();
        write!(
            stream,
            "POST /api/v1/executor HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Accept: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    });
    asking.join().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ma58_another_user_is_not_an_executor() {
    if skip_without_root("ma58_another_user_is_not_an_executor") {
        return;
    }
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let node = Node::start(config(&dir, &master)).await;
    let mut session = master.session().await;
    session.run(task("t", "sleep 1000"));
    session.until("t", TaskState::TaskRunning).await;
    let mut custom = task("own", "");
    custom.command = None;
    custom.executor = Some(v1::ExecutorInfo {
        executor_id: v1::ExecutorId { value: "x".into() },
        command: Some(v1::CommandInfo {
            value: Some("sleep 1000".into()),
            user: Some("nobody".into()),
            ..Default::default()
        }),
        ..Default::default()
    });
    session.run(custom);
    eventually("both containers run", async || node.containers_left() == 2).await;
    let nobody = host::User::by_name("nobody").unwrap().uid;
    let check = async |uid: u32, executor: &str, expect: &str| {
        let body = format!(
            r#"{{"framework_id":{{"value":"{FRAMEWORK}"}},"executor_id":{{"value":"{executor}"}},
            "type":"SUBSCRIBE","subscribe":{{}}}}"#
        );
        let socket = node.dir.join("executors/agent.sock");
        let told = tokio::task::spawn_blocking(move || call_as(uid, socket, body)).await.unwrap();
        assert_eq!(told, expect, "{executor} as {uid}");
    };
    check(nobody, "t", "HTTP/1.1 403 Forbidden").await;
    check(nobody - 1, "x", "HTTP/1.1 403 Forbidden").await;
    check(nobody, "x", "HTTP/1.1 200 OK").await;
    check(0, "x", "HTTP/1.1 200 OK").await;
    // What was refused took nothing from the executor that is there.
    session.kill("t");
    session.until("t", TaskState::TaskKilled).await;
    node.stop().await;
}
