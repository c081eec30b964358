//! Recordings that no step knows, in the order of time: what one changed, the next one sees.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::http::Connection;
use crate::run::{Run, Who};
use crate::session::{SCHEDULER, Session, framework, subscribe};
use crate::transcript::{Recording, Reply, Request};

/// How long what came of a call may take, where the recordings waited.
const PAUSE: f64 = 0.7;
/// How long a stream may take to bring what was recorded, after all else was asked.
const LAST: f64 = 5.0;

/// Drives all recordings, in the order of time; within a second, streams first, then in `order`.
pub(crate) fn replay(run: &mut Run<'_>, order: &BTreeMap<String, usize>) {
    let mut all: Vec<&Recording> = run.pending().collect();
    all.sort_by_key(|recording| {
        let known = order.get(&recording.name).copied().unwrap_or(usize::MAX);
        (recording.second, !is_stream(recording), known, recording.name.clone())
    });
    let mut open: Vec<(&Recording, Session)> = Vec::new();
    let mut others: Vec<(&Recording, Connection)> = Vec::new();
    for (at, recording) in all.iter().copied().enumerate() {
        let scheduler =
            matches!(&recording.request, Request::Parts { path, .. } if path.ends_with(SCHEDULER));
        if is_stream(recording) && scheduler {
            let session = Session::open(run, &recording.name, &Value::Null);
            open.extend(session.map(|session| (recording, session)));
        } else if is_stream(recording) {
            let bytes = run.bytes(&recording.request, run.who(recording));
            let connection = Connection::send(run.address(run.who(recording)), &bytes);
            others.extend(connection.ok().map(|connection| (recording, connection)));
        } else {
            one(run, recording, &mut open);
        }
        // What was asked a second later saw what came of this.
        let later = all.get(at + 1).is_some_and(|next| next.second > recording.second);
        for (_, session) in &mut open {
            let from = session.acknowledged;
            session.updates(run, from, if later { PAUSE } else { 0.05 }, |_| false);
        }
        if scheduler {
            run.names.at_hand.container = run.cluster.container();
        }
    }
    for (recording, mut session) in open {
        session.pump_for(LAST);
        session.save(run, &recording.name);
    }
    for (recording, mut connection) in others {
        connection.read_for(std::time::Duration::from_secs_f64(LAST));
        let answer = connection.answer().unwrap_or_default();
        if run.take(&recording.name).is_some() {
            run.stream(recording, &answer, &crate::events::of(&answer.body));
        }
    }
}

/// Streams that were followed while other things were asked.
fn is_stream(recording: &Recording) -> bool {
    recording.elapsed == 0.0 && matches!(recording.reply, Reply::Stream { .. })
        || matches!(&recording.reply, Reply::Stream { events, .. } if events.iter().any(|event| event.at > 0.0))
}

/// One exchange; a call of a framework goes through its session, which is made if there is none.
fn one(run: &mut Run<'_>, recording: &Recording, open: &mut [(&Recording, Session)]) {
    let call: Option<Value> = match &recording.request {
        Request::Parts { path, body: Some(body), .. } if path.ends_with(SCHEDULER) => {
            serde_json::from_slice(body).ok()
        }
        Request::Executor => return,
        _ => None,
    };
    let framework_id = call.as_ref().and_then(|call| call.pointer("/framework_id/value")?.as_str());
    let of_framework = framework_id.is_some_and(|id| !run.mesos.ids(id).is_empty());
    let kind = call.as_ref().and_then(|call| call.get("type")?.as_str());
    if !of_framework || kind == Some("SUBSCRIBE") {
        if run.take(&recording.name).is_some() {
            run.replay(recording);
        }
        return;
    }
    let id = framework_id.map(|id| run.names.text(run.mesos, id)).unwrap_or_default();
    match open.iter_mut().find(|(_, session)| session.framework == id) {
        Some((_, session)) => {
            session.again(run, recording);
        }
        None => {
            let Some(mut session) = Session::open(run, "", &subscribe(framework("golden", json!({})))) else {
                return;
            };
            session.wait("OFFERS", 5.0, 0);
            session.again(run, recording);
            session.call(run, "", json!({"type": "TEARDOWN"}));
        }
    }
}

/// Drives whatever was asked of a master that wants credentials.
pub(crate) fn guarded(run: &mut Run<'_>) {
    let mut found: Vec<&Recording> =
        run.pending().filter(|recording| run.who(recording) == Who::Guarded).collect();
    found.sort_by_key(|recording| (recording.second, recording.name.clone()));
    for recording in found {
        if run.take(&recording.name).is_some() {
            run.replay(recording);
        }
    }
}
