//! The service under test and a client for it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http_kit::{Address, Body, Client, HeaderMap, Method, Request, StatusCode, Timeouts, header};
use marathon::Config;
use runtime::{Ctx, Stop};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::master::{Master, own_ip};

/// How long anything that is waited for may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A directory that goes away with the test.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new() -> Dir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("marathon-it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running service.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    stop: Stop,
    run: JoinHandle<Result<(), marathon::Error>>,
    client: Client,
}

impl Service {
    /// Starts on a free port, with times short enough for tests.
    pub(crate) async fn start(dir: &Dir, master: SocketAddr) -> Service {
        Service::start_with(dir, master, |_| {}).await
    }

    pub(crate) async fn start_with(
        dir: &Dir,
        master: SocketAddr,
        change: impl FnOnce(&mut Config),
    ) -> Service {
        // Held until the service binds it; another process could only take it in between.
        let free = std::net::TcpListener::bind((own_ip(), 0)).expect("a free port");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        let mut config = Config::new(address.ip(), master, dir.0.clone());
        config.port = address.port();
        config.first_pause = Duration::from_millis(20);
        config.longest_pause = Duration::from_millis(200);
        config.core.drain = Duration::ZERO;
        change(&mut config);
        let (ctx, stop, readiness) = Ctx::for_tests();
        let run = tokio::spawn(async move { marathon::run(config, ctx).await });
        assert!(readiness.reached().await, "the service starts");
        Service { address, stop, run, client: Client::default() }
    }

    /// Starts a service with a master of its own and waits until it is subscribed.
    pub(crate) async fn with_master(dir: &Dir) -> (Service, Master) {
        let master = Master::start(100.0).await;
        let service = Service::start(dir, master.address).await;
        until("subscribed", async || master.subscriptions() == 1).await;
        (service, master)
    }

    /// Stops it as a signal would.
    pub(crate) async fn stop(self) {
        self.stop.request();
        let ended = tokio::time::timeout(PATIENCE, self.run).await.expect("it stops in time");
        ended.expect("it does not panic").expect("it stops without an error");
    }

    /// Drops it in the middle of whatever it does.
    pub(crate) async fn kill(self) {
        self.run.abort();
        assert!(self.run.await.is_err_and(|error| error.is_cancelled()));
    }

    /// Sends a request and gives status, headers and body.
    pub(crate) async fn send(&self, request: Request) -> (StatusCode, HeaderMap, String) {
        let address = Address::Tcp(self.address);
        let fetched = self.client.fetch(&address, request, Timeouts::default(), 1 << 24, PATIENCE).await;
        let (head, body) = fetched.expect("an answer").into_parts();
        (head.status, head.headers, String::from_utf8(body.to_vec()).expect("text"))
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&str>,
    ) -> (StatusCode, HeaderMap, Value) {
        let mut request = Request::new(body.map_or_else(Body::empty, |body| Body::full(body.to_owned())));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("a path");
        if body.is_some() {
            request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().expect("a type"));
        }
        let (status, headers, body) = self.send(request).await;
        let json = if body.is_empty() { Value::Null } else { serde_json::from_str(&body).expect(&body) };
        (status, headers, json)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, _, body) = self.call(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.call(Method::POST, path, Some(body)).await;
        (status, body)
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.call(Method::PUT, path, Some(body)).await;
        (status, body)
    }

    pub(crate) async fn patch(&self, path: &str, body: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.call(Method::PATCH, path, Some(body)).await;
        (status, body)
    }

    pub(crate) async fn delete(&self, path: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.call(Method::DELETE, path, None).await;
        (status, body)
    }

    /// Creates an app and waits until its deployment is over.
    pub(crate) async fn deploy(&self, body: &str) -> Value {
        let (status, app) = self.post("/v2/apps", body).await;
        assert_eq!(status, StatusCode::CREATED, "{app}");
        self.no_deployments().await;
        app
    }

    /// Waits until no deployment runs.
    pub(crate) async fn no_deployments(&self) {
        until("no deployment runs", async || self.get("/v2/deployments").await == Value::Array(Vec::new()))
            .await;
    }

    /// The app as it is now.
    pub(crate) async fn app(&self, id: &str) -> Value {
        self.get(&format!("/v2/apps{id}")).await["app"].take()
    }

    /// The ids of its tasks.
    pub(crate) async fn task_ids(&self, id: &str) -> Vec<String> {
        let tasks = self.get(&format!("/v2/apps{id}/tasks")).await;
        let id = |task: &Value| task["id"].as_str().expect("an id").to_owned();
        tasks["tasks"].as_array().expect("tasks").iter().map(id).collect()
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
