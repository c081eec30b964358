//! Health checks that Marathon does by itself, against a real server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use http_kit::{Address, Listener, Peer, Request, StatusCode, respond};
use serde_json::json;

use crate::service::{Dir, Service, until};

/// A server whose health can be chosen.
struct Server {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    asked: Arc<AtomicU32>,
}

impl Server {
    async fn start() -> Server {
        let listener =
            Listener::bind(&Address::Tcp(([127, 0, 0, 1], 0).into())).await.expect("as a test needs it");
        let Address::Tcp(address) = *listener.address() else { unreachable!("bound to TCP") };
        let (status, asked) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU32::new(0)));
        let handler = {
            let (status, asked) = (Arc::clone(&status), Arc::clone(&asked));
            move |request: Request, _peer: Peer| {
                assert_eq!(request.uri(), "/health");
                asked.fetch_add(1, Ordering::Relaxed);
                let status =
                    StatusCode::from_u16(status.load(Ordering::Relaxed)).expect("as a test needs it");
                async move { respond::status(status) }
            }
        };
        tokio::spawn(http_kit::serve(listener, Arc::new(handler), std::future::pending()));
        Server { address, status, asked }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_healthy_soon_and_replaced_when_it_is_not() {
    let dir = Dir::new();
    let (service, master) = Service::with_master(&dir).await;
    let server = Server::start().await;
    server.status.store(503, Ordering::Relaxed);
    // The interval is long: only the extra checks of a new task can find out in time that it is healthy.
    let body = json!({
        "id": "/web", "cmd": "run", "cpus": 0.1,
        "healthChecks": [
            {"protocol": "HTTP", "path": "health", "port": server.address.port(), "intervalSeconds": 3600},
            {"protocol": "TCP", "port": server.address.port(), "intervalSeconds": 3600}
        ]
    });
    let (status, app) = service.post("/v2/apps", &body.to_string()).await;
    assert_eq!(status, StatusCode::CREATED, "{app}");
    until("the server was asked", async || server.asked.load(Ordering::Relaxed) > 1).await;
    assert_eq!(service.app("/web").await["tasksHealthy"], 0);
    assert_ne!(service.get("/v2/deployments").await, json!([]), "the deployment waits for health");
    server.status.store(302, Ordering::Relaxed);
    until("it is healthy", async || service.app("/web").await["tasksHealthy"] == 1).await;
    service.no_deployments().await;
    let task = service.app("/web").await["tasks"][0].take();
    let results = task["healthCheckResults"].as_array().unwrap();
    assert_eq!(
        (results.len(), &results[0]["alive"], &results[0]["consecutiveFailures"]),
        (2, &json!(true), &json!(0))
    );

    let checks = json!({"healthChecks": [{
        "protocol": "HTTP", "path": "/health", "port": server.address.port(),
        "intervalSeconds": 1, "maxConsecutiveFailures": 2, "gracePeriodSeconds": 0
    }]});
    let (status, body) = service.put("/v2/apps/web", &checks.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    service.no_deployments().await;
    let before = service.task_ids("/web").await;
    server.status.store(500, Ordering::Relaxed);
    until("the task is killed", async || !master.tasks().contains_key(&before[0])).await;
    server.status.store(200, Ordering::Relaxed);
    until("another is healthy", async || {
        let app = service.app("/web").await;
        app["tasksHealthy"] == 1 && app["tasks"][0]["id"] != before[0].as_str()
    })
    .await;
    service.stop().await;
}
