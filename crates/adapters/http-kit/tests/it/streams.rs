//! Bodies that stream: chunks, backpressure, ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_kit::{Body, Bytes, Client, Request, Response, StatusCode, Timeouts, respond};
use tokio::io::AsyncWriteExt;

use crate::kit::{PATIENCE, Server, connect, get, post, read_until};

#[tokio::test]
async fn each_frame_is_one_chunk_and_leaves_at_once() {
    let (sender, body) = Body::channel(4);
    let body = std::sync::Mutex::new(Some(body));
    let server = Server::start(move |_request, _peer| {
        let body = body.lock().unwrap().take().unwrap();
        async { Response::new(body) }
    })
    .await;
    let mut stream = connect(&server.address).await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    // Sent together before the head is out, and one by one after it.
    sender.send("ab").await.unwrap();
    sender.send("").await.unwrap();
    sender.send("cde").await.unwrap();
    read_until(&mut stream, "\r\n\r\n2\r\nab\r\n3\r\ncde\r\n").await;
    sender.send(vec![b'x'; 16]).await.unwrap();
    assert_eq!(read_until(&mut stream, "x\r\n").await, format!("10\r\n{}\r\n", "x".repeat(16)));
    drop(sender);
    assert_eq!(read_until(&mut stream, "\r\n\r\n").await, "0\r\n\r\n");
    server.stop().await;
}

/// A producer that counts what it could send.
fn endless(sent: Arc<AtomicUsize>) -> Body {
    let (sender, body) = Body::channel(2);
    tokio::spawn(async move {
        while sender.send(Bytes::from(vec![7; 64 * 1024])).await.is_ok() {
            sent.fetch_add(64 * 1024, Ordering::SeqCst);
        }
    });
    body
}

/// Waits until the producer stands still and says where.
async fn standstill(sent: &AtomicUsize) -> usize {
    let wait = async {
        let (mut before, mut same) = (usize::MAX, 0);
        while same < 10 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let now = sent.load(Ordering::SeqCst);
            same = if now == before && now > 0 { same + 1 } else { 0 };
            before = now;
        }
        before
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("a reader that stands still stops the writer")
}

#[tokio::test]
async fn a_slow_reader_stops_the_writer_in_both_directions() {
    let sent = Arc::new(AtomicUsize::new(0));
    let server = {
        let sent = Arc::clone(&sent);
        Server::start(move |request: Request, _peer| {
            let sent = Arc::clone(&sent);
            async move {
                match request.uri().path() {
                    "/down" => Response::new(endless(sent)),
                    // Never reads its body.
                    _ => std::future::pending().await,
                }
            }
        })
        .await
    };
    let client = Client::default();
    // The kernel's buffers on loopback hold some megabytes; without backpressure it never ends.
    let response = client.send(&server.address, get("/down"), Timeouts::default()).await.unwrap();
    let down = standstill(&sent).await;
    assert!(down < 64 << 20, "{down}");
    drop(response);

    let sent = Arc::new(AtomicUsize::new(0));
    let upload = post("/up", endless(Arc::clone(&sent)));
    let timeouts = Timeouts { response_head: None, ..Timeouts::default() };
    let call = tokio::spawn({
        let (client, address) = (client.clone(), server.address.clone());
        async move { client.send(&address, upload, timeouts).await.map(drop) }
    });
    let up = standstill(&sent).await;
    assert!(up < 64 << 20, "{up}");
    call.abort();
    server.stop().await;
}

#[tokio::test]
async fn large_bodies_arrive_whole() {
    const PIECES: usize = 512;
    let server = Server::start(|request: Request, _peer| async move {
        let mut body = request.into_body();
        let mut sum = 0_u64;
        while let Some(piece) = body.next().await {
            sum += piece.unwrap().iter().map(|byte| u64::from(*byte)).sum::<u64>();
        }
        respond::text(StatusCode::OK, sum.to_string())
    })
    .await;
    let (sender, body) = Body::channel(1);
    let upload = async {
        for piece in 0..PIECES {
            let byte = u8::try_from(piece % 251).unwrap();
            sender.send(vec![byte; 64 * 1024]).await.unwrap();
        }
        drop(sender);
    };
    let client = Client::default();
    let (response, ()) =
        tokio::join!(client.send(&server.address, post("/", body), Timeouts::default()), upload);
    let expect: usize = (0..PIECES).map(|piece| piece % 251 * 64 * 1024).sum();
    let found = response.unwrap().into_body().read_within(100, PATIENCE).await.unwrap();
    assert_eq!(found, expect.to_string());
    server.stop().await;
}

#[tokio::test]
async fn an_aborted_stream_is_an_error_to_its_reader() {
    let (sender, body) = Body::channel(1);
    let body = std::sync::Mutex::new(Some(body));
    let server = Server::start(move |_request, _peer| {
        let body = body.lock().unwrap().take().unwrap();
        async { Response::new(body) }
    })
    .await;
    sender.send("half").await.unwrap();
    let mut response = Client::default().send(&server.address, get("/"), Timeouts::default()).await.unwrap();
    assert_eq!(response.body_mut().next().await.unwrap().unwrap(), "half");
    sender.abort("the disk is gone");
    assert!(response.body_mut().next().await.unwrap().is_err());
    server.stop().await;
}
