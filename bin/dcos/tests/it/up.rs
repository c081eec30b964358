//! From `dcos up` to READY, and what it prints and demands then.

use std::os::unix::fs::PermissionsExt;

use testkit::{Cluster, Options, eventually};

use crate::apps::DCOS;

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
fn with_auth_every_door_asks_for_the_token() {
    let options = Options { arguments: vec!["--auth".to_owned()], ..Options::default() };
    let cluster = Cluster::start(DCOS, options);
    let path = cluster.dir().join("token");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&path).unwrap();
    let token = format!("token={}", token.trim());
    let cookie = token.replace("token=", "dcos-acs-auth-cookie=");
    let doors = [
        (cluster.router(), "/mesos/slaves"),
        (cluster.router(), "/marathon/v2/info"),
        (cluster.at(1, 5050), "/slaves"),
        (cluster.at(1, 8080), "/v2/info"),
        (cluster.at(2, 5051), "/state"),
    ];
    for (address, path) in doors {
        let check = |headers: &[(&str, &str)], status| {
            let answer = testkit::request(address, "GET", path, headers, None).unwrap();
            assert_eq!(answer.status, status, "{address}{path} with {headers:?}: {}", answer.text());
        };
        check(&[], 401);
        check(&[("Authorization", "token=0000")], 401);
        check(&[("Authorization", &token)], 200);
        check(&[("Cookie", &cookie)], 200);
    }
    let app = br#"{"id":"/guarded","cmd":"exec sleep 3600","cpus":0.01,"mem":32}"#;
    let shown = [("Authorization", token.as_str())];
    let answer = testkit::request(cluster.router(), "POST", "/marathon/v2/apps", &shown, Some(app)).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    eventually("the task runs", || {
        let path = "/marathon/v2/apps/guarded";
        let app = testkit::request(cluster.router(), "GET", path, &shown, None).ok()?.json();
        (app["app"]["tasksRunning"] == 1).then_some(())
    });
}
