//! Maintenance of machines: the schedule, inverse offers, start and stop.

use std::time::Duration;

use agent_link::Body;
use master_core::Reply;
use mesos_proto::json::{from_json, to_json};
use mesos_proto::v1::{TaskState, scheduler};

use crate::cluster::{AWARE, Agent, Cluster, Framework, config, task};

const MACHINE: &str = r#"{"hostname":"10.0.0.1","ip":"10.0.0.1"}"#;
const CLEAR: &str = r#"{"type":"UPDATE_MAINTENANCE_SCHEDULE","update_maintenance_schedule":{"schedule":{}}}"#;

fn update(machines: &str, start: u64) -> String {
    format!(
        r#"{{"type":"UPDATE_MAINTENANCE_SCHEDULE","update_maintenance_schedule":{{"schedule":{{"windows":[{{"machine_ids":[{machines}],"unavailability":{{"start":{{"nanoseconds":{start}}},"duration":{{"nanoseconds":7}}}}}}]}}}}}}"#
    )
}

fn start(machine: &str) -> String {
    format!(r#"{{"type":"START_MAINTENANCE","start_maintenance":{{"machines":[{machine}]}}}}"#)
}

fn stop(machine: &str) -> String {
    format!(r#"{{"type":"STOP_MAINTENANCE","stop_maintenance":{{"machines":[{machine}]}}}}"#)
}

/// A framework that holds an offer of the one agent, on the machine.
fn offered() -> (Cluster, Framework, Agent) {
    let mut cluster = Cluster::new();
    let framework = cluster.subscribe(AWARE);
    let agent = cluster.agent("10.0.0.1", "cpus:4;mem:1024");
    assert_eq!(cluster.take_offers(&framework).len(), 1);
    (cluster, framework, agent)
}

fn kinds(events: &[String]) -> Vec<&str> {
    events.iter().map(|event| event.split('"').nth(3).unwrap()).collect()
}

/// Answers the inverse offer in the events.
fn answer(cluster: &mut Cluster, framework: &Framework, kind: &str, events: &[String], rest: &str) {
    let asked = events.iter().find(|event| event.contains("INVERSE_OFFERS")).unwrap();
    let asked: scheduler::Event = from_json(asked.as_bytes()).unwrap();
    let id = to_json(&asked.inverse_offers.unwrap().inverse_offers[0].id);
    let call = format!(r#""type":"{kind}","{}":{{"inverse_offer_ids":[{id}]{rest}}}"#, kind.to_lowercase());
    assert_eq!(cluster.framework_call(framework, &call), Reply::Accepted);
}

#[test]
fn mm37_mp07_a_schedule_replaces_offers_and_asks_frameworks() {
    let (mut cluster, framework, agent) = offered();
    assert_eq!(cluster.operate(&update(MACHINE, 5)), Reply::Ok);
    let events = cluster.take_events(&framework);
    assert_eq!(kinds(&events), ["RESCIND", "OFFERS", "INVERSE_OFFERS"]);
    let when = r#""unavailability":{"start":{"nanoseconds":5},"duration":{"nanoseconds":7}}"#;
    assert!(events[1].contains(when) && events[2].contains(when), "{events:?}");
    assert!(events[2].contains(&agent.id) && !events[2].contains("resources"), "{}", events[2]);
    cluster.wait(Duration::from_secs(60));
    assert!(cluster.take_events(&framework).is_empty(), "nobody is asked twice");
    assert_eq!(cluster.operate(&update(MACHINE, 5)), Reply::Ok);
    assert!(cluster.take_events(&framework).is_empty(), "nothing has changed");
    assert_eq!(cluster.operate(&update(MACHINE, 6)), Reply::Ok);
    let events = cluster.take_events(&framework);
    assert_eq!(kinds(&events), ["RESCIND", "RESCIND_INVERSE_OFFER", "OFFERS", "INVERSE_OFFERS"]);
    assert_eq!(cluster.operate(CLEAR), Reply::Ok);
    let events = cluster.take_events(&framework);
    assert_eq!(kinds(&events), ["RESCIND", "RESCIND_INVERSE_OFFER", "OFFERS"]);
    assert!(!events[2].contains("unavailability"), "{}", events[2]);
}

#[test]
fn mm37_mp05_answers_are_shown_and_asked_again_later() {
    let (mut cluster, framework, _) = offered();
    cluster.operate(&update(MACHINE, 5));
    let events = cluster.take_events(&framework);
    answer(
        &mut cluster,
        &framework,
        "DECLINE_INVERSE_OFFERS",
        &events,
        r#","filters":{"refuse_seconds":30}"#,
    );
    let status = cluster.master.maintenance_status();
    assert_eq!(status.draining_machines[0].statuses[0].status().as_str_name(), "DECLINE");
    cluster.wait(Duration::from_secs(29));
    assert!(cluster.take_events(&framework).is_empty());
    cluster.wait(Duration::from_secs(2));
    let events = cluster.take_events(&framework);
    assert_eq!(kinds(&events), ["INVERSE_OFFERS"]);
    answer(&mut cluster, &framework, "ACCEPT_INVERSE_OFFERS", &events, "");
    let status = cluster.master.maintenance_status();
    assert_eq!(status.draining_machines[0].statuses[0].status().as_str_name(), "ACCEPT");
    // Another framework's answer counts for nothing.
    cluster.wait(Duration::from_secs(10));
    let events = cluster.take_events(&framework);
    let other = cluster.subscribe(AWARE);
    answer(&mut cluster, &other, "DECLINE_INVERSE_OFFERS", &events, "");
    let status = cluster.master.maintenance_status();
    assert_eq!(status.draining_machines[0].statuses.len(), 1);
    assert_eq!(status.draining_machines[0].statuses[0].status().as_str_name(), "ACCEPT");
}

#[test]
fn mm37_a_machine_under_maintenance_has_no_agents() {
    let (mut cluster, framework, agent) = offered();
    cluster.accept(&framework, &launch(&agent), 0.0);
    cluster.update(&agent, &framework, "t", TaskState::TaskRunning, 1);
    cluster.acknowledge(&agent, &framework, "t", 1);
    let other = cluster.agent("10.0.0.2", "cpus:4;mem:1024");
    assert!(matches!(cluster.operate(&start(MACHINE)), Reply::BadRequest(_)), "it is not scheduled");
    assert_eq!(cluster.operate(&update(MACHINE, 5)), Reply::Ok);
    let refused =
        format!("Agent {} is part of a maintenance schedule under Machine 10.0.0.1 (10.0.0.1)", agent.id);
    let drain =
        format!(r#"{{"type":"DRAIN_AGENT","drain_agent":{{"agent_id":{{"value":"{}"}}}}}}"#, agent.id);
    assert_eq!(cluster.operate(&drain), Reply::BadRequest(refused));
    cluster.take_frames(agent.conn);
    cluster.take_events(&framework);
    assert_eq!(cluster.operate(&start(MACHINE)), Reply::Ok);
    let frames = cluster.take_frames(agent.conn);
    let [Body::Shutdown(shutdown)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(shutdown.reason, "Operator initiated 'Machine DOWN'");
    let events = cluster.take_events(&framework);
    assert!(events.iter().any(|event| event.contains("TASK_LOST")), "{events:?}");
    assert!(events.iter().any(|event| event.contains("RESCIND_INVERSE_OFFER")), "{events:?}");
    let agents: Vec<_> = cluster.master.agents().map(|agent| agent.id.to_string()).collect();
    assert_eq!(agents, [other.id]);
    let conn = cluster.conn();
    cluster.say(conn, Body::Hello(Cluster::hello("10.0.0.1", "cpus:4;mem:1024")));
    let frames = cluster.take_frames(conn);
    let [Body::Shutdown(shutdown)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(shutdown.reason, "Machine is `DOWN`");
    assert!(cluster.closed.contains(&conn));

    // It is down for another master, too, until maintenance stops.
    let mut cluster = Cluster::recover(config(), cluster.registry);
    let status = cluster.master.maintenance_status();
    assert_eq!((status.down_machines.len(), status.draining_machines.len()), (1, 0));
    let conn = cluster.conn();
    cluster.say(conn, Body::Hello(Cluster::hello("10.0.0.1", "cpus:4;mem:1024")));
    assert!(matches!(cluster.take_frames(conn)[..], [Body::Shutdown(_)]));
    assert_eq!(cluster.operate(&stop(MACHINE)), Reply::Ok);
    assert!(cluster.master.maintenance_schedule().windows.is_empty());
    cluster.agent("10.0.0.1", "cpus:4;mem:1024");
}

fn launch(agent: &Agent) -> String {
    format!(r#"{{"type":"LAUNCH","launch":{{"task_infos":[{}]}}}}"#, task(agent, "t"))
}

#[test]
fn mm37_who_uses_something_is_asked_and_who_does_not_is_not() {
    let (mut cluster, framework, agent) = offered();
    cluster.accept(&framework, &launch(&agent), 1_000_000.0);
    let other = cluster.subscribe(AWARE);
    cluster.framework_call(&other, r#""type":"SUPPRESS""#);
    for (id, offer) in cluster
        .master
        .offers()
        .map(|offer| (offer.framework_id.clone(), offer.id.clone()))
        .collect::<Vec<_>>()
    {
        let rest = format!(
            r#""type":"DECLINE","decline":{{"offer_ids":[{{"value":"{offer}"}}],"filters":{{"refuse_seconds":1000000}}}}"#
        );
        assert_eq!(id.as_str(), other.id);
        cluster.framework_call(&other, &rest);
    }
    cluster.take_events(&framework);
    cluster.take_events(&other);
    cluster.operate(&update(MACHINE, 5));
    assert_eq!(kinds(&cluster.take_events(&framework)), ["INVERSE_OFFERS"]);
    assert!(cluster.take_events(&other).is_empty());
    // Nobody is there to be asked; who is back is asked again.
    cluster.input(master_core::Input::SchedulerClosed { conn: framework.conn });
    let framework = cluster.resubscribe(&framework, AWARE);
    cluster.wait(Duration::from_secs(3));
    assert!(kinds(&cluster.take_events(&framework)).contains(&"INVERSE_OFFERS"));
}

#[test]
fn mm37_changes_are_made_one_after_the_other_when_they_are_durable() {
    let (mut cluster, _, _) = offered();
    cluster.persists = false;
    let set = cluster.ask(&update(MACHINE, 5));
    let started = cluster.ask(&start(MACHINE));
    let again = cluster.ask(&start(MACHINE));
    assert!(cluster.master.maintenance_schedule().windows.is_empty());
    cluster.persist();
    assert_eq!((cluster.answer(set), cluster.answer(started)), (Some(Reply::Ok), None));
    assert_eq!(cluster.master.maintenance_status().draining_machines.len(), 1);
    cluster.persist();
    assert_eq!(cluster.answer(started), Some(Reply::Ok));
    let text = r#"Machine '{"hostname":"10.0.0.1","ip":"10.0.0.1"}' is not in DRAINING mode and cannot be brought down"#;
    assert_eq!(cluster.answer(again), Some(Reply::BadRequest(text.to_owned())));
}

#[test]
fn mm37_an_inverse_offer_is_taken_back_in_time() {
    let mut cluster =
        Cluster::with(master_core::Config { offer_timeout: Some(Duration::from_secs(9)), ..config() });
    let framework = cluster.subscribe(AWARE);
    cluster.agent("10.0.0.1", "cpus:4;mem:1024");
    cluster.operate(&update(MACHINE, 5));
    cluster.take_events(&framework);
    cluster.wait(Duration::from_secs(8));
    assert!(cluster.take_events(&framework).is_empty());
    cluster.wait(Duration::from_secs(1));
    assert!(kinds(&cluster.take_events(&framework)).contains(&"RESCIND_INVERSE_OFFER"));
}
