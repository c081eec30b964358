//! What the master says of its process and machine, and how answers travel.

use std::time::Duration;

use runtime::Logging;

use crate::agent::{Agent, hello};
use crate::fixture::{start, start_with};
use crate::raw::{exchange, get, post};
use crate::scheduler::Scheduler;

#[tokio::test]
async fn mp26_the_level_of_the_log_is_toggled_for_a_while() {
    let logging = Logging::default();
    let master = start_with(|config| config.logging = logging.clone()).await;
    let check = async |path: &str, status: u16, body: &str| {
        for prefix in ["", "/master"] {
            let reply = get(master.address, &format!("{prefix}{path}")).await;
            assert_eq!((reply.status, &*reply.body), (status, body), "{path}");
        }
    };
    check("/logging/toggle", 200, "0\n").await;
    check("/logging/toggle?level=1", 400, "Expecting 'duration=value' in query.\n").await;
    check("/logging/toggle?level=-1&duration=1secs", 400, "Invalid level '-1'.\n").await;
    check("/logging/toggle?level=2&duration=1hrs", 200, "").await;
    check("/logging/toggle", 200, "2\n").await;
    let level = async |expect: u32| {
        let reply = post(master.address, "/api/v1", r#"{"type":"GET_LOGGING_LEVEL"}"#).await;
        let text = format!(r#"{{"type":"GET_LOGGING_LEVEL","get_logging_level":{{"level":{expect}}}}}"#);
        assert_eq!((reply.status, reply.body), (200, text));
    };
    level(2).await;
    let set = |level: u32, nanoseconds: u64| {
        format!(
            r#"{{"type":"SET_LOGGING_LEVEL","set_logging_level":{{"level":{level},"duration":{{"nanoseconds":{nanoseconds}}}}}}}"#
        )
    };
    let reply = post(master.address, "/api/v1", &set(1, 3_600_000_000_000)).await;
    assert_eq!((reply.status, &*reply.body), (200, ""));
    level(1).await;
    post(master.address, "/api/v1", &set(3, 1)).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while logging.level() != 0 {
        assert!(tokio::time::Instant::now() < deadline, "the level stays");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let text = "Failed to validate master::Call: Expecting 'set_logging_level' to be present";
    let reply = post(master.address, "/api/v1", r#"{"type":"SET_LOGGING_LEVEL"}"#).await;
    assert_eq!((reply.status, &*reply.body), (400, text));
}

#[tokio::test]
async fn mp24_mp26_what_is_about_the_process_is_answered_as_by_mesos() {
    let master = start().await;
    let check = async |path: &str, status: u16, body: &str| {
        let reply = get(master.address, path).await;
        assert_eq!((reply.status, &*reply.body), (status, body), "{path}");
    };
    let perftools =
        "Perftools is disabled. To enable perftools, configure libprocess with --enable-perftools.\n";
    check("/profiler/start", 400, perftools).await;
    check("/master/profiler/stop", 400, perftools).await;
    check("/memory-profiler/download/raw", 400, "Cannot access raw profile: Not yet generated.\n").await;
    let state = get(master.address, "/memory-profiler/state").await.json();
    assert_eq!(state["memory_profiler"]["jemalloc_detected"], false);
    for path in ["browse", "read", "download"] {
        check(&format!("/files/{path}"), 400, "Expecting 'path=value' in query.\n").await;
        check(&format!("/files/{path}?path=/nope"), 404, "").await;
    }
    check("/files/debug", 200, "{}").await;
    check("/files/debug.json?jsonp=f", 200, "f({})").await;
    let stats = get(master.address, "/system/stats.json").await.json();
    let names: Vec<&String> = stats.as_object().unwrap().keys().collect();
    let expect = [
        "avg_load_15min",
        "avg_load_1min",
        "avg_load_5min",
        "cpus_total",
        "mem_free_bytes",
        "mem_total_bytes",
    ];
    assert_eq!(names, expect);
    assert!(stats["mem_total_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{stats}");
    assert_eq!(get(master.address, "/metrics/snapshot?timeout=1secs").await.status, 200);
    check("/metrics/snapshot?timeout=soon", 400, "Invalid timeout 'soon': Failed to convert '' to number.\n")
        .await;
}

#[tokio::test]
async fn mp24_long_documents_are_compressed_for_who_takes_that() {
    let master = start().await;
    let ask = async |encoding: &'static str| {
        exchange(master.address, "HEAD", "/state", &[("Accept-Encoding", encoding)], b"").await
    };
    let (plain, packed) = (ask("identity").await, ask("gzip, deflate").await);
    assert_eq!((plain.header("Content-Encoding"), packed.header("Content-Encoding")), (None, Some("gzip")));
    let length =
        |reply: &crate::raw::Reply| reply.header("Content-Length").unwrap().parse::<usize>().unwrap();
    assert!(length(&packed) < length(&plain), "{packed:?} {plain:?}");
    // A short one.
    let short = exchange(master.address, "GET", "/version", &[("Accept-Encoding", "gzip")], b"").await;
    assert_eq!((short.status, short.header("Content-Encoding")), (200, None));
}

#[tokio::test]
async fn mm49_each_framework_has_metrics() {
    let master = start().await;
    let scheduler = Scheduler::subscribe(master.address).await;
    let prefix = format!("master/frameworks/golden/{}/", scheduler.framework_id);
    let found = master.until("/metrics/snapshot", |found| found[format!("{prefix}calls")] == 1.0).await;
    for name in
        ["events", "offers/sent", "operations", "tasks/active/task_running", "roles/golden/suppressed"]
    {
        assert!(found[format!("{prefix}{name}")].is_f64(), "{name}: {found:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mm50_pollers_do_not_stall_offers() {
    let master = start().await;
    let address = master.address;
    let (_agent, _) = Agent::register(address, hello("127.0.0.1", "cpus:4;mem:1024")).await;
    let pollers: Vec<_> = (0..10)
        .map(|_| {
            tokio::spawn(async move {
                loop {
                    assert_eq!(get(address, "/state").await.status, 200);
                    assert_eq!(post(address, "/api/v1", r#"{"type":"GET_STATE"}"#).await.status, 200);
                }
            })
        })
        .collect();
    for _ in 0..5 {
        let mut scheduler = Scheduler::subscribe(address).await;
        scheduler.event("OFFERS").await;
        scheduler.disconnect();
        master.until("/frameworks", |found| found["frameworks"].as_array().unwrap().is_empty()).await;
    }
    for poller in pollers {
        assert!(!poller.is_finished(), "a poller was refused");
        poller.abort();
    }
}
