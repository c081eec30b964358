//! The conversation with the master, and what survives the end of the service.

use std::sync::Arc;
use std::time::Duration;

use http_kit::{Address, Listener, Peer, Request, StatusCode, respond};
use mesos_proto::v1::scheduler::call;
use serde_json::json;

use crate::master::{Master, own_ip};
use crate::service::{Dir, Service, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_everything_and_launches_nothing() {
    let dir = Dir::new();
    let (service, master) = Service::with_master(&dir).await;
    service.deploy(r#"{"id": "/shop/web", "cmd": "run", "cpus": 0.1, "instances": 20}"#).await;
    service.deploy(r#"{"id": "/db", "cmd": "run", "cpus": 0.1}"#).await;
    let (status, _) = service.patch("/v2/apps/shop/web", r#"{"instances": 25}"#).await;
    assert_eq!(status, 200);
    service.no_deployments().await;
    let apps = service.get("/v2/apps?embed=apps.tasks").await;
    let versions = service.get("/v2/apps/shop/web/versions").await;
    let tasks = master.tasks();
    assert_eq!(tasks.len(), 26);
    let mut service = service;
    for killed in [false, true, false] {
        let launched = master.calls(call::Type::Accept).len();
        let subscriptions = master.subscriptions();
        if killed {
            service.kill().await
        } else {
            service.stop().await
        }
        service = Service::start(&dir, master.address).await;
        until("subscribed", async || master.subscriptions() == subscriptions + 1).await;
        let subscribe = master.calls(call::Type::Subscribe).pop().unwrap();
        assert_eq!(subscribe.framework_id.unwrap().value, "framework-1");
        until("all are known to run", async || service.app("/shop/web").await["tasksRunning"] == 25).await;
        until("reconciled", async || !master.calls(call::Type::Reconcile).is_empty()).await;
        assert_eq!(service.get("/v2/apps?embed=apps.tasks").await, apps);
        assert_eq!(service.get("/v2/apps/shop/web/versions").await, versions);
        assert_eq!(service.get("/v2/info").await["frameworkId"], "framework-1");
        assert_eq!(master.tasks(), tasks);
        assert_eq!(master.calls(call::Type::Accept).len(), launched, "nothing was launched");
        assert!(master.calls(call::Type::Kill).is_empty());
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_master_is_found_again() {
    let dir = Dir::new();
    let (service, master) = Service::with_master(&dir).await;
    service.deploy(r#"{"id": "/web", "cmd": "run", "cpus": 0.1, "instances": 2}"#).await;
    master.disconnect();
    until("subscribed again", async || master.subscriptions() == 2).await;
    let subscribe = master.calls(call::Type::Subscribe).pop().unwrap();
    assert_eq!(subscribe.framework_id.unwrap().value, "framework-1");
    let (status, _) = service.put("/v2/apps/web", r#"{"instances": 4}"#).await;
    assert_eq!(status, 200);
    service.no_deployments().await;
    assert_eq!(master.tasks().len(), 4);

    master.stop();
    let (status, _) = service.put("/v2/apps/web", r#"{"instances": 0}"#).await;
    assert_eq!(status, 200, "changes are taken while there is no master");
    assert_eq!(service.app("/web").await["instances"], 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_master_counts_as_gone() {
    // It accepts connections and never says anything.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let dir = Dir::new();
    let service = Service::start(&dir, address).await;
    let (_held, _) = tokio::time::timeout(Duration::from_secs(10), silent.accept()).await.unwrap().unwrap();
    let metrics = service.get("/metrics").await;
    assert_eq!(metrics["gauges"]["marathon.mesos.subscribed.gauge"]["value"], 0);
    assert_eq!(service.get("/v2/info").await["frameworkId"], json!(null));
    let (status, _) = service.post("/v2/apps", r#"{"id": "/web", "cmd": "run"}"#).await;
    assert_eq!(status, 201);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_without_heartbeats_is_left() {
    let dir = Dir::new();
    let master = Master::start(100.0).await;
    master.promise_heartbeats(0.05);
    let service = Service::start_with(&dir, master.address, |config| config.missed_heartbeats = 2).await;
    until("it subscribes again and again", async || master.subscriptions() >= 3).await;
    master.promise_heartbeats(15.0);
    let (status, _) = service.post("/v2/apps", r#"{"id": "/web", "cmd": "run", "cpus": 0.1}"#).await;
    assert_eq!(status, 201);
    service.no_deployments().await;
    assert_eq!(master.tasks().len(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_leads_to_its_leader() {
    let dir = Dir::new();
    let master = Master::start(100.0).await;
    let listener = Listener::bind(&Address::Tcp(([127, 0, 0, 1], 0).into())).await.unwrap();
    let Address::Tcp(standby) = *listener.address() else { unreachable!("bound to TCP") };
    let location = format!("//{}/api/v1/scheduler", master.address);
    let handler = move |_request: Request, _peer: Peer| {
        let answer = respond::redirect(StatusCode::TEMPORARY_REDIRECT, &location);
        async move { answer }
    };
    tokio::spawn(http_kit::serve(listener, Arc::new(handler), std::future::pending()));
    let service = Service::start(&dir, standby).await;
    service.deploy(r#"{"id": "/web", "cmd": "run", "cpus": 0.1}"#).await;
    assert_eq!(master.tasks().len(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_and_is_done_later() {
    let dir = Dir::new();
    let master = Master::start(100.0).await;
    let nobody = std::net::TcpListener::bind((own_ip(), 0)).unwrap().local_addr().unwrap();
    let service = Service::start(&dir, nobody).await;
    for id in 0..150 {
        let body = json!({"id": format!("/many/app-{id}"), "cmd": "run", "cpus": 0.01});
        let (status, body) = service.post("/v2/apps", &body.to_string()).await;
        assert_eq!(status, if id < 100 { 201 } else { 403 }, "{body}");
    }
    service.stop().await;
    let service = Service::start(&dir, master.address).await;
    service.no_deployments().await;
    assert_eq!(master.tasks().len(), 100);
    assert_eq!(service.get("/v2/apps").await["apps"].as_array().unwrap().len(), 100);
    service.stop().await;
}
