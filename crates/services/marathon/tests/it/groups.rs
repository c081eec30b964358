//! Groups of apps through their life.

use http_kit::{Method, StatusCode};
use serde_json::json;

use crate::service::{Dir, Service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_created_changed_scaled_and_deleted() {
    let dir = Dir::new();
    let (service, master) = Service::with_master(&dir).await;
    let run = |id: &str| json!({"id": id, "cmd": "run", "cpus": 0.1});
    let shop = json!({"id": "/shop", "apps": [run("web")], "groups": [{"id": "db", "apps": [run("main")]}]});
    let (status, headers, body) = service.call(Method::POST, "/v2/groups", Some(&shop.to_string())).await;
    assert_eq!(
        (status, headers["location"].to_str().unwrap()),
        (StatusCode::CREATED, "/v2/groups/shop"),
        "{body}"
    );
    assert!(body["deploymentId"].is_string() && body["version"].is_string());
    service.no_deployments().await;
    assert_eq!(master.tasks().len(), 2);
    let (status, body) = service.post("/v2/groups", &shop.to_string()).await;
    let message = json!({"message": "Group /shop is already created. Use PUT to change this group."});
    assert_eq!((status, body), (StatusCode::CONFLICT, message));
    let (status, body) = service.post("/v2/groups", r#"{"id": "/empty"}"#).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    let (status, body) = service.put("/v2/groups/shop?dryRun=true", "{}").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");

    let changed = json!({"apps": [run("web"), run("cart")], "groups": []}).to_string();
    let (status, body) = service.put("/v2/groups/shop", &changed).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    service.no_deployments().await;
    let ids: Vec<_> = service.get("/v2/apps").await["apps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|app| app["id"].clone())
        .collect();
    assert_eq!(ids, [json!("/shop/cart"), json!("/shop/web")]);
    let (status, _) = service.put("/v2/groups/shop", r#"{"scaleBy": 2}"#).await;
    assert_eq!(status, StatusCode::OK);
    service.no_deployments().await;
    assert_eq!(master.tasks().len(), 4);

    let (status, body) = service.delete("/v2/groups/shop").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    service.no_deployments().await;
    assert_eq!(master.tasks().len(), 0);
    let (status, body) = service.delete("/v2/groups/shop").await;
    assert_eq!((status, body), (StatusCode::NOT_FOUND, json!({"message": "Group '/shop' does not exist"})));
    assert_eq!(service.get("/v2/plugins").await, json!({"plugins": []}));
    service.stop().await;
}
