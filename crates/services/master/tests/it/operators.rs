//! The event stream of operators.

use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, hello};
use crate::fixture::{Running, start, start_with};
use crate::raw::{Stream, post, request};
use crate::scheduler::Scheduler;

async fn follow(master: &Running) -> Stream {
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
    let body = br#"{"type":"SUBSCRIBE"}"#;
    let stream =
        Stream::open(master.address, &request(master.address, "POST", "/api/v1", &headers, body)).await;
    assert_eq!((stream.status, stream.header("Content-Type")), (200, Some("application/json")));
    stream
}

/// The next event that is no heartbeat.
async fn next(stream: &mut Stream) -> Value {
    loop {
        let event = stream.record().await.expect("an event");
        if event["type"] != "HEARTBEAT" {
            return event;
        }
    }
}

#[tokio::test]
async fn mp18_an_operator_gets_the_state_then_what_changes() {
    let master = start().await;
    let (_first, first_id) = Agent::register(master.address, hello("127.0.0.1", "cpus:4;mem:1024")).await;
    let mut stream = follow(&master).await;
    let subscribed = stream.record().await.unwrap();
    assert_eq!(subscribed["type"], "SUBSCRIBED");
    assert_eq!(subscribed["subscribed"]["heartbeat_interval_seconds"], 15.0);
    let agents = &subscribed["subscribed"]["get_state"]["get_agents"]["agents"];
    assert_eq!(agents[0]["agent_info"]["id"]["value"], first_id);
    assert_eq!(stream.record().await.unwrap(), serde_json::json!({"type": "HEARTBEAT"}));

    let (_second, second_id) = Agent::register(master.address, hello("127.0.0.2", "cpus:4;mem:1024")).await;
    let added = next(&mut stream).await;
    assert_eq!(added["type"], "AGENT_ADDED");
    assert_eq!(added["agent_added"]["agent"]["agent_info"]["id"]["value"], second_id);
    let scheduler = Scheduler::subscribe(master.address).await;
    let added = next(&mut stream).await;
    assert_eq!(added["type"], "FRAMEWORK_ADDED");
    let id = &added["framework_added"]["framework"]["framework_info"]["id"]["value"];
    assert_eq!(id, &*scheduler.framework_id);

    let teardown = format!(
        r#"{{"type":"TEARDOWN","teardown":{{"framework_id":{{"value":"{}"}}}}}}"#,
        scheduler.framework_id
    );
    assert_eq!(post(master.address, "/api/v1", &teardown).await.status, 200);
    loop {
        let removed = next(&mut stream).await;
        if removed["type"] == "FRAMEWORK_REMOVED" {
            let id = &removed["framework_removed"]["framework_info"]["id"]["value"];
            assert_eq!(id, &*scheduler.framework_id);
            break;
        }
    }
}

#[tokio::test]
async fn operators_hear_heartbeats_and_the_oldest_makes_room() {
    let master = start_with(|config| {
        config.heartbeat_interval = Duration::from_millis(20);
        config.max_operator_event_stream_subscribers = 1;
    })
    .await;
    let mut first = follow(&master).await;
    assert_eq!(first.record().await.unwrap()["type"], "SUBSCRIBED");
    for _ in 0..3 {
        assert_eq!(first.record().await.unwrap()["type"], "HEARTBEAT");
    }
    let mut second = follow(&master).await;
    assert_eq!(second.record().await.unwrap()["type"], "SUBSCRIBED");
    while first.record().await.is_some() {}
    assert_eq!(second.record().await.unwrap()["type"], "HEARTBEAT");
    master.until("/metrics/snapshot", |found| found["master/operator_event_stream_subscribers"] == 1.0).await;
    drop(second);
    master.until("/metrics/snapshot", |found| found["master/operator_event_stream_subscribers"] == 0.0).await;
}
