//! Bodies and upgraded connections stream through.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http_kit::{Body, Bytes, Method, Request, Response, StatusCode, respond, upgrade};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::cluster::{Cluster, PATIENCE, Server, app, request};

const PIECE: usize = 64 * 1024;

/// `/down/<n>` sends n pieces and counts them, `/up` counts bytes, `/events` sends one event and
/// waits, `/ws` echoes WebSocket messages.
async fn answer(mut request: Request, sent: Arc<AtomicUsize>) -> Response {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/up" => {
            let (mut body, mut length) = (request.into_body(), 0_usize);
            while let Some(piece) = body.next().await {
                length += piece.unwrap().len();
            }
            respond::text(StatusCode::OK, length.to_string())
        }
        "/events" => {
            let (sender, body) = Body::channel(1);
            sender.send("data: 1\n\n").await.unwrap();
            tokio::spawn(async move { sender.closed().await });
            Response::new(body)
        }
        "/ws" => {
            let key = derive_accept_key(request.headers()["sec-websocket-key"].as_bytes());
            let upgrade = upgrade::take(&mut request, "websocket").unwrap();
            tokio::spawn(async move {
                let io = upgrade.connection().await.unwrap();
                let mut socket =
                    tokio_tungstenite::WebSocketStream::from_raw_socket(io, Role::Server, None).await;
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() || message.is_binary() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
            let mut response = upgrade::accept("websocket");
            response.headers_mut().insert("sec-websocket-accept", key.parse().unwrap());
            response
        }
        path => {
            let pieces: usize = path.strip_prefix("/down/").unwrap().parse().unwrap();
            let (sender, body) = Body::channel(2);
            tokio::spawn(async move {
                let piece = Bytes::from(vec![7; PIECE]);
                for _ in 0..pieces {
                    if sender.send(piece.clone()).await.is_err() {
                        return;
                    }
                    sent.fetch_add(PIECE, Ordering::SeqCst);
                }
            });
            Response::new(body)
        }
    }
}

async fn streaming() -> (Cluster, Server, Arc<AtomicUsize>) {
    let cluster = Cluster::start().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let server = {
        let sent = Arc::clone(&sent);
        Server::start(move |request, _peer| answer(request, Arc::clone(&sent))).await
    };
    cluster.set_apps(vec![app("web", &[server.address])]);
    cluster.wait_for("/service/web/down/0", 200, "").await;
    (cluster, server, sent)
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let (cluster, _server, _) = streaming().await;
    const PIECES: usize = 1024;
    let mut body =
        cluster.send(request(Method::GET, "/service/web/down/1024", Body::empty())).await.into_body();
    let mut length = 0;
    while let Some(piece) = body.next().await {
        length += piece.unwrap().len();
    }
    assert_eq!(length, PIECES * PIECE);

    let (sender, body) = Body::channel(1);
    let upload = async {
        for _ in 0..PIECES {
            sender.send(vec![1; PIECE]).await.unwrap();
        }
        drop(sender);
    };
    let (answer, ()) = tokio::join!(cluster.call(request(Method::POST, "/service/web/up", body)), upload);
    assert_eq!(answer, (200, (PIECES * PIECE).to_string()));
    cluster.stop().await;
}

#[tokio::test]
async fn a_slow_reader_holds_the_upstream_back() {
    let (cluster, _server, sent) = streaming().await;
    let response = cluster.send(request(Method::GET, "/service/web/down/100000", Body::empty())).await;
    let standstill = async {
        let mut before = usize::MAX;
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = sent.load(Ordering::SeqCst);
            if now == before {
                return now;
            }
            before = now;
        }
    };
    let length = tokio::time::timeout(PATIENCE, standstill).await.expect("the upstream stands still");
    assert!(length < 1000 * PIECE, "{length} bytes are under way");
    drop(response);
    cluster.stop().await;
}

#[tokio::test]
async fn events_come_at_once_and_the_end_of_the_client_is_the_end_upstream() {
    let (cluster, _server, _) = streaming().await;
    let mut response = cluster.send(request(Method::GET, "/service/web/events", Body::empty())).await;
    let event = tokio::time::timeout(PATIENCE, response.body_mut().next()).await;
    assert_eq!(event.expect("it is not held back").unwrap().unwrap(), "data: 1\n\n");
    // An open stream does not hold up the end of the router.
    cluster.stop().await;
    assert!(response.body_mut().next().await.unwrap().is_err());
}

#[tokio::test]
async fn websocket_messages_pass_both_ways() {
    let (cluster, _server, _) = streaming().await;
    let stream = TcpStream::connect(cluster.router).await.unwrap();
    let url = format!("ws://{}/service/web/ws", cluster.router);
    let (mut socket, response) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    assert_eq!(response.status().as_u16(), 101);
    for size in [0, 1, 125, 126, 70_000, 1 << 20] {
        let message = Message::binary(vec![3; size]);
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.send(Message::text("last")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("last"));
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    cluster.stop().await;
}

#[tokio::test]
async fn an_open_websocket_does_not_hold_up_the_end() {
    let (cluster, _server, _) = streaming().await;
    let stream = TcpStream::connect(cluster.router).await.unwrap();
    let url = format!("ws://{}/service/web/ws", cluster.router);
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    cluster.stop().await;
    let end = tokio::time::timeout(PATIENCE, socket.next()).await.expect("it closes");
    assert!(!matches!(end, Some(Ok(_))), "{end:?}");
}

/// Sends the parts over one connection, each after the answer so far ends with what goes before it,
/// until it ends with `end`; returns the answer.
async fn raw(cluster: &Cluster, parts: &[(&str, &str)], end: &str) -> String {
    let mut stream = TcpStream::connect(cluster.router).await.unwrap();
    let mut answer = String::new();
    let exchange = async {
        for (after, part) in parts.iter().chain(&[(end, "")]) {
            while !answer.ends_with(after) {
                let byte = stream.read_u8().await.unwrap();
                answer.push(char::from(byte));
            }
            stream.write_all(part.as_bytes()).await.unwrap();
        }
    };
    let timely = tokio::time::timeout(PATIENCE, exchange).await.is_ok();
    assert!(timely, "{parts:?}: {answer}");
    answer
}

#[tokio::test]
async fn a_client_that_expects_to_be_told_is_told_to_continue() {
    let (cluster, _server, _) = streaming().await;
    let head = "POST /service/web/up HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let parts = [("", head), ("HTTP/1.1 100 Continue\r\n\r\n", "12345")];
    let answer = raw(&cluster, &parts, "\r\n\r\n5").await;
    assert!(answer.contains("HTTP/1.1 200 OK\r\n"), "{answer}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_body_with_two_lengths_is_one_body_upstream() {
    let (cluster, _server, _) = streaming().await;
    let chunks = "b\r\nhello world\r\n0\r\n\r\n";
    for lengths in
        ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 3"]
    {
        let request = format!("POST /service/web/up HTTP/1.1\r\n{lengths}\r\n\r\n{chunks}");
        let answer = raw(&cluster, &[("", &request)], "\r\n\r\n11").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    cluster.stop().await;
}
