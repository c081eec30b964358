//! Requests that want to hurt. None of them stops the master from answering others.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{Running, start, start_with};
use crate::raw::{PATIENCE, exchange, get, request};
use crate::scheduler::{SUBSCRIBE, Scheduler};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
const ADMIN: (&str, &str) = ("Authorization", "Basic YWRtaW46czNjcmV0");

async fn is_well(master: &Running) {
    assert_eq!(get(master.address, "/health").await.status, 200);
    Scheduler::subscribe(master.address).await;
}

#[tokio::test]
async fn bodies_of_a_hundred_megabytes_are_refused() {
    let master = start().await;
    // Said beforehand: nothing of it is read.
    let head = format!(
        "POST /api/v1 HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n",
        master.address
    );
    let mut socket = TcpStream::connect(master.address).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut answer)).await.expect("in time").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    is_well(&master).await;
}

#[tokio::test]
async fn what_is_torn_or_nonsense_is_refused() {
    let master = start().await;
    let check = async |path: &str, kind: (&str, &str), body: &[u8]| {
        let reply =
            exchange(master.address, "POST", path, &[kind, ("Accept", "application/json")], body).await;
        assert_eq!(reply.status, 400, "{path} {kind:?} {body:?}: {}", reply.body);
    };
    let whole = SUBSCRIBE.as_bytes();
    for end in (0..whole.len()).step_by(7) {
        check("/api/v1/scheduler", JSON, &whole[..end]).await;
    }
    for path in ["/api/v1", "/api/v1/scheduler"] {
        for body in [
            &[0x08][..],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x0a, 0x05, 0x01],
            &[0xff; 64],
            &[0x0b; 4096],
        ] {
            check(path, PROTOBUF, body).await;
        }
        check(path, JSON, "[".repeat(100_000).as_bytes()).await;
        check(path, JSON, format!("{{\"type\":{}", "{\"a\":".repeat(50_000)).as_bytes()).await;
        check(path, JSON, b"{\"type\": 1e999}").await;
        check(path, JSON, b"\xff\xfe").await;
    }
    is_well(&master).await;
}

#[tokio::test]
async fn who_sends_slowly_holds_nobody_up() {
    let master = start().await;
    let mut slow = Vec::new();
    for number in 0..300 {
        let mut socket = TcpStream::connect(master.address).await.unwrap();
        let part = match number % 3 {
            0 => "POST /api/v1 HT".to_owned(),
            1 => format!("POST /api/v1 HTTP/1.1\r\nHost: {}\r\nX-A: ", master.address),
            _ => format!(
                "POST /api/v1/scheduler HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n{{",
                master.address
            ),
        };
        socket.write_all(part.as_bytes()).await.unwrap();
        slow.push(socket);
    }
    is_well(&master).await;
    drop(slow);
    is_well(&master).await;
}

#[tokio::test]
async fn a_scheduler_that_never_reads_holds_nobody_up() {
    const ROUNDS: usize = 20;
    const TASKS: usize = 5000;
    let master = start().await;
    // Its stream is never read, and its calls ask for much.
    let deaf = Scheduler::subscribe(master.address).await;
    let mut other = Scheduler::subscribe(master.address).await;
    let tasks: Vec<_> =
        (0..TASKS).map(|number| json!({"task_id": {"value": format!("ghost-{number}")}})).collect();
    for round in 0..ROUNDS {
        let reply = deaf.call("RECONCILE", json!({"tasks": tasks})).await;
        // Its stream may be cut at some time; nobody else's is.
        assert!([202, 400, 403].contains(&reply.status), "{round}: {reply:?}");
        let mine = json!({"tasks": [{"task_id": {"value": format!("mine-{round}")}}]});
        assert_eq!(other.call("RECONCILE", mine).await.status, 202);
        let update = other.event("UPDATE").await;
        assert_eq!(update["update"]["status"]["task_id"]["value"], format!("mine-{round}"));
    }
    is_well(&master).await;
}

#[tokio::test]
async fn mm45_a_flood_of_calls_is_dropped_and_others_are_unaffected() {
    let master = start_with(|config| {
        std::fs::create_dir_all(&config.dir).unwrap();
        let path = config.dir.join("credentials");
        std::fs::write(&path, "admin s3cret").unwrap();
        config.credentials = Some(path);
        config.authenticate.http_frameworks = true;
        // One call goes on, the next one waits for half an hour, none more.
        let limits = r#"{"limits":[{"principal":"admin","qps":0.0005,"capacity":2}]}"#;
        config.rate_limits = Some(limits.to_owned());
    })
    .await;
    let headers = [JSON, ADMIN];
    let call = |kind: &str| format!(r#"{{"type":"{kind}","framework_id":{{"value":"nope"}}}}"#);
    let path = "/api/v1/scheduler";
    let first = exchange(master.address, "POST", path, &headers, call("REVIVE").as_bytes()).await;
    assert_eq!((first.status, &*first.body), (400, "Framework cannot be found"));
    let mut waits = TcpStream::connect(master.address).await.unwrap();
    let bytes = request(master.address, "POST", path, &headers, call("REVIVE").as_bytes());
    waits.write_all(&bytes).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let dropped = loop {
        // The second one is on its way; whichever comes third is dropped.
        let body = call("REVIVE");
        let third = exchange(master.address, "POST", path, &headers, body.as_bytes());
        match tokio::time::timeout(Duration::from_millis(500), third).await {
            Ok(dropped) => break dropped,
            Err(_) => assert!(tokio::time::Instant::now() < deadline, "nothing is dropped"),
        }
    };
    let text = "Message mesos.scheduler.Call dropped: capacity(2) exceeded";
    assert_eq!((dropped.status, &*dropped.body), (503, text));
    assert_eq!(get(master.address, "/state").await.status, 200);
}
