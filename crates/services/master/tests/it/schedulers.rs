//! Schedulers and their streams.

use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::{Agent, hello};
use crate::fixture::{start, start_with};
use crate::raw::{Stream, get, post, request};
use crate::scheduler::{SUBSCRIBE, Scheduler, open};

#[tokio::test]
async fn mp01_a_subscription_is_answered_as_by_mesos() {
    let master = start_with(|config| config.heartbeat_interval = Duration::from_millis(50)).await;
    let (_agent, agent_id) = Agent::register(master.address, hello("127.0.0.1", "cpus:4;mem:4096")).await;
    let mut stream = open(master.address, SUBSCRIBE).await;
    assert_eq!(stream.header("Content-Type"), Some("application/json"));
    assert_eq!(stream.header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(stream.header("Mesos-Stream-Id").map(str::len), Some(36));
    let subscribed = stream.record().await.unwrap();
    assert_eq!(subscribed["type"], "SUBSCRIBED");
    let info = &subscribed["subscribed"]["master_info"];
    assert_eq!(info["pid"], format!("master@{}", master.address));
    let id = subscribed["subscribed"]["framework_id"]["value"].as_str().unwrap().to_owned();
    assert_eq!(id, format!("{}-0000", info["id"].as_str().unwrap()));
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let event = stream.record().await.unwrap();
        if event["type"] == "OFFERS" {
            let offer = &event["offers"]["offers"][0];
            assert_eq!(offer["agent_id"]["value"], agent_id);
            assert_eq!(offer["allocation_info"]["role"], "golden");
            assert!(offer["resources"][0]["role"].is_null(), "the framework knows RESERVATION_REFINEMENT");
        }
        seen.push(event["type"].clone());
    }
    assert_eq!(seen.iter().filter(|kind| *kind == "OFFERS").count(), 1, "{seen:?}");
    assert_eq!(seen.iter().filter(|kind| *kind == "HEARTBEAT").count(), 3, "{seen:?}");
}

#[tokio::test]
async fn both_encodings_and_both_paths_work() {
    let master = start().await;
    let call =
        mesos_proto::json::from_json::<mesos_proto::v1::scheduler::Call>(SUBSCRIBE.as_bytes()).unwrap();
    let body = mesos_proto::binary::encode(&call);
    let headers = [("Content-Type", "application/x-protobuf"), ("Accept", "application/x-protobuf")];
    let bytes = request(master.address, "POST", "/master/api/v1/scheduler", &headers, &body);
    let mut stream = Stream::open(master.address, &bytes).await;
    assert_eq!((stream.status, stream.header("Content-Type")), (200, Some("application/x-protobuf")));
    let chunk = stream.chunk().await.unwrap();
    let mut records = mesos_proto::recordio::Decoder::new(1 << 20);
    records.push(&chunk);
    let record = records.next_record().unwrap().unwrap();
    let event: mesos_proto::v1::scheduler::Event = mesos_proto::binary::decode_checked(&record).unwrap();
    assert_eq!(event.r#type(), mesos_proto::v1::scheduler::event::Type::Subscribed);

    // Without Accept the answer is JSON, even to protobuf.
    let bytes = request(master.address, "POST", "/api/v1/scheduler", &headers[..1], &body);
    let mut stream = Stream::open(master.address, &bytes).await;
    assert_eq!(stream.header("Content-Type"), Some("application/json"));
    assert_eq!(stream.record().await.unwrap()["type"], "SUBSCRIBED");
}

#[tokio::test]
async fn a_framework_that_cannot_be_is_told_so_on_its_stream() {
    let master = start().await;
    let check = async |change: Value, message: &str| {
        let mut call: Value = serde_json::from_str(SUBSCRIBE).unwrap();
        for (name, value) in change.as_object().unwrap() {
            call["subscribe"]["framework_info"][name] = value.clone();
        }
        let mut stream = open(master.address, &call.to_string()).await;
        assert_eq!(stream.status, 200);
        let event = stream.record().await.unwrap();
        assert_eq!(event, json!({"type": "ERROR", "error": {"message": message}}));
        assert_eq!(stream.record().await, None);
    };
    check(json!({"roles": ["a", "a"]}), "'FrameworkInfo.roles' contains duplicate items: { a }").await;
    check(
        json!({"roles": ["a/../b"]}),
        "'FrameworkInfo.roles' contains invalid role: Role 'a/../b' cannot include '..' as a component",
    )
    .await;
    check(
        json!({"role": "z"}),
        "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable",
    )
    .await;
    check(json!({"failover_timeout": 1e30}), "The framework failover_timeout (1e+30) is invalid").await;
}

#[tokio::test]
async fn a_second_subscription_takes_over_from_the_first() {
    let master = start().await;
    let mut call: Value = serde_json::from_str(SUBSCRIBE).unwrap();
    call["subscribe"]["framework_info"]["failover_timeout"] = json!(60.0);
    let mut first = Scheduler::subscribe_as(master.address, &call.to_string()).await;
    call["framework_id"] = json!({"value": first.framework_id});
    call["subscribe"]["framework_info"]["id"] = call["framework_id"].clone();
    let mut second = Scheduler::subscribe_as(master.address, &call.to_string()).await;
    assert_eq!(second.framework_id, first.framework_id);
    assert_eq!(first.event("ERROR").await["error"]["message"], "Framework failed over");
    assert_eq!(first.next().await, None, "the old stream ends");
    let reply = first.call("REVIVE", Value::Null).await;
    assert_eq!(reply.status, 400);
    assert!(reply.body.starts_with("The stream ID '"), "{}", reply.body);
    second.disconnect();
    master.until("/frameworks", |found| found["frameworks"][0]["connected"] == false).await;
    let reply = second.call("REVIVE", Value::Null).await;
    assert_eq!((reply.status, &*reply.body), (403, "Framework is not subscribed"));
}

#[tokio::test]
async fn teardown_ends_the_stream_and_the_framework_for_good() {
    let master = start().await;
    let mut scheduler = Scheduler::subscribe(master.address).await;
    assert_eq!(scheduler.call("TEARDOWN", Value::Null).await.status, 202);
    while scheduler.next().await.is_some() {}
    let reply = scheduler.call("REVIVE", Value::Null).await;
    assert_eq!((reply.status, &*reply.body), (400, "Framework cannot be found"));
    let mut call: Value = serde_json::from_str(SUBSCRIBE).unwrap();
    call["framework_id"] = json!({"value": scheduler.framework_id});
    call["subscribe"]["framework_info"]["id"] = call["framework_id"].clone();
    let mut stream = open(master.address, &call.to_string()).await;
    let removed = json!({"type": "ERROR", "error": {"message": "Framework has been removed"}});
    assert_eq!(stream.record().await, Some(removed));
    let found = master.until("/frameworks", |found| !found["completed_frameworks"][0].is_null()).await;
    assert_eq!(found["completed_frameworks"][0]["id"], scheduler.framework_id);
}

#[tokio::test]
async fn mm44_mp25_an_operator_tears_down_by_form() {
    let master = start().await;
    let mut scheduler = Scheduler::subscribe(master.address).await;
    let body = format!("frameworkId={}", scheduler.framework_id);
    assert_eq!(post(master.address, "/master/teardown", &body).await.status, 200);
    while scheduler.next().await.is_some() {}
}

#[tokio::test]
async fn updates_of_the_master_carry_no_uuid() {
    let master = start().await;
    let mut scheduler = Scheduler::subscribe(master.address).await;
    let reconcile = json!({"tasks": [{"task_id": {"value": "ghost"}}]});
    assert_eq!(scheduler.call("RECONCILE", reconcile).await.status, 202);
    let update = scheduler.event("UPDATE").await;
    let status = &update["update"]["status"];
    assert_eq!(status["state"], "TASK_UNKNOWN");
    assert_eq!(status["message"], "Reconciliation: Task is unknown");
    assert_eq!(
        (&status["source"], &status["reason"]),
        (&json!("SOURCE_MASTER"), &json!("REASON_RECONCILIATION"))
    );
    assert!(status["uuid"].is_null());
}

#[tokio::test]
async fn a_burst_of_events_does_not_cost_a_scheduler_its_stream() {
    const TASKS: usize = 5000;
    let master = start().await;
    let mut scheduler = Scheduler::subscribe(master.address).await;
    let tasks: Vec<Value> =
        (0..TASKS).map(|number| json!({"task_id": {"value": format!("ghost-{number}")}})).collect();
    assert_eq!(scheduler.call("RECONCILE", json!({"tasks": tasks})).await.status, 202);
    for number in 0..TASKS {
        let update = scheduler.event("UPDATE").await;
        assert_eq!(update["update"]["status"]["task_id"]["value"], format!("ghost-{number}"));
    }
}

#[tokio::test]
async fn mp25_mp16_resources_are_reserved_by_form_and_by_call() {
    let master = start().await;
    let (_agent, agent_id) = Agent::register(master.address, hello("127.0.0.1", "cpus:4;mem:4096")).await;
    let resources = r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":0.5},"reservations":[{"type":"DYNAMIC","role":"ops","principal":"me"}]}]"#;
    let check = async |path: &str, body: &str, status: u16, said: &str| {
        let reply = post(master.address, path, body).await;
        assert_eq!((reply.status, &*reply.body), (status, said), "{path} {body}");
    };
    check("/master/reserve", "", 400, "Missing 'slaveId' query parameter in the request body").await;
    check("/reserve", "slaveId=x", 400, "Missing 'resources' query parameter in the request body").await;
    let unknown = format!("slaveId=nope&resources={resources}");
    check("/reserve", &unknown, 400, "No agent found with specified ID").await;
    check("/reserve", &format!("slaveId={agent_id}&resources={resources}"), 202, "").await;
    let call = |kind: &str, member: &str| {
        format!(
            r#"{{"type":"{kind}","{member}":{{"agent_id":{{"value":"{agent_id}"}},"resources":{resources}}}}}"#
        )
    };
    check("/api/v1", &call("RESERVE_RESOURCES", "reserve_resources"), 202, "").await;
    let slaves = get(master.address, "/slaves").await.json();
    assert_eq!(slaves["slaves"][0]["reserved_resources"]["ops"]["cpus"], 1.0);
    let full = &slaves["slaves"][0]["reserved_resources_full"]["ops"][0];
    assert_eq!(full["reservations"][0]["principal"], "me", "{full}");
    check("/unreserve", &format!("slaveId={agent_id}&resources={resources}"), 202, "").await;
    check("/api/v1", &call("UNRESERVE_RESOURCES", "unreserve_resources"), 202, "").await;
    let reply = post(master.address, "/unreserve", &format!("slaveId={agent_id}&resources=[x")).await;
    assert!(reply.status == 400 && reply.body.starts_with("Error in parsing 'resources'"), "{}", reply.body);
    check(
        "/unreserve",
        &format!("slaveId={agent_id}&resources={resources}"),
        409,
        "cpus:4; mem:4096 does not contain cpus(reservations: [(DYNAMIC,ops,me)]):0.5",
    )
    .await;
}
