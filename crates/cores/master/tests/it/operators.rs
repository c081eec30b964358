//! What operators do to agents: deactivate, drain, reactivate, mark gone.

use std::time::Duration;

use agent_link::Body;
use master_core::Reply;
use mesos_proto::v1::{self, DrainState, TaskState};

use crate::cluster::{AWARE, Agent, Cluster, Framework, OLD, config, task};

const RESOURCES: &str = "cpus:4;mem:1024";

/// A framework with one task on one agent.
fn running(info: &str) -> (Cluster, Framework, Agent) {
    let mut cluster = Cluster::new();
    let framework = cluster.subscribe(info);
    let agent = cluster.agent("host", RESOURCES);
    cluster.launch(&framework, &[task(&agent, "t")]);
    cluster.update(&agent, &framework, "t", TaskState::TaskRunning, 1);
    cluster.acknowledge(&agent, &framework, "t", 1);
    cluster.take_frames(agent.conn);
    cluster.events.remove(&framework.conn);
    (cluster, framework, agent)
}

fn call(kind: &str, agent: &str, rest: &str) -> String {
    let member = kind.to_lowercase();
    format!(r#"{{"type":"{kind}","{member}":{{"agent_id":{{"value":"{agent}"}}{rest}}}}}"#)
}

fn bad(text: &str) -> Reply {
    Reply::BadRequest(text.to_owned())
}

/// Active, deactivated and how far it is drained.
fn seen(cluster: &Cluster, agent: &Agent) -> (bool, Option<bool>, Option<DrainState>) {
    let view = cluster.master.agent(&agent.id.as_str().into()).expect("it is registered").view();
    (view.active, view.deactivated, view.drain_info.map(|drain| drain.state()))
}

/// The agent says Hello on a new connection, with the tasks that it has of the framework.
fn come_back(cluster: &mut Cluster, agent: &Agent, framework: &Framework, tasks: &[v1::Task]) -> Agent {
    let mut hello = Cluster::comes_back(agent, RESOURCES, Some((framework, AWARE)));
    hello.tasks = tasks.to_vec();
    let conn = cluster.conn();
    cluster.say(conn, Body::Hello(hello));
    Agent { conn, id: agent.id.clone() }
}

#[test]
fn mm38_a_deactivated_agent_is_not_offered_until_it_is_reactivated() {
    let (mut cluster, framework, agent) = running(AWARE);
    cluster.wait(Duration::from_secs(2));
    assert_eq!(cluster.take_offers(&framework).len(), 1);
    assert_eq!(cluster.operate(&call("DEACTIVATE_AGENT", &agent.id, "")), Reply::Ok);
    let events = cluster.take_events(&framework);
    assert!(events.len() == 1 && events[0].contains("RESCIND"), "{events:?}");
    assert_eq!(seen(&cluster, &agent), (false, Some(true), None));
    cluster.wait(Duration::from_secs(60));
    assert!(cluster.take_events(&framework).is_empty(), "the task runs on and nothing is offered");
    assert_eq!(cluster.operate(&call("REACTIVATE_AGENT", &agent.id, "")), Reply::Ok);
    assert_eq!(seen(&cluster, &agent), (true, Some(false), None));
    assert_eq!(cluster.take_offers(&framework).len(), 1);
    assert_eq!(cluster.operate(&call("REACTIVATE_AGENT", &agent.id, "")), bad("Agent is not deactivated"));
    for kind in ["DEACTIVATE_AGENT", "DRAIN_AGENT"] {
        assert_eq!(cluster.operate(&call(kind, "nope", "")), bad("Unknown agent"));
    }
}

#[test]
fn mm38_nothing_is_answered_or_done_before_it_is_durable() {
    let (mut cluster, _, agent) = running(AWARE);
    cluster.persists = false;
    let conn = cluster.ask(&call("DRAIN_AGENT", &agent.id, ""));
    assert_eq!((cluster.answer(conn), seen(&cluster, &agent)), (None, (true, Some(false), None)));
    // What is decided meanwhile builds on it.
    let later = cluster.ask(&call("DEACTIVATE_AGENT", &agent.id, ""));
    let refused = bad("Agent is still in the DRAINING state");
    assert_eq!(cluster.operate(&call("REACTIVATE_AGENT", &agent.id, "")), refused);
    cluster.persist();
    assert_eq!((cluster.answer(conn), cluster.answer(later)), (Some(Reply::Ok), Some(Reply::Ok)));
    assert_eq!(seen(&cluster, &agent), (false, Some(true), Some(DrainState::Draining)));
}

#[test]
fn mm38_an_agent_is_drained_when_its_last_task_is_done_with() {
    let (mut cluster, framework, agent) = running(AWARE);
    let grace = r#","max_grace_period":{"seconds":3}"#;
    assert_eq!(cluster.operate(&call("DRAIN_AGENT", &agent.id, grace)), Reply::Ok);
    let frames = cluster.take_frames(agent.conn);
    let [Body::Drain(drain)] = &frames[..] else { panic!("{frames:?}") };
    let config = drain.config.unwrap();
    assert_eq!(config.max_grace_period.unwrap().nanoseconds, 3_000_000_000);
    assert_eq!(config.mark_gone, Some(false));
    assert_eq!(seen(&cluster, &agent), (false, Some(true), Some(DrainState::Draining)));
    cluster.update(&agent, &framework, "t", TaskState::TaskKilled, 2);
    assert_eq!(seen(&cluster, &agent).2, Some(DrainState::Draining), "the update is not acknowledged");
    let refused = bad("Agent is still in the DRAINING state");
    assert_eq!(cluster.operate(&call("REACTIVATE_AGENT", &agent.id, "")), refused);
    cluster.acknowledge(&agent, &framework, "t", 2);
    assert_eq!(seen(&cluster, &agent), (false, Some(true), Some(DrainState::Drained)));
    cluster.take_frames(agent.conn);
    assert_eq!(cluster.operate(&call("REACTIVATE_AGENT", &agent.id, "")), Reply::Ok);
    assert_eq!(seen(&cluster, &agent), (true, Some(false), None));
    let frames = cluster.take_frames(agent.conn);
    assert!(matches!(frames[..], [Body::Undrain(_)]), "{frames:?}");
}

#[test]
fn mm38_an_empty_agent_is_drained_at_once_and_an_old_one_cannot_be() {
    let mut cluster = Cluster::new();
    let agent = cluster.agent("host", RESOURCES);
    assert_eq!(cluster.operate(&call("DRAIN_AGENT", &agent.id, "")), Reply::Ok);
    assert_eq!(seen(&cluster, &agent), (false, Some(true), Some(DrainState::Drained)));
    let mut old = Cluster::hello("old", RESOURCES);
    old.capabilities.clear();
    let old = cluster.connect(old);
    let refused = bad(&format!("Agent {} is not capable of draining", old.id));
    assert_eq!(cluster.operate(&call("DRAIN_AGENT", &old.id, "")), refused);
}

#[test]
fn mm38_draining_survives_connections_masters_and_absence() {
    let (mut cluster, framework, agent) = running(AWARE);
    assert_eq!(cluster.operate(&call("DRAIN_AGENT", &agent.id, "")), Reply::Ok);
    let is_told = |cluster: &mut Cluster, agent: &Agent| {
        let frames = cluster.take_frames(agent.conn);
        assert!(frames.iter().any(|frame| matches!(frame, Body::Drain(_))), "{frames:?}");
        assert_eq!(seen(cluster, agent), (false, Some(true), Some(DrainState::Draining)));
    };
    let known = cluster.master.framework(&framework.id.as_str().into()).unwrap();
    let tasks: Vec<_> = known.tasks.values().map(|task| task.info.clone()).collect();
    cluster.close(&agent, false);
    let agent = come_back(&mut cluster, &agent, &framework, &tasks);
    is_told(&mut cluster, &agent);

    // Unreachable, and back.
    cluster.close(&agent, true);
    assert_eq!(cluster.master.agents().count(), 0);
    let again = call("DRAIN_AGENT", &agent.id, "");
    assert_eq!(cluster.operate(&again), Reply::Ok, "it can be told to drain while it is away");
    let agent = come_back(&mut cluster, &agent, &framework, &tasks);
    is_told(&mut cluster, &agent);

    let mut cluster = Cluster::recover(config(), cluster.registry);
    let agent = come_back(&mut cluster, &agent, &framework, &tasks);
    is_told(&mut cluster, &agent);
}

#[test]
fn mm38_an_agent_that_missed_the_end_of_its_draining_is_told() {
    let (mut cluster, framework, agent) = running(AWARE);
    cluster.close(&agent, false);
    let mut hello = Cluster::comes_back(&agent, RESOURCES, Some((&framework, AWARE)));
    hello.draining = Some(Default::default());
    let conn = cluster.conn();
    cluster.say(conn, Body::Hello(hello));
    let frames = cluster.take_frames(conn);
    assert!(frames.iter().any(|frame| matches!(frame, Body::Undrain(_))), "{frames:?}");
}

#[test]
fn mm05_mm39_a_gone_agent_never_comes_back() {
    let check = |info: &str, state: &str, reason: &str, reconciled: &str| {
        let (mut cluster, framework, agent) = running(info);
        let gone = call("MARK_AGENT_GONE", &agent.id, "");
        assert_eq!(cluster.operate(&gone), Reply::Ok);
        let frames = cluster.take_frames(agent.conn);
        let [Body::Shutdown(shutdown)] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!(shutdown.reason, "Agent has been marked gone");
        assert!(cluster.closed.contains(&agent.conn));
        let events = cluster.take_events(&framework);
        let update = events.iter().find(|event| event.contains("UPDATE")).unwrap();
        for part in [state, reason, "Agent has been marked gone"] {
            assert!(update.contains(part), "{update}");
        }
        assert!(events.iter().any(|event| event.contains("FAILURE")), "{events:?}");
        assert_eq!(cluster.master.agents().count(), 0);
        assert_eq!(cluster.operate(&gone), Reply::Ok, "once more changes nothing");
        let rest = format!(
            r#""type":"RECONCILE","reconcile":{{"tasks":[{{"task_id":{{"value":"x"}},"agent_id":{{"value":"{}"}}}}]}}"#,
            agent.id
        );
        cluster.framework_call(&framework, &rest);
        let events = cluster.take_events(&framework);
        assert!(
            events[0].contains(reconciled) && events[0].contains("Reconciliation: Task is gone"),
            "{events:?}"
        );

        let mut cluster = Cluster::recover(config(), cluster.registry);
        let conn = cluster.conn();
        cluster.say(conn, Body::Hello(Cluster::comes_back(&agent, RESOURCES, Some((&framework, info)))));
        let frames = cluster.take_frames(conn);
        assert!(matches!(frames[..], [Body::Shutdown(_)]), "{frames:?}");
        assert!(cluster.closed.contains(&conn) && cluster.master.agents().count() == 0);
    };
    let (gone, lost) = ("TASK_GONE_BY_OPERATOR", "TASK_LOST");
    check(AWARE, gone, "REASON_AGENT_REMOVED_BY_OPERATOR", gone);
    check(OLD, lost, "REASON_AGENT_REMOVED\"", lost);
}

#[test]
fn mm05_an_unreachable_agent_can_be_gone_with_its_tasks() {
    let (mut cluster, framework, agent) = running(AWARE);
    cluster.close(&agent, true);
    cluster.take_events(&framework);
    assert_eq!(cluster.operate(&call("MARK_AGENT_GONE", &agent.id, "")), Reply::Ok);
    let events = cluster.take_events(&framework);
    assert!(events.len() == 1 && events[0].contains("TASK_GONE_BY_OPERATOR"), "{events:?}");
    assert_eq!(cluster.master.unreachable_agents().count(), 0);
    let known = cluster.master.framework(&framework.id.as_str().into()).unwrap();
    assert!(known.unreachable_tasks.is_empty() && known.completed_tasks.len() == 1);
}

#[test]
fn mm05_only_one_end_at_a_time() {
    let (mut cluster, _, agent) = running(AWARE);
    let gone = call("MARK_AGENT_GONE", &agent.id, "");
    assert_eq!(
        cluster.operate(&call("MARK_AGENT_GONE", "nope", "")),
        Reply::NotFound("Agent 'nope' not found".to_owned())
    );
    cluster.persists = false;
    let first = cluster.ask(&gone);
    assert_eq!(cluster.answer(first), None);
    let busy = |text: &str| Reply::Unavailable(format!("Agent '{}' is {text}", agent.id));
    assert_eq!(cluster.operate(&gone), busy("already being transitioned to gone"));
    let refused = Reply::Conflict("Agent is currently being marked gone".to_owned());
    assert_eq!(cluster.operate(&call("DRAIN_AGENT", &agent.id, "")), refused);
    // It comes back on another connection while that is written.
    let conn = cluster.conn();
    cluster.say(conn, Body::Hello(Cluster::comes_back(&agent, RESOURCES, None)));
    cluster.persist();
    assert_eq!(cluster.answer(first), Some(Reply::Ok));
    let frames = cluster.take_frames(conn);
    assert!(matches!(frames[..], [Body::Shutdown(_)]), "{frames:?}");

    cluster.persists = true;
    let away = cluster.agent("away", RESOURCES);
    cluster.persists = false;
    cluster.close(&away, true);
    let gone = call("MARK_AGENT_GONE", &away.id, "");
    let busy = format!("Agent '{}' is being transitioned to unreachable", away.id);
    assert_eq!(cluster.operate(&gone), Reply::Unavailable(busy));
}

#[test]
fn mm38_an_agent_that_is_drained_to_be_gone_is_gone() {
    let (mut cluster, framework, agent) = running(AWARE);
    assert_eq!(cluster.operate(&call("DRAIN_AGENT", &agent.id, r#","mark_gone":true"#)), Reply::Ok);
    cluster.update(&agent, &framework, "t", TaskState::TaskGoneByOperator, 2);
    assert_eq!(cluster.master.agents().count(), 1);
    cluster.acknowledge(&agent, &framework, "t", 2);
    assert_eq!(cluster.master.agents().count(), 0);
    let frames = cluster.take_frames(agent.conn);
    assert!(matches!(frames.last(), Some(Body::Shutdown(_))), "{frames:?}");
    let kinds: Vec<&str> = cluster.registry.keys().filter_map(|key| key.split('/').next()).collect();
    assert_eq!(kinds, ["gone"], "nothing else is remembered");
}
