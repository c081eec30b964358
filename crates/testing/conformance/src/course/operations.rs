//! An operator: reservations, volumes, quota, weights, maintenance, agents.

use std::time::Duration;

use serde_json::{Value, json};

use super::sets::{get, operator};
use crate::run::{Ask, Run, Who};
use crate::session::{Session, framework, subscribe};

/// Drives an operator through what changes the cluster.
pub(crate) fn operations(run: &mut Run<'_>) {
    reservations(run);
    forms(run);
    quota(run);
    weights(run);
    maintenance(run);
    agents(run);
}

/// Waits a moment until the agent is as `there` says; what follows shows whether it came to that.
fn slave_shows(run: &Run<'_>, there: impl Fn(&Value) -> bool) {
    testkit::until(Duration::from_secs(1), || {
        let slaves = run.cluster.ask(crate::cluster::MASTER, "/slaves")?;
        slaves["slaves"].as_array()?.iter().any(&there).then_some(())
    });
}

fn reserved(name: &str, value: f64) -> Value {
    let reservations = json!([{"type": "DYNAMIC", "role": "ops", "principal": "me"}]);
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}, "reservations": reservations})
}

fn agent(run: &Run<'_>) -> Value {
    json!({"value": run.names.at_hand.agent})
}

/// A call whose field has the name of its type in lower case.
fn call(run: &mut Run<'_>, name: &str, kind: &str, field: Value) {
    operator(run, &format!("operator/{name}"), &json!({"type": kind, kind.to_lowercase(): field}));
}

fn reservations(run: &mut Run<'_>) {
    let agent = agent(run);
    let of = |resources: Value| json!({"agent_id": agent, "resources": resources});
    let reserve = "RESERVE_RESOURCES";
    call(run, reserve, reserve, of(json!([reserved("cpus", 1.0)])));
    call(run, "RESERVE_RESOURCES_too_much", reserve, of(json!([reserved("cpus", 1000.0)])));
    let nobody = json!({"agent_id": {"value": "nope"}, "resources": [reserved("cpus", 1.0)]});
    call(run, "RESERVE_RESOURCES_bad_agent", reserve, nobody);
    let old = json!({"name": "mem", "type": "SCALAR", "scalar": {"value": 64}, "role": "ops", "reservation": {"principal": "me"}});
    call(run, "RESERVE_RESOURCES_old_format", reserve, of(json!([old])));
    let disk = reserved("disk", 100.0);
    call(run, "RESERVE_disk", reserve, of(json!([disk])));
    let mut volume = disk.clone();
    volume["disk"] = json!({"persistence": {"id": "vol1", "principal": "me"}, "volume": {"mode": "RW", "container_path": "vol"}});
    let volumes = json!({"agent_id": agent, "volumes": [volume]});
    call(run, "CREATE_VOLUMES", "CREATE_VOLUMES", volumes.clone());
    call(run, "CREATE_VOLUMES_dup", "CREATE_VOLUMES", volumes.clone());
    call(
        run,
        "GROW_VOLUME",
        "GROW_VOLUME",
        json!({"agent_id": agent, "volume": volume, "addition": reserved("disk", 10.0)}),
    );
    slave_shows(run, |slave| slave.pointer("/reserved_resources/ops/cpus").is_some());
    call(run, "GET_AGENTS_reserved", "GET_AGENTS", json!({}));
    for path in ["slaves", "state", "roles"] {
        get(run, Who::Master, &format!("master/GET_{path}_reserved"), path);
    }
    call(run, "GET_ROLES_reserved", "GET_ROLES", json!({}));
    super::others(run, |name| super::state_of_file(name) == Some("reserved"));
    let unreserve = "UNRESERVE_RESOURCES";
    call(run, "DESTROY_VOLUMES", "DESTROY_VOLUMES", volumes);
    call(run, unreserve, unreserve, of(json!([reserved("cpus", 1.0)])));
    call(run, "UNRESERVE_RESOURCES_again", unreserve, of(json!([reserved("cpus", 1.0)])));
    call(run, "UNRESERVE_disk", unreserve, of(json!([disk])));
    call(run, "UNRESERVE_mem", unreserve, of(json!([reserved("mem", 64.0)])));
}

fn forms(run: &mut Run<'_>) {
    let agent = run.names.at_hand.agent.clone().unwrap_or_default();
    let reservation = format!("slaveId={agent}&resources={}", json!([reserved("cpus", 0.5)]));
    let forms = [
        ("reserve", "/master/reserve", reservation.as_str()),
        ("unreserve", "/master/unreserve", &reservation),
        ("reserve_missing", "/master/reserve", ""),
        ("teardown_missing", "/master/teardown", ""),
        ("teardown_unknown", "/master/teardown", "frameworkId=nope"),
    ];
    for (name, path, body) in forms {
        let headers = vec![("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
        let body = Some(body.as_bytes().to_vec());
        run.step(
            &format!("master/POST_{name}"),
            Ask { who: Who::Master, method: "POST", path: path.to_owned(), headers, body },
        );
    }
}

fn quota(run: &mut Run<'_>) {
    let of = |guarantee: f64, limit: f64, force: bool| {
        let config = json!({"role": "ops", "guarantees": {"cpus": {"value": guarantee}}, "limits": {"cpus": {"value": limit}}});
        let mut quota = json!({"quota_configs": [config]});
        if force {
            quota["force"] = json!(true);
        }
        quota
    };
    let update = "UPDATE_QUOTA";
    call(run, update, update, of(2.0, 2.0, false));
    operator(run, "operator/GET_QUOTA_set", &json!({"type": "GET_QUOTA"}));
    get(run, Who::Master, "master/GET_quota_set", "quota");
    get(run, Who::Master, "master/GET_roles_quota", "roles");
    super::others(run, |name| super::state_of_file(name) == Some("quota"));
    call(run, "UPDATE_QUOTA_overcommit", update, of(2000.0, 2000.0, false));
    call(run, "UPDATE_QUOTA_force", update, of(2000.0, 2000.0, true));
    call(run, "UPDATE_QUOTA_guarantee_gt_limit", update, of(3.0, 1.0, false));
    call(run, "UPDATE_QUOTA_reset", update, json!({"force": true, "quota_configs": [{"role": "ops"}]}));
    call(
        run,
        "UPDATE_QUOTA_star",
        update,
        json!({"quota_configs": [{"role": "*", "limits": {"cpus": {"value": 1}}}]}),
    );
    let guarantee = json!([{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}}]);
    let request = json!({"quota_request": {"role": "legacy", "guarantee": guarantee}});
    call(run, "SET_QUOTA", "SET_QUOTA", request.clone());
    call(run, "SET_QUOTA_again", "SET_QUOTA", request);
    call(run, "REMOVE_QUOTA", "REMOVE_QUOTA", json!({"role": "legacy"}));
    call(run, "UPDATE_QUOTA_clear", update, json!({"force": true, "quota_configs": [{"role": "ops"}]}));
    operator(run, "operator/GET_QUOTA_cleared", &json!({"type": "GET_QUOTA"}));
}

fn weights(run: &mut Run<'_>) {
    let of = |weight: f64| json!({"weight_infos": [{"role": "ops", "weight": weight}]});
    call(run, "UPDATE_WEIGHTS", "UPDATE_WEIGHTS", of(2.5));
    operator(run, "operator/GET_WEIGHTS_set", &json!({"type": "GET_WEIGHTS"}));
    get(run, Who::Master, "master/GET_weights_set", "weights");
    super::others(run, |name| super::state_of_file(name) == Some("weights"));
    call(run, "UPDATE_WEIGHTS_zero", "UPDATE_WEIGHTS", of(0.0));
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    let body = Some(br#"[{"role":"ops","weight":3.0}]"#.to_vec());
    run.step(
        "master/PUT_weights",
        Ask { who: Who::Master, method: "PUT", path: "/weights".to_owned(), headers, body },
    );
}

fn maintenance(run: &mut Run<'_>) {
    let hostname = run.cluster.ip().to_string();
    let machine = json!({"hostname": hostname, "ip": hostname});
    let start =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
            + 3600;
    let unavailability = json!({
        "start": {"nanoseconds": start * 1_000_000_000}, "duration": {"nanoseconds": 3_600_000_000_000_u64},
    });
    let window = json!({"machine_ids": [machine], "unavailability": unavailability});
    let subscribed = subscribe(framework("maint", json!({})));
    let mut session = Session::open(run, "scheduler/MAINTENANCE_stream", &subscribed);
    if let Some(session) = &mut session {
        session.wait("OFFERS", 5.0, 0);
    }
    let update = "UPDATE_MAINTENANCE_SCHEDULE";
    call(run, update, update, json!({"schedule": {"windows": [window]}}));
    if let Some(mut session) = session {
        session.pump_for(3.0);
        session.save(run, "scheduler/MAINTENANCE_stream");
        session.call(run, "scheduler/TEARDOWN3", json!({"type": "TEARDOWN"}));
    }
    operator(run, "operator/GET_MAINTENANCE_SCHEDULE_set", &json!({"type": "GET_MAINTENANCE_SCHEDULE"}));
    operator(run, "operator/GET_MAINTENANCE_STATUS_draining", &json!({"type": "GET_MAINTENANCE_STATUS"}));
    get(run, Who::Master, "master/GET_maintenance_schedule_set", "maintenance/schedule");
    get(run, Who::Master, "master/GET_maintenance_status_set", "maintenance/status");
    let bad = json!({"windows": [{"machine_ids": [], "unavailability": {"start": {"nanoseconds": 1}}}]});
    call(run, "UPDATE_MAINTENANCE_SCHEDULE_bad", update, json!({"schedule": bad}));
    call(run, "STOP_MAINTENANCE_not_down", "STOP_MAINTENANCE", json!({"machines": [machine]}));
    let stranger = json!({"hostname": "x", "ip": "10.0.0.9"});
    call(run, "START_MAINTENANCE_unscheduled", "START_MAINTENANCE", json!({"machines": [stranger]}));
    call(run, "UPDATE_MAINTENANCE_SCHEDULE_clear", update, json!({"schedule": {}}));
}

fn agents(run: &mut Run<'_>) {
    let agent = agent(run);
    let of = json!({"agent_id": agent});
    let nobody = json!({"agent_id": {"value": "nope"}});
    call(run, "DEACTIVATE_AGENT", "DEACTIVATE_AGENT", of.clone());
    operator(run, "operator/GET_AGENTS_deactivated", &json!({"type": "GET_AGENTS"}));
    super::others(run, |name| super::state_of_file(name) == Some("deactivated"));
    call(run, "REACTIVATE_AGENT", "REACTIVATE_AGENT", of.clone());
    let drain = json!({"agent_id": agent, "max_grace_period": {"nanoseconds": 1_000_000_000}});
    call(run, "DRAIN_AGENT", "DRAIN_AGENT", drain);
    slave_shows(run, |slave| slave.pointer("/drain_info/state").is_some_and(|state| state == "DRAINED"));
    operator(run, "operator/GET_AGENTS_drained", &json!({"type": "GET_AGENTS"}));
    get(run, Who::Master, "master/GET_slaves_drained", "slaves");
    super::others(run, |name| super::state_of_file(name) == Some("drained"));
    call(run, "REACTIVATE_AGENT_after_drain", "REACTIVATE_AGENT", of);
    call(run, "DRAIN_AGENT_unknown", "DRAIN_AGENT", nobody.clone());
    call(run, "MARK_AGENT_GONE_unknown", "MARK_AGENT_GONE", nobody);
    call(run, "TEARDOWN_unknown", "TEARDOWN", json!({"framework_id": {"value": "nope"}}));
}
