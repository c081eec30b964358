//! The documents of the v0 API and the answers of the operator API.

use agent_link::Body;
use mesos_proto::v1::{self, TaskState};
use serde_json::{Value, json};

use crate::agent::{Agent, hello};
use crate::fixture::{Running, start, start_with};
use crate::raw::{Stream, exchange, get, post, request};
use crate::scheduler::Scheduler;

/// What the real master's documents look like, by name: members sorted, `s` for a string, `d` for a
/// number with a fraction, `i` for one without, `b` for a boolean, of a list the different elements.
/// Taken from a master with one agent and one framework that runs one command task.
const SHAPES: &str = include_str!("shapes.txt");

fn expected(name: &str) -> &'static str {
    let found = SHAPES.lines().filter_map(|line| line.split_once(' ')).find(|(known, _)| *known == name);
    found.expect("a recorded shape").1
}

fn shape(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> =
                members.iter().map(|(name, value)| format!("{name}:{}", shape(value))).collect();
            members.sort_by(|a, b| a.split(':').next().cmp(&b.split(':').next()));
            format!("{{{}}}", members.join(","))
        }
        Value::Array(elements) => {
            let mut shapes: Vec<_> = elements.iter().map(shape).collect();
            shapes.sort();
            shapes.dedup();
            format!("[{}]", shapes.join("|"))
        }
        Value::Bool(_) => "b".to_owned(),
        Value::Number(number) if number.is_f64() => "d".to_owned(),
        Value::Number(_) => "i".to_owned(),
        Value::String(_) => "s".to_owned(),
        Value::Null => "null".to_owned(),
    }
}

const AGENT: &str = "cpus:4;mem:4096;disk:10240;ports:[31000-32000]";

/// A framework that runs the task `sleeper` on an agent and holds an offer of the rest.
async fn running_task(master: &Running) -> (Agent, String, Scheduler) {
    let (mut agent, agent_id) = Agent::register(master.address, hello("127.0.0.1", AGENT)).await;
    let mut scheduler = Scheduler::subscribe(master.address).await;
    let offers = scheduler.event("OFFERS").await;
    let offer = &offers["offers"]["offers"][0];
    assert_eq!(scheduler.launch(offer, "sleeper", 0.1).await.status, 202);
    let task = agent.run_task().await;
    assert_eq!(task.task_id.value, "sleeper");
    for state in [TaskState::TaskStarting, TaskState::TaskRunning] {
        let uuid = agent.update_in_container(&scheduler.framework_id, &agent_id, "sleeper", state).await;
        let update = scheduler.event("UPDATE").await;
        let status = &update["update"]["status"];
        assert_eq!(status["state"], state.as_str_name());
        let acknowledge = json!({
            "agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"],
        });
        assert_eq!(scheduler.call("ACKNOWLEDGE", acknowledge).await.status, 202);
        loop {
            match agent.next().await.expect("an acknowledgement") {
                Body::AcknowledgeUpdate(ack) if ack.uuid == uuid => break,
                _ => continue,
            }
        }
    }
    scheduler.event("OFFERS").await;
    (agent, agent_id, scheduler)
}

#[tokio::test]
async fn mp22_documents_have_the_shape_of_mesos() {
    let master = start().await;
    let (_agent, _, _scheduler) = running_task(&master).await;
    let check = |name: &str, found: &Value| {
        let (found, expected) = (shape(found), expected(name));
        let same = found.bytes().zip(expected.bytes()).take_while(|(a, b)| a == b).count();
        let at = same.saturating_sub(40);
        assert_eq!(found, expected, "{name} differs at ...{}", &found[at..found.len().min(same + 80)]);
    };
    for path in ["/state", "/state.json", "/master/state", "/master/state.json"] {
        let mut state = get(master.address, path).await.json();
        let flags = state.as_object_mut().unwrap().remove("flags").expect("flags");
        assert_eq!(flags["max_agent_ping_timeouts"], "5");
        check("STATE", &state);
    }
    check("SUMMARY", &get(master.address, "/state-summary").await.json());
    check("SLAVES", &get(master.address, "/slaves").await.json());
    check("ROLES", &get(master.address, "/roles").await.json());
    for call in ["GET_STATE", "GET_ROLES", "GET_MASTER"] {
        let body = json!({"type": call}).to_string();
        check(call, &post(master.address, "/api/v1", &body).await.json());
    }
}

#[tokio::test]
async fn mp14_the_state_is_the_same_in_both_encodings() {
    let master = start().await;
    let (_agent, _, _scheduler) = running_task(&master).await;
    for call in ["GET_STATE", "GET_AGENTS", "GET_FRAMEWORKS", "GET_EXECUTORS", "GET_TASKS", "GET_ROLES"] {
        let body = json!({"type": call}).to_string();
        let json = post(master.address, "/api/v1", &body).await.body;
        let headers = [("Content-Type", "application/json"), ("Accept", "application/x-protobuf")];
        let bytes = request(master.address, "POST", "/api/v1", &headers, body.as_bytes());
        let binary = Stream::open(master.address, &bytes).await.rest().await;
        let of_json: v1::master::Response = mesos_proto::json::from_json(json.as_bytes()).unwrap();
        let of_binary: v1::master::Response = mesos_proto::binary::decode_checked(&binary).unwrap();
        assert_eq!(of_json, of_binary, "{call}");
        assert!(of_binary.r#type().as_str_name() == call, "{call}");
    }
}

#[tokio::test]
async fn amounts_are_exact_and_ids_belong_together() {
    let master = start().await;
    let (_agent, agent_id, scheduler) = running_task(&master).await;
    let state = get(master.address, "/state").await.json();
    let (agent, framework) = (&state["slaves"][0], &state["frameworks"][0]);
    let amounts = |cpus: f64, mem: f64| json!({"cpus": cpus, "mem": mem, "disk": 0.0, "gpus": 0.0});
    let rest = json!({"cpus": 3.9, "mem": 4064.0, "disk": 10240.0, "gpus": 0.0, "ports": "[31000-32000]"});
    assert_eq!(agent["id"], agent_id);
    for used in [&agent["used_resources"], &framework["used_resources"], &framework["tasks"][0]["resources"]]
    {
        assert_eq!(used, &amounts(0.1, 32.0));
    }
    for offered in
        [&agent["offered_resources"], &framework["offered_resources"], &framework["offers"][0]["resources"]]
    {
        assert_eq!(offered, &rest);
    }
    assert_eq!(framework["id"], scheduler.framework_id);
    assert_eq!(framework["tasks"][0]["slave_id"], agent_id);
    assert_eq!(framework["tasks"][0]["state"], "TASK_RUNNING");
    assert_eq!(framework["tasks"][0]["role"], "golden");
    assert_eq!(framework["tasks"][0]["statuses"][1]["timestamp"], 1_795_345_342.25);
    assert_eq!(agent["pid"], "slave(1)@127.0.0.1:5051");
    let summary = get(master.address, "/state-summary").await.json();
    assert_eq!(summary["slaves"][0]["TASK_RUNNING"], 1);
    assert_eq!(summary["slaves"][0]["framework_ids"], json!([scheduler.framework_id]));
    assert_eq!(summary["frameworks"][0]["slave_ids"], json!([agent_id]));
}

#[tokio::test]
async fn mm24_reservations_are_shown_by_role() {
    let master = start().await;
    let resources = "cpus(slave_public):1;mem(slave_public):64;cpus:3;mem:960;ports:[1-2, 5-9]";
    let (_agent, _) = Agent::register(master.address, hello("127.0.0.1", resources)).await;
    let agent = &get(master.address, "/slaves").await.json()["slaves"][0];
    let amounts = |cpus: f64, mem: f64| json!({"cpus": cpus, "mem": mem, "disk": 0.0, "gpus": 0.0});
    let mut all = amounts(4.0, 1024.0);
    all["ports"] = json!("[1-2, 5-9]");
    assert_eq!(agent["resources"], all);
    assert_eq!(agent["reserved_resources"], json!({"slave_public": amounts(1.0, 64.0)}));
    let mut rest = amounts(3.0, 960.0);
    rest["ports"] = json!("[1-2, 5-9]");
    assert_eq!(agent["unreserved_resources"], rest);
    let full = |name: &str, value: f64| {
        json!({
            "name": name, "type": "SCALAR", "scalar": {"value": value}, "role": "slave_public",
            "reservations": [{"type": "STATIC", "role": "slave_public"}],
        })
    };
    assert_eq!(
        agent["reserved_resources_full"],
        json!({"slave_public": [full("cpus", 1.0), full("mem", 64.0)]})
    );
    let role = &get(master.address, "/roles").await.json()["roles"][0];
    let reserved = json!({"cpus": 1.0, "mem": 64.0});
    assert_eq!((&role["name"], &role["reserved"]), (&json!("slave_public"), &reserved));
    // What is reserved and idle is kept from others, so it counts against a quota.
    assert_eq!((&role["quota"]["consumed"], &role["allocated"]), (&reserved, &json!({})));
}

#[tokio::test]
async fn a_fresh_master_prints_the_bytes_of_mesos() {
    let master = start().await;
    let check = async |path: &str, body: &str| {
        let reply = get(master.address, path).await;
        assert_eq!((reply.status, &*reply.body), (200, body), "{path}");
        assert_eq!(reply.header("Content-Type"), Some("application/json"), "{path}");
        assert_eq!(reply.header("Content-Length"), Some(&*body.len().to_string()), "{path}");
    };
    check("/frameworks", r#"{"frameworks":[],"completed_frameworks":[],"unregistered_frameworks":[]}"#).await;
    check("/slaves", r#"{"slaves":[],"recovered_slaves":[]}"#).await;
    check("/master/slaves?slave_id=nope", r#"{"slaves":[],"recovered_slaves":[]}"#).await;
    check("/tasks", r#"{"tasks":[]}"#).await;
    check("/tasks?limit=1&order=asc&offset=x", r#"{"tasks":[]}"#).await;
    check("/roles", r#"{"roles":[]}"#).await;
    let check = async |call: &str, body: &str| {
        let reply = post(master.address, "/api/v1", &json!({"type": call}).to_string()).await;
        assert_eq!((reply.status, &*reply.body), (200, body), "{call}");
    };
    check(
        "GET_TASKS",
        r#"{"type":"GET_TASKS","get_tasks":{"tasks":[],"unreachable_tasks":[],"completed_tasks":[]}}"#,
    )
    .await;
    check("GET_EXECUTORS", r#"{"type":"GET_EXECUTORS","get_executors":{"executors":[]}}"#).await;
    check(
        "GET_FRAMEWORKS",
        r#"{"type":"GET_FRAMEWORKS","get_frameworks":{"frameworks":[],"completed_frameworks":[]}}"#,
    )
    .await;
    check("GET_AGENTS", r#"{"type":"GET_AGENTS","get_agents":{"agents":[],"recovered_agents":[]}}"#).await;
    check("GET_OPERATIONS", r#"{"type":"GET_OPERATIONS","get_operations":{}}"#).await;
    check("GET_ROLES", r#"{"type":"GET_ROLES","get_roles":{}}"#).await;
}

#[tokio::test]
async fn mp22_tasks_are_sorted_and_paged() {
    let master = start().await;
    let (_agent, agent_id) = {
        let mut hello = hello("127.0.0.1", AGENT);
        hello.agent.as_mut().unwrap().id = Some(v1::AgentId { value: "old-S0".to_owned() });
        let framework_id = Some(v1::FrameworkId { value: "old-0000".to_owned() });
        hello.frameworks.push(v1::FrameworkInfo {
            id: framework_id,
            user: "root".to_owned(),
            name: "old".to_owned(),
            failover_timeout: Some(1000.0),
            checkpoint: Some(true),
            ..Default::default()
        });
        for number in 0..5u32 {
            hello.tasks.push(known_task(&format!("t{number}"), f64::from(100 - number)));
        }
        let (agent, id) = Agent::register(master.address, hello).await;
        (agent, id)
    };
    let check = async |query: &str, ids: &[&str]| {
        let found = get(master.address, &format!("/tasks?{query}")).await.json();
        let found: Vec<_> =
            found["tasks"].as_array().unwrap().iter().map(|task| task["id"].clone()).collect();
        assert_eq!(found, ids, "{query}");
    };
    check("", &["t0", "t1", "t2", "t3", "t4"]).await;
    check("order=asc", &["t4", "t3", "t2", "t1", "t0"]).await;
    check("limit=2&offset=1", &["t1", "t2"]).await;
    check("offset=9", &[]).await;
    check("task_id=t3", &["t3"]).await;
    check("framework_id=old-0000&limit=1", &["t0"]).await;
    check("framework_id=nope", &[]).await;
    let found = get(master.address, "/tasks?task_id=t3").await.json();
    assert_eq!(found["tasks"][0]["slave_id"], agent_id);
}

/// A task that an agent knows of from before, with its first status at `timestamp`.
fn known_task(id: &str, timestamp: f64) -> v1::Task {
    let allocated = |name: &str, value: f64| v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        allocation_info: Some(v1::resource::AllocationInfo { role: Some("*".to_owned()) }),
        ..Default::default()
    };
    v1::Task {
        name: id.to_owned(),
        task_id: v1::TaskId { value: id.to_owned() },
        framework_id: v1::FrameworkId { value: "old-0000".to_owned() },
        agent_id: v1::AgentId { value: "old-S0".to_owned() },
        state: TaskState::TaskRunning as i32,
        resources: vec![allocated("cpus", 0.1), allocated("mem", 32.0)],
        statuses: vec![v1::TaskStatus {
            task_id: v1::TaskId { value: id.to_owned() },
            state: TaskState::TaskRunning as i32,
            timestamp: Some(timestamp),
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[tokio::test]
async fn mp28_jsonp_wraps_documents_for_names_only() {
    let master = start().await;
    let plain = get(master.address, "/version").await.body;
    let reply = get(master.address, "/version?jsonp=angular.callbacks._0").await;
    assert_eq!(reply.body, format!("angular.callbacks._0({plain})"));
    assert_eq!(reply.header("Content-Type"), Some("text/javascript"));
    let reply = get(master.address, "/state?jsonp=alert(1)//").await;
    assert_eq!((reply.status, &*reply.body), (400, "Expecting 'jsonp' to be the name of a function"));
}

#[tokio::test]
async fn state_answers_every_method_and_head_has_no_body() {
    let master = start_with(|config| config.cluster = Some("home".to_owned())).await;
    let whole = get(master.address, "/state").await;
    assert_eq!(whole.json()["cluster"], "home");
    let head = exchange(master.address, "HEAD", "/state", &[], b"").await;
    assert_eq!((head.status, head.header("Content-Length")), (200, whole.header("Content-Length")));
    assert_eq!(exchange(master.address, "OPTIONS", "/state", &[], b"").await.body, whole.body);
}

#[tokio::test]
async fn mp12_facts_are_told_in_both_encodings() {
    let master = start().await;
    let headers = [("Content-Type", "application/json"), ("Accept", "application/x-protobuf")];
    let stream = request(master.address, "POST", "/api/v1", &headers, br#"{"type":"GET_VERSION"}"#);
    let mut stream = Stream::open(master.address, &stream).await;
    assert_eq!(stream.header("Content-Type"), Some("application/x-protobuf"));
    let answer: v1::master::Response = mesos_proto::binary::decode_checked(&stream.rest().await).unwrap();
    assert_eq!(answer.get_version.unwrap().version_info.version, "1.11.0");
    let master_info = &post(master.address, "/api/v1", r#"{"type":"GET_MASTER"}"#).await.json()["get_master"]
        ["master_info"];
    assert_eq!(master_info["port"], 5050);
    let ip = master.address.ip().to_string();
    assert_eq!(master_info["address"], json!({"hostname": ip, "ip": ip, "port": 5050}));
    assert_eq!(master_info["pid"], format!("master@{}", master.address));
    let flags = post(master.address, "/api/v1", r#"{"type":"GET_FLAGS"}"#).await.json();
    assert!(
        flags["get_flags"]["flags"].as_array().unwrap().contains(&json!({"name": "port", "value": "5050"}))
    );
    let metrics = get(master.address, "/metrics/snapshot").await.json();
    assert_eq!(metrics["master/elected"], 1.0);
    let body = r#"{"type":"GET_METRICS","get_metrics":{"timeout":{"nanoseconds":5000000000}}}"#;
    let listed = post(master.address, "/api/v1", body).await.json();
    let listed = listed["get_metrics"]["metrics"].as_array().unwrap().len();
    assert_eq!(listed, metrics.as_object().unwrap().len());
}
