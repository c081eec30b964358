//! Several clusters on one machine.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{Cluster, Options};

use crate::apps::{DCOS, settled};

/// Tasks that hold the ports they were given on all addresses of the machine.
fn holders(id: &str, role: &str, instances: u32) -> Value {
    json!({
        "id": format!("/{id}"), "cpus": 0.01, "mem": 32, "instances": instances,
        "acceptedResourceRoles": [role],
        "cmd": "exec busybox nc -l -l -p $PORT0 -e true",
        "portDefinitions": [{"port": 0}],
    })
}

fn ports(app: &Value) -> BTreeSet<u64> {
    app["tasks"].as_array().into_iter().flatten().filter_map(|task| task["ports"][0].as_u64()).collect()
}

#[test]
fn two_clusters_run_side_by_side_without_a_port_clash() {
    let options = Options {
        agents: 2,
        public_agents: 1,
        resources: Some("cpus:2;mem:2048;disk:1024".into()),
        ..Options::default()
    };
    let clusters = [Cluster::start(DCOS, options.clone()), Cluster::start(DCOS, options)];
    for cluster in &clusters {
        cluster.create_app(&holders("private", "*", 20));
        cluster.create_app(&holders("public", "slave_public", 5));
    }
    let mut taken = BTreeSet::new();
    for cluster in &clusters {
        for (id, instances) in [("private", 20), ("public", 5)] {
            taken.extend(ports(&settled(cluster, id, instances)));
        }
        let slaves = cluster.get("/mesos/slaves");
        assert_eq!(slaves["slaves"].as_array().map(Vec::len), Some(3), "{slaves}");
    }
    assert_eq!(taken.len(), 50, "every task holds a port of its own");
}
