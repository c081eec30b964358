//! The server: its limits, what it refuses, how it ends.

use std::sync::Arc;
use std::time::Duration;

use http_kit::guard::{HostPolicy, guarded};
use http_kit::{Body, Client, Handler, Peer, Request, Response, ServerConfig, StatusCode, Timeouts, respond};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore};

use crate::kit::{PATIENCE, Server, call, connect, exchange, get, read_until};

async fn target(request: Request, _peer: Peer) -> Response {
    let text = format!("{} {}", request.method(), request.uri());
    match request.into_body().read(10).await {
        Ok(body) => respond::text(StatusCode::OK, [text.as_bytes(), b" ", &body].concat()),
        Err(error) => respond::text(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
    }
}

fn small() -> ServerConfig {
    ServerConfig { max_head_bytes: 9000, max_headers: 20, ..ServerConfig::default() }
}

#[tokio::test]
async fn raw_requests() {
    let server = Server::start_with(small(), Arc::new(target)).await;
    let check = async |request: &str, status: &str, body: &str| {
        let answer = exchange(&server.address, request).await;
        assert!(answer.starts_with(status), "{request:.60?}: {answer}");
        assert!(answer.ends_with(body), "{request:.60?}: {answer}");
    };
    let ok = "HTTP/1.1 200 OK\r\n";
    check("GET /a?b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", ok, "GET /a?b ").await;
    check("GET /a HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\n", "GET /a ").await;
    check("PUT / HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab", ok, "PUT / ab").await;
    let chunked = "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    check(&format!("PUT / HTTP/1.1\r\n{chunked}2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"), ok, "PUT / abc").await;
    let large = "PUT / HTTP/1.1\r\nContent-Length: 11\r\nConnection: close\r\n\r\n12345678901";
    check(large, "HTTP/1.1 413", "the body is longer than the 10 bytes allowed").await;
    check("hello\r\n\r\n", "HTTP/1.1 400", "").await;
    check("GET / HTTP/1.1\r\nbroken header\r\n\r\n", "HTTP/1.1 400", "").await;
    check("PUT / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 400", "").await;
    check(&format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(10_000)), "HTTP/1.1 431", "").await;
    check(&format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(21)), "HTTP/1.1 431", "").await;
    // Two requests in one packet are answered in order.
    let twice =
        exchange(&server.address, "GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nConnection: close\r\n\r\n")
            .await;
    assert!(twice.find("GET /1").unwrap() < twice.find("GET /2").unwrap(), "{twice}");
    server.stop().await;
}

#[tokio::test]
async fn who_sends_too_much_reads_the_refusal() {
    let server = Server::start_with(small(), Arc::new(target)).await;
    for _ in 0..20 {
        let mut connection = connect(&server.address).await;
        let head = "PUT / HTTP/1.1\r\nContent-Length: 6000000\r\nConnection: close\r\n\r\n";
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(&vec![b'x'; 6_000_000]).await.expect("the rest is taken, too");
        read_until(&mut connection, "longer than the 10 bytes allowed").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn silence_is_cut_off_in_time() {
    let config = ServerConfig { head_timeout: Duration::from_millis(200), ..ServerConfig::default() };
    let server = Server::start_with(config, Arc::new(target)).await;
    // After an answer, within a head, and from the beginning.
    for request in ["GET /kept HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n", ""] {
        exchange(&server.address, request).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_their_turn() {
    let config = ServerConfig { max_connections: 1, ..ServerConfig::default() };
    let server = Server::start_with(config, Arc::new(target)).await;
    let mut first = connect(&server.address).await;
    first.write_all(b"GET /first HTTP/1.1\r\n\r\n").await.unwrap();
    read_until(&mut first, "GET /first ").await;
    let mut second = connect(&server.address).await;
    second.write_all(b"GET /second HTTP/1.1\r\n\r\n").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), second.read_u8()).await;
    assert!(early.is_err(), "answered while the first connection was open");
    drop(first);
    read_until(&mut second, "GET /second ").await;
    drop(second);
    server.stop().await;
}

#[tokio::test]
async fn a_panic_costs_its_connection_only() {
    let server = Server::start(|request: Request, _peer| async move {
        assert_ne!(request.uri().path(), "/panic", "(a panic is expected here)");
        respond::status(StatusCode::OK)
    })
    .await;
    assert_eq!(exchange(&server.address, "GET /panic HTTP/1.1\r\n\r\n").await, "");
    assert_eq!(call(&Client::default(), &server.address, get("/")).await, (200, String::new()));
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_work_for_it() {
    let (begun, left) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    struct Leaving(Arc<Notify>);
    impl Drop for Leaving {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let handler = {
        let (begun, left) = (Arc::clone(&begun), Arc::clone(&left));
        move |_request, _peer| {
            let leaving = Leaving(Arc::clone(&left));
            begun.notify_one();
            async move {
                std::future::pending::<()>().await;
                drop(leaving);
                respond::status(StatusCode::OK)
            }
        }
    };
    let server = Server::start(handler).await;
    let mut stream = connect(&server.address).await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    begun.notified().await;
    drop(stream);
    tokio::time::timeout(PATIENCE, left.notified()).await.expect("the handler is dropped");
    server.stop().await;
}

#[tokio::test]
async fn shutdown_lets_requests_finish_and_refuses_new_ones() {
    let (begun, gate) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let handler = {
        let (begun, gate) = (Arc::clone(&begun), Arc::clone(&gate));
        move |_request, _peer| {
            let gate = Arc::clone(&gate);
            begun.notify_one();
            async move {
                gate.acquire().await.unwrap().forget();
                respond::text(StatusCode::OK, "finished")
            }
        }
    };
    let config = ServerConfig { drain: PATIENCE, ..ServerConfig::default() };
    let mut server = Server::start_with(config, Arc::new(handler)).await;
    let address = server.address.clone();
    let mut idle = connect(&address).await;
    let running = tokio::spawn(async move { call(&Client::default(), &address, get("/")).await });
    begun.notified().await;
    server.request_stop();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "idle connections close at once");
    let address = server.address.clone();
    let error = Client::default().send(&address, get("/"), Timeouts::default()).await.unwrap_err();
    assert!(!error.sent, "{error}");
    gate.add_permits(1);
    assert_eq!(running.await.unwrap(), (200, "finished".into()));
    server.stop().await;
}

#[tokio::test]
async fn shutdown_is_bounded() {
    let begun = Arc::new(Notify::new());
    let handler = {
        let begun = Arc::clone(&begun);
        move |_request, _peer| {
            begun.notify_one();
            std::future::pending::<Response>()
        }
    };
    let config = ServerConfig { drain: Duration::from_millis(50), ..ServerConfig::default() };
    let server = Server::start_with(config, Arc::new(handler)).await;
    let mut stuck = connect(&server.address).await;
    stuck.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    begun.notified().await;
    server.stop().await;
    assert_eq!(stuck.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn shutdown_breaks_streams_off_without_pretending_they_are_complete() {
    let server = Server::start(|_request, _peer| async {
        let (sender, body) = Body::channel(1);
        sender.send("event").await.unwrap();
        tokio::spawn(async move { sender.closed().await });
        Response::new(body)
    })
    .await;
    let mut raw = connect(&server.address).await;
    raw.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    read_until(&mut raw, "5\r\nevent\r\n").await;
    let mut response = Client::default().send(&server.address, get("/"), Timeouts::default()).await.unwrap();
    assert_eq!(response.body_mut().next().await.unwrap().unwrap(), "event");
    server.stop().await;
    let mut rest = Vec::new();
    raw.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"", "no final chunk");
    assert!(response.body_mut().next().await.unwrap().is_err());
}

#[tokio::test]
async fn foreign_pages_are_refused_before_the_handler() {
    let policy = Arc::new(HostPolicy::new());
    let handler: Arc<dyn Handler> = guarded(policy, Arc::new(target));
    let server = Server::start_with(ServerConfig::default(), handler).await;
    let client = Client::default();
    for (header, value, expect) in [
        ("x-none", "1", (200, "GET / ".to_owned())),
        ("origin", "http://localhost:1", (200, "GET / ".to_owned())),
        ("host", "evil", (403, "Host 'evil' is refused: allowed are IP addresses, localhost\n".into())),
        (
            "origin",
            "http://evil",
            (
                403,
                "Origin 'http://evil' is refused: allowed are this address, loopback addresses, localhost\n"
                    .into(),
            ),
        ),
    ] {
        let mut request = get("/");
        request.headers_mut().insert(header, value.parse().unwrap());
        assert_eq!(call(&client, &server.address, request).await, expect);
    }
    server.stop().await;
}
