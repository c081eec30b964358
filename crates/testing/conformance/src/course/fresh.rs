//! A master and an agent, and nothing else: whatever can be read, and what is refused without a framework.

use serde_json::{Value, json};

use super::sets::{agent, get, operator};
use crate::run::{Run, Who};
use crate::shape::{Kind, Shapes};
use crate::transcript::{Recording, Request};

/// Folders whose exchanges want nothing but a cluster, if they come without a framework's id.
const FOLDERS: &[&str] = &["master/", "agent/", "operator/", "errors/"];

/// Asks whatever was recorded of a cluster that nobody used.
pub(crate) fn fresh(run: &mut Run<'_>) {
    // The agent's and the master's ids come from here.
    get(run, Who::Master, "master/GET_state", "state");
    get(run, Who::Agent, "agent/GET_state", "state");
    operator(run, "operator/GET_AGENTS", &json!({"type": "GET_AGENTS"}));
    agent(run, "agent/POST_GET_AGENT", &json!({"type": "GET_AGENT"}));
    let found: Vec<String> = run
        .pending()
        .filter(|recording| is_fresh(recording, run.mesos))
        .map(|recording| recording.name.clone())
        .collect();
    for name in found {
        if let Some(recording) = run.take(&name) {
            run.replay(recording);
        }
    }
}

/// Words in the names of exchanges that something went before, though they read only.
const LATER: &[&str] = &["set", "cleared", "draining", "reserve", "sandbox", "nested", "nope"];

fn is_fresh(recording: &Recording, shapes: &Shapes) -> bool {
    let name = &recording.name;
    let Request::Parts { method, path, body, .. } = &recording.request else { return false };
    let in_folder = FOLDERS.iter().any(|folder| name.starts_with(folder));
    if !in_folder || super::state_of_folder(name).or(super::state_of_file(name)).is_some() {
        return false;
    }
    let refused = recording.head().is_some_and(|head| matches!(head.status(), 400..=499));
    let call: Option<Value> = body.as_ref().and_then(|body| serde_json::from_slice(body).ok());
    let call_type = call.as_ref().and_then(|call| call.get("type")?.as_str()).unwrap_or_default();
    let framework =
        call.as_ref().and_then(|call| call.pointer("/framework_id/value")?.as_str()).unwrap_or_default();
    let of_framework = shapes.ids(framework).iter().any(|(_, kind, _)| *kind == Kind::Framework);
    let subscribes = call_type == "SUBSCRIBE" && !refused;
    let of_files = path.contains("/slaves/") || path.contains("/files/") && !refused && method != "GET";
    let reads = super::reads(&recording.request)
        && !LATER.iter().any(|word| recording.file().ends_with(&format!("_{word}")));
    let in_errors = name.starts_with("errors/") && !subscribes;
    !of_framework && !of_files && (reads || in_errors || harmless(call_type))
}

/// Calls that change nothing that shows elsewhere.
fn harmless(call: &str) -> bool {
    matches!(call, "SET_LOGGING_LEVEL" | "PRUNE_IMAGES")
}
