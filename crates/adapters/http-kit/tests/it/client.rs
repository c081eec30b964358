//! The client: its kept connections, its errors, what it sends twice and what not.

use std::collections::BTreeSet;
use std::io::ErrorKind as IoErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_kit::{
    Address, Body, Client, ErrorKind, Peer, Request, ServerConfig, StatusCode, Timeouts, respond,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::kit::{PATIENCE, Server, call, get, own_ip, post};

async fn remote(_request: Request, peer: Peer) -> http_kit::Response {
    respond::text(StatusCode::OK, peer.to_string())
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let server = Server::start(remote).await;
    let client = Client::default();
    let mut peers = BTreeSet::new();
    for _ in 0..20 {
        let (status, peer) = call(&client, &server.address, get("/")).await;
        assert_eq!(status, 200);
        peers.insert(peer);
    }
    assert_eq!(peers.len(), 1, "{peers:?}");
    server.stop().await;
}

#[tokio::test]
async fn unix_sockets_name_the_peer_and_replace_an_abandoned_file() {
    let path = std::env::temp_dir().join(format!("http-kit-{}.sock", std::process::id()));
    let address = Address::Unix(path.clone());
    let handler = |request: Request, peer: Peer| async move {
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        respond::text(StatusCode::OK, format!("{peer} {host}"))
    };
    let client = Client::default();
    for _ in 0..2 {
        let server = Server::on(&address, ServerConfig::default(), Arc::new(handler)).await;
        let (status, text) = call(&client, &address, get("/")).await;
        assert_eq!(status, 200);
        assert!(
            text.starts_with("unix(uid ") && text.contains(&format!("pid {}", std::process::id())),
            "{text}"
        );
        assert!(text.ends_with(" localhost"), "{text}");
        let taken = http_kit::Listener::bind(&address).await.unwrap_err();
        assert!(taken.is_taken(), "{taken}");
        server.stop().await;
        assert!(path.exists());
    }
    std::fs::remove_file(path).unwrap();
}

async fn failure(address: &Address, request: Request, timeouts: Timeouts) -> (ErrorKind, bool, String) {
    let error = Client::default().send(address, request, timeouts).await.unwrap_err();
    (error.kind, error.sent, error.to_string())
}

#[tokio::test]
async fn errors_say_what_happened_and_whether_anything_was_sent() {
    let listener = TcpListener::bind((own_ip(), 0)).await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let short = Timeouts { response_head: Some(Duration::from_millis(50)), ..Timeouts::default() };

    // Accepted by the kernel only.
    let found = failure(&address, get("/"), short).await;
    assert_eq!(found, (ErrorKind::HeadTimeout, true, format!("no answer in time from {address}")));

    let answers: [(&[u8], ErrorKind); 3] = [
        (b"", ErrorKind::Closed),
        (b"HTTP/1.1 200 OK\r\nContent-", ErrorKind::Closed),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ErrorKind::Protocol),
    ];
    // The connection of the call above still waits in the backlog.
    drop(listener.accept().await.unwrap());
    for (answer, kind) in answers {
        let (found, ()) = tokio::join!(failure(&address, get("/"), Timeouts::default()), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 16];
            stream.read_exact(&mut head).await.unwrap();
            stream.write_all(answer).await.unwrap();
        });
        assert_eq!((found.0, found.1), (kind, true), "{answer:?}");
    }

    let (sender, body) = Body::channel(1);
    sender.send("a part").await.unwrap();
    sender.abort("its producer gave up");
    let (found, stream) =
        tokio::join!(failure(&address, post("/", body), Timeouts::default()), listener.accept());
    assert_eq!((found.0, found.1), (ErrorKind::RequestBody, true));
    drop(stream);

    drop(listener);
    let found = failure(&address, get("/"), Timeouts::default()).await;
    assert_eq!(found, (ErrorKind::Connect, false, format!("cannot connect to {address}")));
    let missing = Address::Unix("/nonexistent/socket".into());
    assert_eq!(failure(&missing, get("/"), Timeouts::default()).await.0, ErrorKind::Connect);
}

/// A server that answers `served` requests on each connection and closes it on the next, unread or
/// after having read it. Returns how many requests of which method it read.
async fn closing_server(listener: TcpListener, methods: Arc<Mutex<Vec<String>>>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let methods = Arc::clone(&methods);
        tokio::spawn(async move {
            for answered in [true, false] {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(error) if error.kind() == IoErrorKind::UnexpectedEof => return,
                        Err(error) => panic!("{error}"),
                    }
                }
                let method = String::from_utf8(head).unwrap().split(' ').next().unwrap().to_owned();
                methods.lock().unwrap().push(method);
                if answered {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                }
            }
        });
    }
}

#[tokio::test]
async fn a_stale_connection_costs_an_idempotent_request_nothing() {
    let listener = TcpListener::bind((own_ip(), 0)).await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let methods = Arc::default();
    let server = tokio::spawn(closing_server(listener, Arc::clone(&methods)));
    let client = Client::default();
    for _ in 0..3 {
        assert_eq!(call(&client, &address, get("/")).await, (200, "ok".into()));
    }
    assert_eq!(*methods.lock().unwrap(), ["GET"; 5], "the second and third were sent twice");

    let error = client.send(&address, post("/", Body::empty()), Timeouts::default()).await.unwrap_err();
    assert_eq!((error.kind, error.sent), (ErrorKind::Closed, true));
    assert_eq!(methods.lock().unwrap()[5..], ["POST"], "a POST is sent once");
    server.abort();
}

#[tokio::test]
async fn a_response_dropped_half_way_closes_its_connection() {
    let server = Server::start(|_request, _peer| async {
        let (sender, body) = Body::channel(1);
        tokio::spawn(async move { while sender.send(vec![0; 65536]).await.is_ok() {} });
        http_kit::Response::new(body)
    })
    .await;
    let client = Client::default();
    let mut response = client.send(&server.address, get("/"), Timeouts::default()).await.unwrap();
    assert!(response.body_mut().next().await.unwrap().is_ok());
    drop(response);
    // Ends in time only if no connection is left open.
    server.stop().await;
}

#[tokio::test]
async fn the_wait_for_an_answer_begins_when_the_upload_is_over() {
    let server = Server::start(|request: Request, _peer| async move {
        let length = request.into_body().read(1 << 20).await.unwrap().len();
        respond::text(StatusCode::OK, length.to_string())
    })
    .await;
    let limit = Duration::from_millis(300);
    let timeouts = Timeouts { response_head: Some(limit), ..Timeouts::default() };
    let (sender, body) = Body::channel(1);
    let upload = async {
        for _ in 0..6 {
            tokio::time::sleep(limit / 3).await;
            sender.send("piece").await.unwrap();
        }
        drop(sender);
    };
    let client = Client::default();
    let (response, ()) = tokio::join!(client.send(&server.address, post("/", body), timeouts), upload);
    assert_eq!(response.unwrap().into_body().read_within(10, PATIENCE).await.unwrap(), "30");
    server.stop().await;
}
