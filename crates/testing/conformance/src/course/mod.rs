//! The course that the recordings were made in: which exchanges in which state of a cluster.
//!
//! It says what leads from state to state. An exchange whose recording is at hand is driven by what was
//! recorded; what leads to a state is done whether or not it was. A recording that no step knows is driven
//! in the state that its folder or name tells, else in the order of time (`replay`).

mod failover;
mod fresh;
mod group;
mod launch;
mod operations;
mod replay;
mod sets;
mod subscribed;
mod wire;

pub(crate) use failover::failover;
pub(crate) use fresh::fresh;
pub(crate) use group::group;
pub(crate) use launch::launch;
pub(crate) use operations::operations;
pub(crate) use replay::{guarded, replay};
pub(crate) use subscribed::subscribed;
pub(crate) use wire::wire;

use serde_json::Value;

use crate::run::Run;
use crate::transcript::Request;

/// Words in the names of folders and files, and the state that they tell.
const STATES: &[&str] = &[
    "running",
    "completed",
    "group",
    "reserved",
    "quota",
    "weights",
    "deactivated",
    "drained",
    "disconnected",
];

/// The state that the name of a recording's folder tells: `master_running/...`.
fn state_of_folder(name: &str) -> Option<&'static str> {
    state_in(name.rsplit_once('/')?.0)
}

/// The state that a recording's own name tells: `.../GET_slaves_reserved`.
fn state_of_file(name: &str) -> Option<&'static str> {
    state_in(name.rsplit('/').next()?)
}

fn state_in(text: &str) -> Option<&'static str> {
    let (_, last) = text.rsplit_once('_')?;
    STATES.iter().find(|state| **state == last).copied()
}

/// Whether a request changes nothing.
pub(crate) fn reads(request: &Request) -> bool {
    let Request::Parts { method, body, .. } = request else { return false };
    let call: Option<Value> = body.as_ref().and_then(|body| serde_json::from_slice(body).ok());
    let call = call.as_ref().and_then(|call| call.get("type")?.as_str()).unwrap_or_default();
    let is_read = |call: &str| ["GET_", "LIST_", "READ_"].iter().any(|start| call.starts_with(start));
    matches!(method.as_str(), "GET" | "HEAD") || is_read(call)
}

/// Drives the recordings of reading that no step took and that `in_state` finds to belong here. What changes
/// the state is left to the order of time.
fn others(run: &mut Run<'_>, in_state: impl Fn(&str) -> bool) {
    let found: Vec<String> = run
        .pending()
        .filter(|recording| in_state(&recording.name) && reads(&recording.request))
        .map(|recording| recording.name.clone())
        .collect();
    for name in found {
        if let Some(recording) = run.take(&name) {
            run.replay(recording);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_states() {
        assert_eq!(state_of_folder("master_running/GET_state"), Some("running"));
        assert_eq!(state_of_file("operator/GET_AGENTS_reserved"), Some("reserved"));
        assert_eq!(state_of_file("errors/op_no_type"), None);
    }
}
