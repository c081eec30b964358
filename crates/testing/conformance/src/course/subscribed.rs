//! A framework that subscribes, declines, reconciles and leaves; and what is refused to it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::http::Connection;
use crate::run::{Ask, Run, Who};
use crate::session::{SCHEDULER, Session, framework, subscribe};

/// Calls for which the recording's headers or names are wrong on purpose.
const WRONG: &[&str] = &["missing_stream_id", "wrong_stream_id", "malformed_stream_id"];
/// Calls that lack what they announce.
const LACKING: &[&str] =
    &["accept_missing_field", "decline_missing_field", "decline_unknown_offer", "kill_missing_field"];

/// Drives a framework through everything but launching.
pub(crate) fn subscribed(run: &mut Run<'_>) {
    let call = subscribe(framework("golden", json!({})));
    let Some(mut session) = Session::open(run, "scheduler/SUBSCRIBE_stream", &call) else { return };
    session.wait("OFFERS", 8.0, 0);
    for name in WRONG {
        session.wrong_call(run, &format!("errors/{name}"));
    }
    for name in LACKING {
        let name = format!("errors/{name}");
        if run.has(&name) {
            session.call(run, &name, json!({}));
        }
    }
    decline(run, &mut session);
    unknown_things(run, &mut session);
    quiet(run, &mut session);
    let update =
        framework("golden", json!({"id": {"value": session.framework}, "roles": ["golden", "golden2"]}));
    session.call(
        run,
        "scheduler/UPDATE_FRAMEWORK",
        json!({"type": "UPDATE_FRAMEWORK", "update_framework": {"framework_info": update}}),
    );
    session.pump_for(1.5);
    session.save(run, "scheduler/SUBSCRIBE_stream");
    leave(run, session);
}

fn decline(run: &mut Run<'_>, session: &mut Session) {
    let filters =
        [("DECLINE_refuse_3s", Some(3.0)), ("DECLINE_default_filter", None), ("DECLINE_1day", Some(86400.0))];
    for (name, seconds) in filters {
        let from = session.count();
        let mut call = json!({"type": "DECLINE", "decline": {"offer_ids": []}});
        if let Some(seconds) = seconds {
            call["decline"]["filters"] = json!({"refuse_seconds": seconds});
        }
        session.call(run, &format!("scheduler/{name}"), call);
        if seconds != Some(86400.0) {
            session.wait("OFFERS", 12.0, from);
        }
    }
    session.pump_for(0.3);
    let from = session.count();
    session.call(run, "scheduler/REVIVE", json!({"type": "REVIVE"}));
    session.wait("OFFERS", 8.0, from);
}

fn unknown_things(run: &mut Run<'_>, session: &mut Session) {
    let agent = json!({"value": run.names.at_hand.agent});
    let task = json!({"name": "t", "task_id": {"value": "lost1"}, "agent_id": agent, "resources": [], "command": {"value": "true"}});
    let launch = json!({"type": "LAUNCH", "launch": {"task_infos": [task]}});
    let accept = json!({"offer_ids": [{"value": "nope-O9"}], "operations": [launch]});
    session.call(run, "scheduler/ACCEPT_unknown_offer_launch", json!({"type": "ACCEPT", "accept": accept}));
    session.pump_for(0.5);
    let reconcile = |tasks: Value| json!({"type": "RECONCILE", "reconcile": {"tasks": tasks}});
    session.call(run, "scheduler/RECONCILE_implicit", reconcile(json!([])));
    session.call(
        run,
        "scheduler/RECONCILE_unknown_task",
        reconcile(json!([{"task_id": {"value": "ghost"}}])),
    );
    let other = json!([{"task_id": {"value": "ghost2"}, "agent_id": {"value": "nope"}}]);
    session.call(run, "scheduler/RECONCILE_unknown_task_and_agent", reconcile(other));
    session.pump_for(0.5);
    session.call(
        run,
        "scheduler/KILL_unknown",
        json!({"type": "KILL", "kill": {"task_id": {"value": "ghost"}}}),
    );
    session.pump_for(0.5);
}

fn quiet(run: &mut Run<'_>, session: &mut Session) {
    session.call(run, "scheduler/SUPPRESS", json!({"type": "SUPPRESS"}));
    let decline = json!({"offer_ids": [], "filters": {"refuse_seconds": 0.0}});
    session.call(run, "scheduler/DECLINE_suppressed", json!({"type": "DECLINE", "decline": decline}));
    session.pump_for(1.5);
    let from = session.count();
    session.call(
        run,
        "scheduler/REVIVE_after_SUPPRESS",
        json!({"type": "REVIVE", "revive": {"roles": ["golden"]}}),
    );
    session.wait("OFFERS", 5.0, from);
    let agent = json!({"value": run.names.at_hand.agent});
    let executor = json!({"value": "x"});
    let calls = [
        ("REQUEST", json!({"type": "REQUEST", "request": {"requests": [{"resources": []}]}})),
        (
            "MESSAGE",
            json!({"type": "MESSAGE", "message": {"agent_id": agent, "executor_id": executor, "data": "aGk="}}),
        ),
        (
            "ACKNOWLEDGE_bogus",
            json!({"type": "ACKNOWLEDGE", "acknowledge": {"agent_id": agent, "task_id": executor, "uuid": "AAAAAAAAAAAAAAAAAAAAAA=="}}),
        ),
        (
            "ACKNOWLEDGE_bad_uuid",
            json!({"type": "ACKNOWLEDGE", "acknowledge": {"agent_id": agent, "task_id": executor, "uuid": "AAAA"}}),
        ),
        (
            "SHUTDOWN_bogus",
            json!({"type": "SHUTDOWN", "shutdown": {"executor_id": executor, "agent_id": agent}}),
        ),
        (
            "RECONCILE_OPERATIONS",
            json!({"type": "RECONCILE_OPERATIONS", "reconcile_operations": {"operations": []}}),
        ),
    ];
    for (name, call) in calls {
        session.call(run, &format!("scheduler/{name}"), call);
    }
}

fn leave(run: &mut Run<'_>, mut session: Session) {
    session.call(run, "scheduler/TEARDOWN", json!({"type": "TEARDOWN"}));
    session.pump_until(Duration::from_secs(2), Session::closed);
    session.call(run, "scheduler/after_TEARDOWN_REVIVE", json!({"type": "REVIVE"}));
    let id = json!({"value": session.framework});
    let mut again = subscribe(framework("golden", json!({"id": id})));
    again["framework_id"] = id;
    again["subscribe"]["force"] = json!(false);
    match run.take("scheduler/SUBSCRIBE_after_teardown") {
        Some(recording) => {
            run.replay(recording);
        }
        None => {
            let bytes = run.own(Ask::call(Who::Master, SCHEDULER, &again));
            let _ = Connection::send(run.address(Who::Master), &bytes)
                .map(|mut connection| connection.read_for(Duration::from_millis(300)));
        }
    }
}
