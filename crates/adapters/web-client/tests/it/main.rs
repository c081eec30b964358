//! The client against real servers on loopback: well and badly behaved ones, TLS, a proxy.

mod server;

use std::time::Duration;

use http_kit::{HeaderValue, StatusCode, header};
use server::{Answer, Server, response};
use web_client::{Call, Config, Error, Url, WebClient};

fn quick() -> Config {
    Config {
        connect_timeout: Duration::from_secs(5),
        head_timeout: Duration::from_millis(300),
        stall_timeout: Duration::from_millis(300),
        ..Config::default()
    }
}

fn url(text: &str) -> Url {
    text.parse().expect("the test's URL is right")
}

async fn get(client: &WebClient, text: &str) -> Result<(StatusCode, String), Error> {
    let answer = client.send(Call::get(url(text))).await?;
    let status = answer.status;
    let body = answer.body.read(1 << 20).await?;
    Ok((status, String::from_utf8(body).expect("the test's servers speak UTF-8")))
}

#[tokio::test]
async fn answers_come_with_status_headers_and_body() {
    let server = Server::start(|request| {
        let text = format!("{} {}", request.line, request.header("authorization"));
        Answer::Close(response("404 Not Found", "X-A: b", &text))
    })
    .await;
    let client = WebClient::new(quick());
    let (status, body) = get(&client, &server.url("me:pw@", "/a?b")).await.expect("it answers");
    assert_eq!(status, 404);
    assert_eq!(body, "GET /a?b HTTP/1.1 Basic bWU6cHc=");
}

#[tokio::test]
async fn redirects_are_followed_and_credentials_stay_home() {
    let other = Server::start(|request| {
        Answer::Close(response("200 OK", "", &format!("other:{}", request.header("authorization"))))
    })
    .await;
    let to_other = other.url("", "/x");
    let server = Server::start(move |request| {
        let target = request.line.split(' ').nth(1).unwrap_or_default().to_owned();
        Answer::Close(match &*target {
            "/home" => response("302 Found", "Location: here", ""),
            "/here" => response("200 OK", "", &format!("here:{}", request.header("authorization"))),
            "/away" => response("307 Temporary Redirect", &format!("Location: {to_other}"), ""),
            "/odd" => response("301 Moved", "Location: file:///etc/passwd", ""),
            _ => response("302 Found", "Location: /round", ""),
        })
    })
    .await;
    let client = WebClient::new(quick());
    let ask = |path: &str| {
        let call = Call::get(url(&server.url("", path)))
            .with_header(header::AUTHORIZATION, HeaderValue::from_static("Bearer t"));
        let client = client.clone();
        async move {
            let answer = client.send(call).await.map_err(|error| error.to_string())?;
            let body = answer.body.read(1000).await.map_err(|error| error.to_string())?;
            Ok::<_, String>(String::from_utf8(body).expect("text"))
        }
    };
    assert_eq!(ask("/home").await.as_deref(), Ok("here:Bearer t"));
    assert_eq!(ask("/away").await.as_deref(), Ok("other:"));
    let base = server.url("", "");
    let refused = format!(
        "{base}/odd: redirected to 'file:///etc/passwd', which is not followed: it is no http or https URL"
    );
    assert_eq!(ask("/odd").await, Err(refused));
    assert_eq!(ask("/round").await, Err(format!("{base}/round: more than 10 redirects")));
}

#[tokio::test]
async fn what_is_sent_stays_with_its_server() {
    let other = Server::start(|_| Answer::Close(response("200 OK", "", "other"))).await;
    let to_other = other.url("", "/x");
    let server = Server::start(move |request| {
        let target = request.line.split(' ').nth(1).unwrap_or_default().to_owned();
        Answer::Close(match &*target {
            "/home" => response("302 Found", "Location: /here", ""),
            "/here" => response("200 OK", "", request.header("authorization")),
            "/read" => response("303 See Other", &format!("Location: {to_other}"), ""),
            _ => response("308 Permanent Redirect", &format!("Location: {to_other}?s=ecret"), ""),
        })
    })
    .await;
    let client = WebClient::new(quick());
    let post = |path: &str| {
        let mut call = Call::get(url(&server.url("me:pw@", path)));
        (call.method, call.body) = (http_kit::Method::POST, "refresh_token=secret".into());
        call
    };
    let base = server.url("", "");
    let error = client.send(post("/token")).await.expect_err("the body is not for the other");
    let expect = format!(
        "{base}/token: redirected to '{}?...', which is not followed: it leads to another server, which the \
         request's body is not for",
        other.url("", "/x")
    );
    assert_eq!(error.to_string(), expect);
    let read = client.send(post("/read")).await.expect("the body is left out");
    assert_eq!(read.body.read(100).await.expect("it is whole"), b"other");
    // Credentials of the URL hold for where its own server sends them.
    let (_, body) = get(&client, &server.url("me:pw@", "/home")).await.expect("it answers");
    assert_eq!(body, "Basic bWU6cHc=");
}

#[tokio::test]
async fn what_hangs_or_breaks_is_told_in_time() {
    let server = Server::start(|request| match request.line.split(' ').nth(1).unwrap_or_default() {
        "/mute" => Answer::Hold(Vec::new()),
        "/stalls" => Answer::Hold(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".to_vec()),
        "/breaks" => Answer::Close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".to_vec()),
        "/chunks" => {
            Answer::Close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".to_vec())
        }
        "/noise" => Answer::Close(b"SSH-2.0-x\r\n\r\n".to_vec()),
        "/long" => Answer::Close(response("200 OK", "", &"x".repeat(2 << 20))),
        _ => Answer::Close(Vec::new()),
    })
    .await;
    let client = WebClient::new(quick());
    let base = server.url("", "");
    for (path, expect, transient) in [
        ("/mute", "/mute: no answer within 0 s", true),
        ("/stalls", "/stalls: nothing came for 0 s, after 3 bytes", true),
        ("/breaks", "/breaks: the download broke off after 3 bytes of 9: ", true),
        ("/chunks", "/chunks: the download broke off after 3 bytes: ", true),
        ("/noise", "/noise: the connection broke before an answer: ", true),
        ("/closes", "/closes: the connection broke before an answer: ", true),
        ("/long", "/long: the answer is longer than the 1048576 bytes allowed", false),
    ] {
        let error = get(&client, &server.url("", path)).await.expect_err(path);
        assert!(error.to_string().starts_with(&format!("{base}{expect}")), "{path}: {error}");
        assert_eq!(error.is_transient(), transient, "{path}");
    }
    let gone = base.clone();
    drop(server);
    let error = get(&client, &gone).await.expect_err("nobody listens");
    assert!(matches!(error, Error::Connect { .. }), "{error}");
}

#[tokio::test]
async fn a_range_is_asked_for_and_understood() {
    let server = Server::start(|request| {
        assert_eq!(request.header("range"), "bytes=5-");
        Answer::Close(response("206 Partial Content", "Content-Range: bytes 5-9/10", "56789"))
    })
    .await;
    let client = WebClient::new(quick());
    let call = Call::get(url(&server.url("", "/x"))).from_byte(5);
    let answer = client.send(call).await.expect("it answers");
    assert_eq!((answer.status.as_u16(), answer.content_range()), (206, Some((5, Some(10)))));
}

#[tokio::test]
async fn certificates_are_checked() {
    let (server, root) = Server::start_tls(|_| Answer::Close(response("200 OK", "", "private"))).await;
    let trusting = WebClient::new(Config { extra_roots: vec![root.path().to_owned()], ..quick() });
    assert_eq!(get(&trusting, &server.url("", "/")).await.expect("it is trusted").1, "private");
    let wary = WebClient::new(quick());
    let error = get(&wary, &server.url("", "/")).await.expect_err("nobody vouches for it");
    assert!(matches!(&error, Error::Tls { .. }), "{error}");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let other_name = format!("https://127.0.0.1:{}/", server.port());
    let error = get(&trusting, &other_name).await.expect_err("the certificate is for localhost");
    assert!(matches!(error, Error::Tls { .. }), "{error}");
}

#[tokio::test]
async fn a_proxy_is_asked_in_its_own_words() {
    let (server, root) = Server::start_tls(|_| Answer::Close(response("200 OK", "", "through"))).await;
    let port = server.port();
    let proxy = Server::start(move |request| match request.line.split(' ').next() {
        Some("CONNECT") if request.line.contains("secure.example:443") => {
            Answer::Tunnel(([127, 0, 0, 1], port).into())
        }
        Some("CONNECT") => Answer::Close(response("403 Forbidden", "", "no")),
        _ => Answer::Close(response("200 OK", "", &request.line)),
    })
    .await;
    let config = Config {
        http_proxy: Some(proxy.url("", "")),
        https_proxy: Some(proxy.url("", "")),
        extra_roots: vec![root.path().to_owned()],
        ..quick()
    };
    let client = WebClient::new(config);
    let plain = get(&client, "http://plain.example/x?y").await.expect("the proxy answers");
    assert_eq!(plain.1, "GET http://plain.example/x?y HTTP/1.1");
    let tunnelled = get(&client, "https://secure.example/").await.expect("the proxy opens the way");
    assert_eq!(tunnelled.1, "through");
    let error = get(&client, "https://closed.example/").await.expect_err("the proxy refuses");
    let expect = format!(
        "https://closed.example/: the proxy {}/ does not help: it answered 'HTTP/1.1 403 Forbidden'",
        proxy.url("", "")
    );
    assert_eq!(error.to_string(), expect);
}
