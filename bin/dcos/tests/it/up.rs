//! From `dcos up` to READY, and what it prints and demands then.

use std::os::unix::fs::PermissionsExt;

use testkit::{Cluster, Options};

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
