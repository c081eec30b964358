//! What upstreams and clients see of each other.

use std::time::Duration;

use admin_router::Role;
use http_kit::{Body, Method, Request, Response, StatusCode, respond};

use crate::cluster::{Cluster, Server, app, config, echo, echoing, own_ip, request, router, with_headers};

#[tokio::test]
async fn components_are_behind_their_prefixes() {
    let cluster = Cluster::start().await;
    let agent = echoing("agent").await;
    cluster.add_agent("m-S0", agent.address);
    let ui = echoing("ui").await;
    cluster.add_framework("m-0001", "spark", &format!("http://{}/ui", ui.address));
    cluster.wait_for("/service/spark/", 200, "ui GET /\n").await;
    for (path, line) in [
        ("/mesos/state?x=%20", "master GET /state?x=%20\n"),
        ("/marathon/v2/apps//a%2Fb", "marathon GET /v2/apps//a%2Fb\n"),
        ("/service/marathon/ping", "marathon GET /ping\n"),
        ("/agent/m-S0/slave(1)/state", "agent GET /slave(1)/state\n"),
        ("/slave/m-S0", "agent GET /\n"),
        ("/service/m-0001/jobs", "ui GET /jobs\n"),
    ] {
        let (status, text) = cluster.get(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        assert!(text.starts_with(line), "{path}: {text}");
    }
    let redirect = cluster.send(request(Method::GET, "/service/spark?a", Body::empty())).await;
    assert_eq!(
        (redirect.status().as_u16(), &redirect.headers()["location"]),
        (301, &"/service/spark/?a".parse().unwrap())
    );
    let metadata = cluster.get("/metadata").await;
    assert_eq!(metadata, (200, r#"{"CLUSTER_ID":"c-1","PUBLIC_IPV4":"127.0.0.1"}"#.into()));
    cluster.stop().await;
}

#[tokio::test]
async fn upstreams_see_who_asks_and_nothing_of_the_connection() {
    let cluster = Cluster::start().await;
    let web = echoing("web").await;
    cluster.set_apps(vec![app("web", &[web.address])]);
    cluster.wait_for("/service/web/", 200, "web GET /\n").await;
    let mut asked = with_headers(
        "/service/web/x",
        &[
            ("host", "localhost:81"),
            ("connection", "x-private"),
            ("x-private", "1"),
            ("x-public", "2"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("cookie", "a=b; dcos-acs-auth-cookie=t; dcos-acs-info-cookie=i; c=d"),
            ("authorization", "Basic dTpw"),
        ],
    );
    *asked.method_mut() = Method::POST;
    *asked.body_mut() = Body::full("the body");
    let (status, text) = cluster.call(asked).await;
    assert_eq!(status, 200, "{text}");
    for line in [
        "web POST /x\n",
        "\nhost: localhost:81\n",
        "\nx-public: 2\n",
        "\nx-forwarded-for: 10.0.0.1, 127.0.0.1\n",
        "\nx-forwarded-host: localhost:81\n",
        "\nx-forwarded-proto: http\n",
        "\nx-real-ip: 127.0.0.1\n",
        "\ncookie: a=b; c=d\n",
        "\nauthorization: Basic dTpw\n",
        "\ncontent-length: 8\n",
        "\n\nthe body",
    ] {
        assert!(text.contains(line), "{line:?} is missing in {text}");
    }
    for absent in ["x-private", "connection:", "dcos-acs"] {
        assert!(!text.contains(absent), "{absent:?} is in {text}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn answers_come_back_as_they_are_with_their_redirects_behind_the_prefix() {
    let cluster = Cluster::start().await;
    let web = Server::start(|request: Request, _peer| async move {
        let mut response = match request.uri().path() {
            "/redirect" => respond::redirect(StatusCode::FOUND, "/login"),
            "/gone" => respond::text(StatusCode::GONE, "gone"),
            "/empty" => respond::status(StatusCode::NO_CONTENT),
            _ => respond::text(StatusCode::OK, "0123456789"),
        };
        response.headers_mut().insert("x-own", "1".parse().unwrap());
        response
    })
    .await;
    cluster.set_apps(vec![app("web", &[web.address])]);
    cluster.wait_for("/service/web/", 200, "0123456789").await;
    let redirect = cluster.send(request(Method::GET, "/service/web/redirect", Body::empty())).await;
    assert_eq!(redirect.status(), StatusCode::FOUND);
    assert_eq!(redirect.headers()["location"], "/service/web/login");
    assert_eq!(redirect.headers()["x-own"], "1");
    assert_eq!(cluster.get("/service/web/gone").await, (410, "gone".into()));
    assert_eq!(cluster.get("/service/web/empty").await, (204, String::new()));
    let head = cluster.send(request(Method::HEAD, "/service/web/", Body::empty())).await;
    assert_eq!(head.headers()["content-length"], "10");
    assert_eq!(head.into_body().read(10).await.unwrap(), "");
    // The connection is still in step after a HEAD.
    assert_eq!(cluster.get("/service/web/").await, (200, "0123456789".into()));
    cluster.stop().await;
}

#[tokio::test]
async fn requests_are_spread_over_the_healthy_instances() {
    let cluster = Cluster::start().await;
    let servers = [echoing("one").await, echoing("two").await, echoing("three").await];
    let mut web = app("web", &servers.each_ref().map(|server| server.address));
    web["tasks"][2]["healthCheckResults"][0]["alive"] = false.into();
    cluster.set_apps(vec![web]);
    cluster.wait_for("/service/web/", 200, "GET").await;
    let mut counts = [0; 3];
    for _ in 0..20 {
        let (_, text) = cluster.get("/service/web/").await;
        let name = text.split(' ').next().unwrap();
        counts[["one", "two", "three"].iter().position(|other| *other == name).unwrap()] += 1;
    }
    assert_eq!(counts, [10, 10, 0]);
    cluster.stop().await;
}

#[tokio::test]
async fn failures_have_the_status_and_the_words_of_a_gateway() {
    let cluster = Cluster::start_with(|config| config.answer_timeout = Duration::from_millis(100)).await;
    let slow = Server::start(|_request, _peer| std::future::pending::<Response>()).await;
    let gone = echoing("gone").await;
    let gone_address = gone.address;
    gone.kill().await;
    let raw = tokio::net::TcpListener::bind((own_ip(), 0)).await.unwrap();
    let raw_address = raw.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = raw.accept().await.unwrap();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-OpenSSH\r\n").await;
        }
    });
    let mut tls = app("tls", &[]);
    tls["labels"]["DCOS_SERVICE_SCHEME"] = "https".into();
    cluster.set_apps(vec![
        app("slow", &[slow.address]),
        app("gone", &[gone_address]),
        app("raw", &[raw_address]),
        app("idle", &[]),
        tls,
    ]);
    cluster.wait_for("/service/idle/", 503, "no instance of it is running").await;
    cluster.add_agent("m-S0", gone_address);
    cluster.wait_for("/agent/m-S0/", 502, "").await;
    for (path, status, text) in [
        ("/service/slow/", 504, format!("504 Gateway Timeout: service 'slow' (app /slow): no answer in time from {}\n", slow.address)),
        ("/service/gone/", 502, format!("502 Bad Gateway: service 'gone' (app /gone): cannot connect to {gone_address}\n")),
        ("/service/raw/", 502, format!("502 Bad Gateway: service 'raw' (app /raw): no valid HTTP from {raw_address}\n")),
        ("/service/tls/", 503, "503 Service Unavailable: service 'tls' cannot be reached: label DCOS_SERVICE_SCHEME of app /tls is 'https': allowed is http\n".into()),
        ("/agent/m-S0/", 502, format!("502 Bad Gateway: agent m-S0: cannot connect to {gone_address}\n")),
    ] {
        assert_eq!(cluster.get(path).await, (status, text), "{path}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_service_may_take_the_whole_path() {
    let cluster = Cluster::start().await;
    let web = echoing("web").await;
    let mut plain = app("plain", &[web.address]);
    plain["labels"]["DCOS_SERVICE_REWRITE_REQUEST_URLS"] = "false".into();
    cluster.set_apps(vec![plain]);
    cluster.wait_for("/service/plain/x?y", 200, "web GET /service/plain/x?y\n").await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_agent_has_its_version_and_a_page_that_says_so() {
    let (address, stop, task) = router(config(Role::Agent)).await;
    let client = http_kit::Client::default();
    let get = async |path: &str| {
        let asked = request(Method::GET, path, Body::empty());
        client.send(&address.into(), asked, Default::default()).await.unwrap().status().as_u16()
    };
    assert_eq!(get("/dcos-metadata/dcos-version.json").await, 200);
    assert_eq!(get("/").await, 200);
    assert_eq!(get("/mesos/").await, 404);
    stop.request();
    task.await.unwrap();
}

#[tokio::test]
async fn the_version_of_an_agent_is_asked_from_its_own_router() {
    let port = admin_router::AGENT_PORT;
    let address = std::net::SocketAddr::new(own_ip(), port);
    let agent = Server::on(address, |request, _peer| echo("agent router".into(), request)).await;
    let cluster = Cluster::start().await;
    cluster.add_agent("m-S0", std::net::SocketAddr::new(agent.address.ip(), 5051));
    let path = "/system/v1/agent/m-S0/dcos-metadata/dcos-version.json";
    cluster.wait_for(path, 200, "agent router GET /dcos-metadata/dcos-version.json\n").await;
    cluster.stop().await;
}
