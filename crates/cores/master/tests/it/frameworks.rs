use std::time::Duration;

use agent_link::Body;
use master_core::{Effect, Input, Reply};
use mesos_proto::v1::master::event::Type as Published;

use crate::cluster::{AWARE, Cluster, Framework, OLD, config, task};

const AGENT: &str = "cpus:4;mem:4096;disk:10240;ports:[31000-32000]";

fn published(cluster: &mut Cluster) -> Vec<&'static str> {
    let events = std::mem::take(&mut cluster.published);
    events.into_iter().map(|event| event.r#type().as_str_name()).collect()
}

#[test]
fn mm10_a_new_framework_gets_an_id_a_heartbeat_and_one_event_of_offers() {
    let mut cluster = Cluster::new();
    for host in ["a", "b"] {
        cluster.agent(host, AGENT);
    }
    published(&mut cluster);
    let framework = cluster.subscribe(AWARE);
    assert_eq!(framework.id, "m-0000");
    let kinds: Vec<_> =
        cluster.events[&framework.conn].iter().map(|event| event.r#type().as_str_name()).collect();
    assert_eq!(kinds, ["SUBSCRIBED", "HEARTBEAT", "OFFERS"]);
    let offers = cluster.take_offers(&framework);
    assert_eq!(offers.len(), 2);
    let mut offer = offers.into_iter().find(|offer| offer.hostname == "a").unwrap();
    offer.id.value = "m-O0".to_owned();
    assert_eq!(
        mesos_proto::json::to_json(&offer),
        r#"{"id":{"value":"m-O0"},"framework_id":{"value":"m-0000"},"agent_id":{"value":"m-S0"},"hostname":"a","url":{"scheme":"http","address":{"hostname":"a","port":5051},"path":"/slave(1)"},"resources":[{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":32000}]},"allocation_info":{"role":"golden"}},{"name":"cpus","type":"SCALAR","scalar":{"value":4.0},"allocation_info":{"role":"golden"}},{"name":"mem","type":"SCALAR","scalar":{"value":4096.0},"allocation_info":{"role":"golden"}},{"name":"disk","type":"SCALAR","scalar":{"value":10240.0},"allocation_info":{"role":"golden"}}],"allocation_info":{"role":"golden"}}"#
    );
    assert_eq!(published(&mut cluster), [Published::FrameworkAdded.as_str_name()]);
    assert_eq!(cluster.metric("master/frameworks/golden/m-0000/offers/sent"), 2.0);
    assert_eq!(cluster.subscribe(AWARE).id, "m-0001");
}

#[test]
fn mm15_a_framework_without_multi_role_sees_no_allocations() {
    let mut cluster = Cluster::new();
    cluster.agent("a", "cpus:1;mem(golden):64");
    let framework = cluster.subscribe(OLD);
    let offer = cluster.take_offers(&framework).remove(0);
    assert_eq!(offer.allocation_info, None);
    let resources: Vec<_> = offer.resources.iter().map(mesos_proto::json::to_json).collect();
    assert_eq!(
        resources,
        [
            r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1.0},"role":"*"}"#,
            r#"{"name":"mem","type":"SCALAR","scalar":{"value":64.0},"role":"golden"}"#
        ]
    );
}

#[test]
fn refusals_are_an_event_and_the_end_of_the_stream() {
    let mut cluster = Cluster::new();
    let mut check = |info: &str, text: &str| {
        let conn = cluster.try_subscribe(info);
        let events = cluster.events.remove(&conn).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].error.as_ref().map(|error| error.message.as_str()), Some(text));
        assert!(cluster.closed.contains(&conn));
        assert_eq!(cluster.master.frameworks().count(), 0);
    };
    check(
        r#"{"user":"root","name":"x","roles":["a"]}"#,
        "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable",
    );
    check(r#"{"user":"root","name":"x","id":{"value":"a/b"}}"#, "'a/b' contains invalid characters");
}

#[test]
fn an_unknown_framework_id_is_accepted() {
    let mut cluster = Cluster::new();
    let made_up = Framework { conn: cluster.conn(), id: "made-up-id".to_owned() };
    assert_eq!(cluster.resubscribe(&made_up, AWARE).id, "made-up-id");
}

#[test]
fn a_failover_ends_the_old_stream() {
    let mut cluster = Cluster::new();
    cluster.agent("host", AGENT);
    let old = cluster.subscribe(AWARE);
    cluster.take_offers(&old);
    let new = cluster.resubscribe(&old, AWARE);
    assert_eq!(
        cluster.take_events(&old),
        [r#"{"type":"ERROR","error":{"message":"Framework failed over"}}"#]
    );
    assert!(cluster.closed.contains(&old.conn));
    assert_eq!(cluster.take_offers(&new).len(), 1, "what was offered to the old stream is offered again");
    let reply = cluster.framework_call(&old, r#""type":"REVIVE""#);
    let text = format!(
        "The stream ID '{}' included in this request didn't match the stream ID currently associated with \
         framework ID m-0000",
        old.conn.0
    );
    assert_eq!(reply, Reply::BadRequest(text));
    // The end of the old stream is no end of the framework.
    cluster.input(Input::SchedulerClosed { conn: old.conn });
    assert_eq!(cluster.framework_call(&new, r#""type":"REVIVE""#), Reply::Accepted);
}

#[test]
fn calls_have_to_come_from_the_stream() {
    let mut cluster = Cluster::new();
    let framework = cluster.subscribe(AWARE);
    let revive = |id: &str| format!(r#"{{"type":"REVIVE","framework_id":{{"value":"{id}"}}}}"#);
    let conn = cluster.conn();
    let unknown = Reply::BadRequest("Framework cannot be found".to_owned());
    assert_eq!(cluster.call(conn, &revive("nope"), Some("1".to_owned())), unknown);
    let conn = cluster.conn();
    let missing = "All non-subscribe calls should include the 'Mesos-Stream-Id' header";
    assert_eq!(cluster.call(conn, &revive(&framework.id), None), Reply::BadRequest(missing.to_owned()));
    cluster.input(Input::SchedulerClosed { conn: framework.conn });
    let disconnected = Reply::Forbidden("Framework is not subscribed".to_owned());
    assert_eq!(cluster.framework_call(&framework, r#""type":"REVIVE""#), disconnected);
}

#[test]
fn mm42_a_framework_that_does_not_come_back_is_removed_with_its_tasks() {
    let mut cluster = Cluster::new();
    let agent = cluster.agent("host", AGENT);
    let framework = cluster.subscribe(AWARE);
    cluster.launch(&framework, &[task(&agent, "t")]);
    cluster.take_frames(agent.conn);
    cluster.input(Input::SchedulerClosed { conn: framework.conn });
    cluster.wait(Duration::from_secs(59));
    assert!(cluster.master.framework(&"m-0000".into()).is_some());
    assert!(cluster.take_frames(agent.conn).is_empty());
    published(&mut cluster);
    cluster.wait(Duration::from_secs(1));
    assert!(cluster.master.framework(&"m-0000".into()).is_none());
    assert!(matches!(&cluster.take_frames(agent.conn)[..], [Body::ShutdownFramework(_)]));
    assert_eq!(published(&mut cluster), ["TASK_UPDATED", "FRAMEWORK_REMOVED"]);
    let completed = cluster.master.completed_frameworks().next().unwrap();
    assert_eq!(completed.completed_tasks[0].state().as_str_name(), "TASK_KILLED");
    assert!(completed.unregistered.is_some());
    assert!(cluster.master.agent(&agent.id.as_str().into()).unwrap().used.is_empty());

    let rest = AWARE.strip_prefix('{').unwrap();
    let conn = cluster.try_subscribe(&format!(r#"{{"id":{{"value":"{}"}},{rest}"#, framework.id));
    let error = cluster.events[&conn][0].error.clone().unwrap();
    assert_eq!(error.message, "Framework has been removed");
}

#[test]
fn mm42_coming_back_in_time_keeps_the_framework() {
    let mut cluster = Cluster::new();
    let framework = cluster.subscribe(AWARE);
    cluster.input(Input::SchedulerClosed { conn: framework.conn });
    cluster.wait(Duration::from_secs(50));
    let framework = cluster.resubscribe(&framework, AWARE);
    cluster.wait(Duration::from_secs(50));
    assert!(cluster.master.framework(&framework.id.as_str().into()).unwrap().is_connected());
}

#[test]
fn mm44_teardown_by_framework_and_by_operator() {
    let mut cluster = Cluster::new();
    let (one, other) = (cluster.subscribe(AWARE), cluster.subscribe(AWARE));
    assert_eq!(cluster.framework_call(&one, r#""type":"TEARDOWN""#), Reply::Accepted);
    assert!(cluster.closed.contains(&one.conn));
    assert_eq!(
        cluster.framework_call(&one, r#""type":"REVIVE""#),
        Reply::BadRequest("Framework cannot be found".to_owned())
    );
    let conn = cluster.conn();
    let call = format!(r#"{{"type":"TEARDOWN","teardown":{{"framework_id":{{"value":"{}"}}}}}}"#, other.id);
    let call = Box::new(mesos_proto::json::from_json(call.as_bytes()).unwrap());
    cluster.input(Input::OperatorCall { conn, call, principal: None });
    assert!(cluster.closed.contains(&other.conn));
    assert_eq!(cluster.master.completed_frameworks().count(), 2);
}

#[test]
fn mm48_only_so_many_completed_frameworks_are_remembered() {
    let mut cluster = Cluster::new();
    for _ in 0..60 {
        let framework = cluster.subscribe(AWARE);
        cluster.framework_call(&framework, r#""type":"TEARDOWN""#);
    }
    assert_eq!(cluster.master.completed_frameworks().count(), 50);
}

#[test]
fn heartbeats_every_fifteen_seconds() {
    let mut cluster = Cluster::new();
    let framework = cluster.subscribe(AWARE);
    cluster.events.clear();
    cluster.wait(Duration::from_secs(14));
    assert!(cluster.events.is_empty());
    cluster.wait(Duration::from_secs(31));
    assert_eq!(cluster.events[&framework.conn].len(), 3);
    cluster.input(Input::SchedulerClosed { conn: framework.conn });
    cluster.events.clear();
    cluster.wait(Duration::from_secs(59));
    assert!(cluster.events.is_empty());
}

#[test]
fn mm17_declined_offers_come_back_after_the_filter() {
    let mut cluster = Cluster::new();
    cluster.agent("host", AGENT);
    let framework = cluster.subscribe(AWARE);
    let mut decline = |filters: &str, back: Duration| {
        let offer = cluster.take_offers(&framework).remove(0);
        let id = mesos_proto::json::to_json(&offer.id);
        cluster.framework_call(
            &framework,
            &format!(r#""type":"DECLINE","decline":{{"offer_ids":[{id}]{filters}}}"#),
        );
        assert_eq!(cluster.master.offers().count(), 0);
        let before = back - Duration::from_millis(1);
        cluster.wait(before);
        assert_eq!(cluster.master.offers().count(), 0, "{filters}");
        cluster.wait(Duration::from_millis(1));
        assert_eq!(cluster.master.offers().count(), 1, "{filters}");
    };
    decline("", Duration::from_secs(5));
    decline(r#","filters":{"refuse_seconds":3}"#, Duration::from_secs(3));
    decline(r#","filters":{"refuse_seconds":-7}"#, Duration::from_secs(5));
    decline(r#","filters":{"refuse_seconds":0}"#, Duration::from_secs(1));
    assert_eq!(cluster.metric("master/frameworks/golden/m-0000/offers/declined"), 4.0);
}

#[test]
fn mm17_suppressed_roles_are_not_offered_until_revived() {
    let mut cluster = Cluster::new();
    let framework = cluster.subscribe(AWARE);
    cluster.framework_call(&framework, r#""type":"SUPPRESS""#);
    assert_eq!(cluster.metric("master/frameworks/golden/m-0000/roles/golden/suppressed"), 1.0);
    cluster.agent("host", AGENT);
    assert!(cluster.offered(&framework).is_empty());
    cluster.framework_call(&framework, r#""type":"REVIVE","revive":{"roles":["golden"]}"#);
    assert_eq!(cluster.offered(&framework).len(), 1);
    assert_eq!(cluster.metric("master/frameworks/golden/m-0000/roles/golden/suppressed"), 0.0);
}

#[test]
fn mm20_unanswered_offers_are_rescinded_if_there_is_a_timeout() {
    let mut config = config();
    config.offer_timeout = Some(Duration::from_secs(10));
    let mut cluster = Cluster::with(config);
    cluster.agent("host", AGENT);
    let framework = cluster.subscribe(AWARE);
    assert_eq!(cluster.offered(&framework).len(), 1);
    cluster.wait(Duration::from_secs(10));
    let events = cluster.take_events(&framework);
    assert_eq!(events[0], r#"{"type":"RESCIND","rescind":{"offer_id":{"value":"m-O0"}}}"#);
    assert!(events[1].starts_with(r#"{"type":"OFFERS""#) && events.len() == 2);
}

#[test]
fn mm43_mp06_updates_of_frameworks() {
    let mut cluster = Cluster::new();
    cluster.agent("host", AGENT);
    let framework = cluster.subscribe(AWARE);
    assert_eq!(cluster.offered(&framework).len(), 1);
    let mut update = |info: &str| {
        let info = info.replace("golden", "silver").replacen('{', r#"{"id":{"value":"m-0000"},"#, 1);
        let rest = format!(r#""type":"UPDATE_FRAMEWORK","update_framework":{{"framework_info":{info}}}"#);
        cluster.framework_call(&framework, &rest)
    };
    assert_eq!(
        update(&AWARE.replace("root", "other")),
        Reply::BadRequest(
            "FrameworkInfo update is not valid: Updating 'FrameworkInfo.user' is unsupported; attempted to \
             update from 'root' to 'other'"
                .to_owned()
        )
    );
    assert_eq!(
        update(&AWARE.replace("[\"golden\"]", "[\"a b\"]")),
        Reply::BadRequest(
            "Supplied FrameworkInfo is not valid: 'FrameworkInfo.roles' contains invalid role: Role component \
             'a b' is invalid because it contains backspace or whitespace"
                .to_owned()
        )
    );
    assert_eq!(update(AWARE), Reply::Ok);
    let events = cluster.take_events(&framework);
    assert!(events[0].starts_with(r#"{"type":"RESCIND""#), "the role was left: {events:?}");
    assert!(events[1].contains(r#""allocation_info":{"role":"silver"}"#));
    assert_eq!(cluster.published.last().unwrap().r#type(), Published::FrameworkUpdated);
}

#[test]
fn who_proved_to_be_somebody_cannot_be_somebody_else() {
    let mut cluster = Cluster::new();
    let mut subscribe = |said: &str, proved: &str| {
        let info = AWARE.replacen('{', &format!(r#"{{"principal":"{said}","#), 1);
        let call = format!(r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{info}}}}}"#);
        let call = Box::new(mesos_proto::json::from_json(call.as_bytes()).unwrap());
        let conn = cluster.conn();
        let (stream_id, principal) = (Some("s".to_owned()), Some(base::Principal::named(proved)));
        let mut out = Vec::new();
        let input = Input::SchedulerCall { conn, call, stream_id, principal };
        cluster.master.handle(cluster.now, input, &mut out);
        cluster.master.check();
        match out.swap_remove(0) {
            Effect::Reply { reply, .. } => reply,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(subscribe("a", "a"), Reply::Streaming);
    assert_eq!(
        subscribe("a", "b"),
        Reply::BadRequest(
            "Failed to validate scheduler::Call: Authenticated principal 'b' does not match principal 'a' set in \
             `FrameworkInfo`"
                .to_owned()
        )
    );
}

#[test]
fn agents_hear_that_a_framework_is_back() {
    let mut cluster = Cluster::new();
    let busy = cluster.agent("a", AGENT);
    let framework = cluster.subscribe(AWARE);
    let tasks = [task(&busy, "t")];
    cluster.launch(&framework, &tasks);
    let idle = cluster.agent("b", AGENT);
    cluster.input(Input::SchedulerClosed { conn: framework.conn });
    cluster.take_frames(busy.conn);
    cluster.take_frames(idle.conn);
    cluster.resubscribe(&framework, AWARE);
    assert!(matches!(&cluster.take_frames(busy.conn)[..], [Body::UpdateFramework(_)]));
    assert!(cluster.take_frames(idle.conn).is_empty(), "it has nothing of the framework");
}

#[test]
fn agents_that_come_back_hear_what_their_frameworks_have_become() {
    let mut cluster = Cluster::new();
    let agent = cluster.agent("host", AGENT);
    let framework = cluster.subscribe(AWARE);
    for silent in [false, true] {
        cluster.close(&agent, silent);
        let hello = Cluster::comes_back(&agent, AGENT, Some((&framework, AWARE)));
        let conn = cluster.conn();
        cluster.say(conn, Body::Hello(hello.clone()));
        assert!(matches!(&cluster.take_frames(conn)[..], [Body::Welcome(_)]), "it knows");
        cluster.input(Input::AgentClosed { conn, silent });

        let mut hello = hello;
        hello.frameworks[0].name = "before".to_owned();
        let conn = cluster.conn();
        cluster.say(conn, Body::Hello(hello));
        let frames = cluster.take_frames(conn);
        let [Body::Welcome(_), Body::UpdateFramework(update)] = &frames[..] else { panic!("{frames:?}") };
        let known = cluster.master.framework(&framework.id.as_str().into()).unwrap();
        assert_eq!(update.framework.as_ref(), Some(&*known.info));
        cluster.input(Input::AgentClosed { conn, silent });
    }
}
