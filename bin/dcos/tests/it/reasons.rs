//! Apps that do not run say why.

use serde_json::json;
use testkit::{Cluster, Options, eventually};

use crate::apps::{DCOS, app, is_root};

#[test]
fn a_memory_hog_is_ended_and_says_why() {
    if !is_root("a memory limit") {
        return;
    }
    let cluster = Cluster::start(DCOS, Options::default());
    cluster.create_app(&json!({
        "id": "/hog", "cmd": "exec busybox dd if=/dev/zero of=/dev/null bs=300M count=100", "cpus": 0.1, "mem": 32,
    }));
    let failure = eventually("the hog's failure is told", || {
        Some(app(&cluster, "hog")["lastTaskFailure"].clone()).filter(|failure| failure.is_object())
    });
    assert_eq!(failure["state"], "TASK_FAILED", "{failure}");
    let message = failure["message"].as_str().unwrap_or_default();
    assert!(message.contains("Memory limit exceeded"), "{failure}");
    let waiting = in_queue(&cluster, "/hog");
    assert_eq!(waiting["lastTaskFailure"]["message"], message);
}

#[test]
fn a_crash_loop_backs_off_and_says_why() {
    let cluster = Cluster::start(DCOS, Options::default());
    cluster.create_app(&json!({
        "id": "/crash", "cmd": "exit 7", "cpus": 0.1, "mem": 32, "backoffSeconds": 1, "backoffFactor": 2,
    }));
    let failure = eventually("the crash is told", || {
        Some(app(&cluster, "crash")["lastTaskFailure"].clone()).filter(|failure| failure.is_object())
    });
    assert_eq!(failure["message"], "Command exited with status 7");
    let waiting = in_queue(&cluster, "/crash");
    assert_eq!(waiting["lastTaskFailure"]["message"], "Command exited with status 7");
}

#[test]
fn an_app_that_fits_nowhere_says_which_resource_is_missing() {
    let cluster = Cluster::start(DCOS, Options::default());
    cluster.create_app(&json!({"id": "/huge", "cmd": "sleep 1", "cpus": 10_000, "mem": 32}));
    let summary = eventually("an offer is turned down", || {
        let queue = cluster.get("/marathon/v2/queue")["queue"].as_array()?.clone();
        let item = queue.into_iter().find(|item| item["app"]["id"] == "/huge")?;
        let summary = item["processedOffersSummary"].clone();
        (summary["processedOffersCount"].as_u64()? > 0).then_some(summary)
    });
    let reasons = summary["rejectSummaryLastOffers"].as_array().unwrap().clone();
    let cpus = reasons.iter().find(|reason| reason["reason"] == "InsufficientCpus").unwrap();
    assert!(cpus["declined"].as_u64().unwrap() > 0, "{summary}");
}

#[track_caller]
fn in_queue(cluster: &Cluster, id: &str) -> serde_json::Value {
    let item = eventually(&format!("{id} waits in the queue"), || {
        let queue = cluster.get("/marathon/v2/queue")["queue"].as_array()?.clone();
        queue.into_iter().find(|item| item["app"]["id"] == id)
    });
    assert!(item["delay"]["timeLeftSeconds"].is_u64(), "{item}");
    item
}
