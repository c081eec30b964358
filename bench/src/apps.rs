//! What Marathon's users wait for. The goals are a tenth of what Docker Swarm takes on such a machine.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Cluster, Events, Options};

use crate::image::{self, Image};
use crate::table::{Table, millis};

const CREATIONS: usize = 20;
const REPLACEMENTS: usize = 20;
const SCALE: usize = 50;
const ROUNDS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn swarm_figures(program: &Path, table: &mut Table) {
    let cluster = Cluster::start(program, Options::default());
    let image = Image::build();
    image::present(program, &cluster, &image);
    create(&cluster, table);
    scale(&cluster, table);
}

fn app(id: &str, instances: usize) -> Value {
    json!({
        "id": id, "cpus": 0.01, "mem": 32, "instances": instances, "backoffSeconds": 0,
        "container": {"type": "DOCKER", "docker": {"image": image::NAME}},
        "args": ["sleep", "3600"],
    })
}

fn create(cluster: &Cluster, table: &mut Table) {
    let events = cluster.events();
    let (mut created, mut killed, mut died) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..CREATIONS {
        let id = format!("/create-{number}");
        let from = Instant::now();
        cluster.create_app(&app(&id, 1));
        running(&events, &id);
        created.push(millis(from.elapsed()));
        cluster.request("DELETE", &format!("/marathon/v2/apps/{id}?force=true"), None);
    }
    let id = "/replace";
    cluster.create_app(&app(id, 1));
    let mut task = running(&events, id);
    for _ in 0..REPLACEMENTS {
        let from = Instant::now();
        cluster.request("DELETE", &format!("/marathon/v2/apps/{id}/tasks/{task}"), None);
        task = running(&events, id);
        killed.push(millis(from.elapsed()));
    }
    for _ in 0..REPLACEMENTS {
        let sleeper = testkit::descendants(cluster.pid()).into_iter().find(|p| p.command.contains("3600"));
        let pid = sleeper.map_or_else(String::new, |process| process.pid.to_string());
        let from = Instant::now();
        let killed = std::process::Command::new("kill").args(["-9", &pid]).status();
        assert!(killed.is_ok_and(|status| status.success()), "the task runs");
        running(&events, id);
        died.push(millis(from.elapsed()));
    }
    cluster.request("DELETE", &format!("/marathon/v2/apps/{id}?force=true"), None);
    table.samples("image app: POST to TASK_RUNNING", "ms", created, "<= 52 ms (Swarm: 520)");
    table.samples(
        "image app: task killed by API to replacement running",
        "ms",
        killed,
        "<= 61 ms (Swarm: 610)",
    );
    table.samples("image app: task dies to replacement running", "ms", died, "<= 61 ms (Swarm: 610)");
}

fn scale(cluster: &Cluster, table: &mut Table) {
    let events = cluster.events();
    let (mut rates, mut updates) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let id = format!("/scale-{round}");
        let path = format!("/marathon/v2/apps/{id}?force=true");
        let ask = |method: &str, body: Option<&Value>| {
            cluster.request(method, &path, body).json()["deploymentId"].take()
        };
        let created = cluster.create_app(&app(&id, 1));
        deployed(&events, &created["deployments"][0]["id"]);
        let from = Instant::now();
        deployed(&events, &ask("PUT", Some(&json!({"instances": SCALE}))));
        rates.push((SCALE - 1) as f64 / from.elapsed().as_secs_f64());
        let from = Instant::now();
        deployed(&events, &ask("PUT", Some(&json!({"env": {"ROUND": "next"}}))));
        updates.push(from.elapsed().as_secs_f64());
        deployed(&events, &ask("DELETE", None));
    }
    table.samples("image app: 1 to 50 instances", "tasks/s", rates, ">= 78 (Swarm: 7.8)");
    table.samples("image app: rolling update of 50", "s", updates, "<= 2.18 s (Swarm: 21.8)");
}

/// Waits until a task of the app runs; its id.
fn running(events: &Events, id: &str) -> String {
    let event = events.next(PATIENCE, |name, event| {
        name == "status_update_event" && event["appId"] == id && event["taskStatus"] == "TASK_RUNNING"
    });
    let event = event.unwrap_or_else(|| panic!("no task of {id} runs"));
    event["taskId"].as_str().unwrap_or_default().to_owned()
}

fn deployed(events: &Events, id: &Value) {
    let ended = events.next(PATIENCE, |name, event| name == "deployment_success" && event["id"] == *id);
    assert!(ended.is_some(), "deployment {id} did not end");
}
