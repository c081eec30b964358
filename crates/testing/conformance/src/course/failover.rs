//! A framework whose scheduler fails over, disconnects and comes back; and subscriptions that are refused.

use serde_json::{Value, json};

use super::sets::get;
use crate::run::{Run, Who};
use crate::session::{Session, framework, subscribe};

/// Drives a framework through failing over.
pub(crate) fn failover(run: &mut Run<'_>) {
    let info = |id: Option<&str>| {
        let mut info = framework("fo", json!({"failover_timeout": 60.0}));
        if let Some(id) = id {
            info["id"] = json!({"value": id});
        }
        info
    };
    let Some(mut old) = Session::open(run, "scheduler/failover_old_stream", &subscribe(info(None))) else {
        return;
    };
    old.wait("OFFERS", 5.0, 0);
    let mut again = subscribe(info(Some(&old.framework)));
    again["framework_id"] = json!({"value": old.framework});
    let Some(mut new) = Session::open(run, "scheduler/failover_new_stream", &again) else { return };
    new.pump_for(2.0);
    old.pump_for(0.5);
    old.save(run, "scheduler/failover_old_stream");
    new.save(run, "scheduler/failover_new_stream");
    old.call(run, "errors/old_stream_id_after_failover", json!({"type": "REVIVE"}));
    let id = new.framework.clone();
    away(run, new);
    again["subscribe"]["force"] = json!(true);
    let Some(mut back) = Session::open(run, "scheduler/resubscribe_after_disconnect", &again) else { return };
    back.pump_for(1.5);
    back.save(run, "scheduler/resubscribe_after_disconnect");
    let offers: Vec<Value> =
        back.live().iter().filter_map(|offer| offer.get("id").cloned()).take(1).collect();
    for number in 1..=2 {
        let accept = json!({"offer_ids": offers, "operations": [], "filters": {"refuse_seconds": 1}});
        back.call(
            run,
            &format!("scheduler/ACCEPT_empty_{number}"),
            json!({"type": "ACCEPT", "accept": accept}),
        );
        back.pump_for(0.4);
    }
    back.call(run, "", json!({"type": "TEARDOWN", "framework_id": {"value": id}}));
    get(run, Who::Master, "master/GET_frameworks_completed", "frameworks");
    super::others(run, |name| super::state_of_file(name) == Some("completed"));
    drop(back);
    subscriptions(run);
}

/// The stream ends, and the framework is asked for and calls without it.
fn away(run: &mut Run<'_>, session: Session) {
    let stream = session.head().header("mesos-stream-id").unwrap_or_default().to_owned();
    let id = session.framework.clone();
    drop(session);
    testkit::until(std::time::Duration::from_secs(5), || {
        let frameworks = run.cluster.ask(crate::cluster::MASTER, "/frameworks")?;
        let all = frameworks["frameworks"].as_array()?;
        all.iter().any(|framework| framework["id"] == *id && framework["connected"] == false).then_some(())
    });
    get(run, Who::Master, "master/GET_frameworks_disconnected", "frameworks");
    super::others(run, |name| super::state_of_file(name) == Some("disconnected"));
    let name = "errors/call_while_disconnected";
    if let Some(recorded) = Session::recorded_header(run, name, "mesos-stream-id") {
        run.names.bind(&recorded, &stream);
    }
    if let Some(recording) = run.take(name) {
        run.replay(recording);
    }
}

/// Subscriptions with something wrong in them. Each listens as long as the recording did.
fn subscriptions(run: &mut Run<'_>) {
    let found: Vec<String> = run
        .pending()
        .filter(|recording| recording.file().starts_with("subscribe_"))
        .map(|recording| recording.name.clone())
        .collect();
    for name in found {
        if let Some(recording) = run.take(&name) {
            run.replay(recording);
        }
    }
}
