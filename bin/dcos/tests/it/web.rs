//! A web app of several instances: routed, replaced when killed, scaled, updated under load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use testkit::{Cluster, Options, eventually, request, running};

use crate::apps::{DCOS, app, is_root, settled, task_ids, web};

/// A load generator goes on until it has had this many answers, however quick the update is.
const ENOUGH: u32 = 100;
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_killed_instance_is_replaced_and_the_event_stream_says_so() {
    let cluster = Cluster::start(DCOS, Options::default());
    cluster.create_app(&web("web", 3, "hello"));
    let before = task_ids(&settled(&cluster, "web", 3));
    let answer = eventually("/service/web/ is routed", || {
        Some(cluster.request("GET", "/service/web/", None)).filter(|answer| answer.status == 200)
    });
    assert_eq!(answer.text().trim(), "hello");

    let events = cluster.events();
    let port = app(&cluster, "web")["tasks"][0]["ports"][0].clone();
    let victim = running(&format!("busybox httpd -f -p {}:{port}", cluster.at(2, 0).ip()));
    let victim = victim.last().expect("the task's process").clone();
    assert!(
        std::process::Command::new("kill").args(["-9", &victim.pid.to_string()]).status().unwrap().success()
    );
    let update = events
        .next(PATIENCE, |name, event| name == "status_update_event" && event["taskStatus"] == "TASK_FAILED")
        .expect("an event of the failure");
    let lost = update["taskId"].as_str().unwrap().to_owned();
    assert!(before.contains(&lost));
    events
        .next(PATIENCE, |name, event| name == "status_update_event" && event["taskStatus"] == "TASK_RUNNING")
        .expect("an event of the replacement");
    let after = task_ids(&settled(&cluster, "web", 3));
    assert!(!after.contains(&lost));
    assert_eq!(after.intersection(&before).count(), 2, "the others were left alone");
}

#[test]
fn an_app_scales_up_and_down_to_nothing() {
    let cluster = Cluster::start(
        DCOS,
        Options { resources: Some("cpus:4;mem:4096;disk:1024".into()), ..Options::default() },
    );
    cluster.create_app(&web("web", 1, "hello"));
    let first = task_ids(&settled(&cluster, "web", 1));
    for instances in [50, 0] {
        let answer = cluster.request("PUT", "/marathon/v2/apps/web", Some(&json!({"instances": instances})));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let tasks = task_ids(&settled(&cluster, "web", instances));
        assert!(instances == 0 || first.is_subset(&tasks), "scaling up touches no task");
    }
    if is_root("looking for leftovers") {
        let httpd = format!("busybox httpd -f -p {}", cluster.at(2, 0).ip());
        eventually("no process is left", || running(&httpd).is_empty().then_some(()));
    }
}

#[test]
fn a_rolling_update_under_load_loses_no_request() {
    let cluster = Cluster::start(
        DCOS,
        Options { resources: Some("cpus:4;mem:4096;disk:1024".into()), ..Options::default() },
    );
    cluster.create_app(&web("web", 10, "old"));
    let before = task_ids(&settled(&cluster, "web", 10));
    eventually("/service/web/ is routed", || {
        (cluster.request("GET", "/service/web/", None).status == 200).then_some(())
    });
    let stop = AtomicBool::new(false);
    let router = cluster.router();
    let (answered, failures) = thread::scope(|scope| {
        let load = || {
            let (mut answered, mut failures) = (0u32, Vec::new());
            while !stop.load(Ordering::Relaxed) || answered < ENOUGH {
                match request(router, "GET", "/service/web/", &[], None) {
                    Ok(answer) if answer.status == 200 => answered += 1,
                    other => failures.push(format!("{other:?}")),
                }
            }
            (answered, failures)
        };
        let loads: Vec<_> = (0..2).map(|_| scope.spawn(load)).collect();
        let answer = cluster.request("PUT", "/marathon/v2/apps/web", Some(&web("web", 10, "new")));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let after = task_ids(&settled(&cluster, "web", 10));
        stop.store(true, Ordering::Relaxed);
        assert!(after.is_disjoint(&before), "every instance was replaced");
        loads.into_iter().fold((0, Vec::new()), |(sum, mut all), load| {
            let (answered, failures) = load.join().expect("the load ends by itself");
            all.extend(failures);
            (sum + answered, all)
        })
    });
    assert!(
        failures.is_empty(),
        "{} of {answered} failed: {:#?}",
        failures.len(),
        &failures[..failures.len().min(3)]
    );
    assert_eq!(cluster.request("GET", "/service/web/", None).text().trim(), "new");
}
