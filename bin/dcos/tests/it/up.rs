//! From `dcos up` to READY, and the end of it.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::{Cluster, Options, eventually};

use crate::apps::DCOS;

/// An app whose tasks' processes are told from those of every other test by how long they sleep.
fn sleepers(instances: u32, seconds: u32) -> (Value, String) {
    let command = format!("sleep {}{seconds}", std::process::id());
    let app = json!({"id": "/sleepers", "cmd": command, "cpus": 0.01, "mem": 32, "instances": instances});
    (app, command)
}

fn pids(command: &str) -> Vec<u32> {
    let mut pids: Vec<u32> = testkit::running(command).iter().map(|process| process.pid).collect();
    pids.sort_unstable();
    pids
}

fn run(cluster: &Cluster, app: &Value) {
    cluster.create_app(app);
    eventually("all tasks run", || {
        let found = &cluster.get("/marathon/v2/apps/sleepers")["app"];
        (found["tasksRunning"] == app["instances"]).then_some(())
    });
}

#[test]
fn every_component_says_that_it_answers_and_then_ready_is_said_once() {
    let options = Options { agents: 2, public_agents: 1, ..Options::default() };
    let mut cluster = Cluster::start(DCOS, options);
    let (lines, ready): (Vec<String>, Vec<String>) =
        cluster.lines().iter().cloned().partition(|line| !line.starts_with("READY "));
    let mut said: Vec<(String, String)> = lines
        .iter()
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, url)| (name.trim_end().to_owned(), url.to_owned()))
        .collect();
    said.sort_unstable();
    let at = |node, port| format!("http://{}/", cluster.at(node, port));
    let router = cluster.router();
    let url = |url: String| url.replace(":80/", "/");
    let mut expected = vec![
        ("admin-router".to_owned(), url(format!("http://{router}/"))),
        ("marathon".to_owned(), at(1, 8080)),
        ("mesos-master".to_owned(), at(1, 5050)),
    ];
    for (node, agent) in [(2, "agent 1"), (3, "agent 2"), (4, "public agent 1")] {
        expected.push((agent.to_owned(), at(node, 5051)));
        expected.push((format!("{agent} admin-router"), at(node, 61001)));
    }
    expected.sort_unstable();
    assert_eq!(said, expected);
    assert_eq!(ready, [format!("READY {}", url(format!("http://{router}/")))]);

    let slaves = cluster.get("/mesos/slaves");
    let slaves = slaves["slaves"].as_array().unwrap();
    assert_eq!(slaves.len(), 3);
    assert!(slaves.iter().all(|slave| slave["active"] == true), "{slaves:?}");
}

#[test]
fn tasks_outlive_the_cluster_and_the_user_is_told_how_to_end_them() {
    let mut cluster = Cluster::start(DCOS, Options::default());
    let (app, command) = sleepers(2, 1);
    run(&cluster, &app);
    let before = pids(&command);
    cluster.signal(Signal::INT);
    assert!(cluster.wait().unwrap().success());
    let dir = cluster.dir().canonicalize().unwrap();
    let dir = dir.display();
    let expected = format!(
        "Stopped. 2 tasks go on running. To take the cluster up again with them: dcos up --dir {dir}. To end \
         it with them: dcos down --dir {dir}"
    );
    assert_eq!(cluster.lines().last(), Some(&expected));
    assert_eq!(pids(&command), before);
    let down = Command::new(DCOS).args(["down", "--dir"]).arg(cluster.dir()).output().unwrap();
    assert!(down.status.success(), "{down:?}");
    assert!(pids(&command).is_empty(), "{:?}", pids(&command));
    let again = Command::new(DCOS).args(["down", "--dir"]).arg(cluster.dir()).output().unwrap();
    assert!(again.status.success(), "{again:?}");
    let said = format!("There is no cluster in {dir} (it has no cluster.json).\n");
    assert_eq!(String::from_utf8_lossy(&again.stdout), said);
}

#[test]
fn tasks_are_ended_when_that_is_asked_for() {
    let options = Options { arguments: vec!["--kill-tasks".to_owned()], ..Options::default() };
    let mut cluster = Cluster::start(DCOS, options);
    let (app, command) = sleepers(3, 2);
    run(&cluster, &app);
    assert!(pids(&command).len() >= 3);
    cluster.signal(Signal::TERM);
    assert!(cluster.wait().unwrap().success());
    assert_eq!(cluster.lines().last().map(String::as_str), Some("Stopped, and ended 3 tasks."));
    assert!(pids(&command).is_empty(), "{:?}", pids(&command));
}

#[test]
fn with_auth_the_token_opens_admin_router() {
    let options = Options { arguments: vec!["--auth".to_owned()], ..Options::default() };
    let cluster = Cluster::start(DCOS, options);
    let path = cluster.dir().join("token");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&path).unwrap();
    let check = |headers: &[(&str, &str)], status| {
        let answer = testkit::request(cluster.router(), "GET", "/mesos/slaves", headers, None).unwrap();
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text());
    };
    check(&[], 401);
    check(&[("Authorization", "token=0000")], 401);
    check(&[("Authorization", &format!("token={}", token.trim()))], 200);
}
