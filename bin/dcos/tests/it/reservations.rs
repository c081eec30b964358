//! What is reserved at run time, on a whole cluster.

use serde_json::{Value, json};
use testkit::{Cluster, Options, eventually};

use crate::apps::DCOS;

/// What the only agent has reserved for `ops`, as master and agent say.
fn reserved(cluster: &Cluster) -> Option<(Value, Value)> {
    // While they come up, they are not there.
    let get = |path: &str| {
        let answer = cluster.try_request("GET", path, None).ok()?;
        (answer.status == 200).then(|| answer.json())
    };
    let slaves = get("/mesos/slaves")?;
    let agent = slaves["slaves"].get(0)?;
    let id = agent["id"].as_str()?;
    let state = get(&format!("/agent/{id}/state"))?;
    let cpus = |of: &Value| of["reserved_resources"]["ops"]["cpus"].clone();
    Some((cpus(agent), cpus(&state)))
}

fn call(cluster: &Cluster, kind: &str, member: &str, cpus: f64) -> u16 {
    let slaves = cluster.get("/mesos/slaves");
    let resource = json!({
        "name": "cpus", "type": "SCALAR", "scalar": {"value": cpus},
        "reservations": [{"type": "DYNAMIC", "role": "ops", "principal": "me"}],
    });
    let body = json!({
        "type": kind,
        member: {"agent_id": {"value": slaves["slaves"][0]["id"]}, "resources": [resource]},
    });
    cluster.request("POST", "/mesos/api/v1", Some(&body)).status
}

#[test]
fn mm25_ma01_a_reservation_survives_master_and_agent_until_it_is_taken_back() {
    let options = Options { resources: Some("cpus:4;mem:4096;disk:1024".into()), ..Options::default() };
    let mut cluster = Cluster::start(DCOS, options);
    eventually("the agent registers", || reserved(&cluster));
    assert_eq!(call(&cluster, "RESERVE_RESOURCES", "reserve_resources", 1.5), 202);
    let both = Some((json!(1.5), json!(1.5)));
    eventually("master and agent have it", || (reserved(&cluster) == both).then_some(()));
    assert_eq!(call(&cluster, "RESERVE_RESOURCES", "reserve_resources", 1000.0), 409);
    cluster.kill();
    cluster.up_again();
    eventually("both have it again", || (reserved(&cluster) == both).then_some(()));
    assert_eq!(call(&cluster, "UNRESERVE_RESOURCES", "unreserve_resources", 1.5), 202);
    let neither = Some((Value::Null, Value::Null));
    eventually("neither has it", || (reserved(&cluster) == neither).then_some(()));
}
