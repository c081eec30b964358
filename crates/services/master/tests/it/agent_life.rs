//! What operators do to agents, over HTTP.

use agent_link::Body;
use serde_json::json;

use crate::agent::{Agent, hello};
use crate::fixture::start;
use crate::raw::post;

const RESOURCES: &str = "cpus:4;mem:4096;disk:10240;ports:[31000-32000]";

fn call(kind: &str, agent: &str) -> String {
    format!(r#"{{"type":"{kind}","{}":{{"agent_id":{{"value":"{agent}"}}}}}}"#, kind.to_lowercase())
}

#[tokio::test]
async fn mp19_agents_are_deactivated_drained_and_put_back() {
    let mut master = start().await;
    let mut info = hello("127.0.0.1", RESOURCES);
    info.capabilities.push("AGENT_DRAINING".to_owned());
    let (mut agent, id) = Agent::register(master.address, info.clone()).await;
    let check = async |body: &str, status: u16, text: &str| {
        let reply = post(master.address, "/api/v1", body).await;
        assert_eq!((reply.status, &*reply.body), (status, text), "{body}");
    };
    for kind in ["DEACTIVATE_AGENT", "DRAIN_AGENT"] {
        check(&call(kind, "nope"), 400, "Unknown agent").await;
    }
    check(&call("REACTIVATE_AGENT", &id), 400, "Agent is not deactivated").await;
    check(&call("MARK_AGENT_GONE", "nope"), 404, "Agent 'nope' not found").await;
    check(&call("DEACTIVATE_AGENT", &id), 200, "").await;
    let agents = post(master.address, "/api/v1", r#"{"type":"GET_AGENTS"}"#).await.json();
    let shown = &agents["get_agents"]["agents"][0];
    assert_eq!((&shown["active"], &shown["deactivated"]), (&json!(false), &json!(true)));
    assert!(shown.get("drain_info").is_none(), "{shown}");
    check(&call("REACTIVATE_AGENT", &id), 200, "").await;
    assert!(matches!(agent.next().await, Some(Body::Undrain(_))));

    // The period is a google.protobuf.Duration, which has no nanoseconds.
    let drain = format!(
        r#"{{"type":"DRAIN_AGENT","drain_agent":{{"agent_id":{{"value":"{id}"}},"max_grace_period":{{"nanoseconds":1000000000}}}}}}"#
    );
    check(&drain, 200, "").await;
    assert!(matches!(agent.next().await, Some(Body::Drain(_))));
    let drained =
        json!({"state": "DRAINED", "config": {"max_grace_period": {"nanoseconds": 0}, "mark_gone": false}});
    let found = master.until("/slaves", |found| found["slaves"][0]["drain_info"] == drained).await;
    let shown = &found["slaves"][0];
    assert_eq!((&shown["active"], &shown["deactivated"]), (&json!(false), &json!(true)));
    assert!(shown["estimated_drain_start_time_seconds"].is_f64(), "{shown}");
    let agents = post(master.address, "/api/v1", r#"{"type":"GET_AGENTS"}"#).await.json();
    let shown = &agents["get_agents"]["agents"][0];
    assert_eq!(shown["drain_info"], drained);
    let started = shown["estimated_drain_start_time"]["nanoseconds"].as_u64().unwrap();
    assert_eq!(started % 1_000_000_000, 0);

    // It is what it was after a restart of the master.
    master.restart().await;
    info.agent.as_mut().unwrap().id = Some(mesos_proto::v1::AgentId { value: id.clone() });
    let (_agent, same) = Agent::register(master.address, info).await;
    assert_eq!(same, id);
    master.until("/slaves", |found| found["slaves"][0]["drain_info"] == drained).await;
}

#[tokio::test]
async fn mm05_what_is_marked_gone_is_shut_down_whenever_it_comes() {
    let mut master = start().await;
    let mut info = hello("127.0.0.1", RESOURCES);
    let (mut agent, id) = Agent::register(master.address, info.clone()).await;
    assert_eq!(post(master.address, "/api/v1", &call("MARK_AGENT_GONE", &id)).await.status, 200);
    assert!(matches!(agent.next().await, Some(Body::Shutdown(_))));
    assert!(agent.next().await.is_none());
    master.until("/slaves", |found| found["slaves"] == json!([])).await;
    master.restart().await;
    info.agent.as_mut().unwrap().id = Some(mesos_proto::v1::AgentId { value: id.clone() });
    let mut agent = Agent::connect(master.address).await;
    agent.send(Body::Hello(info)).await;
    match agent.next().await {
        Some(Body::Shutdown(shutdown)) => assert_eq!(shutdown.reason, "Agent has been marked gone"),
        other => panic!("{other:?}"),
    }
    assert!(agent.next().await.is_none());
}
