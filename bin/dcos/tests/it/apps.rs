//! What the tests here have in common: the program, app definitions, and waiting on apps.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{Cluster, eventually};

/// The program under test.
pub(crate) const DCOS: &str = env!("CARGO_BIN_EXE_dcos");

/// A web server that answers `/` with `text` on its first port, routed as `/service/<id>/`.
pub(crate) fn web(id: &str, instances: u32, text: &str) -> Value {
    json!({
        "id": format!("/{id}"),
        "cmd": format!("echo {text} > index.html; exec busybox httpd -f -p $HOST:$PORT0 -h ."),
        "cpus": 0.02, "mem": 32, "instances": instances,
        "labels": {"DCOS_SERVICE_NAME": id, "DCOS_SERVICE_SCHEME": "http", "DCOS_SERVICE_PORT_INDEX": "0"},
        "portDefinitions": [{"port": 0, "protocol": "tcp", "name": "web"}],
        "healthChecks": [{
            "protocol": "HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 20, "intervalSeconds": 1,
            "timeoutSeconds": 5, "maxConsecutiveFailures": 3,
        }],
    })
}

/// An app that does nothing for an hour.
pub(crate) fn sleepers(id: &str, instances: u32) -> Value {
    json!({"id": format!("/{id}"), "cmd": "exec sleep 3600", "cpus": 0.01, "mem": 32, "instances": instances})
}

/// The app as Marathon shows it now, tasks and failures with it.
pub(crate) fn app(cluster: &Cluster, id: &str) -> Value {
    let path = format!("/marathon/v2/apps//{id}?embed=app.tasks&embed=app.lastTaskFailure&embed=app.counts");
    cluster.get(&path.replace("//", "/"))["app"].clone()
}

/// Waits until no deployment runs and `instances` tasks do, all healthy if the app has health checks.
#[track_caller]
pub(crate) fn settled(cluster: &Cluster, id: &str, instances: u64) -> Value {
    eventually(&format!("{id} settles at {instances}"), || {
        let deployments = cluster.get("/marathon/v2/deployments");
        let app = app(cluster, id);
        let checked = app["healthChecks"].as_array().is_some_and(|checks| !checks.is_empty());
        let is_settled = deployments.as_array().is_some_and(Vec::is_empty)
            && app["tasksRunning"] == instances
            && app["tasks"].as_array().is_some_and(|tasks| tasks.len() as u64 == instances)
            && (!checked || app["tasksHealthy"] == instances);
        is_settled.then_some(app)
    })
}

/// The ids of an app's tasks.
pub(crate) fn task_ids(app: &Value) -> BTreeSet<String> {
    let tasks = app["tasks"].as_array().into_iter().flatten();
    tasks.filter_map(|task| task["id"].as_str().map(str::to_owned)).collect()
}

/// Whether the tests run as root; says SKIP if not.
pub(crate) fn is_root(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIP {what}: needs root");
    }
    is_root
}

/// The executor above a task's process as a process list shows it.
pub(crate) fn executor_of(task: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{task}/stat")).expect("the task runs");
    // The fields behind the name begin with the state and the parent.
    let parent = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(1)?.parse().ok());
    host::command_line(parent.expect("a parent")).expect("the executor runs")
}
