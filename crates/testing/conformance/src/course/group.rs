//! A framework with task groups, health checks, and executors of its own.

use std::path::Path;

use serde_json::{Value, json};

use super::launch::{OVER, accept, launch_of, resources, task, with, without};
use super::sets::{agent, sets};
use crate::http::Answer;
use crate::run::Run;
use crate::session::{Session, ends_in, framework, subscribe};
use crate::transcript::{Event, Recording, Request};

/// Drives a framework through task groups, checks and executors.
pub(crate) fn group(run: &mut Run<'_>) {
    let call = subscribe(framework("grouper", json!({})));
    let Some(mut session) = Session::open(run, "scheduler/GROUP_HEALTH_EXECUTOR_stream", &call) else {
        return;
    };
    session.wait("OFFERS", 8.0, 0);
    let executor = json!({
        "type": "DEFAULT", "executor_id": {"value": "grp"}, "framework_id": {"value": session.framework},
        "resources": resources(0.1, 32.0, 10.0),
    });
    let tasks = json!([task(run, "g1", "sleep 3"), task(run, "g2", "sleep 1000")]);
    let launch = json!({"executor": executor, "task_group": {"tasks": tasks}});
    let operations = json!([{"type": "LAUNCH_GROUP", "launch_group": launch}]);
    let from = accept(run, &mut session, "ACCEPT_LAUNCH_GROUP", operations);
    session.updates(run, from, 30.0, |updates| {
        updates.iter().filter(|(_, state)| state == "TASK_RUNNING").count() == 2 || ends_in(OVER)(updates)
    });
    run.names.at_hand.container = run.cluster.container();
    sets(run, "group");
    let nested =
        json!({"type": "GET_CONTAINERS", "get_containers": {"show_nested": true, "show_standalone": true}});
    agent(run, "agent_group/POST_GET_CONTAINERS_nested", &nested);
    super::others(run, |name| super::state_of_file(name) == Some("group"));
    let from = session.count();
    let kill = json!({"task_id": {"value": "g2"}, "agent_id": {"value": run.names.at_hand.agent}});
    session.call(run, "scheduler/KILL_group_task", json!({"type": "KILL", "kill": kill}));
    session.updates(run, from, 20.0, ends_in(OVER));
    session.pump_for(3.0);
    single(run, &mut session);
    custom(run, &mut session);
    // What was not acknowledged comes again after ten seconds.
    session.pump_for(3.0);
    session.save(run, "scheduler/GROUP_HEALTH_EXECUTOR_stream");
}

/// A task with a health check, one that cannot be fetched, one whose executor ends.
fn single(run: &mut Run<'_>, session: &mut Session) {
    let check = json!({
        "type": "COMMAND", "delay_seconds": 0, "interval_seconds": 1, "timeout_seconds": 5, "consecutive_failures": 2,
        "grace_period_seconds": 0, "command": {"shell": true, "value": "[ ! -e bad ] && touch bad"},
    });
    let checked = with(task(run, "hc", "sleep 30"), "health_check", check);
    let from = accept(run, session, "ACCEPT_LAUNCH_health_check", launch_of(checked));
    session.updates(run, from, 25.0, ends_in(OVER));
    let command = json!({"shell": true, "value": "true", "uris": [{"value": "/nonexistent/file"}]});
    let unfetched = with(task(run, "baduri", "true"), "command", command);
    let from = accept(run, session, "ACCEPT_LAUNCH_bad_uri", launch_of(unfetched));
    session.updates(run, from, 25.0, ends_in(OVER));
    let dies = own_executor(run, session, "exdie", "die", json!({"value": "exit 5"}));
    let from = accept(run, session, "ACCEPT_LAUNCH_executor_exits", launch_of(dies));
    session.updates(run, from, 25.0, ends_in(OVER));
    session.pump_for(1.0);
}

fn own_executor(run: &Run<'_>, session: &Session, name: &str, executor: &str, command: Value) -> Value {
    let executor = json!({
        "executor_id": {"value": executor}, "framework_id": {"value": session.framework},
        "command": command, "resources": resources(0.1, 32.0, 0.0),
    });
    with(without(task(run, name, "x"), "command"), "executor", executor)
}

/// An executor of our own, in the place of the recorded one: what it saw is a recording, too.
fn custom(run: &mut Run<'_>, session: &mut Session) {
    let variables = json!([{"name": "NOOP_LOG", "type": "VALUE", "value": "1"}]);
    let command = json!({"value": run.executor.clone(), "environment": {"variables": variables}});
    let launched = own_executor(run, session, "cust", "cust", command);
    let from = accept(run, session, "ACCEPT_LAUNCH_custom_executor", launch_of(launched));
    session.updates(run, from, 25.0, ends_in(OVER));
    session.pump_for(1.0);
    let (executor, agent) = (json!({"value": "cust"}), json!({"value": run.names.at_hand.agent}));
    let message = json!({"agent_id": agent, "executor_id": executor, "data": "aGk="});
    session.call(run, "scheduler/MESSAGE_to_executor", json!({"type": "MESSAGE", "message": message}));
    session.pump_for(0.5);
    let shutdown = json!({"executor_id": executor, "agent_id": agent});
    session.call(run, "scheduler/SHUTDOWN_executor", json!({"type": "SHUTDOWN", "shutdown": shutdown}));
    session.pump_for(2.0);
    seen(run);
}

/// Compares what our executor saw with what the recorded one saw.
fn seen(run: &mut Run<'_>) {
    let recordings: Vec<&Recording> =
        run.pending().filter(|recording| matches!(recording.request, Request::Executor)).collect();
    let slaves = run.cluster.work_dir().join("slaves");
    let text =
        log_of(&slaves, "cust").and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let mut lines = text.lines();
    let mut head = Answer { complete: true, ..Answer::default() };
    head.status_line = lines.clone().find(|line| line.starts_with("HTTP/")).unwrap_or_default().to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        let is_name = name.chars().all(|character| character.is_ascii_alphabetic() || character == '-');
        is_name.then(|| (name.to_owned(), value.trim().to_owned()))
    };
    head.headers = lines.clone().filter_map(header).collect();
    let events = lines.by_ref().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object);
    let events: Vec<Event> = events.map(|event| Event { at: 0.0, event }).collect();
    for recording in recordings {
        if let Some(recording) = run.take(&recording.name) {
            run.stream(recording, &head, &events);
        }
    }
}

/// The newest file `stderr` below `dir` of an executor.
fn log_of(dir: &Path, executor: &str) -> Option<std::path::PathBuf> {
    let runs = |framework: &Path| framework.join("executors").join(executor).join("runs/latest/stderr");
    let entries = |dir: &Path| {
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let frameworks = entries(dir).into_iter().flat_map(|agent| entries(&agent.join("frameworks")));
    frameworks.map(|framework| runs(&framework)).find(|path| path.exists())
}
