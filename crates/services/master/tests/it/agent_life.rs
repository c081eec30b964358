//! What operators do to agents, over HTTP.

use agent_link::Body;
use serde_json::json;

use crate::agent::{Agent, hello};
use crate::fixture::start;
use crate::raw::{exchange, get, post};
use crate::scheduler::Scheduler;

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

#[tokio::test]
async fn mp17_mp25_maintenance_by_calls_and_by_documents() {
    let mut master = start().await;
    let info = hello("127.0.0.1", RESOURCES);
    let (mut agent, _) = Agent::register(master.address, info.clone()).await;
    let mut scheduler = Scheduler::subscribe(master.address).await;
    scheduler.event("OFFERS").await;
    let check = async |path: &str, body: &str, status: u16, text: &str| {
        let reply = post(master.address, path, body).await;
        assert_eq!((reply.status, &*reply.body), (status, text), "{path} {body}");
    };
    let shown = async |path: &str| get(master.address, path).await.body;
    let call =
        async |kind: &str| post(master.address, "/api/v1", &format!(r#"{{"type":"{kind}"}}"#)).await.body;
    assert_eq!(shown("/maintenance/schedule").await, "{}");
    assert_eq!(shown("/master/maintenance/status").await, "{}");
    assert_eq!(
        call("GET_MAINTENANCE_SCHEDULE").await,
        r#"{"type":"GET_MAINTENANCE_SCHEDULE","get_maintenance_schedule":{"schedule":{}}}"#
    );
    assert_eq!(
        call("GET_MAINTENANCE_STATUS").await,
        r#"{"type":"GET_MAINTENANCE_STATUS","get_maintenance_status":{"status":{}}}"#
    );

    // What is refused.
    let machine = r#"{"hostname":"127.0.0.1","ip":"127.0.0.1"}"#;
    let empty = "List of machines in the maintenance window is empty";
    let schedule = |machines: &str| {
        format!(
            r#"{{"windows":[{{"machine_ids":[{machines}],"unavailability":{{"start":{{"nanoseconds":1795349073000000000}},"duration":{{"nanoseconds":3600000000000}}}}}}]}}"#
        )
    };
    check("/maintenance/schedule", &schedule(""), 400, empty).await;
    let update = |schedule: &str| {
        format!(
            r#"{{"type":"UPDATE_MAINTENANCE_SCHEDULE","update_maintenance_schedule":{{"schedule":{schedule}}}}}"#
        )
    };
    check("/api/v1", &update(&schedule("")), 400, empty).await;
    check("/machine/down", "[]", 400, "List of machines is empty").await;
    check("/machine/up", "{}", 400, "Unexpected JSON type parsed").await;
    check("/machine/up", "{nope", 400, "syntax error at line 1 near: nope").await;
    let machines = format!("[{machine}]");
    let unscheduled = format!("Machine '{machine}' is not part of a maintenance schedule");
    check("/machine/down", &machines, 400, &unscheduled).await;
    let reply = exchange(master.address, "PUT", "/maintenance/schedule", &[], b"").await;
    assert_eq!((reply.status, reply.header("Allow")), (405, Some("GET, POST")));
    let reply = exchange(master.address, "GET", "/machine/up", &[], b"").await;
    assert_eq!((reply.status, reply.header("Allow")), (405, Some("POST")));

    // A schedule asks frameworks, and remembers what they say.
    check("/maintenance/schedule", &schedule(machine), 200, "").await;
    let expect = r#"{"windows":[{"machine_ids":[{"hostname":"127.0.0.1","ip":"127.0.0.1"}],"unavailability":{"duration":{"nanoseconds":3600000000000},"start":{"nanoseconds":1795349073000000000}}}]}"#;
    assert_eq!(shown("/maintenance/schedule").await, expect);
    let expect = r#"{"draining_machines":[{"id":{"hostname":"127.0.0.1","ip":"127.0.0.1"}}]}"#;
    assert_eq!(shown("/maintenance/status").await, expect);
    let asked = scheduler.event("INVERSE_OFFERS").await;
    let asked = &asked["inverse_offers"]["inverse_offers"][0];
    assert_eq!(asked["unavailability"]["duration"]["nanoseconds"], 3_600_000_000_000_u64);
    let ids = json!({"inverse_offer_ids": [asked["id"]]});
    assert_eq!(scheduler.call("ACCEPT_INVERSE_OFFERS", ids).await.status, 202);
    let found = master
        .until("/maintenance/status", |found| found["draining_machines"][0]["statuses"][0].is_object())
        .await;
    let status = &found["draining_machines"][0]["statuses"][0];
    assert_eq!(
        (&status["status"], &status["framework_id"]["value"]),
        (&json!("ACCEPT"), &json!(scheduler.framework_id))
    );

    // Down, also for the next master, and up.
    let not_down = format!("Machine '{machine}' is not in DOWN mode and cannot be brought up");
    check("/machine/up", &machines, 400, &not_down).await;
    check("/machine/down", &machines, 200, "").await;
    assert!(matches!(agent.next().await, Some(Body::Shutdown(_))));
    master.restart().await;
    let expect = json!({"down_machines": [{"hostname": "127.0.0.1", "ip": "127.0.0.1"}]});
    assert_eq!(get(master.address, "/maintenance/status").await.json(), expect);
    let mut agent = Agent::connect(master.address).await;
    agent.send(Body::Hello(info.clone())).await;
    assert!(matches!(agent.next().await, Some(Body::Shutdown(_))));
    let stop = format!(r#"{{"type":"STOP_MAINTENANCE","stop_maintenance":{{"machines":{machines}}}}}"#);
    assert_eq!(post(master.address, "/api/v1", &stop).await.status, 200);
    assert_eq!(get(master.address, "/maintenance/schedule").await.body, "{}");
    Agent::register(master.address, info).await;
}
