//! Operations on resources: by ACCEPT and by operators, with their feedback, over reconnects and failovers.

use agent_link::{Body, OperationUpdate};
use master_core::Reply;
use mesos_proto::json::to_json;
use mesos_proto::v1::{self, OperationState, scheduler};
use resources::{Conversion, Resources, WireForm, conversions};

use crate::cluster::{AWARE, Agent, Cluster, Framework, uuid_bytes};

const OLD_TEXT: &str = "cpus:4;mem:1024";

fn agent(cluster: &mut Cluster) -> Agent {
    let mut hello = Cluster::hello("host", OLD_TEXT);
    hello.capabilities = vec!["AGENT_OPERATION_FEEDBACK".to_owned()];
    cluster.connect(hello)
}

fn cpus(amount: &str, reservation: &str) -> String {
    format!(
        r#"{{"name":"cpus","type":"SCALAR","scalar":{{"value":{amount}}},"reservations":[{reservation}]}}"#
    )
}

const GOLDEN: &str = r#"{"type":"DYNAMIC","role":"golden"}"#;

fn reserve(id: &str, resource: &str) -> String {
    format!(r#"{{"type":"RESERVE","id":{{"value":"{id}"}},"reserve":{{"resources":[{resource}]}}}}"#)
}

fn unreserve(id: &str, resource: &str) -> String {
    format!(r#"{{"type":"UNRESERVE","id":{{"value":"{id}"}},"unreserve":{{"resources":[{resource}]}}}}"#)
}

/// The operations that an agent was told to apply.
fn applied(cluster: &mut Cluster, agent: &Agent) -> Vec<agent_link::ApplyOperation> {
    let told = cluster.take_frames(agent.conn).into_iter();
    told.filter_map(|body| match body {
        Body::ApplyOperation(apply) => Some(apply),
        _ => None,
    })
    .collect()
}

/// How the agent tells that it has done what it was told, as its update number `uuid`.
fn finished(agent: &Agent, apply: &agent_link::ApplyOperation, uuid: Option<u8>) -> OperationUpdate {
    let status = v1::OperationStatus {
        operation_id: apply.info.as_ref().unwrap().id.clone(),
        state: OperationState::OperationFinished.into(),
        uuid: uuid.map(|uuid| v1::Uuid { value: uuid_bytes(uuid) }),
        agent_id: Some(v1::AgentId { value: agent.id.clone() }),
        ..v1::OperationStatus::default()
    };
    OperationUpdate {
        operation_uuid: apply.operation_uuid.clone(),
        framework_id: apply.framework_id.clone(),
        latest: Some(status.clone()),
        status: Some(status),
    }
}

fn acknowledge(cluster: &mut Cluster, framework: &Framework, agent: &Agent, id: &str, uuid: u8) {
    let call = scheduler::call::AcknowledgeOperationStatus {
        agent_id: Some(v1::AgentId { value: agent.id.clone() }),
        uuid: uuid_bytes(uuid),
        operation_id: v1::OperationId { value: id.to_owned() },
        ..Default::default()
    };
    let rest =
        format!(r#""type":"ACKNOWLEDGE_OPERATION_STATUS","acknowledge_operation_status":{}"#, to_json(&call));
    assert_eq!(cluster.framework_call(framework, &rest), Reply::Accepted);
}

fn total(cluster: &Cluster, agent: &Agent) -> String {
    cluster.master.agent(&agent.id.as_str().into()).unwrap().total.to_string()
}

fn operator(cluster: &mut Cluster, json: &str) -> Reply {
    cluster.operate(json)
}

fn operator_reserves(cluster: &mut Cluster, agent: &str, resource: &str) -> Reply {
    operator(
        cluster,
        &format!(
            r#"{{"type":"RESERVE_RESOURCES","reserve_resources":{{"agent_id":{{"value":"{agent}"}},"resources":[{resource}]}}}}"#
        ),
    )
}

fn operator_unreserves(cluster: &mut Cluster, agent: &str, resource: &str) -> Reply {
    operator(
        cluster,
        &format!(
            r#"{{"type":"UNRESERVE_RESOURCES","unreserve_resources":{{"agent_id":{{"value":"{agent}"}},"resources":[{resource}]}}}}"#
        ),
    )
}

#[test]
fn mm25_mp03_mp06_a_framework_reserves_and_takes_it_back() {
    let mut cluster = Cluster::new();
    let agent = agent(&mut cluster);
    let framework = cluster.subscribe(AWARE);
    let operation = reserve("one", &cpus("1", GOLDEN));
    assert_eq!(cluster.accept(&framework, &operation, 0.0), Reply::Accepted);
    let [apply] = &applied(&mut cluster, &agent)[..] else { panic!("one operation") };
    let info = apply.info.as_ref().unwrap();
    assert_eq!(
        to_json(info.reserve.as_ref().unwrap()),
        r#"{"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1.0},"allocation_info":{"role":"golden"},"reservations":[{"type":"DYNAMIC","role":"golden"}]}]}"#
    );
    assert_eq!(total(&cluster, &agent), "cpus:3; cpus(reservations: [(DYNAMIC,golden)]):1; mem:1024");
    cluster.wait(std::time::Duration::from_secs(1));
    assert_eq!(cluster.offered(&framework), ["cpus:3; cpus(reservations: [(DYNAMIC,golden)]):1; mem:1024"]);

    let update = finished(&agent, apply, Some(7));
    for _ in 0..2 {
        // It is told again until it is acknowledged.
        cluster.say(agent.conn, Body::OperationUpdate(update.clone()));
        let [event] = &cluster.take_events(&framework)[..] else { panic!("one event") };
        assert!(
            event.contains(r#""state":"OPERATION_FINISHED""#) && event.contains(r#""value":"one""#),
            "{event}"
        );
        assert!(event.contains(r#""uuid""#) && event.contains(&agent.id), "{event}");
    }
    assert_eq!(cluster.master.operations().count(), 1);
    acknowledge(&mut cluster, &framework, &agent, "one", 9);
    assert_eq!(cluster.master.operations().count(), 1, "another update is meant");
    acknowledge(&mut cluster, &framework, &agent, "one", 7);
    assert_eq!(cluster.master.operations().count(), 0);
    let frames = cluster.take_frames(agent.conn);
    let [Body::AcknowledgeOperation(told)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((&told.operation_uuid, &told.status_uuid), (&apply.operation_uuid, &uuid_bytes(7)));
    // The acknowledgement was on its way when the agent told it again.
    cluster.say(agent.conn, Body::OperationUpdate(update));
    assert!(cluster.take_events(&framework).is_empty());
    assert!(matches!(&cluster.take_frames(agent.conn)[..], [Body::AcknowledgeOperation(_)]));

    let operation = unreserve("two", &cpus("1", GOLDEN));
    assert_eq!(cluster.accept(&framework, &operation, 0.0), Reply::Accepted);
    assert_eq!(applied(&mut cluster, &agent).len(), 1);
    assert_eq!(total(&cluster, &agent), "cpus:4; mem:1024");
}

#[test]
fn mm25_what_is_reserved_can_be_used_at_once() {
    let mut cluster = Cluster::new();
    let agent = agent(&mut cluster);
    let framework = cluster.subscribe(AWARE);
    let reserved = cpus("1", GOLDEN);
    let memory = r#"{"name":"mem","type":"SCALAR","scalar":{"value":32}}"#;
    let task = format!(
        r#"{{"name":"t","task_id":{{"value":"t"}},"agent_id":{{"value":"{}"}},"command":{{"value":"x"}},"resources":[{reserved},{memory}]}}"#,
        agent.id
    );
    let operations =
        format!(r#"{},{{"type":"LAUNCH","launch":{{"task_infos":[{task}]}}}}"#, reserve("one", &reserved));
    assert_eq!(cluster.accept(&framework, &operations, 0.0), Reply::Accepted);
    let frames = cluster.take_frames(agent.conn);
    assert!(matches!(&frames[..], [Body::ApplyOperation(_), Body::RunTask(_)]), "in this order: {frames:?}");
}

#[test]
fn mm25_mm26_mm27_mm28_operations_that_cannot_be_are_refused() {
    let mut cluster = Cluster::new();
    let _agent = agent(&mut cluster);
    let framework = cluster.subscribe(&AWARE.replacen('{', r#"{"principal":"p","#, 1));
    let mut check = |operation: &str, text: &str| {
        cluster.wait(std::time::Duration::from_secs(1));
        assert_eq!(cluster.accept(&framework, operation, 0.0), Reply::Accepted);
        let events = cluster.take_events(&framework);
        let error = events.iter().find(|event| event.contains("OPERATION_ERROR"));
        let error = error.unwrap_or_else(|| panic!("{operation}: {events:?}"));
        assert!(error.contains(text), "{error}");
        assert!(!error.contains("uuid") && !error.contains("agent_id"), "nobody acknowledges it: {error}");
    };
    let mine = r#"{"type":"DYNAMIC","role":"golden","principal":"p"}"#;
    let other = r#"{"type":"DYNAMIC","role":"golden","principal":"q"}"#;
    check(
        &reserve("o", &cpus("900", mine)),
        "cpus(allocated: golden):4; mem(allocated: golden):1024 does not contain cpus(allocated: golden):900",
    );
    check(
        &reserve("o", &cpus("1", "")),
        "is not dynamically reserved; on agent m-S0 at slave(1)@host:5051 (host)",
    );
    check(
        &reserve("o", &cpus("1", GOLDEN)),
        "A reserve operation was attempted by principal 'p', but there is a reserved resource in the request with \
         no principal set",
    );
    check(
        &reserve("o", &cpus("1", other)),
        "A reserve operation was attempted by authenticated principal 'p', which does not match a reserved \
         resource in the request with principal 'q'",
    );
    check(
        &reserve("o", &cpus("1", &mine.replace("golden", "silver"))),
        "A reserve operation was attempted for a resource with role 'silver', but the resource was allocated to \
         role 'golden'",
    );
    check(&reserve("o", &cpus("-1", mine)), "Invalid scalar resource: value <= 0");
    check(
        r#"{"type":"RESERVE","id":{"value":"o"},"reserve":{"resources":[]}}"#,
        "Invalid resources: The resources have multiple resource providers: ",
    );
    check(
        r#"{"type":"RESERVE","id":{"value":"o"}}"#,
        "A RESERVE offer operation must have the Offer.Operation.reserve field set.",
    );
    check(&unreserve("o", &cpus("1", "")), "is not dynamically reserved; on agent");
    check(&unreserve("o", &cpus("1", mine)), "does not contain");
    let moved = |from: &str, to: &str| {
        format!(
            r#"{{"type":"RESERVE","id":{{"value":"o"}},"reserve":{{"source":[{from}],"resources":[{to}]}}}}"#
        )
    };
    check(
        &moved(&cpus("1", mine), &cpus("2", mine)),
        "Source and target resources should refer to identical resource quantities: cpus(allocated: golden):1 vs. \
         cpus(allocated: golden):2",
    );
    check(r#"{"type":"CREATE_DISK","id":{"value":"o"}}"#, "CREATE_DISK is not supported by this master");
    assert!(cluster.master.agents().all(|agent| agent.total == Resources::parse(OLD_TEXT).unwrap()));
}

#[test]
fn mm27_mm28_a_reservation_is_refined_and_changed_in_place() {
    let mut cluster = Cluster::new();
    let agent = agent(&mut cluster);
    let framework = cluster.subscribe(&AWARE.replace(r#"["golden"]"#, r#"["golden","golden/a"]"#));
    assert_eq!(operator_reserves(&mut cluster, &agent.id, &cpus("2", GOLDEN)), Reply::Accepted);
    let labelled = GOLDEN.replace('}', r#","labels":{"labels":[{"key":"k","value":"v"}]}}"#);
    let call = format!(
        r#"{{"type":"RESERVE_RESOURCES","reserve_resources":{{"agent_id":{{"value":"{}"}},"source":[{}],"resources":[{}]}}}}"#,
        agent.id,
        cpus("1", GOLDEN),
        cpus("1", &labelled)
    );
    assert_eq!(operator(&mut cluster, &call), Reply::Accepted);
    let refined = format!(r#"{GOLDEN},{{"type":"DYNAMIC","role":"golden/a"}}"#);
    assert_eq!(operator_reserves(&mut cluster, &agent.id, &cpus("1", &refined)), Reply::Accepted);
    let text = total(&cluster, &agent);
    assert!(text.contains("cpus(reservations: [(DYNAMIC,golden,{k: v})]):1"), "{text}");
    assert!(text.contains("cpus(reservations: [(DYNAMIC,golden),(DYNAMIC,golden/a)]):1"), "{text}");
    cluster.wait(std::time::Duration::from_secs(6));
    let events = cluster.take_events(&framework).concat();
    assert!(events.contains(r#""role":"golden/a""#) && events.contains(r#""key":"k""#), "{events}");
}

#[test]
fn mp16_an_operator_reserves_what_is_free_or_offered() {
    let mut cluster = Cluster::new();
    let agent = agent(&mut cluster);
    let framework = cluster.subscribe(AWARE);
    assert_eq!(cluster.take_offers(&framework).len(), 1);
    let ops = r#"{"type":"DYNAMIC","role":"ops","principal":"me"}"#;
    assert_eq!(
        operator_reserves(&mut cluster, "nope", &cpus("1", ops)),
        Reply::BadRequest("No agent found with specified ID".to_owned())
    );
    assert_eq!(operator_reserves(&mut cluster, &agent.id, &cpus("1", ops)), Reply::Accepted);
    let events = cluster.take_events(&framework);
    assert!(events.first().is_some_and(|event| event.contains("RESCIND")), "{events:?}");
    let [apply] = &applied(&mut cluster, &agent)[..] else { panic!("one operation") };
    assert_eq!(apply.framework_id, None);
    cluster.say(agent.conn, Body::OperationUpdate(finished(&agent, apply, None)));
    assert_eq!(cluster.master.operations().count(), 0, "nobody acknowledges what an operator asked for");
    assert_eq!(
        operator_reserves(&mut cluster, &agent.id, &cpus("1000", ops)),
        Reply::Conflict(
            "cpus:3; cpus(reservations: [(DYNAMIC,ops,me)]):1; mem:1024 does not contain cpus:1000"
                .to_owned()
        )
    );
    let allocated = cpus("1", ops).replacen('{', r#"{"allocation_info":{"role":"ops"},"#, 1);
    assert_eq!(
        operator_reserves(&mut cluster, &agent.id, &allocated),
        Reply::BadRequest(
            "Invalid RESERVE operation on agent m-S0 at slave(1)@host:5051 (host): A reserve operation was \
             attempted with an allocated resource, but the operator API only allows reservations to be made to \
             unallocated resources"
                .to_owned()
        )
    );
    assert_eq!(operator_unreserves(&mut cluster, &agent.id, &cpus("1", ops)), Reply::Accepted);
    assert_eq!(total(&cluster, &agent), "cpus:4; mem:1024");
    let Reply::Conflict(text) = operator_unreserves(&mut cluster, &agent.id, &cpus("1", ops)) else {
        panic!("it is not reserved any more")
    };
    // Offers that hold nothing of it stay.
    assert_eq!(text, "{} does not contain cpus(reservations: [(DYNAMIC,ops,me)]):1");
}

#[test]
fn mm41_what_was_lost_with_a_connection_is_dropped() {
    let mut cluster = Cluster::new();
    let agent = agent(&mut cluster);
    let framework = cluster.subscribe(AWARE);
    assert_eq!(cluster.accept(&framework, &reserve("one", &cpus("1", GOLDEN)), 0.0), Reply::Accepted);
    cluster.close(&agent, false);
    cluster.take_events(&framework);
    let again = cluster.connect(Cluster::comes_back(&agent, OLD_TEXT, None));
    let events = cluster.take_events(&framework).concat();
    assert!(events.contains("OPERATION_DROPPED") && events.contains(r#""one""#), "{events}");
    assert_eq!(total(&cluster, &again), "cpus:4; mem:1024");
    assert_eq!(cluster.master.operations().count(), 0);
}

#[test]
fn mm41_a_new_master_takes_over_what_is_not_acknowledged() {
    let mut old = Cluster::new();
    let agent = agent(&mut old);
    let framework = old.subscribe(AWARE);
    assert_eq!(old.accept(&framework, &reserve("one", &cpus("1", GOLDEN)), 0.0), Reply::Accepted);
    let [apply] = &applied(&mut old, &agent)[..] else { panic!("one operation") };
    let update = finished(&agent, apply, Some(7));

    let mut cluster = Cluster::recover(crate::cluster::config(), old.registry);
    let mut hello = Cluster::comes_back(&agent, OLD_TEXT, None);
    let mut has = Resources::parse(OLD_TEXT).unwrap();
    let made = conversions(apply.info.as_ref().unwrap()).unwrap();
    has.apply(&made.iter().map(Conversion::unallocated).collect::<Vec<_>>()).unwrap();
    hello.total = has.to_wire(WireForm::Refined);
    let status = update.status.clone().unwrap();
    hello.operations.push(v1::Operation {
        framework_id: apply.framework_id.clone(),
        agent_id: status.agent_id.clone(),
        info: *apply.info.clone().unwrap(),
        latest_status: status.clone(),
        statuses: vec![status],
        uuid: v1::Uuid { value: apply.operation_uuid.clone() },
    });
    let agent = cluster.connect(hello);
    assert_eq!(total(&cluster, &agent), "cpus:3; cpus(reservations: [(DYNAMIC,golden)]):1; mem:1024");
    // The framework is not back: it will be told when it is.
    cluster.say(agent.conn, Body::OperationUpdate(update.clone()));
    assert!(cluster.take_frames(agent.conn).is_empty());
    let framework = cluster.resubscribe(&framework, AWARE);
    cluster.take_events(&framework);
    cluster.say(agent.conn, Body::OperationUpdate(update));
    assert!(cluster.take_events(&framework).concat().contains("OPERATION_FINISHED"));
    acknowledge(&mut cluster, &framework, &agent, "one", 7);
    assert_eq!(cluster.master.operations().count(), 0);
}

#[test]
fn mm41_nobody_waits_for_a_framework_that_is_gone() {
    let mut cluster = Cluster::new();
    let agent = agent(&mut cluster);
    let framework = cluster.subscribe(AWARE);
    assert_eq!(cluster.accept(&framework, &reserve("one", &cpus("1", GOLDEN)), 0.0), Reply::Accepted);
    let [apply] = &applied(&mut cluster, &agent)[..] else { panic!("one operation") };
    cluster.framework_call(&framework, r#""type":"TEARDOWN""#);
    assert_eq!(cluster.master.operations().count(), 1);
    cluster.say(agent.conn, Body::OperationUpdate(finished(&agent, apply, Some(7))));
    assert_eq!(cluster.master.operations().count(), 0);
    assert!(matches!(&cluster.take_frames(agent.conn)[..], [Body::AcknowledgeOperation(_)]));
    assert!(total(&cluster, &agent).contains("DYNAMIC,golden"), "a reservation outlives who made it");
}

#[test]
fn mm25_an_agent_that_does_not_find_what_it_is_to_take_is_asked_what_it_has() {
    let mut cluster = Cluster::new();
    let agent = agent(&mut cluster);
    let framework = cluster.subscribe(AWARE);
    assert_eq!(cluster.accept(&framework, &reserve("one", &cpus("1", GOLDEN)), 0.0), Reply::Accepted);
    let [apply] = &applied(&mut cluster, &agent)[..] else { panic!("one operation") };
    let mut update = finished(&agent, apply, None);
    update.status.as_mut().unwrap().state = OperationState::OperationDropped.into();
    cluster.say(agent.conn, Body::OperationUpdate(update));
    assert!(cluster.closed.contains(&agent.conn));
    assert!(cluster.take_events(&framework).concat().contains("OPERATION_DROPPED"));
    let again = cluster.connect(Cluster::comes_back(&agent, OLD_TEXT, None));
    assert_eq!(total(&cluster, &again), "cpus:4; mem:1024");
}

#[test]
fn mp06_operations_are_reconciled() {
    let mut cluster = Cluster::new();
    let agent = agent(&mut cluster);
    let framework = cluster.subscribe(AWARE);
    assert_eq!(cluster.accept(&framework, &reserve("one", &cpus("1", GOLDEN)), 0.0), Reply::Accepted);
    cluster.take_events(&framework);
    let mut check = |asked: &str, expect: &[&str]| {
        let rest =
            format!(r#""type":"RECONCILE_OPERATIONS","reconcile_operations":{{"operations":[{asked}]}}"#);
        assert_eq!(cluster.framework_call(&framework, &rest), Reply::Accepted);
        let events = cluster.take_events(&framework);
        assert_eq!(events.len(), expect.len(), "{events:?}");
        for (event, text) in events.iter().zip(expect) {
            assert!(event.contains(text) && !event.contains("uuid"), "{event}");
        }
    };
    check("", &["OPERATION_PENDING"]);
    check(r#"{"operation_id":{"value":"one"}}"#, &["OPERATION_PENDING"]);
    check(
        r#"{"operation_id":{"value":"x"}}"#,
        &["Reconciliation: Operation is unknown and no 'agent_id' was provided"],
    );
    check(
        r#"{"operation_id":{"value":"x"},"agent_id":{"value":"nope"}}"#,
        &["Reconciliation: Both operation and agent are unknown"],
    );
    let here = format!(r#"{{"operation_id":{{"value":"x"}},"agent_id":{{"value":"{}"}}}}"#, agent.id);
    check(&here, &[r#""message":"Reconciliation: Operation is unknown""#]);
}

#[test]
fn mm24_static_reservations_stay() {
    let mut cluster = Cluster::new();
    let agent = cluster.agent("host", "cpus(golden):2;mem:64");
    let fixed = cpus("2", r#"{"type":"STATIC","role":"golden"}"#);
    let Reply::BadRequest(text) = operator_unreserves(&mut cluster, &agent.id, &fixed) else {
        panic!("it is the configuration's")
    };
    assert!(text.contains("is not dynamically reserved"), "{text}");
}

#[test]
fn an_agent_of_an_older_link_gets_no_operations() {
    let mut cluster = Cluster::new();
    let mut hello = Cluster::hello("host", OLD_TEXT);
    hello.max_version = 1;
    let agent = cluster.connect(hello);
    let reply = operator_reserves(&mut cluster, &agent.id, &cpus("1", GOLDEN));
    assert_eq!(reply, Reply::Conflict("Agent m-S0 does not know operations on resources".to_owned()));
    assert_eq!(total(&cluster, &agent), "cpus:4; mem:1024");
}
