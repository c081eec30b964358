//! `/v2/events`.

use std::collections::VecDeque;

use http_kit::{Address, Body, Client, Request, StatusCode, Timeouts, sse};
use mesos_proto::v1::TaskState;
use serde_json::{Value, json};

use crate::service::{Dir, PATIENCE, Service};

struct Stream {
    body: Body,
    decoder: sse::Decoder,
    pending: VecDeque<sse::Event>,
}

impl Stream {
    async fn open(service: &Service, query: &str) -> Stream {
        let mut request = Request::default();
        *request.uri_mut() = format!("/v2/events{query}").parse().expect("as a test needs it");
        let sent = Client::default().send(&Address::Tcp(service.address), request, Timeouts::default()).await;
        let response = sent.expect("as a test needs it");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream { body: response.into_body(), decoder: sse::Decoder::new(1 << 20), pending: VecDeque::new() }
    }

    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some(event) = self.pending.pop_front() {
                let data: Value = serde_json::from_str(&event.data).expect("as a test needs it");
                assert_eq!(data["eventType"], event.event, "the name is in the data too");
                return (event.event, data);
            }
            let piece = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("an event in time");
            let piece = piece.expect("the stream goes on").expect("the stream is whole");
            let mut events = Vec::new();
            self.decoder.push(&piece, &mut events).expect("as a test needs it");
            self.pending.extend(events);
        }
    }

    /// Reads on to the next event of a type.
    async fn until(&mut self, event_type: &str) -> Value {
        loop {
            let (found, data) = self.next().await;
            if found == event_type {
                return data;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_an_app_is_told() {
    let dir = Dir::new();
    let (service, master) = Service::with_master(&dir).await;
    let mut events = Stream::open(&service, "").await;
    let (first, data) = events.next().await;
    assert_eq!((first.as_str(), &data["remoteAddress"]), ("event_stream_attached", &json!("127.0.0.1")));

    let app = service.deploy(r#"{"id": "/web", "cmd": "run", "cpus": 0.1}"#).await;
    let posted = events.until("api_post_event").await;
    assert_eq!((&posted["clientIp"], &posted["uri"]), (&json!("127.0.0.1"), &json!("/v2/apps")));
    assert_eq!(posted["appDefinition"]["id"], "/web");
    let info = events.until("deployment_info").await;
    assert_eq!(info["plan"]["id"], app["deployments"][0]["id"]);
    let mut update = events.until("status_update_event").await;
    while update["taskStatus"] != "TASK_RUNNING" {
        update = events.until("status_update_event").await;
    }
    assert_eq!(
        (&update["appId"], &update["host"], &update["version"]),
        (&json!("/web"), &json!("127.0.0.1"), &app["version"])
    );
    assert_eq!(events.until("deployment_success").await["id"], app["deployments"][0]["id"]);

    let task = service.task_ids("/web").await.remove(0);
    master.end_task(&task, TaskState::TaskFailed, "Command exited with status 1");
    let failed = events.until("status_update_event").await;
    assert_eq!((&failed["taskStatus"], &failed["taskId"]), (&json!("TASK_FAILED"), &json!(task)));
    assert_eq!(failed["message"], "Command exited with status 1");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_may_ask_for_some_types_only() {
    let dir = Dir::new();
    let (service, _master) = Service::with_master(&dir).await;
    let mut events =
        Stream::open(&service, "?event_type=deployment_success&event_type=app_terminated_event").await;
    service.deploy(r#"{"id": "/web", "cmd": "run", "cpus": 0.1}"#).await;
    assert_eq!(events.next().await.0, "deployment_success");
    service.delete("/v2/apps/web").await;
    let (name, data) = events.next().await;
    assert_eq!((name.as_str(), &data["appId"]), ("app_terminated_event", &json!("/web")));
    assert_eq!(events.next().await.0, "deployment_success");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_ends_streams() {
    let dir = Dir::new();
    let (service, _master) = Service::with_master(&dir).await;
    let mut events = Stream::open(&service, "").await;
    events.next().await;
    let (_, ()) =
        tokio::join!(async { while let Some(Ok(_)) = events.body.next().await {} }, service.stop(),);
}
