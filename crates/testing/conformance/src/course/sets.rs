//! Everything that can be read of master and agent, asked in several states.

use serde_json::{Value, json};

use crate::run::{Ask, Run, Who};

/// Where the operator calls of master and agent go.
pub(super) const API: &str = "/api/v1";

const MASTER: &[&str] =
    &["state", "state-summary", "slaves", "frameworks", "roles", "tasks", "metrics/snapshot"];
const CALLS: &[&str] = &[
    "GET_STATE",
    "GET_AGENTS",
    "GET_FRAMEWORKS",
    "GET_EXECUTORS",
    "GET_OPERATIONS",
    "GET_TASKS",
    "GET_ROLES",
];
const AGENT: &[&str] = &["state", "containers", "monitor/statistics", "metrics/snapshot", "files/debug"];
const AGENT_CALLS: &[&str] = &[
    "GET_STATE",
    "GET_CONTAINERS",
    "GET_FRAMEWORKS",
    "GET_EXECUTORS",
    "GET_TASKS",
    "GET_AGENT",
    "GET_OPERATIONS",
];

/// Asks all of it, and what else was recorded in that state.
pub(super) fn sets(run: &mut Run<'_>, state: &str) {
    for path in MASTER {
        get(run, Who::Master, &format!("master_{state}/GET_{}", path.replace('/', "_")), path);
    }
    for call in CALLS {
        operator(run, &format!("operator_{state}/{call}"), &json!({"type": call}));
    }
    for path in AGENT {
        get(run, Who::Agent, &format!("agent_{state}/GET_{}", path.replace('/', "_")), path);
    }
    for call in AGENT_CALLS {
        agent(run, &format!("agent_{state}/POST_{call}"), &json!({"type": call}));
    }
    super::others(run, |name| super::state_of_folder(name) == Some(state));
}

/// `GET /path`.
pub(super) fn get(run: &mut Run<'_>, who: Who, name: &str, path: &str) {
    run.step(name, Ask::get(who, &format!("/{path}")));
}

/// An operator call of the master.
pub(super) fn operator(run: &mut Run<'_>, name: &str, call: &Value) {
    run.step(name, Ask::call(Who::Master, API, call));
}

/// An operator call of the agent.
pub(super) fn agent(run: &mut Run<'_>, name: &str, call: &Value) {
    run.step(name, Ask::call(Who::Agent, API, call));
}
