//! Apps through their life: create, look at, change, roll back, restart, delete.

use http_kit::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::service::{Dir, Service, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_is_created_shown_scaled_and_deleted() {
    let dir = Dir::new();
    let (service, master) = Service::with_master(&dir).await;
    let body =
        r#"{"id": "/shop/web", "cmd": "sleep 100", "cpus": 0.1, "instances": 2, "labels": {"tier": "web"}}"#;
    let (status, headers, app) = service.call(Method::POST, "/v2/apps", Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{app}");
    assert_eq!(headers["location"], "/v2/apps/shop/web");
    let leader = format!("http://{}", service.address);
    assert_eq!(headers["x-marathon-leader"].to_str().unwrap(), leader);
    assert_eq!(app["deployments"], json!([{ "id": headers["marathon-deployment-id"].to_str().unwrap() }]));
    assert_eq!((&app["id"], &app["tasksRunning"]), (&json!("/shop/web"), &json!(0)));
    assert_ne!(app["portDefinitions"][0]["port"], 0, "a service port is given");

    service.no_deployments().await;
    let mut request = Request::default();
    *request.uri_mut() = "/v2/apps/shop/web".parse().unwrap();
    let (_, _, text) = service.send(request).await;
    assert!(
        text.starts_with(r#"{"app":{"id":"/shop/web","backoffFactor":1.15,"#),
        "fields are in Marathon's order"
    );
    let shown = service.app("/shop/web").await;
    assert_eq!((&shown["tasksRunning"], &shown["tasksStaged"]), (&json!(2), &json!(0)));
    assert_eq!((&shown["version"], &shown["deployments"]), (&app["version"], &json!([])));
    let task = &shown["tasks"][0];
    assert_eq!((&task["state"], &task["host"]), (&json!("TASK_RUNNING"), &json!("127.0.0.1")));
    assert_eq!(task["servicePorts"][0], app["portDefinitions"][0]["port"]);
    assert_eq!(master.tasks().len(), 2);
    let (_, info) = master.tasks().into_iter().next().unwrap();
    assert_eq!(info.command.unwrap().value.as_deref(), Some("sleep 100"));
    until("all updates are acknowledged", async || master.unacknowledged() == 0).await;

    let (status, _) = service.put("/v2/apps/shop/web", r#"{"instances": 5}"#).await;
    assert_eq!(status, StatusCode::OK);
    service.no_deployments().await;
    assert_eq!(master.tasks().len(), 5);
    assert_eq!(service.app("/shop/web").await["tasksRunning"], 5);

    let (status, deployment) = service.delete("/v2/apps/shop/web").await;
    assert_eq!(status, StatusCode::OK);
    assert!(deployment["deploymentId"].is_string() && deployment["version"].is_string());
    until("its tasks are gone", async || master.tasks().is_empty()).await;
    service.no_deployments().await;
    let (status, _, body) = service.call(Method::GET, "/v2/apps/shop/web", None).await;
    assert_eq!((status, body), (StatusCode::NOT_FOUND, json!({"message": "App '/shop/web' does not exist"})));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_filtered_and_embed_what_is_asked_for() {
    let dir = Dir::new();
    let (service, _master) = Service::with_master(&dir).await;
    service.deploy(r#"{"id": "/a/web", "cmd": "sleep 1", "labels": {"tier": "web", "env": "qa"}}"#).await;
    service.deploy(r#"{"id": "/a/db", "cmd": "run-db", "labels": {"tier": "db"}, "instances": 0}"#).await;
    service.deploy(r#"{"id": "/other", "args": ["x"], "instances": 0}"#).await;
    let ids = async |query: &str| -> Vec<String> {
        let list = service.get(&format!("/v2/apps{query}")).await;
        let apps = list.get("apps").or(list.get("*")).unwrap().as_array().unwrap();
        apps.iter().map(|app| app["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("").await, ["/a/db", "/a/web", "/other"]);
    assert_eq!(ids("?cmd=SLEEP").await, ["/a/web"]);
    assert_eq!(ids("?id=b").await, ["/a/db", "/a/web"]);
    assert_eq!(ids("?label=tier%3D%3Dweb").await, ["/a/web"]);
    assert_eq!(ids("?label=tier").await, ["/a/db", "/a/web"]);
    assert_eq!(ids("?label=tier%20notin%20(web)&id=a").await, ["/a/db"]);
    assert_eq!(ids("/a/*").await, ["/a/db", "/a/web"]);
    assert_eq!(ids("/*").await.len(), 3);

    let app = &service.get("/v2/apps?id=/a/web").await["apps"][0];
    assert_eq!(
        (&app["tasksRunning"], &app["deployments"], &app["tasks"]),
        (&json!(1), &json!([]), &Value::Null)
    );
    let app = &service.get("/v2/apps?id=/a/web&embed=apps.tasks&embed=apps.taskStats").await["apps"][0];
    assert_eq!(app["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(app["tasksStats"]["totalSummary"]["stats"]["counts"]["running"], 1);

    let root = service.get("/v2/groups").await;
    assert_eq!((&root["id"], &root["apps"][0]["id"]), (&json!("/"), &json!("/other")));
    assert_eq!(
        (&root["groups"][0]["id"], root["groups"][0]["apps"].as_array().unwrap().len()),
        (&json!("/a"), 2)
    );
    assert_eq!(service.get("/v2/groups/a").await["apps"][1]["id"], "/a/web");
    let (status, _, body) = service.call(Method::GET, "/v2/groups/b", None).await;
    assert_eq!((status, body), (StatusCode::NOT_FOUND, json!({"message": "Group '/b' does not exist"})));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_kept_and_can_be_taken_up_again() {
    let dir = Dir::new();
    let (service, master) = Service::with_master(&dir).await;
    let first = service.deploy(r#"{"id": "/web", "cmd": "sleep 1", "env": {"A": "1"}}"#).await;
    let (status, _) = service.patch("/v2/apps/web", r#"{"env": {"A": "2"}}"#).await;
    assert_eq!(status, StatusCode::OK);
    service.no_deployments().await;
    let changed = service.app("/web").await;
    assert_eq!(changed["env"], json!({"A": "2"}));
    assert_eq!(changed["versionInfo"]["lastConfigChangeAt"], changed["version"]);
    let versions = service.get("/v2/apps/web/versions").await;
    assert_eq!(versions, json!({"versions": [changed["version"], first["version"]]}));
    let old = service.get(&format!("/v2/apps/web/versions/{}", first["version"].as_str().unwrap())).await;
    assert_eq!((&old["env"], &old["version"]), (&json!({"A": "1"}), &first["version"]));

    let rollback = json!({ "version": first["version"] }).to_string();
    let (status, body) = service.put("/v2/apps/web", &rollback).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    service.no_deployments().await;
    assert_eq!(service.app("/web").await["env"], json!({"A": "1"}));
    let environment = master.tasks().into_values().next().unwrap().command.unwrap().environment.unwrap();
    let a = environment.variables.iter().find(|variable| variable.name == "A").unwrap();
    assert_eq!(a.value.as_deref(), Some("1"), "the task is that of the old version");

    let before = service.task_ids("/web").await;
    let (status, _, body) = service.call(Method::POST, "/v2/apps/web/restart", None).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    service.no_deployments().await;
    let after = service.task_ids("/web").await;
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");

    let path = "/v2/apps/web/versions/2001-01-01T00:00:00.000Z";
    let (status, _, body) = service.call(Method::GET, path, None).await;
    let message = json!({"message": "App '/web' does not exist in version 2001-01-01T00:00:00.000Z"});
    assert_eq!((status, body), (StatusCode::NOT_FOUND, message));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn put_creates_replaces_and_takes_many() {
    let dir = Dir::new();
    let (service, _master) = Service::with_master(&dir).await;
    let (status, headers, body) = service.call(Method::PUT, "/v2/apps/new", Some(r#"{"cmd": "run"}"#)).await;
    assert_eq!(
        (status, headers["location"].to_str().unwrap()),
        (StatusCode::CREATED, "/v2/apps/new"),
        "{body}"
    );
    service.no_deployments().await;
    let (status, _) = service.put("/v2/apps/new?partialUpdate=false", r#"{"cmd": "run2", "mem": 7}"#).await;
    assert_eq!(status, StatusCode::OK);
    service.no_deployments().await;
    let app = service.app("/new").await;
    assert_eq!((&app["cmd"], &app["mem"], &app["instances"]), (&json!("run2"), &json!(7.0), &json!(1)));

    let many = r#"[{"id": "/new", "instances": 0}, {"id": "/more", "cmd": "run", "instances": 0}]"#;
    let (status, body) = service.put("/v2/apps", many).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    service.no_deployments().await;
    assert_eq!(service.app("/new").await["tasksRunning"], 0);
    assert_eq!(service.app("/more").await["cmd"], "run");
    // As many as one deployment may have.
    let most: Vec<Value> =
        (0..200).map(|n| json!({"id": format!("/most/{n}"), "cmd": "run", "cpus": 0.01})).collect();
    let (status, body) = service.put("/v2/apps", &Value::from(most).to_string()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    service.no_deployments().await;
    let (status, body) = service.patch("/v2/apps", r#"[{"id": "/absent", "cmd": "run"}]"#).await;
    assert_eq!((status, body), (StatusCode::NOT_FOUND, json!({"message": "App '/absent' does not exist"})));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_locks_its_app_until_it_is_forced_or_cancelled() {
    let dir = Dir::new();
    let (service, master) = Service::with_master(&dir).await;
    // More than the agent has: it waits.
    let (status, app) = service.post("/v2/apps", r#"{"id": "/big", "cmd": "run", "cpus": 1000}"#).await;
    assert_eq!(status, StatusCode::CREATED);
    let id = app["deployments"][0]["id"].as_str().unwrap().to_owned();
    let running = service.get("/v2/deployments").await;
    assert_eq!((&running[0]["id"], &running[0]["affectedApps"]), (&json!(id), &json!(["/big"])));
    until("an offer was declined for it", async || {
        service.get("/v2/queue").await["queue"][0]["processedOffersSummary"]["unusedOffersCount"] != 0
    })
    .await;
    let queue = &service.get("/v2/queue?embed=lastUnusedOffers").await["queue"][0];
    assert_eq!((&queue["count"], &queue["app"]["id"]), (&json!(1), &json!("/big")));
    assert_eq!(queue["lastUnusedOffers"][0]["reason"], json!(["InsufficientCpus"]));
    let funnel = queue["processedOffersSummary"]["rejectSummaryLastOffers"].as_array().unwrap();
    assert_eq!((funnel.len(), &funnel[4]["declined"]), (10, &json!(1)));

    let (status, body) = service.put("/v2/apps/big", r#"{"cpus": 1}"#).await;
    let message = "App is locked by one or more deployments. Override with the option '?force=true'. \
                   View details at '/v2/deployments/<DEPLOYMENT_ID>'.";
    assert_eq!(
        (status, body),
        (StatusCode::CONFLICT, json!({"message": message, "deployments": [{"id": id}]}))
    );
    let (status, _) = service.put("/v2/apps/big?force=true", r#"{"cpus": 1}"#).await;
    assert_eq!(status, StatusCode::OK);
    service.no_deployments().await;
    assert_eq!(master.tasks().len(), 1);

    let (_, body) = service.put("/v2/apps/big", r#"{"cpus": 1000}"#).await;
    let id = body["deploymentId"].as_str().unwrap().to_owned();
    let (status, body) = service.delete(&format!("/v2/deployments/{id}?force=true")).await;
    assert_eq!((status, body), (StatusCode::ACCEPTED, Value::Null));
    service.no_deployments().await;
    let (status, body) = service.delete(&format!("/v2/deployments/{id}")).await;
    let message = json!({"message": format!("DeploymentPlan {id} does not exist")});
    assert_eq!((status, body), (StatusCode::NOT_FOUND, message));
    service.stop().await;
}
