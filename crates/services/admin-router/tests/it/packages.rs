//! The packages of a node: the way to pkgpanda's API, and who may go it.

use std::sync::Arc;

use admin_router::{Packages, Role};
use http_kit::{Address, Body, Client, Listener, Peer, Request, StatusCode, Timeouts, serve};

use crate::cluster::{PATIENCE, config, echo, router, token, with_headers};

const TOKEN: (&str, &str) = ("authorization", "token=secret");

async fn call(router: std::net::SocketAddr, request: Request) -> (u16, String, String) {
    let client = Client::default();
    let response = client.send(&Address::Tcp(router), request, Timeouts::default()).await.unwrap();
    let (head, body) = response.into_parts();
    let kind = head.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
    let body = body.read_within(1 << 20, PATIENCE).await.unwrap();
    (head.status.as_u16(), kind, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_api_of_the_node_answers_who_shows_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let packages = Packages { socket: dir.path().join("api.sock"), root: dir.path().to_owned() };
    let mesos = ([127, 0, 0, 1], 1).into();
    for role in [Role::Agent, Role::Master { mesos, marathon: mesos }] {
        let mut config = config(role);
        (config.packages, config.auth) = (packages.clone(), token("secret"));
        let (router, _stop, _task) = router(config).await;

        let (status, _, text) = call(router, with_headers("/pkgpanda/active/", &[TOKEN])).await;
        assert_eq!(status, 502);
        assert!(text.starts_with("502 Bad Gateway: pkgpanda: cannot connect to unix:"), "{text}");
        assert!(text.ends_with("; does dcos-pkgpanda-api run on this node?\n"), "{text}");

        let listener = Listener::bind(&Address::Unix(packages.socket.clone())).await.unwrap();
        let handler = Arc::new(|request: Request, _peer: Peer| echo("api".to_owned(), request));
        let api = tokio::spawn(serve(listener, handler, std::future::pending()));
        assert_eq!(call(router, with_headers("/pkgpanda/active/", &[])).await.0, 401);
        let cookie = ("cookie", "dcos-acs-auth-cookie=secret");
        for shown in [TOKEN, cookie] {
            let mut request = with_headers("/pkgpanda/repository/a--1?x", &[shown, ("upgrade", "x")]);
            *request.method_mut() = http_kit::Method::POST;
            *request.body_mut() = Body::full("{}");
            let (status, _, text) = call(router, request).await;
            assert_eq!(status, 200);
            assert!(text.starts_with("api POST /repository/a--1?x\n") && text.ends_with("\n{}"), "{text}");
            assert!(!text.contains("secret") && !text.contains("upgrade"), "{text}");
        }
        api.abort();
        let _ = api.await;
        std::fs::remove_file(&packages.socket).unwrap();

        let file = || with_headers("/pkgpanda/active.buildinfo.full.json", &[TOKEN]);
        let (status, _, text) = call(router, file()).await;
        assert_eq!(status, 404);
        assert!(text.contains("no packages are active on this node"), "{text}");
        let path = dir.path().join("active.buildinfo.full.json");
        std::fs::write(&path, "{\"a\":null}").unwrap();
        let found = call(router, file()).await;
        assert_eq!(found, (200, "application/json".to_owned(), "{\"a\":null}".to_owned()));
        std::fs::remove_file(&path).unwrap();
    }
}

#[tokio::test]
async fn where_nobody_needs_a_token_nobody_may() {
    let (router, _stop, _task) = router(config(Role::Agent)).await;
    let (status, _, text) = call(router, with_headers("/pkgpanda/active/", &[TOKEN])).await;
    assert_eq!(StatusCode::from_u16(status).unwrap(), StatusCode::FORBIDDEN);
    assert!(text.contains("give the cluster a token"), "{text}");
}
