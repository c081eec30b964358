//! Agents and their links.

use std::time::Duration;

use agent_link::{Body, Frame};
use mesos_proto::v1::TaskState;
use serde_json::json;

use crate::agent::{Agent, hello};
use crate::fixture::{start, start_with};
use crate::raw::exchange;
use crate::scheduler::Scheduler;

const RESOURCES: &str = "cpus:4;mem:4096;disk:10240;ports:[31000-32000]";

#[tokio::test]
async fn an_agent_gets_its_task_and_reports_it() {
    let master = start().await;
    let (mut agent, agent_id) = Agent::register(master.address, hello("127.0.0.1", RESOURCES)).await;
    let mut scheduler = Scheduler::subscribe(master.address).await;
    let offers = scheduler.event("OFFERS").await;
    assert_eq!(scheduler.launch(&offers["offers"]["offers"][0], "t1", 1.0).await.status, 202);
    let task = agent.run_task().await;
    assert_eq!((&*task.task_id.value, &*task.agent_id.value), ("t1", &*agent_id));
    agent.update(&scheduler.framework_id, &agent_id, "t1", TaskState::TaskFinished).await;
    let update = scheduler.event("UPDATE").await;
    assert_eq!(update["update"]["status"]["state"], "TASK_FINISHED");
    // Whatever a client does after it was told, the documents already show it.
    master.until("/tasks", |found| found["tasks"][0]["state"] == "TASK_FINISHED").await;
    assert_eq!(scheduler.call("KILL", json!({"task_id": {"value": "nope"}})).await.status, 202);
}

#[tokio::test]
async fn mm03_an_agent_keeps_its_id_across_connections_and_restarts_of_the_master() {
    let mut master = start().await;
    let (agent, id) = Agent::register(master.address, hello("127.0.0.1", RESOURCES)).await;
    drop(agent);
    master.until("/slaves", |found| found["slaves"][0]["active"] == false).await;
    let mut again = hello("127.0.0.1", RESOURCES);
    again.agent.as_mut().unwrap().id = Some(mesos_proto::v1::AgentId { value: id.clone() });
    let (agent, same) = Agent::register(master.address, again.clone()).await;
    assert_eq!(same, id);
    drop(agent);
    master.restart().await;
    assert!(master.dir().join("registry.redb").is_file());
    let found = master.until("/slaves", |found| found["recovered_slaves"][0]["id"] == id).await;
    assert_eq!(found["slaves"], json!([]));
    let (_agent, same) = Agent::register(master.address, again).await;
    assert_eq!(same, id);
    master
        .until("/slaves", |found| {
            found["slaves"][0]["active"] == true && found["recovered_slaves"] == json!([])
        })
        .await;
}

#[tokio::test]
async fn mm07_a_silent_agent_is_unreachable_and_a_talking_one_is_not() {
    let master = start_with(|config| {
        config.agent_ping_timeout = Duration::from_millis(50);
        config.max_agent_ping_timeouts = 4;
    })
    .await;
    let (mut talking, talking_id) = Agent::register(master.address, hello("127.0.0.2", RESOURCES)).await;
    let (mut silent, _) = Agent::register(master.address, hello("127.0.0.1", RESOURCES)).await;
    let talk = tokio::spawn(async move {
        // The master's own heartbeats set the pace.
        while let Some(frame) = talking.frame().await {
            talking.send_frame(Frame { seq: 0, ack: frame.seq, body: None }).await;
        }
    });
    let found = master.until("/state", |found| found["unreachable_slaves"] == 1.0).await;
    assert_eq!(found["slaves"][0]["id"], talking_id);
    assert_eq!(found["slaves"].as_array().unwrap().len(), 1);
    while silent.frame().await.is_some() {}
    assert!(!talk.is_finished());
    talk.abort();
}

#[tokio::test]
async fn what_is_no_agent_is_refused_with_a_reason() {
    let master = start().await;
    let check = async |first: Frame, expect: &str| {
        let mut agent = Agent::connect(master.address).await;
        agent.send_frame(first).await;
        match agent.next().await {
            Some(Body::Refused(refused)) => assert_eq!((&*refused.reason, refused.permanent), (expect, true)),
            other => panic!("{other:?} instead of {expect}"),
        }
        assert!(agent.next().await.is_none());
    };
    let frame = |body| Frame { seq: 1, ack: 0, body: Some(body) };
    let goodbye = frame(Body::Goodbye(agent_link::Goodbye { reason: "bye".to_owned() }));
    check(goodbye, "the first frame of an agent is Hello").await;
    let newer = agent_link::Hello { min_version: 7, max_version: 9, ..hello("127.0.0.1", RESOURCES) };
    check(frame(Body::Hello(newer)), "the agent speaks versions 7 to 9, this master 1 to 2").await;
    let long = hello(&"x".repeat(40_000), RESOURCES);
    check(frame(Body::Hello(long)), "an agent's description may have 32768 bytes").await;

    // Nothing that an agent calls itself may spoil the registry.
    for id in ["", "a/../b", "..", "a\u{1}", &"x".repeat(300)] {
        let mut named = hello("127.0.0.1", RESOURCES);
        named.agent.as_mut().unwrap().id = Some(mesos_proto::v1::AgentId { value: id.to_owned() });
        let mut agent = Agent::connect(master.address).await;
        agent.send_frame(frame(Body::Hello(named))).await;
        let answer = agent.next().await;
        assert!(matches!(answer, Some(Body::Refused(_))), "{id:?}: {answer:?}");
    }

    let reply = exchange(master.address, "GET", agent_link::PATH, &[], b"").await;
    assert_eq!((reply.status, &*reply.body), (426, "Expecting an upgrade to 'dcos-agent-link'"));
}

#[tokio::test]
async fn frames_out_of_order_end_the_link() {
    let master = start().await;
    let (mut agent, _) = Agent::register(master.address, hello("127.0.0.1", RESOURCES)).await;
    agent.send_frame(Frame { seq: 5, ack: 1, body: Some(Body::Goodbye(Default::default())) }).await;
    while agent.frame().await.is_some() {}
    master.until("/slaves", |found| found["slaves"][0]["active"] == false).await;
}

#[tokio::test]
async fn a_master_that_stops_lets_go_of_everybody() {
    let mut master = start().await;
    let (mut agent, _) = Agent::register(master.address, hello("127.0.0.1", RESOURCES)).await;
    let mut scheduler = Scheduler::subscribe(master.address).await;
    master.stop().await;
    while agent.frame().await.is_some() {}
    while scheduler.next().await.is_some() {}
}
