//! A framework that launches: a task that runs, tasks that end, tasks that are refused, reservations.

use std::time::Duration;

use serde_json::{Value, json};

use super::sets::{agent, operator, sets};
use crate::run::{Ask, Run, Who};
use crate::session::{Session, ends_in, framework, subscribe};
use crate::transcript::{Reply, Request};

/// States in which a task ends.
pub(super) const OVER: &[&str] =
    &["TASK_ERROR", "TASK_FINISHED", "TASK_FAILED", "TASK_LOST", "TASK_DROPPED", "TASK_GONE", "TASK_KILLED"];

/// What a task or executor of the framework takes.
pub(super) fn resources(cpus: f64, mem: f64, disk: f64) -> Value {
    let resource = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}, "allocation_info": {"role": "golden"}});
    let all = [("cpus", cpus), ("mem", mem), ("disk", disk)];
    all.into_iter().filter(|(_, value)| *value > 0.0).map(|(name, value)| resource(name, value)).collect()
}

/// A task that runs a command.
pub(super) fn task(run: &Run<'_>, name: &str, command: &str) -> Value {
    json!({
        "name": name, "task_id": {"value": name}, "agent_id": {"value": run.names.at_hand.agent},
        "resources": resources(0.1, 32.0, 0.0), "command": {"shell": true, "value": command},
    })
}

/// The operation that launches a task.
pub(super) fn launch_of(task: Value) -> Value {
    json!([{"type": "LAUNCH", "launch": {"task_infos": [task]}}])
}

/// The task with something else in a field.
pub(super) fn with(mut task: Value, field: &str, value: Value) -> Value {
    task[field] = value;
    task
}

/// The task without a field.
pub(super) fn without(mut task: Value, field: &str) -> Value {
    task.as_object_mut().expect("a task is an object").remove(field);
    task
}

/// Accepts all offers with operations, under a name; gives back how many events there were before.
pub(super) fn accept(run: &mut Run<'_>, session: &mut Session, name: &str, operations: Value) -> usize {
    let name = if name.is_empty() { String::new() } else { format!("scheduler/{name}") };
    let accept = json!({"offer_ids": [], "filters": {"refuse_seconds": 0.0}, "operations": operations});
    session.call(run, &name, json!({"type": "ACCEPT", "accept": accept}));
    session.before
}

/// Drives a framework through launching, while somebody follows the operators' events.
pub(crate) fn launch(run: &mut Run<'_>) {
    let events = Events::open(run);
    let call = subscribe(framework("launcher", json!({})));
    let Some(mut session) = Session::open(run, "scheduler/LAUNCH_stream", &call) else { return };
    session.wait("OFFERS", 8.0, 0);
    let sleeper = task(run, "sleeper", "echo hello; sleep 1000");
    let from = accept(run, &mut session, "ACCEPT_LAUNCH_command", launch_of(sleeper));
    session.updates(run, from, 40.0, ends_in(&["TASK_RUNNING", "TASK_FAILED", "TASK_ERROR", "TASK_LOST"]));
    session.pump_for(1.2);
    run.names.at_hand.container = run.cluster.container();
    sets(run, "running");
    super::others(run, |name| super::state_of_file(name) == Some("running"));
    sandbox(run);
    let from = session.count();
    let tasks = json!([{"task_id": {"value": "sleeper"}}]);
    session.call(
        run,
        "scheduler/RECONCILE_running",
        json!({"type": "RECONCILE", "reconcile": {"tasks": tasks}}),
    );
    session.wait("UPDATE", 2.0, from);
    let from = session.count();
    let kill = json!({"task_id": {"value": "sleeper"}, "agent_id": {"value": run.names.at_hand.agent}});
    session.call(run, "scheduler/KILL_running", json!({"type": "KILL", "kill": kill}));
    session.updates(run, from, 15.0, ends_in(OVER));
    for number in 0..8 {
        let command = if number == 0 { "exit 7" } else { "exit 0" };
        let quick = task(run, &format!("quick{number}"), command);
        let from = accept(run, &mut session, &format!("LAUNCH_quick{number}"), launch_of(quick));
        session.updates(run, from, 20.0, ends_in(OVER));
    }
    refused(run, &mut session);
    operations(run, &mut session);
    sets(run, "completed");
    session.save(run, "scheduler/LAUNCH_stream");
    session.call(run, "scheduler/TEARDOWN2", json!({"type": "TEARDOWN"}));
    if let Some(events) = events {
        events.save(run);
    }
}

fn sandbox(run: &mut Run<'_>) {
    let state = run.cluster.ask(crate::cluster::AGENT, "/state").unwrap_or_default();
    let executors = state["frameworks"].as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
    let dir = executors["executors"][0]["directory"].as_str().unwrap_or("/nope").to_owned();
    let container = run.names.at_hand.container.clone().unwrap_or_default();
    let paths = [
        ("browse", format!("/files/browse?path={dir}")),
        ("read", format!("/files/read?path={dir}/stdout&offset=0&length=1000")),
        ("read_size", format!("/files/read?path={dir}/stdout&offset=-1")),
        ("download", format!("/files/download?path={dir}/stdout")),
        ("browse_missing", "/files/browse?path=/nope".to_owned()),
    ];
    for (name, path) in paths {
        run.step(&format!("agent/files_{name}"), Ask::get(Who::Agent, &path));
    }
    agent(run, "agent/POST_LIST_FILES_sandbox", &json!({"type": "LIST_FILES", "list_files": {"path": dir}}));
    let read = json!({"path": format!("{dir}/stdout"), "offset": 0, "length": 100});
    agent(run, "agent/POST_READ_FILE_sandbox", &json!({"type": "READ_FILE", "read_file": read}));
    let nope =
        json!({"container_id": {"value": "c", "parent": {"value": "nope"}}, "command": {"value": "true"}});
    agent(
        run,
        "agent/POST_LAUNCH_NESTED_CONTAINER_nope",
        &json!({"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": nope}),
    );
    let id = json!({"value": "dbg1", "parent": {"value": container}});
    let command = json!({"shell": true, "value": "echo in-session; echo err >&2; exit 3"});
    let session = json!({"container_id": id, "command": command});
    let call = json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": session});
    let mut ask = Ask::call(Who::Agent, super::sets::API, &call);
    ask.headers[1].1 = "application/recordio".to_owned();
    ask.headers.push(("Message-Accept".to_owned(), "application/json".to_owned()));
    run.step("agent/POST_LAUNCH_NESTED_CONTAINER_SESSION", ask);
    agent(
        run,
        "agent/POST_WAIT_NESTED_CONTAINER",
        &json!({"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": {"container_id": id}}),
    );
    sandbox_others(run);
}

/// What else was recorded of sandboxes and of the running container.
fn sandbox_others(run: &mut Run<'_>) {
    let names: Vec<String> = run
        .pending()
        .filter(|recording| of_sandbox(&recording.request))
        .map(|recording| recording.name.clone())
        .collect();
    for name in names {
        if let Some(recording) = run.take(&name) {
            run.replay(recording);
        }
    }
}

fn of_sandbox(request: &Request) -> bool {
    let Request::Parts { path, body, .. } = request else { return false };
    let body = body.as_ref().map(|body| String::from_utf8_lossy(body)).unwrap_or_default();
    !path.ends_with("/scheduler")
        && (path.contains("/runs/") || body.contains("/runs/") || body.contains("\"parent\""))
}

fn refused(run: &mut Run<'_>, session: &mut Session) {
    let of = |run: &Run<'_>, name: &str| task(run, name, "true");
    let tasks = [
        ("ACCEPT_LAUNCH_too_big", with(of(run, "toobig"), "resources", resources(999.0, 32.0, 0.0))),
        ("ACCEPT_LAUNCH_no_resources", with(of(run, "nores"), "resources", json!([]))),
        ("ACCEPT_LAUNCH_bad_task_id", of(run, "a/b")),
        ("ACCEPT_LAUNCH_no_command", without(of(run, "nocmd"), "command")),
        ("ACCEPT_LAUNCH_wrong_agent", with(of(run, "wronga"), "agent_id", json!({"value": "nope"}))),
    ];
    for (name, task) in tasks {
        let from = accept(run, session, name, launch_of(task));
        session.updates(run, from, 15.0, ends_in(OVER));
    }
    let executor = json!({
        "type": "DEFAULT", "executor_id": {"value": "grp"}, "framework_id": {"value": session.framework},
        "resources": resources(0.1, 32.0, 0.0),
    });
    let tasks = json!([task(run, "g1", "exit 0"), task(run, "g2", "sleep 1; exit 0")]);
    let group = json!({"executor": executor, "task_group": {"tasks": tasks}});
    let operations = json!([{"type": "LAUNCH_GROUP", "launch_group": group}]);
    let from = accept(run, session, "ACCEPT_LAUNCH_GROUP_default_executor", operations);
    session.updates(run, from, 8.0, |updates| {
        updates.iter().filter(|(_, state)| OVER.contains(&state.as_str())).count() == 2
    });
    session.pump_for(1.0);
}

/// Reservations that the framework makes, with feedback.
fn operations(run: &mut Run<'_>, session: &mut Session) {
    let reserved = |value: f64, principal: Option<&str>| {
        let mut resource = resources(value, 0.0, 0.0)[0].clone();
        resource["reservations"] = json!([{"type": "DYNAMIC", "role": "golden"}]);
        if let Some(principal) = principal {
            resource["reservations"][0]["principal"] = json!(principal);
        }
        json!([resource])
    };
    let mut operate = |run: &mut Run<'_>, name: &str, operation: Value| {
        let from = accept(run, session, name, json!([operation]));
        session.wait("UPDATE_OPERATION_STATUS", 3.0, from);
        session.pump_for(1.0);
    };
    operate(
        run,
        "ACCEPT_RESERVE",
        json!({"type": "RESERVE", "id": {"value": "op-reserve-1"}, "reserve": {"resources": reserved(1.0, Some("p"))}}),
    );
    operator(run, "operator_running/GET_OPERATIONS_after_reserve", &json!({"type": "GET_OPERATIONS"}));
    operate(
        run,
        "ACCEPT_UNRESERVE",
        json!({"type": "UNRESERVE", "id": {"value": "op-unreserve-1"}, "unreserve": {"resources": reserved(1.0, Some("p"))}}),
    );
    operate(
        run,
        "ACCEPT_RESERVE_invalid",
        json!({"type": "RESERVE", "id": {"value": "op-bad"}, "reserve": {"resources": reserved(900.0, None)}}),
    );
}

/// The operators' event stream, followed while tasks run.
struct Events {
    connection: crate::http::Connection,
}

impl Events {
    const NAME: &'static str = "operator/SUBSCRIBE_event_stream";

    fn open(run: &mut Run<'_>) -> Option<Self> {
        let recording = run.pending().find(|recording| recording.name == Self::NAME)?;
        let bytes = run.bytes(&recording.request, Who::Master);
        let mut connection = crate::http::Connection::send(run.address(Who::Master), &bytes).ok()?;
        testkit::until(Duration::from_secs(5), || {
            connection.pump();
            connection
                .answer()
                .is_some_and(|answer| !crate::events::of(&answer.body).is_empty())
                .then_some(())
        });
        Some(Self { connection })
    }

    fn save(mut self, run: &mut Run<'_>) {
        self.connection.read_for(Duration::from_millis(1500));
        let answer = self.connection.answer().unwrap_or_default();
        let Some(recording) = run.take(Self::NAME) else { return };
        debug_assert!(matches!(recording.reply, Reply::Stream { .. }));
        run.stream(recording, &answer, &crate::events::of(&answer.body));
    }
}
