//! The HTTP API on a socket of its own.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use http_kit::{Address, Body, Client, Listener, Method, Request, Timeouts};
use pkgpanda::api::{Api, ApiConfig};
use runtime::{Ctx, Stop};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::scene::Scene;

const PATIENCE: Duration = Duration::from_secs(30);

/// The API of a scene's host.
struct Server {
    api: Api,
    socket: PathBuf,
    stop: Stop,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(scene: &mut Scene) -> Server {
        let mut host = scene.config().clone();
        (host.units.manage, host.units.rooted) = (false, true);
        let socket = scene.path("api.sock");
        let work_dir = scene.path("");
        let api = Api::new(ApiConfig { host, socket: socket.clone(), socket_user: None, work_dir });
        let listener = Listener::bind(&Address::Unix(socket.clone())).await.unwrap();
        let (ctx, stop, _) = Ctx::for_tests();
        let task = tokio::spawn(api.clone().serve(listener, ctx));
        Server { api, socket, stop, task }
    }

    /// The status and the body: JSON, or null if there is none.
    async fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut request = Request::new(Body::full(body.to_owned()));
        *request.method_mut() = method.parse::<Method>().unwrap();
        *request.uri_mut() = path.parse().unwrap();
        let address = Address::Unix(self.socket.clone());
        let response = Client::default().send(&address, request, Timeouts::default()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.read_within(1 << 20, PATIENCE).await.unwrap();
        if body.is_empty() {
            return (head.status.as_u16(), Value::Null);
        }
        assert_eq!(head.headers["content-type"], "application/json");
        (head.status.as_u16(), serde_json::from_slice(&body).unwrap())
    }

    async fn check(&self, method: &str, path: &str, body: &str, expected: (u16, Value)) {
        let found = self.call(method, path, body).await;
        assert_eq!(found, expected, "{method} {path} {body}");
    }
}

fn error(text: &str) -> Value {
    json!({ "error": text })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repository_is_read_filled_and_emptied() {
    let mut scene = Scene::new();
    scene.packages();
    scene.tarball("mirror/packages/new", "new--1", &[("bin/new", "new")]);
    scene.file("repository/broken--1/pkginfo.json", "[]");
    scene.file("mirror/packages/bad/bad--1.tar.xz", "no tarball");
    let server = Server::start(&mut scene).await;

    let mut ids = vec!["broken--1", "config--a", "config--b", "lib--1", "mesos--1", "mesos--2"];
    server.check("GET", "/repository/", "", (200, json!(ids))).await;
    let mesos = json!({ "id": "mesos--1", "name": "mesos", "version": "1" });
    server.check("GET", "/repository/mesos--1", "", (200, mesos)).await;
    let none = error("Package none--1 is not in the repository");
    server.check("GET", "/repository/none--1", "", (404, none.clone())).await;
    let bad_id =
        "\"none\" is not a package id: it needs exactly one `--`, between name and version (NAME--VERSION)";
    server.check("GET", "/repository/none", "", (404, error(bad_id))).await;
    let unloadable = error("broken--1: pkginfo.json: the file is [], allowed is an object");
    server.check("GET", "/repository/broken--1", "", (500, unloadable)).await;

    let mirror = json!({ "repository_url": "mirror" }).to_string();
    for _ in 0..2 {
        server.check("POST", "/repository/new--1", &mirror, (204, Value::Null)).await;
    }
    ids.push("new--1");
    server.check("GET", "/repository", "", (200, json!(ids))).await;
    server.check("POST", "/repository/none", &mirror, (400, error(bad_id))).await;
    let wanted = error("the body has to be an object with repository_url, a text");
    for body in ["{}", "[]", "{\"repository_url\":1}"] {
        server.check("POST", "/repository/none--1", body, (400, wanted.clone())).await;
    }
    let (status, body) = server.call("POST", "/repository/none--1", "{").await;
    assert!(status == 400 && body["error"].as_str().unwrap().starts_with("the body is not JSON"), "{body}");
    let (status, body) = server.call("POST", "/repository/none--1", "{\"repository_url\":\"ftp://x\"}").await;
    assert!(status == 400 && body["error"].as_str().unwrap().contains("ftp is not known"), "{body}");
    let (status, body) = server.call("POST", "/repository/none--1", &mirror).await;
    assert!(status == 500 && body["error"].as_str().unwrap().starts_with("cannot open "), "{body}");
    let (status, body) = server.call("POST", "/repository/bad--1", &mirror).await;
    assert!(status == 500 && body["error"].as_str().unwrap().contains("not compressed with xz"), "{body}");

    server.check("PUT", "/active/", "[\"lib--1\"]", (204, Value::Null)).await;
    server.check("DELETE", "/repository/new--1", "", (204, Value::Null)).await;
    server.check("DELETE", "/repository/none--1", "", (404, none)).await;
    server.check("DELETE", "/repository/none", "", (404, error(bad_id))).await;
    let method = error("method PUT is not allowed here: allowed are GET, HEAD, POST, DELETE");
    server.check("PUT", "/repository/new--1", "", (405, method)).await;
    let (status, _) = server.call("GET", "/repository/a/b", "").await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_becomes_active_as_by_the_command() {
    let mut scene = Scene::new();
    scene.packages();
    scene.package("state--1", &json!({ "state_directory": true }), &[("bin/mesos", "another")]);
    let server = Server::start(&mut scene).await;
    let (status, body) = server.call("GET", "/active/", "").await;
    assert!(
        status == 500 && body["error"].as_str().unwrap().ends_with("Has it been bootstrapped?"),
        "{body}"
    );

    let list = error("the body has to be a list of package ids");
    for body in ["{}", "[1]", "\"lib--1\""] {
        server.check("PUT", "/active/", body, (400, list.clone())).await;
    }
    let missing = json!({
        "error": "Packages are not in the repository: a--1, what?, z--1; fetch them first",
        "missing_packages": ["a--1", "what?", "z--1"],
    });
    server
        .check("PUT", "/active/", "[\"z--1\",\"lib--1\",\"what?\",\"a--1\",\"z--1\"]", (409, missing))
        .await;
    let (status, body) = server.call("PUT", "/active/", "[\"mesos--1\"]").await;
    assert!(status == 409 && body["error"].as_str().unwrap().contains("lib"), "{body}");
    let (status, body) = server.call("PUT", "/active/", "[\"mesos--1\",\"lib--1\",\"state--1\"]").await;
    let text = body["error"].as_str().unwrap();
    assert!(
        status == 409 && text.contains("mesos--1") && text.contains("state--1"),
        "both are named: {text}"
    );

    server.check("PUT", "/active/", "[\"lib--1\",\"state--1\"]", (204, Value::Null)).await;
    assert_eq!(fs::read_to_string(scene.root("bin/mesos")).unwrap(), "another");
    assert!(scene.path("state/state").is_dir(), "state directories are made");
    server.check("GET", "/active/", "", (200, json!(["lib--1", "state--1"]))).await;
    let lib = json!({ "id": "lib--1", "name": "lib", "version": "1" });
    server.check("GET", "/active/lib--1", "", (200, lib)).await;
    server.check("GET", "/active/mesos--1", "", (404, error("Package mesos--1 is not active"))).await;
    server.check("GET", "/active/mesos", "", (404, error("\"mesos\" is not a package id: it needs exactly one `--`, between name and version (NAME--VERSION)"))).await;
    let active = error("Refusing to remove active package lib--1");
    server.check("DELETE", "/repository/lib--1", "", (409, active)).await;
    scene.run(&["active"]).prints("lib--1\nstate--1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_fetch_keeps_nobody_waiting() {
    let mut scene = Scene::new();
    scene.packages();
    let server = Server::start(&mut scene).await;
    // Listens, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = json!({ "repository_url": format!("http://{}", silent.local_addr().unwrap()) }).to_string();
    let fetch = server.call("POST", "/repository/new--1", &url);
    let other = async {
        // The download has begun.
        let (connection, _) = tokio::task::spawn_blocking(move || silent.accept()).await.unwrap().unwrap();
        server.check("PUT", "/active/", "[\"lib--1\"]", (204, Value::Null)).await;
        server.check("GET", "/active/", "", (200, json!(["lib--1"]))).await;
        // Both ends: the download is tried again, and refused.
        drop(connection);
    };
    let ((status, body), ()) = tokio::join!(fetch, other);
    assert_eq!(status, 500, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_outlives_its_client_and_its_server() {
    let mut scene = Scene::new();
    scene.packages();
    let server = Server::start(&mut scene).await;
    // Another process changes the root just now.
    let lock = host::FileLock::take(&scene.root("pkgpanda.lock")).unwrap();
    let put = {
        let (socket, body) = (server.socket.clone(), "[\"lib--1\"]");
        async move {
            let mut request = Request::new(Body::full(body));
            (*request.method_mut(), *request.uri_mut()) = (Method::PUT, "/active/".parse().unwrap());
            let _ = Client::default().send(&Address::Unix(socket), request, Timeouts::default()).await;
        }
    };
    let client = tokio::spawn(put);
    let begun = async {
        while !server.api.is_changing() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("the change begins");
    client.abort();
    server.stop.request();
    server.task.await.unwrap();
    assert!(server.api.is_changing() && !server.api.finished(Duration::ZERO).await);
    drop(lock);
    assert!(server.api.finished(PATIENCE).await);
    scene.run(&["active"]).prints("lib--1\n");
}
