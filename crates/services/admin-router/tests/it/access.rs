//! Who may pass, and what is refused before anything is decided.

use http_kit::{Body, Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, PATIENCE, app, echoing, request, token, with_headers};

#[tokio::test]
async fn with_a_token_protected_routes_ask_for_it_and_services_never_see_it() {
    let cluster = Cluster::start_with(|config| config.auth = token("secret")).await;
    let web = echoing("web").await;
    cluster.set_apps(vec![app("web", &[web.address])]);
    for path in ["/service/web/", "/marathon/ping", "/mesos/", "/metadata", "/agent/x/"] {
        for headers in
            [&[][..], &[("authorization", "token=wrong")], &[("cookie", "dcos-acs-auth-cookie=wrong")]]
        {
            let response = cluster.send(with_headers(path, headers)).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
            assert_eq!(response.headers()["www-authenticate"], "oauthjwt");
            assert_eq!(response.headers()["content-type"], "text/html;charset=utf-8");
        }
    }
    for headers in [
        [("authorization", "token=secret")],
        [("authorization", "Bearer secret")],
        [("cookie", "dcos-acs-auth-cookie=secret")],
    ] {
        let mut found = (0, String::new());
        while found.0 != 200 {
            found = cluster.call(with_headers("/service/web/", &headers)).await;
            assert!(matches!(found.0, 200 | 503), "{found:?}");
        }
        assert!(!found.1.contains("secret"), "{}", found.1);
    }
    assert_eq!(cluster.get("/dcos-metadata/dcos-version.json").await.0, 200);
    assert_eq!(cluster.get("/").await.0, 200);
    cluster.stop().await;
}

#[tokio::test]
async fn foreign_pages_are_refused_on_every_route() {
    let cluster = Cluster::start().await;
    let upgrade = [("connection", "Upgrade"), ("upgrade", "websocket")];
    for path in ["/", "/mesos/", "/service/web/", "/metadata"] {
        for foreign in [("origin", "http://evil.example"), ("origin", "null"), ("host", "evil.example")] {
            let mut headers = vec![foreign];
            let (status, text) = cluster.call(with_headers(path, &headers)).await;
            assert_eq!(status, 403, "{path} {foreign:?}");
            assert!(text.contains(&format!("'{}' is refused: allowed are ", foreign.1)), "{text}");
            headers.extend(upgrade);
            assert_eq!(cluster.call(with_headers(path, &headers)).await.0, 403, "{path} {foreign:?}");
        }
    }
    for home in [("host", "leader.mesos"), ("origin", "http://127.0.0.1:1"), ("origin", "http://localhost")] {
        assert_eq!(cluster.call(with_headers("/", &[home])).await.0, 200, "{home:?}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_page_of_our_own_may_write_and_one_of_another_port_not() {
    let cluster = Cluster::start().await;
    for (origin, status) in [("http://localhost:8000", 200), ("http://localhost:3000", 403)] {
        let mut asked = request(Method::POST, "/marathon/v2/x", Body::full("a=b"));
        for (name, value) in [("host", "localhost:8000"), ("origin", origin)] {
            asked.headers_mut().insert(name, value.parse().unwrap());
        }
        let (found, text) = cluster.call(asked).await;
        assert_eq!(found, status, "{origin}: {text}");
        // The upstream must come to the same verdict.
        assert_eq!(text.contains("host: localhost:8000\n"), status == 200, "{text}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn bad_requests_do_no_harm() {
    let cluster = Cluster::start().await;
    let long = "a".repeat(100_000);
    for (request, status) in [
        ("\0\0\0\0\r\n\r\n", "400"),
        ("GET\r\n\r\n", "400"),
        ("GET / HTTP/9.9\r\n\r\n", "400"),
        ("GET /service/web/../../mesos/ HTTP/1.1\r\n\r\n", "400"),
        ("GET /mesos/%2e%2e/x HTTP/1.1\r\n\r\n", "400"),
        ("GET /nowhere HTTP/1.1\r\n\r\n", "404"),
        ("GET //mesos/ HTTP/1.1\r\n\r\n", "404"),
        ("CONNECT 127.0.0.1:5050 HTTP/1.1\r\n\r\n", "404"),
        ("OPTIONS * HTTP/1.1\r\n\r\n", "404"),
        ("GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", "403"),
        ("DELETE / HTTP/1.1\r\n\r\n", "405"),
        ("POST /metadata HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", "405"),
        (&format!("GET /{long} HTTP/1.1\r\n\r\n"), "4"),
        (&format!("GET / HTTP/1.1\r\nCookie: {long}\r\n\r\n"), "431"),
    ] {
        let mut stream = TcpStream::connect(cluster.router).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await;
        read.expect("it answers").unwrap_or_else(|error| panic!("{request:.40?}: {error}"));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:.40?}: {answer}");
    }
    assert_eq!(cluster.get("/").await.0, 200);
    cluster.stop().await;
}
