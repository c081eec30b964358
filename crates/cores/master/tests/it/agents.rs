use std::collections::BTreeMap;
use std::time::Duration;

use agent_link::{Body, Goodbye, Hello, RunningExecutor};
use master_core::{Input, Reply};
use mesos_proto::v1::{self, TaskState};

use crate::cluster::{AWARE, Agent, Cluster, Framework, OLD, config, task};

const AGENT: &str = "cpus:4;mem:4096";

/// The task as the agent would tell of it.
fn told(cluster: &Cluster, task: &str, state: TaskState) -> v1::Task {
    let framework = cluster.master.frameworks().next().unwrap();
    let mut info = framework.tasks[task].info.clone();
    info.state = state.into();
    info
}

fn updates(events: &[String]) -> Vec<String> {
    let of = |event: &str, key: &str| {
        let (_, rest) = event.split_once(&format!("\"{key}\":\"")).unwrap_or(("", "-\""));
        rest.split_once('"').unwrap().0.to_owned()
    };
    let updates = events.iter().filter(|event| event.starts_with(r#"{"type":"UPDATE""#));
    updates
        .map(|event| format!("{} {} {}", of(event, "state"), of(event, "reason"), of(event, "message")))
        .collect()
}

fn running(info: &str) -> (Cluster, Framework, Agent) {
    let mut cluster = Cluster::new();
    let agent = cluster.agent("host", AGENT);
    let framework = cluster.subscribe(info);
    cluster.launch(&framework, &[task(&agent, "t")]);
    cluster.update(&agent, &framework, "t", TaskState::TaskRunning, 1);
    cluster.acknowledge(&agent, &framework, "t", 1);
    cluster.wait(Duration::from_secs(1));
    cluster.take_events(&framework);
    cluster.take_frames(agent.conn);
    (cluster, framework, agent)
}

#[test]
fn an_agent_is_admitted_when_the_registry_has_it() {
    let mut cluster = Cluster::new();
    cluster.persists = false;
    let framework = cluster.subscribe(AWARE);
    cluster.take_events(&framework);
    let conn = cluster.conn();
    cluster.say(conn, Body::Hello(Cluster::hello("host", AGENT)));
    assert!(cluster.take_frames(conn).is_empty());
    assert_eq!(cluster.master.agents().count(), 0);
    assert!(cluster.registry.is_empty() && cluster.unpersisted.len() == 1);
    cluster.persist();
    assert_eq!(cluster.registry.keys().collect::<Vec<_>>(), ["agents/m-S0"]);
    assert!(matches!(&cluster.take_frames(conn)[..], [Body::Welcome(welcome)]
        if welcome.silence_millis == 75_000 && welcome.heartbeat_millis == 15_000 && welcome.master_id == "m"));
    assert_eq!(cluster.offered(&framework), ["cpus:4; mem:4096"]);
    assert_eq!(cluster.metric("master/slaves_active"), 1.0);
    let added: Vec<_> = cluster.published.iter().filter_map(|event| event.agent_added.as_ref()).collect();
    assert_eq!(added[0].agent.pid.as_deref(), Some("slave(1)@host:5051"));
}

#[test]
fn an_agent_that_goes_before_it_has_an_id_leaves_nothing() {
    let mut cluster = Cluster::new();
    cluster.persists = false;
    let conn = cluster.conn();
    cluster.say(conn, Body::Hello(Cluster::hello("host", AGENT)));
    cluster.input(Input::AgentClosed { conn, silent: false });
    cluster.persist();
    cluster.persist();
    assert!(cluster.registry.is_empty() && cluster.frames.is_empty());
    assert_eq!(cluster.master.agents().count() + cluster.master.recovered_agents().count(), 0);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut cluster = Cluster::new();
    let mut check = |change: &dyn Fn(&mut Hello), said: &str| {
        let conn = cluster.conn();
        let mut hello = Cluster::hello("host", AGENT);
        change(&mut hello);
        cluster.say(conn, Body::Hello(hello));
        let frames = cluster.take_frames(conn);
        let [Body::Refused(refused)] = &frames[..] else { panic!("{frames:?}") };
        assert!(refused.permanent && refused.reason.contains(said), "{}", refused.reason);
        assert!(cluster.closed.contains(&conn) && cluster.registry.is_empty());
    };
    check(
        &|hello| hello.min_version = 99,
        "the agent speaks versions 99 to 2 of the agent link, this master 1 to 2",
    );
    check(&|hello| hello.agent = None, "no agent");
    check(&|hello| hello.agent.as_mut().unwrap().hostname.clear(), "no hostname");
    check(&|hello| hello.total[0].name.clear(), "total: Resource ':4' is invalid: Empty resource name");
    check(&|hello| hello.frameworks.push(v1::FrameworkInfo::default()), "ID must not be empty");
    check(
        &|hello| {
            hello.tasks.push(v1::Task { task_id: v1::TaskId { value: "t".into() }, ..v1::Task::default() })
        },
        "invalid SlaveID",
    );
}

#[test]
fn frames_before_hello_are_dropped() {
    let mut cluster = Cluster::new();
    let conn = cluster.conn();
    cluster.say(conn, Body::Goodbye(Goodbye { reason: "x".to_owned() }));
    assert_eq!(cluster.metric("master/dropped_messages"), 1.0);
}

#[test]
fn a_lost_connection_takes_the_offers_back_and_no_more() {
    let (mut cluster, framework, agent) = running(AWARE);
    cluster.close(&agent, false);
    let events = cluster.take_events(&framework);
    assert!(events.len() == 1 && events[0].contains("RESCIND"), "{events:?}");
    assert_eq!(cluster.metric("master/slaves_disconnected"), 1.0);
    assert_eq!(cluster.metric("master/tasks_running"), 1.0);
    cluster.wait(Duration::from_secs(70));
    let mut hello = Cluster::comes_back(&agent, AGENT, Some((&framework, AWARE)));
    hello.tasks.push(told(&cluster, "t", TaskState::TaskRunning));
    let back = cluster.connect(hello);
    assert_eq!(back.id, agent.id);
    assert_eq!(cluster.offered(&framework), ["cpus:3.9; mem:4064"]);
    cluster.wait(Duration::from_secs(80));
    assert_eq!(cluster.metric("master/slaves_connected"), 1.0);
    // The task can be killed through the new connection.
    cluster.framework_call(&framework, r#""type":"KILL","kill":{"task_id":{"value":"t"}}"#);
    assert!(matches!(&cluster.take_frames(back.conn)[..], [Body::KillTask(_)]));
}

#[test]
fn a_launch_lost_with_the_connection_is_dropped() {
    for (info, state) in [(AWARE, "TASK_DROPPED"), (OLD, "TASK_LOST")] {
        let (mut cluster, framework, agent) = running(info);
        cluster.launch(&framework, &[task(&agent, "u")]);
        cluster.close(&agent, false);
        let mut hello = Cluster::comes_back(&agent, AGENT, Some((&framework, info)));
        hello.tasks.push(told(&cluster, "t", TaskState::TaskRunning));
        cluster.take_events(&framework);
        cluster.connect(hello);
        let events = cluster.take_events(&framework);
        let expect = format!("{state} REASON_RECONCILIATION Reconciliation: task unknown to the agent");
        assert_eq!(updates(&events), [expect]);
        assert!(events[1].contains(r#""scalar":{"value":3.9}"#), "its resources are offered: {events:?}");
    }
}

#[test]
fn kills_are_said_again_when_the_agent_comes_back() {
    let (mut cluster, framework, agent) = running(AWARE);
    cluster.close(&agent, false);
    let kill = r#""type":"KILL","kill":{"task_id":{"value":"t"}}"#;
    assert_eq!(cluster.framework_call(&framework, kill), Reply::Accepted);
    let mut hello = Cluster::comes_back(&agent, AGENT, Some((&framework, AWARE)));
    hello.tasks.push(told(&cluster, "t", TaskState::TaskRunning));
    let conn = cluster.conn();
    cluster.say(conn, Body::Hello(hello));
    assert!(matches!(&cluster.take_frames(conn)[..], [Body::Welcome(_), Body::KillTask(_)]));
}

#[test]
fn a_second_connection_replaces_the_first() {
    let (mut cluster, framework, agent) = running(AWARE);
    let mut hello = Cluster::comes_back(&agent, AGENT, Some((&framework, AWARE)));
    hello.tasks.push(told(&cluster, "t", TaskState::TaskRunning));
    let new = cluster.connect(hello);
    assert!(cluster.closed.contains(&agent.conn));
    cluster.close(&agent, true);
    assert_eq!(cluster.metric("master/slaves_connected"), 1.0, "the end of the old connection is no end");
    cluster.update(&new, &framework, "t", TaskState::TaskFinished, 2);
    assert_eq!(updates(&cluster.take_events(&framework))[0], "TASK_FINISHED - -");
}

#[test]
fn silence_makes_an_agent_unreachable_once_that_is_durable() {
    for (info, state) in [(AWARE, "TASK_UNREACHABLE"), (OLD, "TASK_LOST")] {
        for silent in [true, false] {
            let (mut cluster, framework, agent) = running(info);
            cluster.persists = false;
            cluster.close(&agent, silent);
            cluster.take_events(&framework);
            if !silent {
                cluster.wait(Duration::from_secs(74));
                assert!(cluster.unpersisted.is_empty());
                cluster.wait(Duration::from_secs(1));
            }
            assert_eq!(updates(&cluster.take_events(&framework)), [""; 0], "not before it is durable");
            cluster.published.clear();
            cluster.persist();
            let events = cluster.take_events(&framework);
            assert_eq!(updates(&events), [format!("{state} REASON_AGENT_REMOVED health check timed out")]);
            let failure = r#"{"type":"FAILURE","failure":{"agent_id":{"value":"m-S0"}}}"#;
            assert_eq!(events.last().map(String::as_str), Some(failure));
            assert_eq!(events[0].contains("unreachable_time"), info == AWARE);
            assert!(cluster.published.iter().any(|event| event.agent_removed.is_some()));
            assert_eq!(cluster.metric("master/slaves_unreachable"), 1.0);
            assert_eq!(cluster.metric("master/tasks_unreachable"), 1.0);
            assert_eq!(cluster.metric("master/slave_removals/reason_unhealthy"), 1.0);
            let ask = r#""type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"t"},"agent_id":{"value":"m-S0"}}]}"#;
            cluster.framework_call(&framework, ask);
            let expect = format!("{state} REASON_RECONCILIATION Reconciliation: Task is unreachable");
            assert_eq!(updates(&cluster.take_events(&framework)), [expect]);
        }
    }
}

#[test]
fn mm39_an_unreachable_agent_that_comes_back_brings_its_tasks() {
    for (info, is_aware) in [(AWARE, true), (OLD, false)] {
        let (mut cluster, framework, agent) = running(info);
        let mut hello = Cluster::comes_back(&agent, AGENT, Some((&framework, info)));
        hello.tasks.push(told(&cluster, "t", TaskState::TaskRunning));
        cluster.close(&agent, true);
        cluster.take_events(&framework);
        cluster.persists = false;
        let conn = cluster.conn();
        cluster.say(conn, Body::Hello(hello));
        assert!(cluster.take_frames(conn).is_empty(), "the registry has to know first");
        cluster.persist();
        let known = cluster.master.frameworks().next().unwrap();
        assert_eq!((known.tasks.len(), known.unreachable_tasks.len()), (1, 0));
        let said = updates(&cluster.take_events(&framework));
        let frames = cluster.take_frames(conn);
        if is_aware {
            assert_eq!(said, ["TASK_RUNNING REASON_AGENT_REREGISTERED Unreachable agent re-reregistered"]);
            assert!(matches!(&frames[..], [Body::Welcome(_)]));
        } else {
            assert_eq!(said, [""; 0]);
            assert!(
                matches!(&frames[..], [Body::Welcome(_), Body::KillTask(_)]),
                "it was told lost: {frames:?}"
            );
        }
        assert_eq!(cluster.metric("master/slaves_unreachable"), 0.0);
    }
}

#[test]
fn a_hello_while_the_agent_is_being_given_up_waits() {
    let (mut cluster, framework, agent) = running(AWARE);
    let mut hello = Cluster::comes_back(&agent, AGENT, Some((&framework, AWARE)));
    hello.tasks.push(told(&cluster, "t", TaskState::TaskRunning));
    cluster.persists = false;
    cluster.close(&agent, true);
    let (first, second) = (cluster.conn(), cluster.conn());
    cluster.say(first, Body::Hello(hello.clone()));
    cluster.say(second, Body::Hello(hello));
    assert!(cluster.closed.contains(&first));
    cluster.persist();
    assert!(cluster.take_frames(second).is_empty());
    cluster.persist();
    assert!(matches!(&cluster.take_frames(second)[..], [Body::Welcome(_)]));
    assert_eq!(
        updates(&cluster.take_events(&framework)),
        [
            "TASK_UNREACHABLE REASON_AGENT_REMOVED health check timed out",
            "TASK_RUNNING REASON_AGENT_REREGISTERED Unreachable agent re-reregistered"
        ]
    );
}

#[test]
fn goodbye_ends_the_agent_and_its_tasks() {
    let (mut cluster, framework, agent) = running(AWARE);
    cluster.say(agent.conn, Body::Goodbye(Goodbye { reason: "it was told to".to_owned() }));
    assert!(cluster.closed.contains(&agent.conn) && cluster.registry.is_empty());
    let events = cluster.take_events(&framework);
    assert_eq!(updates(&events), ["TASK_LOST REASON_AGENT_REMOVED Agent host removed: it was told to"]);
    assert_eq!(cluster.master.agents().count(), 0);
}

#[test]
fn an_agent_without_its_state_replaces_the_one_at_its_address() {
    let (mut cluster, framework, agent) = running(AWARE);
    cluster.close(&agent, false);
    let new = cluster.agent("host", AGENT);
    assert_eq!(new.id, "m-S1");
    let text =
        "TASK_LOST REASON_AGENT_REMOVED Agent host removed: a new agent registered at the same address";
    assert_eq!(updates(&cluster.take_events(&framework)), [text]);
    assert_eq!(cluster.registry.keys().collect::<Vec<_>>(), ["agents/m-S1"]);
    assert_eq!(cluster.master.agents().count(), 1);

    // The same when the master does not know more of the old one than its address.
    let mut cluster = Cluster::recover(config(), cluster.registry);
    cluster.agent("host", AGENT);
    assert_eq!(cluster.master.recovered_agents().count(), 0);
    assert_eq!(cluster.registry.keys().collect::<Vec<_>>(), ["agents/m-S0"]);
}

#[test]
fn mm06_a_new_master_takes_up_agents_frameworks_and_tasks() {
    let (mut old, framework, agent) = running(AWARE);
    let task = told(&old, "t", TaskState::TaskRunning);
    let mut config = config();
    config.info.id = "n".to_owned();
    let mut cluster = Cluster::recover(config, std::mem::take(&mut old.registry));
    assert_eq!(cluster.master.recovered_agents().count(), 1);
    // The framework is first: nothing can be said of its tasks while agents are missing.
    let new = cluster.resubscribe(&framework, AWARE);
    cluster.take_events(&new);
    let ask = r#""type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"t"}}]}"#;
    cluster.framework_call(&new, ask);
    assert!(cluster.take_events(&new).is_empty());
    let mut hello = Cluster::comes_back(&agent, AGENT, Some((&framework, AWARE)));
    hello.tasks.push(task);
    let agent = cluster.connect(hello);
    assert!(cluster.unpersisted.is_empty() && cluster.master.recovered_agents().count() == 0);
    assert_eq!(cluster.offered(&new), ["cpus:3.9; mem:4064"]);
    cluster.framework_call(&new, ask);
    assert_eq!(
        updates(&cluster.take_events(&new)),
        ["TASK_RUNNING REASON_RECONCILIATION Reconciliation: Latest task state"]
    );
    cluster.update(&agent, &new, "t", TaskState::TaskFinished, 9);
    cluster.acknowledge(&agent, &new, "t", 9);
    assert_eq!(cluster.master.frameworks().next().unwrap().completed_tasks.len(), 1);
    assert_eq!(cluster.subscribe(AWARE).id, "n-0000");
}

#[test]
fn a_framework_known_through_agents_has_time_to_come_back() {
    let (mut old, framework, agent) = running(AWARE);
    let task = told(&old, "t", TaskState::TaskRunning);
    let mut cluster = Cluster::recover(config(), std::mem::take(&mut old.registry));
    let mut hello = Cluster::comes_back(&agent, AGENT, Some((&framework, AWARE)));
    hello.tasks.push(task);
    hello.executors.push(RunningExecutor {
        framework_id: Some(v1::FrameworkId { value: framework.id.clone() }),
        executor: Some(v1::ExecutorInfo {
            executor_id: v1::ExecutorId { value: "t".to_owned() },
            resources: hello.total.clone(),
            ..v1::ExecutorInfo::default()
        }),
    });
    let agent = cluster.connect(hello);
    let known = cluster.master.frameworks().next().unwrap();
    assert!(known.recovered && !known.active);
    let executors = &cluster.master.agents().next().unwrap().executors;
    assert!(executors.is_empty(), "the executor of a command task is not counted: {executors:?}");
    cluster.wait(Duration::from_secs(590));
    let back = cluster.resubscribe(&framework, AWARE);
    assert!(!cluster.master.frameworks().next().unwrap().recovered);
    cluster.input(Input::SchedulerClosed { conn: back.conn });
    cluster.take_frames(agent.conn);
    cluster.wait(Duration::from_secs(60));
    assert!(matches!(&cluster.take_frames(agent.conn)[..], [Body::ShutdownFramework(_)]));
    // An agent that missed it is told when it comes back with it.
    let mut hello = Cluster::comes_back(&agent, AGENT, Some((&framework, AWARE)));
    hello.tasks.push(v1::Task {
        task_id: v1::TaskId { value: "t".to_owned() },
        framework_id: v1::FrameworkId { value: framework.id.clone() },
        agent_id: v1::AgentId { value: agent.id.clone() },
        state: TaskState::TaskRunning.into(),
        ..v1::Task::default()
    });
    let conn = cluster.conn();
    cluster.say(conn, Body::Hello(hello));
    assert!(matches!(&cluster.take_frames(conn)[..], [Body::Welcome(_), Body::ShutdownFramework(_)]));
    assert_eq!(cluster.master.frameworks().count(), 0);
}

#[test]
fn agents_that_do_not_come_back_after_a_failover_are_unreachable() {
    let (mut old, _, agent) = running(AWARE);
    let mut cluster = Cluster::recover(config(), std::mem::take(&mut old.registry));
    cluster.wait(Duration::from_secs(599));
    assert_eq!(cluster.master.recovered_agents().count(), 1);
    cluster.wait(Duration::from_secs(1));
    let unreachable: Vec<_> = cluster.master.unreachable_agents().map(|(id, _)| id.to_string()).collect();
    assert_eq!(unreachable, [agent.id]);
    assert_eq!(cluster.metric("master/recovery_slave_removals"), 1.0);
    // And the next master knows, too.
    let next = Cluster::recover(config(), cluster.registry.clone());
    assert_eq!((next.master.recovered_agents().count(), next.master.unreachable_agents().count()), (0, 1));
}

#[test]
fn mm04_only_so_many_unreachable_agents_are_remembered() {
    let mut config = config();
    config.max_unreachable_agents = 3;
    let mut cluster = Cluster::with(config);
    for n in 0..5 {
        let agent = cluster.agent(&format!("host{n}"), AGENT);
        cluster.close(&agent, true);
        cluster.wait(Duration::from_secs(1));
    }
    assert_eq!(cluster.registry.keys().collect::<Vec<_>>(), ["agents/m-S2", "agents/m-S3", "agents/m-S4"]);
    assert_eq!(cluster.master.unreachable_agents().count(), 3);
}

#[test]
fn a_registry_that_cannot_be_read_stops_the_master() {
    let check = |key: &str, value: &[u8], said: &str| {
        let records = BTreeMap::from([(key.to_owned(), value.to_vec())]);
        let now = base::Now { mono: base::Mono(0), wall: base::Wall(0) };
        let error = master_core::Master::recover(config(), now, records).unwrap_err();
        assert!(error.to_string().starts_with(said), "{error}");
    };
    check("nothing/x", b"", "registry record nothing/x has an unknown kind of key; known are agents/<name>");
    check("agents/a", b"\xff\xff", "registry record agents/a cannot be decoded");
}

#[test]
fn an_agent_that_grows_offers_more() {
    let (mut cluster, framework, agent) = running(AWARE);
    cluster.close(&agent, false);
    let mut hello = Cluster::comes_back(&agent, "cpus:8;mem:4096", Some((&framework, AWARE)));
    hello.tasks.push(told(&cluster, "t", TaskState::TaskRunning));
    cluster.take_events(&framework);
    cluster.connect(hello);
    assert_eq!(cluster.offered(&framework), ["cpus:7.9; mem:4064"]);
    let next = Cluster::recover(config(), cluster.registry.clone());
    let (_, recovered) = next.master.recovered_agents().next().unwrap();
    assert_eq!(recovered.info.resources[0].scalar.as_ref().map(|scalar| scalar.value), Some(8.0));
}

#[test]
fn updates_for_a_framework_that_is_over_shut_it_down_on_the_agent() {
    let (mut cluster, framework, agent) = running(AWARE);
    cluster.framework_call(&framework, r#""type":"TEARDOWN""#);
    assert!(matches!(&cluster.take_frames(agent.conn)[..], [Body::ShutdownFramework(_)]));
    cluster.update(&agent, &framework, "t", TaskState::TaskKilled, 4);
    assert!(matches!(&cluster.take_frames(agent.conn)[..], [Body::ShutdownFramework(_)]));
}

#[test]
fn what_an_agent_doubles_is_counted_once() {
    let (mut cluster, framework, agent) = running(AWARE);
    let task = told(&cluster, "t", TaskState::TaskRunning);
    let mut hello = Cluster::comes_back(&agent, AGENT, Some((&framework, AWARE)));
    hello.tasks = vec![task.clone(), task.clone()];
    cluster.close(&agent, false);
    let agent = cluster.connect(hello);
    assert_eq!(cluster.metric("master/cpus_used"), 0.1);
    // Another agent claims to run it, too.
    let other = Agent { id: "x-S9".to_owned(), ..agent.clone() };
    let mut hello = Cluster::comes_back(&other, AGENT, Some((&framework, AWARE)));
    hello.agent.as_mut().unwrap().hostname = "other".to_owned();
    hello.tasks = vec![v1::Task { agent_id: v1::AgentId { value: other.id.clone() }, ..task }];
    let conn = cluster.conn();
    cluster.say(conn, Body::Hello(hello));
    assert!(matches!(&cluster.take_frames(conn)[..], [Body::Welcome(_), Body::KillTask(_)]));
    let other = Agent { conn, ..other };
    cluster.take_events(&framework);
    cluster.update(&other, &framework, "t", TaskState::TaskKilled, 7);
    cluster.acknowledge(&other, &framework, "t", 7);
    assert_eq!(cluster.metric("master/tasks_running"), 1.0, "the one that was there first goes on");
}

#[test]
fn nothing_is_said_of_tasks_whose_agent_is_just_coming() {
    let (old, framework, agent) = running(AWARE);
    let task = told(&old, "t", TaskState::TaskRunning);
    // Nobody remembers the agent; what it brings is not known before the registry has it.
    let mut cluster = Cluster::new();
    let framework = cluster.resubscribe(&framework, AWARE);
    cluster.take_events(&framework);
    let mut hello = Cluster::comes_back(&agent, AGENT, Some((&framework, AWARE)));
    hello.tasks.push(task);
    cluster.persists = false;
    let conn = cluster.conn();
    cluster.say(conn, Body::Hello(hello));
    for of in ["", r#","agent_id":{"value":"m-S0"}"#] {
        let ask =
            format!(r#""type":"RECONCILE","reconcile":{{"tasks":[{{"task_id":{{"value":"t"}}{of}}}]}}"#);
        cluster.framework_call(&framework, &ask);
        assert!(cluster.take_events(&framework).is_empty());
    }
    cluster.persist();
    assert_eq!(
        updates(&cluster.take_events(&framework)),
        ["TASK_RUNNING REASON_AGENT_REREGISTERED Unknown agent reregistered"]
    );
}

#[test]
fn ids_that_somebody_made_up_are_not_given_again() {
    let mut cluster = Cluster::new();
    let made_up = Framework { conn: cluster.conn(), id: "m-0000".to_owned() };
    cluster.resubscribe(&made_up, AWARE);
    assert_eq!(cluster.subscribe(AWARE).id, "m-0001");
    let made_up = Agent { conn: made_up.conn, id: "m-S0".to_owned() };
    cluster.connect(Cluster::comes_back(&made_up, AGENT, None));
    assert_eq!(cluster.agent("other", AGENT).id, "m-S1");
}

#[test]
fn tasks_that_claim_the_same_port_do_no_harm() {
    let (mut cluster, framework, agent) = running(AWARE);
    let port = r#"{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":1}]},"allocation_info":{"role":"golden"}}"#;
    let mut task = told(&cluster, "t", TaskState::TaskRunning);
    task.resources.push(mesos_proto::json::from_json(port.as_bytes()).unwrap());
    let with_port = |id: &str| v1::Task { task_id: v1::TaskId { value: id.to_owned() }, ..task.clone() };
    let mut hello = Cluster::comes_back(&agent, "cpus:4;mem:4096;ports:[1-2]", Some((&framework, AWARE)));
    hello.tasks = vec![with_port("u"), with_port("v")];
    let conn = cluster.conn();
    // Without the checks after every input: what the agent tells contradicts itself.
    let mut out = Vec::new();
    let input = Input::AgentFrame { conn, body: Box::new(Body::Hello(hello)) };
    cluster.master.handle(cluster.now, input, &mut out);
    for (uuid, id) in [(1, "u"), (2, "v")] {
        let update = agent_link::Update {
            framework_id: Some(v1::FrameworkId { value: framework.id.clone() }),
            executor_id: None,
            status: Some(Cluster::status(&agent, id, TaskState::TaskFinished, uuid)),
            latest_state: TaskState::TaskFinished.into(),
        };
        let input = Input::AgentFrame { conn, body: Box::new(Body::Update(update)) };
        cluster.master.handle(cluster.now, input, &mut out);
    }
    cluster.master.check();
    assert!(cluster.master.agents().next().unwrap().used.is_empty());
}

#[test]
fn mm08_agents_are_given_up_one_after_the_other() {
    let interval = Some(Duration::from_secs(60));
    let mut cluster = Cluster::with(master_core::Config { agent_removal_interval: interval, ..config() });
    let agents: Vec<_> = (0..4).map(|n| cluster.agent(&format!("host{n}"), AGENT)).collect();
    for agent in &agents {
        cluster.close(agent, true);
    }
    let left = |cluster: &Cluster| cluster.master.agents().count();
    assert_eq!(left(&cluster), 3, "the first has to wait for nobody");
    cluster.wait(Duration::from_secs(59));
    assert_eq!(left(&cluster), 3);
    cluster.wait(Duration::from_secs(2));
    assert_eq!(left(&cluster), 2);
    let mut back = Cluster::hello("host2", AGENT);
    back.agent.as_mut().unwrap().id = Some(v1::AgentId { value: agents[2].id.clone() });
    cluster.connect(back);
    cluster.wait(Duration::from_secs(600));
    assert_eq!(left(&cluster), 1, "who came back in time stays");
    assert_eq!(cluster.metric("master/slave_unreachable_scheduled"), 4.0);
    assert_eq!(cluster.metric("master/slave_unreachable_completed"), 3.0);
    assert_eq!(cluster.metric("master/slave_unreachable_canceled"), 1.0);

    // Also those that a new master waits for in vain.
    let config = master_core::Config { agent_removal_interval: interval, ..config() };
    let awaited = cluster.registry.clone();
    let mut cluster = Cluster::recover(config, awaited);
    cluster.agent("other", AGENT);
    cluster.wait(Duration::from_secs(601));
    assert_eq!(cluster.master.unreachable_agents().count(), 4);
}

#[test]
fn mm04_what_was_unreachable_or_gone_for_too_long_is_forgotten() {
    let config = master_core::Config {
        registry_max_agent_age: Duration::from_secs(3600),
        registry_gc_interval: Duration::from_secs(60),
        ..config()
    };
    let mut cluster = Cluster::with(config);
    let unreachable = cluster.agent("a", AGENT);
    let gone = cluster.agent("b", AGENT);
    let deactivate = |kind: &str, id: &str| {
        format!(r#"{{"type":"{kind}","{}":{{"agent_id":{{"value":"{id}"}}}}}}"#, kind.to_lowercase())
    };
    cluster.operate(&deactivate("DEACTIVATE_AGENT", &unreachable.id));
    cluster.operate(&deactivate("MARK_AGENT_GONE", &gone.id));
    cluster.close(&unreachable, true);
    cluster.wait(Duration::from_secs(3500));
    let kinds: Vec<_> = cluster.registry.keys().filter_map(|key| key.split('/').next()).collect();
    assert_eq!(kinds, ["agents", "deactivations", "gone"]);
    cluster.wait(Duration::from_secs(200));
    assert!(cluster.registry.is_empty(), "{:?}", cluster.registry.keys());
    assert_eq!(cluster.master.unreachable_agents().count(), 0);
}

#[test]
fn mm09_a_master_whose_agents_do_not_come_back_stops() {
    let check = |limit: f64, came_back: usize, stops: bool| {
        let mut before = Cluster::new();
        let agents: Vec<_> = (0..4).map(|n| before.agent(&format!("host{n}"), AGENT)).collect();
        let config = master_core::Config { recovery_agent_removal_limit: limit, ..config() };
        let mut cluster = Cluster::recover(config, before.registry);
        for (n, agent) in agents.iter().enumerate().take(came_back) {
            let mut back = Cluster::hello(&format!("host{n}"), AGENT);
            back.agent.as_mut().unwrap().id = Some(v1::AgentId { value: agent.id.clone() });
            cluster.connect(back);
        }
        cluster.wait(Duration::from_secs(601));
        assert_eq!(cluster.stopped.is_some(), stops, "{limit} {came_back}: {:?}", cluster.stopped);
        let left = cluster.registry.len();
        assert_eq!(
            (left, cluster.master.unreachable_agents().count()),
            (4, if stops { 0 } else { 4 - came_back })
        );
        cluster.stopped
    };
    check(1.0, 0, false);
    check(0.5, 2, false);
    let reason = check(0.25, 2, true).unwrap();
    assert!(reason.contains("there were 2 (50%) agents") && reason.contains("limit is 25%"), "{reason}");
    check(0.0, 4, false);
    check(0.0, 3, true);
}
