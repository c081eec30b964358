//! Connections that stop being HTTP, directly and through a proxy.

use std::sync::Arc;

use http_kit::{Address, Client, Peer, Request, Response, StatusCode, Timeouts, proxy, respond, upgrade};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use crate::kit::{PATIENCE, Server, get};

/// Echoes bytes after an upgrade to `dcos-echo`.
async fn echo(mut request: Request, _peer: Peer) -> Response {
    match upgrade::take(&mut request, "dcos-echo") {
        None => respond::text(StatusCode::UPGRADE_REQUIRED, "only dcos-echo is spoken here"),
        Some(upgrade) => {
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(upgrade.connection().await.unwrap());
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
            upgrade::accept("dcos-echo")
        }
    }
}

async fn ask(address: &Address, protocol: &'static str) -> Response {
    let mut request = get("/link");
    upgrade::offer(request.headers_mut(), protocol);
    Client::default().send(address, request, Timeouts::default()).await.unwrap()
}

/// Says something over an upgraded connection, hears it back, and sees the other side close.
async fn check_echo(address: &Address) {
    let mut response = ask(address, "dcos-echo").await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(upgrade::requested(response.headers()), Some("dcos-echo"));
    let mut connection = upgrade::take_response(&mut response).unwrap().connection().await.unwrap();
    let mut heard = vec![0; 100_000];
    for byte in 0..3 {
        let said = vec![byte; 100_000];
        let (mut read, mut write) = tokio::io::split(&mut connection);
        let (wrote, read) = tokio::join!(write.write_all(&said), read.read_exact(&mut heard));
        wrote.unwrap();
        read.unwrap();
        assert_eq!(heard, said);
    }
    connection.shutdown().await.unwrap();
    let end = tokio::time::timeout(PATIENCE, connection.read(&mut heard)).await;
    assert_eq!(end.expect("the end passes through").unwrap(), 0);
}

fn proxy_to(
    upstream: Address,
    stop: Arc<Notify>,
) -> impl Fn(Request, Peer) -> futures_util::future::BoxFuture<'static, Response> {
    let client = Client::default();
    move |request, _peer| {
        let (client, upstream, stop) = (client.clone(), upstream.clone(), Arc::clone(&stop));
        Box::pin(async move {
            let shutdown = async move { stop.notified().await };
            proxy::forward(&client, &upstream, request, Timeouts::default(), shutdown).await.unwrap()
        })
    }
}

#[tokio::test]
async fn an_upgrade_gives_both_sides_the_connection() {
    let server = Server::start(echo).await;
    check_echo(&server.address).await;
    let refused = ask(&server.address, "websocket").await;
    assert_eq!(refused.status(), StatusCode::UPGRADE_REQUIRED);
    server.stop().await;
}

#[tokio::test]
async fn a_proxy_passes_an_upgrade_through_until_it_stops() {
    let server = Server::start(echo).await;
    let stop = Arc::new(Notify::new());
    let front = Server::start(proxy_to(server.address.clone(), Arc::clone(&stop))).await;
    check_echo(&front.address).await;
    assert_eq!(ask(&front.address, "websocket").await.status(), StatusCode::UPGRADE_REQUIRED);

    let mut response = ask(&front.address, "dcos-echo").await;
    let mut connection = upgrade::take_response(&mut response).unwrap().connection().await.unwrap();
    connection.write_all(b"x").await.unwrap();
    assert_eq!(connection.read_u8().await.unwrap(), b'x');
    stop.notify_waiters();
    let end = tokio::time::timeout(PATIENCE, connection.read_u8()).await.expect("it closes");
    assert!(end.is_err());
    front.stop().await;
    server.stop().await;
}
