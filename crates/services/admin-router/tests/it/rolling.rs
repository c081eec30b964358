//! Zero failed requests while instances come and go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http_kit::{Address, Body, Client, Method, Request, Response, StatusCode, Timeouts, respond};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Server, app, request};

/// An instance that takes a few milliseconds for an answer, so that some are under way when it dies.
async fn instance() -> Server {
    Server::start(|_request: Request, _peer| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        respond::text(StatusCode::OK, "ok")
    })
    .await
}

/// Sends GETs from several clients until stopped, and gathers what did not answer `200 ok`.
struct Load {
    running: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    fn start(router: SocketAddr, clients: usize) -> Self {
        let (running, answered) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (mut set, address) = (JoinSet::new(), Address::Tcp(router));
        for _ in 0..clients {
            let (running, answered, client) =
                (Arc::clone(&running), Arc::clone(&answered), Client::default());
            let address = address.clone();
            set.spawn(async move {
                let mut failures = Vec::new();
                while running.load(Ordering::Relaxed) {
                    let asked = request(Method::GET, "/service/web/", Body::empty());
                    let fetched =
                        client.fetch(&address, asked, Timeouts::default(), 1000, Duration::from_secs(9));
                    match fetched.await {
                        Ok(response) if response.status() == StatusCode::OK && response.body() == "ok" => {
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        other => failures.push(format!("{other:?}")),
                    }
                }
                failures
            });
        }
        Load { running, answered, clients: set }
    }

    /// Waits until this many more requests were answered.
    async fn more(&self, count: usize) {
        let until = self.answered.load(Ordering::Relaxed) + count;
        while self.answered.load(Ordering::Relaxed) < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn stop(self) {
        self.running.store(false, Ordering::Relaxed);
        let failures: Vec<String> = self.clients.join_all().await.concat();
        let answered = self.answered.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "{} of {} failed: {:?}", failures.len(), answered, &failures[..1]);
        assert!(answered > 0);
    }
}

fn addresses(servers: &[Server]) -> Vec<SocketAddr> {
    servers.iter().map(|server| server.address).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_fails_no_request() {
    let cluster = Cluster::start().await;
    let mut servers = Vec::new();
    for _ in 0..4 {
        servers.push(instance().await);
    }
    cluster.set_apps(vec![app("web", &addresses(&servers))]);
    cluster.wait_for("/service/web/", 200, "ok").await;
    let load = Load::start(cluster.router, 8);
    for _ in 0..10 {
        load.more(40).await;
        // As Marathon does it: the new one is healthy, then an old one is killed, and only after
        // that its death is told.
        servers.push(instance().await);
        cluster.set_apps(vec![app("web", &addresses(&servers))]);
        load.more(10).await;
        servers.remove(0).kill().await;
        load.more(40).await;
        cluster.set_apps(vec![app("web", &addresses(&servers))]);
    }
    load.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_instance_is_replaced_without_a_failed_request() {
    let cluster = Cluster::start().await;
    let mut server = instance().await;
    cluster.set_apps(vec![app("web", &[server.address])]);
    cluster.wait_for("/service/web/", 200, "ok").await;
    let load = Load::start(cluster.router, 8);
    for _ in 0..10 {
        load.more(40).await;
        let next = instance().await;
        let address = next.address;
        std::mem::replace(&mut server, next).kill().await;
        // No instance that the router knows is alive now: requests wait for the news.
        tokio::time::sleep(Duration::from_millis(20)).await;
        cluster.set_apps(vec![app("web", &[address])]);
    }
    load.more(40).await;
    load.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_kept_connection_that_was_closed_fails_no_request() {
    let cluster = Cluster::start().await;
    let mut server = instance().await;
    let address = server.address;
    cluster.set_apps(vec![app("web", &[address])]);
    cluster.wait_for("/service/web/", 200, "ok").await;
    for _ in 0..20 {
        // The same address, so that only the connections are stale.
        server.kill().await;
        server = Server::on(address, |_request, _peer| async { respond::text(StatusCode::OK, "ok") }).await;
        assert_eq!(cluster.get("/service/web/").await, (200, "ok".into()));
    }
    drop(server);
    cluster.stop().await;
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_twice() {
    let cluster = Cluster::start().await;
    let taken = Arc::new(AtomicUsize::new(0));
    let mut servers = Vec::new();
    for _ in 0..3 {
        let taken = Arc::clone(&taken);
        let server = Server::start(move |request: Request, _peer| {
            let taken = Arc::clone(&taken);
            async move {
                if request.method() == Method::POST {
                    taken.fetch_add(1, Ordering::SeqCst);
                    panic!("(a panic is expected here: it closes the connection without an answer)");
                }
                Response::default()
            }
        });
        servers.push(server.await);
    }
    cluster.set_apps(vec![app("web", &addresses(&servers))]);
    cluster.wait_for("/service/web/", 200, "").await;
    let (status, text) = cluster.call(request(Method::POST, "/service/web/", Body::empty())).await;
    assert_eq!(status, 502, "{text}");
    assert!(text.contains("connection closed without an answer by"), "{text}");
    assert_eq!(taken.load(Ordering::SeqCst), 1);

    cluster.stop().await;
}

#[tokio::test]
async fn what_never_reached_an_instance_goes_to_the_next_with_its_streamed_body() {
    let cluster = Cluster::start().await;
    let echo = Server::start(|request: Request, _peer| async {
        let body = request.into_body().read(100).await.unwrap();
        respond::bytes(StatusCode::OK, "text/plain", body)
    })
    .await;
    let dead = instance().await;
    let addresses = [dead.address, echo.address];
    dead.kill().await;
    cluster.set_apps(vec![app("web", &addresses)]);
    cluster.wait_for("/service/web/", 200, "").await;
    for _ in 0..4 {
        let (sender, body) = Body::channel(4);
        sender.send("a streamed ").await.unwrap();
        sender.send("body").await.unwrap();
        drop(sender);
        let found = cluster.call(request(Method::POST, "/service/web/", body)).await;
        assert_eq!(found, (200, "a streamed body".into()));
    }
    cluster.stop().await;
}
