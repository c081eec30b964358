//! Tasks: lists, kills, failures.

use http_kit::{Request, StatusCode, header};
use mesos_proto::v1::TaskState;
use serde_json::json;

use crate::service::{Dir, Service, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_are_listed_as_json_and_as_text() {
    let dir = Dir::new();
    let (service, _master) = Service::with_master(&dir).await;
    service.deploy(r#"{"id": "/shop/web", "cmd": "run", "cpus": 0.1, "instances": 2}"#).await;
    let tasks = service.get("/v2/tasks").await;
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), 2);
    assert_eq!(service.get("/v2/tasks?status=staging").await, json!({"tasks": []}));
    assert_eq!(service.get("/v2/tasks?status=running").await["tasks"].as_array().unwrap().len(), 2);
    let mut request = Request::default();
    *request.uri_mut() = "/v2/tasks".parse().unwrap();
    request.headers_mut().insert(header::ACCEPT, "text/plain".parse().unwrap());
    let (status, headers, text) = service.send(request).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[header::CONTENT_TYPE], "text/plain;charset=utf-8");
    let task = |index: usize| format!("127.0.0.1:{}", tasks["tasks"][index]["ports"][0]);
    let service_port = &tasks["tasks"][0]["servicePorts"][0];
    assert_eq!(text, format!("shop_web\t{service_port}\t{}\t{}\t\n", task(0), task(1)));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_task_is_replaced_unless_it_is_scaled_away() {
    let dir = Dir::new();
    let (service, master) = Service::with_master(&dir).await;
    service.deploy(r#"{"id": "/web", "cmd": "run", "cpus": 0.1, "instances": 3}"#).await;
    let tasks = service.task_ids("/web").await;
    let (status, body) = service.delete(&format!("/v2/apps/web/tasks/{}", tasks[0])).await;
    assert_eq!((status, &body["task"]["id"]), (StatusCode::OK, &json!(tasks[0])));
    until("it is replaced", async || master.tasks().len() == 3 && !master.tasks().contains_key(&tasks[0]))
        .await;

    let ids = json!({ "ids": [tasks[1]] }).to_string();
    let (status, body) = service.post("/v2/tasks/delete?scale=true", &ids).await;
    assert!(status == StatusCode::OK && body["deploymentId"].is_string(), "{body}");
    service.no_deployments().await;
    assert!(master.tasks().len() == 2 && !master.tasks().contains_key(&tasks[1]));
    assert_eq!(service.app("/web").await["instances"], 2);

    let (status, body) = service.delete("/v2/apps/web/tasks?host=elsewhere").await;
    assert_eq!((status, body), (StatusCode::OK, json!({"tasks": []})));
    let before = service.task_ids("/web").await;
    let (status, body) = service.delete("/v2/apps/web/tasks?host=127.0.0.1").await;
    assert_eq!((status, body["tasks"].as_array().unwrap().len()), (StatusCode::OK, 2));
    until("all are replaced", async || {
        let now = master.tasks();
        now.len() == 2 && before.iter().all(|id| !now.contains_key(id))
    })
    .await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_message_is_cut() {
    let dir = Dir::new();
    let (service, master) = Service::with_master(&dir).await;
    service.deploy(r#"{"id": "/web", "cmd": "run", "cpus": 0.1}"#).await;
    let task = service.task_ids("/web").await.remove(0);
    // More than a record may have, and most of it has to be escaped.
    master.end_task(&task, TaskState::TaskFailed, &"\u{1}".repeat(200_000));
    until("it failed", async || !service.app("/web").await["lastTaskFailure"].is_null()).await;
    let message = service.app("/web").await["lastTaskFailure"]["message"].as_str().unwrap().len();
    assert_eq!(message, 4096);
    until("it is replaced", async || master.tasks().len() == 1).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_task_shows_its_reason_and_delays_the_next() {
    let dir = Dir::new();
    let (service, master) = Service::with_master(&dir).await;
    service.deploy(r#"{"id": "/web", "cmd": "run", "cpus": 0.1, "backoffSeconds": 3600, "maxLaunchDelaySeconds": 3600}"#).await;
    let task = service.task_ids("/web").await.remove(0);
    master.end_task(&task, TaskState::TaskFailed, "Memory limit exceeded");
    until("it waits", async || service.get("/v2/queue").await["queue"][0]["delay"]["overdue"] == false).await;
    let failure = service.app("/web").await["lastTaskFailure"].take();
    assert_eq!(
        (&failure["message"], &failure["state"]),
        (&json!("Memory limit exceeded"), &json!("TASK_FAILED"))
    );
    assert_eq!((&failure["taskId"], &failure["host"]), (&json!(task), &json!("127.0.0.1")));
    let left = service.get("/v2/queue").await["queue"][0]["delay"]["timeLeftSeconds"].as_u64().unwrap();
    assert!((1..=3600).contains(&left), "{left}");
    assert!(master.tasks().is_empty());
    let (status, _) = service.delete("/v2/queue/web/delay").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    until("it is launched again", async || master.tasks().len() == 1).await;
    until("the queue is empty", async || service.get("/v2/queue").await == json!({"queue": []})).await;
    let (status, body) = service.delete("/v2/queue/web/delay").await;
    let message = json!({"message": "Application /web not found in tasks queue."});
    assert_eq!((status, body), (StatusCode::NOT_FOUND, message));
    service.stop().await;
}
