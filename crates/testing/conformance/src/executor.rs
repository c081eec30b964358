//! The executor of the recordings in our words: every task runs and is finished at once.
//!
//! What it is sent goes to standard error, where the comparison finds it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::http::{Connection, latin1};

/// Where executors call.
const PATH: &str = "/slave(1)/api/v1/executor";

/// Runs until it is told to shut down or its agent is gone.
pub(crate) fn main() -> std::process::ExitCode {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let endpoint = variable("MESOS_AGENT_ENDPOINT");
    let ids = json!({
        "framework_id": {"value": variable("MESOS_FRAMEWORK_ID")}, "executor_id": {"value": variable("MESOS_EXECUTOR_ID")},
    });
    let Ok(agent) = endpoint.parse() else {
        eprintln!("MESOS_AGENT_ENDPOINT is no address: {endpoint}");
        return std::process::ExitCode::FAILURE;
    };
    let send = |call: Value| {
        let mut call = call;
        if let (Value::Object(call), Value::Object(ids)) = (&mut call, &ids) {
            call.extend(ids.clone());
        }
        let body = call.to_string();
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: {endpoint}\r\nContent-Type: application/json\r\nAccept: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Connection::send(agent, format!("{head}{body}").as_bytes())
    };
    let subscribe = json!({"unacknowledged_tasks": [], "unacknowledged_updates": []});
    let Ok(mut stream) = send(json!({"type": "SUBSCRIBE", "subscribe": subscribe})) else {
        return std::process::ExitCode::FAILURE;
    };
    let (mut seen, mut told) = (0, false);
    while !stream.closed {
        stream.pump();
        let Some(answer) = stream.answer() else { continue };
        if !told {
            let head = stream.bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(0);
            eprintln!("{}", latin1(&stream.bytes[..head]));
            told = true;
        }
        for event in crate::events::of(&answer.body).into_iter().skip(seen) {
            seen += 1;
            eprintln!("{}", event.event);
            for task in tasks(&event.event) {
                for state in ["TASK_RUNNING", "TASK_FINISHED"] {
                    let status = status(&task, &ids, state, seen);
                    let _ = send(json!({"type": "UPDATE", "update": {"status": status}}))
                        .map(|mut connection| connection.answer_within(Duration::from_secs(5)));
                }
            }
            if crate::events::kind(&event.event) == "SHUTDOWN" {
                return std::process::ExitCode::SUCCESS;
            }
        }
        if answer.complete {
            break;
        }
    }
    std::process::ExitCode::SUCCESS
}

/// The ids of the tasks that an event launches.
fn tasks(event: &Value) -> Vec<Value> {
    let one = event.pointer("/launch/task").into_iter();
    let group =
        event.pointer("/launch_group/task_group/tasks").and_then(Value::as_array).into_iter().flatten();
    one.chain(group).map(|task| task["task_id"].clone()).collect()
}

fn status(task: &Value, ids: &Value, state: &str, number: usize) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unique = format!("{:08}{number:02}{:>6}", now.subsec_nanos() % 100_000_000, &state[5..9]);
    json!({
        "task_id": task, "executor_id": ids["executor_id"], "state": state, "source": "SOURCE_EXECUTOR",
        "uuid": STANDARD.encode(&unique.as_bytes()[..16]), "timestamp": now.as_secs_f64(),
    })
}
