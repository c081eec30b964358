use agent_link::Body;
use master_core::Reply;
use mesos_proto::v1::TaskState;

use crate::cluster::{AWARE, Agent, CPUS, Cluster, Framework, MEM, OLD, task, task_with};

const AGENT: &str = "cpus:4;mem:4096;disk:10240;ports:[31000-32000]";

pub(crate) fn started() -> (Cluster, Framework, Agent) {
    let mut cluster = Cluster::new();
    let agent = cluster.agent("host", AGENT);
    let framework = cluster.subscribe(AWARE);
    (cluster, framework, agent)
}

fn update(task: &str, state: &str, text: &str, reason: &str, agent: &str) -> String {
    format!(
        r#"{{"type":"UPDATE","update":{{"status":{{"task_id":{{"value":"{task}"}},"state":"{state}","message":"{text}","source":"SOURCE_MASTER","reason":"{reason}","agent_id":{{"value":"{agent}"}}}}}}}}"#
    )
}

#[test]
fn the_life_of_a_task() {
    let (mut cluster, framework, agent) = started();
    cluster.published.clear();
    cluster.launch(&framework, &[task(&agent, "t")]);
    let frames = cluster.take_frames(agent.conn);
    let [Body::RunTask(run)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(run.framework.as_ref().unwrap().id.as_ref().unwrap().value, "m-0000");
    let sent = mesos_proto::json::to_json(run.task.as_ref().unwrap());
    assert!(sent.contains(r#""scalar":{"value":0.1},"allocation_info":{"role":"golden"}"#), "{sent}");
    assert_eq!(
        mesos_proto::json::to_json(&cluster.published[0]),
        r#"{"type":"TASK_ADDED","task_added":{"task":{"name":"t","task_id":{"value":"t"},"framework_id":{"value":"m-0000"},"agent_id":{"value":"m-S0"},"state":"TASK_STAGING","resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1},"allocation_info":{"role":"golden"}},{"name":"mem","type":"SCALAR","scalar":{"value":32.0},"allocation_info":{"role":"golden"}}]}}}"#
    );
    cluster.published.clear();
    assert_eq!(cluster.metric("master/tasks_staging"), 1.0);
    assert_eq!(cluster.metric("master/cpus_used"), 0.1);
    cluster.wait(std::time::Duration::from_secs(1));
    assert_eq!(cluster.offered(&framework), ["ports:[31000-32000]; cpus:3.9; mem:4064; disk:10240"]);

    for (uuid, state) in [(1, TaskState::TaskStarting), (2, TaskState::TaskRunning)] {
        cluster.update(&agent, &framework, "t", state, uuid);
        assert_eq!(
            cluster.take_events(&framework),
            [format!(
                r#"{{"type":"UPDATE","update":{{"status":{}}}}}"#,
                mesos_proto::json::to_json(&Cluster::status(&agent, "t", state, uuid))
            )]
        );
        cluster.acknowledge(&agent, &framework, "t", uuid);
        assert!(matches!(&cluster.take_frames(agent.conn)[..], [Body::AcknowledgeUpdate(_)]));
    }
    assert_eq!(cluster.metric("master/tasks_running"), 1.0);
    cluster.update(&agent, &framework, "t", TaskState::TaskFinished, 3);
    let events = cluster.take_events(&framework);
    assert!(events[0].contains("TASK_FINISHED"));
    assert!(
        events[1].contains(r#""name":"cpus","type":"SCALAR","scalar":{"value":0.1}"#),
        "offered at once: {events:?}"
    );
    assert_eq!(cluster.metric("master/tasks_finished"), 1.0);
    let known = || {
        |cluster: &Cluster| {
            let framework = cluster.master.frameworks().next().unwrap();
            (framework.tasks.len(), framework.completed_tasks.len())
        }
    };
    assert_eq!(known()(&cluster), (1, 0), "until it is acknowledged");
    cluster.acknowledge(&agent, &framework, "t", 2);
    assert_eq!(known()(&cluster), (1, 0), "an older acknowledgement is not meant");
    cluster.acknowledge(&agent, &framework, "t", 3);
    assert_eq!(known()(&cluster), (0, 1));
    let kinds: Vec<_> = cluster.published.iter().map(|event| event.r#type().as_str_name()).collect();
    assert_eq!(kinds, ["TASK_UPDATED"; 3]);
    // The agent did not hear of the acknowledgement and sends the update again.
    cluster.update(&agent, &framework, "t", TaskState::TaskFinished, 3);
    assert_eq!(cluster.take_events(&framework).len(), 1);
    assert_eq!(known()(&cluster), (0, 1));
}

/// The refusals of the recorded exchanges `scheduler/ACCEPT_LAUNCH_*`, and others of the same code.
#[test]
fn invalid_tasks_are_refused_in_mesos_words() {
    let check = |make: &dyn Fn(&Agent) -> String, id: &str, text: &str| {
        let (mut cluster, framework, agent) = started();
        cluster.launch(&framework, &[make(&agent)]);
        let said = if id == "wronga" { "nope" } else { &agent.id };
        let text = text.replace('"', "\\\"");
        assert_eq!(
            cluster.take_events(&framework),
            [update(id, "TASK_ERROR", &text, "REASON_TASK_INVALID", said)]
        );
        assert!(cluster.take_frames(agent.conn).is_empty());
        assert_eq!(cluster.metric("master/tasks_error"), 1.0);
        assert_eq!(cluster.metric("master/task_error/source_master/reason_task_invalid"), 1.0);
        cluster.wait(std::time::Duration::from_secs(1));
        assert_eq!(cluster.offered(&framework).len(), 1, "all of it is offered again");
    };
    let command = r#""command":{"value":"true"}"#;
    check(
        &|agent| task_with(agent, "toobig", command).replace("0.1", "999"),
        "toobig",
        "Total resources cpus(allocated: golden):999; mem(allocated: golden):32 required by task and its executor \
         is more than available ports(allocated: golden):[31000-32000]; cpus(allocated: golden):4; \
         mem(allocated: golden):4096; disk(allocated: golden):10240",
    );
    check(
        &|agent| task_with(agent, "nores", command).replace(&format!("{CPUS},{MEM}"), ""),
        "nores",
        "Task uses no resources",
    );
    check(&|agent| task(agent, "a/b"), "a/b", "'a/b' contains invalid characters");
    check(
        &|agent| task_with(agent, "nocmd", r#""data":"""#),
        "nocmd",
        "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present",
    );
    check(
        &|agent| task(agent, "wronga").replace(&agent.id, "nope"),
        "wronga",
        "Task uses invalid agent nope while agent m-S0 is expected",
    );
    check(
        &|agent| task(agent, "neg").replace("0.1", "-1"),
        "neg",
        "Resource 'cpus(allocated: golden):-1' is invalid: Invalid scalar resource: value <= 0",
    );
    check(
        &|agent| {
            task(agent, "other").replace(CPUS, &CPUS.replace("}}", r#"},"allocation_info":{"role":"x"}}"#))
        },
        "other",
        "Invalid task resources: The resources have multiple allocation roles ('golden' and 'x') but only one \
         allocation role is allowed",
    );
    check(
        &|agent| {
            task_with(
                agent,
                "hc",
                &format!(r#"{command},"health_check":{{"type":"HTTP","http":{{"port":1,"path":"x"}}}}"#),
            )
        },
        "hc",
        "Task uses invalid health check: The path 'x' of HTTP health check must start with '/'",
    );
    check(
        &|agent| {
            task_with(
                agent,
                "kp",
                &format!(r#"{command},"kill_policy":{{"grace_period":{{"nanoseconds":-1}}}}"#),
            )
        },
        "kp",
        "Task's 'kill_policy.grace_period' must be non-negative",
    );
    check(
        &|agent| {
            let env = r#""command":{"value":"true","environment":{"variables":[{"name":"X"}]}}"#;
            task_with(agent, "env", env)
        },
        "env",
        "Task's `CommandInfo` is invalid: Environment variable 'X' of type 'VALUE' must have a value set",
    );
    check(
        &|agent| task_with(agent, "dock", &format!(r#"{command},"container":{{"type":"DOCKER"}}"#)),
        "dock",
        "Task's `ContainerInfo` is invalid: DockerInfo 'docker' is not set for DOCKER typed ContainerInfo",
    );
    check(
        &|agent| task_with(agent, "lim", &format!(r#"{command},"limits":{{"cpus":{{"value":1}}}}"#)),
        "lim",
        "Agent is not capable of handling task resource limits",
    );
    check(
        &|agent| task_with(agent, "exe", r#""executor":{"executor_id":{"value":"e"}}"#),
        "exe",
        "'ExecutorInfo.command' must be set",
    );
}

#[test]
fn the_second_task_of_the_same_id_is_refused() {
    let (mut cluster, framework, agent) = started();
    cluster.launch(&framework, &[task(&agent, "t"), task(&agent, "t"), task(&agent, "u")]);
    let refused = update("t", "TASK_ERROR", "Task has duplicate ID: t", "REASON_TASK_INVALID", "m-S0");
    assert_eq!(cluster.take_events(&framework), [refused]);
    assert_eq!(cluster.take_frames(agent.conn).len(), 2);
    assert_eq!(cluster.metric("master/frameworks/golden/m-0000/operations/launch"), 2.0);
}

#[test]
fn what_is_used_twice_is_refused_the_second_time() {
    let (mut cluster, framework, agent) = started();
    let port = r#"{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":31000}]}}"#;
    let with_port = |id: &str| task(&agent, id).replace(CPUS, &format!("{CPUS},{port}"));
    cluster.launch(&framework, &[with_port("t"), with_port("u")]);
    let events = cluster.take_events(&framework);
    assert!(
        events.len() == 1 && events[0].contains("more than available ports(allocated: golden):[31001-32000]")
    );
}

#[test]
fn launches_on_offers_that_are_gone() {
    let (mut cluster, aware, agent) = started();
    let old = cluster.subscribe(OLD);
    let accept = format!(
        r#""type":"ACCEPT","accept":{{"offer_ids":[{{"value":"nope-O9"}}],"operations":[{{"type":"LAUNCH","launch":{{"task_infos":[{}]}}}},{{"type":"RESERVE","id":{{"value":"op"}},"reserve":{{}}}}]}}"#,
        task(&agent, "lost1")
    );
    cluster.take_offers(&aware);
    cluster.take_offers(&old);
    assert_eq!(cluster.framework_call(&aware, &accept), Reply::Accepted);
    let text = "Task launched with invalid offers: Offer nope-O9 is no longer valid";
    assert_eq!(
        cluster.take_events(&aware),
        [
            update("lost1", "TASK_DROPPED", text, "REASON_INVALID_OFFERS", "m-S0"),
            r#"{"type":"UPDATE_OPERATION_STATUS","update_operation_status":{"status":{"operation_id":{"value":"op"},"state":"OPERATION_ERROR","message":"Operation attempted with invalid offers: Offer nope-O9 is no longer valid"}}}"#
                .to_owned()
        ]
    );
    cluster.framework_call(&old, &accept);
    let lost = update("lost1", "TASK_LOST", text, "REASON_INVALID_OFFERS", "m-S0");
    assert_eq!(cluster.take_events(&old)[0], lost);
    assert_eq!(cluster.metric("master/task_dropped/source_master/reason_invalid_offers"), 1.0);
    assert_eq!(cluster.metric("master/tasks_dropped"), 1.0);
}

#[test]
fn offers_cannot_be_mixed() {
    let mut cluster = Cluster::new();
    cluster.agent("a", "cpus:1");
    let first = cluster.subscribe(AWARE);
    let of_first = cluster.take_offers(&first).remove(0).id.value;
    let agent = cluster.agent("b", "cpus:1");
    let of_second = cluster.take_offers(&first).remove(0).id.value;
    let other = cluster.subscribe(AWARE);
    cluster.agent("c", "cpus:1");
    let of_other = cluster.take_offers(&other).remove(0).id.value;
    let mut check = |offers: &[&str], text: &str| {
        let ids: Vec<_> = offers.iter().map(|id| format!(r#"{{"value":"{id}"}}"#)).collect();
        let accept = format!(
            r#""type":"ACCEPT","accept":{{"offer_ids":[{}],"operations":[{{"type":"LAUNCH","launch":{{"task_infos":[{}]}}}}]}}"#,
            ids.join(","),
            task(&agent, "t")
        );
        cluster.framework_call(&first, &accept);
        let text = format!("Task launched with invalid offers: {text}");
        let events = cluster.take_events(&first);
        assert_eq!(events[0], update("t", "TASK_DROPPED", &text, "REASON_INVALID_OFFERS", "m-S1"));
    };
    check(&[], "No offers specified");
    let foreign = format!("Offer {of_other} has invalid framework m-0001 while framework m-0000 is expected");
    check(&[&of_other], &foreign);
    let two = format!(
        "Aggregated offers must belong to one single agent. Offer {of_second} uses agent m-S1 and agent m-S0"
    );
    check(&[&of_first, &of_second], &two);
    check(&["x", "x"], "Duplicate offer x in offer list");
    assert!(
        cluster.master.offers().any(|offer| offer.id.as_str() == of_other),
        "foreign offers are untouched"
    );
}

#[test]
fn operations_that_are_not_there_yet_say_so() {
    let (mut cluster, framework, _) = started();
    cluster.accept(&framework, r#"{"type":"CREATE","id":{"value":"r"},"create":{"volumes":[]}}"#, 0.0);
    assert_eq!(
        cluster.take_events(&framework),
        [
            r#"{"type":"UPDATE_OPERATION_STATUS","update_operation_status":{"status":{"operation_id":{"value":"r"},"state":"OPERATION_ERROR","message":"CREATE is not supported by this master"}}}"#
        ]
    );
}

#[test]
fn custom_executors_are_counted_once() {
    let (mut cluster, framework, agent) = started();
    let executor = format!(
        r#""executor":{{"executor_id":{{"value":"e"}},"command":{{"value":"x"}},"resources":[{CPUS},{MEM}]}}"#
    );
    cluster.launch(&framework, &[task_with(&agent, "t", &executor), task_with(&agent, "u", &executor)]);
    assert!(cluster.take_events(&framework).is_empty());
    let used = cluster.master.agents().next().unwrap().used_resources().unallocated();
    assert_eq!(used.to_string(), "cpus:0.3; mem:96");
    cluster.wait(std::time::Duration::from_secs(1));
    let offer = cluster.take_offers(&framework).remove(0);
    assert_eq!(offer.executor_ids.len(), 1);
    let exited = agent_link::ExecutorExited {
        framework_id: run_framework(&framework),
        executor_id: Some(mesos_proto::v1::ExecutorId { value: "e".to_owned() }),
        status: 1280,
    };
    cluster.say(agent.conn, Body::ExecutorExited(exited));
    let events = cluster.take_events(&framework);
    assert_eq!(
        events[0],
        r#"{"type":"FAILURE","failure":{"agent_id":{"value":"m-S0"},"executor_id":{"value":"e"},"status":1280}}"#
    );
    let used = cluster.master.agents().next().unwrap().used_resources().unallocated();
    assert_eq!(used.to_string(), "cpus:0.2; mem:64");
}

fn run_framework(framework: &Framework) -> Option<mesos_proto::v1::FrameworkId> {
    Some(mesos_proto::v1::FrameworkId { value: framework.id.clone() })
}

#[test]
fn messages_between_frameworks_and_executors() {
    let (mut cluster, framework, agent) = started();
    cluster.take_offers(&framework);
    let call = format!(
        r#""type":"MESSAGE","message":{{"agent_id":{{"value":"{}"}},"executor_id":{{"value":"x"}},"data":"aGk="}}"#,
        agent.id
    );
    cluster.framework_call(&framework, &call);
    cluster.framework_call(
        &framework,
        &format!(
            r#""type":"SHUTDOWN","shutdown":{{"executor_id":{{"value":"x"}},"agent_id":{{"value":"{}"}}}}"#,
            agent.id
        ),
    );
    let frames = cluster.take_frames(agent.conn);
    assert!(
        matches!(&frames[..], [Body::FrameworkMessage(message), Body::ShutdownExecutor(_)] if message.data == b"hi")
    );
    let said = agent_link::ExecutorMessage {
        framework_id: run_framework(&framework),
        executor_id: Some(mesos_proto::v1::ExecutorId { value: "x".to_owned() }),
        data: b"ho".to_vec(),
    };
    cluster.say(agent.conn, Body::ExecutorMessage(said));
    assert_eq!(
        cluster.take_events(&framework),
        [
            r#"{"type":"MESSAGE","message":{"agent_id":{"value":"m-S0"},"executor_id":{"value":"x"},"data":"aG8="}}"#
        ]
    );
}

#[test]
fn mm40_reconciliation_and_kills() {
    let (mut cluster, framework, agent) = started();
    cluster.launch(&framework, &[task(&agent, "t")]);
    cluster.update(&agent, &framework, "t", TaskState::TaskRunning, 1);
    cluster.take_events(&framework);
    cluster.take_frames(agent.conn);
    let latest =
        update("t", "TASK_RUNNING", "Reconciliation: Latest task state", "REASON_RECONCILIATION", "m-S0");
    let mut ask = |tasks: &str| {
        cluster
            .framework_call(&framework, &format!(r#""type":"RECONCILE","reconcile":{{"tasks":[{tasks}]}}"#));
        cluster.take_events(&framework)
    };
    assert_eq!(ask(""), std::slice::from_ref(&latest));
    assert_eq!(ask(r#"{"task_id":{"value":"t"}}"#), [latest]);
    let ghost = r#"{"type":"UPDATE","update":{"status":{"task_id":{"value":"ghost"},"state":"TASK_UNKNOWN","message":"Reconciliation: Task is unknown","source":"SOURCE_MASTER","reason":"REASON_RECONCILIATION"}}}"#;
    assert_eq!(ask(r#"{"task_id":{"value":"ghost"}}"#), [ghost]);
    assert_eq!(
        ask(r#"{"task_id":{"value":"ghost"},"agent_id":{"value":"nope"}}"#),
        [update("ghost", "TASK_UNKNOWN", "Reconciliation: Task is unknown", "REASON_RECONCILIATION", "nope")]
    );
    let gone = "Reconciliation: Task is unknown to the agent";
    assert_eq!(
        ask(r#"{"task_id":{"value":"ghost"},"agent_id":{"value":"m-S0"}}"#),
        [update("ghost", "TASK_GONE", gone, "REASON_RECONCILIATION", "m-S0")]
    );
    cluster.framework_call(&framework, r#""type":"KILL","kill":{"task_id":{"value":"ghost"}}"#);
    assert_eq!(cluster.take_events(&framework), [ghost]);
    cluster.framework_call(
        &framework,
        r#""type":"KILL","kill":{"task_id":{"value":"t"},"agent_id":{"value":"other"}}"#,
    );
    assert!(cluster.take_frames(agent.conn).is_empty(), "the agent named does not have it");
    cluster.framework_call(&framework, r#""type":"KILL","kill":{"task_id":{"value":"t"}}"#);
    assert!(matches!(&cluster.take_frames(agent.conn)[..], [Body::KillTask(_)]));
}
