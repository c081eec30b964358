//! Requests that are wrong, and who is not let in. Nothing of this changes anything.

use http_kit::{Body, Method, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::service::{Dir, Service};

async fn raw(
    service: &Service,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, Value) {
    let mut request = Request::new(Body::full(body.to_owned()));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("as a test needs it");
    for (name, value) in headers {
        let name: header::HeaderName = name.parse().expect("as a test needs it");
        request.headers_mut().insert(name, value.parse().expect("as a test needs it"));
    }
    let (status, _, body) = service.send(request).await;
    (status.as_u16(), serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_refused_and_changes_nothing() {
    let dir = Dir::new();
    let (service, master) = Service::with_master(&dir).await;
    service.deploy(r#"{"id": "/web", "cmd": "run", "cpus": 0.1}"#).await;
    let before = service.get("/v2/apps").await;
    let json_type = [("content-type", "application/json")];

    let check = async |method: Method, path: &str, body: &str, status: u16, expected: Value| {
        let found = raw(&service, method, path, &json_type, body).await;
        assert_eq!(found, (status, expected), "{path} {body}");
    };
    let message = |text: &str| json!({ "message": text });
    let details = |path: &str, error: &str| json!({"message": "Object is not valid", "details": [{"path": path, "errors": [error]}]});
    let absent = || message("App '/absent' does not exist");
    let exists = message("An app with id [/web] already exists.");
    check(Method::POST, "/v2/apps", r#"{"id": "/web", "cmd": "run"}"#, 409, exists).await;
    check(Method::PATCH, "/v2/apps/absent", r#"{"cmd": "run"}"#, 404, absent()).await;
    check(Method::DELETE, "/v2/apps/absent", "", 404, absent()).await;
    check(Method::POST, "/v2/apps/absent/restart", "", 404, absent()).await;
    check(Method::GET, "/v2/apps/absent/tasks", "", 404, absent()).await;
    check(Method::GET, "/v2/apps/absent/versions", "", 404, absent()).await;
    check(Method::DELETE, "/v2/apps/absent/tasks", "", 404, absent()).await;
    let unknown = message("Task 'x' does not exist");
    check(Method::DELETE, "/v2/apps/web/tasks/x", "", 404, unknown).await;
    let both = message("You cannot use scale and wipe at the same time.");
    check(Method::DELETE, "/v2/apps/web/tasks?scale=true&wipe=true", "", 400, both).await;
    let bad_id = message("Invalid task id 'x'.");
    check(Method::POST, "/v2/tasks/delete", r#"{"ids": ["x"]}"#, 400, bad_id).await;
    let no_deployment = message("DeploymentPlan x does not exist");
    check(Method::DELETE, "/v2/deployments/x", "", 404, no_deployment).await;
    let flag = message("query parameter 'force': found 'maybe', allowed are true and false");
    check(Method::PUT, "/v2/apps/web?force=maybe", r#"{"instances": 2}"#, 400, flag).await;
    let selector = "Can not parse label selector a==. Reason: expected a name or value, found ''";
    check(Method::GET, "/v2/apps?label=a%3D%3D", "", 422, message(selector)).await;
    let method = message("Method Not Allowed: found PUT, allowed are GET");
    check(Method::PUT, "/v2/info", "", 405, method).await;
    check(Method::GET, "/v3", "", 404, message("URI not found")).await;
    let clash = details("/", "Groups and Applications may not have the same identifier.");
    check(Method::POST, "/v2/apps", r#"{"id": "/web/below", "cmd": "run"}"#, 422, clash).await;
    let cycle = details("/", "Dependency graph has cyclic dependencies.");
    check(Method::PATCH, "/v2/apps/web", r#"{"dependencies": ["/web"]}"#, 422, cycle).await;
    let together = r#"[{"id": "/x", "cmd": "run"}, {"id": "/x/y", "cmd": "run"}]"#;
    let clash = details("/", "Groups and Applications may not have the same identifier.");
    check(Method::PUT, "/v2/apps", together, 422, clash).await;
    let around = r#"[{"id": "/x", "cmd": "run", "dependencies": ["/g"]}, {"id": "/g/y", "cmd": "run", "dependencies": ["/x"]}]"#;
    let cycle = details("/", "Dependency graph has cyclic dependencies.");
    check(Method::PUT, "/v2/apps", around, 422, cycle).await;
    let many: Vec<Value> = (0..1000).map(|n| json!({"id": format!("/n/{n}"), "cmd": "run"})).collect();
    let too_many =
        "Too many apps for one deployment: allowed are about 150 at a time, fewer if their ids are long";
    check(Method::PUT, "/v2/apps", &Value::from(many).to_string(), 422, message(too_many)).await;
    let version = details("/", "The 'version' field may only be combined with the 'id' field.");
    let body = r#"{"version": "2001-01-01T00:00:00.000Z", "instances": 9}"#;
    check(Method::PUT, "/v2/apps/web", body, 422, version).await;

    let (status, body) = raw(&service, Method::PUT, "/v2/apps/web", &json_type, "{").await;
    assert_eq!((status, &body["message"]), (400, &json!("Invalid JSON")));
    let (status, body) =
        raw(&service, Method::POST, "/v2/apps", &json_type, r#"{"id": "/A", "cpus": -1}"#).await;
    assert_eq!(
        (status, body["details"].as_array().unwrap().len()),
        (422, 2),
        "both problems at once: {body}"
    );
    let (status, _) = raw(&service, Method::POST, "/v2/apps", &json_type, &"x".repeat(3 << 20)).await;
    assert_eq!(status, 413);

    let (_, headers, _) = service.call(Method::POST, "/v2/apps/web", None).await;
    assert_eq!(headers[header::ALLOW], "GET, PUT, PATCH, DELETE");

    assert_eq!(service.get("/v2/apps").await, before);
    assert_eq!(service.get("/v2/deployments").await, json!([]));
    assert_eq!(master.tasks().len(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_page_is_refused() {
    let dir = Dir::new();
    let (service, _master) = Service::with_master(&dir).await;
    let app = r#"{"id": "/evil", "cmd": "run"}"#;
    let json_type = ("content-type", "application/json");
    let foreign = [("origin", "http://evil.example"), json_type];
    assert_eq!(raw(&service, Method::POST, "/v2/apps", &foreign, app).await.0, 403);
    let foreign = [("host", "evil.example:8080"), json_type];
    assert_eq!(raw(&service, Method::POST, "/v2/apps", &foreign, app).await.0, 403);
    // What a form of a page can send.
    let simple = [("content-type", "text/plain")];
    let (status, body) = raw(&service, Method::POST, "/v2/apps", &simple, app).await;
    let message = "Unsupported Media Type: found Content-Type 'text/plain', allowed is 'application/json'";
    assert_eq!((status, body), (415, json!({ "message": message })));
    assert_eq!(raw(&service, Method::POST, "/v2/apps", &[], app).await.0, 415);
    assert_eq!(service.get("/v2/apps").await, json!({"apps": []}));
    // Also where the body says nothing, and from a page that a task shows.
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(raw(&service, Method::POST, "/v2/apps/web/restart", &form, "force=true").await.0, 415);
    assert_eq!(raw(&service, Method::POST, "/v2/apps/web/restart", &form, "").await.0, 404);
    let page = [("origin", "http://127.0.0.1:31000")];
    assert_eq!(raw(&service, Method::POST, "/v2/apps/web/restart", &page, "").await.0, 403);
    assert_eq!(raw(&service, Method::DELETE, "/v2/apps/web", &page, "").await.0, 403);
    let home = [("origin", "http://localhost:8080"), ("host", "marathon.mesos:8080"), json_type];
    assert_eq!(raw(&service, Method::POST, "/v2/apps", &home, app).await.0, 201);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_every_client_looks_at_first() {
    let dir = Dir::new();
    let (service, _master) = Service::with_master(&dir).await;
    let mut request = Request::default();
    *request.uri_mut() = "/ping".parse().unwrap();
    let (status, headers, body) = service.send(request).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "pong"));
    assert_eq!(headers[header::CACHE_CONTROL], "no-cache, no-store, must-revalidate");
    let info = service.get("/v2/info").await;
    assert_eq!((&info["name"], &info["elected"]), (&json!("marathon"), &json!(true)));
    assert_eq!(info["frameworkId"], "framework-1");
    assert_eq!(info["marathon_config"]["mesos_role"], "slave_public");
    assert_eq!(service.get("/v2/leader").await, json!({ "leader": service.address.to_string() }));
    let metrics = service.get("/metrics").await;
    assert_eq!(metrics["gauges"]["marathon.mesos.subscribed.gauge"]["value"], 1);
    let (status, _, body) = service.call(Method::HEAD, "/v2/apps", None).await;
    assert_eq!((status, body), (StatusCode::OK, Value::Null));
    service.stop().await;
}
