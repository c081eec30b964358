//! Apps in networks of their own: mapped ports on the agents' loopback addresses, the cluster at the gateway.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};
use testkit::{Cluster, Options, eventually, in_own_network, request};

use crate::apps::{DCOS, is_root, settled};

/// Each instance serves what it is told and what the cluster says to it at its gateway.
const SERVES: &str = "gateway=$(ip route | cut -d' ' -f3 | head -n 1); \
    busybox wget -q -O info http://$gateway/marathon/v2/info && \
    busybox wget -q -O version http://$gateway:5050/version && echo bridged > index.html && \
    exec busybox httpd -f -p 8080 -h .";

fn bridged(instances: u32) -> Value {
    json!({
        "id": "/bridged", "cmd": SERVES, "cpus": 0.02, "mem": 32, "instances": instances,
        "container": {"type": "MESOS", "portMappings": [{"containerPort": 8080, "hostPort": 0}]},
        "networks": [{"mode": "container/bridge"}],
        "labels": {
            "DCOS_SERVICE_NAME": "bridged", "DCOS_SERVICE_SCHEME": "http", "DCOS_SERVICE_PORT_INDEX": "0",
        },
        "healthChecks": [{
            "protocol": "HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 30,
            "intervalSeconds": 1, "timeoutSeconds": 5,
        }],
    })
}

/// The names of this network's interfaces.
fn interfaces() -> String {
    let links = Command::new("ip").args(["-o", "link"]).output().unwrap();
    assert!(links.status.success());
    let links = String::from_utf8_lossy(&links.stdout).into_owned();
    links.lines().filter_map(|line| line.split(": ").nth(1)).collect::<Vec<_>>().join(" ")
}

fn says(address: SocketAddr, path: &str) -> String {
    eventually(&format!("http://{address}{path} answers"), || {
        request(address, "GET", path, &[], None).ok().filter(|answer| answer.status == 200)
    })
    .text()
}

#[test]
fn bridged_apps_answer_on_their_agents_and_reach_the_cluster() {
    if !is_root("apps in networks of their own") {
        return;
    }
    in_own_network(|| {
        let options = Options { agents: 2, subnet: Some("127.0.0.0/24".into()), ..Options::default() };
        let mut cluster = Cluster::start(DCOS, options);
        cluster.create_app(&bridged(4));
        let answer = |cluster: &Cluster| {
            let app = settled(cluster, "bridged", 4);
            for task in app["tasks"].as_array().unwrap() {
                let port = task["ports"][0].as_u64().unwrap();
                let address = format!("{}:{port}", task["host"].as_str().unwrap()).parse().unwrap();
                assert_eq!(says(address, "/").trim(), "bridged");
                assert!(says(address, "/info").contains("\"name\":\"marathon\""));
                assert!(says(address, "/version").contains("\"version\""));
                let ip = task["ipAddresses"][0]["ipAddress"].as_str().unwrap_or_default();
                assert!(ip.starts_with("172.31."), "{task}");
            }
            assert_eq!(says(cluster.router(), "/service/bridged/").trim(), "bridged");
            app
        };
        let before = answer(&cluster);
        assert_eq!(interfaces().split(' ').filter(|name| name.contains('-')).count(), 4, "{}", interfaces());
        cluster.up_again();
        assert_eq!(answer(&cluster)["tasks"][0]["id"], before["tasks"][0]["id"], "a restart touches no task");
        drop(cluster);
        assert_eq!(interfaces(), "lo");
    });
}
